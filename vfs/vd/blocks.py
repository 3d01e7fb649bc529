"""BlockImage: a disk kept in blocks of one size, as VDI, VHD and VHDX keep it: a table says of each where it lies, if it does.

A block is in one of four states. Its change goes: content first, to a place that no table names; the table in memory; and with
`sync` the content made durable, the table written, the table made durable. So a crash may leave a place that nobody uses, never a
table that names the wrong content.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import Final

from vfs.api import Storage, damaged
from vfs.vd.disk import DATA, HOLE, ZERO, DiskImage, Run
from vfs.vd.pages import Pages
from vfs.vd.space import Space, Used

ABSENT, EMPTY, PRESENT, PARTIAL = range(4)
"""States: the parent's, or zeros without one; zeros; in the file; in the file as far as its bitmap says, else the parent's."""

CHANGED_PAGES: Final = 64
"""More changed pages of tables are not held: they are written, and what they name is made durable before."""
_COPIED: Final = 4 << 20


class BlockImage(DiskImage):
    """What the three formats share. A format's constructor sets, after this one's:

    * *unit*: bytes of the disk in a block; *stride*: bytes that a block takes in the file, a bitmap before it included;
    * *alignment*: what the places of blocks in the file are multiples of;
    * *keeps*: blocks are not given up when they become empty: the disk was made with all of them.

    And it defines `look`, `record`, `record_empty`, `used`, and what else it has."""

    unit: int
    stride: int
    alignment: int = 512
    keeps: bool = False
    has_empty: bool = True
    """The table can say "zeros", though there is a parent."""

    def __init__(self, file: Storage, size: int, writable: bool, parent: DiskImage | None, block_size: int = 512) -> None:
        super().__init__(file, size, writable=writable, parent=parent, block_size=block_size)
        self.pages = Pages(file)
        self._space: Space | None = None

    # ---------------------------------------------------------------- of the format

    def look(self, block: int) -> tuple[int, int]:
        """State and place of its content in the file. EUCLEAN: the place cannot be."""
        raise NotImplementedError

    def absent_from(self, block: int) -> int:
        """How many blocks from this one on are surely absent: what a glance at a page of the table shows."""
        return 0

    def record(self, block: int, place: int) -> None:
        """The table names *place* from now on, and all of the block is there."""
        raise NotImplementedError

    def record_empty(self, block: int) -> None:
        """The block is zeros from now on; without a parent it may as well be absent."""
        raise NotImplementedError

    def used(self) -> Used:
        """What the file is taken by; blocks are *stride* bytes long. EUCLEAN."""
        raise NotImplementedError

    def begin(self) -> None:
        """Before the first change."""

    def place(self, block: int, whole: bool) -> int:
        """Where a block's content can be written: a place that no table names. Reads as zeros, except when the *whole* block is
        going to be written. ENOSPC, EFBIG."""
        place = self.space().take()
        with self.undone(place):
            return self.claim(place, self.stride, whole)

    def parts(self, block: int, place: int, at: int, size: int) -> Iterator[Run]:
        """A part of a `PARTIAL` block: `DATA` and `HOLE`, with offsets inside the block."""
        raise NotImplementedError

    def write_part(self, block: int, at: int, content: memoryview) -> None:
        """Write into a block that has its content from the parent, in part at least. Here, for a format without bitmaps: the
        whole block is taken over."""
        place = self._taken_over(block)
        with self.undone(place):
            self.file.write(place + at, content)
        self.record(block, place)

    def zero_part(self, block: int, at: int, size: int) -> None:
        """The same with zeros."""
        place = self._taken_over(block)
        with self.undone(place):
            self.file.zero(place + at, size)
        self.record(block, place)

    def _taken_over(self, block: int) -> int:
        """A place with the parent's content, that no table names yet."""
        start, place = block * self.unit, self.place(block, True)
        size = min(self.unit, self.size - start)
        buffer = memoryview(bytearray(min(_COPIED, size)))
        with self.undone(place):
            for at in range(0, size, _COPIED):
                piece = buffer[: min(_COPIED, size - at)]
                self.readinto(start + at, piece)
                self.file.write(place + at, piece)
        return place

    def write_ahead(self) -> None:
        """What has to be durable before the tables are written, beside the content."""

    def write_tables(self) -> None:
        """Write what has changed of the tables. `sync` makes it durable afterwards."""
        self.pages.write()

    # ---------------------------------------------------------------- reading

    def runs(self, offset: int, length: int) -> Iterator[Run]:
        end = offset + length
        last: Run | None = None
        while offset < end:
            block, at = divmod(offset, self.unit)
            size = min(self.unit - at, end - offset)
            state, place = self.look(block)
            if state == PARTIAL:
                if last is not None:
                    yield last
                    last = None
                for part in self.parts(block, place, at, size):
                    yield part._replace(offset=part.offset + block * self.unit)
            else:
                if state == PRESENT:
                    run = Run(offset, size, DATA, self.file, place + at)
                else:
                    if not at:
                        size = min(max(size, self.absent_from(block) * self.unit), end - offset)
                    run = Run(offset, size, HOLE if state == ABSENT else ZERO)
                if last is None:
                    last = run
                elif last.kind == run.kind and (run.kind != DATA or last.source_offset + last.length == run.source_offset):
                    last = last._replace(length=last.length + size)
                else:
                    yield last
                    last = run
            offset += size
        if last is not None:
            yield last

    # ---------------------------------------------------------------- room in the file

    def space(self) -> Space:
        """Made when it is first wanted: it costs a look through the table. EUCLEAN: blocks overlap."""
        if self._space is None:
            self._space = Space(self.name, self.file.size, self.used(), self.stride, self.alignment)
        return self._space

    def claim(self, place: int, length: int, whole: bool = False) -> int:
        """Have the file reach as far as the range, which reads as zeros then, unless it will be written *whole*."""
        old = min(self.file.size - place, length)
        if old > 0 and not whole:
            self.file.zero(place, old)
        if place + length > self.file.size:
            self.file.resize(place + length)
        return place

    @contextlib.contextmanager
    def undone(self, place: int) -> Iterator[None]:
        """If what is done with a new place of a block's content fails, nobody has it."""
        try:
            yield
        except BaseException:
            self.space().untake(self.origin(place))
            raise

    def shrink(self, size: int) -> None:
        """Cut off what nobody uses any more, where the file can be."""
        if size < self.file.size:
            try:
                self.file.resize(size)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise

    # ---------------------------------------------------------------- changing

    def is_whole(self, block: int, at: int, size: int) -> bool:
        return not at and size == min(self.unit, self.size - block * self.unit)

    def _pieces(self, offset: int, length: int, skip: bool = False) -> Iterator[tuple[int, int, int]]:
        """The range by blocks: block, offset in it, bytes. *skip*: without those that are absent, where many are."""
        end = offset + length
        while offset < end:
            block, at = divmod(offset, self.unit)
            if skip and not at and (absent := self.absent_from(block)):
                offset += absent * self.unit
                continue
            size = min(self.unit - at, end - offset)
            yield block, at, size
            offset += size

    def write_range(self, offset: int, content: memoryview) -> None:
        self.begin()
        # content[start:done] goes to *target*, and then the blocks in *fresh* are recorded: as few writes as there are gaps.
        start = done = 0
        target = -1
        fresh: list[tuple[int, int]] = []

        def put() -> None:
            if target >= 0:
                self.file.write(target, content[start:done])
            for number, where in fresh:
                self.record(number, where)
            fresh.clear()

        try:
            for block, at, size in self._pieces(offset, len(content)):
                state, place = self.look(block)
                whole = self.is_whole(block, at, size)
                if state == PARTIAL or (state == ABSENT and self.parent is not None and not whole):
                    put()
                    self.write_part(block, at, content[done : done + size])
                    start, target = done + size, -1
                else:
                    if state != PRESENT:
                        place = self.place(block, whole)
                        fresh.append((block, place))
                    if target >= 0 and target + done - start != place + at:
                        kept = fresh[-1:] if state != PRESENT else []
                        del fresh[len(fresh) - len(kept) :]
                        put()
                        fresh.extend(kept)
                        target = -1
                    if target < 0:
                        start, target = done, place + at
                done += size
            put()
        except BaseException:
            for _, where in reversed(fresh):
                self.space().untake(self.origin(where))
            raise
        self._relieve()

    def origin(self, place: int) -> int:
        """What `Space` calls the place of a block's content."""
        return place

    def zero_range(self, offset: int, length: int) -> None:
        self.begin()
        for block, at, size in self._pieces(offset, length, skip=self.parent is None):
            state, place = self.look(block)
            if state == EMPTY or (state == ABSENT and self.parent is None):
                continue
            if self.is_whole(block, at, size) and (self.has_empty or self.parent is None) and not (self.keeps and place >= 0):
                self._drop(block, place)
            elif state == PRESENT:
                self.file.zero(place + at, size)
            else:
                self.zero_part(block, at, size)
            self._relieve()

    def discard_range(self, offset: int, length: int) -> None:
        self.begin()
        for block, at, size in self._pieces(offset, length, skip=True):
            place = self.look(block)[1]
            if place < 0:
                continue  # nothing is here to be got rid of
            if self.is_whole(block, at, size) and (self.has_empty or self.parent is None) and not self.keeps:
                self._drop(block, place)
            else:
                self.file.discard(place + at, size)
            self._relieve()

    def _drop(self, block: int, place: int) -> None:
        self.record_empty(block)
        if place >= 0:
            self.space().give(self.origin(place))

    def _relieve(self) -> None:
        if len(self.pages.changed) >= CHANGED_PAGES:
            self.sync()

    def sync(self) -> None:
        if self.pages.changed:
            self.write_ahead()
        self.file.flush()
        if self.pages.changed:
            self.write_tables()
            self.file.flush()
        self.settle()

    def settle(self) -> None:
        """The tables are durable: what was given up can be used again, if nobody reads, who may have looked it up before."""
        if self._space is not None and not self.reading:
            for place in self._space.settle():
                self.file.discard(place, self.stride)

    # ---------------------------------------------------------------- checks

    def inside(self, block: int, place: int) -> int:
        """*place*, if any of a block that begins there is inside the file. EUCLEAN."""
        if not 0 <= place < self.file.size:
            raise damaged(f"{self.name}: block {block} at {place}, outside the file of {self.file.size} bytes")
        return place
