"""DiskImage: the disk in an image, whatever its format: a map from ranges of the disk to where their bytes lie.

A format yields `Run`s and changes its map; reading, `extents` and the checks of ranges are here.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from vfs.api import Extent, Storage, damaged, fail
from vfs.api.storage import is_zero as is_zero

DATA, ZERO, HOLE, PACKED = range(4)
"""What a run is: bytes in a file; zeros; nothing in this image, so that it reads as the parent, or as zeros without one; bytes
that only the format can unpack."""

MAX_SIZE: Final = (1 << 63) - 512
"""Bytes of the largest disk: off_t."""

_NOTHING: Final = bytes(1 << 20)

MAX_EXTENTS: Final = 1 << 16
MAX_SECONDS: Final = 1.0
"""More in one answer are not looked for, nor longer: the rest is said to be without a descriptor. A small file can claim to be a
disk whose map nobody lives to see the end of."""


class Run(NamedTuple):
    """*length* bytes of the disk at *offset*. `DATA`: they are in *source* from *source_offset* on; what lies beyond its end is
    zeros. `PACKED`: *source_offset* is what `DiskImage.unpack` wants, whose run is one cluster or grain, or a part of it."""

    offset: int
    length: int
    kind: int
    source: Storage | None = None
    source_offset: int = 0


def fill_zeros(buffer: memoryview) -> None:
    for at in range(0, len(buffer), len(_NOTHING)):
        piece = buffer[at : at + len(_NOTHING)]
        piece[:] = _NOTHING[: len(piece)]


class DiskImage(Storage):
    """The contract between the formats and the rest.

    A format's constructor gets all checked, calls `super().__init__`, and defines `runs`; one that can be written also
    `write_range`, `zero_range`, `sync`, and maybe `discard_range`. These are called with *lock* held and a range inside the disk.
    Attributes:

    * *format*: its name; *file*: the image's file; *files*: all the files that hold it (*file* first), closed with it;
    * *parent*: what `HOLE` reads as, closed with it; shorter or longer than the disk as it may be;
    * *parent_name*: what the image calls its parent, for a person;
    * *reading*: how many reads are under way, which do not hold the lock: what they may have looked up must not get another use;
    * *identifier*: what children of the format remember of this image (UUID, CID), or `None`.
    """

    format: str = ""

    def __init__(
        self, file: Storage, size: int, *, writable: bool = False, parent: DiskImage | None = None, block_size: int = 512
    ) -> None:
        if not 0 <= size <= MAX_SIZE:
            raise damaged(f"{file.name}: a disk of {size} bytes, at most {MAX_SIZE}")
        self.name, self.size, self.block_size, self.read_only = file.name, size, block_size, not writable
        self.file, self.parent = file, parent
        self.files = [file]
        self.parent_name = ""
        self.identifier: object = None
        self.lock = threading.RLock()
        self.reading = 0
        self._closed = False

    # ---------------------------------------------------------------- of the format

    def runs(self, offset: int, length: int) -> Iterator[Run]:
        """Where the range lies: in order, without gaps, inside the range; neighbours merged where that is cheap. Tables are
        loaded as the iteration goes on. EUCLEAN, EIO."""
        raise NotImplementedError

    def unpack(self, run: Run) -> bytes | memoryview:
        """The *length* bytes of a `PACKED` run, or of a part of one (then *offset* says which). EUCLEAN, EOPNOTSUPP."""
        raise NotImplementedError

    def unpack_all(self, runs: list[tuple[Run, memoryview]]) -> None:
        """Unpack many, each into its buffer; called without the lock."""
        for run, buffer in runs:
            with self.lock:
                buffer[:] = self.unpack(run)

    def write_range(self, offset: int, content: memoryview) -> None:
        """ENOSPC, EIO, EFBIG."""
        fail(errno.EROFS, f"{self.name}: {self.format} images of this kind can only be read")

    def zero_range(self, offset: int, length: int) -> None:
        """Zeros that occupy as little as the format allows."""
        fail(errno.EROFS, f"{self.name}: {self.format} images of this kind can only be read")

    def discard_range(self, offset: int, length: int) -> None:
        """As `Storage.discard`; never uncovers the parent's content."""

    def sync(self) -> None:
        """Make all durable: data first, then what says where it is."""
        for file in self.files:
            file.flush()

    def finish(self) -> None:
        """What is written once when a writable image is closed, before the last `sync`."""

    def facts(self) -> dict[str, str | int]:
        """What the format adds to `details`."""
        return {}

    # ---------------------------------------------------------------- reading

    def readinto(self, offset: int, buffer: memoryview) -> int:
        size = max(0, min(len(buffer), self.size - offset)) if offset >= 0 else 0
        if not size:
            return 0
        with self.lock:
            found = list(self.runs(offset, size))
            self.reading += 1
        try:
            packed: list[tuple[Run, memoryview]] = []
            for run in found:
                piece = buffer[run.offset - offset : run.offset - offset + run.length]
                if run.kind == PACKED:
                    packed.append((run, piece))
                else:
                    self._fill(run, piece)
            if packed:
                self.unpack_all(packed)
        finally:
            with self.lock:
                self.reading -= 1
        return size

    def read(self, offset: int, size: int) -> bytes:
        # What lies in one piece is read without a buffer of zeros to fill, and without a copy.
        if size > 0 and 0 <= offset <= self.size - size:
            with self.lock:
                run = next(iter(self.runs(offset, size)))
                self.reading += 1
            try:
                source = run.source
                if run.kind == DATA and run.length == size and source is not None and run.source_offset + size <= source.size:
                    return source.read(run.source_offset, size)
            finally:
                with self.lock:
                    self.reading -= 1
        return super().read(offset, size)

    def _fill(self, run: Run, buffer: memoryview) -> None:
        done = 0
        if run.kind == DATA:
            assert run.source is not None
            done = run.source.readinto(run.source_offset, buffer)
        elif run.kind == HOLE:
            done = self.parent.readinto(run.offset, buffer) if self.parent is not None else 0
        if done < len(buffer):
            fill_zeros(buffer[done:])

    def extents(self, offset: int, length: int) -> list[Extent]:
        length = max(0, min(length, self.size - offset)) if offset >= 0 else 0
        end = offset + length
        found: list[Extent] = []
        if not length:
            return found
        with self.lock:
            until = time.monotonic() + MAX_SECONDS
            for run in self.runs(offset, length):
                if len(found) >= MAX_EXTENTS or time.monotonic() > until:
                    found.append(Extent(run.offset, end - run.offset))
                    break
                self._extend(found, run)
        return found

    def _extend(self, found: list[Extent], run: Run) -> None:
        below, start = run.source, run.source_offset
        if run.kind == PACKED:
            _append(found, Extent(run.offset, run.length))
            return
        if run.kind == HOLE:
            below, start = self.parent, run.offset
        pieces = below.extents(start, run.length) if below is not None and run.kind != ZERO else []
        shift, done = run.offset - start, run.offset
        for piece in pieces:
            _append(found, piece._replace(offset=piece.offset + shift))
            done = piece.offset + shift + piece.length
        if done < run.offset + run.length:
            _append(found, Extent(done, run.offset + run.length - done, hole=True))

    def advise(self, offset: int, length: int) -> None:
        length = min(length, self.size - offset, 1 << 26)
        if length <= 0 or offset < 0:
            return
        try:
            with self.lock:
                found = list(self.runs(offset, length))
        except OSError:
            return  # whoever reads will be told
        for run in found:
            if run.kind == DATA and run.source is not None:
                run.source.advise(run.source_offset, run.length)

    # ---------------------------------------------------------------- changing

    def _check(self, offset: int, length: int) -> None:
        if self.read_only:
            fail(errno.EROFS, f"{self.name}: opened read-only")
        if offset < 0 or length < 0 or offset + length > self.size:
            fail(errno.ENOSPC, f"{self.name}: bytes {offset} to {offset + length} are outside the disk of {self.size}")

    def write(self, offset: int, content: bytes | memoryview) -> int:
        view = memoryview(content)
        self._check(offset, len(view))
        with self.lock:
            if len(view):
                self.write_range(offset, view)
        return len(view)

    def zero(self, offset: int, length: int) -> None:
        self._check(offset, length)
        with self.lock:
            if length:
                self.zero_range(offset, length)

    def discard(self, offset: int, length: int) -> None:
        length = min(length, self.size - offset)
        if length > 0 and offset >= 0 and not self.read_only:
            with self.lock:
                self.discard_range(offset, length)

    def flush(self) -> None:
        if not self.read_only:
            with self.lock:
                self.sync()

    def identity(self) -> object:
        return self.file.identity()

    # ---------------------------------------------------------------- the whole

    def allocated(self) -> int:
        """Bytes that the image's files occupy, as far as is known."""
        total = 0
        for file in self.files:
            descriptor = file.descriptor()
            total += os.fstat(descriptor).st_blocks * 512 if descriptor is not None else file.size
        return total

    def details(self) -> dict[str, str | int]:
        """Facts for a person."""
        found: dict[str, str | int] = {"format": self.format, "virtual size": self.size, "allocated": self.allocated()}
        if self.parent_name:
            found["parent"] = self.parent_name
        return found | self.facts()

    def close(self) -> None:
        """Finish and flush what was written, and close the files. Idempotent; an error of the last flush is raised when all is
        closed."""
        with self.lock:
            if self._closed:
                return
            self._closed = True
            try:
                if not self.read_only:
                    self.finish()
                    self.sync()
            finally:
                for file in self.files:
                    file.close()
                if self.parent is not None:
                    self.parent.close()


def _append(found: list[Extent], extent: Extent) -> None:
    """Add an extent, as part of the last one where it continues that."""
    last = found[-1] if found else None
    if last is not None and last.hole == extent.hole and last.fd == extent.fd:
        follows = last.fd is not None and last.fd_offset + last.length == extent.fd_offset
        if last.fd is None or follows:
            found[-1] = last._replace(length=last.length + extent.length)
            return
    found.append(extent)


class FlatImage(DiskImage):
    """A disk whose bytes lie in its file as they are, from the first on: everything is passed down."""

    def runs(self, offset: int, length: int) -> Iterator[Run]:
        yield Run(offset, length, DATA, self.file, offset)

    def write_range(self, offset: int, content: memoryview) -> None:
        self.file.write(offset, content)

    def zero_range(self, offset: int, length: int) -> None:
        self.file.zero(offset, length)

    def discard_range(self, offset: int, length: int) -> None:
        self.file.discard(offset, length)
