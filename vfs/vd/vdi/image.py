"""A VDI file opened: the header, the block map, and what changes them."""

from __future__ import annotations

import errno
import os
from typing import Final

from vfs.api import Storage, damaged, fail, unsupported
from vfs.vd.blocks import ABSENT, EMPTY, PRESENT, BlockImage
from vfs.vd.disk import DiskImage
from vfs.vd.opening import Opening
from vfs.vd.pages import PAGE, Table
from vfs.vd.space import Space, Used
from vfs.vd.vdi import layout
from vfs.vd.vdi.layout import FREE, Header

BLOCK_MAX: Final = 256 << 20
_ABSENT_PAGE: Final = b"\xff" * PAGE
_MOVED: Final = 1 << 20


def read_header(source: Storage) -> Header:
    """Checked, as far as it says where things are. EINVAL, EUCLEAN, EOPNOTSUPP."""
    name = source.name
    if source.size < layout.HEADER_SIZE or source.read(layout.SIGNATURE_OFFSET, 4) != layout.SIGNATURE:
        fail(errno.EINVAL, f"{name}: not a VDI image")
    header = Header.unpack(source.read(0, layout.HEADER_SIZE))
    if header.version != layout.VERSION:
        raise unsupported(f"{name}: VDI version {header.version >> 16}.{header.version & 0xFFFF}, only 1.1 is read")
    if header.type == layout.UNDO:
        raise unsupported(f"{name}: a VDI undo image")
    if header.type not in (layout.DYNAMIC, layout.FIXED, layout.DIFFERENCING):
        raise damaged(f"{name}: VDI image type {header.type}, known are 1, 2 and 4")
    if not 512 <= header.block_size <= BLOCK_MAX or header.block_size % 512 or header.block_extra % 512:
        raise damaged(
            f"{name}: blocks of {header.block_size} bytes and {header.block_extra} before each; "
            f"multiples of 512 up to {BLOCK_MAX} are allowed"
        )
    if header.disk_size > header.blocks * header.block_size:
        raise damaged(f"{name}: {header.blocks} blocks of {header.block_size} are less than the disk's {header.disk_size} bytes")
    if header.map_offset < layout.HEADER_SIZE - 16 or header.map_offset + header.blocks * 4 > source.size:
        raise damaged(f"{name}: a block map of {header.blocks} entries at {header.map_offset} of {source.size} bytes")
    if header.data_offset < header.map_offset + header.blocks * 4:
        raise damaged(f"{name}: data at {header.data_offset}, inside the block map")
    return header


