"""Block maps of ext2 and ext3. `blockmap.rst`, "Direct/Indirect Block Addressing".

Twelve block numbers in the inode, then one block of numbers, one of blocks of numbers, and one of these. 0 is a hole, at each
level of everything below it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vfs.ext2.blockmap import BlockMap, Run, Toll

if TYPE_CHECKING:
    from vfs.ext2.inode import Ext2Node

DIRECT = 12
_NUMBERS = struct.Struct("<15I")


class IndirectMap(BlockMap):
    """The map of an inode without the extents flag."""

    __slots__ = ("limit", "numbers", "per_block")

    def __init__(self, node: Ext2Node) -> None:
        super().__init__(node)
        self.numbers: tuple[int, ...] = _NUMBERS.unpack(node.block)
        self.per_block = n = node.filesystem.block_size // 4
        self.limit = DIRECT + n + n**2 + n**3

    def mapped(self, first: int, end: int, toll: Toll) -> Iterator[Run]:
        if first < DIRECT:
            stop = min(end, DIRECT)
            yield from self._joined(self.numbers[first:stop], first, toll)
        base = DIRECT
        for level in (1, 2, 3):
            span = self.per_block**level
            number = self.numbers[DIRECT + level - 1]
            if number and first < base + span and base < end:
                yield from self._below(number, level, base, first, end, toll)
            base += span

    def _below(self, number: int, level: int, base: int, first: int, end: int, toll: Toll) -> Iterator[Run]:
        """What block *number*, *level* levels above content, maps from file block *base* on."""
        toll.pay(1)
        self.check(base, number, 1)
        filesystem = self.node.filesystem
        numbers = filesystem.block(number)
        if level == 1:
            # Most requests look at few of the numbers.
            index, stop = max(0, first - base), min(self.per_block, end - base)
            yield from self._joined(struct.unpack_from(f"<{stop - index}I", numbers, index * 4), base + index, toll)
            return
        span = self.per_block ** (level - 1)
        start = max(0, (first - base) // span)
        for index in range(start, self.per_block):
            below = base + index * span
            if below >= end:
                return
            (next_number,) = struct.unpack_from("<I", numbers, index * 4)
            if next_number:
                yield from self._below(next_number, level - 1, below, first, end, toll)

    def _joined(self, numbers: tuple[int, ...], base: int, toll: Toll) -> Iterator[Run]:
        """Content blocks *numbers*, for file blocks from *base* on, as runs."""
        index, stop = 0, len(numbers)
        while index < stop:
            number = numbers[index]
            if not number:
                index += 1
                continue
            start = index
            index += 1
            while index < stop and numbers[index] == number + index - start:
                index += 1
            count = index - start
            self.check(base + start, number, count)
            toll.pay(count)
            yield Run(base + start, number, count)
