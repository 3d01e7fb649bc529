"""Extent trees. `ifork.rst`, "Extent Tree".

The root is in the inode and holds four entries, further nodes fill blocks. Each node is decoded whole, checked once and kept:
three lists of numbers, found in by bisection.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from operator import add, le
from typing import TYPE_CHECKING

from vfs.api import damaged
from vfs.ext2 import layout
from vfs.ext2.blockmap import BlockMap, Run, Toll
from vfs.ext2.layout import ExtentHeader

if TYPE_CHECKING:
    from vfs.ext2.inode import Ext2Node

_HEADER = ExtentHeader.pick("magic", "entries", "max", "depth")
_ENTRY_SIZE = 12
_HEAD_SIZE = 12
FILE_BLOCKS = 1 << 32
"""File blocks are numbered in 32 bits."""


class ExtentNode:
    """One decoded node of a tree: parallel lists. Inner nodes have no *lengths*; those of leaves include the unwritten mark."""

    __slots__ = ("blocks", "depth", "end", "lengths", "starts")

    def __init__(self, depth: int, starts: list[int], lengths: list[int], blocks: list[int], end: int) -> None:
        self.depth = depth
        self.starts = starts
        self.lengths = lengths
        self.blocks = blocks
        self.end = end  # of the last extent, in file blocks; for inner nodes one more than the last start


def decode(raw: bytes, where: str) -> ExtentNode:
    """A node from its bytes. EUCLEAN; *where* names it in the sentence."""
    magic, entries, limit, depth = _HEADER.unpack_from(raw)
    if magic != layout.EXTENT_MAGIC:
        raise damaged(f"{where}: magic {magic:#06x}, not {layout.EXTENT_MAGIC:#06x}")
    if depth > layout.EXTENT_MAX_DEPTH:
        raise damaged(f"{where}: depth {depth}, at most {layout.EXTENT_MAX_DEPTH}")
    if entries > limit or limit > (len(raw) - _HEAD_SIZE) // _ENTRY_SIZE:
        raise damaged(
            f"{where}: {entries} entries of at most {limit}, there is room for {(len(raw) - _HEAD_SIZE) // _ENTRY_SIZE}"
        )
    if depth:
        values = struct.unpack_from("<" + "IIHxx" * entries, raw, _HEAD_SIZE)
        starts = list(values[0::3])
        blocks = [high << 32 | low for low, high in zip(values[1::3], values[2::3])]
        if not entries:
            raise damaged(f"{where}: an inner node without entries")
        if not all(a < b for a, b in pairwise(starts)):
            raise damaged(f"{where}: entries out of order")
        return ExtentNode(depth, starts, [], blocks, starts[-1] + 1)
    values = struct.unpack_from("<" + "IHHI" * entries, raw, _HEAD_SIZE)
    starts, lengths = list(values[0::4]), list(values[1::4])
    blocks = [high << 32 | low for high, low in zip(values[2::4], values[3::4])]
    limit = layout.EXTENT_MAX_LENGTH
    ends = list(map(add, starts, [length if length <= limit else length - limit for length in lengths]))
    if 0 in lengths or not all(map(le, ends, starts[1:])):
        raise damaged(f"{where}: extents out of order, overlapping or empty")
    return ExtentNode(0, starts, lengths, blocks, ends[-1] if ends else 0)


class ExtentMap(BlockMap):
    """The map of an inode with the extents flag."""

    __slots__ = ("root",)
    limit = FILE_BLOCKS

    def __init__(self, node: Ext2Node) -> None:
        super().__init__(node)
        self.root = decode(node.block, f"inode {node.ino}: extent root")
        if self.root.end > FILE_BLOCKS:
            raise damaged(f"inode {node.ino}: extents end at file block {self.root.end}, at most {FILE_BLOCKS}")

    def mapped(self, first: int, end: int, toll: Toll) -> Iterator[Run]:
        return self._walk(self.root, FILE_BLOCKS, first, end, toll)

    def stretch(self, first: int, count: int) -> tuple[int | None, int]:
        tree, high = self.root, FILE_BLOCKS
        while True:
            index = bisect_right(tree.starts, first) - 1
            if index < 0:
                return None, 1
            if not tree.depth:
                break
            high = tree.starts[index + 1] if index + 1 < len(tree.starts) else high
            tree = self._below(tree, index, high)
        inside = first - tree.starts[index]
        length = tree.lengths[index]
        if inside >= length or length > layout.EXTENT_MAX_LENGTH:
            return None, 1
        block = tree.blocks[index]
        self.check(tree.starts[index], block, length)
        return block + inside, min(count, length - inside)

    def _walk(self, tree: ExtentNode, high: int, first: int, end: int, toll: Toll) -> Iterator[Run]:
        """The extents below *tree*, whose range ends at *high*, within *first* to *end*."""
        starts, blocks = tree.starts, tree.blocks
        begin = max(0, bisect_right(starts, first) - 1)
        if tree.depth:
            last = len(starts) - 1
            for index in range(begin, len(starts)):
                if starts[index] >= end:
                    return
                below_end = starts[index + 1] if index < last else high
                below = self._below(tree, index, below_end)
                toll.pay(1)
                yield from self._walk(below, below_end, first, end, toll)
            return
        lengths, limit = tree.lengths, layout.EXTENT_MAX_LENGTH
        for index in range(begin, len(starts)):
            start, length = starts[index], lengths[index]
            if start >= end:
                return
            if length > limit:  # unwritten
                continue
            stop = start + length
            if stop <= first:
                continue
            block = blocks[index]
            self.check(start, block, length)
            toll.pay(length)
            if start < first:
                block += first - start
                start = first
            yield Run(start, block, min(stop, end) - start)

    def _below(self, tree: ExtentNode, index: int, high: int) -> ExtentNode:
        """The node that entry *index* of *tree* leads to, checked to be a level lower and inside the entry's range."""
        filesystem = self.node.filesystem
        number = tree.blocks[index]
        found = filesystem.extent_nodes.get(number)
        if found is None:
            self.check(tree.starts[index], number, 1)
            found = decode(filesystem.block(number), f"inode {self.node.ino}: extent block {number}")
            filesystem.extent_nodes.put(number, found)
        if found.depth != tree.depth - 1:
            raise damaged(f"inode {self.node.ino}: extent block {number} has depth {found.depth}, not {tree.depth - 1}")
        if found.starts and (found.starts[0] < tree.starts[index] or found.end > high):
            raise damaged(
                f"inode {self.node.ino}: extent block {number} covers {found.starts[0]} to {found.end}, "
                f"its place is {tree.starts[index]} to {high}"
            )
        return found
