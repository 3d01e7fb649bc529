"""Refcounts: looking them up, allocating clusters, giving them back. All in memory until `write_blocks` and `write_table`."""

from __future__ import annotations

import errno
import sys
from array import array
from collections import OrderedDict
from typing import Final

from vfs.api import Storage, damaged, fail
from vfs.vd.qcow2 import layout
from vfs.vd.qcow2.header import Header
from vfs.vd.qcow2.tables import SECTOR_ENTRIES, encode, read_table

CACHE_BYTES: Final = 8 << 20
"""Of unchanged blocks in memory; two clusters at least."""
TYPES: Final = {3: "B", 4: "H", 5: "I", 6: "Q"}


def decode_block(content: bytes, order: int) -> array[int]:
    """The counts in a refcount block, of 2^*order* bits each."""
    if order >= 3:
        found = array(TYPES[order])
        found.frombytes(content)
        if sys.byteorder == "little":
            found.byteswap()
        return found
    # Narrower than a byte, the first in the lowest bits: all the first ones of the bytes at once, all the second ones …
    each, width = 8 >> order, 1 << order
    number = int.from_bytes(content, "little")
    mask = int.from_bytes(bytes([(1 << width) - 1]) * len(content), "little")
    expanded = bytearray(len(content) * each)
    for place in range(each):
        expanded[place::each] = (number >> place * width & mask).to_bytes(len(content), "little")
    return array("B", expanded)