class VdiImage(BlockImage):
    """*header* is as it was opened; what changes of it is `allocated`, the UUID of the last change."""

    format = "vdi"

    def __init__(self, source: Storage, header: Header, writable: bool, parent: DiskImage | None) -> None:
        super().__init__(source, header.disk_size // 512 * 512, writable, parent)
        self.header = header
        self.unit, self.stride = header.block_size, header.block_size + header.block_extra
        self.keeps = header.type == layout.FIXED
        self.table = Table(self.pages, header.map_offset, header.blocks, layout.ENTRY)
        self.allocated_blocks = header.allocated
        self.identifier = header.uuid, header.modified
        self._begun = False

    # ---------------------------------------------------------------- the map

    def look(self, block: int) -> tuple[int, int]:
        entry = self.table[block]
        if entry >= layout.ZERO:
            return ABSENT if entry == FREE else EMPTY, -1
        return PRESENT, self.inside(block, self._content(entry))

    def _content(self, entry: int) -> int:
        return self.header.data_offset + entry * self.stride + self.header.block_extra

    def absent_from(self, block: int) -> int:
        return self.table.per_page if self.table.page_is(block, _ABSENT_PAGE) else 0

    def record(self, block: int, place: int) -> None:
        self.table[block] = (place - self.header.data_offset) // self.stride

    def record_empty(self, block: int) -> None:
        self.table[block] = FREE if self.parent is None else layout.ZERO

    def place(self, block: int, whole: bool) -> int:
        space = self.space()
        if not space.has_free() and (space.end - self.header.data_offset) // self.stride >= self.header.blocks:
            # What was given up since the last one is free then; or else, while somebody reads it, the file has for some time more
            # blocks than the disk. `finish` ends that.
            self.sync()
        place = space.take()
        content = place + self.header.block_extra
        with self.undone(content):
            self.claim(place, self.stride, whole)
        return content

    def origin(self, place: int) -> int:
        return place - self.header.block_extra

    def used(self) -> Used:
        start, stride = self.header.data_offset, self.stride
        return Used([(0, start)], [start + entry * stride for entry in self.table if entry < layout.ZERO])

    # ---------------------------------------------------------------- changing

    def begin(self) -> None:
        if self._begun:
            return
        self.space()
        # Children remember the parent's last change: from now on they would be told that it has changed.
        self.file.write(layout.MODIFIED_OFFSET, os.urandom(16))
        self._begun = True

    def write_ahead(self) -> None:
        # Never less than is in use: other programs take the number for the place of the next block.
        self._write_count()

    def _write_count(self) -> None:
        """The number of blocks in the file, those in gaps included, until `finish` has filled the gaps."""
        count = (self.space().end - self.header.data_offset) // self.stride
        if count != self.allocated_blocks:
            self.file.write(layout.ALLOCATED_OFFSET, layout.ENTRY.pack(count))
            self.allocated_blocks = count

    def finish(self) -> None:
        """Fill the gaps with the last blocks, and cut the file after them."""
        if not self._begun:
            return
        self.sync()
        space = self.space()
        gaps = space.unused()
        if gaps and not self.keeps:
            count = (space.end - self.header.data_offset) // self.stride - len(gaps)
            self._move_down(gaps, self.header.data_offset + count * self.stride)
            self.file.flush()
            self.pages.write()
            self.file.flush()
            end = self.header.data_offset + count * self.stride
            self._space = space = Space(self.name, self.file.size, Used([(0, end)], []), self.stride)
        self._write_count()
        self.file.flush()
        self.shrink(space.end)

    def _move_down(self, gaps: list[int], end: int) -> None:
        """What lies from *end* on goes into the gaps before it: as many blocks as there are such gaps."""
        first = (end - self.header.data_offset) // self.stride
        behind = [(block, entry) for block, entry in enumerate(self.table) if first <= entry < layout.ZERO]
        for (block, entry), gap in zip(behind, gaps):
            place, to = self._content(entry), self.claim(gap, self.stride, True) + self.header.block_extra
            for at in range(0, self.unit, _MOVED):
                piece = memoryview(bytearray(min(_MOVED, self.unit - at)))
                self.file.readinto(place + at, piece)
                self.file.write(to + at, piece)
            self.record(block, to)

    def facts(self) -> dict[str, str | int]:
        kind = {layout.DYNAMIC: "dynamic", layout.FIXED: "fixed"}.get(self.header.type, "differencing")
        return {"subformat": kind, "block size": self.unit, "blocks in use": self.allocated_blocks}


def open_image(source: Storage, opening: Opening) -> VdiImage:
    """EINVAL, EUCLEAN, EOPNOTSUPP; ENOENT: a differencing image, and its parent is neither given nor beside it."""
    if opening.snapshot is not None:
        fail(errno.EINVAL, f"{source.name}: a VDI image has no internal snapshots")
    header = read_header(source)
    if header.type != layout.DIFFERENCING and opening.parent is not None:
        fail(errno.EINVAL, f"{source.name}: has no parent")
    parent = _parent(source, header, opening) if header.type == layout.DIFFERENCING else None
    try:
        image = VdiImage(source, header, opening.writable, parent)
    except BaseException:
        if parent is not None:
            parent.close()
        raise
    image.parent_name = os.path.basename(parent.name) if parent is not None else ""
    return image


def _parent(source: Storage, header: Header, opening: Opening) -> DiskImage:
    shown = uuid_text(header.parent)
    snapshot = f"{{{shown}}}.vdi".encode()  # what VirtualBox calls it, if it is not the first of the chain
    beside = not _is_it(opening.parent, header) and _exists(source, snapshot)
    if opening.parent is None and not beside:
        fail(errno.ENOENT, f"{source.name}: its parent is the VDI image with UUID {shown}; the option parent= says which file")
    parent = opening.parent_of(source, snapshot, beside=beside)
    try:
        if not (isinstance(parent, VdiImage) and isinstance(parent.identifier, tuple)):
            fail(errno.EINVAL, f"{source.name}: {parent.name} is no VDI image, as its parent must be")
        uuid, modified = parent.identifier
        if uuid != header.parent:
            fail(errno.EINVAL, f"{source.name}: its parent has UUID {shown}, but {parent.name} has {uuid_text(uuid)}")
        if header.parent_modified not in (modified, layout.NO_UUID):
            fail(errno.EINVAL, f"{source.name}: its parent {parent.name} has been changed since")
    except BaseException:
        parent.close()
        raise
    return parent


def _is_it(file: Storage | None, child: Header) -> bool:
    """Whether a file is the VDI image that *child* continues."""
    if file is None:
        return False
    try:
        return read_header(file).uuid == child.parent
    except OSError:
        return False


def _exists(source: Storage, name: bytes) -> bool:
    try:
        source.beside(name).close()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EOPNOTSUPP):
            return False
        raise
    return True


def uuid_text(raw: bytes) -> str:
    """As VirtualBox shows it: the first three numbers are little-endian."""
    parts = raw[3::-1], raw[5:3:-1], raw[7:5:-1], raw[8:10], raw[10:]
    return "-".join(part.hex() for part in parts)
