"""Fast commits: what the journal holds behind its log. Linux, `fs/ext4/fast_commit.h`; `journal.rst`, "Fast Commits".

After a whole commit Linux may note single changes as tags: an inode's new content, a range of a file that was mapped or
unmapped, a name that came or went. They count when their checksum is right and they follow the last transaction of the log.
To replay them on disk one must allocate and split; to *read* it is enough to know them: inodes that are replaced, edits of
block maps, names added to directories or hidden in them. All of it is at most as long as the area, some hundred blocks.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from vfs.api import Entry
from vfs.api.crc32c import crc32c
from vfs.ext2 import layout
from vfs.ext2.blockmap import BlockMap, Run, Toll
from vfs.ext2.extents import FILE_BLOCKS
from vfs.ext2.layout import Extent, Inode

if TYPE_CHECKING:
    from vfs.ext2.inode import Ext2Node
    from vfs.ext2.journal import Journal
    from vfs.ext2.volume import Ext2Filesystem

ADD_RANGE, DEL_RANGE, CREAT, LINK, UNLINK, INODE, PAD, TAIL, HEAD = range(1, 10)

_TAG = struct.Struct("<HH")  # tag, length of what follows
_HEAD = struct.Struct("<II")  # features, transaction
_TAIL = struct.Struct("<II")  # transaction, checksum
_INO = struct.Struct("<I")
_NAME = struct.Struct("<II")  # directory, inode; the name follows
_UNMAPPED = struct.Struct("<III")  # inode, first file block, length
_EXTENT = Extent.pick("file_block", "length", "start_hi", "start_lo")
_LINKS = Inode.pick("mode", "links_count")
_FLAGS = Inode.pick("flags")
_GENERATION = Inode.FIELDS["generation"].offset
_LINKS_OFFSET = Inode.FIELDS["links_count"].offset
_EMPTY_ROOT = struct.pack("<HHHHI", layout.EXTENT_MAGIC, 0, 4, 0, 0).ljust(layout.BLOCK_SIZE, b"\0")

_LEAST = {ADD_RANGE: 16, DEL_RANGE: _UNMAPPED.size, CREAT: 9, LINK: 9, UNLINK: 9, INODE: 4 + layout.OLD_INODE_SIZE, PAD: 0}
"""The tags that say something, and how long they are at least."""


class Tag(NamedTuple):
    kind: int
    value: bytes


class Edits:
    """Changes of one block map: disjoint sorted pieces, each mapped to blocks or, with `None`, to nothing."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.pieces: list[tuple[int, int | None]] = []  # end, first block

    def put(self, start: int, end: int, block: int | None) -> None:
        """Map *start* to *end*; what was said of it before is void."""
        low = max(0, bisect_right(self.starts, start) - 1)
        high = bisect_left(self.starts, end)
        kept = []
        for at, (stop, first) in zip(self.starts[low:high], self.pieces[low:high], strict=True):
            if at < start:
                kept.append((at, min(stop, start), first))
            if stop > end:
                kept.append((max(at, end), stop, None if first is None else first + max(at, end) - at))
        kept = sorted([*[piece for piece in kept if piece[0] < piece[1]], (start, end, block)], key=lambda piece: piece[0])
        self.starts[low:high] = [piece[0] for piece in kept]
        self.pieces[low:high] = [(piece[1], piece[2]) for piece in kept]

    def within(self, first: int, end: int) -> Iterator[tuple[int, int, int | None]]:
        """The pieces that touch a range."""
        for index in range(max(0, bisect_right(self.starts, first) - 1), bisect_left(self.starts, end)):
            stop, block = self.pieces[index]
            if stop > first:
                yield self.starts[index], stop, block


class EditedMap(BlockMap):
    """A block map with edits laid over it."""

    __slots__ = ("below", "edits", "limit")

    def __init__(self, below: BlockMap, edits: Edits) -> None:
        super().__init__(below.node)
        self.below, self.edits, self.limit = below, edits, below.limit

    def mapped(self, first: int, end: int, toll: Toll) -> Iterator[Run]:
        position = first
        for start, stop, block in self.edits.within(first, end):
            start, stop, whole = max(start, first), min(stop, end), start
            if position < start:
                yield from self.below.mapped(position, start, toll)
            if block is not None:
                self.check(start, block + start - whole, stop - start)
                toll.pay(stop - start)
                yield Run(start, block + start - whole, stop - start)
            position = stop
        if position < end:
            yield from self.below.mapped(position, end, toll)


class Names:
    """Changes of one directory. *parent*: it is new, so that nothing of what its blocks hold is its own."""

    __slots__ = ("changed", "parent")

    def __init__(self) -> None:
        self.parent = 0
        self.changed: dict[bytes, int] = {}  # 0: gone

    def listed(self, node: Ext2Node, below: Iterator[Entry], start: int) -> Iterator[Entry]:
        """A directory's entries: those *below* that are still its own, then the new ones, whose cookies go on behind its end."""
        problem: OSError | None = None
        if not self.parent and start <= node.size:
            try:
                for entry in below:
                    if entry.name not in self.changed:
                        yield entry
            except OSError as error:  # After all that could be read: ours come before it.
                problem = error
        for number, (name, ino) in enumerate(self.changed.items(), node.size + 1):
            if ino and number > start:
                yield Entry(name, ino, _kind(node.filesystem, ino), number)
        if problem is not None:
            raise problem


def _kind(filesystem: Ext2Filesystem, ino: int) -> int:
    try:
        return filesystem.inode(ino).mode >> 12
    except OSError:
        return 0


