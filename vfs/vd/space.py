"""Where an image's file has room for another block."""

from __future__ import annotations

from heapq import merge
from typing import Final

from vfs.api import damaged, unsupported

GAPS: Final = 1 << 16
"""Unused places that are remembered when the file is first looked through: the others stay unused until another time."""
BLOCKS: Final = 1 << 23
"""Blocks in a file that is written: their places are sorted in memory, once."""


class Used:
    """What a file is taken by: *ranges* (start, length), and *blocks* of one length by their starts; in any order."""

    def __init__(self, ranges: list[tuple[int, int]], blocks: list[int]) -> None:
        self.ranges, self.blocks = ranges, blocks


class Space:
    """Places of *unit* bytes each, in a file of *size* bytes. *end* is where what is used ends, and so the place that the file
    grows by. A place given back is not taken again before `settle`: until the tables that no longer name it are durable, a crash
    would bring it back, with another block's content. EUCLEAN: two ranges overlap, or begin outside the file; EOPNOTSUPP: too
    many of them."""

    def __init__(self, name: str, size: int, used: Used, unit: int, alignment: int = 1) -> None:
        if len(used.blocks) > BLOCKS:
            raise unsupported(f"{name}: has {len(used.blocks)} blocks, at most {BLOCKS} where it is to be written")
        self.unit = unit
        self._free: list[int] = []
        self._given: list[int] = []
        used.blocks.sort()
        used.ranges.sort()
        free, end = self._free, 0
        for start, length in merge(used.ranges, ((start, unit) for start in used.blocks)):
            if start < end:
                raise damaged(f"{name}: two structures or blocks lie at {start} of the file; it is not written to")
            if start >= size and length:
                raise damaged(f"{name}: a structure or block at {start}, outside the file of {size} bytes; it is not written to")
            while start - end >= unit and len(free) < GAPS:
                free.append(end)
                end += unit
            end = -(-(start + length) // alignment) * alignment
        self.end = end
        self._free.reverse()

    def take(self) -> int:
        """A place, the lowest first where that costs nothing."""
        if self._free:
            return self._free.pop()
        place, self.end = self.end, self.end + self.unit
        return place

    def untake(self, place: int) -> None:
        """Nothing came of `take`: no table has ever named the place."""
        if place + self.unit == self.end:
            self.end = place
        else:
            self._free.append(place)

    def extend(self, length: int) -> int:
        """A range of another length, at the end."""
        place, self.end = self.end, self.end + length
        return place

    def has_free(self) -> bool:
        """Whether `take` gives a place below the end."""
        return bool(self._free)

    def unused(self) -> list[int]:
        """The places below the end that nobody has."""
        return sorted(self._free)

    def give(self, place: int) -> None:
        self._given.append(place)

    def settle(self) -> list[int]:
        """What was given can be taken again: those places."""
        given, self._given = self._given, []
        self._free.extend(sorted(given, reverse=True))
        return given
