"""The structures of partition tables. All numbers are little-endian, all addresses count logical sectors.

MBR: the boot sector as Linux (`block/partitions/msdos.c`) and UEFI 2.10, section 5.2.1 have it. GPT: UEFI 2.10, section 5.3.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

# ---------------------------------------------------------------------------------------------------------------- MBR

BOOT_SECTOR: Final = 512
"""Bytes of a sector that the table occupies, whatever the sector size."""
MAGIC_OFFSET: Final = 510
MAGIC: Final = b"\x55\xaa"
DISK_ID: Final = Struct("<I")
DISK_ID_OFFSET: Final = 440
ENTRIES_OFFSET: Final = 446
PRIMARIES: Final = 4

_MBR_ENTRY: Final = Struct("<B3xB3xII")  # boot indicator, first CHS, type, last CHS, start, sectors
INACTIVE, ACTIVE = 0x00, 0x80

EXTENDED: Final = frozenset((0x05, 0x0F, 0x85))
PROTECTIVE: Final = 0xEE


class MbrEntry(NamedTuple):
    """One of the four; CHS addresses are of no use to anybody. Empty with no sectors, whatever its type."""

    indicator: int
    type: int
    start: int
    sectors: int


def mbr_entries(sector: bytes) -> list[MbrEntry]:
    """The four entries of a boot record."""
    end = ENTRIES_OFFSET + PRIMARIES * _MBR_ENTRY.size
    return [MbrEntry(*fields) for fields in _MBR_ENTRY.iter_unpack(sector[ENTRIES_OFFSET:end])]


# ---------------------------------------------------------------------------------------------------------------- GPT

GPT_SIGNATURE: Final = b"EFI PART"
GPT_REVISION_MAJOR: Final = 1
PRIMARY_LBA: Final = 1
_GPT_HEADER: Final = Struct("<8sIIII QQQQ 16s QIII".replace(" ", ""))
GPT_HEADER_SIZE: Final = _GPT_HEADER.size
GPT_CRC_OFFSET: Final = 16

GPT_ENTRY: Final = Struct("<16s16sQQQ72s")  # type, unique GUID, first, last (inclusive), attributes, name
UNUSED: Final = bytes(16)

ENTRY_SIZE_MAX: Final = 4096
ARRAY_MAX: Final = 4 << 20
"""Bytes of an entry array that are read at most: 32768 entries, as Linux has it."""

LEGACY_BOOTABLE: Final = 1 << 2


class GptHeader(NamedTuple):
    """*own* and *other*: where this header and its copy are; *first* to *last*: what partitions may use; *entries*: where the
    array begins."""

    signature: bytes
    revision: int
    header_size: int
    header_crc: int
    reserved: int
    own: int
    other: int
    first: int
    last: int
    disk: bytes
    entries: int
    entry_count: int
    entry_size: int
    array_crc: int


def gpt_header(sector: bytes) -> GptHeader:
    return GptHeader(*_GPT_HEADER.unpack_from(sector))


def guid(stored: bytes) -> str:
    """A GUID as it is written: its first three fields are little-endian numbers."""
    text = (stored[3::-1] + stored[5:3:-1] + stored[7:5:-1] + stored[8:]).hex().upper()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
