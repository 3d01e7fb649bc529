"""Sparse extents whose grains lie as they are: hosted ones (`KDMV`) and those of ESX servers (`COWD`).

Writing: a grain is allocated at the end of the file and written, then its table; a table in memory is written by `flush`, after
the grains are durable. A kill leaves at most grains that no table refers to. Grains that are given up are used again once the
tables without them are durable.
"""

from __future__ import annotations

import errno
from array import array
from collections.abc import Iterator
from itertools import chain

from vfs.api import Storage, damaged, fail, unsupported
from vfs.vd.disk import DATA, HOLE, ZERO
from vfs.vd.vmdk.extent import DiskExtent, Span
from vfs.vd.vmdk.layout import (
    COMPRESSED,
    COWD_FREE_SECTOR,
    COWD_SIZE,
    COWD_TABLE_ENTRIES,
    COWD_UNCLEAN,
    DEFLATE,
    KNOWN_FLAGS,
    MARKERS,
    REDUNDANT_TABLES,
    SECTOR,
    UNALLOCATED,
    UNCLEAN_OFFSET,
    ZEROED,
    ZEROED_GRAINS,
    CowdHeader,
    SparseHeader,
)
from vfs.vd.vmdk.tables import GrainTables

GRAIN_LIMIT = 1 << 20
"""Bytes of a grain: VMware makes them of 64 KiB (COWD: 512 bytes)."""
CHANGED = 64
"""How many changed tables are held before they are written."""
FREE = 1 << 16
"""How many grains that are given up are remembered."""
LAST_SECTOR = 0xFFFFFFFF


def read_hosted(source: Storage, position: int = 0) -> SparseHeader:
    """The header at byte *position*, checked. EUCLEAN, EOPNOTSUPP."""
    header = SparseHeader.unpack(source.read(position, SECTOR))
    name = source.name
    if not 1 <= header.version <= 3:
        raise unsupported(f"{name}: VMDK version {header.version}")
    if header.flags & ~KNOWN_FLAGS:
        raise unsupported(f"{name}: flags {header.flags:#x}, of which {header.flags & ~KNOWN_FLAGS:#x} are not known")
    if header.compression not in (0, DEFLATE):
        raise unsupported(f"{name}: compression algorithm {header.compression}")
    if not header.grain_size or header.grain_size & (header.grain_size - 1) or header.grain_size * SECTOR > GRAIN_LIMIT:
        raise damaged(f"{name}: grains of {header.grain_size} sectors, a power of two up to {GRAIN_LIMIT // SECTOR} is right")
    if not 1 <= header.table_entries <= 65536:
        raise damaged(f"{name}: grain tables of {header.table_entries} entries, 512 are right")
    if header.capacity > 1 << 54:
        raise damaged(f"{name}: {header.capacity} sectors are more than a disk can have")
    return header


