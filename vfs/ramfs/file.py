"""A regular file: its content, and the handles that read and write it.

Content up to SMALL without holes is a `bytearray` in the inode: making, writing and removing such a file costs a few
microseconds, as much as a memfd alone, and a million of them need no descriptor. What grows larger or gets a hole becomes
`Content` (see there), and stays it: a reader may be using it. The counts are exact either way: a page that was never written is
a hole and occupies nothing, as in tmpfs.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from vfs.api import Extent, Handle, clock, fail
from vfs.api.allocation import KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE
from vfs.ramfs import content as contents
from vfs.ramfs.content import MAX_SIZE, PAGE, Content
from vfs.ramfs.module import memory_pages
from vfs.ramfs.node import RamNode

if TYPE_CHECKING:
    from vfs.ramfs.filesystem import RamFilesystem

SMALL: Final = 64 << 10
LAST: Final = PAGE - 1


class RamFile(RamNode):
    """A regular file."""

    __slots__ = ("content", "linkable")

    def __init__(self, filesystem: RamFilesystem, mode: int, uid: int, gid: int) -> None:
        super().__init__(filesystem, stat.S_IFREG | mode & 0o7777, uid, gid)
        self.content: bytearray | Content = bytearray()
        self.linkable = False
        """It was made without a name, and never had one."""

    def length(self) -> int:
        held = self.content
        if held.__class__ is bytearray:
            return len(held)
        assert isinstance(held, Content)
        return held.size

    def content_pages(self) -> int:
        held = self.content
        return held.pages if isinstance(held, Content) else (len(held) + LAST) // PAGE

    def open(self, flags: int = 0) -> RamHandle:
        if flags & (os.O_ACCMODE | os.O_TRUNC):
            filesystem = self.filesystem
            if filesystem.read_only:
                fail(errno.EROFS)
            if flags & os.O_TRUNC:
                with filesystem.lock:
                    self.resize(0)
                    self.mtime = self.ctime = clock.now()
        return RamHandle(self, flags)

    # ---------------------------------------------------------------- changing content; the lock is held

    def enlarge(self) -> Content:
        """Content that can be large and have holes."""
        held = self.content
        if isinstance(held, Content):
            return held
        new = contents.make()
        if held:
            new.write(0, held)
        self.charge(new.count() - (len(held) + LAST) // PAGE)
        self.content = new
        return new

    def settle(self, held: Content) -> None:
        """*held* was changed: count again."""
        self.charge(held.count())

    def resize(self, size: int) -> None:
        if size < 0:
            fail(errno.EINVAL)
        if size > MAX_SIZE:
            fail(errno.EFBIG)
        held = self.content
        if not isinstance(held, Content):
            before = len(held)
            if size <= before:
                if before:
                    del held[size:]
                    self.charge((size + LAST) // PAGE - (before + LAST) // PAGE)
                return
            if size <= -before % PAGE + before:
                held += bytes(size - before)
                return
            held = self.enlarge()
        held.truncate(size)
        self.settle(held)

    def write(self, offset: int, content: bytes | memoryview) -> int:
        """Write what there is room for, at least one byte. ENOSPC, EFBIG, EINVAL."""
        if offset < 0:
            fail(errno.EINVAL)
        if offset >= MAX_SIZE:
            fail(errno.EFBIG)
        end = min(offset + len(content), MAX_SIZE)
        held = self.content
        filesystem = self.filesystem
        if not isinstance(held, Content):
            before = len(held)
            occupied = before + -before % PAGE
            if end > SMALL or offset & ~LAST > occupied:
                held = self.enlarge()
            else:
                if end > occupied:
                    end = min(end, occupied + filesystem.free() * PAGE)
                    if end <= offset:
                        fail(errno.ENOSPC)
                    self.charge((end - occupied + LAST) // PAGE)
                if offset > before:
                    held += bytes(offset - before)
                held[offset:end] = content if end == offset + len(content) else content[: end - offset]
                return end - offset
        free = filesystem.free()
        if (end + LAST) // PAGE - offset // PAGE > free:
            end = held.reach(offset, end, max(0, free))
            if end <= offset:
                fail(errno.ENOSPC)
        try:
            held.write(offset, content if end == offset + len(content) else memoryview(content)[: end - offset])
        finally:
            self.settle(held)
        return end - offset

    def allocate(self, mode: int, offset: int, length: int) -> None:
        """fallocate(2), *mode* and range checked."""
        held, size, end = self.content, self.length(), offset + length
        keep = bool(mode & KEEP_SIZE)
        if not isinstance(held, Content):
            if not mode & (PUNCH_HOLE | ZERO_RANGE) and end <= size + -size % PAGE:  # all of it is there
                if not keep and end > size:
                    held += bytes(end - size)
                return
            held = self.enlarge()
        if not mode & PUNCH_HOLE:
            # More than the machine has is refused even where there is no limit: the kernel would try.
            room = max(0, min(self.filesystem.free(), memory_pages()))
            wanted = (end + LAST) // PAGE - offset // PAGE
            if wanted > room and (wanted > room + held.pages or held.reach(offset, end, room) < end):
                fail(errno.ENOSPC)
        try:
            if mode & (PUNCH_HOLE | ZERO_RANGE):
                held.punch(offset, end)
            if not mode & PUNCH_HOLE:
                held.allocate(offset, end, keep)
        finally:
            self.settle(held)


class RamHandle(Handle):
    """An open file. Content is asked of the inode each time: it may become something else meanwhile."""

    __slots__ = ("_append", "_quiet", "_readable", "_writable")

    node: RamFile

    def __init__(self, node: RamFile, flags: int) -> None:
        self.node = node
        access = flags & os.O_ACCMODE
        self._readable = access != os.O_WRONLY
        self._writable = access != os.O_RDONLY
        self._append = bool(flags & os.O_APPEND)
        self._quiet = bool(flags & os.O_NOATIME)

    def size(self) -> int:
        return self.node.length()

    def read(self, offset: int, size: int) -> bytes | bytearray:
        if offset < 0 or size < 0 or not self._readable:
            self._refuse_read()
        node = self.node
        if not self._quiet:
            node.accessed()
        held = node.content
        if isinstance(held, Content):
            return held.read(offset, size)
        return held[offset : offset + size]

    def readinto(self, offset: int, buffer: memoryview) -> int:
        if offset < 0 or not self._readable:
            self._refuse_read()
        node = self.node
        if not self._quiet:
            node.accessed()
        held = node.content
        if isinstance(held, Content):
            return held.readinto(offset, buffer)
        piece = held[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)

    def _refuse_read(self) -> None:
        fail(errno.EINVAL if self._readable else errno.EBADF)

    def write(self, offset: int, content: bytes | memoryview) -> int:
        if not self._writable:
            fail(errno.EBADF)
        if not len(content):
            return 0
        node = self.node
        filesystem = node.filesystem
        with filesystem.lock:
            if filesystem.read_only:
                fail(errno.EROFS)
            count = node.write(node.length() if self._append else offset, content)
            node.mtime = node.ctime = clock.now()
            return count

    def allocate(self, mode: int, offset: int, length: int) -> None:
        if not self._writable:
            fail(errno.EBADF)
        if offset < 0 or length <= 0:
            fail(errno.EINVAL)
        if mode not in (0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE):
            fail(errno.EOPNOTSUPP)
        if offset + length > MAX_SIZE:
            fail(errno.EFBIG)
        node = self.node
        filesystem = node.filesystem
        with filesystem.lock:
            if filesystem.read_only:
                fail(errno.EROFS)
            node.allocate(mode, offset, length)
            node.mtime = node.ctime = clock.now()

    def extents(self, offset: int, length: int) -> list[Extent]:
        node = self.node
        end = min(offset + length, node.length())
        if offset < 0 or offset >= end:
            return []
        held = node.content
        return held.extents(offset, end) if isinstance(held, Content) else [Extent(offset, end - offset)]

    def seek_data(self, offset: int) -> int:
        found = self._next(offset, hole=False)
        return found if found is not None else fail(errno.ENXIO)

    def seek_hole(self, offset: int) -> int:
        found = self._next(offset, hole=True)
        return found if found is not None else self.node.length()

    def _next(self, offset: int, hole: bool) -> int | None:
        node = self.node
        size = node.length()
        if not 0 <= offset < size:
            fail(errno.ENXIO)
        held = node.content
        if isinstance(held, Content):
            return held.next(offset, hole)
        return size if hole else offset
