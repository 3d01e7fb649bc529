"""A waiting call made on other names without holding the thread, for one that strace or gdb holds already (see trace.py).

What the kernel is told to continue, it reads once more. So the strings that the call's arguments point to are changed in
place, the call goes on, and when the kernel has read them they are put back.  The other names begin with a link of ours
that leads to their place slowly (`Aliases`): following it sets its access time, which tells that the strings have been read;
the rest of the way takes the kernel some milliseconds, while the thread can't look at its memory.

A thread beside it could: for a fraction of a millisecond it would find other bytes there, also behind a name that is
shorter than ours.  Hence only for those that can't be served better.
"""

import contextlib
import errno
import itertools
import os
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping

from vfs.view.kernel import libc
from vfs.view.kernel.abi import PATH_MAX
from vfs.view.kernel.notify import CONTINUE, DONE, Call
from vfs.view.kernel.processes import stat_fields

_PAUSE = 50e-6
_HASTE = 1e-3  # seconds without a pause
_PATIENCE = 2.0  # seconds until the strings are put back in any case: access times do not tell (noatime)
_DETOURS = 30  # links on the way to the root directory; the kernel follows 40
_DETOUR = b"/proc/sys/" + b"fs/../" * 670 + b"../.."
_SHORTER = b"/" + b"./" * 2040
_KEPT = 1024


class Aliases:
    """Links in a directory of ours, each to one path, at which the kernel arrives after about eight milliseconds."""

    def __init__(self, directory: bytes) -> None:
        self._directory = directory
        self._links: OrderedDict[bytes, bytes] = OrderedDict()
        self._numbers = itertools.count()

    def link(self, path: bytes) -> bytes:
        """The link to an absolute path.  ENAMETOOLONG."""
        link = self._links.get(path)
        if link is not None and os.path.lexists(link):
            self._links.move_to_end(path)
            return link
        detour = self._directory + b"/s"
        if not os.path.lexists(detour):
            os.chmod(self._directory, 0o711)  # whoever the thread is
            os.symlink(_DETOUR if os.path.isdir(_DETOUR) else _SHORTER, detour)
        target = (detour + b"/") * _DETOURS + path.lstrip(b"/")
        if len(target) >= PATH_MAX:
            raise OSError(errno.ENAMETOOLONG, "a name has 4096 bytes or more")
        link = self._directory + b"/l%d" % next(self._numbers)
        os.symlink(target, link)
        self._links[path] = link
        if len(self._links) > _KEPT:
            os.unlink(self._links.popitem(last=False)[1])
        return link


class Memory:
    """The memory of a process, read-only pages too, as it is now: an exec leaves us with the old one."""

    def __init__(self, tid: int) -> None:
        self._fd = os.open(f"/proc/{tid}/mem", os.O_RDWR | os.O_CLOEXEC)

    def exchange(self, address: int, data: bytes) -> bytes:
        """Write, and give back what was there.  EFAULT, and nothing is written."""
        try:
            before = os.pread(self._fd, len(data), address)
            if len(before) == len(data) == os.pwrite(self._fd, data, address):
                return before
        except (OSError, OverflowError):
            pass
        raise OSError(errno.EFAULT, "no room for another name")

    def restore(self, address: int, data: bytes) -> None:
        try:
            os.pwrite(self._fd, data, address)
        except OSError:  # the process has gone, or has become another
            pass

    def close(self) -> None:
        os.close(self._fd)


def proceed(call: Call, pieces: Mapping[int, bytes], link: bytes) -> int:
    """Let the kernel make the call with these bytes at these addresses; one of them names `link` or something below it.

    EPERM: it can't be done.  All else is the call's own affair.
    """
    spans = sorted((address, address + len(data)) for address, data in pieces.items())
    if any(end > start for (_, end), (start, _) in itertools.pairwise(spans)):
        raise OSError(errno.EPERM, "two names of a traced process lie too close to each other")
    try:
        memory = Memory(call.tid)
    except OSError:
        raise OSError(errno.EPERM, f"process {call.tid} is being traced (strace, gdb): its call can't be redirected") from None
    before: dict[int, bytes] = {}
    try:
        if not call.valid():
            return DONE
        try:
            for address, data in pieces.items():
                before[address] = memory.exchange(address, data)
        except OSError:
            raise OSError(errno.EPERM, "no room for another name in a traced process") from None
        os.utime(link, ns=(0, time.time_ns()), follow_symlinks=False)
        with _apart(call.tid):
            if call.reply(CONTINUE):
                _wait(call.tid, link)
            _put_back(memory, before)
        return DONE
    finally:
        _put_back(memory, before)
        memory.close()


def _put_back(memory: Memory, before: dict[int, bytes]) -> None:
    while before:
        memory.restore(*before.popitem())


@contextlib.contextmanager
def _apart(tid: int) -> Iterator[None]:
    """The thread on another processor than we are, where there is one: a kernel that follows links lets nobody else run there."""
    try:
        ours, theirs = os.sched_getaffinity(0), os.sched_getaffinity(tid)
        here = libc.released.sched_getcpu()
        if here in ours and theirs - {here}:
            os.sched_setaffinity(0, {here})
            os.sched_setaffinity(tid, theirs - {here})
        else:
            ours = theirs = set()
    except OSError:
        ours = theirs = set()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if ours:
                os.sched_setaffinity(0, ours)
                os.sched_setaffinity(tid, theirs)


def _wait(tid: int, link: bytes) -> None:
    """Until the link is followed, or the thread is gone."""
    start = time.monotonic()
    while not os.lstat(link).st_atime_ns:
        waited = time.monotonic() - start
        if waited > _HASTE:
            if waited > _PATIENCE or stat_fields(tid)[:1] in ([], [b"Z"], [b"X"]):
                return
            time.sleep(_PAUSE)


def is_traced(tid: int) -> bool:
    """Somebody traces the thread."""
    try:
        with open(f"/proc/{tid}/status", "rb") as status:
            return b"\nTracerPid:\t0\n" not in status.read()
    except OSError:
        return False
