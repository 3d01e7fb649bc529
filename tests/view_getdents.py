"""Directories by getdents and by getdents64, in pieces of many sizes; they are printed. Run as `view_getdents.py TREE`."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

from vfs.view.kernel.machine import current

libc = ctypes.CDLL(None, use_errno=True)


def entries(directory: str, name: str, size: int) -> list[tuple[int, bytes, int]] | str:
    """(inode, name, type) of all entries, or what is wrong."""
    descriptor = os.open(directory, os.O_RDONLY)
    buffer, found = ctypes.create_string_buffer(size), []
    while True:
        count = libc.syscall(current().calls[name], descriptor, buffer, size)
        if count < 0:
            return errno.errorcode[ctypes.get_errno()]
        if not count:
            os.close(descriptor)
            return sorted(found)
        at = 0
        while at < count:
            ino, _, length = struct.unpack_from("<QQH", buffer.raw, at)
            record = buffer.raw[at : at + length]
            kind, start = (record[18], 19) if name == "getdents64" else (record[-1], 18)
            found.append((ino, record[start:].split(b"\0")[0], kind))
            at += length


for directory in ("", "/deep", "/src", "/deep/a/b/c"):
    for size in (24, 64, 100, 1000, 100000):
        new, old = (entries(sys.argv[1] + directory, name, size) for name in ("getdents64", "getdents"))
        print(directory, size, new if isinstance(new, str) else len(new), old if isinstance(old, str) else old == new)
print(entries(sys.argv[1] + "/src", "getdents", 1000))
print(entries(sys.argv[1] + "/big", "getdents", 1000))
