"""Dentry: a name of the view that leads to a virtual node."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from vfs.api import Node, Stat

if TYPE_CHECKING:
    from vfs.view.mounts import Mount

DIRECTORY, REGULAR, LINK = stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK


class Dentry:
    """One name of a virtual node, at one path of the view. *parent* is `None` for a mount's root; *kind* is the type in
    `st_mode`."""

    __slots__ = ("kind", "mount", "name", "node", "packed_stat", "packed_statx", "parent", "path")

    def __init__(self, mount: Mount, parent: Dentry | None, name: bytes, path: bytes, node: Node) -> None:
        self.mount, self.parent, self.name, self.path, self.node = mount, parent, name, path, node
        self.kind = stat.S_IFMT(node.stat().mode)
        # What stat(2) and statx(2) write, kept where nothing can change it.
        self.packed_stat: bytes | None = None
        self.packed_statx: bytes | None = None

    def is_its_own_ancestor(self) -> bool:
        """Whether this directory is among those above it, as damaged images have it."""
        above = self.parent
        while above is not None:
            if above.node.ino == self.node.ino:
                return True
            above = above.parent
        return False

    def stat(self) -> Stat:
        return self.node.stat()


Place = Dentry | bytes
"""A directory or file of the view: virtual, or a canonical path of the host."""
