"""The time that a change is stamped with: the kernel's own stamp of a file that changes now.

A view's files are changed partly by the kernel (what a process writes into its page cache) and partly by modules (what it
creates). `make` compares the two, so they must come from one clock: the kernel stamps with the time of its last tick, or finer
where somebody has looked since, which no clock that a program can read follows.
"""

from __future__ import annotations

import os

_stamped = os.memfd_create("vfs.clock", os.MFD_CLOEXEC)


def now() -> int:
    """Nanoseconds since 1970."""
    os.utime(_stamped)
    return os.fstat(_stamped).st_mtime_ns
