"""The structures of a VHDX file, in disk order. All numbers are little-endian.

Specification: Microsoft, [MS-VHDX] "Virtual Hard Disk v2 (VHDX) File Format" (2018); sections and names stand beside each field.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple, Self

MIB: Final = 1 << 20

# ---------------------------------------------------------------- 2.2 header section

SIGNATURE: Final = b"vhdxfile"
CREATOR_SIZE: Final = 512
HEADER_OFFSETS: Final = (64 << 10, 128 << 10)
REGION_OFFSETS: Final = (192 << 10, 256 << 10)
HEADER_SECTION: Final = MIB
"""All of the above lie in the first MiB, which nothing else may touch."""

HEADER_SIZE: Final = 4096
VERSION: Final = 1
LOG_VERSION: Final = 0
NO_GUID: Final = bytes(16)
CHECKSUM_OFFSET: Final = 4
"""Of a header, a region table, a log entry: each covers its structure, with four zeros in its own place."""

_HEADER: Final = struct.Struct("<4sIQ16s16s16sHHIQ")


class Header(NamedTuple):
    """2.2.2; 4096 bytes, all else of them zeros."""

    signature: bytes  # 0x00 "head"
    checksum: int  # 0x04
    sequence: int  # 0x08 SequenceNumber: the valid header with the higher one counts
    file_guid: bytes  # 0x10 FileWriteGuid
    data_guid: bytes  # 0x20 DataWriteGuid: another one whenever what the guest sees has changed
    log_guid: bytes  # 0x30: NO_GUID when the log is empty
    log_version: int  # 0x40
    version: int  # 0x42
    log_length: int  # 0x44
    log_offset: int  # 0x48

    @classmethod
    def unpack(cls, raw: bytes) -> Self:
        return cls(*_HEADER.unpack_from(raw))

    def pack(self) -> bytes:
        return _HEADER.pack(*self).ljust(HEADER_SIZE, b"\0")


HEADER_SIGNATURE: Final = b"head"

# 2.2.3 region table

REGION_TABLE_SIZE: Final = 64 << 10
REGION_SIGNATURE: Final = b"regi"
REGION_HEAD: Final = struct.Struct("<4sIII")  # signature, checksum, EntryCount, reserved
REGION_ENTRY: Final = struct.Struct("<16sQII")  # Guid, FileOffset, Length, Required
ENTRIES_MAX: Final = 2047


def guid(text: str) -> bytes:
    """A GUID as it stands on disk: its first three numbers are little-endian."""
    parts = text.strip("{}").split("-")
    first, second, third = (bytes.fromhex(part)[::-1] for part in parts[:3])
    return first + second + third + bytes.fromhex(parts[3] + parts[4])


def guid_text(raw: bytes) -> str:
    """A GUID as the parent locator writes it, braces and all."""
    parts = raw[3::-1], raw[5:3:-1], raw[7:5:-1], raw[8:10], raw[10:]
    return "{" + "-".join(part.hex() for part in parts) + "}"


BAT_REGION: Final = guid("2DC27766-F623-4200-9D64-115E9BFD4A08")
METADATA_REGION: Final = guid("8B7CA206-4790-4B9A-B8FE-575F050F886E")

# ---------------------------------------------------------------- 2.3 log

LOG_SECTOR: Final = 4096
LOG_SIGNATURE, DATA_DESCRIPTOR, ZERO_DESCRIPTOR, DATA_SIGNATURE = b"loge", b"desc", b"zero", b"data"
_LOG_HEADER: Final = struct.Struct("<4sIIIQII16sQQ")
DESCRIPTOR: Final = struct.Struct("<4s4sQQQ")
"""2.3.1.2 and 2.3.1.3: signature; trailing bytes of the sector or reserved; its leading bytes, or how many zeros; file offset;
sequence number."""
DATA_SECTOR: Final = struct.Struct("<4sI4084sI")
"""2.3.1.4: signature, high half of the sequence number, the sector without its first 8 and last 4 bytes, low half."""


class LogHeader(NamedTuple):
    """2.3.1.1 Entry Header: 64 bytes; descriptors follow, and data sectors in units of 4 KiB."""

    signature: bytes  # 0x00 "loge"
    checksum: int  # 0x04
    length: int  # 0x08 EntryLength: all of the entry
    tail: int  # 0x0C where in the log the oldest entry begins that has to be replayed with this one
    sequence: int  # 0x10
    descriptors: int  # 0x18 DescriptorCount
    reserved: int  # 0x1C
    log_guid: bytes  # 0x20
    flushed_size: int  # 0x30 FlushedFileOffset: the file is at least as large
    last_size: int  # 0x38 LastFileOffset: the file must be made as large

    @classmethod
    def unpack(cls, raw: bytes) -> Self:
        return cls(*_LOG_HEADER.unpack_from(raw))

    def pack(self) -> bytes:
        return _LOG_HEADER.pack(*self)


LOG_HEADER_SIZE: Final = _LOG_HEADER.size

# ---------------------------------------------------------------- 2.5 block allocation table

ENTRY: Final = struct.Struct("<Q")
NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED, FULLY_PRESENT, PARTIALLY_PRESENT = 0, 1, 2, 3, 6, 7
"""2.5.1.1 states of a payload block; a sector bitmap block is NOT_PRESENT or FULLY_PRESENT."""
STATE_MASK: Final = 7
OFFSET_MASK: Final = ~(MIB - 1)
"""The offset is in MiB, shifted by 20: so it stands in bytes where it is."""
CHUNK_SECTORS: Final = 1 << 23
"""Sectors that one sector bitmap block speaks of, a bit each, the lowest first."""
BITMAP_BLOCK: Final = MIB
BLOCK_MIN, BLOCK_MAX = MIB, 256 * MIB
SIZE_MAX: Final = 64 << 40

# ---------------------------------------------------------------- 2.6 metadata region

METADATA_SIGNATURE: Final = b"metadata"
METADATA_HEAD: Final = struct.Struct("<8sHH20s")  # signature, reserved, EntryCount, reserved
METADATA_ENTRY: Final = struct.Struct("<16sIIII")  # ItemId, Offset, Length, flags, reserved
METADATA_TABLE_SIZE: Final = 64 << 10
ITEM_MAX: Final = MIB
IS_USER, IS_DISK, IS_REQUIRED = 1, 2, 4

FILE_PARAMETERS: Final = guid("CAA16737-FA36-4D43-B3B6-33F0AA44E76B")
DISK_SIZE: Final = guid("2FA54224-CD1B-4876-B211-5DBED83BF4B8")
DISK_ID: Final = guid("BECA12AB-B2E6-4523-93EF-C309E000C746")
LOGICAL_SECTOR: Final = guid("8141BF1D-A96F-4709-BA47-F233A8FAAB5F")
PHYSICAL_SECTOR: Final = guid("CDA348C7-445D-4471-9CC9-E9885251C556")
PARENT_LOCATOR: Final = guid("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C")

LEAVE_ALLOCATED, HAS_PARENT = 1, 2
"""2.6.2.1 File Parameters: block size, then these."""
PARAMETERS: Final = struct.Struct("<II")

LOCATOR_TYPE: Final = guid("B04AEFB7-D19E-4A81-B789-25B8E9445913")
LOCATOR_HEAD: Final = struct.Struct("<16sHH")  # 2.6.2.6.1 LocatorType, reserved, KeyValueCount
LOCATOR_ENTRY: Final = struct.Struct("<IIHH")  # 2.6.2.6.2 offsets and lengths of key and value, UTF-16