class FastCommits:
    """All that the fast commits change, by inode number."""

    def __init__(self, filesystem: Ext2Filesystem) -> None:
        self.filesystem = filesystem
        self.inodes: dict[int, bytes] = {}
        self.edits: dict[int, Edits] = {}
        self.names: dict[int, Names] = {}
        self.count = 0

    def apply(self, tag: Tag) -> None:
        """Note one tag. What names an inode that cannot be is left out, as Linux does."""
        kind, value = tag
        if kind == INODE:
            self._inode(_INO.unpack_from(value)[0], value[_INO.size :])
        elif kind == ADD_RANGE:
            start, length, high, low = _EXTENT.unpack_from(value, _INO.size)
            unwritten = length > layout.EXTENT_MAX_LENGTH
            length -= layout.EXTENT_MAX_LENGTH if unwritten else 0
            self._map(_INO.unpack_from(value)[0], start, length, None if unwritten else high << 32 | low)
        elif kind == DEL_RANGE:
            ino, start, length = _UNMAPPED.unpack_from(value)
            self._map(ino, start, length, None)
        elif kind in (CREAT, LINK, UNLINK):
            parent, ino = _NAME.unpack_from(value)
            self._name(kind, parent, ino, value[_NAME.size :])

    def _raw(self, ino: int) -> bytes | None:
        try:
            return self.inodes.get(ino) or self.filesystem.raw_inode(ino)
        except OSError:
            return None

    def _inode(self, ino: int, content: bytes) -> None:
        """An inode's new content; but the block map stays, for that changes by ranges."""
        old = self._raw(ino)
        if old is None:
            return
        block = content[layout.BLOCK_OFFSET : layout.BLOCK_OFFSET + layout.BLOCK_SIZE]
        (flags,) = _FLAGS.unpack_from(content)
        if flags & layout.FL_EXTENTS and not flags & layout.FL_INLINE_DATA:
            block = old[layout.BLOCK_OFFSET : layout.BLOCK_OFFSET + layout.BLOCK_SIZE]
            if int.from_bytes(block[:2], "little") != layout.EXTENT_MAGIC:
                block = _EMPTY_ROOT
        content = content[: layout.BLOCK_OFFSET] + block + content[_GENERATION:]
        self.inodes[ino] = (content + old[len(content) :])[: len(old)]

    def _map(self, ino: int, start: int, length: int, block: int | None) -> None:
        if length:
            self.edits.setdefault(ino, Edits()).put(start, min(start + length, FILE_BLOCKS), block)

    def _name(self, kind: int, parent: int, ino: int, name: bytes) -> None:
        raw = self._raw(ino)
        if raw is None or name in (b".", b"..") or b"/" in name or b"\0" in name or len(name) > layout.NAME_MAX:
            return
        names = self.names.setdefault(parent, Names())
        mode, links = _LINKS.unpack_from(raw)
        is_directory = mode & 0o170000 == 0o040000
        if kind == UNLINK:
            names.changed[name] = 0
            # The inode's own tag follows where it lives on; where it does not, nobody asks.
            self._links(ino, raw, max(0, links - 1))
        else:
            names.changed[name] = ino
            if kind == LINK:
                self._links(ino, raw, links + 1)
        if is_directory and kind == CREAT:
            self.names.setdefault(ino, Names()).parent = parent
        if is_directory and kind != LINK:
            above = self._raw(parent)
            if above is not None:
                self._links(parent, above, max(0, _LINKS.unpack_from(above)[1] + (1 if kind == CREAT else -1)))

    def _links(self, ino: int, raw: bytes, links: int) -> None:
        self.inodes[ino] = raw[:_LINKS_OFFSET] + min(links, 0xFFFF).to_bytes(2, "little") + raw[_LINKS_OFFSET + 2 :]


def _tags(journal: Journal) -> Iterator[tuple[Tag, bytes]]:
    """The tags of the area in order, with their bytes; those that cannot be end it."""
    for log_block in range(journal.end + 1, min(journal.maxlen, journal.length)):
        raw = journal.read(log_block)
        position = 0
        while position + _TAG.size <= len(raw):
            kind, length = _TAG.unpack_from(raw, position)
            end = position + _TAG.size + length
            if end > len(raw) or not ADD_RANGE <= kind <= HEAD:
                return
            yield Tag(kind, raw[position + _TAG.size : end]), raw[position:end]
            position = end


def replay(journal: Journal) -> FastCommits | None:
    """What the fast commits behind transaction `journal.sequence` change; `None`: there are none."""
    found = FastCommits(journal.filesystem)
    waiting: list[Tag] = []
    checksum = 0
    for tag, raw in _tags(journal):
        if tag.kind == HEAD:
            if len(tag.value) < _HEAD.size:
                break
            known, transaction = _HEAD.unpack_from(tag.value)
            if known or transaction != journal.sequence:
                break
        elif tag.kind == TAIL:
            if len(tag.value) < _TAIL.size:
                break
            transaction, stored = _TAIL.unpack_from(tag.value)
            checksum = crc32c(checksum, raw[: _TAG.size + 4])
            if transaction != journal.sequence or stored != checksum:
                break
            for each in waiting:
                found.apply(each)
            found.count += 1
            waiting, checksum = [], 0
            continue
        elif len(tag.value) < _LEAST[tag.kind]:
            break
        else:
            waiting.append(tag)
        checksum = crc32c(checksum, raw)
    return found if found.count else None
