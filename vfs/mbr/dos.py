"""MBR: four primary partitions, and the chain of records that holds the logical ones."""

from __future__ import annotations

from vfs.api import Partition, Storage
from vfs.api.module import ERROR, Finding
from vfs.mbr.layout import (
    ACTIVE,
    BOOT_SECTOR,
    EXTENDED,
    INACTIVE,
    MAGIC,
    MAGIC_OFFSET,
    PRIMARIES,
    MbrEntry,
    mbr_entries,
)
from vfs.mbr.types import mbr_type_name

LOGICALS_MAX = 251
"""Linux has 255 parts of a disk."""
RECORDS_MAX = 1024
"""Records that are followed: each is a read, and may be empty."""


def is_marked(sector: bytes) -> bool:
    return len(sector) >= BOOT_SECTOR and sector[MAGIC_OFFSET : MAGIC_OFFSET + 2] == MAGIC


def has_sane_indicators(entries: list[MbrEntry]) -> bool:
    """What is code or text instead of a table has other bytes where the boot indicators are."""
    return all(entry.indicator in (INACTIVE, ACTIVE) for entry in entries)


def partition(number: int, entry: MbrEntry, base: int, sector_size: int) -> Partition:
    return Partition(
        number,
        (base + entry.start) * sector_size,
        entry.sectors * sector_size,
        f"{entry.type:x}",
        mbr_type_name(entry.type),
        bootable=entry.indicator == ACTIVE,
    )


def is_extended(row: Partition) -> bool:
    """Whether a row of an MBR holds the logical partitions."""
    return row.number <= PRIMARIES and int(row.type, 16) in EXTENDED


def read(storage: Storage, sector_size: int, entries: list[MbrEntry], findings: list[Finding]) -> list[Partition]:
    """All partitions of a table whose primary entries are *entries*. What is wrong is told in *findings* and left out."""
    rows = [partition(slot, entry, 0, sector_size) for slot, entry in enumerate(entries, 1) if entry.sectors]
    chains = [entry for entry in entries if entry.sectors and entry.type in EXTENDED]
    for entry in chains:
        _follow(storage, sector_size, entry, rows, findings)
    return rows


def _follow(storage: Storage, sector_size: int, extended: MbrEntry, rows: list[Partition], findings: list[Finding]) -> None:
    """Add the logical partitions of one extended partition to *rows*, numbered from 5 on, or on from those there.

    Links count from the start of the extended partition, starts from the record that names them."""
    first, length = extended.start, extended.sectors
    here, here_length = first, length
    seen: set[int] = set()
    logicals = sum(row.number > PRIMARIES for row in rows)
    while True:
        if here in seen:
            findings.append(Finding(ERROR, f"extended partition: the record at sector {here} is linked twice"))
            return
        seen.add(here)
        if (here + 1) * sector_size > storage.size:
            findings.append(Finding(ERROR, f"extended partition: a record at sector {here}, beyond the end of the disk"))
            return
        record = storage.read(here * sector_size, BOOT_SECTOR)
        if not is_marked(record):
            # What was never partitioned inside has no record yet.
            if len(seen) > 1 or any(record):
                findings.append(Finding(ERROR, f"extended partition: the record at sector {here} has no 55AA"))
            return
        link: MbrEntry | None = None
        for slot, entry in enumerate(mbr_entries(record)):
            if not entry.sectors:
                continue
            if entry.type in EXTENDED:
                link = link or entry
                continue
            start = here + entry.start
            # The third and fourth entries are unused, and sometimes garbage.
            inside = first <= start and start + entry.sectors <= first + length
            if slot >= 2 and (entry.start + entry.sectors > here_length or not inside):
                continue
            if logicals == LOGICALS_MAX:
                findings.append(Finding(ERROR, f"extended partition: more than {LOGICALS_MAX} logical partitions"))
                return
            logicals += 1
            rows.append(partition(PRIMARIES + logicals, entry, here, sector_size))
        if link is None:
            return
        if len(seen) == RECORDS_MAX:
            findings.append(Finding(ERROR, f"extended partition: more than {RECORDS_MAX} records"))
            return
        here, here_length = first + link.start, link.sectors
