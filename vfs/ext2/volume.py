"""The mounted volume: the one door to the storage, the groups, and inodes by number.

Nothing is read at mount time that grows with the image: the superblock, and the journal where it wants replaying.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from dataclasses import replace

from vfs.api import Extent, Filesystem, StatFs, Storage, damaged, fail
from vfs.ext2 import fastcommit, features, layout, report
from vfs.ext2.cache import Cache
from vfs.ext2.directory import Decoded
from vfs.ext2.extents import ExtentNode
from vfs.ext2.fastcommit import FastCommits
from vfs.ext2.inode import Ext2Node
from vfs.ext2.journal import Journal, Overlay
from vfs.ext2.layout import GroupDescriptor, GroupDescriptorHigh, Inode, Superblock
from vfs.ext2.superblock import Geometry, derive, read_superblock

CACHE_BYTES = 4 << 20
"""Of the cache of blocks; up to twice that is held."""
TABLE_BYTES = 8 << 20
"""Of the cache of pieces of inode tables, likewise: large directories are in the order of hashes, their inodes are not."""
TABLE_PIECE = 4 << 10
"""Inode tables are read this much at once: neighbours are asked for next."""
AHEAD = 64 << 10
"""At most this much of a directory is read at once."""
NEIGHBOURHOOD = 128 << 10
"""The piece of the volume in which small files, blocks of directories and inodes are neighbours."""
NEIGHBOURHOODS_KEPT = 4096
NODES_KEPT = 2048
PIECES_KEPT = 64
"""Decoded blocks of directories: a front end lists a block in several requests."""
NAMES_KEPT = 256
"""Small directories of which all names are kept, since they are asked for again and again."""
EXTENT_NODES_KEPT = 64

_TABLE_LO = GroupDescriptor.pick("inode_table_lo")
_TABLE_HI = GroupDescriptorHigh.pick("inode_table_hi")


class Ext2Filesystem(Filesystem):
    """One mounted image. Owns *storage* once it is made; when it cannot be made, the storage stays the caller's."""

    type = "ext2"
    stable_numbers = True

    def __init__(self, storage: Storage, position: int | None = None, load: bool = True) -> None:
        super().__init__()
        self.storage = storage
        self.superblock: Superblock = read_superblock(storage, position)
        self.geometry: Geometry = derive(self.superblock, position)
        geometry = self.geometry
        self.block_size = geometry.block_size
        self.first_valid, self.blocks_count = geometry.first_data_block, geometry.blocks_count
        # How far the extra fields of an inode can reach, and do where it does not say.
        self.extra_limit = geometry.inode_size - layout.OLD_INODE_SIZE
        self.extra_isize = min(self.extra_limit, Inode.SIZE - layout.OLD_INODE_SIZE)
        self.large_dir = bool(geometry.incompat & features.LARGE_DIR)
        self._inode_size, self._first_ino = geometry.inode_size, geometry.first_ino
        self._inodes_count, self._inodes_per_group = geometry.inodes_count, geometry.inodes_per_group
        self.has_filetype = bool(geometry.incompat & features.FILETYPE)
        self._blocks: Cache[int, bytes] = Cache(CACHE_BYTES // self.block_size)
        self._ahead = max(1, AHEAD // self.block_size)
        self.decoded: Cache[tuple[int, int], Decoded] = Cache(PIECES_KEPT)
        self.names: Cache[int, dict[bytes, int] | int] = Cache(NAMES_KEPT)
        self._piece = max(TABLE_PIECE, self.block_size)
        self._pieces: Cache[int, bytes] = Cache(TABLE_BYTES // self._piece)
        self._tables: dict[int, int] = {}
        self._neighbourhoods: Cache[int, bool] = Cache(NEIGHBOURHOODS_KEPT)
        self.extent_nodes: Cache[int, ExtentNode] = Cache(EXTENT_NODES_KEPT)
        self._nodes: Cache[int, Ext2Node] = Cache(NODES_KEPT)
        self._reserved = frozenset(
            {
                self.superblock.usr_quota_inum,
                self.superblock.grp_quota_inum,
                self.superblock.prj_quota_inum,
                self.superblock.orphan_file_inum,
            }
        )
        # Blocks whose content is not where they are: what the journal has of them.
        self.overlay = Overlay()
        self._statfs: StatFs | None = None
        self.fast_commits: FastCommits | None = None
        self.loaded = load
        if load and geometry.incompat & features.RECOVER and geometry.compat & features.HAS_JOURNAL:
            self._replay(position)

    def _replay(self, position: int | None) -> None:
        journal = Journal(self)
        overlay = journal.replay()
        self.forget()
        self.overlay = overlay
        if journal.fast:
            self.fast_commits = fastcommit.replay(journal)
            self.forget()
        # The superblock may be among what was replayed. Its features are those that the image was opened by.
        start = layout.SUPERBLOCK_OFFSET if position is None else position * 1024
        number, inside = divmod(start, self.block_size)
        if number in overlay:
            again = Superblock.unpack(self.read(number, 1), inside)
            if again.magic == layout.MAGIC:
                derived = derive(again, position)
                if derived.incompat | features.RECOVER == self.geometry.incompat and derived.block_size == self.block_size:
                    self.superblock = again

    def forget(self) -> None:
        """Drop everything held in caches: what was read is not what is to be shown any more."""
        for cache in (self._blocks, self._pieces, self.decoded, self.names, self.extent_nodes, self._nodes):
            cache.clear()
        self._tables.clear()

    # ---------------------------------------------------------------- the door to the storage

    def block(self, number: int, ahead: int = 1) -> bytes:
        """One block of metadata, through the cache; when it must be read, so are some of the *ahead* blocks from it on, which the
        caller wants next. EUCLEAN: not in the file system; EIO: not in the storage."""
        found = self._blocks.get(number)
        if found is None:
            found = self._read_ahead(number, min(ahead, self._ahead)) if ahead > 1 else self.read(number, 1)
            self._blocks.put(number, found)
        return found

    def _read_ahead(self, number: int, count: int) -> bytes:
        size = self.block_size
        try:
            raw = self.read(number, count)
        except OSError:  # Not all of them can be had; the first perhaps can.
            return self.read(number, 1)
        for index in range(1, count):
            self._blocks.put(number + index, raw[index * size : (index + 1) * size])
        return raw[:size]

    def read(self, number: int, count: int) -> bytes:
        """*count* blocks from *number*, as the replayed journal has them; not kept."""
        if not self.first_valid <= number <= self.blocks_count - count:
            raise damaged(f"blocks {number} to {number + count - 1} are outside the file system of {self.blocks_count}")
        size = self.block_size
        if self.overlay and any(block in self.overlay for block in range(number, number + count)):
            raw = bytearray(count * size)
            self.readinto(number * size, memoryview(raw))
            return bytes(raw)
        self.approach(number * size)
        return self.storage.read(number * size, count * size)

    def readinto(self, offset: int, buffer: memoryview) -> None:
        """Fill *buffer* with content from byte *offset* of the volume on, as the replayed journal has it. EIO."""
        for start, stop, number in self._split(offset, len(buffer)):
            piece = buffer[start - offset : stop - offset]
            if number is not None:
                inside = start - number * self.block_size
                piece[:] = self.overlay.content(number)[inside : inside + stop - start]
            elif self.storage.readinto(start, piece) != stop - start:
                fail(errno.EIO, f"{self.storage.name}: ends inside bytes {start} to {stop}")

    def approach(self, offset: int) -> None:
        """A little is about to be read from *offset*. A program that looks at many small things looks at neighbours, in whatever
        order: the second one in a neighbourhood lets the storage fetch all of it, where each alone would be a wait of its own."""
        neighbourhood = offset // NEIGHBOURHOOD
        fetched = self._neighbourhoods.get(neighbourhood)
        if not fetched:
            self._neighbourhoods.put(neighbourhood, fetched is not None)
            if fetched is not None:
                self.storage.advise(neighbourhood * NEIGHBOURHOOD, NEIGHBOURHOOD)

    def extents(self, offset: int, length: int) -> list[Extent]:
        """Where these bytes of the volume lie; see `Storage.extents`. What only the journal has can only be read."""
        found: list[Extent] = []
        for start, stop, number in self._split(offset, length):
            if number is None:
                found += self.storage.extents(start, stop - start)
            else:
                found.append(Extent(start, stop - start))
        return found

    def _split(self, offset: int, length: int) -> Iterator[tuple[int, int, int | None]]:
        """A range of bytes, cut into (start, stop, block of the overlay or `None`)."""
        end = offset + length
        overlay, size = self.overlay, self.block_size
        start = offset
        if overlay:
            for number in range(offset // size, -(-end // size)):
                if number in overlay:
                    first, last = max(offset, number * size), min(end, (number + 1) * size)
                    if start < first:
                        yield start, first, None
                    yield first, last, number
                    start = last
        if start < end:
            yield start, end, None

    # ---------------------------------------------------------------- groups

    def descriptor(self, group: int) -> tuple[bytes, int]:
        """The block that holds a group's descriptor, and where in it. Its place: `group_descr.rst` and "Meta Block Groups" of
        `blockgroup.rst`."""
        geometry = self.geometry
        per_block = self.block_size // geometry.desc_size
        index = group // per_block
        if not geometry.incompat & features.META_BG or index < self.superblock.first_meta_bg:
            number = geometry.superblock_block + 1 + index
        else:
            first_group = index * per_block
            number = geometry.first_data_block + first_group * geometry.blocks_per_group + self.has_superblock(first_group)
            # With blocks of 1 KiB in clusters, block 0 is the boot block's although the group begins with it.
            if self.block_size == 1024 and index == 0 and geometry.first_data_block == 0:
                number += 1
        return self.block(number), group % per_block * geometry.desc_size

    def has_superblock(self, group: int) -> bool:
        """Whether a group begins with a copy of the superblock."""
        geometry = self.geometry
        if group == 0:
            return True
        if geometry.compat & features.SPARSE_SUPER2:
            return group in self.superblock.backup_bgs
        if group == 1 or not geometry.ro_compat & features.SPARSE_SUPER:
            return True
        return any(_is_power(group, base) for base in (3, 5, 7))

    def inode_table(self, group: int) -> int:
        """The first block of a group's inode table. EUCLEAN: it is not inside the file system."""
        found = self._tables.get(group)
        if found is None:
            block, offset = self.descriptor(group)
            found = _TABLE_LO.unpack_from(block, offset)[0]
            if self.geometry.desc_size >= 64:
                found |= _TABLE_HI.unpack_from(block, offset)[0] << 32
            if not self.first_valid < found <= self.blocks_count - self.geometry.inode_table_blocks:
                raise damaged(f"group {group}: inode table at block {found}, outside the file system of {self.blocks_count}")
            self._tables[group] = found
        return found

    # ---------------------------------------------------------------- inodes

    @property
    def root(self) -> Ext2Node:
        try:
            node = self.node(layout.ROOT_INO)
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            raise damaged("inode 2: the root is not in use") from None
        if not stat.S_ISDIR(node.mode):
            raise damaged("inode 2: the root is no directory")
        return node

    def node(self, ino: int) -> Ext2Node:
        """The node of an inode number that an entry or a stat told. ESTALE: not in use; EUCLEAN: damaged, or no such number."""
        found = self._nodes.get(ino)
        if found is None:
            if (ino < self._first_ino and ino != layout.ROOT_INO) or ino in self._reserved:
                raise damaged(f"inode {ino}: reserved, no file has this number")
            found = self.inode(ino)
            if found.flags & layout.FL_EA_INODE:
                raise damaged(f"inode {ino}: holds the value of an attribute, no file")
            self._nodes.put(ino, found)
        return found

    def inode(self, ino: int) -> Ext2Node:
        """The node of any inode, also a reserved one. Errors as `node`."""
        fast = self.fast_commits
        raw = fast.inodes.get(ino) if fast is not None else None
        return Ext2Node(self, ino, self.raw_inode(ino) if raw is None else raw)

    def raw_inode(self, ino: int) -> bytes:
        """An inode's bytes in its table. EUCLEAN: no such number; EIO."""
        if not 0 < ino <= self._inodes_count:
            raise damaged(f"inode {ino}: numbers are from 1 to {self._inodes_count}")
        group, index = divmod(ino - 1, self._inodes_per_group)
        size = self._inode_size
        piece, inside = divmod(index * size, self._piece)
        key = group << 32 | piece
        held = self._pieces.get(key)
        if held is None:
            held = self._read_piece(group, piece)
            self._pieces.put(key, held)
        raw = held[inside : inside + size]
        if len(raw) != size:
            fail(errno.EIO, f"inode {ino}: beyond the end of the image")
        return raw

    def _piece_key(self, ino: int) -> int:
        group, index = divmod(ino - 1, self._inodes_per_group)
        return group << 32 | index * self._inode_size // self._piece

    def expect(self, numbers: list[int]) -> None:
        """These inodes will be read next: let the storage begin with all pieces at once that must be fetched. The directories of
        a large image lie in as many groups, and one after the other each would be a wait of its own."""
        held, per_piece = self._pieces, self._piece // self.block_size
        ranges: list[tuple[int, int]] = []
        for key in {self._piece_key(ino) for ino in numbers if 0 < ino <= self._inodes_count}:
            if held.get(key) is None:
                try:
                    first = (self.inode_table(key >> 32) + (key & 0xFFFFFFFF) * per_piece) * self.block_size
                except OSError:  # whoever asks for the inode is told
                    continue
                ranges.append((first, first + self._piece))
        if len(ranges) > 1:
            for start, stop in _joined(ranges):
                self.storage.advise(start, stop - start)

    def _read_piece(self, group: int, piece: int) -> bytes:
        per_piece = self._piece // self.block_size
        first = piece * per_piece
        count = min(per_piece, self.geometry.inode_table_blocks - first)
        number = self.inode_table(group) + first
        try:
            return self.read(number, count)
        except OSError as error:
            # A storage that ends inside the piece: what there is of it.
            there = self.storage.size // self.block_size - number
            if error.errno != errno.EIO or not 0 < there < count:
                raise
            return self.read(number, there)

    # ---------------------------------------------------------------- the rest of the contract

    def statfs(self) -> StatFs:
        # Every group is asked, once: nothing changes here.
        if self._statfs is None:
            self._statfs = report.statfs(self)
        return replace(self._statfs)

    def details(self) -> dict[str, str | int]:
        return report.details(self)

    def close(self) -> None:
        self.forget()
        self.storage.close()


def _is_power(number: int, base: int) -> bool:
    while number % base == 0:
        number //= base
    return number == 1


def _joined(ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Ranges of bytes, sorted, those that touch as one."""
    ranges.sort()
    start, stop = ranges[0]
    for first, last in ranges[1:]:
        if first > stop:
            yield start, stop
            start = first
        stop = last
    yield start, stop
