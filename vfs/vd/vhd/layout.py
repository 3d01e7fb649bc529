"""The structures of a VHD file, in disk order. All numbers are big-endian, all positions in tables count sectors of 512 bytes.

Specification: Microsoft, "Virtual Hard Disk Image Format Specification", version 1.0 (2006); the names there stand beside each
field. What the specification leaves open, as Hyper-V and qemu do it.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple, Self

SECTOR: Final = 512
NOWHERE: Final = 0xFFFFFFFFFFFFFFFF

# ---------------------------------------------------------------- "Hard Disk Footer Format"

COOKIE: Final = b"conectix"
OLD_FOOTER_SIZE: Final = 511
"""What Virtual PC wrote before 2004: the same without its last byte."""
RESERVED_FEATURE: Final = 2
"""A bit that is always set."""
VERSION: Final = 0x00010000
EPOCH: Final = 946684800
"""Times count seconds from 2000-01-01 UTC."""

FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
"""Footer.type"""

BY_GEOMETRY: Final = frozenset((b"vpc ", b"vs  ", b"qemu"))
"""Creators whose disks are as large as their geometry says: Virtual PC, Virtual Server, and qemu, which made theirs alike."""
OUR_CREATOR: Final = b"qem2"
"""Creators that qemu does not know by name have, for it, disks as large as their geometry, which fits only few sizes. This is the
name that means "the size is the field's" to it, and nothing at all to everybody else."""
LARGEST_GEOMETRY: Final = 65535 * 16 * 255
"""Sectors: a larger disk has this geometry, and the size that the field says."""
SECTORS_MAX: Final = 0xFF000000
"""2040 GiB: what Hyper-V makes at most, and 32 bits of sectors can hold."""

_FOOTER: Final = struct.Struct(">8sIIQI4sI4sQQHBBII16sB427s")


class Footer(NamedTuple):
    """512 bytes at the end; a dynamic or differencing disk has a copy at the beginning."""

    cookie: bytes  # 0x00
    features: int  # 0x08
    version: int  # 0x0C File Format Version
    header_offset: int  # 0x10 Data Offset, bytes; NOWHERE in a fixed disk
    timestamp: int  # 0x18
    creator: bytes  # 0x1C Creator Application
    creator_version: int  # 0x20
    creator_host: bytes  # 0x24
    original_size: int  # 0x28
    size: int  # 0x30 Current Size, bytes
    cylinders: int  # 0x38 Disk Geometry
    heads: int  # 0x3A
    sectors: int  # 0x3B per track
    type: int  # 0x3C
    checksum: int  # 0x40
    uuid: bytes  # 0x44 Unique Id
    saved_state: int  # 0x54
    reserved: bytes  # 0x55

    @classmethod
    def unpack(cls, raw: bytes) -> Self:
        return cls(*_FOOTER.unpack(raw.ljust(_FOOTER.size, b"\0")))

    def pack(self) -> bytes:
        """With the checksum that belongs to it."""
        raw = _FOOTER.pack(*self._replace(checksum=0))
        return _FOOTER.pack(*self._replace(checksum=checksum(raw)))


FOOTER_SIZE: Final = _FOOTER.size
FOOTER_CHECKSUM: Final = 0x40

# ---------------------------------------------------------------- "Dynamic Disk Header Format"

HEADER_COOKIE: Final = b"cxsparse"
LOCATORS: Final = 8
_HEADER: Final = struct.Struct(">8sQQIIII16sII512s192s256s")
_LOCATOR: Final = struct.Struct(">4sIIIQ")


class Locator(NamedTuple):
    """Parent Locator Entry: where a name of the parent stands in the file."""

    platform: bytes  # 0x00 Platform Code
    space: int  # 0x04 Platform Data Space: sectors, though many count bytes
    length: int  # 0x08 Platform Data Length, bytes
    reserved: int  # 0x0C
    offset: int  # 0x10 Platform Data Offset, bytes


RELATIVE, ABSOLUTE, MAC_URL = b"W2ru", b"W2ku", b"MacX"
"""Locator.platform: two paths of Windows in little-endian UTF-16, and a file URL in UTF-8."""


class Header(NamedTuple):
    """1024 bytes."""

    cookie: bytes  # 0x000
    data_offset: int  # 0x008: NOWHERE
    table_offset: int  # 0x010 Table Offset, bytes: the block allocation table
    version: int  # 0x018 Header Version
    entries: int  # 0x01C Max Table Entries
    block_size: int  # 0x020 bytes
    checksum: int  # 0x024
    parent_uuid: bytes  # 0x028
    parent_timestamp: int  # 0x038
    reserved: int  # 0x03C
    parent_name: bytes  # 0x040 Parent Unicode Name: big-endian UTF-16
    locators: bytes  # 0x240: 8 entries of 24 bytes
    reserved2: bytes  # 0x300

    @classmethod
    def unpack(cls, raw: bytes) -> Self:
        return cls(*_HEADER.unpack(raw))

    def pack(self) -> bytes:
        """With the checksum that belongs to it."""
        raw = _HEADER.pack(*self._replace(checksum=0))
        return _HEADER.pack(*self._replace(checksum=checksum(raw)))

    def parent_locators(self) -> list[Locator]:
        return [Locator(*fields) for fields in _LOCATOR.iter_unpack(self.locators)]


def pack_locators(locators: list[Locator]) -> bytes:
    return b"".join(_LOCATOR.pack(*locator) for locator in locators).ljust(LOCATORS * _LOCATOR.size, b"\0")


HEADER_SIZE: Final = _HEADER.size
HEADER_CHECKSUM: Final = 0x24

# ---------------------------------------------------------------- "Block Allocation Table and Data Blocks"

ENTRY: Final = struct.Struct(">I")
UNUSED: Final = 0xFFFFFFFF
BLOCK_SIZE: Final = 2 << 20


def bitmap_size(block_size: int) -> int:
    """Bytes of a sector bitmap, which stands before each block: a bit a sector, the highest first, padded to whole sectors."""
    return (block_size // SECTOR // 8 + SECTOR - 1) // SECTOR * SECTOR


def checksum(raw: bytes) -> int:
    """The complement of the sum of all bytes; the checksum's own four must be zero."""
    return ~sum(raw) & 0xFFFFFFFF


def checksum_holds(raw: bytes, at: int) -> bool:
    """Whether the checksum that stands at *at* of *raw* is the right one."""
    return ~(sum(raw) - sum(raw[at : at + 4])) & 0xFFFFFFFF == int.from_bytes(raw[at : at + 4], "big")
