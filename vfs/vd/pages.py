"""Tables of an image, held piece by piece: what is read is cached, what is changed stays until the format writes it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

from vfs.api import Storage

PAGE: Final = 4096
CACHED: Final = 1024
"""Pages that are held, at least; twice as many at most."""
_SCAN: Final = 1 << 20


class Pages:
    """Pieces of a file by their offset. What has one offset has one size. Two generations, as caches are that need no list to
    reorder: what is used goes to the young one, and when that is full the old one is dropped."""

    __slots__ = ("_old", "_young", "changed", "file")

    def __init__(self, file: Storage) -> None:
        self.file = file
        self._young: dict[int, bytearray] = {}
        self._old: dict[int, bytearray] = {}
        self.changed: dict[int, bytearray] = {}

    def get(self, offset: int, size: int) -> bytearray:
        """The piece at *offset*, to be read only. EIO: it is not inside the file."""
        found = self._young.get(offset)
        if found is None:
            found = self.changed.get(offset) or self._old.get(offset)
            if found is None:
                found = bytearray(self.file.read(offset, size))
            self._hold(offset, found)
        return found

    def change(self, offset: int, size: int) -> bytearray:
        """The same, to be changed."""
        found = self.get(offset, size)
        self.changed[offset] = found
        return found

    def keep(self, offset: int, content: bytearray) -> None:
        """A piece that somebody has written to the file himself."""
        self._old.pop(offset, None)
        self._hold(offset, content)

    def write(self) -> None:
        """Write what is changed, in the order of its places."""
        for offset in sorted(self.changed):
            self.file.write(offset, memoryview(self.changed[offset]))
        self.changed.clear()

    def _hold(self, offset: int, content: bytearray) -> None:
        if len(self._young) >= CACHED:
            self._old, self._young = self._young, {}
        self._young[offset] = content


class Table:
    """An array of *count* numbers at *offset* of the file, which must hold all of it."""

    __slots__ = ("count", "each", "end", "entry", "offset", "pages", "per_page")

    def __init__(self, pages: Pages, offset: int, count: int, entry: struct.Struct) -> None:
        self.pages, self.offset, self.count, self.entry = pages, offset, count, entry
        self.each, self.end = entry.size, offset + count * entry.size
        self.per_page = PAGE // entry.size

    def _page(self, index: int) -> tuple[int, int]:
        start = self.offset + index * self.each // PAGE * PAGE
        return start, min(PAGE, self.end - start)

    def __getitem__(self, index: int) -> int:
        found: int = self.entry.unpack_from(self.pages.get(*self._page(index)), index * self.each % PAGE)[0]
        return found

    def __setitem__(self, index: int, value: int) -> None:
        self.entry.pack_into(self.pages.change(*self._page(index)), index * self.each % PAGE, value)

    def page_is(self, index: int, content: bytes) -> bool:
        """Whether the whole page that begins with *index* consists of *content* only; no page begins there: no."""
        if index % self.per_page or self.count - index < self.per_page:
            return False
        return self.pages.get(*self._page(index)) == content

    def __iter__(self) -> Iterator[int]:
        """All of them, as the file has them: for whoever has changed none yet. Read in large pieces, none of which is kept."""
        code = self.entry.format[:1] + "%d" + self.entry.format[1:]
        for start in range(self.offset, self.end, _SCAN):
            raw: Any = self.pages.file.read(start, min(_SCAN, self.end - start))
            yield from struct.unpack(code % (len(raw) // self.each), raw)
