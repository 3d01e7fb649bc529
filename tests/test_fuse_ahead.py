"""A directory's inodes are announced before they are asked for, so that a storage can fetch them together."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from typing import cast

import pytest

from fixtures.ext import image
from vfs.api import FileStorage
from vfs.api.filesystem import Filesystem
from vfs.api.node import Entry, Node
from vfs.api.storage import SubStorage
from vfs.ext2.volume import NEIGHBOURHOOD, Ext2Filesystem

operations = pytest.importorskip("vfs.fuse.operations", reason="pyfuse3 is not installed")


class Advised(FileStorage):
    """Remembers what it was advised of, and what was read."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.advised: list[tuple[int, int]] = []
        self.reads: list[tuple[int, int]] = []

    def advise(self, offset: int, length: int) -> None:
        self.advised.append((offset, length))
        super().advise(offset, length)

    def read(self, offset: int, size: int) -> bytes:
        self.reads.append((offset, size))
        return super().read(offset, size)


def test_inodes_in_many_groups_are_advised_before_they_are_read() -> None:
    storage = Advised(str(image("million_inodes")))
    with Ext2Filesystem(storage) as filesystem:
        root = filesystem.root
        entries = list(root.entries())
        root.expect(entries)
        assert len(entries) > 500 and len(storage.advised) > 100
        assert all(one[0] + one[1] < two[0] for one, two in zip(storage.advised, storage.advised[1:])), "unsorted or not joined"
        storage.reads.clear()
        for entry in entries:
            root.child(entry)
        assert storage.reads and all(any(a <= o and o + n <= a + m for a, m in storage.advised) for o, n in storage.reads)
        advised = len(storage.advised)
        root.expect(entries)
        assert len(storage.advised) == advised, "what is held needs no fetching"


def test_advice_beyond_the_end_or_of_nonsense_is_harmless() -> None:
    storage = Advised(str(image("million_inodes")))
    with Ext2Filesystem(storage) as filesystem:
        filesystem.expect([0, -5, 1 << 70, 2, 11, filesystem.superblock.inodes_count])
        part = SubStorage(storage, 4096, 8192)
        for offset, length in ((0, 1 << 70), (-1, 5), (8192, 1), (1 << 70, 1), (0, 0)):
            storage.advise(offset, length)
            part.advise(offset, length)


class Listed(Node):
    """Entries, then an error."""

    def __init__(self, count: int) -> None:
        super().__init__(cast(Filesystem, None), 1)
        self.count = count
        self.expected: list[int] = []

    def entries(self, start: int = 0) -> Iterator[Entry]:
        for number in range(start + 1, self.count + 1):
            yield Entry(b"%d" % number, number, 8, number)
        raise OSError(errno.EUCLEAN, "broken")

    def expect(self, entries: Sequence[Entry]) -> None:
        self.expected += [entry.ino for entry in entries]


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 1000])
def test_what_comes_before_an_error_is_listed(count: int) -> None:
    node = Listed(count)
    found = []
    with pytest.raises(OSError, match="broken"):
        for entry in operations._listed(node, 0):
            found.append(entry.ino)
            assert entry.ino in node.expected
    assert found == node.expected == list(range(1, count + 1))


def test_the_second_small_file_of_a_neighbourhood_has_all_of_it_fetched() -> None:
    storage = Advised(str(image("many_files")))
    with Ext2Filesystem(storage) as filesystem:
        root = filesystem.root
        directory = root.child(next(entry for entry in root.entries() if entry.name == b"directory-01"))
        files = [directory.child(entry) for entry in directory.entries() if entry.type == 8]
        storage.reads.clear()
        storage.advised.clear()
        contents = set()
        for node in files:
            with node.open() as handle:
                contents.add(bytes(handle.read(0, 4096)))
        assert len(contents) > len(files) / 2
        neighbourhoods = [offset // NEIGHBOURHOOD for offset, _ in storage.reads]
        shared = {one for one in neighbourhoods if neighbourhoods.count(one) > 1}
        advised = [offset // NEIGHBOURHOOD for offset, length in storage.advised if length == NEIGHBOURHOOD]
        assert shared and len(advised) == len(set(advised)) == len(storage.advised) <= len(set(neighbourhoods))
        assert len(neighbourhoods) > 4 * len(set(neighbourhoods)), "these are no neighbours"
