"""Who refers to which cluster: counted, compared with the refcounts, or made the refcounts of an image that was left dirty."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from typing import Final

from vfs.api import ERROR, LEAK, Storage, damaged, unsupported
from vfs.vd.findings import Findings
from vfs.vd.qcow2 import layout
from vfs.vd.qcow2.bitmaps import read_bitmaps
from vfs.vd.qcow2.header import Header
from vfs.vd.qcow2.packed import place
from vfs.vd.qcow2.refcounts import TYPES, Refcounts, encode_block
from vfs.vd.qcow2.snapshots import check_snapshot, read_snapshots
from vfs.vd.qcow2.tables import Tables, encode, follow, read_table

MAX_SNAPSHOT_ENTRIES: Final = 1 << 26
MOST: Final = 0xFFFF
CHUNK: Final = 1 << 15
"""Clusters whose counts are kept together."""


class Counts:
    """References by cluster, in memory only where there are some."""

    def __init__(self, chunk: int) -> None:
        self.chunk = chunk
        self.chunks: dict[int, array[int]] = {}
        self._many: Counter[int] = Counter()
        """What is above `MOST`."""
        self.full: set[int] = set()
        """Chunks with such."""

    def add(self, cluster: int, times: int = 1) -> None:
        chunk = self.chunks.get(cluster // self.chunk)
        if chunk is None:
            chunk = self.chunks[cluster // self.chunk] = array("H", bytes(2 * self.chunk))
        try:
            chunk[cluster % self.chunk] += times
        except OverflowError:
            room = MOST - chunk[cluster % self.chunk]
            chunk[cluster % self.chunk] = MOST
            self._many[cluster] += times - room
            self.full.add(cluster // self.chunk)

    def add_row(self, first: int, count: int, times: int) -> None:
        """The same for *count* clusters from *first* on."""
        while count:
            number, inside = divmod(first, self.chunk)
            some = min(count, self.chunk - inside)
            chunk = self.chunks.get(number)
            if chunk is None:
                chunk = self.chunks[number] = array("H", bytes(2 * self.chunk))
            if times > MOST or any(chunk[inside : inside + some]):
                for cluster in range(first, first + some):
                    self.add(cluster, times)
            else:
                chunk[inside : inside + some] = array("H", [times]) * some
            first, count = first + some, count - some

    def ones(self, first: int, count: int) -> bool:
        """Whether each of these clusters has one reference."""
        return all(self.get(cluster) == 1 for cluster in range(first, first + count))

    def get(self, cluster: int) -> int:
        chunk = self.chunks.get(cluster // self.chunk)
        return chunk[cluster % self.chunk] + self._many[cluster] if chunk is not None else 0


class References:
    """All references in an image. *findings* has what is wrong with them themselves."""

    def __init__(self, file: Storage, header: Header) -> None:
        self.file, self.header = file, header
        self.bits, self.size = header.cluster_bits, header.cluster_size
        self.stride = 2 if header.extended else 1
        self.clusters = -(-file.size >> self.bits)
        """Of the file."""
        self.counts = Counts(min(CHUNK, header.refcount_entries))
        self.findings = Findings()
        self.l1 = read_table(file, header.l1_offset, header.l1_entries)
        self.tables = Tables(file, header, self.l1)
        self._count()

    def _range(self, what: str, offset: int, length: int, times: int = 1) -> bool:
        """Count a structure's clusters; whether it lies in the file."""
        if offset + length > self.clusters << self.bits:
            self.findings.add(ERROR, f"{what} is at {offset}, outside the file of {self.file.size} bytes")
            return False
        for cluster in range(offset >> self.bits, -(-(offset + length) >> self.bits)):
            self.counts.add(cluster, times)
        return True

    def _cluster(self, what: str, offset: int, times: int = 1) -> bool:
        if offset & (self.size - 1):
            self.findings.add(ERROR, f"{what} is at {offset}, which begins no cluster")
            return False
        return self._range(what, offset, self.size, times)

    def _count(self) -> None:
        header = self.header
        self._range("the header", 0, self.size)
        refcounts = read_table(self.file, header.refcount_offset, header.refcount_clusters << self.bits >> 3)
        self._range("the refcount table", header.refcount_offset, len(refcounts) * 8)
        for index, entry in enumerate(refcounts):
            if entry:
                self._cluster(f"refcount block {index}", entry & layout.REFCOUNT_OFFSET)
        self._range("the L1 table", header.l1_offset, header.l1_entries * 8)
        l2: Counter[int] = Counter(entry & layout.OFFSET for entry in self.l1)
        snapshots, length = read_snapshots(self.file, header)
        if (entries := sum(snapshot.l1_entries for snapshot in snapshots)) > MAX_SNAPSHOT_ENTRIES:
            raise unsupported(f"{header.name}: the L1 tables of all snapshots have {entries} entries, too many to be checked")
        self._range("the snapshot table", header.snapshot_offset, length)
        for snapshot in snapshots:
            try:
                check_snapshot(self.file, header, snapshot)
            except OSError as error:
                self.findings.add(ERROR, error.strerror or "")
                continue
            self._range(f"the L1 table of snapshot '{snapshot.name}'", snapshot.l1_offset, snapshot.l1_entries * 8)
            l2.update(entry & layout.OFFSET for entry in read_table(self.file, snapshot.l1_offset, snapshot.l1_entries))
        self._count_bitmaps()
        del l2[0]
        for offset, times in l2.items():
            if self._cluster("an L2 table", offset, times):
                self._count_table(offset, times)

    def _count_bitmaps(self) -> None:
        try:
            directory = read_bitmaps(self.file, self.header)
        except OSError as error:
            self.findings.add(ERROR, error.strerror or "")
            return
        if directory is None:
            return
        self._range("the bitmap directory", directory.offset, directory.length)
        for bitmap in directory.bitmaps:
            what = f"the table of bitmap '{bitmap.name.decode(errors='replace')}'"
            if self._range(what, bitmap.table_offset, bitmap.table_entries * 8) and bitmap.table_offset % self.size == 0:
                inside = min(bitmap.table_entries * 8, self.file.size - bitmap.table_offset) // 8
                for entry in read_table(self.file, bitmap.table_offset, inside):
                    if entry & layout.OFFSET:
                        self._cluster("a cluster of a bitmap", entry & layout.OFFSET)

    def _count_table(self, where: int, times: int) -> None:
        """The data clusters that one L2 table refers to."""
        table = self.tables.load(where, "L1 table")
        for index, count, entry in self._rows(table):
            host = entry & layout.OFFSET
            if entry & layout.COMPRESSED:
                offset, length = place(entry & (layout.COMPRESSED - 1), self.bits)
                self._range(f"compressed cluster {index} of the L2 table at {where}", offset, length, times)
            elif entry & layout.ZERO and self.header.version < 3:
                self.findings.add(ERROR, f"entry {index} of the L2 table at {where}: a zero cluster in an image of version 2")
            elif host and not self.header.external:
                if host & self.size - 1 or (host >> self.bits) + count > self.clusters:
                    for number in range(count):
                        what = f"cluster {index + number} of the L2 table at {where}"
                        self._cluster(what, host + (number << self.bits), times)
                else:
                    self.counts.add_row(host >> self.bits, count, times)
        if self.stride == 2:
            self._check_sub_clusters(where, table)

    def _rows(self, table: array[int]) -> Iterator[tuple[int, int, int]]:
        """Entries of an L2 table that follow each other: the first one's index, how many, and the first itself. Those that are 0
        are left out."""
        entries = table[:: self.stride]
        index = 0
        while index < len(entries):
            entry = entries[index]
            if entry & layout.COMPRESSED:
                stop = index + 1
            else:
                stop = follow(entries, index + 1, len(entries), entry, self.size if entry & layout.OFFSET else 0)
            if entry:
                yield index, stop - index, entry
            index = stop

    def _check_sub_clusters(self, where: int, table: array[int]) -> None:
        for index, bitmap in enumerate(table[1::2]):
            if not bitmap or bitmap == layout.ZERO_ALL:
                continue
            entry = table[2 * index]
            placed = entry & layout.OFFSET or self.header.external
            contradicts = bitmap & bitmap >> 32 & layout.ALLOCATED_ALL or (bitmap & layout.ALLOCATED_ALL and not placed)
            if contradicts and not entry & layout.COMPRESSED:
                sentence = f"entry {index} of the L2 table at {where}: the sub-clusters {bitmap:#018x} contradict themselves"
                self.findings.add(ERROR, sentence)

    # ---------------------------------------------------------------- COPIED

    def wrong_copied(self, refcounts: Refcounts | Counts) -> Iterator[tuple[str, int, bool]]:
        """Entries of the active tables whose flag contradicts the refcounts: which, the refcount, the flag."""
        seen: set[int] = set()
        for l1_index, l1_entry in enumerate(self.l1):
            offset = l1_entry & layout.OFFSET
            if not offset or offset & (self.size - 1) or offset >= self.file.size:
                continue
            count = refcounts.get(offset >> self.bits)
            if (count == 1) != bool(l1_entry & layout.COPIED):
                yield f"L1 entry {l1_index}", count, bool(l1_entry & layout.COPIED)
            if offset in seen:
                continue
            seen.add(offset)
            for index, row, entry in self._rows(self.tables.load(offset, f"L1 entry {l1_index}")):
                host, copied = (entry & layout.OFFSET) >> self.bits, bool(entry & layout.COPIED)
                if entry & layout.COMPRESSED:
                    if copied:
                        yield f"compressed cluster {index} of the L2 table at {offset}", 0, copied
                elif host and not self.header.external and not (copied and refcounts.ones(host, row)):
                    for number in range(row):
                        count = refcounts.get(host + number)
                        if (count == 1) != copied:
                            yield f"entry {index + number} of the L2 table at {offset}", count, copied

    # ---------------------------------------------------------------- refcounts

    def compare(self, refcounts: Refcounts) -> None:
        """Refcounts against references: to *findings*."""
        entries, chunk = refcounts.entries, self.counts.chunk
        each = entries // chunk
        used = {number // each for number in self.counts.chunks}
        for index in sorted(used | {index for index, entry in enumerate(refcounts.table) if entry}):
            try:
                block = refcounts.block(index)
            except OSError as error:
                self.findings.add(ERROR, error.strerror or "")
                continue
            for number in range(each):
                counts = self.counts.chunks.get(index * each + number)
                stored = block[number * chunk : (number + 1) * chunk] if block is not None else array("H", bytes(2 * chunk))
                if stored != counts or index * each + number in self.counts.full:
                    self._compare_chunk(index * entries + number * chunk, stored)

    def _compare_chunk(self, first: int, stored: array[int]) -> None:
        # Beyond the end of the file nothing is lost, whatever is counted there.
        for cluster, count in enumerate(stored[: max(0, self.clusters - first)], first):
            references = self.counts.get(cluster)
            if count != references:
                kind = LEAK if count > references else ERROR
                self.findings.add(kind, f"cluster {cluster} has a refcount of {count} and {references} references")


def rebuild(file: Storage, header: Header) -> None:
    """Make the references the refcounts, and the image clean: its writer had put off the refcounts, and has not come to them. The
    dirty bit goes last. EUCLEAN: more is wrong than refcounts."""
    found = References(file, header)
    hint = "'qemu-img check -r all' may repair it"
    if wrong := found.findings.all():
        raise damaged(f"{header.name}: was not closed, and is damaged: {wrong[0].sentence}; {hint}")
    for what, count, copied in found.wrong_copied(found.counts):
        if copied and count > 1:
            raise damaged(
                f"{header.name}: was not closed, and {what} says that it has no snapshot, with {count} references; {hint}"
            )
    counts, entries = found.counts, header.refcount_entries
    table = read_table(file, header.refcount_offset, header.refcount_clusters << header.cluster_bits >> 3)
    each = entries // counts.chunk
    end, changed = found.clusters, False
    while missing := sorted({number // each for number in counts.chunks if not _entry(header, table, number // each, hint)}):
        for index in missing:
            table[index] = end << header.cluster_bits
            counts.add(end)
            end += 1
            changed = True
    most = (1 << (1 << header.refcount_order)) - 1
    kind = TYPES.get(header.refcount_order, "B")
    for index, entry in enumerate(table):
        if entry:
            first = index * entries
            numbers = (
                [counts.get(cluster) for cluster in range(first, first + entries)] if _any(counts, index, each) else [0] * entries
            )
            if max(numbers) > most:
                raise damaged(f"{header.name}: was not closed, and has {max(numbers)} references to a cluster, at most {most}")
            content = encode_block(array(kind, numbers), header.refcount_order)
            file.write(entry & layout.REFCOUNT_OFFSET, content)
    file.flush()
    if changed:
        file.write(header.refcount_offset, encode(table))
        file.flush()
    header.incompatible &= ~layout.DIRTY
    file.write(layout.INCOMPATIBLE_AT, layout.LONG.pack(header.incompatible))
    file.flush()


def _entry(header: Header, table: array[int], index: int, hint: str) -> int:
    if index >= len(table):
        raise damaged(f"{header.name}: was not closed, and its refcount table has no place for block {index}; {hint}")
    return table[index]


def _any(counts: Counts, index: int, each: int) -> bool:
    return any(index * each + number in counts.chunks for number in range(each))
