"""A waiting call made on other names without holding the thread, for one that strace or gdb holds already (see trace.py).

What the kernel is told to continue, it reads once more. So the strings that the call's arguments point to are changed in
place, the call goes on, and when the kernel has read them they are put back.  A `Gate` tells when: something on the way of the
other name that the thread, still in the kernel, passes.

* `Lease`: opening a file that we hold a lease on waits until we let go (fcntl(2), "Leases"): for exec.
* `Slow`: a link that leads to its place by a detour of some milliseconds.  That it is followed sets its access time.  Meanwhile
  the thread shares a processor with us: it cannot leave the kernel unless we sleep.

A thread beside it could see the other bytes for that time, also those behind a name that is shorter than ours.  Hence all this
is only for those that can't be served better.
"""

import contextlib
import errno
import fcntl
import itertools
import os
import signal
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

from vfs.view.kernel import libc
from vfs.view.kernel.abi import PATH_MAX
from vfs.view.kernel.machine import current
from vfs.view.kernel.notify import CONTINUE, DONE, Call
from vfs.view.kernel.processes import parent_of, stat_fields
from vfs.view.kernel.tracing import tracer_of

_PAUSE = 50e-6
_ELSEWHERE: tuple[list[bytes], ...] = ([], [b"Z"], [b"X"], [b"t"])
_PATIENCE = 2.0  # seconds until the strings are put back in any case
_DETOURS = 30  # links on the way to the root directory; the kernel follows 40
_DETOUR = b"/proc/sys/" + b"fs/../" * 670 + b"../.."
_SHORTER = b"/" + b"./" * 2040
_KEPT = 1024
_KCMP_VM = 1  # linux/kcmp.h


class Aliases:
    """Links in a directory of ours, each to one path, at which the kernel arrives after about eight milliseconds."""

    def __init__(self, directory: bytes) -> None:
        self._directory = directory
        self._links: OrderedDict[bytes, bytes] = OrderedDict()
        self._numbers = itertools.count()
        self.tells = True
        """Following a link sets its access time: not where the directory is mounted noatime."""

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
            _forget(detour)
            os.stat(detour)
            self.tells = _followed(detour)
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


class Gate:
    """What a thread passes when it has read its strings."""

    def passed(self, tid: int) -> bool:
        raise NotImplementedError

    def open(self) -> None:
        """Let the thread go on, if it waits there."""

    def beside(self, tid: int) -> AbstractContextManager[None]:
        """While the thread is on its way."""
        return nullcontext()


class Lease(Gate):
    """Opening a file, of which `descriptor` must be the only open one.  OSError: no lease is to be had."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # ignored, which SIGIO is not
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)

    def passed(self, tid: int) -> bool:
        return fcntl.fcntl(self._descriptor, fcntl.F_GETLEASE) != fcntl.F_WRLCK

    def open(self) -> None:
        fcntl.fcntl(self._descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


class Slow(Gate):
    """Following a link of `Aliases`."""

    def __init__(self, link: bytes, tells: bool) -> None:
        self._link, self._tells = link, tells
        self._slices = 0
        _forget(link)

    def passed(self, tid: int) -> bool:
        # Where nothing tells: it ran, in the kernel, and now we run in its place.
        return _followed(self._link) if self._tells else _slices(tid) > self._slices

    @contextlib.contextmanager
    def beside(self, tid: int) -> Iterator[None]:
        """The thread on our processor, and nowhere else."""
        before: list[tuple[int, set[int]]] = []
        try:
            ours, theirs, here = os.sched_getaffinity(0), os.sched_getaffinity(tid), libc.released.sched_getcpu()
            if here in ours & theirs:
                for task, processors in ((0, ours), (tid, theirs)):
                    os.sched_setaffinity(task, {here})
                    before.append((task, processors))
            self._slices = _slices(tid)
        except OSError:
            pass
        try:
            yield
        finally:
            for task, processors in before:
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(task, processors)


def _forget(link: bytes) -> None:
    """As if the link had never been followed."""
    os.utime(link, ns=(0, time.time_ns()), follow_symlinks=False)


def _followed(link: bytes) -> bool:
    return bool(os.lstat(link).st_atime_ns)


def _slices(tid: int) -> int:
    """How often a thread was given a processor (proc(5), schedstat)."""
    try:
        with open(f"/proc/{tid}/schedstat", "rb") as text:
            return int(text.read().split()[2])
    except (OSError, IndexError):
        return 0


def proceed(call: Call, pieces: Mapping[int, bytes], gate: Gate) -> int:
    """Let the kernel make the call with these bytes at these addresses, in which the gate lies.

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
        with gate.beside(call.tid):
            if call.reply(CONTINUE):
                _wait(call.tid, gate)
            _put_back(memory, before)
        return DONE
    finally:
        _put_back(memory, before)
        gate.open()
        memory.close()


def _put_back(memory: Memory, before: dict[int, bytes]) -> None:
    while before:
        memory.restore(*before.popitem())


def _wait(tid: int, gate: Gate) -> None:
    """Until the gate is passed, or the thread is gone, or back (it did not come that far)."""
    start = time.monotonic()
    while not gate.passed(tid):
        time.sleep(_PAUSE)
        if stat_fields(tid)[:1] in _ELSEWHERE or time.monotonic() - start > _PATIENCE:
            return


def is_traced(tid: int) -> bool:
    """Somebody traces the thread."""
    try:
        return tracer_of(tid) != 0
    except OSError:
        return False


def shares_memory(tid: int) -> bool:
    """With its parent, which waits for it to execute something (vfork).  True where it can't be told."""
    parent = parent_of(tid)
    try:
        return bool(parent) and libc.syscall(current().calls["kcmp"], tid, parent, _KCMP_VM, 0, 0) == 0
    except OSError:
        return True
