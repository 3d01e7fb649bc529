"""Watchdog: tells of calls that wait for long, one line each (`umview --debug`).

A call waits from the moment its handler is asked until it is answered, wherever that happens: in the loop (then every process of
the view waits with it), in a worker, or with whoever kept it. Without a watchdog nothing of this is noted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from vfs.view.kernel.loop import Handler, Postponed
from vfs.view.kernel.memory import Unreadable, read_string
from vfs.view.kernel.notify import DONE, Call

FIRST, AGAIN = 10.0, 60.0
"""Seconds until a waiting call is told of, and until it is again."""

_NAMES = {
    0: """open creat stat lstat access readlink chdir chroot mkdir rmdir unlink rename link symlink mknod chmod chown lchown
        truncate utime utimes statfs execve getxattr lgetxattr setxattr lsetxattr listxattr llistxattr removexattr lremovexattr
        umount2 swapon swapoff acct""",
    1: """openat openat2 newfstatat statx faccessat faccessat2 readlinkat mkdirat unlinkat renameat renameat2 linkat mknodat
        fchmodat fchmodat2 fchownat utimensat futimesat execveat mount inotify_add_watch name_to_handle_at pivot_root""",
}
NAME_AT = {name: argument for argument, names in _NAMES.items() for name in names.split()}
"""Which argument of a call is the name to show."""


class _Waiting:
    def __init__(self, call: Call) -> None:
        self.call = call.copy()
        self.since = self.told = time.monotonic()
        self.times = 0


class Watchdog:
    """*tell* is given the lines."""

    def __init__(self, tell: Callable[[str], None], first: float = FIRST, again: float = AGAIN) -> None:
        self.tell, self.first, self.again = tell, first, again
        self.calls: dict[int, _Waiting] = {}
        self.over = threading.Event()

    def watched(self, handler: Handler) -> Handler:
        """The handler, watched."""

        def watching(call: Call) -> int:
            self.calls.setdefault(call.id, _Waiting(call))
            try:
                result = handler(call)
                if result == DONE and call.valid():
                    return result  # somebody keeps it
            except Postponed:
                raise
            except BaseException:
                self.calls.pop(call.id, None)
                raise
            self.calls.pop(call.id, None)
            return result

        return watching

    def start(self) -> None:
        threading.Thread(target=self.run, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        self.over.set()

    def run(self) -> None:
        while not self.over.wait(min(1.0, self.first / 2)):
            self.look()

    def look(self) -> None:
        now = time.monotonic()
        for number, waiting in list(self.calls.items()):
            if now - waiting.told < (self.again if waiting.times else self.first):
                continue
            if not waiting.call.valid():  # killed, or answered by whoever kept it
                self.calls.pop(number, None)
                continue
            waiting.told = now
            waiting.times += 1
            self.tell(f"process {waiting.call.tid} waits in {described(waiting.call)} for {now - waiting.since:.0f} s")


def described(call: Call) -> str:
    """A call as a person reads it: openat(b'name')."""
    argument = NAME_AT.get(call.name)
    if argument is None:
        return call.name
    try:
        return f"{call.name}({read_string(call.tid, call.args[argument])!r})"
    except (OSError, Unreadable):
        return call.name
