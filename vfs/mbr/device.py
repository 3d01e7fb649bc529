"""The device: the whole disk, and a storage for each partition."""

from __future__ import annotations

import errno

from vfs.api import Device, Partition, Storage, SubStorage, fail
from vfs.mbr import dos
from vfs.mbr.table import read_table

EXTENDED_SIZE = 1024
"""An extended partition as a part of its own: room for a boot loader, and too small for a file system by mistake (Linux)."""


class Whole(SubStorage):
    """The disk, with the sector size that its table shows."""

    def __init__(self, below: Storage) -> None:
        super().__init__(below, 0, below.size, below.name)

    def descriptor(self) -> int | None:
        return self.below.descriptor() if self.below.read_only or not self.read_only else None

    def identity(self) -> object:
        return self.below.identity()


class PartitionedDisk(Device):
    """A disk with a table. The parts are as the table was when it was last read, and as `add_part` and its like have changed
    them since; a part that a new reading leaves as it is stays the same object, with its open handles."""

    type = "mbr"
    sub_devices = 256

    def __init__(self, source: Storage, sector_size: int | None, read_only: bool) -> None:
        super().__init__()
        self._source = source
        self._sector_size = sector_size
        self.read_only = read_only or source.read_only
        self._table = read_table(source, sector_size)
        self._whole = Whole(source)
        self._whole.read_only = self.read_only
        self._set_block_size(self._whole)
        self._set_parts({number: self._part(number, *place) for number, place in self._places().items()})

    # ---------------------------------------------------------------- what there is

    def storages(self) -> dict[int, Storage]:
        return self._storages

    def storage(self, sub_device: int) -> Storage:
        found = self._parts.get(sub_device) if sub_device else self._whole
        return found if found is not None else fail(errno.ENXIO, f"{self._source.name}: no partition {sub_device}")

    def partitions(self) -> list[Partition]:
        return sorted(self._table.rows, key=lambda row: row.number)

    def details(self) -> dict[str, str | int]:
        table = self._table
        found: dict[str, str | int] = {"table": table.kind.upper() or "none"}
        if table.identity:
            found["disk identifier"] = table.identity
        found["sector size"] = table.sector_size
        found["partitions"] = len(table.rows)
        if table.hybrid:
            found["hybrid MBR"] = ", ".join(f"{row.number}: {row.type_name or row.type}" for row in table.hybrid)
        if table.findings:
            found["warnings"] = "; ".join(finding.sentence for finding in table.findings)
        return found

    def _set_parts(self, parts: dict[int, SubStorage]) -> None:
        """Both dictionaries are never changed, only replaced: who has one may go through it."""
        self._parts = parts
        self._storages: dict[int, Storage] = {0: self._whole, **parts}

    def _set_block_size(self, storage: Storage) -> None:
        storage.block_size = max(self._source.block_size, self._table.sector_size)
        storage.physical_block_size = max(self._source.physical_block_size, storage.block_size)

    def _part(self, number: int, start: int, size: int) -> SubStorage:
        part = SubStorage(self._whole, start, size, f"{self._source.name}, partition {number}")
        self._set_block_size(part)
        return part

    def _places(self) -> dict[int, tuple[int, int]]:
        """Where the table's partitions are, as far as the disk reaches: start and size by number."""
        places = {}
        for row in self._table.rows:
            size = min(row.size, self._source.size - row.start)
            if self._table.kind == "mbr" and dos.is_extended(row):
                size = min(size, max(EXTENDED_SIZE, self._table.sector_size))
            if size > 0:
                places[row.number] = row.start, size
        return places

    # ---------------------------------------------------------------- changing it

    def reread(self) -> None:
        with self.lock:
            table = read_table(self._source, self._sector_size)
            before, self._table = self._table, table
            places = self._places()
            if table.sector_size == before.sector_size:
                kept = {number: part for number, part in self._parts.items() if places.get(number) == (part.start, part.size)}
            else:
                kept = {}
            busy = [number for number in self._parts if number not in kept and self.claimed(number)]
            if busy:
                self._table = before
                fail(errno.EBUSY, f"{self._source.name}: partition {busy[0]} is in use")
            if len(kept) == len(self._parts) == len(places):
                return
            self._set_block_size(self._whole)
            self._set_parts({number: kept.get(number) or self._part(number, *place) for number, place in places.items()})
            self.generation += 1

    def _check_place(self, number: int, start: int, size: int) -> None:
        if size <= 0 or start + size > self._source.size:
            fail(errno.EINVAL, f"{self._source.name}: a partition from {start} to {start + size} is outside the disk")
        for other, part in self._parts.items():
            if other != number and start < part.start + part.size and part.start < start + size:
                fail(errno.EBUSY, f"{self._source.name}: partition {number} would overlap partition {other}")

    def add_part(self, number: int, start: int, size: int) -> None:
        with self.lock:
            if number in self._parts:
                fail(errno.EBUSY, f"{self._source.name}: there is a partition {number}")
            if number >= self.sub_devices:
                fail(errno.EINVAL, f"{self._source.name}: partition {number}, at most {self.sub_devices - 1}")
            self._check_place(number, start, size)
            self._set_parts({**self._parts, number: self._part(number, start, size)})
            self.generation += 1

    def remove_part(self, number: int) -> None:
        with self.lock:
            if number not in self._parts:
                fail(errno.ENXIO, f"{self._source.name}: no partition {number}")
            if self.claimed(number):
                fail(errno.EBUSY, f"{self._source.name}: partition {number} is in use")
            self._set_parts({other: part for other, part in self._parts.items() if other != number})
            self.generation += 1

    def resize_part(self, number: int, start: int, size: int) -> None:
        with self.lock:
            part = self._parts.get(number) or fail(errno.ENXIO, f"{self._source.name}: no partition {number}")
            if start != part.start:
                fail(errno.EINVAL, f"{self._source.name}: partition {number} starts at {part.start}, not at {start}")
            self._check_place(number, start, size)
            if size != part.size:
                part.size = size
                self.generation += 1

    def flush(self) -> None:
        self._source.flush()

    def close(self) -> None:
        self._source.close()
