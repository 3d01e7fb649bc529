"""The structures of a VDI file, in disk order. All numbers are little-endian.

There is no specification by the maker; VirtualBox's own source is one (`src/VBox/Storage/VDICore.h`, whose names stand beside
each field). Only version 1.1 is declared: 0.0 is older than the product's first release.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple, Self

SIGNATURE_OFFSET: Final = 0x40
SIGNATURE: Final = struct.pack("<I", 0xBEDA107F)
VERSION: Final = 0x00010001
TEXT: Final = b"<<< Oracle VM VirtualBox Disk Image >>>\n"
"""szFileInfo says to a person what this is; nobody checks it, and each product has written its own."""

DYNAMIC, FIXED, UNDO, DIFFERENCING = 1, 2, 3, 4
"""Header.type"""

HEADER_LENGTH: Final = 0x190
"""cbHeader, counted from itself; files of 0x180, without the last geometry, are read as well."""

_HEADER: Final = struct.Struct("<64s4sIIII256sIIIIIIIQIIII16s16s16s16s4I")


class Header(NamedTuple):
    """VDIPREHEADER and VDIHEADER1PLUS, 472 bytes."""

    text: bytes  # 0x000 szFileInfo
    signature: bytes  # 0x040 u32Signature
    version: int  # 0x044 u32Version
    length: int  # 0x048 cbHeader
    type: int  # 0x04C u32Type
    flags: int  # 0x050 fFlags
    comment: bytes  # 0x054 szComment
    map_offset: int  # 0x154 offBlocks
    data_offset: int  # 0x158 offData
    cylinders: int  # 0x15C LegacyGeometry
    heads: int  # 0x160
    sectors: int  # 0x164
    sector_size: int  # 0x168 cbSector
    dummy: int  # 0x16C u32Dummy
    disk_size: int  # 0x170 cbDisk
    block_size: int  # 0x178 cbBlock
    block_extra: int  # 0x17C cbBlockExtra: bytes before each block's content
    blocks: int  # 0x180 cBlocks
    allocated: int  # 0x184 cBlocksAllocated: blocks in the file, and so the place of the next one
    uuid: bytes  # 0x188 uuidCreate
    modified: bytes  # 0x198 uuidModify: another one whenever the content has changed
    parent: bytes  # 0x1A8 uuidLinkage
    parent_modified: bytes  # 0x1B8 uuidParentModify
    logical_cylinders: int  # 0x1C8 LCHSGeometry
    logical_heads: int  # 0x1CC
    logical_sectors: int  # 0x1D0
    logical_sector_size: int  # 0x1D4

    @classmethod
    def unpack(cls, raw: bytes) -> Self:
        return cls(*_HEADER.unpack(raw))

    def pack(self) -> bytes:
        return _HEADER.pack(*self)


HEADER_SIZE: Final = _HEADER.size
ALLOCATED_OFFSET: Final = 0x184
MODIFIED_OFFSET: Final = 0x198

ENTRY: Final = struct.Struct("<I")
FREE: Final = 0xFFFFFFFF
"""A block that the file does not have: the parent's, or zeros."""
ZERO: Final = 0xFFFFFFFE
"""A block of zeros, whatever the parent has."""

BLOCK_SIZE: Final = 1 << 20
"""What VirtualBox makes, and the only size that it reads."""
MAP_OFFSET: Final = 0x200
ALIGNMENT: Final = 1 << 20
"""Where the data begins in files that we make: as VirtualBox aligns it."""
NO_UUID: Final = bytes(16)
