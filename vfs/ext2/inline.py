"""Inline data: content in the inode. `inlinedata.rst`.

The first 60 bytes are in `i_block`, the rest is the value of the attribute `system.data` in the inode's body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfs.ext2 import xattr

if TYPE_CHECKING:
    from vfs.ext2.inode import Ext2Node


def content(node: Ext2Node) -> bytes:
    """The content as far as the inode holds it, at most as long as the size says."""
    held = node.block
    if node.size > len(held):
        held += rest(node)
    return held[: node.size]


def rest(node: Ext2Node) -> bytes:
    """The part behind `i_block`: empty where there is none. EUCLEAN: damaged attributes."""
    return xattr.inline_value(node) or b""
