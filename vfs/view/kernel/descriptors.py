"""Descriptors: those that our processes have inherited and must not hold (someone may wait for the end of a pipe), and which
ones another process has.
"""

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterable

from vfs.view.kernel import libc
from vfs.view.kernel.machine import current

_KCMP = ctypes.c_long(current().calls["kcmp"])
_KCMP_FILE = ctypes.c_int(0)


def has_descriptor(tid: int, number: int) -> bool | None:
    """Whether a task has a descriptor of this number; `None`: it hides that, or is no more.

    kcmp(2), which compares the descriptor with itself, takes a third of the time that a look into /proc takes.  A
    kernel, or a container, may be without it.
    """
    if libc.held.syscall(_KCMP, tid, tid, _KCMP_FILE, number, number) == 0:
        return True
    if ctypes.get_errno() == errno.EBADF:
        return False
    try:
        os.lstat(b"/proc/%d/fd/%d" % (tid, number))
    except FileNotFoundError:
        return False if os.path.exists(b"/proc/%d" % tid) else None
    except OSError:
        return None
    return True


def fill_standard() -> None:
    """Where 0, 1 or 2 is closed, no pipe of ours may land there.  (Close-on-exec: for the command they stay closed.)"""
    while True:
        fd = os.open("/dev/null", os.O_RDWR)
        if fd > 2:
            os.close(fd)
            return


def release_inherited() -> None:
    """Keep nothing of what the command was given but standard error."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1):
        os.dup2(null, fd, inheritable=True)
    os.close(null)
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        try:
            if fd > 2 and not fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
                os.close(fd)
        except OSError:  # the listing's own
            continue


def close_all_but(kept: Iterable[int]) -> None:
    """Close everything except standard error and these."""
    low = 3
    for fd in sorted({fd for fd in kept if fd > 2}):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))
