"""Processes as the kernel shows them: pidfds, descriptors of others, descendants, and the end of a whole tree."""

import ctypes
import errno
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator

from vfs.view.kernel import libc
from vfs.view.kernel.abi import PIDFD_THREAD
from vfs.view.kernel.machine import current

_CACHE_SIZE = 256
_ATTEMPTS = 100  # rounds in which nothing could be signalled: what is left is not ours to end


def open_pidfd(tid: int) -> int:
    """A pidfd of a thread, or, where the kernel is older than 6.9, of the process it belongs to."""
    number = current().calls["pidfd_open"]
    try:
        return libc.syscall(number, tid, PIDFD_THREAD)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return libc.syscall(number, group_of(tid), 0)


def group_of(tid: int) -> int:
    """The process (thread group) of a thread.  ESRCH when it is gone."""
    try:
        with open(f"/proc/{tid}/status", "rb") as status:
            for line in status:
                if line.startswith(b"Tgid:"):
                    return int(line[5:])
    except FileNotFoundError:
        pass
    raise OSError(errno.ESRCH, f"process {tid} is gone")


class Processes:
    """pidfds of the tree's threads, kept for a while: opening one costs more than what it is opened for.

    A number may have passed to another thread meanwhile: the old pidfd says so itself (ESRCH).
    """

    def __init__(self, size: int = _CACHE_SIZE) -> None:
        self._size = size
        self._pidfds: dict[int, int] = {}
        self._lock = threading.Lock()
        self._getfd = current().calls["pidfd_getfd"]

    def get_fd(self, tid: int, number: int) -> int:
        """A duplicate of a thread's descriptor: the same open file description, so that lseek here moves it there.

        EBADF where it has none such.  The caller closes it.
        """
        with self._lock:
            kept = self._pidfds.get(tid)
            if kept is not None:
                try:
                    return libc.syscall(self._getfd, kept, number, 0)
                except OSError as error:
                    if error.errno != errno.ESRCH:
                        raise
                os.close(self._pidfds.pop(tid))
            elif len(self._pidfds) >= self._size:
                os.close(self._pidfds.pop(next(iter(self._pidfds))))
            self._pidfds[tid] = pidfd = open_pidfd(tid)
            return libc.syscall(self._getfd, pidfd, number, 0)

    def forget(self, tid: int) -> None:
        with self._lock:
            pidfd = self._pidfds.pop(tid, None)
            if pidfd is not None:
                os.close(pidfd)

    def close(self) -> None:
        with self._lock:
            while self._pidfds:
                os.close(self._pidfds.popitem()[1])


# ---------------------------------------------------------------- trees
def children(pid: int) -> list[int]:
    """The children of a process, of all its threads.  Empty when it is gone."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            try:
                with open(f"/proc/{pid}/task/{thread}/children", "rb") as text:
                    found += map(int, text.read().split())
            except ProcessLookupError:
                continue
    except FileNotFoundError:  # the process is gone, or the kernel was made without CONFIG_PROC_CHILDREN
        return _parents().get(pid, []) if os.path.exists(f"/proc/{pid}") else []
    return found


def _parents() -> dict[int, list[int]]:
    """parent -> children, of all processes."""
    table: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            parent = parent_of(int(name))
            if parent is not None:
                table.setdefault(parent, []).append(int(name))
    return table


def parent_of(pid: int) -> int | None:
    """The parent's number, or None when the process is gone."""
    fields = stat_fields(pid)
    return int(fields[1]) if fields else None


def stat_fields(pid: int) -> list[bytes]:
    """/proc/PID/stat from the third field (the state) on; empty when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as text:
            return text.read().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def descendants(pid: int, spare: Iterable[int] = ()) -> list[int]:
    """All processes below one, parents before children; not those in `spare` and what is below them."""
    spared = set(spare)
    found: list[int] = []
    todo = [pid]
    while todo:
        for child in children(todo.pop()):
            if child not in spared:
                spared.add(child)
                found.append(child)
                todo.append(child)
    return found


def send_signal(pidfd: int, number: int) -> bool:
    """False when the process has ended or may not be signalled."""
    try:
        libc.syscall(current().calls["pidfd_send_signal"], pidfd, number, ctypes.c_void_p(None), 0)
    except OSError:
        return False
    return True


def kill_below(spare: Iterable[int] = ()) -> int:
    """SIGKILL for all that is below this process, except `spare` and what is below it; to how many it was sent.

    Our own children can't be mistaken: only we can reap them.  For the others a number may pass to a stranger between
    looking and killing: so hold on to it by a pidfd, and look once more whether it is still below us.
    """
    us = os.getpid()
    count = 0
    for pid in descendants(us, spare):
        try:
            pidfd = open_pidfd(pid)
        except OSError:
            continue
        try:
            if is_below(pid, us):
                count += send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)
    return count


def is_below(pid: int, ancestor: int) -> bool:
    """One process descends from another."""
    step: int | None = pid
    for _ in range(1 << 16):
        if step == ancestor:
            return True
        if not step:
            return False
        step = parent_of(step)
    return False


def kill_tree(ended: Callable[[int, int], None], spare: Iterable[int] = ()) -> None:
    """Kill until nothing is left below this process, a child subreaper, except `spare` and what is below it.

    Children are reaped, spared ones too: ended(pid, wait status) hears of each.  SIGCHLD should be blocked.
    """
    spared = set(spare)
    pause, in_vain = 0.0005, 0
    while in_vain < _ATTEMPTS:
        in_vain = 0 if kill_below(spared) else in_vain + 1
        for pid, status in reap():
            ended(pid, status)
        if not spared.issuperset(children(os.getpid())):
            signal.sigtimedwait([signal.SIGCHLD], pause)
            pause = min(pause * 2, 0.05)
        else:
            return


def reap() -> Iterator[tuple[int, int]]:
    """Children that have ended: (pid, wait status)."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, status
