"""Streams: sparse extents of compressed grains, one after the other (streamOptimized).

Each grain is preceded by its number and size, so that a stream can be read without seeking; tables and directory come last, and
the end has a copy of the header that says where the directory is. Some writers (qemu) have both in front, as other extents.

Writing only ever appends: grains, then the tables that changed, then a directory. A grain that is written a second time leaves
its first room unused. As long as the extent is open the header in front refers to the directory of the last `flush`, so that a
kill loses nothing that was flushed; `close` appends the end of the stream and refers to that.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
import zlib
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vfs.api import Storage, damaged, fail
from vfs.vd.disk import DATA, HOLE, PACKED, is_zero
from vfs.vd.vmdk.extent import Span
from vfs.vd.vmdk.layout import (
    COMPRESSED,
    DEFLATE,
    DIRECTORY_AT_END,
    END_OF_STREAM,
    FOOTER,
    GRAIN_DIRECTORY,
    GRAIN_MARKER,
    GRAIN_TABLE,
    MAGIC_HOSTED,
    MARKER,
    MARKERS,
    REDUNDANT_TABLES,
    SECTOR,
    TRAILER,
    UNALLOCATED,
    ZEROED,
    SparseHeader,
)
from vfs.vd.vmdk.sparse import HeaderExtent, read_hosted
from vfs.vd.vmdk.tables import encode

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

PENDING = 32
"""How many grains wait in memory for the rest of their content."""
AT_ONCE = 16
"""How many grains are compressed before they are written."""
UNPACKED = 16
"""How many grains that were decompressed are kept."""
SEARCHED = 64 << 10
"""Bytes at the end of the file in which the end of the stream is looked for: some transports fill up the last block."""


def find_footer(source: Storage) -> tuple[SparseHeader, int]:
    """The header at the end of a stream, and the byte where the end (marker, footer, marker) begins. EUCLEAN: there is none."""
    length = min(SEARCHED, source.size // SECTOR * SECTOR)
    start = source.size // SECTOR * SECTOR - length
    tail = source.read(start, length)
    for at in range(length - TRAILER, -1, -SECTOR):
        if tail[at + SECTOR : at + SECTOR + 4] != MAGIC_HOSTED:
            continue
        _, size, kind = MARKER.unpack_from(tail, at)
        if (size, kind) == (0, FOOTER) and MARKER.unpack_from(tail, at + 2 * SECTOR) == (0, 0, END_OF_STREAM):
            header = read_hosted(source, start + at + SECTOR)
            if header.directory == DIRECTORY_AT_END:
                break
            return header, start + at
    raise damaged(f"{source.name}: the end of the stream is missing: the file is not complete")


class StreamExtent(HeaderExtent):
    """An extent of compressed grains. *end* is the byte where the end of the stream begins, 0 without one."""

    def __init__(self, source: Storage, header: SparseHeader, size: int, end: int) -> None:
        super().__init__(source, header, size)
        self.end = end
        self.markers = bool(header.flags & MARKERS)
        self.pending: dict[int, bytearray] = {}
        self.unpacked: dict[int, bytes] = {}
        self.lock = threading.Lock()  # of `unpacked`
        self.workers: ThreadPoolExecutor | None = None
        self.directory = array("I")
        """The directory of what is written in this opening."""
        self.stale = False
        """Whether something was appended that no directory in the file refers to."""
        if header.compression != DEFLATE or not header.flags & COMPRESSED:
            raise damaged(f"{source.name}: flags {header.flags:#x} and compression algorithm {header.compression} contradict")
        if not self.markers and not self.sealed:
            self.sealed = f"{source.name}: compressed grains without markers can only be read"

    # ---------------------------------------------------------------- reading

    def spans(self, offset: int, length: int) -> Iterator[Span]:
        # Everything that has a position comes as one grain after the other: where it ends is not known before it is read.
        for span in super().spans(offset, length):
            at, end = span.offset, span.offset + span.length
            while at < end:
                until = min(end, at - at % self.grain + self.grain)
                packed = span.kind == DATA or at // self.grain in self.pending
                if not packed and not self.pending:
                    until = end
                elif not packed:
                    while until < end and until // self.grain not in self.pending:
                        until = min(end, until + self.grain)
                yield Span(at, until - at, PACKED if packed else span.kind)
                at = until

    def _inside(self, offset: int, entry: int, end: int) -> None:
        """Positions are checked by whoever reads them: a compressed grain has no size of its own."""

    def content(self, offset: int, length: int) -> bytes:
        number, within = divmod(offset, self.grain)
        found = self.pending.get(number) or self.unpacked.get(number)
        if found is None:
            found = self._unpack(number)
            with self.lock:
                while len(self.unpacked) >= UNPACKED:
                    del self.unpacked[next(iter(self.unpacked))]
                self.unpacked[number] = found
        return bytes(found[within : within + length])

    def _unpack(self, number: int) -> bytes:
        """A grain that is in the file, whole."""
        table = self.tables.get(number // self.entries)
        entry = table[number % self.entries] if table is not None else UNALLOCATED
        if entry == UNALLOCATED:  # it was given up since the caller asked for `spans`
            start = number * self.grain
            return self.below(start, min(self.grain, self.size - start)) if self.below is not None else bytes(self.grain)
        what = f"{self.file.name}: grain {number} at sector {entry}"
        position, limit = entry * SECTOR, 2 * self.grain + SECTOR
        if entry == ZEROED or position >= self.file.size:
            raise damaged(f"{what} is outside the file")
        stored = self.file.read(position, min(limit, self.file.size - position))
        if self.markers:
            if len(stored) < GRAIN_MARKER.size:
                raise damaged(f"{what} is outside the file")
            sector, size = GRAIN_MARKER.unpack_from(stored)
            if sector != number * self.grain_sectors or not 0 < size <= len(stored) - GRAIN_MARKER.size:
                raise damaged(f"{what} is marked as sector {sector} with {size} bytes")
            stored = stored[GRAIN_MARKER.size : GRAIN_MARKER.size + size]
        try:
            content = zlib.decompressobj().decompress(stored, self.grain)
        except zlib.error as error:
            raise damaged(f"{what}: {error}") from None
        if len(content) < min(self.grain, self.size - number * self.grain):
            raise damaged(f"{what} has only {len(content)} bytes")
        return content.ljust(self.grain, b"\0")

    # ---------------------------------------------------------------- writing

    def begin(self) -> None:
        if self.sealed:
            fail(errno.EROFS, self.sealed)
        directory = next((found for found in self.tables.directories() if found is not None), array("I"))
        self.directory = array("I", directory)
        self.stale = True
        if self.end:
            # The end is going to be overwritten: from now on the header in front says where the directory is.
            self._refer(self.header.directory)
        else:
            self.mark(True)
        self.next = self.end or self._align(self.file.size)

    def _refer(self, directory: int) -> None:
        """Write the header in front; durable."""
        self.header = self.header._replace(
            directory=directory, flags=self.header.flags & ~REDUNDANT_TABLES, redundant_directory=0
        )
        self.file.write(0, self.header._replace(unclean=int(directory != DIRECTORY_AT_END)).pack())
        self.file.flush()

    def _append(self, content: bytes) -> int:
        """Write whole sectors at the end; the sector."""
        position, size = self.next, len(content)
        if (position + size) // SECTOR > 0xFFFFFFFF:
            fail(errno.EFBIG, f"{self.file.name}: an extent cannot be larger than 2 TiB")
        self.file.write(position, content + bytes(-size % SECTOR))
        self.next = position + size + -size % SECTOR
        self.stale = True
        return position // SECTOR

    def write(self, offset: int, content: memoryview) -> None:
        end, at = offset + len(content), offset
        while at < end:
            number, until = at // self.grain, min(end, at - at % self.grain + self.grain)
            piece = content[at - offset : until - offset]
            if at % self.grain == 0 and (until - at == self.grain or until == self.size):
                until = end if end == self.size else max(until, end - end % self.grain)
                self._store_whole(number, content[at - offset : until - offset])
            else:
                held = self.pending.get(number)
                if held is None:
                    while len(self.pending) >= PENDING:
                        self._store_pending(next(iter(self.pending)))
                    held = self.pending[number] = self._present(number)
                held[at % self.grain : at % self.grain + len(piece)] = piece
            at = until

    def _present(self, number: int) -> bytearray:
        """What a grain holds now, whole."""
        start = number * self.grain
        visible = min(self.grain, self.size - start)
        span = next(self.spans(start, visible))
        if span.kind == PACKED:
            return bytearray(self.content(start, self.grain))
        if span.kind == HOLE and self.below is not None:
            return bytearray(self.below(start, visible).ljust(self.grain, b"\0"))
        return bytearray(self.grain)

    def _store_pending(self, number: int) -> None:
        self._store(number, self._pack(memoryview(self.pending[number])))
        del self.pending[number]

    def _store_whole(self, first: int, content: memoryview) -> None:
        """Grains from *first* on, whole (the disk's last may be a part): compressed by all processors, some at a time."""
        for start in range(0, len(content), self.grain * AT_ONCE):
            stop = min(len(content), start + self.grain * AT_ONCE)
            pieces = [content[at : min(at + self.grain, stop)] for at in range(start, stop, self.grain)]
            if len(pieces) > 1 and self.workers is None:
                from concurrent.futures import ThreadPoolExecutor  # 17 ms, and only writers need it

                self.workers = ThreadPoolExecutor(min(8, os.cpu_count() or 1), "compressing")
            packed = self.workers.map(self._pack, pieces) if self.workers is not None else map(self._pack, pieces)
            for number, stored in enumerate(packed, first + start // self.grain):
                self._store(number, stored)
                self.pending.pop(number, None)

    def _pack(self, content: memoryview) -> bytes | None:
        """A grain as it is stored; `None`: zeros, which need not be."""
        if self.below is None and is_zero(content):
            return None
        return zlib.compress(content if len(content) == self.grain else bytes(content).ljust(self.grain, b"\0"))

    def _store(self, number: int, packed: bytes | None) -> None:
        index = number % self.entries
        if packed is not None:
            sector = self._append(GRAIN_MARKER.pack(number * self.grain_sectors, len(packed)) + packed)
            self._enter(number // self.entries, index, 1, sector * SECTOR)
        else:
            table = self.tables.get(number // self.entries)
            if table is not None and table[index] != UNALLOCATED:
                self._enter(number // self.entries, index, 1, UNALLOCATED)
        self._forget(number)

    def _forget(self, number: int) -> None:
        with self.lock:
            self.unpacked.pop(number, None)

    def _bound(self) -> None:
        if len(self.tables.changed) > 64:
            self._store_tables()

    def _clear(self, offset: int, length: int, discard: bool) -> None:
        for start in range(offset - offset % self.reach, offset + length, self.reach):
            first, last = max(offset, start), min(offset + length, start + self.reach)
            for span in list(self.spans(first, last - first)):
                if span.kind == PACKED or (span.kind == HOLE and self.below is not None):
                    self._clear_packed(span, discard)

    def _clear_packed(self, span: Span, discard: bool) -> None:
        at, stop = span.offset, span.offset + span.length
        while at < stop:
            number, until = at // self.grain, min(stop, at - at % self.grain + self.grain)
            whole = at % self.grain == 0 and (until - at == self.grain or until == self.size)
            if whole and self.below is None:
                self.pending.pop(number, None)
                self._forget(number)
                table = self.tables.get(number // self.entries)
                if table is not None and table[number % self.entries] != UNALLOCATED:
                    self._enter(number // self.entries, number % self.entries, 1, UNALLOCATED)
            elif not discard:
                self.write(at, memoryview(bytes(until - at)))
            at = until

    # ---------------------------------------------------------------- durability

    def _store_tables(self) -> None:
        """Append the tables that have changed."""
        for number, table in sorted(self.tables.changed.items()):
            content = encode(table)
            sectors = -(-len(content) // SECTOR)
            self._append(MARKER.pack(sectors, 0, GRAIN_TABLE))
            self.directory[number] = self._append(content)
        self.tables.settle(self.directory)

    def flush(self) -> None:
        if not self.next:
            return
        for number in sorted(self.pending):
            self._store_pending(number)
        self._store_tables()
        if self.stale:
            content = encode(self.directory)
            self._append(MARKER.pack(-(-len(content) // SECTOR), 0, GRAIN_DIRECTORY))
            directory = self._append(content)
            self.file.flush()
            self._refer(directory)
            self.stale = False

    def finish(self) -> None:
        end = self.header._replace(unclean=0).pack()
        self._append(MARKER.pack(1, 0, FOOTER) + end + MARKER.pack(0, 0, END_OF_STREAM))
        self.file.resize(self.next)
        self.file.flush()
        self._refer(DIRECTORY_AT_END)
        self.next = 0
        if self.workers is not None:
            self.workers.shutdown()


def empty_stream(capacity: int, grain: int, descriptor: bytes, room: int) -> bytes:
    """The head of a new stream of *capacity* sectors: header, descriptor (in *room* sectors), empty directory."""
    entries = 512
    count = -(-capacity // (grain * entries))
    directory = 1 + room
    overhead = directory + -(-max(count, 1) * 4 // SECTOR)
    overhead += -overhead % grain
    header = SparseHeader(
        MAGIC_HOSTED,
        3,
        0x1 | COMPRESSED | MARKERS,
        capacity,
        grain,
        1,
        room,
        entries,
        0,
        directory,
        overhead,
        0,
        b"\n \r\n",
        DEFLATE,
    )
    return struct.pack(f"<512s{overhead * SECTOR - 512}s", header.pack(), descriptor)
