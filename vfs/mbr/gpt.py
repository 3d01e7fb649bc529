"""GPT: two headers, each with an array of entries, each under CRC-32."""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

from vfs.api import Partition, Storage
from vfs.api.module import ERROR, WARNING, Finding
from vfs.mbr.layout import (
    ARRAY_MAX,
    ENTRY_SIZE_MAX,
    GPT_CRC_OFFSET,
    GPT_ENTRY,
    GPT_HEADER_SIZE,
    GPT_REVISION_MAJOR,
    GPT_SIGNATURE,
    LEGACY_BOOTABLE,
    PRIMARY_LBA,
    UNUSED,
    GptHeader,
    gpt_header,
    guid,
)
from vfs.mbr.types import gpt_type_name


class Half(NamedTuple):
    """One header with its array, both checked."""

    header: GptHeader
    array: bytes


class Broken(Exception):
    """Why a header cannot be used."""


def read_half(storage: Storage, sector_size: int, lba: int) -> Half:
    """The header at sector *lba* and its array. `Broken`: it is none, or a checksum or a number is wrong. EIO."""
    sectors = storage.size // sector_size
    if not 0 < lba < sectors:
        raise Broken("outside the disk")
    sector = storage.read(lba * sector_size, sector_size)
    header = gpt_header(sector)
    if header.signature != GPT_SIGNATURE:
        raise Broken("no signature")
    if header.revision >> 16 != GPT_REVISION_MAJOR:
        raise Broken(f"revision {header.revision >> 16}.{header.revision & 0xFFFF}, known is 1.0")
    size = header.header_size
    if not GPT_HEADER_SIZE <= size <= sector_size:
        raise Broken(f"header of {size} bytes, {GPT_HEADER_SIZE} to {sector_size} are possible")
    if crc32(sector[:GPT_CRC_OFFSET] + bytes(4) + sector[GPT_CRC_OFFSET + 4 : size]) != header.header_crc:
        raise Broken("wrong checksum of the header")
    if header.own != lba:
        raise Broken(f"says that it is at sector {header.own}")
    if not GPT_ENTRY.size <= header.entry_size <= ENTRY_SIZE_MAX:
        raise Broken(f"entries of {header.entry_size} bytes, {GPT_ENTRY.size} to {ENTRY_SIZE_MAX} are possible")
    length = header.entry_size * header.entry_count
    if length > ARRAY_MAX:
        raise Broken(f"{header.entry_count} entries: {length} bytes, at most {ARRAY_MAX}")
    if header.entries >= sectors or header.entries * sector_size + length > storage.size:
        raise Broken("entries outside the disk")
    array = storage.read(header.entries * sector_size, length)
    if crc32(array) != header.array_crc:
        raise Broken("wrong checksum of the entries")
    return Half(header, array)


def search(storage: Storage, sector_size: int, protected_end: int, findings: list[Finding]) -> Half | None:
    """The primary half, or the backup, which is a finding. *protected_end*: the last sector of the protective partition, which is
    where the disk ended when the table was made. `None`: neither."""
    last = storage.size // sector_size - 1
    if last < PRIMARY_LBA:
        return None
    try:
        primary = read_half(storage, sector_size, PRIMARY_LBA)
    except Broken as reason:
        why = str(reason)
    else:
        _compare(storage, sector_size, primary, last, findings)
        return primary
    # A damaged header may still say where the other one is: all that it names is checked.
    hint = gpt_header(storage.read(PRIMARY_LBA * sector_size, sector_size))
    places = [last, hint.other if hint.signature == GPT_SIGNATURE else 0, protected_end]
    for place in dict.fromkeys(places):
        try:
            backup = read_half(storage, sector_size, place)
        except Broken:
            continue
        sentence = f"GPT: the primary header is damaged ({why}), the backup at sector {place} is used"
        findings.append(Finding(ERROR, sentence))
        return backup
    return None


def _compare(storage: Storage, sector_size: int, primary: Half, last: int, findings: list[Finding]) -> None:
    """What the backup of a good primary half has to say."""
    place = primary.header.other
    try:
        backup = read_half(storage, sector_size, place)
    except Broken as reason:
        findings.append(Finding(ERROR, f"GPT: the backup header at sector {place} is damaged ({reason})"))
        return
    if place != last:
        findings.append(Finding(WARNING, f"GPT: the backup header is at sector {place}, the disk's last is {last}"))
    same = backup.header.array_crc == primary.header.array_crc and backup.header.disk == primary.header.disk
    if not same:
        findings.append(Finding(ERROR, "GPT: the backup differs from the primary table, which is used"))


def rows(half: Half, sector_size: int) -> list[Partition]:
    """The used entries. One that ends before it starts has no size."""
    found = []
    size = half.header.entry_size
    for number in range(half.header.entry_count):
        at = number * size
        if half.array[at : at + 16] == UNUSED:
            continue
        kind, unique, first, last, attributes, name = GPT_ENTRY.unpack_from(half.array, at)
        type = guid(kind)
        found.append(
            Partition(
                number + 1,
                first * sector_size,
                max(0, last - first + 1) * sector_size,
                type,
                gpt_type_name(type),
                name.decode("utf-16-le", "replace").partition("\0")[0],
                guid(unique),
                bool(attributes & LEGACY_BOOTABLE),
                attributes,
            )
        )
    return found
