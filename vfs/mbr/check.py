"""What is wrong with a table besides what reading it has found: numbers that only writers heed."""

from __future__ import annotations

import errno
from collections import Counter

from vfs.api import Storage, fail
from vfs.api.module import WARNING, Finding
from vfs.mbr.layout import BOOT_SECTOR, PRIMARY_LBA, PROTECTIVE, mbr_entries
from vfs.mbr.table import Table, read_table, report

LARGEST = 0xFFFFFFFF
"""Sectors of the protective partition of a disk that is larger than an MBR can say."""


def check(storage: Storage, sector_size: int | None) -> list[Finding]:
    """All findings. EINVAL: there is no table."""
    table = read_table(storage, sector_size)
    if not table.kind:
        fail(errno.EINVAL, f"{storage.name}: no partition table")
    if table.usable:
        _check_gpt(storage, table, *table.usable)
    return table.findings


def _check_gpt(storage: Storage, table: Table, first: int, last: int) -> None:
    outside = [
        row.number
        for row in table.rows
        if row.size and not first * table.sector_size <= row.start <= row.start + row.size <= (last + 1) * table.sector_size
    ]
    report(table, f"outside the usable sectors {first} to {last}", outside)
    times = Counter(row.uuid for row in table.rows)
    report(table, "with the same GUID", [row.number for row in table.rows if times[row.uuid] > 1])
    if not table.hybrid:
        sectors = storage.size // table.sector_size
        for entry in mbr_entries(storage.read(0, BOOT_SECTOR)):
            if entry.type == PROTECTIVE and entry.start == PRIMARY_LBA and entry.sectors not in (sectors - 1, LARGEST):
                sentence = f"MBR: the protective partition has {entry.sectors} sectors, the disk {sectors}"
                table.findings.append(Finding(WARNING, sentence))
