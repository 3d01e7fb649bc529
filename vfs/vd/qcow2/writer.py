"""Changing an image: where a write goes, and in what order the tables follow it.

Data are written at once, to clusters that nothing on disk refers to yet, or in place where the refcount is one. L2 and L1 entries
and refcounts change in memory. `sync` makes them durable in this order:

1. data, refcounts that have grown, and new L2 tables: nothing refers to any of them;
2. the refcount table, where it names new blocks;
3. L2 entries and the L1 table: now the data are there for all to see;
4. refcounts that go down. Only now can those clusters be given to others.

A cluster whose last reference is removed stays untouched until then, and until nobody reads who may have looked it up before.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

from vfs.api import damaged
from vfs.vd.disk import HOLE, ZERO
from vfs.vd.qcow2 import layout
from vfs.vd.qcow2.bitmaps import mark_in_use
from vfs.vd.qcow2.packed import place
from vfs.vd.qcow2.refcounts import Refcounts

if TYPE_CHECKING:
    from vfs.vd.qcow2.image import Qcow2Image

DIRTY_BYTES: Final = 8 << 20
"""Of changed L2 tables in memory; more are written out."""


class Writer:
    """All calls with the image's lock held."""

    def __init__(self, image: Qcow2Image) -> None:
        self.image, self.header, self.tables = image, image.header, image.tables
        self.file, self.data = image.file, image.data
        self.size, self.bits = image.cluster_size, image.cluster_bits
        self.stride = 2 if self.header.extended else 1
        """Numbers an L2 entry."""
        self.span = image.span
        self.raw_data = self.header.external and bool(self.header.autoclear & layout.RAW_DATA)
        if self.header.incompatible & layout.DIRTY:
            from vfs.vd.qcow2.references import rebuild

            rebuild(self.file, self.header)
        self.refcounts = Refcounts(self.file, self.header)
        self._check_own()
        self._removed: list[int] = []
        """Clusters that have lost a reference since the last `sync`, once for each."""
        self._begun = False

    def _check_own(self) -> None:
        """The tables that every write relies on are not free to be overwritten. EUCLEAN."""
        header = self.header
        for what, offset, length in (
            ("header", 0, 1),
            ("L1 table", header.l1_offset, header.l1_entries * 8),
            ("refcount table", header.refcount_offset, header.refcount_clusters << self.bits),
        ):
            for cluster in range(offset >> self.bits, -(-(offset + length) >> self.bits)):
                if not self.refcounts.get(cluster):
                    raise damaged(
                        f"{header.name}: the {what}'s cluster {cluster} has no refcount; 'qemu-img check -r all' repairs it"
                    )

    def _begin(self) -> None:
        """Before the first change: what does not know of it must not be trusted any more."""
        if self._begun:
            return
        self._begun = True
        known = self.header.autoclear & (layout.BITMAPS | (layout.RAW_DATA if self.header.external else 0))
        if self.image.bitmaps is not None:
            mark_in_use(self.file, self.image.bitmaps)
        if known != self.header.autoclear:
            self.header.autoclear = known
            self.file.write(layout.AUTOCLEAR_AT, layout.LONG.pack(known))
        self.file.flush()

    # ---------------------------------------------------------------- tables

    def _own_table(self, l1_index: int) -> tuple[int, array[int]]:
        """The L2 table of an L1 entry, made, or copied where snapshots share it; and where it is."""
        entry = self.tables.l1[l1_index]
        offset = entry & layout.OFFSET
        if offset and entry & layout.COPIED:
            return offset, self.tables.load(offset, f"L1 entry {l1_index}")
        if offset:
            table = self.tables.load(offset, f"L1 entry {l1_index}")[:]
            self._check_copied(table)
        else:
            table = array("Q", bytes(self.size))
        new = self.refcounts.allocate(1)[0] << self.bits
        if offset:
            self._removed.append(offset >> self.bits)
        self.tables.add(new, table)
        self.tables.l1[l1_index] = new | layout.COPIED
        self.tables.dirty_l1.add(l1_index)
        return new, table

    def _check_copied(self, table: array[int]) -> None:
        """The flag is right only in tables that the active L1 table has to itself; this one is about to be."""
        for index in range(0, 0 if self.header.external else len(table), self.stride):
            if table[index] & layout.COPIED and self.refcounts.get((table[index] & layout.OFFSET) >> self.bits) != 1:
                table[index] &= ~layout.COPIED

    def _remove(self, entry: int) -> None:
        """The clusters that an L2 entry refers to lose that reference."""
        if self.header.external:
            return
        if entry & layout.COMPRESSED:
            offset, length = place(entry & (layout.COMPRESSED - 1), self.bits)
            self._removed.extend(range(offset >> self.bits, (offset + length - 1 >> self.bits) + 1))
        elif entry & layout.OFFSET:
            self._removed.append((entry & layout.OFFSET) >> self.bits)

    def _set(self, offset: int, table: array[int], index: int, entry: int, bitmap: int) -> None:
        table[index * self.stride] = entry
        if self.stride == 2:
            table[index * 2 + 1] = bitmap
        self.tables.touch(offset, table, index * self.stride, (index + 1) * self.stride)

    def _in_place(self, entry: int) -> bool:
        """Whether an L2 entry's cluster is this disk's alone, and may be written where it is."""
        if entry & (layout.COPIED | layout.COMPRESSED) != layout.COPIED:
            return False
        if self.stride == 1 and entry & layout.ZERO:
            return False
        host = entry & layout.OFFSET
        if host & (self.size - 1) or (not host and not self.header.external):
            raise damaged(f"{self.header.name}: an L2 entry {entry:#x} refers to no cluster")
        return True

    # ---------------------------------------------------------------- writing

    def write(self, offset: int, content: memoryview) -> None:
        self._begin()
        while content:
            l1_index = offset // self.span
            piece = content[: (l1_index + 1) * self.span - offset]
            self._write_table(l1_index, offset, piece)
            offset += len(piece)
            content = content[len(piece) :]
            if self.tables.dirty_bytes > DIRTY_BYTES:
                self.sync()

    def _write_table(self, l1_index: int, offset: int, content: memoryview) -> None:
        """A write inside what one L2 table maps: runs of clusters in place, and runs of new ones."""
        where, table = self._own_table(l1_index)
        base = l1_index * self.span
        while content:
            index = offset - base >> self.bits
            end = offset - base + len(content)
            last = -(-end >> self.bits)
            entry = table[index * self.stride]
            stop = index + 1
            if self._in_place(entry):
                expected = entry + self.size
                while stop < last and table[stop * self.stride] == expected:
                    expected += self.size
                    stop += 1
                piece = content[: base + (stop << self.bits) - offset]
                self._check_data_place(entry, base + (index << self.bits))
                self._write_in_place(where, table, index, stop, offset, piece)
            else:
                while stop < last and not self._in_place(table[stop * self.stride]):
                    stop += 1
                first, got = self._new_clusters(base + (index << self.bits), stop - index)
                piece = content[: base + (index + got << self.bits) - offset]
                try:
                    self._write_new(where, table, index, first, got, offset, piece)
                except BaseException:
                    self._give_back(table, index, first, got)
                    raise
            offset += len(piece)
            content = content[len(piece) :]

    def _write_in_place(self, where: int, table: array[int], index: int, stop: int, offset: int, content: memoryview) -> None:
        """To clusters *index* up to *stop* of an L2 table, which follow each other in the file and are this disk's alone."""
        self.data.write((table[index * self.stride] & layout.OFFSET) + offset % self.size, content)

    def _check_data_place(self, entry: int, guest: int) -> None:
        if self.header.external and entry & layout.OFFSET != guest:
            raise damaged(f"{self.header.name}: the cluster at {guest} of the disk is elsewhere in the data file")

    def _new_clusters(self, guest: int, count: int) -> tuple[int, int]:
        """Room for up to *count* clusters of the disk from *guest* on: where in the file that has the data, and for how many."""
        if self.header.external:
            return guest, count
        first, got = self.refcounts.allocate(count)
        return first << self.bits, got

    def _give_back(self, table: array[int], index: int, first: int, count: int) -> None:
        """New clusters that nothing has come to refer to."""
        for number in range(0 if self.header.external else count):
            host = first + (number << self.bits)
            if table[(index + number) * self.stride] & layout.OFFSET != host:
                self.refcounts.release(host >> self.bits)

    def _write_new(
        self, where: int, table: array[int], index: int, first: int, count: int, offset: int, content: memoryview
    ) -> None:
        """*content* and what the disk has around it go to *count* new clusters from *first* on, and the entries say so."""
        begin = offset - offset % self.size
        end = begin + (count << self.bits)
        beyond = first >= self.data.size
        self._copy(begin, offset - begin, first, beyond)
        self.data.write(first + offset - begin, content)
        self._copy(offset + len(content), end - offset - len(content), first + offset - begin + len(content), beyond)
        self._point(where, table, index, first, count)

    def _point(self, where: int, table: array[int], index: int, first: int, count: int) -> None:
        """Entries *index* up to *index* + *count* refer to clusters from *first* on, all of whose content is there."""
        stride, size = self.stride, self.size
        for entry in table[index * stride : (index + count) * stride : stride]:
            if entry:
                self._remove(entry)
        begin = first | layout.COPIED
        table[index * stride : (index + count) * stride : stride] = array("Q", range(begin, begin + (count << self.bits), size))
        if stride == 2:
            table[index * 2 + 1 : (index + count) * 2 : 2] = array("Q", [layout.ALLOCATED_ALL]) * count
        self.tables.touch(where, table, index * stride, (index + count) * stride)

    def _copy(self, guest: int, length: int, to: int, beyond: bool) -> None:
        """What the disk has at *guest* comes to *to* of the file; *beyond*: nothing was ever there, and zeros need no writing."""
        if not length:
            return
        inside = max(0, min(length, self.image.size - guest))
        if self._reads_as_zeros(guest, inside):
            if not beyond or to < self.data.size:
                self.data.zero(to, length)
            return
        self.data.write(to, self.image.read(guest, inside) + bytes(length - inside))

    def _reads_as_zeros(self, guest: int, length: int) -> bool:
        parent = self.image.parent
        for run in self.image.runs(guest, length):
            if run.kind == HOLE:
                if parent is not None and run.offset < parent.size:
                    return False
            elif run.kind != ZERO:
                return False
        return True

    # ---------------------------------------------------------------- zeros

    def zero(self, offset: int, length: int) -> None:
        self._begin()
        end = offset + length
        whole, stop = -(-offset // self.size) * self.size, end // self.size * self.size
        if end == self.image.size:
            stop = -(-end // self.size) * self.size  # nothing lies behind
        can = self.header.version == 3 or self.image.parent is None
        if whole >= stop or not can:
            self._write_zeros(offset, length)
            return
        self._write_zeros(offset, whole - offset)
        self._clear(whole, stop, True)
        self._write_zeros(stop, end - stop)

    def _write_zeros(self, offset: int, length: int) -> None:
        """Zeros in parts of clusters, where anything else is."""
        end = offset + length
        while offset < end:
            stop = min(end, offset - offset % self.size + self.size)
            if not self._reads_as_zeros(offset, stop - offset):
                self._zero_part(offset, stop)
            offset = stop

    def _zero_part(self, offset: int, stop: int) -> None:
        """Inside one cluster."""
        self.write(offset, memoryview(bytes(stop - offset)))

    def discard(self, offset: int, length: int) -> None:
        whole, stop = -(-offset // self.size) * self.size, (offset + length) // self.size * self.size
        if offset + length == self.image.size:
            stop = -(-self.image.size // self.size) * self.size
        if whole < stop and (self.header.version == 3 or self.image.parent is None):
            self._begin()
            self._clear(whole, stop, False)

    def _clear(self, offset: int, stop: int, zero: bool) -> None:
        """Whole clusters read as zeros, and are given back. *zero* is no hint: then what is a hole of this image says so as well
        where it would read as the parent; else (a discard) it stays one."""
        while offset < stop:
            l1_index = offset // self.span
            end = min(stop, (l1_index + 1) * self.span)
            if self.tables.l1[l1_index] & layout.OFFSET or (zero and not self._reads_as_zeros(offset, self._inside(offset, end))):
                self._clear_table(l1_index, offset, end, zero)
            offset = end
            if self.tables.dirty_bytes > DIRTY_BYTES:
                self.sync()

    def _inside(self, offset: int, end: int) -> int:
        return max(0, min(end, self.image.size) - offset)

    def _clear_table(self, l1_index: int, offset: int, end: int, zero: bool) -> None:
        where, table = self._own_table(l1_index)
        parent = self.image.parent
        for guest in range(offset, end, self.size):
            index = guest % self.span >> self.bits
            entry = table[index * self.stride]
            bitmap = table[index * 2 + 1] if self.stride == 2 else 0
            covered = parent is not None and guest < parent.size
            if not entry and not bitmap and not (zero and covered):
                continue
            if self.header.external:
                in_place = entry & layout.COPIED and not entry & layout.COMPRESSED
                if in_place:
                    self._clear_data(guest)
                if self.raw_data:
                    continue  # that file alone must say it all
            self._remove(entry)
            if not covered:
                self._set(where, table, index, 0, 0)
            elif self.stride == 2:
                self._set(where, table, index, 0, layout.ZERO_ALL)
            else:
                self._set(where, table, index, layout.ZERO, 0)

    def _clear_data(self, guest: int) -> None:
        """The cluster's place in a data file of its own, which no refcounts protect."""
        length = min(self.size, self.data.size - guest)
        if length > 0:
            self.data.zero(guest, length)

    # ---------------------------------------------------------------- durable

    def sync(self) -> None:
        """See the module's docstring."""
        tables, refcounts = self.tables, self.refcounts
        self._extend_file()
        if tables.dirty or tables.dirty_l1 or self._removed or refcounts.dirty:
            refcounts.write_blocks()
            tables.write(set(tables.fresh))
        if self.data is not self.file:
            self.data.flush()
        self.file.flush()
        if refcounts.dirty_table:
            refcounts.write_table()
            self.file.flush()
        if tables.dirty or tables.dirty_l1:
            tables.write(set(tables.dirty))
            tables.write_l1()
            self.file.flush()
        if self._removed and not self.image.reading:
            self._release()

    def _extend_file(self) -> None:
        """All clusters in use are inside the file, also those of which only zeros were wanted."""
        length = self.refcounts.end << self.bits
        if length > self.file.size:
            self.file.resize(length)

    def _release(self) -> None:
        """The refcounts of what nothing durable refers to any more go down; what is free is no longer stored."""
        removed, self._removed = self._removed, []
        free = sorted(cluster for cluster in removed if self.refcounts.release(cluster))
        self.image.packed.forget()
        self.refcounts.write_blocks()
        start = 0
        for number, cluster in enumerate(free):
            if number + 1 == len(free) or free[number + 1] != cluster + 1:
                self.file.discard(free[start] << self.bits, number + 1 - start << self.bits)
                start = number + 1
