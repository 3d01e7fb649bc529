"""The handle of a regular file: runs of blocks become reads of the storage, one each, and extents. Also links' targets."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from vfs.api import Extent, Handle, damaged, fail
from vfs.ext2 import features, fscrypt, inline, layout

if TYPE_CHECKING:
    from vfs.ext2.inode import Ext2Node

SMALL = 32 << 10
"""A read of at most so many bytes may be one of many of neighbours; larger ones are worth their wait."""


def open_file(node: Ext2Node) -> Handle:
    """A handle on a regular file's content. ENOKEY: encrypted."""
    if node.flags & layout.FL_ENCRYPTED:
        fail(errno.ENOKEY, f"inode {node.ino}: encrypted, its key is not there")
    if node.flags & layout.FL_INLINE_DATA:
        return InlineHandle(node, inline.content(node))
    return Ext2Handle(node)


class Ext2Handle(Handle):
    """An open file whose content is in blocks."""

    __slots__ = ()

    node: Ext2Node

    def size(self) -> int:
        return self.node.size

    def readinto(self, offset: int, buffer: memoryview) -> int:
        node = self.node
        end = min(offset + len(buffer), node.size)
        if offset < 0 or offset >= end:
            return 0
        node.map.readinto(offset, buffer[: end - offset])
        return end - offset

    def read(self, offset: int, size: int) -> bytes | bytearray | memoryview:
        node = self.node
        end = min(offset + size, node.size)
        if offset < 0 or offset >= end:
            return b""
        filesystem = node.filesystem
        block_size = filesystem.block_size
        first = offset // block_size
        count = -(-end // block_size) - first
        fs_block, length = node.map.stretch(first, count)
        # One stretch is one read; more go through readinto into one buffer.
        if length >= count:
            if fs_block is None:
                return bytes(end - offset)
            if not filesystem.overlay:
                position = fs_block * block_size + offset - first * block_size
                if end - offset <= SMALL:
                    filesystem.approach(position)
                return filesystem.storage.read(position, end - offset)
        buffer = bytearray(end - offset)
        self.readinto(offset, memoryview(buffer))
        return buffer

    def extents(self, offset: int, length: int) -> list[Extent]:
        node = self.node
        end = min(offset + length, node.size)
        if offset < 0 or offset >= end:
            return []
        filesystem = node.filesystem
        size = filesystem.block_size
        first = offset // size
        position = offset
        found: list[Extent] = []
        for _, fs_block, count in node.map.runs(first, -(-end // size) - first):
            stop = min((first + count) * size, end)
            if fs_block is None:
                _append(found, Extent(position, stop - position, hole=True))
            else:
                start = fs_block * size + position - first * size
                below = filesystem.extents(start, stop - position)
                for extent in below:
                    _append(found, extent._replace(offset=extent.offset - start + position))
                told = found[-1].offset + found[-1].length if found else position
                if told < stop:  # the image ends before: reading tells so
                    _append(found, Extent(told, stop - told))
            first += count
            position = stop
        return found

    def seek_data(self, offset: int) -> int:
        return self._seek(offset, hole=False)

    def seek_hole(self, offset: int) -> int:
        return self._seek(offset, hole=True)

    def _seek(self, offset: int, hole: bool) -> int:
        node = self.node
        if not 0 <= offset < node.size:
            fail(errno.ENXIO)
        size = node.filesystem.block_size
        first = offset // size
        for run in node.map.runs(first, -(-node.size // size) - first):
            if (run.fs_block is None) == hole:
                return max(offset, run.file_block * size)
        return node.size if hole else fail(errno.ENXIO)


class InlineHandle(Handle):
    """An open file whose content is in the inode. It may be longer than what is there, by truncate(2): zeros follow."""

    __slots__ = ("content",)

    node: Ext2Node

    def __init__(self, node: Ext2Node, content: bytes) -> None:
        super().__init__(node)
        self.content = content

    def size(self) -> int:
        return self.node.size

    def readinto(self, offset: int, buffer: memoryview) -> int:
        piece = self.read(offset, len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def read(self, offset: int, size: int) -> bytes:
        end = min(offset + size, self.node.size)
        if offset < 0 or offset >= end:
            return b""
        return self.content[offset:end].ljust(end - offset, b"\0")

    def extents(self, offset: int, length: int) -> list[Extent]:
        end = min(offset + length, self.node.size)
        if offset < 0 or offset >= end:
            return []
        held = min(max(offset, len(self.content)), end)
        parts = (Extent(offset, held - offset), Extent(held, end - held, hole=True))
        return [part for part in parts if part.length]

    def seek_data(self, offset: int) -> int:
        return offset if 0 <= offset < min(len(self.content), self.node.size) else fail(errno.ENXIO)

    def seek_hole(self, offset: int) -> int:
        if not 0 <= offset < self.node.size:
            fail(errno.ENXIO)
        return max(offset, min(len(self.content), self.node.size))


def _append(extents: list[Extent], extent: Extent) -> None:
    """Add an extent, joined to the last one where it only continues it."""
    if extents:
        last = extents[-1]
        if (last.fd, last.hole) == (extent.fd, extent.hole) and (
            extent.fd is None or last.fd_offset + last.length == extent.fd_offset
        ):
            extents[-1] = last._replace(length=last.length + extent.length)
            return
    extents.append(extent)


def read_link(node: Ext2Node) -> bytes:
    """A symbolic link's target. EUCLEAN."""
    content = _link_content(node)
    if node.flags & layout.FL_ENCRYPTED:
        return fscrypt.shown_target(content, node.ino)
    if not content or b"\0" in content:
        raise damaged(f"inode {node.ino}: a link whose target is empty or has a NUL")
    return content


def _link_content(node: Ext2Node) -> bytes:
    """What is stored for a link: in the inode as inline data, in `i_block` in place of the map ("fast"), or in a block.

    `inodes.rst`, "Symbolic Links". A link is fast when it has no blocks, but for one of attributes; with ea_inode the count of
    blocks says nothing, and the size decides.
    """
    size, filesystem = node.size, node.filesystem
    if node.flags & layout.FL_INLINE_DATA:
        return inline.content(node)
    if size < layout.BLOCK_SIZE and not node.flags & layout.FL_EXTENTS:
        attributes = filesystem.geometry.cluster_size // 512 if node.acl_block else 0
        if filesystem.geometry.incompat & features.EA_INODE or node.stored_blocks <= attributes:
            return node.block[:size]
    if size > filesystem.block_size:
        raise damaged(f"inode {node.ino}: a link of {size} bytes, at most a block of {filesystem.block_size}")
    return bytes(Ext2Handle(node).read(0, size))
