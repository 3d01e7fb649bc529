"""A VHD file opened: the block allocation table, sector bitmaps, and what changes them."""

from __future__ import annotations

import errno

from vfs.api import Storage, damaged, fail
from vfs.vd.bitmaps import BitmapImage
from vfs.vd.blocks import ABSENT, PARTIAL, PRESENT
from vfs.vd.disk import DiskImage, FlatImage
from vfs.vd.opening import Opening
from vfs.vd.pages import PAGE, Table
from vfs.vd.space import Used
from vfs.vd.vhd import layout
from vfs.vd.vhd.footer import Found, disk_size, find_footer, read_header, valid_footer
from vfs.vd.vhd.layout import SECTOR, UNUSED, Header

_ABSENT_PAGE = b"\xff" * PAGE


class FixedImage(FlatImage):
    """The disk, and a footer behind it."""

    format = "vhd"

    def __init__(self, source: Storage, found: Found, writable: bool) -> None:
        super().__init__(source, disk_size(found.footer), writable=writable)
        self.identifier = found.footer.uuid

    def facts(self) -> dict[str, str | int]:
        return {"subformat": "fixed"}


class VhdImage(BitmapImage):
    """A dynamic disk, or a differencing one where it has a *parent*."""

    format = "vhd"
    has_empty = False

    def __init__(self, source: Storage, found: Found, header: Header, writable: bool, parent: DiskImage | None) -> None:
        super().__init__(source, disk_size(found.footer), writable, parent)
        self.footer, self.header = found.footer, header
        self.unit = header.block_size
        self.bitmap_size = layout.bitmap_size(header.block_size)
        self.stride = self.bitmap_size + self.unit
        self.table = Table(self.pages, header.table_offset, header.entries, layout.ENTRY)
        self.identifier = found.footer.uuid
        self._full = b"\xff" * self.bitmap_size if parent is not None else b""
        self._begun = False

    # ---------------------------------------------------------------- table and bitmaps

    def look(self, block: int) -> tuple[int, int]:
        entry = self.table[block]
        if entry == UNUSED:
            return ABSENT, -1
        start = entry * SECTOR
        if start < self.table.end and start + self.stride > self.table.offset:
            raise damaged(f"{self.name}: block {block} at {start}, inside the block table")
        place = self.inside(block, start + self.bitmap_size)
        if self.parent is None or self.pages.get(start, self.bitmap_size) == self._full:
            return PRESENT, place
        return PARTIAL, place

    def absent_from(self, block: int) -> int:
        return self.table.per_page if self.table.page_is(block, _ABSENT_PAGE) else 0

    def record(self, block: int, place: int) -> None:
        self.table[block] = (place - self.bitmap_size) // SECTOR

    record_partial = record

    def record_empty(self, block: int) -> None:
        self.table[block] = UNUSED

    def bits(self, block: int, place: int, first: int, count: int) -> str:
        start, end = first // 8, -(-(first + count) // 8)
        raw = self.pages.get(self.origin(place), self.bitmap_size)[start:end]
        return f"{int.from_bytes(raw, 'big'):0{8 * len(raw)}b}"[first - 8 * start :][:count]

    def mark(self, block: int, place: int, first: int, count: int) -> None:
        bitmap = self.pages.change(self.origin(place), self.bitmap_size)
        start, end = first // 8, -(-(first + count) // 8)
        ones = ((1 << count) - 1) << 8 * end - first - count
        bitmap[start:end] = (int.from_bytes(bitmap[start:end], "big") | ones).to_bytes(end - start, "big")

    # ---------------------------------------------------------------- room in the file

    def used(self) -> Used:
        table = -(-self.table.count * 4 // SECTOR) * SECTOR
        ranges = [(0, SECTOR), (self.footer.header_offset, layout.HEADER_SIZE), (self.table.offset, table)]
        for locator in self.header.parent_locators():
            if locator.platform != bytes(4) and locator.length and locator.offset < self.file.size:
                ranges.append((locator.offset, locator.length))
        return Used(ranges, [entry * SECTOR for entry in self.table if entry != UNUSED])

    def place(self, block: int, whole: bool) -> int:
        return self._place(b"\xff" * self.bitmap_size, whole)

    def place_partial(self, block: int) -> int:
        return self._place(bytes(self.bitmap_size), False)

    def _place(self, bitmap: bytes, whole: bool) -> int:
        space = self.space()
        start = space.take()
        if start // SECTOR >= UNUSED:
            fail(errno.EFBIG, f"{self.name}: the file would be larger than 2 TiB")
        place = start + self.bitmap_size
        with self.undone(place):
            old = self.file.size
            if old < space.end + SECTOR:
                # First the new footer, then what goes over the old one.
                self.file.write(space.end, self.footer.pack())
            if not whole and start < old:
                self.file.zero(start, min(old - start, self.stride))
            self.file.write(start, bitmap)
        if self.parent is not None:
            self.pages.keep(start, bytearray(bitmap))
        return place

    def origin(self, place: int) -> int:
        return place - self.bitmap_size

    def begin(self) -> None:
        if self._begun:
            return
        end = self.space().end
        if self.file.size < end + SECTOR or not valid_footer(self.file.read(self.file.size - SECTOR, SECTOR)):
            # A crash has left none, or half of a last block.
            self.file.write(end, self.footer.pack())
            self.shrink(end + SECTOR)
        self._begun = True

    def facts(self) -> dict[str, str | int]:
        return {"subformat": "dynamic" if self.parent is None else "differencing", "block size": self.unit}


def open_image(source: Storage, opening: Opening) -> DiskImage:
    """EINVAL, EUCLEAN, EOPNOTSUPP, and what is wrong with a parent."""
    if opening.snapshot is not None:
        fail(errno.EINVAL, f"{source.name}: a VHD image has no internal snapshots")
    found = find_footer(source)
    if found.footer.type != layout.DIFFERENCING and opening.parent is not None:
        fail(errno.EINVAL, f"{source.name}: has no parent")
    if found.footer.type == layout.FIXED:
        return FixedImage(source, found, opening.writable)
    header = read_header(source, found)
    if found.footer.type == layout.DYNAMIC:
        return VhdImage(source, found, header, opening.writable, None)
    from vfs.vd.vhd.parent import open_parent

    parent, name = open_parent(source, header, opening)
    try:
        image = VhdImage(source, found, header, opening.writable, parent)
    except BaseException:
        parent.close()
        raise
    image.parent_name = name
    return image
