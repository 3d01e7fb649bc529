"""Where an image's file has room for another block."""

from __future__ import annotations

from typing import Final

from vfs.api import damaged

GAPS: Final = 1 << 16
"""Unused places that are remembered when the file is first looked through: the others stay unused until another time."""


class Space:
    """Places of *unit* bytes each. *used* are the ranges (start, length) that are taken, in any order; *end* is where they end,
    and so the place that a file grows by. A place given back is not taken again before `settle`: until the tables that no longer
    name it are durable, a crash would bring it back, with another block's content. EUCLEAN: two ranges overlap."""

    def __init__(self, name: str, used: list[tuple[int, int]], unit: int, alignment: int = 1) -> None:
        used.sort()
        self.unit, self.end = unit, 0
        self._free: list[int] = []
        self._given: list[int] = []
        for start, length in used:
            if start < self.end:
                raise damaged(f"{name}: two structures or blocks lie at {start} of the file; it is not written to")
            first = self.end
            while start - first >= unit and len(self._free) < GAPS:
                self._free.append(first)
                first += unit
            self.end = -(-(start + length) // alignment) * alignment
        self._free.reverse()

    def take(self) -> int:
        """A place, the lowest first where that costs nothing."""
        if self._free:
            return self._free.pop()
        place, self.end = self.end, self.end + self.unit
        return place

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
