"""The hot loop: receive a call, ask its handler, answer.

What it does, all tasks wait for.  A handler that may block keeps a copy of the call, returns DONE and has another thread
answer it; other descriptors (control channels, inotify) are likewise other threads' work.  The loop itself may run in
several threads at a time, if the handlers allow it: all it changes is its own.
"""

import errno
import fcntl
import sys
import traceback
from collections.abc import Callable, Mapping

from vfs.view.kernel.abi import (
    SECCOMP_IOCTL_NOTIF_RECV,
    SECCOMP_IOCTL_NOTIF_SEND,
    SECCOMP_USER_NOTIF_FLAG_CONTINUE,
)
from vfs.view.kernel.machine import current, every_name
from vfs.view.kernel.memory import Unreadable
from vfs.view.kernel.notify import ANSWER, ARGUMENTS, BLANK, CONTINUE, DONE, HEAD, Call, Listener

Handler = Callable[[Call], int]
"""A result >= 0, -errno, CONTINUE or DONE.  It may raise OSError."""


def let_through(call: Call) -> int:
    return CONTINUE


def table(handlers: Mapping[str, Handler]) -> list[Handler]:
    """Handlers by number, from handlers by name.  Names that this machine lacks are passed over, unknown ones are not."""
    calls = current().calls
    rows: list[Handler] = [let_through] * (max(calls.values()) + 1)
    for name, handler in handlers.items():
        if name in calls:
            rows[calls[name]] = handler
        elif name not in every_name():
            raise ValueError(f"{name}: no such system call")
    return rows


def report(call: Call, error: Exception) -> None:
    """A handler's mistake: its traceback on standard error."""
    print(f"umview: {call.name} of process {call.tid}:", file=sys.stderr)
    traceback.print_exception(error)


def serve(listener: Listener, handlers: list[Handler], on_error: Callable[[Call, Exception], None] = report) -> None:
    """Serve until no task uses the filter any more.

    A handler's OSError is the call's result.  Unreadable memory: the kernel does the call.  Any other exception is a
    mistake of ours: on_error hears of it, and the caller gets EIO, for a mistake must not hang it.
    """
    call = Call()
    call.listener = listener
    fd, ioctl = listener.fd, fcntl.ioctl
    head, arguments, at = HEAD.unpack_from, ARGUMENTS.unpack_from, HEAD.size
    answer = bytearray(ANSWER.size)
    pack = ANSWER.pack_into
    while True:
        # Listener.receive and reply, written out: this is what every trapped call pays.
        try:
            text = ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, BLANK, False)
        except (InterruptedError, FileNotFoundError):
            if listener.abandoned():
                return
            continue
        call.id, call.tid, call.nr = head(text)
        call.args = arguments(text, at)
        try:
            result = handlers[call.nr](call)
            if result == CONTINUE:
                pack(answer, 0, call.id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE)
            elif result == DONE:
                continue
            elif result >= 0:
                pack(answer, 0, call.id, result, 0, 0)
            else:
                pack(answer, 0, call.id, 0, result, 0)
        except OSError as error:
            pack(answer, 0, call.id, 0, -(error.errno or errno.EIO), 0)
        except Unreadable:
            pack(answer, 0, call.id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE)
        except Exception as error:
            pack(answer, 0, call.id, 0, -errno.EIO, 0)
            on_error(call, error)
        try:
            ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, answer, True)
        except FileNotFoundError:
            pass  # killed meanwhile, or a signal came
        except InterruptedError:
            listener.send(answer)
