"""The content of files that are large or have holes. Small ones are a `bytearray` in the inode (see `file`).

Two forms, one interface. `Memory` is a memfd: holes, fallocate and seeking are the kernel's, reading and writing go at its speed.
Descriptors are few, though: where three quarters of those that this process may have are in use, `Pages` takes over, a table of
pages in Python, with the same holes and the same counts.

Offsets are bytes, checked by the caller: not negative, at most MAX_SIZE. Whoever changes content holds the mount's lock; reading
does not, and sees each page as it was or as it is.
"""

from __future__ import annotations

import errno
import os
import resource
from bisect import bisect_left
from typing import Any, Final

from vfs.api import Extent
from vfs.api.allocation import KEEP_SIZE, PUNCH_HOLE, fallocate

PAGE: Final = 4096
MAX_SIZE: Final = (1 << 63) - 1
"""MAX_LFS_FILESIZE."""

MFD_EXEC: Final = 0x10
"""A memfd that can be executed: since Linux 6.3 it must be asked for."""

ZEROS: Final = bytes(PAGE)


class Content:
    """What both forms have. *pages* is as counted last."""

    __slots__ = ("__weakref__", "pages", "size")

    def __init__(self) -> None:
        self.size = 0
        self.pages = 0

    def read(self, offset: int, size: int) -> bytes:
        """What is there of the range."""
        raise NotImplementedError

    def readinto(self, offset: int, buffer: memoryview) -> int:
        piece = self.read(offset, len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def write(self, offset: int, content: bytes | bytearray | memoryview) -> None:
        """Write all. ENOSPC, ENOMEM: the machine has no more memory."""
        raise NotImplementedError

    def truncate(self, size: int) -> None:
        raise NotImplementedError

    def allocate(self, offset: int, end: int, keep_size: bool) -> None:
        """Make pages of the range's holes."""
        raise NotImplementedError

    def punch(self, offset: int, end: int) -> None:
        """Zero the range; its whole pages become a hole."""
        raise NotImplementedError

    def next(self, offset: int, hole: bool) -> int | None:
        """The first offset from *offset* (inside the size) on that is in a hole, or is not; the end of the file is a hole."""
        raise NotImplementedError

    def count(self) -> int:
        """Count the pages; how many more they are than last time."""
        raise NotImplementedError

    def extents(self, offset: int, end: int) -> list[Extent]:
        """Where the range lies; *end* is at most the size."""
        found: list[Extent] = []
        while offset < end:
            start = self.next(offset, hole=False)
            start = end if start is None else min(start, end)
            if start > offset:
                found.append(Extent(offset, start - offset, hole=True))
            if start < end:
                stop = self.next(start, hole=True)
                start, offset = start, end if stop is None else min(stop, end)
                found.append(self.extent(start, offset - start))
            else:
                offset = end
        return found

    def extent(self, offset: int, length: int) -> Extent:
        """A range that is data."""
        return Extent(offset, length)

    def reach(self, offset: int, end: int, room: int) -> int:
        """How far a write from *offset* to *end* gets when it may make *room* pages."""
        position = offset - offset % PAGE
        while position < end:
            data = self.next(position, hole=False) if position < self.size else None
            holes = -(-((end if data is None else min(data, end)) - position) // PAGE)
            if holes > room:
                return max(offset, position + room * PAGE)
            if data is None or data >= end:
                return end
            room -= holes
            stop = self.next(data, hole=True)
            position = -(-(end if stop is None else stop) // PAGE) * PAGE
        return end


class Memory(Content):
    """A memfd. It lives as long as the object, so that a reader in another thread never meets a closed descriptor."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        super().__init__()
        self.fd = fd

    def __del__(self, close: Any = os.close) -> None:
        close(self.fd)

    def read(self, offset: int, size: int) -> bytes:
        size = min(size, self.size - offset)
        return os.pread(self.fd, size, offset) if size > 0 else b""

    def readinto(self, offset: int, buffer: memoryview) -> int:
        size = min(len(buffer), self.size - offset)
        return os.preadv(self.fd, [buffer[:size]], offset) if size > 0 else 0

    def write(self, offset: int, content: bytes | bytearray | memoryview) -> None:
        done = os.pwrite(self.fd, content, offset)
        end = offset + len(content)
        while offset + done < end:
            done += os.pwrite(self.fd, memoryview(content)[done:], offset + done)
        if end > self.size:
            self.size = end

    def truncate(self, size: int) -> None:
        os.ftruncate(self.fd, size)
        self.size = size

    def allocate(self, offset: int, end: int, keep_size: bool) -> None:
        fallocate(self.fd, KEEP_SIZE if keep_size else 0, offset, end - offset)
        if not keep_size and end > self.size:
            self.size = end

    def punch(self, offset: int, end: int) -> None:
        fallocate(self.fd, PUNCH_HOLE | KEEP_SIZE, offset, end - offset)

    def next(self, offset: int, hole: bool) -> int | None:
        try:
            return os.lseek(self.fd, offset, os.SEEK_HOLE if hole else os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return None

    def count(self) -> int:
        found = os.fstat(self.fd)
        before, self.pages = self.pages, found.st_blocks * 512 // PAGE
        return self.pages - before

    def extent(self, offset: int, length: int) -> Extent:
        return Extent(offset, length, self.fd, offset)


class Pages(Content):
    """A table of pages: number -> 4 KiB. A page that is not there is a hole."""

    __slots__ = ("_order", "_table")

    def __init__(self) -> None:
        super().__init__()
        self._table: dict[int, bytearray] = {}
        self._order: list[int] | None = []
        """The numbers in order, `None` when they must be sorted again."""

    def read(self, offset: int, size: int) -> bytes:
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        first, last = offset // PAGE, (offset + size - 1) // PAGE
        table, skip = self._table, offset % PAGE
        if first == last:
            return bytes(table.get(first, ZEROS)[skip : skip + size])
        return b"".join([table.get(number, ZEROS) for number in range(first, last + 1)])[skip : skip + size]

    def write(self, offset: int, content: bytes | bytearray | memoryview) -> None:
        view = memoryview(content)
        done = 0
        while done < len(view):
            number, skip = divmod(offset + done, PAGE)
            piece = view[done : done + PAGE - skip]
            self._page(number)[skip : skip + len(piece)] = piece
            done += len(piece)
        self.size = max(self.size, offset + done)

    def _page(self, number: int) -> bytearray:
        page = self._table.get(number)
        if page is None:
            page = self._table[number] = bytearray(PAGE)
            self._order = None
        return page

    def _sorted(self) -> list[int]:
        order = self._order
        if order is None:
            order = self._order = sorted(self._table)
        return order

    def truncate(self, size: int) -> None:
        if size <= self.size:  # growing keeps pages that were allocated beyond the end
            self._forget(-(-size // PAGE), MAX_SIZE)
            self._zero(size, size + -size % PAGE)
        self.size = size

    def allocate(self, offset: int, end: int, keep_size: bool) -> None:
        for number in range(offset // PAGE, -(-end // PAGE)):
            self._page(number)
        if not keep_size:
            self.size = max(self.size, end)

    def punch(self, offset: int, end: int) -> None:
        first, last = -(-offset // PAGE), end // PAGE
        if first > last:
            self._zero(offset, end)
        else:
            self._zero(offset, first * PAGE)
            self._forget(first, last)
            self._zero(last * PAGE, end)

    def _forget(self, first: int, end: int) -> None:
        """Drop the pages from number *first* to before *end*."""
        order = self._sorted()
        start, stop = bisect_left(order, first), bisect_left(order, end)
        for number in order[start:stop]:
            del self._table[number]
        self._order = order[:start] + order[stop:]

    def _zero(self, offset: int, end: int) -> None:
        """Zero a range inside one page."""
        page = self._table.get(offset // PAGE)
        if page is not None and end > offset:
            page[offset % PAGE : offset % PAGE + end - offset] = bytes(end - offset)

    def next(self, offset: int, hole: bool) -> int | None:
        order = self._sorted()
        number = offset // PAGE
        position = bisect_left(order, number)
        if not hole:
            start = max(offset, order[position] * PAGE) if position < len(order) else self.size
            return start if start < self.size else None
        # A run of data: numbers that follow one another; its end by bisection of "number minus position".
        low, high = position, len(order)
        while low < high:
            middle = (low + high) // 2
            if order[middle] - middle == number - position:
                low = middle + 1
            else:
                high = middle
        return min(max(offset, (number + low - position) * PAGE), self.size)

    def count(self) -> int:
        before, self.pages = self.pages, len(self._table)
        return self.pages - before


def make() -> Content:
    """Empty content, the best that can be had."""
    return memory() or Pages()


def memory() -> Memory | None:
    """An empty memfd, `None` when too many descriptors are in use."""
    try:
        try:
            fd = os.memfd_create("ramfs", os.MFD_CLOEXEC | MFD_EXEC)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            fd = os.memfd_create("ramfs", os.MFD_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOSYS):
            raise
        return None
    # The kernel gives the lowest free number: how high it is says how many are in use, by whomever.
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and fd >= limit * 3 // 4:
        os.close(fd)
        return None
    return Memory(fd)
