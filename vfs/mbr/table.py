"""Which table a disk has, and what is in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from vfs.api import Partition, Storage
from vfs.mbr import dos, gpt
from vfs.mbr.layout import (
    BOOT_SECTOR,
    DISK_ID,
    DISK_ID_OFFSET,
    GPT_SIGNATURE,
    PRIMARY_LBA,
    PROTECTIVE,
    MbrEntry,
    guid,
    mbr_entries,
)
from vfs.mbr.signs import is_boot_sector

SECTOR_SIZES: Final = (512, 4096, 2048, 1024)
"""The first is what disks have; the others are tried when only a GPT's place can tell."""

MANY: Final = 8
"""Warnings of one kind that are told one by one."""


@dataclass
class Table:
    """A partition table. *kind*: `gpt`, `mbr` or empty; *rows* as the table has them, *warnings* for a person."""

    kind: str
    sector_size: int
    identity: str = ""
    rows: list[Partition] = field(default_factory=list)
    hybrid: list[Partition] = field(default_factory=list)
    """What the MBR of a hybrid GPT shows to those who know only that."""
    warnings: list[str] = field(default_factory=list)
    boot_sector: bool = False
    """The same sector is the boot sector of a file system."""


def read_table(storage: Storage, sector_size: int | None = None) -> Table:
    """The table of *storage*, or one of no kind and without rows. *sector_size*: bytes, where it is known for sure. EIO."""
    usual = sector_size or storage.block_size
    if storage.size < BOOT_SECTOR:
        return Table("", usual)
    sector = storage.read(0, BOOT_SECTOR)
    if not dos.is_marked(sector):
        return Table("", usual)
    entries = mbr_entries(sector)
    if not dos.has_sane_indicators(entries):
        return Table("", usual)
    table = _gpt(storage, [sector_size] if sector_size else list(dict.fromkeys((usual, *SECTOR_SIZES))), entries)
    if table is None:
        boots = is_boot_sector(sector)
        if boots and not any(entry.sectors for entry in entries):
            return Table("", usual)
        table = _mbr(storage, usual, sector, entries)
        table.boot_sector = boots
    _check_ranges(table, storage.size)
    return table


def _gpt(storage: Storage, sector_sizes: list[int], entries: list[MbrEntry]) -> Table | None:
    """A GPT counts where the MBR protects it, as for Linux: a stale one does not."""
    protective = [entry for entry in entries if entry.type == PROTECTIVE and entry.start == PRIMARY_LBA]
    if not protective:
        return None
    for size in sector_sizes:
        warnings: list[str] = []
        half = gpt.search(storage, size, protective[0].sectors, warnings)
        if half is None:
            continue
        rows = gpt.rows(half, size, warnings)
        other = [
            dos.partition(slot, entry, 0, size)
            for slot, entry in enumerate(entries, 1)
            if entry.sectors and entry.type != PROTECTIVE
        ]
        return Table("gpt", size, guid(half.header.disk), rows, other, warnings)
    return None


def _mbr(storage: Storage, sector_size: int, sector: bytes, entries: list[MbrEntry]) -> Table:
    warnings: list[str] = []
    if any(entry.type == PROTECTIVE and entry.sectors for entry in entries):
        warnings.append("MBR: protects a GPT, of which no header is good")
    elif storage.size >= 2 * sector_size and storage.read(sector_size, 8) == GPT_SIGNATURE:
        warnings.append("MBR: behind it is the header of a GPT, which no protective partition makes valid")
    rows = dos.read(storage, sector_size, entries, warnings)
    return Table("mbr", sector_size, f"0x{DISK_ID.unpack_from(sector, DISK_ID_OFFSET)[0]:08x}", rows, [], warnings)


def _check_ranges(table: Table, size: int) -> None:
    """Warn of partitions that reach beyond the disk or into one another."""
    beyond = [row.number for row in table.rows if row.start + row.size > size]
    parts = sorted(
        (row.start, row.start + row.size, row.number)
        for row in table.rows
        if row.size and not (table.kind == "mbr" and dos.is_extended(row))
    )
    overlapping = []
    end, last = 0, 0
    for start, stop, number in parts:
        if start < end:
            overlapping.append(f"{last} and {number}")
        if stop > end:
            end, last = stop, number
    for title, found in (("beyond the end of the disk", beyond), ("overlap", overlapping)):
        if found:
            shown = ", ".join(map(str, found[:MANY])) + (f" and {len(found) - MANY} more" if len(found) > MANY else "")
            table.warnings.append(f"partitions {title}: {shown}")
