"""The journal of an image that was not unmounted: what it says, as an overlay over the image. `journal.rst`.

The log is a ring of blocks. A transaction is descriptor blocks, each followed by the blocks that it lists, revoke blocks, and
one commit block; only a transaction that has its commit counts, and the first one that does not ends the log. Its blocks are
not copied: the overlay says for each block of the file system where in the log its newest content is. Escaped blocks, whose
first bytes would look like a block of the log, are mended when read. Checksums of content are checked when read as well:
what is wrong with one block costs this block.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

from vfs.api import damaged, unsupported
from vfs.api.crc32c import crc32c
from vfs.ext2 import features, layout
from vfs.ext2 import journal_layout as jl
from vfs.ext2.blockmap import Run
from vfs.ext2.journal_layout import BlockTag, BlockTag3, CommitBlock, JournalHeader, JournalSuperblock, RevokeHeader

if TYPE_CHECKING:
    from vfs.ext2.volume import Ext2Filesystem

_HEADER = JournalHeader.pick("magic", "blocktype", "sequence")
_TAG = BlockTag.pick("blocknr", "checksum", "flags")
_TAG3 = BlockTag3.pick("blocknr", "flags", "blocknr_high", "checksum")
_COUNT = RevokeHeader.pick("count")
_COMMIT = CommitBlock.pick("checksum_type", "checksum_size", "checksum")
_MAGIC = struct.pack(">I", jl.MAGIC)

# An overlay's value is one number, since a large journal has a quarter of a million of them.
_SEQUENCE_SHIFT, _CHECKSUM_SHIFT, _ESCAPED, _CHECKED = 96, 64, 1 << 62, 1 << 63
_BLOCK_MASK = (1 << 48) - 1


class Overlay(dict[int, int]):
    """Block of the file system -> where in the log its content is, packed: block, escaped, checked, checksum, sequence."""

    def __init__(self, journal: Journal | None = None) -> None:
        super().__init__()
        self.journal = journal
        self.transactions = 0

    def content(self, number: int) -> bytes:
        """What block *number*, one of the keys, holds. EUCLEAN: its checksum is wrong."""
        packed = self[number]
        journal = self.journal
        assert journal is not None
        raw = journal.filesystem.storage.read((packed & _BLOCK_MASK) * journal.block_size, journal.block_size)
        if packed & _CHECKED:
            stored = packed >> _CHECKSUM_SHIFT & 0xFFFFFFFF
            computed = crc32c(crc32c(journal.seed, struct.pack(">I", packed >> _SEQUENCE_SHIFT)), raw)
            if stored != computed & (0xFFFFFFFF if journal.tag3 else 0xFFFF):
                raise damaged(f"journal: wrong checksum of block {number} in transaction {packed >> _SEQUENCE_SHIFT}")
        return _MAGIC + raw[4:] if packed & _ESCAPED else raw


class Tag(NamedTuple):
    """One block listed in a descriptor."""

    block: int
    checksum: int
    escaped: bool


class Journal:
    """The log of a file system. EUCLEAN: damaged; EOPNOTSUPP: a feature unknown, or the log is elsewhere."""

    def __init__(self, filesystem: Ext2Filesystem) -> None:
        self.filesystem = filesystem
        self.block_size = filesystem.block_size
        self._find()
        raw = self.read(0)
        s = self.superblock = JournalSuperblock.unpack(raw)
        if s.magic != jl.MAGIC or s.blocktype not in (jl.SUPERBLOCK_V1, jl.SUPERBLOCK_V2):
            raise damaged(f"journal: superblock with magic {s.magic:#010x}, type {s.blocktype}")
        if s.blocksize != self.block_size:
            raise damaged(f"journal: blocks of {s.blocksize} bytes, the file system's have {self.block_size}")
        second = s.blocktype == jl.SUPERBLOCK_V2
        self.compat = s.feature_compat if second else 0
        self.incompat = s.feature_incompat if second else 0
        unknown = self.incompat & ~sum(jl.INCOMPAT)
        if unknown:
            names = features.names(unknown, jl.INCOMPAT, "unknown incompatible feature")
            raise unsupported(f"journal: feature that is not supported: {', '.join(names)}")
        self.tag3 = bool(self.incompat & jl.INCOMPAT_CSUM_V3)
        self.checksums = bool(self.incompat & (jl.INCOMPAT_CSUM_V2 | jl.INCOMPAT_CSUM_V3))
        self.wide = bool(self.incompat & jl.INCOMPAT_64BIT)
        self.seed = crc32c(0xFFFFFFFF, s.uuid)
        if self.checksums:
            blank = raw[:0xFC] + bytes(4) + raw[0x100 : jl.SUPERBLOCK_SIZE]
            if crc32c(0xFFFFFFFF, blank) != s.checksum:
                raise damaged("journal: the superblock's checksum is wrong")
        fast = 0
        if self.incompat & jl.INCOMPAT_FAST_COMMIT:
            fast = s.num_fc_blocks or jl.DEFAULT_FAST_COMMIT_BLOCKS
        self.fast = bool(fast and s.start)
        # The log is [first, end); what follows it is the area of fast commits.
        self.first, self.end, self.maxlen = s.first, s.maxlen - fast, s.maxlen
        if s.maxlen > self.length or not 0 < s.first < self.end or (s.start and not s.first <= s.start < self.end):
            raise damaged(
                f"journal: {s.maxlen} blocks, log from {s.first} to {self.end}, begins at {s.start}; it has {self.length} blocks"
            )

    def _find(self) -> None:
        """Where the log's blocks are: the runs of the journal's inode."""
        superblock = self.filesystem.superblock
        if not superblock.journal_inum:
            name = layout.uuid_text(superblock.journal_uuid)
            raise unsupported(f"the journal is on another device (UUID {name}) and holds changes that are not in this image")
        node = self.filesystem.inode(superblock.journal_inum)
        if node.mode & 0o170000 != 0o100000:
            raise damaged(f"journal: inode {node.ino} is no file")
        self.length = min(node.size // self.block_size, node.map.limit)
        self.runs: list[Run] = []
        for run in node.map.runs(0, self.length):
            if run.fs_block is None:
                # A log has no holes: it ends before the first one.
                self.length = run.file_block
                break
            self.runs.append(run)
        if self.length < 2:
            raise damaged(f"journal: inode {node.ino} has {self.length} blocks")
        self._recent = self.runs[0]

    def place(self, log_block: int) -> int:
        """The block of the file system that a block of the log is."""
        run = self._recent
        if not run.file_block <= log_block < run.file_block + run.length:
            low, high = 0, len(self.runs)
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if self.runs[middle].file_block <= log_block else (low, middle)
            run = self._recent = self.runs[low]
        return (run.fs_block or 0) + log_block - run.file_block

    def read(self, log_block: int) -> bytes:
        """One block of the log."""
        return self.filesystem.storage.read(self.place(log_block) * self.block_size, self.block_size)

    def after(self, log_block: int, count: int = 1) -> int:
        """The block *count* further on in the ring."""
        log_block += count
        return log_block - (self.end - self.first) if log_block >= self.end else log_block

    # ---------------------------------------------------------------- replay

    def replay(self) -> Overlay:
        """The overlay of all committed transactions."""
        overlay = Overlay(self)
        position, self.sequence = self.superblock.start, self.superblock.sequence
        if not position:
            return overlay
        tags: list[tuple[Tag, int]] = []  # of the transaction in hand, with the block of the log
        revoked: set[int] = set()
        running = 0xFFFFFFFF  # the checksum of COMPAT_CHECKSUM over the transaction
        # Once around is all there can be.
        left = self.end - self.first
        while left > 0:
            raw = self.read(position)
            magic, kind, sequence = _HEADER.unpack_from(raw)
            if magic != jl.MAGIC or sequence != self.sequence:
                break
            position = self.after(position)
            left -= 1
            if kind == jl.DESCRIPTOR:
                if self.checksums and not self._tail_is_right(raw):
                    break
                if self.compat & jl.COMPAT_CHECKSUM:
                    running = crc32_be(running, raw)
                for tag in self.tags(raw):
                    tags.append((tag, position))
                    if self.compat & jl.COMPAT_CHECKSUM:
                        running = crc32_be(running, self.read(position))
                    position = self.after(position)
                    left -= 1
                    if left <= 0:
                        break
            elif kind == jl.REVOKE:
                if self.checksums and not self._tail_is_right(raw):
                    break
                revoked.update(self.revokes(raw))
            elif kind == jl.COMMIT:
                if not self._commit_is_right(raw, running):
                    break
                self._take(overlay, tags, revoked)
                tags, revoked, running = [], set(), 0xFFFFFFFF
                self.sequence = self.sequence + 1 & 0xFFFFFFFF
                overlay.transactions += 1
            else:
                break
        return overlay

    def _take(self, overlay: Overlay, tags: list[tuple[Tag, int]], revoked: set[int]) -> None:
        """Add a transaction. What it revokes is not to be written by it, nor by any before it."""
        limit = self.filesystem.blocks_count
        for tag, log_block in tags:
            if tag.block >= limit:
                raise damaged(f"journal: transaction {self.sequence} writes block {tag.block}, the file system has {limit}")
            packed = self.place(log_block) | (_ESCAPED if tag.escaped else 0)
            if self.checksums:
                packed |= _CHECKED | tag.checksum << _CHECKSUM_SHIFT | self.sequence << _SEQUENCE_SHIFT
            overlay[tag.block] = packed
        for block in revoked:
            overlay.pop(block, None)

    def tags(self, raw: bytes) -> list[Tag]:
        """The blocks that a descriptor block lists. `journal.rst`, "Descriptor Block"."""
        found = []
        position, end = jl.HEADER_SIZE, len(raw) - (jl.TAIL_SIZE if self.checksums else 0)
        # The 14 and 10 bytes of checksum v2 are a slip of its authors that became the format.
        size = 16 if self.tag3 else (12 if self.wide else 8) + (2 if self.incompat & jl.INCOMPAT_CSUM_V2 else 0)
        while position + size <= end:
            if self.tag3:
                block, flags, high, checksum = _TAG3.unpack_from(raw, position)
            else:
                block, checksum, flags = _TAG.unpack_from(raw, position)
                high = int.from_bytes(raw[position + 8 : position + 12], "big") if self.wide else 0
            if self.wide:
                block |= high << 32
            position += size
            if not flags & jl.TAG_SAME_UUID:
                position += jl.UUID_SIZE
            found.append(Tag(block, checksum, bool(flags & jl.TAG_ESCAPED)))
            if flags & jl.TAG_LAST:
                break
        return found

    def revokes(self, raw: bytes) -> list[int]:
        """The blocks that a revoke block lists. EUCLEAN."""
        form = jl.BLOCK_64 if self.wide else jl.BLOCK_32
        (count,) = _COUNT.unpack_from(raw)
        end = len(raw) - (jl.TAIL_SIZE if self.checksums else 0)
        if count > end:
            raise damaged(f"journal: revoke block with {count} bytes in use, of {end}")
        return [form.unpack_from(raw, position)[0] for position in range(jl.REVOKE_HEAD, count - form.size + 1, form.size)]

    # ---------------------------------------------------------------- checksums

    def _tail_is_right(self, raw: bytes) -> bool:
        stored = int.from_bytes(raw[-jl.TAIL_SIZE :], "big")
        return crc32c(self.seed, raw[: -jl.TAIL_SIZE] + bytes(4)) == stored

    def _commit_is_right(self, raw: bytes, running: int) -> bool:
        kind, size, stored = _COMMIT.unpack_from(raw)
        if self.checksums:
            blank = raw[: jl.COMMIT_CHECKSUM] + bytes(4) + raw[jl.COMMIT_CHECKSUM + 4 :]
            return crc32c(self.seed, blank) == int(stored)
        if self.compat & jl.COMPAT_CHECKSUM:
            # A commit of a kernel that does not write checksums has none.
            if kind == size == stored == 0:
                return True
            return bool(kind == jl.CHECKSUM_CRC32 and size == 4 and stored == running)
        return True


_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def crc32_be(seed: int, content: bytes) -> int:
    """The kernel's crc32_be: the common CRC-32 with the bits the other way round, and no inversion."""
    mirrored = int(f"{seed:032b}"[::-1], 2) ^ 0xFFFFFFFF
    return int(f"{zlib.crc32(content.translate(_REVERSED), mirrored) ^ 0xFFFFFFFF:032b}"[::-1], 2)
