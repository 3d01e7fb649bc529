"""Dentry: a name of the view that leads to a virtual node.

The dentries of a mount form a tree that is kept by its leaves: who holds one (an open file, a cwd, the cache of names) holds all
above it, and those below are known as long as somebody holds them. So there is one dentry a name, and a rename moves it for all.
"""

from __future__ import annotations

import os
import stat
import weakref
from typing import TYPE_CHECKING

from vfs.api import Node, Stat

if TYPE_CHECKING:
    from vfs.view.mounts import Mount
    from vfs.view.placeholder import Placeholder

DIRECTORY, REGULAR, LINK = stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK


def is_proc(device: int) -> bool:
    """Whether a file system of the host is a /proc. (Each mount of it has its own device, and the numbers are used again.)"""
    if device < 0 or os.major(device):
        return False
    wanted = b"0:%d" % os.minor(device)
    with open("/proc/self/mountinfo", "rb") as lines:
        for line in lines:
            words = line.split()
            if words[2] == wanted:
                return words[words.index(b"-") + 1] == b"proc"
    return False


class Dentry:
    """One name of a virtual node, in one mount. *parent* is `None` for a mount's root; *kind* is the type in `st_mode`; *real*:
    it is a file of the host's, whose descriptor is handed to processes; *proc*: of the host's /proc, and means something else to
    every process; *removed*: the name is gone, the node is still held."""

    __slots__ = (
        "__weakref__",
        "children",
        "epoch",
        "host_device",
        "kind",
        "known_path",
        "mount",
        "name",
        "node",
        "packed_stat",
        "packed_statx",
        "parent",
        "proc",
        "real",
        "removed",
    )

    def __init__(self, mount: Mount, parent: Dentry | None, name: bytes, node: Node) -> None:
        self.mount, self.parent, self.name, self.node = mount, parent, name, node
        found = node.stat()
        self.kind = stat.S_IFMT(found.mode)
        self.real = found.real is not None
        self.host_device = found.real[0] if found.real is not None else -1
        same = parent is not None and parent.host_device == self.host_device
        self.proc: bool = parent.proc if parent is not None and same else is_proc(self.host_device)
        self.removed = False
        self.epoch = -1
        self.known_path = b""
        self.children: weakref.WeakValueDictionary[bytes, Dentry] | None = None
        # What stat(2) and statx(2) write, kept where nothing can change it.
        self.packed_stat: bytes | None = None
        self.packed_statx: bytes | None = None

    @property
    def path(self) -> bytes:
        """Where it is in the view; where it was, when it is removed."""
        epoch = self.mount.epoch
        if self.epoch == epoch:
            return self.known_path
        names: list[bytes] = []
        here = self
        while here.parent is not None and here.epoch != epoch:
            names.append(here.name)
            here = here.parent
        base = here.known_path if here.epoch == epoch else self.mount.target
        names.append(b"" if base == b"/" else base)
        self.known_path = b"/".join(reversed(names)) or b"/"
        self.epoch = epoch
        return self.known_path

    @property
    def shown_path(self) -> bytes:
        """As /proc/PID/fd shows it."""
        return self.path + b" (deleted)" if self.removed else self.path

    # ---------------------------------------------------------------- the tree

    def child(self, name: bytes, node: Node) -> Dentry:
        """The dentry of an entry that was just found to be *node*."""
        children = self.children
        if children is None:
            children = self.children = weakref.WeakValueDictionary()
        dentry = children.get(name)
        if dentry is None or (dentry.node is not node and dentry.node.ino != node.ino):
            if dentry is not None:
                dentry.removed = True  # replaced from outside
            dentry = children[name] = Dentry(self.mount, self, name, node)
        return dentry

    def known(self, name: bytes) -> Dentry | None:
        """The dentry of an entry, if somebody holds it."""
        return self.children.get(name) if self.children is not None else None

    def lose(self, name: bytes) -> Dentry | None:
        """An entry was removed, or another took its name: its dentry, if somebody holds it."""
        dentry = self.children.pop(name, None) if self.children is not None else None
        if dentry is not None:
            dentry.removed = True
        return dentry

    def take(self, dentry: Dentry | None, name: bytes) -> None:
        """An entry was moved here."""
        if dentry is None:
            return
        if self.children is None:
            self.children = weakref.WeakValueDictionary()
        self.children[name] = dentry
        dentry.parent, dentry.name, dentry.removed, dentry.epoch = self, name, False, -1

    def is_its_own_ancestor(self) -> bool:
        """Whether this directory is among those above it, as damaged images have it."""
        above = self.parent
        while above is not None:
            if above.node.ino == self.node.ino:
                return True
            above = above.parent
        return False

    @property
    def placeholder(self) -> Placeholder | None:
        """What stands for the inode in the processes that have it open, if anything does."""
        return self.mount.superblock.placeholders.get(self.node.ino)

    def stat(self) -> Stat:
        """As the node's, with what processes did to its memfd."""
        found = self.node.stat()
        if self.mount.owners is not None:
            self.mount.owners.tell(found)
            return found
        placeholder = self.placeholder
        if placeholder is None or placeholder.holder < 0 or self.kind != REGULAR or self.mount.constant:
            return found
        return placeholder.overlay(found.copy())


Place = Dentry | bytes
"""A directory or file of the view: virtual, or a canonical path of the host."""
