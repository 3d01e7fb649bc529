"""L1 and L2 tables: loaded on demand, changed in memory, written when `Writer.sync` says so."""

from __future__ import annotations

import sys
from array import array
from collections import OrderedDict
from typing import Final

from vfs.api import Storage, damaged
from vfs.vd.qcow2 import layout
from vfs.vd.qcow2.header import Header

CACHE_BYTES: Final = 16 << 20
"""Of unchanged tables in memory; two clusters at least."""
SECTOR_ENTRIES: Final = 64
"""Entries of 8 bytes that are written at once."""


def decode(content: bytes) -> array[int]:
    """A table of 64-bit numbers."""
    found = array("Q")
    found.frombytes(content)
    if sys.byteorder == "little":
        found.byteswap()
    return found


def encode(table: array[int]) -> bytes:
    if sys.byteorder == "little":
        table = table[:]
        table.byteswap()
    return table.tobytes()


def read_table(source: Storage, offset: int, entries: int) -> array[int]:
    """A table that lies in the file (`check_place`)."""
    return decode(source.read(offset, entries * 8))


def follow(table: array[int], index: int, stop: int, entry: int, step: int) -> int:
    """How far entries from *index* on continue *entry*, each by *step* more (0: they are equal): the index of the first that does
    not, *stop* at most. Long rows are compared as a whole."""
    expected, few = entry + step, min(index + 8, stop)
    while index < few:
        if table[index] != expected:
            return index
        expected += step
        index += 1
    width = 64
    while index < stop and expected + step * (stop - index) < 1 << 64:
        end = min(index + width, stop)
        count = end - index
        row = array("Q", range(expected, expected + step * count, step)) if step else array("Q", [expected]) * count
        if table[index:end] != row:
            break
        expected += step * count
        index = end
        width *= 4
    while index < stop and table[index] == expected:
        expected += step
        index += 1
    return index


class Tables:
    """The map of one state of the disk: *l1*, and its L2 tables by their offset in the file. An L2 table with extended entries
    has two numbers an entry."""

    def __init__(self, file: Storage, header: Header, l1: array[int]) -> None:
        self.file, self.header, self.l1 = file, header, l1
        self.cluster_size = header.cluster_size
        self._clean: OrderedDict[int, array[int]] = OrderedDict()
        self._most = max(2, CACHE_BYTES // self.cluster_size)
        self.dirty: dict[int, list[int]] = {}
        """Changed ones: the first changed number and the one after the last."""
        self.fresh: set[int] = set()
        """Those of *dirty* to which nothing on disk refers yet."""
        self.dirty_l1: set[int] = set()
        self._changed: dict[int, array[int]] = {}

    def l2(self, l1_index: int) -> array[int] | None:
        """The L2 table of an L1 entry. EUCLEAN."""
        offset = self.l1[l1_index] & layout.OFFSET
        return self.load(offset, f"L1 entry {l1_index}") if offset else None

    def load(self, offset: int, who: str) -> array[int]:
        """The L2 table at *offset*, to which *who* refers. EUCLEAN: not a cluster of the file."""
        found = self._changed.get(offset)
        if found is not None:
            return found
        found = self._clean.get(offset)
        if found is not None:
            self._clean.move_to_end(offset)
            return found
        if offset % self.cluster_size or offset >= self.file.size:
            raise damaged(f"{self.header.name}: {who}: an L2 table at {offset}, outside the file or not at a cluster's begin")
        inside = min(self.cluster_size, self.file.size - offset)
        found = decode(self.file.read(offset, inside).ljust(self.cluster_size, b"\0"))
        self._clean[offset] = found
        if len(self._clean) > self._most:
            self._clean.popitem(last=False)
        return found

    def touch(self, offset: int, table: array[int], first: int, last: int) -> None:
        """Numbers *first* up to *last* of *table*, which `load` gave for *offset*, have been changed."""
        span = self.dirty.get(offset)
        if span is not None:
            span[0], span[1] = min(span[0], first), max(span[1], last)
            return
        self._clean.pop(offset, None)
        self._changed[offset] = table
        self.dirty[offset] = [first, last]

    def add(self, offset: int, table: array[int]) -> None:
        """A new L2 table; nothing on disk refers to it."""
        self._clean.pop(offset, None)
        self._changed[offset] = table
        self.dirty[offset] = [0, len(table)]
        self.fresh.add(offset)

    def write(self, offsets: set[int]) -> None:
        """Write changed tables out; each is unchanged when that is done."""
        for offset in sorted(offsets):
            first, last = self.dirty[offset]
            table = self._changed[offset]
            first -= first % SECTOR_ENTRIES
            last = min(len(table), -(-last // SECTOR_ENTRIES) * SECTOR_ENTRIES)
            self.file.write(offset + first * 8, encode(table[first:last]))
            del self.dirty[offset], self._changed[offset]
            self._clean[offset] = table
            self.fresh.discard(offset)
        while len(self._clean) > self._most:
            self._clean.popitem(last=False)

    def write_l1(self) -> None:
        """The sectors of the L1 table that have changed."""
        for sector in sorted({index // SECTOR_ENTRIES for index in self.dirty_l1}):
            first = sector * SECTOR_ENTRIES
            self.file.write(self.header.l1_offset + first * 8, encode(self.l1[first : first + SECTOR_ENTRIES]))
        self.dirty_l1.clear()

    @property
    def dirty_bytes(self) -> int:
        return len(self.dirty) * self.cluster_size
