"""Where a file's blocks lie: one interface over the two kinds of map.

A map answers `mapped(first, end)`: the stretches of that range that have blocks. Here they are joined where they touch, and
the holes between them are filled in. Unwritten extents are holes to a reader.

Both maps are trees of blocks that a hostile image may tie in knots. Each level is one less than the one above, so a walk ends;
that it ends soon is ensured by a `Toll`: no walk passes more blocks than the file system has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from vfs.api import damaged
from vfs.ext2 import features

if TYPE_CHECKING:
    from vfs.ext2.inode import Ext2Node


SHARED_FACTOR = 64


class Run(NamedTuple):
    """*length* blocks of a file from *file_block* on, contiguous from *fs_block* on; `None`: a hole, reads as zeros."""

    file_block: int
    fs_block: int | None
    length: int


class Toll:
    """Counts the blocks that a walk passes, of the map and of content. EUCLEAN: more than there are.

    With the feature shared_blocks (deduplicated, read-only images of Android) a file may show one block many times.
    """

    __slots__ = ("ino", "left")

    def __init__(self, node: Ext2Node) -> None:
        self.ino = node.ino
        filesystem = node.filesystem
        shared = filesystem.geometry.ro_compat & features.SHARED_BLOCKS
        self.left = filesystem.blocks_count * (SHARED_FACTOR if shared else 1)

    def pay(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise damaged(f"inode {self.ino}: its block map leads to more blocks than the file system has")


class BlockMap:
    """A file's map. *limit*: how many blocks it can tell of."""

    __slots__ = ("node",)
    limit: int

    def __init__(self, node: Ext2Node) -> None:
        self.node = node

    def mapped(self, first: int, end: int, toll: Toll) -> Iterator[Run]:
        """The stretches with blocks within file blocks *first* to *end*, in order, clipped to it, none of them a hole."""
        raise NotImplementedError

    def stretch(self, first: int, count: int) -> tuple[int | None, int]:
        """Where a file block lies (`None`: in a hole), and of how many blocks, *count* at most, that is known: one or more. As
        the first of `runs`, but quicker where a map can be."""
        run = next(self.runs(first, count))
        return run.fs_block, run.length

    def place(self, file_block: int) -> int | None:
        """Where one block lies; `None`: in a hole."""
        return self.stretch(file_block, 1)[0]

    def runs(self, first: int, count: int) -> Iterator[Run]:
        """File blocks *first* to *first + count* without gaps: stretches joined where they touch, and holes. EUCLEAN: a block
        outside the file system, or a damaged map."""
        if count <= 0:
            return
        end = first + count
        position = first  # everything before it has been yielded or is in (start, fs_block)
        start, fs_block = first, -1  # the stretch being joined; -1: none
        for run in self.mapped(first, min(end, self.limit), Toll(self.node)):
            if run.file_block != position or run.fs_block != fs_block + position - start:
                if fs_block >= 0:
                    yield Run(start, fs_block, position - start)
                if run.file_block > position:
                    yield Run(position, None, run.file_block - position)
                start, fs_block = run.file_block, run.fs_block or 0
                position = start
            position += run.length
        if fs_block >= 0:
            yield Run(start, fs_block, position - start)
        if position < end:
            yield Run(position, None, end - position)

    def check(self, file_block: int, fs_block: int, count: int) -> None:
        """That a stretch lies inside the file system."""
        filesystem = self.node.filesystem
        if not filesystem.first_valid < fs_block <= filesystem.blocks_count - count:
            raise damaged(
                f"inode {self.node.ino}: file block {file_block} lies at block {fs_block}, outside the file system of "
                f"{filesystem.blocks_count}"
            )

    def readinto(self, offset: int, buffer: memoryview) -> None:
        """Fill *buffer* with the content from byte *offset* on, holes as zeros; whoever calls has looked at the size. One read of
        the storage for each run. EIO, EUCLEAN."""
        filesystem = self.node.filesystem
        size = filesystem.block_size
        end = offset + len(buffer)
        first = offset // size
        position = offset
        for _, fs_block, length in self.runs(first, -(-end // size) - first):
            stop = min((first + length) * size, end)
            piece = buffer[position - offset : stop - offset]
            if fs_block is None:
                _clear(piece)
            else:
                filesystem.readinto(fs_block * size + position - first * size, piece)
            first += length
            position = stop


_ZEROS = bytes(1 << 18)


def _clear(piece: memoryview) -> None:
    for start in range(0, len(piece), len(_ZEROS)):
        part = piece[start : start + len(_ZEROS)]
        part[:] = _ZEROS[: len(part)]
