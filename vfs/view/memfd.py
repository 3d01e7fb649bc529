"""Memfds as the processes of a view get them: filled by us, then read-only.

A descriptor that is open for writing anywhere would make execve of the file fail with ETXTBSY, so none is kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from vfs.view.kernel.abi import MFD_EXEC


def make_memfd(name: bytes, fill: Callable[[int], None]) -> int:
    """A read-only descriptor of a new memfd, after *fill* was called with one to write to."""
    try:
        writer = os.memfd_create(os.fsdecode(name), os.MFD_CLOEXEC | MFD_EXEC)
    except OSError:  # before Linux 6.3 the flag is not known, and not needed
        writer = os.memfd_create(os.fsdecode(name), os.MFD_CLOEXEC)
    try:
        fill(writer)
        return os.open(b"/proc/self/fd/%d" % writer, os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(writer)
