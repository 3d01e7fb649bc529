"""Directories: find a name, list the entries. `directory.rst`.

A directory's blocks each hold whole entries, chained by their lengths. An indexed directory's inner blocks look like one empty
entry, so that listing reads every block alike; finding goes through the index (`htree`). What is damaged is told of, but not
at the cost of the rest: listing goes on behind it, and fails at its end.

Cookies are positions: that of the byte behind the entry, counted from the directory's begin.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vfs.api import Entry, damaged, fail
from vfs.ext2 import layout
from vfs.ext2.layout import DirEntry

if TYPE_CHECKING:
    from vfs.ext2.inode import Ext2Node

_HEAD = DirEntry.pick("inode", "rec_len", "name_len", "file_type")


def entries(node: Ext2Node, start: int) -> Iterator[Entry]:
    """The entries behind cookie *start*. EUCLEAN, after all that can be read: the first thing that is wrong."""
    size = node.filesystem.block_size
    problem: OSError | None = None
    first = start // size
    for run in node.map.runs(first, -(-node.size // size) - first):
        if run.fs_block is None:
            continue
        for index in range(run.length):
            raw = node.filesystem.block(run.fs_block + index)
            found, wrong = decode(node, raw, (run.file_block + index) * size)
            problem = problem or wrong
            for entry in found:
                if entry.next > start:
                    yield entry
    if problem is not None:
        raise problem


def decode(node: Ext2Node, raw: bytes, base: int) -> tuple[list[Entry], OSError | None]:
    types = layout.DIRENT_TYPES
    found = []
    position, end = 0, len(raw)
    while position < end:
        ino, rec_len, name_len, kind = _HEAD.unpack_from(raw, position)
        if rec_len < 12 or position + rec_len > end or rec_len & 3:
            return found, damaged(f"inode {node.ino}: entry at {base + position} has rec_len {rec_len}")
        if ino:
            name = raw[position + 8 : position + 8 + name_len]
            if name not in (b".", b".."):
                found.append(Entry(name, ino, types[kind], base + position + rec_len))
        position += rec_len
    return found, None


def find(node: Ext2Node, name: bytes) -> int:
    for entry in entries(node, 0):
        if entry.name == name:
            return entry.ino
    fail(errno.ENOENT)


def parent(node: Ext2Node) -> int:
    raw = node.filesystem.block(next(iter(node.map.runs(0, 1))).fs_block or 0)
    return int(struct.unpack_from("<I", raw, 12)[0])
