"""A VHDX file opened: the block table, sector bitmaps, and what changes them."""

from __future__ import annotations

import errno
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from vfs.api import Storage, damaged, fail
from vfs.vd.bitmaps import BitmapImage
from vfs.vd.blocks import ABSENT, EMPTY, PARTIAL, PRESENT
from vfs.vd.disk import DiskImage
from vfs.vd.opening import Opening
from vfs.vd.pages import PAGE, Table
from vfs.vd.space import Used
from vfs.vd.vhdx import layout
from vfs.vd.vhdx.headers import Headers
from vfs.vd.vhdx.journal import Journal
from vfs.vd.vhdx.layout import MIB, OFFSET_MASK, STATE_MASK
from vfs.vd.vhdx.log import Log, Replayed
from vfs.vd.vhdx.regions import Geometry, read_geometry

_ABSENT_PAGE: Final = bytes(PAGE)


class VhdxImage(BitmapImage):
    """*file* is the image as it is when its log has been replayed."""

    format = "vhdx"
    alignment = MIB

    def __init__(self, file: Storage, headers: Headers, geometry: Geometry, writable: bool, parent: DiskImage | None) -> None:
        super().__init__(file, geometry.size, writable, parent, geometry.sector)
        self.headers, self.geometry = headers, geometry
        self.physical_block_size = geometry.physical_sector
        self.unit = self.stride = geometry.block_size
        self.ratio = geometry.ratio
        self.bitmap_bytes = geometry.block_size // geometry.sector // 8
        self.keeps = geometry.leaves_allocated and parent is None
        # In whole pages: the region has whole MiB.
        per_page = PAGE // layout.ENTRY.size
        self.table = Table(self.pages, geometry.table.offset, -(-geometry.entries // per_page) * per_page, layout.ENTRY)
        self.identifier = headers.current.data_guid
        self._journal = Journal(file, headers) if writable else None
        self._begun = False

    # ---------------------------------------------------------------- the table

    def _index(self, block: int) -> int:
        return block + block // self.ratio

    def look(self, block: int) -> tuple[int, int]:
        entry = self.table[self._index(block)]
        state = entry & STATE_MASK
        if state == layout.FULLY_PRESENT:
            return PRESENT, self.inside(block, entry & OFFSET_MASK)
        if state == layout.NOT_PRESENT:
            return ABSENT, -1
        if state == layout.PARTIALLY_PRESENT and self.parent is not None:
            return PARTIAL, self.inside(block, entry & OFFSET_MASK)
        if state in (layout.ZERO, layout.UNMAPPED, layout.UNDEFINED):
            return EMPTY, -1
        raise damaged(f"{self.name}: block {block} in state {state}, which it cannot be in")

    def absent_from(self, block: int) -> int:
        index = self._index(block)
        if not self.table.page_is(index, _ABSENT_PAGE):
            return 0
        chunk, rest = divmod(index + self.table.per_page, self.ratio + 1)
        return chunk * self.ratio + min(rest, self.ratio) - block

    def record(self, block: int, place: int) -> None:
        self.table[self._index(block)] = place | layout.FULLY_PRESENT

    def record_partial(self, block: int, place: int) -> None:
        self.table[self._index(block)] = place | layout.PARTIALLY_PRESENT

    def record_empty(self, block: int) -> None:
        self.table[self._index(block)] = layout.ZERO

    # ---------------------------------------------------------------- bitmaps

    def _bitmap(self, block: int) -> int:
        """Where the block's bits begin in the file; -1: there is no bitmap yet. EUCLEAN."""
        chunk, number = divmod(block, self.ratio)
        entry = self.table[chunk * (self.ratio + 1) + self.ratio]
        if entry & STATE_MASK != layout.FULLY_PRESENT:
            return -1
        start = entry & OFFSET_MASK
        table, metadata = self.geometry.table, self.geometry.metadata
        for region in (table, metadata):
            if start < region.offset + region.length and start + MIB > region.offset:
                raise damaged(f"{self.name}: the bitmap of chunk {chunk} at {start}, inside another region")
        if start < MIB or start + MIB > self.file.size:
            raise damaged(f"{self.name}: the bitmap of chunk {chunk} at {start}, outside the file of {self.file.size} bytes")
        return start + number * self.bitmap_bytes

    def _pieces_of_bitmap(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """A range of bytes of the file by pages: page, first, last."""
        while start < end:
            page = start // PAGE * PAGE
            last = min(end, page + PAGE)
            yield page, start - page, last - page
            start = last

    def bits(self, block: int, place: int, first: int, count: int) -> str:
        bitmap = self._bitmap(block)
        if bitmap < 0:
            raise damaged(f"{self.name}: block {block} is partially present, but has no bitmap")
        start, end = first // 8, -(-(first + count) // 8)
        pieces = self._pieces_of_bitmap(bitmap + start, bitmap + end)
        raw = b"".join(self.pages.get(page, PAGE)[low:high] for page, low, high in pieces)
        return f"{int.from_bytes(raw, 'little'):0{8 * len(raw)}b}"[::-1][first - 8 * start :][:count]

    def mark(self, block: int, place: int, first: int, count: int) -> None:
        start, end = first // 8, -(-(first + count) // 8)
        ones = (((1 << count) - 1) << first - 8 * start).to_bytes(end - start, "little")
        done = 0
        bitmap = self._bitmap(block)
        for page, low, high in self._pieces_of_bitmap(bitmap + start, bitmap + end):
            content = self.pages.change(page, PAGE)
            some = ones[done : done + high - low]
            old = int.from_bytes(content[low:high], "little")
            content[low:high] = (old | int.from_bytes(some, "little")).to_bytes(high - low, "little")
            done += high - low

    def place_partial(self, block: int) -> int:
        bitmap = self._bitmap(block)
        if bitmap < 0:
            chunk = block // self.ratio
            start = self.claim(self.space().extend(layout.BITMAP_BLOCK), layout.BITMAP_BLOCK)
            self.table[chunk * (self.ratio + 1) + self.ratio] = start | layout.FULLY_PRESENT
            bitmap = self._bitmap(block)
        # What the bits say of a block that is not there is left over from somebody.
        for page, low, high in self._pieces_of_bitmap(bitmap, bitmap + self.bitmap_bytes):
            if any(self.pages.get(page, PAGE)[low:high]):
                self.pages.change(page, PAGE)[low:high] = bytes(high - low)
        return self.place(block, False)

    # ---------------------------------------------------------------- room in the file

    def used(self) -> Used:
        header, geometry = self.headers.current, self.geometry
        ranges: list[tuple[int, int]] = [(0, layout.HEADER_SECTION), (header.log_offset, header.log_length)]
        ranges += [(region.offset, region.length) for region in (geometry.table, geometry.metadata)]
        reserved: list[int] = []
        blocks: list[int] = []
        for index, entry in enumerate(self.table):
            if not entry:
                continue
            present = entry & STATE_MASK in (layout.FULLY_PRESENT, layout.PARTIALLY_PRESENT)
            if index % (self.ratio + 1) == self.ratio:
                if present:
                    ranges.append((entry & OFFSET_MASK, layout.BITMAP_BLOCK))
            elif present:
                blocks.append(entry & OFFSET_MASK)
            elif entry & OFFSET_MASK:
                reserved.append(entry & OFFSET_MASK)
        # Others may come back to the place that they have left in the entry of an unmapped block, if it is nobody's by now.
        ranges.sort()
        blocks.sort()
        kept: list[int] = []
        for start in sorted(reserved):
            if (not kept or kept[-1] + self.unit <= start) and self._nobodys(start, ranges, blocks):
                kept.append(start)
        return Used(ranges, blocks + kept)

    def _nobodys(self, start: int, ranges: list[tuple[int, int]], blocks: list[int]) -> bool:
        end = start + self.unit
        after, next_block = bisect_right(ranges, (start, 0)), bisect_right(blocks, start)
        return (
            end <= self.file.size
            and (not after or sum(ranges[after - 1]) <= start)
            and (after == len(ranges) or ranges[after][0] >= end)
            and (not next_block or blocks[next_block - 1] + self.unit <= start)
            and (next_block == len(blocks) or blocks[next_block] >= end)
        )

    # ---------------------------------------------------------------- changing

    def begin(self) -> None:
        if not self._begun and self._journal is not None:
            self.space()
            self._journal.begin()
            self._begun = True

    def sync(self) -> None:
        self.file.flush()
        if self.pages.changed and self._journal is not None:
            # Bitmaps before the blocks that they speak of; and a bitmap's own entry, which stands behind those of its blocks,
            # before them: so that no block refers to what is not there.
            start, end = self.table.offset, self.table.end
            order = sorted(self.pages.changed.items(), key=lambda page: (start <= page[0] < end, -page[0]))
            self._journal.write(order)
            self.pages.changed.clear()
        self.settle()

    def finish(self) -> None:
        if self._begun and self._journal is not None:
            self.sync()
            self._journal.end()
            self._begun = False

    def facts(self) -> dict[str, str | int]:
        kind = "differencing" if self.parent is not None else "fixed" if self.keeps else "dynamic"
        found: dict[str, str | int] = {"subformat": kind, "block size": self.unit, "sector size": self.block_size}
        if isinstance(self.file, Replayed):
            found["log"] = "holds changes, which are shown; writing puts them into the file"
        return found


def open_image(source: Storage, opening: Opening) -> VhdxImage:
    """EINVAL, EUCLEAN, EOPNOTSUPP, and what is wrong with a parent."""
    if opening.snapshot is not None:
        fail(errno.EINVAL, f"{source.name}: a VHDX image has no internal snapshots")
    headers = Headers(source)
    log = Log(source, headers.current)
    file = source
    if log.changes and opening.writable:
        log.replay(source)
        source.flush()
        headers.update(file_guid=headers.current.file_guid, log_guid=layout.NO_GUID)
    elif log.changes:
        file = Replayed(source, log)
    geometry = read_geometry(file, headers.current)
    if not geometry.has_parent:
        if opening.parent is not None:
            fail(errno.EINVAL, f"{source.name}: has no parent")
        return VhdxImage(file, headers, geometry, opening.writable, None)
    from vfs.vd.vhdx.parent import open_parent

    parent, name = open_parent(source, geometry.locator, opening)
    try:
        image = VhdxImage(file, headers, geometry, opening.writable, parent)
    except BaseException:
        parent.close()
        raise
    image.parent_name = name
    return image
