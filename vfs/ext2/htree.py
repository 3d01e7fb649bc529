"""The index of large directories: hash a name, find the blocks that may hold it. `directory.rst`, "Hash Tree Directories".

Block 0 is the root: after `.` and `..`, some info and a sorted list of (hash, block). Entry *i* leads to the names whose hash
is at least its own and below that of entry *i + 1*; the first entry's hash is not stored (its place holds count and limit) and
means 0. A tree of two levels with 4 KiB blocks has 508 * 511 leaves, of some 100 names each. Names of equal hash that did not
fit one leaf go on in the next one, whose entry then has the low bit of its hash set.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vfs.api import damaged
from vfs.ext2 import features, layout
from vfs.ext2.blockmap import Toll
from vfs.ext2.dirhash import LEGACY, TEA, UNSIGNED, dirhash
from vfs.ext2.layout import HashRoot

if TYPE_CHECKING:
    from vfs.ext2.inode import Ext2Node

_ROOT = HashRoot.pick("reserved", "hash_version", "info_length", "indirect_levels", "unused_flags")
_COUNT = struct.Struct("<HH")  # limit, count: struct dx_countlimit
_HASH = struct.Struct("<I")
_BLOCK = struct.Struct("<4xI")
_ENTRY_SIZE = 8
_BLOCK_MASK = 0x0FFFFFFF
_TAIL = 8  # of each index block, with metadata_csum: struct dx_tail


def hash_version(node: Ext2Node) -> int:
    """The number of the hash in use in an indexed directory, or the one that its first index would use."""
    filesystem = node.filesystem
    version = filesystem.superblock.def_hash_version
    if node.flags & layout.FL_INDEX and not node.flags & layout.FL_INLINE_DATA:
        version = _root(node)[1][1]
    if version <= TEA and filesystem.superblock.flags & layout.FLAG_UNSIGNED_HASH:
        version += UNSIGNED
    return version


def hash_name(node: Ext2Node, name: bytes) -> int | None:
    """The hash of *name* in this directory; `None`: by a hash that wants a key."""
    found = dirhash(hash_version(node), name, node.filesystem.superblock.hash_seed)
    return found[0] if found else None


def _root(node: Ext2Node) -> tuple[bytes, tuple[int, ...]]:
    """Block 0, and the root's info, checked. EUCLEAN."""
    raw = _block(node, 0)
    info: tuple[int, ...] = _ROOT.unpack_from(raw)
    reserved, version, info_length, levels, unused = info
    if reserved or unused & 1 or info_length != layout.HASH_INFO_LENGTH or not LEGACY <= version <= 6:
        raise damaged(f"inode {node.ino}: index root with hash {version}, info of {info_length} bytes, flags {unused}")
    limit = 2 if node.filesystem.geometry.incompat & features.LARGE_DIR else 1
    if levels > limit:
        raise damaged(f"inode {node.ino}: index with {levels} levels, at most {limit}")
    return raw, info


def _block(node: Ext2Node, number: int) -> bytes:
    """Block *number* of a directory. EUCLEAN: a hole, or beyond the end."""
    if (number + 1) * node.filesystem.block_size <= node.size:
        place = node.map.place(number)
        if place is not None:
            return node.filesystem.block(place)
    raise damaged(f"inode {node.ino}: the index leads to block {number}, which the directory does not have")


class _Level:
    """A place in the list of one index block."""

    __slots__ = ("at", "count", "head", "raw")

    def __init__(self, node: Ext2Node, raw: bytes, head: int) -> None:
        tail = _TAIL if node.filesystem.geometry.ro_compat & features.METADATA_CSUM else 0
        limit, count = _COUNT.unpack_from(raw, head)
        room = (len(raw) - head - tail) // _ENTRY_SIZE
        if limit != room or not 1 <= count <= limit:
            raise damaged(f"inode {node.ino}: index block with {count} entries, limit {limit}, there is room for {room}")
        self.raw, self.head, self.count, self.at = raw, head, count, 0

    def descend(self, name_hash: int) -> None:
        """To the last entry whose hash is not above."""
        low, high = 1, self.count  # the first of [low, high) that is above
        while low < high:
            middle = (low + high) // 2
            if self.hash(middle) > name_hash:
                high = middle
            else:
                low = middle + 1
        self.at = low - 1

    def hash(self, index: int) -> int:
        value: int = _HASH.unpack_from(self.raw, self.head + index * _ENTRY_SIZE)[0]
        return value

    def block(self) -> int:
        value: int = _BLOCK.unpack_from(self.raw, self.head + self.at * _ENTRY_SIZE)[0]
        return value & _BLOCK_MASK


def leaves(node: Ext2Node, name_hash: int | None) -> Iterator[bytes]:
    """The blocks that may hold a name of this hash. EUCLEAN: there is no usable index."""
    if name_hash is None:
        raise damaged(f"inode {node.ino}: no hash to look for")
    raw, info = _root(node)
    path = [_Level(node, raw, layout.HASH_ROOT_HEAD + layout.HASH_INFO_LENGTH)]
    path[0].descend(name_hash)
    for _ in range(info[3]):
        path.append(_Level(node, _block(node, path[-1].block()), layout.HASH_NODE_HEAD))
        path[-1].descend(name_hash)
    # Each step goes forward in one of the lists, so it ends; a hostile index has millions of equal hashes, so it ends soon.
    toll = Toll(node)
    while True:
        toll.pay(1)
        yield _block(node, path[-1].block())
        depth = len(path) - 1
        while path[depth].at + 1 >= path[depth].count:
            if depth == 0:
                return
            depth -= 1
        path[depth].at += 1
        if path[depth].hash(path[depth].at) != name_hash | 1:
            return
        for lower in range(depth + 1, len(path)):
            path[lower] = _Level(node, _block(node, path[lower - 1].block()), layout.HASH_NODE_HEAD)
