"""Footer and dynamic header: found, and checked as far as they say where things are."""

from __future__ import annotations

import errno
from typing import Final, NamedTuple

from vfs.api import Storage, damaged, fail, unsupported
from vfs.vd.vhd import layout
from vfs.vd.vhd.layout import SECTOR, Footer, Header

BLOCK_MAX: Final = 256 << 20


class Found(NamedTuple):
    """A footer: *at_end* it was there, *room* bytes are before it (in the whole file where it was not)."""

    footer: Footer
    at_end: bool
    room: int


def valid_footer(raw: bytes) -> bool:
    return raw[:8] == layout.COOKIE and layout.checksum_holds(raw.ljust(SECTOR, b"\0"), layout.FOOTER_CHECKSUM)


def find_footer(source: Storage) -> Found:
    """The footer at the end, else its copy at the beginning. EINVAL: neither; EUCLEAN: damaged."""
    size, seen = source.size, False
    for length in (layout.FOOTER_SIZE, layout.OLD_FOOTER_SIZE):
        if size >= length:
            raw = source.read(size - length, length)
            if valid_footer(raw):
                return _sane(source, Found(Footer.unpack(raw), True, size - length))
            seen = seen or raw[:8] == layout.COOKIE
    raw = source.read(0, min(size, layout.FOOTER_SIZE))
    if valid_footer(raw):
        found = Footer.unpack(raw)
        if found.type != layout.FIXED:
            return _sane(source, Found(found, False, size))
    if seen or raw[:8] == layout.COOKIE:
        raise damaged(f"{source.name}: the checksum of the VHD footer is wrong")
    fail(errno.EINVAL, f"{source.name}: not a VHD image")


def _sane(source: Storage, found: Found) -> Found:
    footer = found.footer
    if footer.version >> 16 != 1:
        raise unsupported(f"{source.name}: VHD version {footer.version >> 16}, only 1 is read")
    if footer.type not in (layout.FIXED, layout.DYNAMIC, layout.DIFFERENCING):
        raise damaged(f"{source.name}: VHD disk type {footer.type}, known are 2, 3 and 4")
    size = disk_size(footer)
    if size > layout.SECTORS_MAX * SECTOR:
        raise damaged(f"{source.name}: a disk of {size} bytes, at most {layout.SECTORS_MAX * SECTOR}")
    if footer.type == layout.FIXED and size > found.room:
        raise damaged(f"{source.name}: a fixed disk of {size} bytes, but only {found.room} are in the file")
    return found


def disk_size(footer: Footer) -> int:
    """Bytes, whole sectors. Who counted by geometry has rounded the disk to one; the largest geometry says nothing."""
    sectors = footer.cylinders * footer.heads * footer.sectors
    by_geometry = footer.creator in layout.BY_GEOMETRY and 0 < sectors < layout.LARGEST_GEOMETRY
    return sectors * SECTOR if by_geometry else footer.size // SECTOR * SECTOR


def read_header(source: Storage, found: Found) -> Header:
    """Of a disk that is not fixed. EUCLEAN."""
    name, at = source.name, found.footer.header_offset
    if at % SECTOR or at + layout.HEADER_SIZE > source.size:
        raise damaged(f"{name}: the dynamic disk header at {at} of {source.size} bytes")
    raw = source.read(at, layout.HEADER_SIZE)
    if raw[:8] != layout.HEADER_COOKIE:
        raise damaged(f"{name}: no dynamic disk header at {at}")
    if not layout.checksum_holds(raw, layout.HEADER_CHECKSUM):
        raise damaged(f"{name}: the checksum of the dynamic disk header is wrong")
    header = Header.unpack(raw)
    block = header.block_size
    if not SECTOR <= block <= BLOCK_MAX or block & (block - 1):
        raise damaged(f"{name}: blocks of {block} bytes; powers of two from 512 to {BLOCK_MAX} are allowed")
    if header.entries * block < (size := disk_size(found.footer)):
        raise damaged(f"{name}: {header.entries} blocks of {block} are less than the disk's {size} bytes")
    if header.table_offset % SECTOR or header.table_offset + header.entries * 4 > source.size:
        raise damaged(f"{name}: a block table of {header.entries} entries at {header.table_offset} of {source.size} bytes")
    return header