def encode_block(counts: array[int], order: int) -> bytes:
    if order >= 3:
        if sys.byteorder == "little":
            counts = counts[:]
            counts.byteswap()
        return counts.tobytes()
    each, width = 8 >> order, 1 << order
    content, number = counts.tobytes(), 0
    for place in range(each):
        number |= int.from_bytes(content[place::each], "little") << place * width
    return number.to_bytes(len(content) // each, "little")


class Refcounts:
    """Of all clusters of the file. Numbers of clusters, not offsets, unless said otherwise."""

    def __init__(self, file: Storage, header: Header) -> None:
        self.file, self.header = file, header
        self.order, self.bits = header.refcount_order, header.cluster_bits
        self.entries = header.refcount_entries
        self.most = (1 << (1 << self.order)) - 1
        self.table = read_table(file, header.refcount_offset, header.refcount_clusters << self.bits >> 3)
        self._clean: OrderedDict[int, array[int]] = OrderedDict()
        self._kept = max(2, (CACHE_BYTES if self.order >= 3 else CACHE_BYTES >> 3 - self.order) >> self.bits)
        self._changed: dict[int, array[int]] = {}
        self._spans: dict[int, list[int]] = {}
        """Of changed blocks: the first changed entry, and the one after the last."""
        self._dirty_table: set[int] = set()
        self._cursor = 0
        """No cluster below is free."""
        self.end = 0
        """No cluster from here on has been allocated by us: the file need not be that long."""

    # ---------------------------------------------------------------- blocks

    def block(self, index: int) -> array[int] | None:
        """The refcounts that entry *index* of the table is for; `None`: all are 0. EUCLEAN."""
        if index >= len(self.table):
            return None
        offset = self.table[index] & layout.REFCOUNT_OFFSET
        if not offset:
            return None
        found = self._changed.get(index) or self._clean.get(index)
        if found is not None:
            return found
        if offset & (self.header.cluster_size - 1) or offset >= self.file.size:
            raise damaged(f"{self.header.name}: refcount block {index} is at {offset}, outside the file or in a cluster's midst")
        inside = min(self.header.cluster_size, self.file.size - offset)
        content = self.file.read(offset, inside).ljust(self.header.cluster_size, b"\0")
        found = self._clean[index] = decode_block(content, self.order)
        if len(self._clean) > self._kept:
            self._clean.popitem(last=False)
        return found

    def _touch(self, index: int, block: array[int], first: int, last: int) -> None:
        span = self._spans.get(index)
        if span is not None:
            span[0], span[1] = min(span[0], first), max(span[1], last)
            return
        self._clean.pop(index, None)
        self._changed[index] = block
        self._spans[index] = [first, last]

    def get(self, cluster: int) -> int:
        block = self.block(cluster // self.entries)
        return block[cluster % self.entries] if block is not None else 0

    def ones(self, first: int, count: int) -> bool:
        """Whether all of these clusters have a refcount of 1."""
        while count:
            index, inside = divmod(first, self.entries)
            some = min(count, self.entries - inside)
            block = self.block(index)
            if block is None or block[inside : inside + some].count(1) != some:
                return False
            first, count = first + some, count - some
        return True

    def set(self, cluster: int, count: int) -> None:
        """EOVERFLOW: more than the image's refcounts hold; EUCLEAN."""
        if count > self.most:
            fail(errno.EOVERFLOW, f"{self.header.name}: {count} references to cluster {cluster}, at most {self.most}")
        index, inside = divmod(cluster, self.entries)
        block = self.block(index)
        if block is None:
            if not count:
                return
            block = self._new_block(index)
        block[inside] = count
        self._touch(index, block, inside, inside + 1)
        if not count:
            self._cursor = min(self._cursor, cluster)

    def release(self, cluster: int) -> bool:
        """One reference less; whether that was the last. A cluster that has none stays so: the image was wrong before."""
        count = self.get(cluster)
        if count:
            self.set(cluster, count - 1)
        return count == 1

    # ---------------------------------------------------------------- allocation

    def allocate(self, wanted: int) -> tuple[int, int]:
        """Up to *wanted* free clusters in a row, now with a refcount of 1: the first of them, and how many. EFBIG; EUCLEAN."""
        while True:
            index, inside = divmod(self._cursor, self.entries)
            block = self.block(index)
            if block is None:
                block = self._new_block(index)
            try:
                first = block.index(0, inside)
            except ValueError:
                self._cursor = (index + 1) * self.entries
                continue
            got = self._free(block, first, wanted)
            block[first : first + got] = array(block.typecode, [1]) * got
            self._touch(index, block, first, first + got)
            first += index * self.entries
            self._cursor = first + got
            if self._cursor << self.bits > layout.MAX_HOST_OFFSET:
                fail(errno.EFBIG, f"{self.header.name}: the file would be larger than 64 PiB")
            self.end = max(self.end, self._cursor)
            return first, got

    def _free(self, block: array[int], first: int, wanted: int) -> int:
        """How many entries from *first* on are 0, of *wanted*."""
        last = min(first + wanted, len(block))
        if not any(block[first:last]):
            return last - first
        at = first
        while not block[at]:
            at += 1
        return at - first

    def _new_block(self, index: int) -> array[int]:
        """A block for entry *index* of the table. It lies in the first of the clusters that it is for: all these are free."""
        if index >= len(self.table):
            return self._grow(index)
        if not index:
            raise damaged(f"{self.header.name}: there is no refcount block for the header's cluster")
        block = array(TYPES.get(self.order, "B"), bytes(self.entries * (1 << max(0, self.order - 3))))
        block[0] = 1
        self.table[index] = index * self.entries << self.bits
        self._dirty_table.add(index)
        self._touch(index, block, 0, self.entries)
        self.end = max(self.end, index * self.entries + 1)
        return block

    def _grow(self, index: int) -> array[int]:
        """A larger table, with room for entry *index* at least, and that block. It comes, with the blocks for itself, into the
        first clusters that the old one was not for, and is written at once: the header names it when it is durable."""
        old, size = len(self.table), self.header.cluster_size
        start = old * self.entries
        needed = max(index + 1, old + old // 2 + 1)
        while True:
            clusters = -(-needed * 8 // size)
            blocks = 1
            while blocks * self.entries < blocks + clusters:
                blocks += 1
            if needed >= old + blocks:
                break
            needed = old + blocks
        if clusters * size > layout.MAX_REFCOUNT_TABLE_BYTES:
            fail(errno.EFBIG, f"{self.header.name}: a refcount table of {needed} entries is too large")
        self.table.extend([0] * (clusters * size // 8 - old))
        used = blocks + clusters
        for number in range(blocks):
            first = number * self.entries
            counts = [int(first + inside < used) for inside in range(self.entries)]
            self.table[old + number] = start + number << self.bits
            block = array(TYPES.get(self.order, "B"), counts)
            self._touch(old + number, block, 0, self.entries)
            self.file.write(start + number << self.bits, encode_block(block, self.order))
        # Blocks that are not written yet may be named by the new table: they must be there before it.
        self.write_blocks()
        self.file.flush()
        offset = start + blocks << self.bits
        self.file.write(offset, encode(self.table))
        self.file.flush()
        self.file.write(layout.REFCOUNT_TABLE_AT, layout.REFCOUNT_TABLE.pack(offset, clusters))
        self.file.flush()
        self._dirty_table.clear()
        before = self.header.refcount_offset >> self.bits, self.header.refcount_clusters
        self.header.refcount_offset, self.header.refcount_clusters = offset, clusters
        for cluster in range(before[0], before[0] + before[1]):
            self.release(cluster)
        self.end = max(self.end, start + used)
        found = self.block(index)
        return found if found is not None else self._new_block(index)

    # ---------------------------------------------------------------- writing

    @property
    def dirty(self) -> bool:
        return bool(self._spans)

    @property
    def dirty_table(self) -> bool:
        return bool(self._dirty_table)

    def write_blocks(self) -> None:
        """The changed parts of the changed blocks."""
        for index in sorted(self._spans):
            first, last = self._spans[index]
            block = self._changed[index]
            step = SECTOR_ENTRIES * 64 >> self.order  # entries in 512 bytes
            first -= first % step
            last = min(len(block), -(-last // step) * step)
            offset = self.table[index] & layout.REFCOUNT_OFFSET
            self.file.write(offset + (first << self.order >> 3), encode_block(block[first:last], self.order))
            del self._spans[index], self._changed[index]
            self._clean[index] = block
        while len(self._clean) > self._kept:
            self._clean.popitem(last=False)

    def write_table(self) -> None:
        """The changed sectors of the table."""
        for sector in sorted({index // SECTOR_ENTRIES for index in self._dirty_table}):
            first = sector * SECTOR_ENTRIES
            self.file.write(self.header.refcount_offset + first * 8, encode(self.table[first : first + SECTOR_ENTRIES]))
        self._dirty_table.clear()
