"""Structures that system calls exchange with their callers, little endian, 64-bit.  Source: the header named at each.

Packing is on the hot path (every stat): one precompiled Struct.pack a call.  Times are nanoseconds since 1970.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vfs.view.kernel import abi
from vfs.view.kernel.machine import current

_SECOND = 10**9

pack_stat = current().pack_stat


def signed(value: int) -> int:
    """The int (32 bits) in an argument register: a descriptor, a dirfd."""
    return (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000


def signed64(value: int) -> int:
    """The long (64 bits) in an argument register: an offset."""
    return (value & 0xFFFFFFFFFFFFFFFF ^ 0x8000000000000000) - 0x8000000000000000


# ---------------------------------------------------------------- linux/stat.h: struct statx, 256 bytes
# mask blksize attributes nlink uid gid mode pad ino size blocks attributes_mask,
# atime btime ctime mtime as (s, ns, pad), rdev major minor, dev major minor, mnt_id, spare
_STATX = struct.Struct("<IIQIIIHHQQQQ" + "qII" * 4 + "IIIIQ104x")


def pack_statx(
    mask: int,
    dev: int,
    ino: int,
    mode: int,
    nlink: int,
    uid: int,
    gid: int,
    rdev: int,
    size: int,
    blksize: int,
    blocks: int,
    atime_ns: int,
    mtime_ns: int,
    ctime_ns: int,
    btime_ns: int = 0,
    attributes: int = 0,
    attributes_mask: int = 0,
    mount_id: int = 0,
) -> bytes:
    """struct statx.  `mask` (STATX_*) says which fields are valid."""
    return _STATX.pack(
        mask,
        blksize,
        attributes,
        nlink,
        uid,
        gid,
        mode,
        0,
        ino,
        size,
        blocks,
        attributes_mask,
        atime_ns // _SECOND,
        atime_ns % _SECOND,
        0,
        btime_ns // _SECOND,
        btime_ns % _SECOND,
        0,
        ctime_ns // _SECOND,
        ctime_ns % _SECOND,
        0,
        mtime_ns // _SECOND,
        mtime_ns % _SECOND,
        0,
        _major(rdev),
        _minor(rdev),
        _major(dev),
        _minor(dev),
        mount_id,
    )


def _major(dev: int) -> int:
    """The C library's makedev layout, without its function's price."""
    return dev >> 8 & 0xFFF | dev >> 32 & 0xFFFFF000


def _minor(dev: int) -> int:
    return dev & 0xFF | dev >> 12 & 0xFFFFFF00


# ---------------------------------------------------------------- asm-generic/statfs.h: struct statfs, 120 bytes
# type bsize blocks bfree bavail files ffree fsid[2] namelen frsize flags spare[4]
_STATFS = struct.Struct("<7Q2i3Q32x")


def pack_statfs(
    type: int,
    bsize: int,
    blocks: int,
    bfree: int,
    bavail: int,
    files: int,
    ffree: int,
    fsid: tuple[int, int],
    namelen: int,
    frsize: int,
    flags: int,
) -> bytes:
    """struct statfs.  `flags` (ST_*) should have ST_VALID."""
    return _STATFS.pack(
        type, bsize, blocks, bfree, bavail, files, ffree, signed(fsid[0]), signed(fsid[1]), namelen, frsize, flags
    )


# ---------------------------------------------------------------- linux/dirent.h
_DIRENT64 = struct.Struct("<QqHB")  # ino, next, record length, type; then the name with its NUL, to 8 bytes
_DIRENT64_HEAD = _DIRENT64.size
_DIRENT = struct.Struct("<QQH")  # ino, next, record length; name, NUL, padding; the type is the last byte
_DIRENT_HEAD = _DIRENT.size


def pack_dirent64(ino: int, next: int, type: int, name: bytes) -> bytes:
    """struct linux_dirent64, for getdents64.  `next`: the position to seek to for what follows; `type`: DT_*."""
    size = _DIRENT64_HEAD + len(name) + 8 & ~7
    return (_DIRENT64.pack(ino, next, size, type) + name).ljust(size, b"\0")


def pack_dirent(ino: int, next: int, type: int, name: bytes) -> bytes:
    """struct linux_dirent, for the old getdents."""
    size = _DIRENT_HEAD + len(name) + 9 & ~7
    return (_DIRENT.pack(ino, next, size) + name).ljust(size - 1, b"\0") + bytes((type,))


# ---------------------------------------------------------------- linux/openat2.h
_OPEN_HOW = struct.Struct("<QQQ")


class OpenHow(NamedTuple):
    flags: int
    mode: int
    resolve: int


def unpack_open_how(text: bytes) -> OpenHow:
    """struct open_how of any size that the caller gave.

    EINVAL when it is shorter than the first version; E2BIG when bytes that we do not know are not zero.
    """
    if len(text) < abi.OPEN_HOW_SIZE:
        raise OSError(22, "openat2: the structure is too short")
    if any(text[abi.OPEN_HOW_SIZE :]):
        raise OSError(7, "openat2: the structure has fields that are not known here")
    return OpenHow(*_OPEN_HOW.unpack_from(text))


# ---------------------------------------------------------------- linux/uio.h, linux/socket.h
MSGHDR_SIZE = 56
MMSGHDR_SIZE = 64
_MSGHDR = struct.Struct("<QI4xQQQQI4x")  # name, namelen, iov, iovlen, control, controllen, flags
_CMSGHDR = struct.Struct("<Qii")  # len (with this header), level, type


class Message(NamedTuple):
    """struct msghdr: addresses and sizes in the caller."""

    name: int
    name_size: int
    iov: int
    iov_count: int
    control: int
    control_size: int
    flags: int


def unpack_msghdr(text: bytes) -> Message:
    return Message(*_MSGHDR.unpack_from(text))


def unpack_iovecs(text: bytes) -> list[tuple[int, int]]:
    """An array of struct iovec: (address, size)."""
    words = struct.unpack(f"<{len(text) // 8}Q", text[: len(text) & ~7])
    return list(zip(words[::2], words[1::2]))


def pack_iovecs(pieces: Sequence[tuple[int, int]]) -> bytes:
    return b"".join(struct.pack("<QQ", address, size) for address, size in pieces)


def passed_descriptors(control: bytes) -> Iterator[int]:
    """The descriptors in the SCM_RIGHTS parts of a control buffer.  What is malformed ends it, as in the kernel."""
    at = 0
    while at + _CMSGHDR.size <= len(control):
        size, level, kind = _CMSGHDR.unpack_from(control, at)
        if size < _CMSGHDR.size or size > len(control) - at:
            return
        if (level, kind) == (abi.SOL_SOCKET, abi.SCM_RIGHTS):
            count = (size - _CMSGHDR.size) // 4
            yield from struct.unpack_from(f"<{count}i", control, at + _CMSGHDR.size)
        at += size + 7 & ~7
