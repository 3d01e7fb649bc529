"""BitmapImage: a differencing disk whose blocks have bitmaps: of each sector they say whether it is here or in the parent.

A sector is written in a place that nobody reads, and then its bit is set: with the tables, after the content is durable.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from vfs.vd.blocks import PARTIAL, BlockImage
from vfs.vd.disk import DATA, HOLE, Run


class BitmapImage(BlockImage):
    """The bitmaps count sectors of *block_size* bytes, as the disk does."""

    # ---------------------------------------------------------------- of the format

    def bits(self, block: int, place: int, first: int, count: int) -> str:
        """The bits of a range of a block's sectors: `1` is here, `0` is in the parent."""
        raise NotImplementedError

    def mark(self, block: int, place: int, first: int, count: int) -> None:
        """These sectors are here from now on."""
        raise NotImplementedError

    def place_partial(self, block: int) -> int:
        """A place for a block of which nothing is here yet, and a bitmap that says so."""
        raise NotImplementedError

    def record_partial(self, block: int, place: int) -> None:
        """The table names *place* from now on, and the bitmap says what is there."""
        raise NotImplementedError

    # ---------------------------------------------------------------- reading

    def parts(self, block: int, place: int, at: int, size: int) -> Iterator[Run]:
        sector, end = self.block_size, at + size
        first = at // sector
        bits = self.bits(block, place, first, -(-end // sector) - first)
        start = 0
        while start < len(bits):
            here = bits[start] == "1"
            stop = bits.find("0" if here else "1", start)
            stop = len(bits) if stop < 0 else stop
            low, high = max(at, (first + start) * sector), min(end, (first + stop) * sector)
            yield Run(low, high - low, DATA, self.file, place + low) if here else Run(low, high - low, HOLE)
            start = stop

    # ---------------------------------------------------------------- changing

    def _target(self, block: int) -> tuple[int, bool]:
        """Where the block's content goes, and whether the table does not say so yet."""
        state, place = self.look(block)
        return (place, False) if state == PARTIAL else (self.place_partial(block), True)

    def _put(self, block: int, place: int, new: bool, first: int, count: int) -> None:
        if new:
            self.record_partial(block, place)
        self.mark(block, place, first, count)

    def write_part(self, block: int, at: int, content: memoryview) -> None:
        sector, end = self.block_size, at + len(content)
        first, last = at // sector, -(-end // sector)
        if at % sector or end % sector:
            # What the sectors at either end hold beside is taken over from wherever it is.
            whole = bytearray((last - first) * sector)
            for number in {first, last - 1}:
                start = (number - first) * sector
                self.readinto(block * self.unit + number * sector, memoryview(whole)[start : start + sector])
            whole[at - first * sector : end - first * sector] = content
            content = memoryview(whole)
        place, new = self._target(block)
        with self.undone(place) if new else contextlib.nullcontext():
            self.file.write(place + first * sector, content)
        self._put(block, place, new, first, last - first)

    def zero_part(self, block: int, at: int, size: int) -> None:
        sector, end = self.block_size, at + size
        first, last = -(-at // sector), end // sector
        if first >= last:
            self.write_part(block, at, memoryview(bytes(size)))
            return
        if at % sector:
            self.write_part(block, at, memoryview(bytes(first * sector - at)))
        if end % sector:
            self.write_part(block, last * sector, memoryview(bytes(end - last * sector)))
        place, new = self._target(block)
        with self.undone(place) if new else contextlib.nullcontext():
            self.file.zero(place + first * sector, (last - first) * sector)
        self._put(block, place, new, first, last - first)
