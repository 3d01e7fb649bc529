"""Grain directories and grain tables: where each grain of a sparse extent lies.

The directory has the positions of the tables, a table those of its grains; hosted extents have all of it twice. Tables are read
when they are wanted and a bounded number is kept. A table that is changed stays in memory until `flush`, which writes both
copies; the caller has made the grains durable before. A new table is durable before a directory refers to it.
"""

from __future__ import annotations

import sys
import threading
from array import array
from collections.abc import Callable, Iterator

from vfs.api import Storage, damaged
from vfs.vd.vmdk.layout import SECTOR

KEPT = 512
"""How many unchanged tables are kept: 1 MiB of hosted ones."""
DIRECTORY_LIMIT = 64 << 20
"""Bytes of a directory: 32 MiB are enough for the largest disk that there can be."""


def decode(content: bytes, code: str) -> array[int]:
    """Little-endian numbers: *code* is "I" for 32 bits, "Q" for 64."""
    numbers = array(code, content)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def encode(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers = array(numbers.typecode, numbers)
        numbers.byteswap()
    return numbers.tobytes()


def read_directory(source: Storage, position: int, count: int, code: str, what: str) -> array[int]:
    """A directory of *count* entries at byte *position*. EUCLEAN: outside the file, or larger than any can be."""
    size = count * array(code).itemsize
    if position <= 0 or position + size > source.size:
        raise damaged(
            f"{source.name}: {what} of {count} tables at byte {position} is outside the {source.size} bytes of the file"
        )
    if size > DIRECTORY_LIMIT:
        raise damaged(f"{source.name}: {what} has {count} tables, at most {DIRECTORY_LIMIT // array(code).itemsize}")
    return decode(source.read(position, size), code)


class TableCache:
    """The tables that are kept: the oldest goes. Only who does not find one takes the lock."""

    def __init__(self, limit: int = KEPT) -> None:
        self.limit = limit
        self.held: dict[int, array[int] | None] = {}
        self.lock = threading.Lock()

    def get(self, number: int, load: Callable[[int], array[int] | None]) -> array[int] | None:
        try:
            return self.held[number]
        except KeyError:
            pass
        with self.lock:
            if number not in self.held:
                table = load(number)
                while len(self.held) >= self.limit:
                    del self.held[next(iter(self.held))]
                self.held[number] = table
            return self.held[number]


class GrainTables:
    """The tables of a hosted or an ESX server extent, with entries of 32 bits. *directory* and *redundant* (0: there is none)
    are bytes in *source*; *count* tables of *entries*; *sound* says whether a table's entries can be true."""

    def __init__(
        self, source: Storage, directory: int, redundant: int, count: int, entries: int, sound: Callable[[array[int]], bool]
    ) -> None:
        self.source, self.count, self.entries, self.sound = source, count, entries, sound
        self.positions = (directory, redundant) if redundant else (directory,)
        self._directories: list[array[int] | None] | None = None
        self._cache = TableCache()
        self._nothing = bytes(4 * entries)
        self.changed: dict[int, array[int]] = {}
        self._lock = threading.Lock()

    def directories(self) -> list[array[int] | None]:
        """The directory and, where there is one, the redundant one; `None` for one that cannot be read. EUCLEAN: none can."""
        with self._lock:
            if self._directories is None:
                found: list[array[int] | None] = []
                trouble: OSError | None = None
                for position, what in zip(self.positions, ("grain directory", "redundant grain directory")):
                    try:
                        found.append(read_directory(self.source, position, self.count, "I", what))
                    except OSError as error:
                        trouble = trouble or error
                        found.append(None)
                if trouble is not None and not any(directory is not None for directory in found):
                    raise trouble
                self._directories = found
            return self._directories

    def whole(self) -> None:
        """EUCLEAN unless all directories can be read: what has to be before anything is written."""
        for position, directory in zip(self.positions, self.directories()):
            if directory is None:
                raise damaged(f"{self.source.name}: no grain directory at byte {position}: it can only be read")

    def read(self, sector: int) -> bytes | None:
        """The table at *sector*, `None` if that is outside the file."""
        size = self.entries * 4
        return self.source.read(sector * SECTOR, size) if 0 < sector * SECTOR <= self.source.size - size else None

    def get(self, number: int) -> array[int] | None:
        """Table *number*; `None`: none of its grains is allocated. Not to be changed: see `change`."""
        return self.changed.get(number) or self._cache.get(number, self._load)

    def _load(self, number: int) -> array[int] | None:
        first: array[int] | None = None
        somewhere = 0
        for directory in self.directories():
            sector = directory[number] if directory is not None else 0
            if not sector:
                continue
            somewhere = somewhere or sector
            content = self.read(sector)
            if content == self._nothing:
                return None
            table = decode(content, "I") if content is not None else None
            if table is not None and self.sound(table):
                return table
            if first is None:
                first = table
        if first is None and somewhere:
            raise damaged(f"{self.source.name}: grain table {number} at sector {somewhere} is outside the file")
        return first

    def change(self, number: int) -> array[int]:
        """Table *number*, made if need be, to be changed."""
        table = self.changed.get(number)
        if table is None:
            table = self.get(number)
            if table is None:
                table = array("I", self._nothing)
            self.changed[number] = table
            with self._cache.lock:
                self._cache.held.pop(number, None)
        return table

    def differing(self) -> Iterator[int]:
        """The tables whose redundant copy is not the same: somebody was stopped between writing the two."""
        found = [directory for directory in self.directories() if directory is not None]
        for number, sectors in enumerate(zip(*found) if len(found) > 1 else ()):
            if any(sectors) and len({self.read(sector) for sector in sectors}) > 1:
                yield number

    def flush(self, allocate: Callable[[int], int]) -> None:
        """Write what was changed, to all copies. *allocate* gives room for so many bytes, a byte position. Durable afterwards."""
        if not self.changed:
            return
        fresh: list[tuple[int, int, int]] = []  # copy, number, sector: to be entered into that directory
        size = 4 * self.entries
        directories = self.directories()
        for number, table in sorted(self.changed.items()):
            content = encode(table)
            for copy, directory in enumerate(directories):
                if directory is None:
                    continue
                sector = directory[number]
                if not 0 < sector * SECTOR <= self.source.size - size:
                    sector = allocate(size) // SECTOR
                    fresh.append((copy, number, sector))
                self.source.write(sector * SECTOR, content)
        self.source.flush()
        if fresh:
            for copy, number, sector in fresh:
                self.source.write(self.positions[copy] + 4 * number, sector.to_bytes(4, "little"))
                directory = directories[copy]
                assert directory is not None
                directory[number] = sector
            self.source.flush()
        self._keep()

    def settle(self, directory: array[int]) -> None:
        """All changed tables were written by the caller, and *directory* says where: the only one from now on."""
        with self._lock:
            self._directories = [directory]
        self._keep()

    def _keep(self) -> None:
        """What was changed is as it is in the file."""
        with self._cache.lock:
            for number, table in self.changed.items():
                self._cache.held[number] = table
            self.changed.clear()
