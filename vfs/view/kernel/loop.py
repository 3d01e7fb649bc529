"""The hot loop: receive a call, ask its handler, answer.

What it does, all tasks wait for.  A handler that may have to wait for somebody raises Postponed: then the call is handed to
`postpone`, and somebody else asks the handler once more and answers (`complete`).  Handlers run one at a time, each with the
`turn` in its hands; who answers elsewhere takes the turn as well, and lays it down while he waits.
"""

import errno
import fcntl
import sys
import threading
from collections.abc import Callable, Mapping

from vfs.view.kernel.abi import (
    SECCOMP_IOCTL_NOTIF_RECV,
    SECCOMP_IOCTL_NOTIF_SEND,
    SECCOMP_USER_NOTIF_FLAG_CONTINUE,
)
from vfs.view.kernel.machine import current, every_name
from vfs.view.kernel.memory import Unreadable
from vfs.view.kernel.notify import ANSWER, ARGUMENTS, BLANK, CONTINUE, DONE, HEAD, Answered, Call, Listener

Handler = Callable[[Call], int]
"""A result >= 0, -errno, CONTINUE or DONE.  It may raise OSError."""


class Postponed(BaseException):
    """Raised by a handler that may not go on here, before it has changed anything."""


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
    import traceback

    traceback.print_exception(error)


def refuse_to_wait(call: Call) -> None:
    raise RuntimeError(f"{call.name}: nobody is there to wait for it")


def complete(call: Call, handler: Handler, on_error: Callable[[Call, Exception], None] = report) -> None:
    """Ask a handler and answer, away from the loop; the loop does the same, written out.  It may raise Postponed."""
    try:
        result = handler(call)
        if result == DONE:
            return
    except Answered:
        return
    except OSError as error:
        result = -(error.errno or errno.EIO)
    except Unreadable:
        result = CONTINUE
    except Exception as error:
        result = -errno.EIO
        on_error(call, error)
    try:
        call.reply(result)
    except Exception as error:  # a result that is none
        on_error(call, error)
        call.reply(-errno.EIO)


def serve(
    listener: Listener,
    handlers: list[Handler],
    on_error: Callable[[Call, Exception], None] = report,
    turn: "threading.Lock | None" = None,
    postpone: Callable[[Call], None] = refuse_to_wait,
) -> None:
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
    turn = turn or threading.Lock()
    acquire, release = turn.acquire, turn.release
    while True:
        # Listener.receive and reply, written out: this is what every trapped call pays.
        try:
            text = ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, BLANK, False)
        except (InterruptedError, FileNotFoundError):
            if listener.abandoned():
                return
            continue
        call.id, call.tid, call.nr, call.instruction = head(text)
        call.args = arguments(text, at)
        acquire()
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
        except Answered:
            continue
        except Postponed:
            postpone(call.copy())
            continue
        except Exception as error:
            pack(answer, 0, call.id, 0, -errno.EIO, 0)
            on_error(call, error)
        finally:
            release()
        try:
            ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, answer, True)
        except FileNotFoundError:
            pass  # killed meanwhile, or a signal came
        except InterruptedError:
            listener.send(answer)
