"""The kernel's numbers and our nodes.

The kernel names an inode by a number that we choose when we first tell it of one (LOOKUP, READDIRPLUS), and uses it until it
says FORGET. We choose the inode number of the image, which is also what pyfuse3 shows as `st_ino`. Two numbers differ:

* the kernel calls the root 1 (FUSE_ROOT_ID), whatever its inode number is: 2 in ext2;
* an inode that is really number 1, and not the root, gets the number that the root left free. Its `st_ino` comes right
  with the attributes, which the kernel is made to ask for.

Where a module's numbers are stable, nothing at all is held for what the kernel knows: `Filesystem.node` gives any node
again, and FORGET is no news. A bounded number of nodes used last is kept, since asking again costs. Elsewhere each node is
held for as long as the kernel knows its number.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterable
from typing import Generic, TypeVar

from vfs.api.errors import fail
from vfs.api.filesystem import Filesystem
from vfs.api.node import Node

ROOT = 1
"""What the kernel calls the root (FUSE_ROOT_ID)."""

KEPT = 4096
"""Nodes kept of those used last: between this many and twice as many."""

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """The values used last, between *limit* and 2 × *limit* of them: two generations, the older dropped as a whole. Unlike a
    linked list this costs one dictionary access each, and is safe from several threads without a lock."""

    __slots__ = ("_limit", "_old", "_young")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._young: dict[int, Value] = {}
        self._old: dict[int, Value] = {}

    def get(self, number: int) -> Value | None:
        found = self._young.get(number)
        if found is None:
            found = self._old.get(number)
            if found is not None:
                self.put(number, found)
        return found

    def put(self, number: int, value: Value) -> None:
        if len(self._young) >= self._limit:
            self._old, self._young = self._young, {}
        self._young[number] = value

    def drop(self, number: int) -> None:
        self._young.pop(number, None)
        self._old.pop(number, None)


class Nodes:
    """The table of one mount. This class is for modules whose numbers are stable."""

    def __init__(self, filesystem: Filesystem) -> None:
        self._filesystem = filesystem
        self.root = filesystem.root
        self._recent: Recent[Node] = Recent(KEPT)
        self._removed: dict[int, Node] = {}
        """What has no name any more, and the kernel still knows: a file that is open, somebody's cwd."""

    def number(self, ino: int) -> int:
        """What the kernel calls inode *ino*. EUCLEAN: it cannot be told of (0 means "none" to it)."""
        if ino == self.root.ino:
            return ROOT
        if ino <= ROOT:
            if ino < ROOT:
                fail(errno.EUCLEAN, f"inode number {ino}")
            return self.root.ino
        return ino

    def ino(self, number: int) -> int:
        """The inode number of the kernel's *number*."""
        if number == ROOT:
            return self.root.ino
        return ROOT if number == self.root.ino else number

    def get(self, number: int) -> Node:
        """The node that the kernel calls *number*. ESTALE: there is none any more."""
        if number == ROOT:
            return self.root
        node = self._recent.get(number) or self._removed.get(number)
        if node is None:
            node = self._filesystem.node(self.ino(number))
            self._recent.put(number, node)
        return node

    def enter(self, number: int, node: Node) -> None:
        """The kernel is told of *node*, once more."""
        self._recent.put(number, node)

    def forget(self, forgotten: Iterable[tuple[int, int]]) -> None:
        """The kernel takes back (number, how often it was told)."""
        if self._removed:
            for number, _ in forgotten:
                self._removed.pop(number, None)

    def pin(self, node: Node) -> None:
        """A name of *node* was removed: hold it, if that was the last, until the kernel forgets it."""
        found = node.stat()
        if found.nlink == 0 or found.is_directory:
            self._recent.drop(self.number(node.ino))
            self._removed[self.number(node.ino)] = node


class HeldNodes(Nodes):
    """The table where numbers are not stable: holds each node for as long as the kernel knows it."""

    def __init__(self, filesystem: Filesystem) -> None:
        super().__init__(filesystem)
        self._lock = threading.Lock()
        self._held: dict[int, Node] = {}
        self._told: dict[int, int] = {}

    def get(self, number: int) -> Node:
        if number == ROOT:
            return self.root
        return self._held.get(number) or fail(errno.ESTALE)

    def enter(self, number: int, node: Node) -> None:
        if number == ROOT:
            return
        with self._lock:
            # The first object stays: it may hold what a second one of the same inode does not know.
            self._held.setdefault(number, node)
            self._told[number] = self._told.get(number, 0) + 1

    def pin(self, node: Node) -> None:
        """It is held anyway."""

    def forget(self, forgotten: Iterable[tuple[int, int]]) -> None:
        with self._lock:
            for number, times in forgotten:
                left = self._told.get(number, 0) - times
                if left > 0:
                    self._told[number] = left
                else:
                    self._told.pop(number, None)
                    self._held.pop(number, None)


def nodes_of(filesystem: Filesystem) -> Nodes:
    """The table that suits *filesystem*."""
    return Nodes(filesystem) if filesystem.stable_numbers else HeldNodes(filesystem)
