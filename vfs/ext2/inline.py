"""Inline data: content in the inode. `inlinedata.rst`.

The first 60 bytes are in `i_block`, the rest is the value of the attribute `system.data` in the inode's body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfs.api import damaged
from vfs.ext2 import layout, xattr

if TYPE_CHECKING:
    from vfs.ext2.inode import Ext2Node


def content(node: Ext2Node) -> bytes:
    """The content, as long as the size says. EUCLEAN: the inode holds less."""
    size = node.size
    if size <= layout.BLOCK_SIZE:
        return node.block[:size]
    found = node.block + rest(node)
    if size > len(found):
        raise damaged(f"inode {node.ino}: {size} bytes of inline data, the inode holds {len(found)}")
    return found[:size]


def rest(node: Ext2Node) -> bytes:
    """The part behind `i_block`: empty where there is none."""
    return xattr.inline_value(node) or b""
