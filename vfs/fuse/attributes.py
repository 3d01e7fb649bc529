"""A `Stat` in the form in which pyfuse3 hands it to the kernel."""

from __future__ import annotations

import errno
import stat

from vfs.api.errors import fail
from vfs.api.filesystem import StatFs
from vfs.api.node import Entry, Stat
from vfs.fuse.library import pyfuse3

FOREVER = 86400
"""Seconds that the kernel may keep names and attributes of what does not change: a day."""

OUTSIDE = 1.0
"""Seconds for what others may change."""

LARGEST = (1 << 63) - 1


def attributes(found: Stat, number: int, timeout: float = FOREVER) -> pyfuse3.EntryAttributes:
    """*number* is what the kernel calls the inode; pyfuse3 has one field for it and for `st_ino` (see `nodes`)."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = number
    entry.st_mode = found.mode
    entry.st_nlink = found.nlink
    entry.st_uid = found.uid
    entry.st_gid = found.gid
    entry.st_rdev = found.rdev
    entry.st_size = found.size
    entry.st_blocks = found.blocks
    entry.st_blksize = found.blksize
    entry.st_atime_ns = found.atime
    entry.st_mtime_ns = found.mtime
    entry.st_ctime_ns = found.ctime
    entry.entry_timeout = entry.attr_timeout = timeout
    return entry


def absent(timeout: float = FOREVER) -> pyfuse3.EntryAttributes:
    """The answer "there is no such name", to be remembered."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = 0
    entry.entry_timeout = timeout
    return entry


def name_only(number: int, type: int) -> pyfuse3.EntryAttributes:
    """A directory entry whose attributes are not known: the kernel asks again before it believes any of them."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = number
    entry.st_mode = type << 12 or stat.S_IFREG
    entry.entry_timeout = entry.attr_timeout = 0
    return entry


def name_only_of(entry: Entry, number: int) -> pyfuse3.EntryAttributes:
    return name_only(number, entry.type)


def statfs(found: StatFs) -> pyfuse3.StatvfsData:
    """The counts of statfs(2). EOVERFLOW: numbers that no kernel can take."""
    if max(found.blocks, found.free, found.available, found.files, found.files_free) > LARGEST:
        fail(errno.EOVERFLOW)
    answer = pyfuse3.StatvfsData()
    answer.f_bsize = answer.f_frsize = found.block_size
    answer.f_blocks = found.blocks
    answer.f_bfree = found.free
    answer.f_bavail = found.available
    answer.f_files = found.files
    answer.f_ffree = answer.f_favail = found.files_free
    answer.f_namemax = found.name_max
    return answer
