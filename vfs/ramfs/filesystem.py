"""One mount: the table of inodes, and what is in use of what is allowed."""

from __future__ import annotations

import errno
import itertools
import sys
import weakref
from collections import deque
from typing import Final

from vfs.api import Filesystem, StatFs, fail
from vfs.ramfs.directory import RamDirectory
from vfs.ramfs.node import PAGE, RamNode

MAGIC: Final = 0x01021994
"""TMPFS_MAGIC of `include/uapi/linux/magic.h`: what programs take for a file system in memory."""

_mounts = itertools.count(1)


class RamFilesystem(Filesystem):
    """A file system in memory. *pages* and *inodes*: how many there may be, 0 for no limit."""

    type = "ramfs"
    stable_numbers = True

    def __init__(
        self,
        pages: int = 0,
        inodes: int = 0,
        mode: int = 0o1777,
        uid: int = 0,
        gid: int = 0,
        read_only: bool = False,
    ) -> None:
        super().__init__()
        self.read_only = read_only
        self.limit = pages or sys.maxsize
        self.inode_limit = inodes or sys.maxsize
        self.used = 0
        """Pages, less those in `released`."""
        self.released: deque[int] = deque()
        """Pages of inodes that are gone: they go at any moment in any thread, which must not wait for the lock."""
        self.numbers = itertools.count(1)
        self.nodes: dict[int, RamNode] = {}
        """Everything that has a name."""
        self.removed: dict[int, weakref.ref[RamNode]] = {}
        """What has none, but is held by somebody."""
        self._identity = next(_mounts)
        self._root = RamDirectory(self, mode, uid, gid)
        self._root.above = self._root
        self._root.nlink = 2
        self.nodes[self._root.ino] = self._root

    @property
    def root(self) -> RamDirectory:
        return self._root

    def node(self, ino: int) -> RamNode:
        node = self.nodes.get(ino)
        if node is None:
            reference = self.removed.get(ino)
            node = reference() if reference is not None else None
            if node is None:
                fail(errno.ESTALE, f"inode {ino}: removed")
        return node

    def free(self) -> int:
        """Pages that may still be taken. The lock is held."""
        while self.released:
            self.used -= self.released.popleft()
        return self.limit - self.used

    def check_inodes(self) -> None:
        """There is room for one inode more. ENOSPC."""
        if len(self.nodes) + len(self.removed) >= self.inode_limit:
            fail(errno.ENOSPC, f"ramfs: all {self.inode_limit} inodes are in use")

    def statfs(self) -> StatFs:
        with self.lock:
            free = max(0, self.free())
            inodes = len(self.nodes) + len(self.removed)
        # No limit is shown as tmpfs shows it: by zeros.
        blocks = 0 if self.limit == sys.maxsize else self.limit
        files = 0 if self.inode_limit == sys.maxsize else self.inode_limit
        room = free if blocks else 0
        return StatFs(MAGIC, PAGE, blocks, room, room, files, max(0, files - inodes), identity=self._identity)

    def details(self) -> dict[str, str | int]:
        found = self.statfs()
        return {
            "size": found.blocks * PAGE if found.blocks else "no limit",
            "free": found.free * PAGE if found.blocks else "no limit",
            "inodes": len(self.nodes),
        }

    def close(self) -> None:
        """Let everything go. Open handles keep what they need."""
        with self.lock:
            nodes = list(self.nodes.values())
            self.nodes.clear()
            for node in nodes:
                if isinstance(node, RamDirectory):
                    node.forget()
