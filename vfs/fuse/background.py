"""Running a mount in a process of its own.

The parent returns when the mount answers, or raises what kept it from that: the child sends either "ready" or its error
through a pipe. Forked before anything is opened and before the event loop exists.
"""

from __future__ import annotations

import errno
import marshal
import os
import signal
import sys
from collections.abc import Callable

from vfs.api.errors import message


def launch(serve: Callable[[Callable[[], None]], None]) -> int:
    """Run *serve* in a new process, give it a function to call when it is ready, and return when it has called it: the
    process's number. Raises the OSError that *serve* raised before that."""
    sys.stdout.flush()
    sys.stderr.flush()
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receive)
        _run(serve, send)
    os.close(send)
    with open(receive, "rb") as pipe:
        told = pipe.read()
    if not told:
        _, status = os.waitpid(child, 0)
        raise OSError(errno.EIO, f"the serving process ended before it was ready ({_ending(status)})")
    error = marshal.loads(told)
    if error is not None:
        os.waitpid(child, 0)
        raise OSError(*error)
    return child


def _run(serve: Callable[[Callable[[], None]], None], send: int) -> None:
    """The child. Never returns: the parent's clean-up is not ours to run."""
    status = 1

    def ready() -> None:
        nonlocal send
        _detach()
        os.write(send, marshal.dumps(None))
        os.close(send)
        send = -1

    try:
        os.setsid()
        serve(ready)
        status = 0
    except BaseException as error:
        if send >= 0:
            os.write(send, marshal.dumps(_told(error)))
    finally:
        os._exit(status)


def _told(error: BaseException) -> tuple[int, str] | tuple[int, str, str]:
    """The arguments of the OSError that the parent raises."""
    if not isinstance(error, OSError):
        return errno.EIO, f"{type(error).__name__}: {message(error)}"
    number, sentence = error.errno or errno.EIO, message(error)
    return (number, sentence, os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else (number, sentence)


def _detach() -> None:
    """Leave the terminal and the working directory: they must be free to go away."""
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    if null > 2:
        os.close(null)


def _ending(status: int) -> str:
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"status {os.waitstatus_to_exitcode(status)}"