def read_cowd(source: Storage) -> CowdHeader:
    """The header of an ESX server extent, checked. EUCLEAN, EOPNOTSUPP."""
    header = CowdHeader.unpack(source.read(0, COWD_SIZE))
    name = source.name
    if header.version != 1:
        raise unsupported(f"{name}: COWD version {header.version}")
    if not 1 <= header.grain_size * SECTOR <= GRAIN_LIMIT:
        raise damaged(f"{name}: grains of {header.grain_size} sectors, 1 to {GRAIN_LIMIT // SECTOR} are right")
    coverage = COWD_TABLE_ENTRIES * header.grain_size
    if header.directory_entries < -(-header.capacity // coverage):
        raise damaged(f"{name}: {header.directory_entries} grain tables, {header.capacity} sectors need more")
    return header


class SparseExtent(DiskExtent):
    """An extent with 32-bit tables. *size* is what the disk uses of it; *grain* and *reach* (what a table covers) are bytes."""

    unclean_offset = UNCLEAN_OFFSET
    alignment = SECTOR

    def __init__(
        self, source: Storage, size: int, grain: int, entries: int, directory: int, redundant: int, zeroed: bool
    ) -> None:
        super().__init__(source, size)
        self.file, self.grain, self.entries, self.zeroed = source, grain, entries, zeroed
        self.reach = grain * entries
        self.tables = GrainTables(source, directory, redundant, -(-size // self.reach), entries, self._sound)
        self.grain_sectors = grain // SECTOR
        self.next = 0
        """Where the file's unused room begins, bytes; known from the first change on."""
        self.freed: list[int] = []
        self.free: list[int] = []
        """Sectors of grains that were given up: `freed` still are in durable tables; `free`, the last first, can be used."""
        if source.read_only:
            self.sealed = f"{source.name}: read-only"

    def _sound(self, table: array[int]) -> bool:
        """Whether the entries can be true. The last grain of a disk need not be whole in the file."""
        return max(table) * SECTOR < self.file.size and (self.zeroed or ZEROED not in table)

    # ---------------------------------------------------------------- reading

    def spans(self, offset: int, length: int) -> Iterator[Span]:
        end, grain, reach, sectors = offset + length, self.grain, self.reach, self.grain_sectors
        zeroed = ZEROED if self.zeroed else -1
        while offset < end:
            stop = min(end, offset - offset % reach + reach)
            table = self.tables.get(offset // reach)
            if table is None:
                yield Span(offset, stop - offset, HOLE)
                offset = stop
                continue
            index, last = offset % reach // grain, (stop - 1) % reach // grain
            while index <= last:
                entry, begin = table[index], index
                index += 1
                if entry in (UNALLOCATED, zeroed):
                    while index <= last and table[index] == entry:
                        index += 1
                    kind, position = HOLE if entry == UNALLOCATED else ZERO, 0
                else:
                    following = entry + sectors
                    while index <= last and table[index] == following:
                        index += 1
                        following += sectors
                    kind, position = DATA, entry * SECTOR + offset % grain
                until = min(stop, offset - offset % grain + (index - begin) * grain)
                if kind == DATA:
                    self._inside(offset, entry, position + until - offset)
                yield Span(offset, until - offset, kind, position)
                offset = until

    def _inside(self, offset: int, entry: int, end: int) -> None:
        if entry == ZEROED or end > self.file.size:
            raise damaged(
                f"{self.file.name}: grain {offset // self.grain} is at sector {entry}, "
                f"the file has {self.file.size // SECTOR} sectors"
            )

    # ---------------------------------------------------------------- writing

    def begin(self) -> None:
        """Refuse what cannot be written, mark the extent as in use, and find the end."""
        if self.sealed:
            fail(errno.EROFS, self.sealed)
        self.tables.whole()
        self.next = self._align(self.file.size)
        self.mark(True)
        if self.unclean:
            for number in self.tables.differing():
                self.tables.change(number)
                self._bound()

    def mark(self, unclean: bool) -> None:
        """uncleanShutdown."""
        self.file.write(self.unclean_offset, bytes([unclean]))

    def _align(self, position: int) -> int:
        return -(-position // self.alignment) * self.alignment

    def allocate(self, size: int) -> int:
        """Room at the end of the file, in bytes. EFBIG."""
        position = self._align(max(self.next, self.file.size))
        if (position + size) // SECTOR > LAST_SECTOR:
            fail(errno.EFBIG, f"{self.file.name}: an extent cannot be larger than 2 TiB")
        self.next = position + size
        return position

    def write(self, offset: int, content: memoryview) -> None:
        end, at = offset + len(content), offset
        while at < end:
            number, index = at // self.reach, at % self.reach // self.grain
            table = self.tables.get(number)
            entry = table[index] if table is not None else UNALLOCATED
            if entry != UNALLOCATED and not (entry == ZEROED and self.zeroed):
                span = next(self.spans(at, end - at))
                self.file.write(span.position, content[at - offset : at - offset + span.length])
                at += span.length
            elif at % self.grain or min(end, self.size) < min(at + self.grain, self.size):
                until = min(end, at - at % self.grain + self.grain)
                self._write_part(number, index, entry, at, content[at - offset : until - offset])
                at = until
            else:
                position, count = self._take(self._count_fresh(table, index, end - at))
                until = min(end, at + count * self.grain)
                self.file.write(position, content[at - offset : until - offset])
                self._grow(position + count * self.grain)
                self._enter(number, index, count, position)
                at = until

    def _count_fresh(self, table: array[int] | None, index: int, length: int) -> int:
        """How many whole grains from *index* on, in a range of *length* bytes, have no room yet."""
        most = min(-(-length // self.grain) if length >= self.grain else 1, self.entries - index)
        if length % self.grain and most > 1 and most * self.grain > length:
            most -= 1  # the last is a part, unless it is the disk's last: that one comes alone
        if table is None:
            return most
        vacant = (UNALLOCATED, ZEROED) if self.zeroed else (UNALLOCATED,)
        count = 1
        while count < most and table[index + count] in vacant:
            count += 1
        return count

    def _write_part(self, number: int, index: int, entry: int, offset: int, content: memoryview) -> None:
        """A part of a grain that has no room yet: the rest comes from the parent, or is zeros."""
        start, position = offset - offset % self.grain, self._take(1)[0]
        if self.below is not None and entry == UNALLOCATED:
            whole = bytearray(self.grain)
            visible = min(self.grain, self.size - start)
            whole[:visible] = self.below(start, visible)
            whole[offset - start : offset - start + len(content)] = content
            self.file.write(position, memoryview(whole))
        else:
            if position < self.file.size:
                self.file.zero(position, self.grain)
            self._grow(position + self.grain)
            self.file.write(position + offset - start, content)
        self._enter(number, index, 1, position)

    def _take(self, most: int) -> tuple[int, int]:
        """Room for up to so many grains in a row: byte position and how many. What was given up comes before new room."""
        if not self.free:
            return self.allocate(most * self.grain), most
        sector, count = self.free.pop(), 1
        while count < most and self.free and self.free[-1] == sector + count * self.grain_sectors:
            self.free.pop()
            count += 1
        return sector * SECTOR, count

    def _grow(self, end: int) -> None:
        if end > self.file.size:
            self.file.resize(end)

    def _enter(self, number: int, index: int, count: int, position: int) -> None:
        table = self.tables.change(number)
        for step in range(count):
            table[index + step] = position // SECTOR + step * self.grain_sectors
        self._bound()

    def _bound(self) -> None:
        if len(self.tables.changed) > CHANGED or len(self.freed) > FREE:
            self.flush()

    def zero(self, offset: int, length: int) -> None:
        self._clear(offset, length, discard=False)

    def discard(self, offset: int, length: int) -> None:
        self._clear(offset, length, discard=True)

    def _clear(self, offset: int, length: int, discard: bool) -> None:
        """Zeros, as cheap as they can be had. *discard*: only whole grains, and nothing that would have to be stored."""
        vacant = ZEROED if self.zeroed and self.below is not None else UNALLOCATED
        droppable = vacant == ZEROED or self.below is None
        for start in range(offset - offset % self.reach, offset + length, self.reach):
            first, last = max(offset, start), min(offset + length, start + self.reach)
            for span in list(self.spans(first, last - first)):
                if span.kind == DATA or (span.kind == HOLE and self.below is not None):
                    self._clear_span(span, vacant if droppable else None, discard)

    def _clear_span(self, span: Span, vacant: int | None, discard: bool) -> None:
        """*vacant*: the entry of grains that are given up; `None`: none can be."""
        start, end = span.offset, span.offset + span.length
        first = start + -start % self.grain
        last = end if end == self.size else end - end % self.grain
        if vacant is None or first >= last:
            first = last = end
        if not discard:
            self._store_zeros(span, start, first)
            self._store_zeros(span, last, end)
        if first < last:
            index, count = first % self.reach // self.grain, -(-(last - first) // self.grain)
            table = self.tables.change(first // self.reach)
            if span.kind == DATA:
                self.freed.extend(table[index : index + count])
            table[index : index + count] = array("I", [vacant or 0]) * count
            self._bound()

    def _store_zeros(self, span: Span, start: int, end: int) -> None:
        if span.kind == DATA and start < end:
            self.file.zero(span.position + start - span.offset, end - start)
        elif start < end:
            for at in range(start, end, GRAIN_LIMIT):
                self.write(at, memoryview(bytes(min(GRAIN_LIMIT, end - at))))

    # ---------------------------------------------------------------- durability

    def flush(self) -> None:
        if not self.next:
            return
        self.file.flush()
        self.tables.flush(self.allocate)
        self._recycle()

    def _recycle(self) -> None:
        if not self.freed:
            return
        freed, self.freed = sorted(self.freed), []
        begin = end = freed[0]
        for sector in (*freed, -1):
            if sector != end:
                self.file.discard(begin * SECTOR, (end - begin) * SECTOR)
                begin = sector
            end = sector + self.grain_sectors
        self.free = sorted(chain(self.free, freed[: FREE - len(self.free)]), reverse=True)

    def finish(self) -> None:
        self.next = 0
        self.mark(False)
        self.file.flush()


class HeaderExtent(SparseExtent):
    """One whose tables a hosted sparse extent's header describes."""

    kind = "SPARSE"

    def __init__(self, source: Storage, header: SparseHeader, size: int) -> None:
        redundant = header.redundant_directory * SECTOR if header.flags & REDUNDANT_TABLES else 0
        super().__init__(
            source,
            size,
            header.grain_size * SECTOR,
            header.table_entries,
            header.directory * SECTOR,
            redundant,
            bool(header.flags & ZEROED_GRAINS),
        )
        self.header, self.unclean = header, bool(header.unclean)


class HostedExtent(HeaderExtent):
    """A hosted sparse extent, its grains not compressed."""

    def __init__(self, source: Storage, header: SparseHeader, size: int) -> None:
        super().__init__(source, header, size)
        self.alignment = self.grain
        if header.flags & (COMPRESSED | MARKERS) or header.compression:
            raise damaged(f"{source.name}: flags {header.flags:#x} and compression algorithm {header.compression} contradict")
        if header.version == 3 and not self.sealed:
            self.sealed = f"{source.name}: version 3 has changed-block tracking, which writing would belie"


class CowdExtent(SparseExtent):
    """A sparse extent of an ESX server. Its freeSector, which is not believed, never lies before what durable tables refer to."""

    kind = "VMFSSPARSE"
    unclean_offset = COWD_UNCLEAN

    def __init__(self, source: Storage, header: CowdHeader, size: int) -> None:
        super().__init__(source, size, header.grain_size * SECTOR, COWD_TABLE_ENTRIES, header.directory * SECTOR, 0, zeroed=False)
        self.header, self.unclean = header, bool(header.unclean)
        self._free_sector = header.free_sector

    def flush(self) -> None:
        # New tables take their room in the flush itself: it is announced before.
        announced = (self.next + len(self.tables.changed) * 4 * COWD_TABLE_ENTRIES) // SECTOR
        if self.next and self.tables.changed and announced != self._free_sector:
            self._free_sector = min(announced, LAST_SECTOR)
            self.file.write(COWD_FREE_SECTOR, self._free_sector.to_bytes(4, "little"))
        super().flush()

    def finish(self) -> None:
        self.file.write(COWD_FREE_SECTOR, (self._align(self.file.size) // SECTOR).to_bytes(4, "little"))
        super().finish()
