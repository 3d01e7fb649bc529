"""Which table a disk has, and what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from vfs.api import Partition, Storage
from vfs.api.module import ERROR, WARNING, Finding
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
"""Partitions that a finding names."""


@dataclass
class Table:
    """A partition table. *kind*: `gpt`, `mbr` or empty; *rows* as the table has them; *findings*: what is wrong with it."""

    kind: str
    sector_size: int
    identity: str = ""
    rows: list[Partition] = field(default_factory=list)
    hybrid: list[Partition] = field(default_factory=list)
    """What the MBR of a hybrid GPT shows to those who know only that."""
    findings: list[Finding] = field(default_factory=list)
    usable: tuple[int, int] | None = None
    """First and last sector that partitions of a GPT may use."""
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
        findings: list[Finding] = []
        half = gpt.search(storage, size, protective[0].sectors, findings)
        if half is None:
            continue
        rows = gpt.rows(half, size)
        other = [
            dos.partition(slot, entry, 0, size)
            for slot, entry in enumerate(entries, 1)
            if entry.sectors and entry.type != PROTECTIVE
        ]
        usable = half.header.first, half.header.last
        return Table("gpt", size, guid(half.header.disk), rows, other, findings, usable)
    return None


def _mbr(storage: Storage, sector_size: int, sector: bytes, entries: list[MbrEntry]) -> Table:
    findings: list[Finding] = []
    if any(entry.type == PROTECTIVE and entry.sectors for entry in entries):
        findings.append(Finding(ERROR, "MBR: protects a GPT, of which no header is good"))
    elif storage.size >= 2 * sector_size and storage.read(sector_size, 8) == GPT_SIGNATURE:
        sentence = "MBR: behind it is the header of a GPT, which no protective partition makes valid"
        findings.append(Finding(WARNING, sentence))
    rows = dos.read(storage, sector_size, entries, findings)
    return Table("mbr", sector_size, f"0x{DISK_ID.unpack_from(sector, DISK_ID_OFFSET)[0]:08x}", rows, [], findings)


def _check_ranges(table: Table, size: int) -> None:
    """Find partitions that reach beyond the disk or into one another."""
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
    report(table, "end before they start", [row.number for row in table.rows if not row.size])
    report(table, "beyond the end of the disk", [row.number for row in table.rows if row.start + row.size > size])
    report(table, "overlap", overlapping)


def report(table: Table, what: str, partitions: Sequence[int | str]) -> None:
    """One finding about several partitions."""
    if partitions:
        shown = ", ".join(map(str, partitions[:MANY]))
        more = f" and {len(partitions) - MANY} more" if len(partitions) > MANY else ""
        table.findings.append(Finding(ERROR, f"partitions {what}: {shown}{more}"))
