"""seSparse extents of ESX servers: 64-bit tables of grains of 4 KiB. Read only: their journal, free bitmap and back map, which a
writer would have to keep, are described nowhere."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from vfs.api import Storage, damaged, unsupported
from vfs.vd.disk import DATA, HOLE, ZERO
from vfs.vd.vmdk.extent import DiskExtent, Span
from vfs.vd.vmdk.layout import (
    MAGIC_SESPARSE_VOLATILE,
    SE_ALLOCATED,
    SE_TABLE,
    SE_TYPE_SHIFT,
    SE_UNALLOCATED,
    SECTOR,
    SESPARSE_VERSION,
    SESPARSE_VOLATILE,
    SeSparseHeader,
)
from vfs.vd.vmdk.tables import TableCache, decode, read_directory

GRAIN, TABLE = 8, 64
"""Sectors, the only sizes that there are."""
KEPT = 64
"""Tables kept: 2 MiB."""


def read_sesparse(source: Storage) -> SeSparseHeader:
    """The constant header, checked, after a look at the volatile one. EUCLEAN; EOPNOTSUPP: the journal wants replaying."""
    header = SeSparseHeader.unpack(source.read(0, SECTOR))
    name = source.name
    if header.version != SESPARSE_VERSION or header.flags or header.reserved.strip(b"\0"):
        raise unsupported(f"{name}: seSparse version {header.version:#x} with flags {header.flags:#x}")
    if (header.grain_size, header.table_size) != (GRAIN, TABLE):
        raise unsupported(f"{name}: seSparse with grains of {header.grain_size} and tables of {header.table_size} sectors")
    if header.volatile_offset * SECTOR + SECTOR > source.size:
        raise damaged(f"{name}: the volatile header at sector {header.volatile_offset} is outside the file")
    magic, _, _, replay = SESPARSE_VOLATILE.unpack(source.read(header.volatile_offset * SECTOR, SECTOR))
    if magic != MAGIC_SESPARSE_VOLATILE:
        raise damaged(f"{name}: the volatile header begins with {magic:#x}")
    if replay:
        raise unsupported(f"{name}: the journal of this seSparse extent wants replaying; open and close it on its ESX server")
    return header


class SeSparseExtent(DiskExtent):
    """The first *size* bytes of an extent. EUCLEAN: its directory is too short for them."""

    kind = "SESPARSE"

    def __init__(self, source: Storage, header: SeSparseHeader, size: int) -> None:
        super().__init__(source, size)
        self.file, self.header = source, header
        self.grain, self.entries = GRAIN * SECTOR, TABLE * SECTOR // 8
        self.reach = self.grain * self.entries
        self.sealed = f"{source.name}: seSparse extents can only be read"
        self.count = -(-size // self.reach)
        if header.directory_size * SECTOR // 8 < self.count:
            raise damaged(f"{source.name}: a grain directory of {header.directory_size} sectors for {self.count} tables")
        self._directory: array[int] | None = None
        self._cache = TableCache(KEPT)

    def load(self, number: int) -> array[int] | None:
        """Table *number*, `None` if there is none."""
        if self._directory is None:
            self._directory = read_directory(self.file, self.header.directory_offset * SECTOR, self.count, "Q", "grain directory")
        entry = self._directory[number]
        if not entry:
            return None
        if entry >> 32 != SE_TABLE:
            raise damaged(f"{self.file.name}: entry {number} of the grain directory is {entry:#x}")
        position = (self.header.tables_offset + (entry & 0xFFFFFFFF) * TABLE) * SECTOR
        if position + TABLE * SECTOR > self.file.size:
            raise damaged(f"{self.file.name}: grain table {number} at byte {position} is outside the file")
        return decode(self.file.read(position, TABLE * SECTOR), "Q")

    def spans(self, offset: int, length: int) -> Iterator[Span]:
        end, grain, reach = offset + length, self.grain, self.reach
        while offset < end:
            stop = min(end, offset - offset % reach + reach)
            table = self._cache.get(offset // reach, self.load)
            if table is None:
                yield Span(offset, stop - offset, HOLE)
                offset = stop
                continue
            index, last = offset % reach // grain, (stop - 1) % reach // grain
            while index <= last:
                entry, begin = table[index], index
                stored = entry >> SE_TYPE_SHIFT
                index += 1
                if stored == SE_ALLOCATED:
                    position = self.position(entry)
                    while index <= last and self._follows(table[index], position + (index - begin) * grain):
                        index += 1
                    kind, position = DATA, position + offset % grain
                else:
                    while index <= last and table[index] == entry:
                        index += 1
                    kind, position = HOLE if stored == SE_UNALLOCATED else ZERO, 0
                until = min(stop, offset - offset % grain + (index - begin) * grain)
                if stored > SE_ALLOCATED or position + until - offset > self.file.size or (entry and not stored):
                    raise damaged(f"{self.file.name}: grain {offset // grain} has the entry {entry:#x}")
                yield Span(offset, until - offset, kind, position)
                offset = until

    def position(self, entry: int) -> int:
        """Bytes: the lower 12 bits of the grain's number are in bits 48 to 59, the others below."""
        number = (entry >> 48 & 0xFFF) | (entry & 0xFFFFFFFFFFFF) << 12
        return (self.header.grains_offset + number * GRAIN) * SECTOR

    def _follows(self, entry: int, position: int) -> bool:
        return entry >> SE_TYPE_SHIFT == SE_ALLOCATED and self.position(entry) == position
