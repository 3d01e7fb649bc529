"""The log: changes of the tables that somebody had begun to write when he stopped (2.3.3, "Log Replay").

Entries lie one behind the other in a ring of sectors of 4 KiB. The newest valid entry says where the oldest one lies that has to
be replayed with it; all from there on must follow each other in place and number.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from vfs.api import Extent, Storage, damaged, unsupported
from vfs.vd.disk import fill_zeros
from vfs.vd.vhdx import layout
from vfs.vd.vhdx.headers import checksum_holds
from vfs.vd.vhdx.layout import LOG_SECTOR, Header, LogHeader

LOG_MAX: Final = 64 << 20
"""A log of 1 MiB is usual."""
FILE_MAX: Final = 2 * layout.SIZE_MAX
_READS: Final = 4
"""How often the bytes of a log are looked at, all in all: entries may claim to overlap."""


class Change(NamedTuple):
    """What an entry does to the file: *content* of one sector, or `None` for zeros."""

    offset: int
    length: int
    content: bytes | None


class Log:
    """What is to be replayed: *changes* in their order. Nothing: both are empty. *size*: the file is to be at least as large."""

    def __init__(self, source: Storage, header: Header) -> None:
        self.changes: list[Change] = []
        self.size = source.size
        self.name = source.name
        if header.log_guid == layout.NO_GUID or not header.log_length:
            return
        if header.log_version != layout.LOG_VERSION:
            raise unsupported(f"{source.name}: its log is of version {header.log_version}, only 0 is replayed")
        if header.log_length > LOG_MAX:
            raise unsupported(f"{source.name}: a log of {header.log_length} bytes, at most {LOG_MAX}")
        ring = source.read(header.log_offset, header.log_length)
        self._ring, self._length = ring + ring, len(ring)  # so that an entry over the end is in one piece
        self._heads = dict(self._find(header.log_guid))
        self._left = _READS * len(ring)
        entries = self._active()
        flushed = entries[-1][1].flushed_size if entries else 0
        if flushed > source.size:
            raise damaged(f"{source.name}: the file has {source.size} bytes, but had {flushed} when the log was written")
        for at, head in entries:
            if head.last_size > FILE_MAX:
                raise damaged(f"{self.name}: log entry {head.sequence}: a file of {head.last_size} bytes, at most {FILE_MAX}")
            self.size = max(self.size, head.last_size)
            self.changes.extend(self._changes(at, head))

    def _find(self, guid: bytes) -> Iterator[tuple[int, LogHeader]]:
        """All that looks like the head of an entry, by its place in the log."""
        for at in range(0, self._length, LOG_SECTOR):
            if self._ring[at : at + 4] != layout.LOG_SIGNATURE:
                continue
            head = LogHeader.unpack(self._ring[at : at + layout.LOG_HEADER_SIZE])
            sectors = -(-(layout.LOG_HEADER_SIZE + head.descriptors * layout.DESCRIPTOR.size) // LOG_SECTOR)
            fits = sectors * LOG_SECTOR <= head.length <= self._length and not head.length % LOG_SECTOR
            if fits and head.log_guid == guid and head.sequence:
                yield at, head

    def _active(self) -> list[tuple[int, LogHeader]]:
        """The entries to replay, the oldest first."""
        for _, head in sorted(self._heads.items(), key=lambda item: -item[1].sequence):
            found: list[tuple[int, LogHeader]] = []
            at = head.tail % self._length
            while (next_head := self._heads.get(at)) is not None and self._valid(at, next_head):
                if found and next_head.sequence != found[-1][1].sequence + 1:
                    break
                found.append((at, next_head))
                if next_head is head:
                    return found
                at = (at + next_head.length) % self._length
        return []

    def _valid(self, at: int, head: LogHeader) -> bool:
        self._left -= head.length
        if self._left < 0:
            raise damaged(f"{self.name}: the entries of its log overlap")
        return checksum_holds(self._ring[at : at + head.length])

    def _changes(self, at: int, head: LogHeader) -> Iterator[Change]:
        data = at + -(-(layout.LOG_HEADER_SIZE + head.descriptors * layout.DESCRIPTOR.size) // LOG_SECTOR) * LOG_SECTOR
        end = at + head.length
        for number in range(head.descriptors):
            where = at + layout.LOG_HEADER_SIZE + number * layout.DESCRIPTOR.size
            kind, trailing, word, offset, sequence = layout.DESCRIPTOR.unpack_from(self._ring, where)
            length = word if kind == layout.ZERO_DESCRIPTOR else LOG_SECTOR
            wrong = offset % LOG_SECTOR or sequence != head.sequence or offset + length > self.size
            if kind == layout.ZERO_DESCRIPTOR and not wrong and not length % LOG_SECTOR:
                yield Change(offset, length, None)
            elif kind == layout.DATA_DESCRIPTOR and not wrong and data + LOG_SECTOR <= end:
                signature, high, middle, low = layout.DATA_SECTOR.unpack_from(self._ring, data)
                if signature != layout.DATA_SIGNATURE or high << 32 | low != head.sequence:
                    raise damaged(f"{self.name}: log entry {head.sequence}: its data sector {number} is another entry's")
                yield Change(offset, length, word.to_bytes(8, "little") + middle + trailing)
                data += LOG_SECTOR
            else:
                raise damaged(f"{self.name}: log entry {head.sequence}: descriptor {number} is damaged")

    def replay(self, file: Storage) -> None:
        """Make all changes in the file. Not durable yet."""
        if self.size > file.size:
            file.resize(self.size)
        for change in self.changes:
            if change.content is not None:
                file.write(change.offset, change.content)
            elif change.offset < file.size:
                file.zero(change.offset, min(change.length, file.size - change.offset))


class Replayed(Storage):
    """A file as it will be when its log has been replayed. Owns it."""

    def __init__(self, below: Storage, log: Log) -> None:
        self.below, self.name, self.block_size = below, below.name, below.block_size
        self.size = log.size
        self._sectors: dict[int, bytes] = {}
        self._zeros: list[tuple[int, int]] = []
        for change in log.changes:
            if change.content is not None:
                self._sectors[change.offset] = change.content
            else:
                end = change.offset + change.length
                self._zeros.append((change.offset, end))
                for at in [at for at in self._sectors if change.offset <= at < end]:
                    del self._sectors[at]

    def readinto(self, offset: int, buffer: memoryview) -> int:
        size = max(0, min(len(buffer), self.size - offset)) if offset >= 0 else 0
        end, buffer = offset + size, buffer[:size]
        done = self.below.readinto(offset, buffer) if size else 0
        fill_zeros(buffer[done:])
        for first, last in self._zeros:
            low, high = max(first, offset), min(last, end)
            if low < high:
                fill_zeros(buffer[low - offset : high - offset])
        for at in self._changed(offset, end):
            low, high = max(at, offset), min(at + LOG_SECTOR, end)
            buffer[low - offset : high - offset] = self._sectors[at][low - at : high - at]
        return size

    def _changed(self, offset: int, end: int) -> list[int]:
        first = offset // LOG_SECTOR * LOG_SECTOR
        if (end - first) // LOG_SECTOR < len(self._sectors):
            return [at for at in range(first, end, LOG_SECTOR) if at in self._sectors]
        return [at for at in self._sectors if at < end and at + LOG_SECTOR > offset]

    def extents(self, offset: int, length: int) -> list[Extent]:
        length = max(0, min(length, self.size - offset))
        end = offset + length
        if self._changed(offset, end) or any(first < end and last > offset for first, last in self._zeros):
            return super().extents(offset, length)
        found = self.below.extents(offset, length)
        done = found[-1].offset + found[-1].length if found else offset
        return found if done >= end else [*found, Extent(done, end - done, hole=True)]

    def advise(self, offset: int, length: int) -> None:
        self.below.advise(offset, length)

    def beside(self, name: bytes, writable: bool = False, create: bool = False) -> Storage:
        return self.below.beside(name, writable, create)

    def identity(self) -> object:
        return self.below.identity()

    def close(self) -> None:
        self.below.close()
