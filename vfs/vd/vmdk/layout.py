"""The structures on disk, each declared once, in disk order, with hex offsets and the specification's names.

Specification: VMware, "Virtual Disk Format 5.0" (2011): "Hosted Sparse Extents", "Stream-Optimized Compressed Sparse Extents",
"ESX Server Sparse Extents". seSparse is not documented by its maker; its layout is the one that qemu (`block/vmdk.c`) reads.
All numbers are little-endian; lengths and positions are sectors of 512 bytes where nothing else is said.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Self

SECTOR = 512

MAGIC_HOSTED = b"KDMV"
MAGIC_COWD = b"COWD"
MAGIC_SESPARSE = struct.pack("<Q", 0xCAFEBABE)
MAGIC_SESPARSE_VOLATILE = 0xCAFECAFE

# ---------------------------------------------------------------- hosted sparse extents

NEW_LINE_DETECTION = 0x1
REDUNDANT_TABLES = 0x2
ZEROED_GRAINS = 0x4
"""An entry 1 of a grain table is a grain of zeros."""
COMPRESSED = 0x10000
MARKERS = 0x20000
KNOWN_FLAGS = NEW_LINE_DETECTION | REDUNDANT_TABLES | ZEROED_GRAINS | COMPRESSED | MARKERS

DIRECTORY_AT_END = 0xFFFFFFFFFFFFFFFF
"""gdOffset of a stream: the true header is the footer."""
DEFLATE = 1
"""compressAlgorithm."""
LINE_ENDS = b"\n \r\n"
"""What the four bytes hold as long as nobody has passed the file through a change of line ends."""
UNCLEAN_OFFSET = 0x48

UNALLOCATED, ZEROED = 0, 1
"""Entries of a grain table that are no positions."""


class SparseHeader(NamedTuple):
    """SparseExtentHeader, 512 bytes."""

    magic: bytes  # 0x00 magicNumber
    version: int  # 0x04
    flags: int  # 0x08
    capacity: int  # 0x0C
    grain_size: int  # 0x14 grainSize
    descriptor_offset: int  # 0x1C descriptorOffset
    descriptor_size: int  # 0x24 descriptorSize
    table_entries: int  # 0x2C numGTEsPerGT
    redundant_directory: int  # 0x30 rgdOffset
    directory: int  # 0x38 gdOffset
    overhead: int  # 0x40 overHead
    unclean: int  # 0x48 uncleanShutdown
    line_ends: bytes  # 0x49 singleEndLineChar, nonEndLineChar, doubleEndLineChar1, doubleEndLineChar2
    compression: int  # 0x4D compressAlgorithm

    def pack(self) -> bytes:
        return _SPARSE.pack(*self)

    @classmethod
    def unpack(cls, sector: bytes) -> Self:
        return cls(*_SPARSE.unpack(sector))


_SPARSE = struct.Struct("<4sIIQQQQIQQQB4sH433x")

# ---------------------------------------------------------------- streams

END_OF_STREAM, GRAIN_TABLE, GRAIN_DIRECTORY, FOOTER = 0, 1, 2, 3
"""Types of markers that are not of a grain."""

MARKER = struct.Struct("<QII496x")
"""Marker of metadata, a sector: val (sectors that follow), size (0), type."""
GRAIN_MARKER = struct.Struct("<QI")
"""GrainMarker: lba (sector of the disk), size (bytes of compressed data, which follow at once)."""
TRAILER = 3 * SECTOR
"""The end of a stream: marker of the footer, footer, marker of the end."""

# ---------------------------------------------------------------- ESX server sparse extents

COWD_TABLE_ENTRIES = 4096
COWD_SIZE = 2048
COWD_FREE_SECTOR = 0x1C
COWD_UNCLEAN = 0x670


class CowdHeader(NamedTuple):
    """COWDisk_Header, 2048 bytes; what follows the union that only a base or only a child has is not needed."""

    magic: bytes  # 0x00 magicNumber
    version: int  # 0x04
    flags: int  # 0x08
    capacity: int  # 0x0C numSectors
    grain_size: int  # 0x10 grainSize
    directory: int  # 0x14 gdOffset
    directory_entries: int  # 0x18 numGDEntries
    free_sector: int  # 0x1C freeSector
    parent_name: bytes  # 0x20 u.child.parentFileName
    parent_generation: int  # 0x420 u.child.parentGeneration
    generation: int  # 0x424
    name: bytes  # 0x428
    description: bytes  # 0x464
    saved_generation: int  # 0x664 savedGeneration
    unclean: int  # 0x670 uncleanShutdown

    def pack(self) -> bytes:
        return _COWD.pack(*self)

    @classmethod
    def unpack(cls, head: bytes) -> Self:
        return cls(*_COWD.unpack(head))


_COWD = struct.Struct("<4s7I1024sII60s512sI8xI396x")

# ---------------------------------------------------------------- seSparse

SESPARSE_VERSION = 0x200000001


class SeSparseHeader(NamedTuple):
    """The constant header, 512 bytes."""

    magic: int  # 0x00
    version: int  # 0x08
    capacity: int  # 0x10
    grain_size: int  # 0x18
    table_size: int  # 0x20
    flags: int  # 0x28
    reserved: bytes  # 0x30
    volatile_offset: int  # 0x50
    volatile_size: int  # 0x58
    journal_header_offset: int  # 0x60
    journal_header_size: int  # 0x68
    journal_offset: int  # 0x70
    journal_size: int  # 0x78
    directory_offset: int  # 0x80
    directory_size: int  # 0x88
    tables_offset: int  # 0x90
    tables_size: int  # 0x98
    free_bitmap_offset: int  # 0xA0
    free_bitmap_size: int  # 0xA8
    backmap_offset: int  # 0xB0
    backmap_size: int  # 0xB8
    grains_offset: int  # 0xC0
    grains_size: int  # 0xC8

    def pack(self) -> bytes:
        return _SESPARSE.pack(*self)

    @classmethod
    def unpack(cls, sector: bytes) -> Self:
        return cls(*_SESPARSE.unpack(sector))


_SESPARSE = struct.Struct("<6Q32s16Q304x")

SESPARSE_VOLATILE = struct.Struct("<QQQQ480x")
"""The volatile header, 512 bytes: magic, free_gt_number, next_txn_seq_number, replay_journal."""

SE_TYPE_SHIFT = 60
SE_UNALLOCATED, SE_UNMAPPED, SE_ZERO, SE_ALLOCATED = 0, 1, 2, 3
"""The top four bits of an entry of a grain table."""
SE_TABLE = 0x10000000
"""The upper half of an entry of the grain directory that is in use; the lower half is the number of the table."""
