"""The node: an inode's raw bytes, decoded when asked.

`inodes.rst`. What Linux refuses when it reads an inode (`__ext4_iget`) is refused here, when the node is made.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from vfs.api import Entry, Handle, Node, Stat, damaged, fail
from vfs.ext2 import directory, features, layout, xattr
from vfs.ext2.blockmap import BlockMap
from vfs.ext2.extents import ExtentMap
from vfs.ext2.fastcommit import EditedMap
from vfs.ext2.file import open_file, read_link
from vfs.ext2.indirect import IndirectMap
from vfs.ext2.layout import Inode

if TYPE_CHECKING:
    from vfs.ext2.volume import Ext2Filesystem

_HEAD = Inode.pick("mode", "size_lo", "links_count", "flags", "size_high", "extra_isize")
_REST = Inode.pick(
    "uid_lo",
    "atime",
    "ctime",
    "mtime",
    "gid_lo",
    "blocks_lo",
    "blocks_high",
    "uid_high",
    "gid_high",
    "ctime_extra",
    "mtime_extra",
    "atime_extra",
    "crtime",
    "crtime_extra",
)

# How far extra_isize must reach for a field to exist: its end, less the 128 bytes of the old inode.
_CTIME_EXTRA, _MTIME_EXTRA, _ATIME_EXTRA, _CRTIME, _CRTIME_EXTRA = 8, 12, 16, 20, 24

_BLOCKS = Inode.pick("blocks_lo", "blocks_high")
_ACL = Inode.pick("file_acl_lo", "file_acl_high")
_StatFields = tuple[int, int, int, int, int, int, int, int, int, int, int, int, int | None, int]

_PADDING = bytes(Inode.SIZE - layout.OLD_INODE_SIZE)
_TYPES = frozenset({stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK})

# i_flags -> STATX_ATTR_*: the same bits, but for these places.
_ATTRIBUTES = (
    layout.FL_COMPRESSED | layout.FL_IMMUTABLE | layout.FL_APPEND | layout.FL_NODUMP | layout.FL_ENCRYPTED | layout.FL_VERITY
)

# Those that make a size or a number of blocks something else than what is stored.
_ODD_FLAGS = layout.FL_HUGE_FILE | layout.FL_INLINE_DATA | layout.FL_ENCRYPTED


class Ext2Node(Node):
    """One inode. ESTALE: not in use; EUCLEAN: damaged."""

    __slots__ = ("_map", "_stat", "bare", "extra_isize", "flags", "links", "mode", "raw", "size")

    filesystem: Ext2Filesystem
    raw: bytes
    mode: int
    links: int
    flags: int
    size: int
    extra_isize: int

    def __init__(self, filesystem: Ext2Filesystem, ino: int, raw: bytes) -> None:
        self.filesystem = filesystem
        self.ino = ino
        if len(raw) == layout.OLD_INODE_SIZE:
            raw += _PADDING
        self.raw = raw
        self.mode, size, self.links, self.flags, size_high, extra = _HEAD.unpack_from(raw)
        kind = self.mode & 0o170000
        # Only files, and with large_dir others, have the high half: directories once had an ACL there.
        if size_high and (kind == 0o100000 or filesystem.large_dir):
            size |= size_high << 32
        self.size = size
        # A larger inode that claims no extra fields has them all, as Linux takes it, but then no attributes behind them.
        self.extra_isize = extra or filesystem.extra_isize
        if kind not in _TYPES or not self.links or extra & 3 or extra > filesystem.extra_limit or size >> 63:
            self._refuse(extra)
        self._map: BlockMap | None = None
        self._stat: _StatFields | None = None
        self.bare: bool | None = None
        """Whether there is no place at all where extended attributes could be; `None`: nobody has asked."""

    def _refuse(self, extra: int) -> None:
        """Say what is wrong with an inode just read."""
        if not self.links and not (self.ino == layout.BOOT_LOADER_INO and self.mode):
            fail(errno.ESTALE, f"inode {self.ino}: not in use")
        if self.mode & 0o170000 not in _TYPES:
            raise damaged(f"inode {self.ino}: file type {self.mode >> 12:#x} in its mode")
        if self.size >> 63:
            raise damaged(f"inode {self.ino}: size {self.size}, at most 2^63 - 1")
        limit = self.filesystem.extra_limit
        if extra & 3 or extra > limit:
            raise damaged(f"inode {self.ino}: extra_isize {extra}, at most {limit} and a multiple of 4")

    # ---------------------------------------------------------------- attributes

    def stat(self) -> Stat:
        fields = self._stat
        if fields is None:
            fields = self._stat = self._decode()
        return Stat(*fields)

    def _decode(self) -> _StatFields:
        (
            uid_lo,
            atime,
            ctime,
            mtime,
            gid_lo,
            blocks,
            blocks_high,
            uid_high,
            gid_high,
            ctime_extra,
            mtime_extra,
            atime_extra,
            crtime,
            crtime_extra,
        ) = _REST.unpack_from(self.raw)
        extra = self.extra_isize
        if extra < _CRTIME_EXTRA:
            # Some inodes of an image have shorter extra fields than others: what lies behind is not theirs.
            crtime_extra = 0
            atime_extra = atime_extra if extra >= _ATIME_EXTRA else 0
            mtime_extra = mtime_extra if extra >= _MTIME_EXTRA else 0
            ctime_extra = ctime_extra if extra >= _CTIME_EXTRA else 0
        flags, mode, size = self.flags, self.mode, self.size
        kind = mode & 0o170000
        if blocks_high or flags & _ODD_FLAGS:
            blocks = self.stored_blocks
            # Content inside the inode occupies no block, yet a file must not look like one hole: as Linux counts.
            if flags & layout.FL_INLINE_DATA and kind == 0o100000:
                blocks += (size + 511) // 512
            if flags & layout.FL_ENCRYPTED and kind == 0o120000:
                size = len(self.readlink())
        return (
            self.ino,
            mode,
            self.links,
            uid_high << 16 | uid_lo,
            gid_high << 16 | gid_lo,
            self._rdev() if kind == 0o020000 or kind == 0o060000 else 0,
            size,
            blocks,
            self.filesystem.block_size,
            # The extra field: 2 more bits of the signed seconds, then 30 of nanoseconds.
            (atime + ((atime_extra & 3) << 32)) * 1_000_000_000 + (atime_extra >> 2),
            (mtime + ((mtime_extra & 3) << 32)) * 1_000_000_000 + (mtime_extra >> 2),
            (ctime + ((ctime_extra & 3) << 32)) * 1_000_000_000 + (ctime_extra >> 2),
            (crtime + ((crtime_extra & 3) << 32)) * 1_000_000_000 + (crtime_extra >> 2) if extra >= _CRTIME else None,
            flags & _ATTRIBUTES,
        )

    def _rdev(self) -> int:
        """The device number: 16 bits in the first word, or the wider form in the second. `inodes.rst`, "i_block"."""
        old, new = int.from_bytes(self.block[:4], "little"), int.from_bytes(self.block[4:8], "little")
        if old:
            return os.makedev(old >> 8 & 0xFF, old & 0xFF)
        return os.makedev(new >> 8 & 0xFFF, new & 0xFF | new >> 12 & 0xFFF00)

    @property
    def acl_block(self) -> int:
        """The block of extended attributes, 0 for none. `inodes.rst`, "i_file_acl_lo"."""
        low: int
        high: int
        low, high = _ACL.unpack_from(self.raw)
        return low if self.filesystem.superblock.creator_os == layout.CREATOR_HURD else high << 32 | low

    @property
    def stored_blocks(self) -> int:
        """`i_blocks` as stored, without what is added for inline data; in units of 512 bytes."""
        blocks: int
        high: int
        blocks, high = _BLOCKS.unpack_from(self.raw)
        if self.filesystem.geometry.ro_compat & features.HUGE_FILE:
            blocks |= high << 32
            if self.flags & layout.FL_HUGE_FILE:
                blocks *= self.filesystem.block_size // 512
        return blocks

    @property
    def block(self) -> bytes:
        """The 60 bytes of `i_block`."""
        return self.raw[layout.BLOCK_OFFSET : layout.BLOCK_OFFSET + layout.BLOCK_SIZE]

    @property
    def map(self) -> BlockMap:
        """Where the content lies; of inodes whose content is not inline."""
        if self._map is None:
            below: BlockMap = ExtentMap(self) if self.flags & layout.FL_EXTENTS else IndirectMap(self)
            fast = self.filesystem.fast_commits
            edits = fast.edits.get(self.ino) if fast is not None else None
            self._map = EditedMap(below, edits) if edits is not None else below
        return self._map

    # ---------------------------------------------------------------- directories

    def lookup(self, name: bytes) -> Ext2Node:
        if self.mode & 0o170000 != stat.S_IFDIR:
            fail(errno.ENOTDIR)
        if len(name) > layout.NAME_MAX:
            fail(errno.ENAMETOOLONG)
        return self._entry_node(directory.find(self, name), name)

    def entries(self, start: int = 0) -> Iterator[Entry]:
        if self.mode & 0o170000 != stat.S_IFDIR:
            fail(errno.ENOTDIR)
        return directory.entries(self, start)

    def child(self, entry: Entry) -> Ext2Node:
        return self._entry_node(entry.ino, entry.name)

    def expect(self, entries: Sequence[Entry]) -> None:
        self.filesystem.expect([entry.ino for entry in entries])

    def _entry_node(self, ino: int, name: bytes) -> Ext2Node:
        try:
            return self.filesystem.node(ino)
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
        raise damaged(f"inode {self.ino}: entry {name!r} names inode {ino}, which is not in use")

    def parent(self) -> Ext2Node | None:
        if self.mode & 0o170000 != stat.S_IFDIR:
            return None
        node = self if self.ino == layout.ROOT_INO else self._entry_node(directory.parent(self), b"..")
        if node.mode & 0o170000 != stat.S_IFDIR:
            raise damaged(f"inode {self.ino}: its parent, inode {node.ino}, is no directory")
        return node

    # ---------------------------------------------------------------- content and attributes

    def readlink(self) -> bytes:
        if self.mode & 0o170000 != stat.S_IFLNK:
            fail(errno.EINVAL)
        return read_link(self)

    def open(self, flags: int = 0) -> Handle:
        kind = self.mode & 0o170000
        if kind == stat.S_IFDIR:
            fail(errno.EISDIR)
        if kind == stat.S_IFLNK:
            fail(errno.ELOOP)
        if kind != stat.S_IFREG:
            fail(errno.ENXIO)
        if flags & (os.O_ACCMODE | os.O_TRUNC):
            fail(errno.EROFS)
        return open_file(self)

    def getxattr(self, name: bytes) -> bytes:
        return xattr.get(self, name)

    def listxattr(self) -> list[bytes]:
        return xattr.names(self)
