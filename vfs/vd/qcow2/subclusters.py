"""Changing an image whose L2 entries are extended: each cluster's 32 sub-clusters have states of their own."""

from __future__ import annotations

from array import array

from vfs.vd.qcow2 import layout
from vfs.vd.qcow2.writer import Writer


class SubClusterWriter(Writer):
    """Sub-clusters that a change does not touch stay as they are, unallocated ones too."""

    def _mask(self, begin: int, end: int) -> int:
        """The sub-clusters of a cluster that bytes *begin* up to *end* of it touch."""
        width = self.size // layout.SUB_CLUSTERS
        return (1 << -(-end // width)) - (1 << begin // width)

    def _write_in_place(self, where: int, table: array[int], index: int, stop: int, offset: int, content: memoryview) -> None:
        """What is around *content* in the first and the last sub-cluster comes with it where they are new."""
        host = (table[index * 2] & layout.OFFSET) + offset % self.size
        width = self.size // layout.SUB_CLUSTERS
        end = offset + len(content)
        base = offset - offset % self.size
        before, after = offset % width, -end % width
        first_new = not table[index * 2 + 1] >> (offset % self.size // width) & 1
        last = end - 1 - base
        last_new = not table[(index + (last >> self.bits)) * 2 + 1] >> (last % self.size // width) & 1
        if before and first_new:
            self._copy(offset - before, before, host - before, False)
        if after and last_new:
            self._copy(end, after, host + len(content), False)
        self.data.write(host, content)
        for number in range(index, stop):
            guest = base + (number - index << self.bits)
            touched = self._mask(max(guest, offset) - guest, min(guest + self.size, end) - guest)
            bitmap = table[number * 2 + 1]
            changed = (bitmap | touched) & ~(touched << 32)
            if changed != bitmap:
                self._set(where, table, number, table[number * 2], changed)

    def _write_new(
        self, where: int, table: array[int], index: int, first: int, count: int, offset: int, content: memoryview
    ) -> None:
        begin = offset - offset % self.size
        if offset == begin and len(content) == count << self.bits:
            super()._write_new(where, table, index, first, count, offset, content)
            return
        for number in range(count):
            guest = begin + (number << self.bits)
            start = max(guest, offset)
            piece = content[start - offset : guest + self.size - offset]
            self._new_sub_clusters(where, table, index + number, first + (number << self.bits), start, piece)

    def _new_sub_clusters(self, where: int, table: array[int], index: int, host: int, offset: int, content: memoryview) -> None:
        """*content*, inside one cluster of the disk, goes to a new one at *host*, with what the old one had in others."""
        entry, bitmap = table[index * 2], table[index * 2 + 1]
        width = self.size // layout.SUB_CLUSTERS
        guest = offset - offset % self.size
        if entry & layout.COMPRESSED:
            bitmap = layout.ALLOCATED_ALL
        begin, end = offset - guest, offset - guest + len(content)
        touched = self._mask(begin, end)
        old = bitmap & ~touched & layout.ALLOCATED_ALL
        number = 0
        while old >> number:
            if not old >> number & 1:
                number += 1
                continue
            stop = number
            while old >> stop & 1:
                stop += 1
            self._copy(guest + number * width, (stop - number) * width, host + number * width, False)
            number = stop
        before, after = begin % width, -end % width
        if before:
            self._copy(offset - before, before, host + begin - before, False)
        if after:
            self._copy(guest + end, after, host + end, False)
        self.data.write(host + begin, content)
        self._remove(entry)
        zeros = bitmap & layout.ZERO_ALL & ~(touched << 32)
        self._set(where, table, index, host | layout.COPIED, old | touched | zeros)

    def _zero_part(self, offset: int, stop: int) -> None:
        """Whole sub-clusters can say that they are zeros."""
        width = self.size // layout.SUB_CLUSTERS
        first, last = -(-offset // width) * width, stop // width * width
        l1_index = offset // self.span
        where, table = self._own_table(l1_index)
        index = offset % self.span >> self.bits
        if first < last and not table[index * 2] & layout.COMPRESSED and not self.raw_data:
            guest = offset - offset % self.size
            touched = self._mask(first - guest, last - guest)
            bitmap = table[index * 2 + 1]
            self._set(where, table, index, table[index * 2], bitmap & ~touched | touched << 32)
            if first > offset:
                self.write(offset, memoryview(bytes(first - offset)))
            if stop > last:
                self.write(last, memoryview(bytes(stop - last)))
        else:
            self.write(offset, memoryview(bytes(stop - offset)))
