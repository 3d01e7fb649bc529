"""Extended attributes: in the inode's body, and in one block. `attributes.rst`.

Both places hold entries from the front and values from the back. A value may be the content of an inode of its own (ea_inode).
Linux lists the body's first; `system.data`, where inline content is, is not listed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from vfs.api import damaged, fail
from vfs.api.acl import ACCESS, DEFAULT
from vfs.ext2 import acl, layout
from vfs.ext2.layout import XattrEntry, XattrHeader

if TYPE_CHECKING:
    from vfs.ext2.inode import Ext2Node

_ENTRY = XattrEntry.pick("name_len", "name_index", "value_offs", "value_inum", "value_size")
_HEADER = XattrHeader.pick("magic", "refcount", "blocks")
_ENTRY_HEAD = 16

# XattrEntry.name_index -> what the name begins with. 8 (richacl) and 9 (encryption) have no name to a program.
SYSTEM = 7
ACL_ACCESS, ACL_DEFAULT = 2, 3
PREFIXES = {1: b"user.", ACL_ACCESS: ACCESS, ACL_DEFAULT: DEFAULT, 4: b"trusted.", 6: b"security."}
_WHOLE = (ACL_ACCESS, ACL_DEFAULT)
MAX_VALUE = 1 << 24
"""EXT4_XATTR_SIZE_MAX."""

_NO_DATA = os.strerror(errno.ENODATA)


class Place(NamedTuple):
    """A list of entries: it begins at *first* of *raw*, value offsets count from *origin*; *where* is for sentences."""

    raw: bytes
    first: int
    origin: int
    where: str


class Attribute(NamedTuple):
    """One entry and where its value is. *kind* is its name_index."""

    kind: int
    name: bytes
    place: Place
    offset: int
    inum: int
    size: int


def names(node: Ext2Node) -> list[bytes]:
    """The names as listxattr(2) gives them to root, in Linux's order. EUCLEAN."""
    return [
        PREFIXES[attribute.kind] + attribute.name
        for attribute in _attributes(node)
        if attribute.kind in PREFIXES and not (attribute.kind in _WHOLE and attribute.name)
    ]


def get(node: Ext2Node, name: bytes) -> bytes:
    """The value as getxattr(2) gives it. ENODATA; EUCLEAN."""
    if node.bare is None:
        node.bare = _body(node) is None and not node.acl_block
    if node.bare:  # what `ls -l` asks of every file, twice, mostly ends here
        raise OSError(errno.ENODATA, _NO_DATA)
    for index, prefix in PREFIXES.items():
        if name.startswith(prefix):
            wanted = (index, name[len(prefix) :])
            for attribute in _attributes(node):
                if (attribute.kind, attribute.name) == wanted:
                    value = _value(node, attribute)
                    return acl.as_xattr(value, f"inode {node.ino}: ACL") if index in _WHOLE else value
            break
    fail(errno.ENODATA)


def inline_value(node: Ext2Node) -> bytes | None:
    """The value of `system.data` in the inode's body; `None`: there is none. EUCLEAN."""
    place = _body(node)
    for attribute in _entries(place) if place else ():
        if attribute.kind == SYSTEM and attribute.name == b"data":
            return _value(node, attribute)
    return None


# ---------------------------------------------------------------- where they are


def _attributes(node: Ext2Node) -> Iterator[Attribute]:
    place = _body(node)
    if place is not None:
        yield from _entries(place)
    number = node.acl_block
    if number:
        yield from _entries(_block(node, number))


def _body(node: Ext2Node) -> Place | None:
    """The list in the inode, behind its fields; `None`: there is none."""
    raw = node.raw
    start = layout.OLD_INODE_SIZE + node.extra_isize
    # An inode that claims no extra fields (see Ext2Node) has nothing behind them.
    if start + layout.XATTR_INODE_HEAD > node.filesystem.geometry.inode_size or raw[0x80:0x82] == b"\0\0":
        return None
    if int.from_bytes(raw[start : start + 4], "little") != layout.XATTR_MAGIC:
        return None
    first = start + layout.XATTR_INODE_HEAD
    return Place(raw, first, first, f"inode {node.ino}: attributes")


def _block(node: Ext2Node, number: int) -> Place:
    filesystem = node.filesystem
    if not filesystem.first_valid < number < filesystem.blocks_count:
        raise damaged(f"inode {node.ino}: attributes in block {number}, outside the file system of {filesystem.blocks_count}")
    raw = filesystem.block(number)
    magic, _, blocks = _HEADER.unpack_from(raw)
    if magic != layout.XATTR_MAGIC or blocks != 1:
        raise damaged(f"inode {node.ino}: attribute block {number} has magic {magic:#010x} and counts {blocks} blocks")
    return Place(raw, layout.XATTR_BLOCK_HEAD, 0, f"inode {node.ino}: attribute block {number}")


def _entries(place: Place) -> Iterator[Attribute]:
    """The entries of a list, each checked to lie inside with its name and value."""
    raw, position = place.raw, place.first
    end = len(raw)
    while raw[position : position + 4] != b"\0\0\0\0":
        if position + _ENTRY_HEAD > end:
            raise damaged(f"{place.where}: the list has no end")
        name_len, index, offset, inum, size = _ENTRY.unpack_from(raw, position)
        following = position + (_ENTRY_HEAD + name_len + 3 & ~3)
        if following + 4 > end:
            raise damaged(f"{place.where}: a name of {name_len} bytes reaches beyond the end")
        if size > MAX_VALUE or (not inum and size and place.origin + offset + size > end):
            raise damaged(f"{place.where}: a value of {size} bytes at {offset} reaches beyond the end")
        yield Attribute(index, raw[position + _ENTRY_HEAD : position + _ENTRY_HEAD + name_len], place, offset, inum, size)
        position = following


def _value(node: Ext2Node, attribute: Attribute) -> bytes:
    if not attribute.inum:
        start = attribute.place.origin + attribute.offset
        return attribute.place.raw[start : start + attribute.size]
    filesystem = node.filesystem
    where = f"{attribute.place.where}: value in inode {attribute.inum}"
    holder = filesystem.inode(attribute.inum)
    if not holder.flags & layout.FL_EA_INODE or not stat.S_ISREG(holder.mode):
        raise damaged(f"{where}, which is not one for values")
    if holder.size != attribute.size:
        raise damaged(f"{where}, which has {holder.size} bytes, not {attribute.size}")
    value = bytearray(attribute.size)
    holder.map.readinto(0, memoryview(value))
    return bytes(value)
