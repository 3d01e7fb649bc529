"""Calls of Linux that Python's `os` lacks, or lacks in part. Errors are `OSError` without a file name.

Layouts: `include/uapi/linux/stat.h` (statx), `include/linux/dirent.h` (linux_dirent64), `include/uapi/asm-generic/statfs.h`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import threading
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_size_t, c_ssize_t, c_uint, c_void_p
from functools import cache
from typing import Any, Final, NamedTuple

from vfs.api import Stat, StatFs, fail

AT_FDCWD: Final = -100
STATX_FLAGS: Final = 0x100 | 0x800 | 0x1000
"""AT_SYMLINK_NOFOLLOW, AT_NO_AUTOMOUNT, AT_EMPTY_PATH."""
STATX_BASIC_AND_BTIME: Final = 0xFFF
STATX_BTIME: Final = 0x800
OF_THE_MOUNT: Final = 0x1000 | 0x2000
"""STATX_ATTR_AUTOMOUNT, STATX_ATTR_MOUNT_ROOT: they say something of the host's mounts."""
UTIME_OMIT: Final = 0x3FFFFFFE

NOWHERE: Final = b""
"""The name with which a call means the descriptor itself."""

_statx = struct.Struct("<IIQIIIHxxQQQ8xqI4xqI4xqI4xqI4xIIQ")
_dirent = struct.Struct("<QqHB")
_statfs = struct.Struct("@llQQQQQIIlll4l")
_timespecs = struct.Struct("@llll")


class _Buffer(threading.local):
    """Room for an answer, one a thread."""

    def __init__(self) -> None:
        self.buffer = ctypes.create_string_buffer(256)
        self.address = ctypes.addressof(self.buffer)


_answer = _Buffer()
_libc = ctypes.CDLL(None, use_errno=True)


def _function(name: str, *arguments: Any, result: Any = c_int) -> Callable[..., int]:
    function = getattr(_libc, name)
    function.argtypes, function.restype = arguments, result
    found: Callable[..., int] = function
    return found


_call_statx = _function("statx", c_int, c_char_p, c_int, c_uint, c_void_p)
_call_getdents64 = _function("getdents64", c_int, c_void_p, c_size_t, result=c_ssize_t)
_call_renameat2 = _function("renameat2", c_int, c_char_p, c_int, c_char_p, c_uint)
_call_fstatfs = _function("fstatfs", c_int, c_void_p)
_call_syncfs = _function("syncfs", c_int)
_call_utimensat = _function("utimensat", c_int, c_char_p, c_void_p, c_int)


Found = tuple[int, Stat]
"""What statx(2) tells: the device, as `device_of` numbers it, and the attributes, whose *ino* is the host's."""


@cache
def device_of(st_dev: int) -> int:
    """The number of a device, in the form in which `statx` gives it."""
    return os.minor(st_dev) << 32 | os.major(st_dev)


def statx(directory: int, name: bytes) -> Found:
    """The attributes of *name* in the directory of a descriptor, or, where it is empty, of the descriptor. Follows no link."""
    answer = _answer
    if _call_statx(directory, name, STATX_FLAGS, STATX_BASIC_AND_BTIME, answer.address):
        fail(ctypes.get_errno())
    (
        mask,
        blksize,
        attributes,
        nlink,
        uid,
        gid,
        mode,
        ino,
        size,
        blocks,
        atime,
        atime_ns,
        btime,
        btime_ns,
        ctime,
        ctime_ns,
        mtime,
        mtime_ns,
        major,
        minor,
        device,
    ) = _statx.unpack_from(answer.buffer)
    return device, Stat(
        ino,
        mode,
        nlink,
        uid,
        gid,
        os.makedev(major, minor) if major or minor else 0,
        size,
        blocks,
        blksize,
        atime * 1_000_000_000 + atime_ns,
        mtime * 1_000_000_000 + mtime_ns,
        ctime * 1_000_000_000 + ctime_ns,
        btime * 1_000_000_000 + btime_ns if mask & STATX_BTIME else None,
        attributes & ~OF_THE_MOUNT,
    )


class Dirent(NamedTuple):
    """One entry of a directory; *next* is the position after it, for lseek(2)."""

    name: bytes
    ino: int
    type: int
    next: int


def getdents(directory: int, size: int = 32768) -> list[Dirent]:
    """The next entries of an open directory, `.` and `..` left out; empty at its end."""
    buffer = (ctypes.c_char * size)()
    while True:
        count = _call_getdents64(directory, buffer, size)
        if count < 0:
            if ctypes.get_errno() == errno.ENOENT:
                return []  # the directory is removed
            fail(ctypes.get_errno())
        content = ctypes.string_at(buffer, count)
        found = []
        offset = 0
        while offset < count:
            ino, following, length, kind = _dirent.unpack_from(content, offset)
            name = content[offset + _dirent.size : content.index(0, offset + _dirent.size)]
            offset += length
            if name != b"." and name != b"..":
                found.append(Dirent(name, ino, kind, following))
        if found or not count:
            return found


def renameat2(old_directory: int, old: bytes, new_directory: int, new: bytes, flags: int) -> None:
    """renameat2(2)."""
    if _call_renameat2(old_directory, old, new_directory, new, flags):
        fail(ctypes.get_errno())


def utimens(path: bytes, atime: int | None, mtime: int | None) -> None:
    """utimensat(2) with times in nanoseconds; `None` leaves one as it is."""
    times: list[int] = []
    for time in (atime, mtime):
        times += (0, UTIME_OMIT) if time is None else divmod(time, 1_000_000_000)
    if _call_utimensat(AT_FDCWD, path, ctypes.create_string_buffer(_timespecs.pack(*times)), 0):
        fail(ctypes.get_errno())


def fstatfs(descriptor: int) -> StatFs:
    """fstatfs(2)."""
    answer = _answer
    if _call_fstatfs(descriptor, answer.address):
        fail(ctypes.get_errno())
    kind, size, blocks, free, available, files, files_free, low, high, name_max, fragment, *_ = _statfs.unpack_from(answer.buffer)
    return StatFs(kind, fragment or size, blocks, free, available, files, files_free, name_max, high << 32 | low)


def syncfs(descriptor: int) -> None:
    """syncfs(2)."""
    if _call_syncfs(descriptor):
        fail(ctypes.get_errno())
