"""Walking: a path from a root node to a node, and whole trees, inside one mounted file system.

Nothing here leaves the root that it was given: `..` at the root stays there, an absolute link starts at it again. Where several
file systems are one tree (`vfs.api.devicetree`), links do not leave the one that they are in. The kernel and the view resolve
paths themselves; this is for the command line and the library.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

from vfs.api.errors import damaged, fail
from vfs.api.node import Entry, Node

MAX_LINKS = 40
"""Symbolic links followed in one path, as in Linux."""

MAX_DEPTH = 1024
"""Directories below one another in `walk_tree`: a path of them still fits PATH_MAX twice over."""


def resolve(root: Node, path: bytes, follow: bool = True) -> Node:
    """The node at *path* below *root*; with *follow* a final symbolic link is followed. ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG."""
    return locate(root, path, follow)[1]


def locate(root: Node, path: bytes, follow: bool = True) -> tuple[bytes, Node]:
    """As `resolve`, with the canonical path (no links, no `..`, `/` for the root) of what was found."""
    above: list[tuple[bytes, Node]] = []
    node, links = root, 0
    todo = path.split(b"/")[::-1]
    typed = len(todo)  # what is left of *path*; names above that come from links
    while todo:
        name = todo.pop()
        linked = len(todo) >= typed
        typed = min(typed, len(todo))
        if name in (b"", b"."):
            continue
        if name == b"..":
            if above and not (linked and node.filesystem is not above[-1][1].filesystem):
                node = above.pop()[1]
            continue
        child = node.lookup(name)
        found = child.stat()
        if found.is_symlink and (todo or follow):
            links += 1
            if links > MAX_LINKS:
                fail(errno.ELOOP)
            target = child.readlink()
            if not target:
                fail(errno.ENOENT)
            if target.startswith(b"/"):
                while above and above[-1][1].filesystem is node.filesystem:
                    node = above.pop()[1]
            todo += target.split(b"/")[::-1]
            continue
        if todo and not found.is_directory:
            fail(errno.ENOTDIR)
        above.append((name, node))
        node = child
    return b"/" + b"/".join(name for name, _ in above), node


class Found(NamedTuple):
    """One entry met by `walk_tree`: *path* relative to the start (empty for the start itself), *depth* below it."""

    path: bytes
    node: Node
    entry: Entry
    depth: int


def walk_tree(
    start: Node,
    on_error: Callable[[bytes, OSError], None],
    enter: Callable[[Found], bool] = lambda found: True,
) -> Iterator[Found]:
    """The tree below *start*, directories before their content, in stored order, iteratively.

    *on_error* is told of what cannot be read (path, error), and the walk goes on; *enter* decides whether a directory is entered.
    A directory that contains itself, as hostile images have it, is an error and not an endless walk; so is one that is met by
    two names, since no file system links directories twice.
    """
    seen = {start.identity}
    stack: list[tuple[bytes, Node, Iterator[Entry]]] = [(b"", start, iter(start.entries()))]
    while stack:
        path, directory, entries = stack[-1]
        try:
            entry = next(entries, None)
        except OSError as error:
            on_error(path, error)
            entry = None
        if entry is None:
            stack.pop()
            continue
        where = path + b"/" + entry.name if path else entry.name
        try:
            node = directory.child(entry)
            is_directory = entry.type == stat.S_IFDIR >> 12 if entry.type else node.stat().is_directory
        except OSError as error:
            on_error(where, error)
            continue
        found = Found(where, node, entry, len(stack))
        yield found
        if not is_directory or not enter(found):
            continue
        if node.identity in seen:
            on_error(where, damaged(f"directory inode {node.ino} has two names or contains itself"))
        elif len(stack) >= MAX_DEPTH:
            on_error(where, damaged(f"directories nest deeper than {MAX_DEPTH}"))
        else:
            seen.add(node.identity)
            try:
                stack.append((where, node, iter(node.entries())))
            except OSError as error:
                on_error(where, error)
