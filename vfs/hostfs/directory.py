"""A directory: names, and the calls that change them.

Everything is a call on a descriptor of this directory with one name in it. What happens to a name is told to the node that
somebody holds of it: it moves, or, where its name goes, it takes a descriptor first.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import Final

from vfs.api import Entry, Node, acl, fail
from vfs.hostfs import linux
from vfs.hostfs.filesystem import Descriptor, unnamed
from vfs.hostfs.node import HostNode

EXCHANGE: Final = 2
"""RENAME_EXCHANGE."""

END: Final = (1 << 63) - 1024
"""The greatest cookie. ext4 says 2^63 - 1 after the last entry of a directory, and front ends must be able to add to cookies."""

NOT_NAMES: Final = frozenset({b"", b".", b".."})


def check_name(name: bytes) -> None:
    """It is one component, as the contract says; anything else would leave the directory. EINVAL."""
    if b"/" in name or b"\0" in name or name in NOT_NAMES:
        fail(errno.EINVAL, f"{name!r}: not the name of an entry")


class DirectoryNode(HostNode):
    """A directory of the host."""

    __slots__ = ()

    # ---------------------------------------------------------------- its descriptor

    def descriptor(self) -> Descriptor:
        """A descriptor of this directory (O_PATH), kept for the next call. ESTALE."""
        filesystem = self.filesystem
        if self.above is None:
            return filesystem.top
        kept = filesystem.kept(self.key) or self.held
        if kept is not None:
            return kept
        # Those above it first, from the topmost on that is not kept: a path may be deeper than what Python's stack holds.
        todo: list[DirectoryNode] = []
        node: DirectoryNode | None = self
        while node is not None and node.above is not None and not (node.held or filesystem.kept(node.key)):
            todo.append(node)
            node = node.above
        for node in reversed(todo):
            kept = node.reach()
            filesystem.keep(node.key, kept)
        return kept or self.descriptor()

    def check_mount(self, name: bytes) -> None:
        """EDEADLK: *name* is where a FUSE mount lies that may wait for us."""
        refused = self.filesystem.mounts.look()
        if refused and self.path().rstrip(b"/") + b"/" + name in refused:
            fail(errno.EDEADLK, "a FUSE mount made after this one: it may wait for us")

    # ---------------------------------------------------------------- reading

    @unnamed
    def lookup(self, name: bytes) -> HostNode:
        check_name(name)
        self.check_mount(name)
        directory = self.descriptor()
        return self._node(name, linux.statx(directory.fd, name))

    def _node(self, name: bytes, found: linux.Found) -> HostNode:
        """The node of what was found here."""
        filesystem = self.filesystem
        device, told = found
        key, kind = (device, told.ino), told.mode & 0o170000
        node: HostNode | None = filesystem.nodes.get(key)
        if node is None or node.kind != kind:
            node = filesystem.nodes[key] = (DirectoryNode if kind == stat.S_IFDIR else HostNode)(filesystem, found, self, name)
        elif node.above is not self or node.name != name or node.held is not None:
            with filesystem.lock:
                if not self._is_below(node):
                    node.moved(self, name)
        return node

    def _is_below(self, other: HostNode) -> bool:
        """Whether this is *other* or lies below it: a directory can be seen inside itself through a bind mount."""
        node: HostNode | None = self
        while node is not None and node is not other:
            node = node.above
        return node is not None

    @unnamed
    def entries(self, start: int = 0) -> Iterator[Entry]:
        if start >= END:
            return iter(())
        opened = self.reach(os.O_RDONLY | os.O_DIRECTORY)
        if start > 0:
            os.lseek(opened.fd, start, os.SEEK_SET)
        return self._entries(opened)

    def _entries(self, opened: Descriptor | None) -> Iterator[Entry]:
        number, device = self.filesystem.number, self.key[0]
        batch = linux.getdents(opened.fd) if opened is not None else []
        while batch:
            following = linux.getdents(opened.fd) if opened is not None else []
            if not following:
                opened = None  # so that a small directory, listed halfway and then left, keeps no descriptor
            for entry in batch:
                yield Entry(entry.name, number(device, entry.ino), entry.type, min(entry.next, END))
            batch = following

    def parent(self) -> HostNode:
        return self.above or self

    # ---------------------------------------------------------------- making

    def _check_new(self, name: bytes) -> None:
        """EINVAL, EROFS, and EEXIST before that."""
        check_name(name)
        if self.filesystem.read_only:
            directory = self.descriptor()
            try:
                linux.statx(directory.fd, name)
            except FileNotFoundError:
                fail(errno.EROFS)
            fail(errno.EEXIST)

    @unnamed
    def create(self, name: bytes, mode: int, rdev: int = 0, uid: int = 0, gid: int = 0) -> HostNode:
        self._check_new(name)
        with self.filesystem.lock:
            directory = self.descriptor()
            if stat.S_IFMT(mode) in (0, stat.S_IFREG):
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                made = Descriptor(os.open(name, flags, stat.S_IMODE(mode), dir_fd=directory.fd))
            else:
                os.mknod(name, mode, rdev, dir_fd=directory.fd)
                made = self._made(directory, name, mode)
            return self._finish(directory, name, made, mode, uid, gid)

    @unnamed
    def mkdir(self, name: bytes, mode: int, uid: int = 0, gid: int = 0) -> HostNode:
        self._check_new(name)
        with self.filesystem.lock:
            directory = self.descriptor()
            os.mkdir(name, stat.S_IMODE(mode), dir_fd=directory.fd)
            made = self._made(directory, name, stat.S_IFDIR)
            return self._finish(directory, name, made, stat.S_IFDIR | mode, uid, gid)

    @unnamed
    def symlink(self, name: bytes, target: bytes, uid: int = 0, gid: int = 0) -> HostNode:
        self._check_new(name)
        with self.filesystem.lock:
            directory = self.descriptor()
            os.symlink(target, name, dir_fd=directory.fd)
            made = self._made(directory, name, stat.S_IFLNK)
            return self._finish(directory, name, made, stat.S_IFLNK, uid, gid)

    @unnamed
    def temporary(self, mode: int, uid: int = 0, gid: int = 0) -> HostNode:
        self.check_writable()
        with self.filesystem.lock:
            directory = self.descriptor()
            made = Descriptor(os.open(b".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, stat.S_IMODE(mode), dir_fd=directory.fd))
            return self._finish(directory, b"", made, stat.S_IFREG | mode, uid, gid)

    def _made(self, directory: Descriptor, name: bytes, mode: int) -> Descriptor:
        """A descriptor of what was made a moment ago. ESTALE: that is another thing already."""
        made = Descriptor(os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory.fd))
        found = os.fstat(made.fd)
        if stat.S_IFMT(found.st_mode) != stat.S_IFMT(mode) or (found.st_nlink > 1 and not stat.S_ISDIR(mode)):
            fail(errno.ESTALE)
        return made

    def _finish(self, directory: Descriptor, name: bytes, made: Descriptor, mode: int, uid: int, gid: int) -> HostNode:
        """Give what was made its owner and its mode, which the process's umask has cut; its node."""
        filesystem = self.filesystem
        found = os.fstat(made.fd)
        # What is not ours now was swapped for ours by somebody, or the host gives owners by its own rule.
        if filesystem.owner == 0 == found.st_uid and (uid, gid) != (0, found.st_gid):
            keeps_group = os.fstat(directory.fd).st_mode & stat.S_ISGID
            try:
                os.chown(made.path, uid, -1 if keeps_group else gid)
            except OSError as error:
                # A user namespace does not have every owner.
                if error.errno not in (errno.EPERM, errno.EINVAL):
                    raise
            found = os.fstat(made.fd)
        if not stat.S_ISLNK(mode):
            wanted, given = stat.S_IMODE(mode), stat.S_IMODE(found.st_mode)
            if stat.S_ISDIR(mode):
                wanted |= given & stat.S_ISGID  # inherited
            if given != wanted and not _has_default_acl(directory):
                os.chmod(made.path, wanted)
        if name:
            return self._node(name, linux.statx(made.fd, linux.NOWHERE))
        node = HostNode(filesystem, linux.statx(made.fd, linux.NOWHERE), self, name)
        # Not the descriptor that can write: it would keep the file from being executed.
        node.held = Descriptor(os.open(made.path, os.O_PATH | os.O_CLOEXEC))
        filesystem.nodes[node.key] = node
        return node

    @unnamed
    def link(self, name: bytes, node: Node) -> None:
        if node.filesystem is not self.filesystem or not isinstance(node, HostNode):
            fail(errno.EXDEV)
        self._check_new(name)
        with self.filesystem.lock:
            directory, reached = self.descriptor(), node.reach()
            # With a directory's descriptor, Python calls linkat(2), which follows the name in /proc to the inode.
            os.link(reached.path, name, src_dir_fd=directory.fd, dst_dir_fd=directory.fd, follow_symlinks=True)
            if node.held is not None:
                node.moved(self, name)

    # ---------------------------------------------------------------- removing, renaming

    def _known(self, directory: Descriptor, name: bytes) -> HostNode | None:
        """The node that somebody holds of what has this name, if anybody does."""
        try:
            device, found = linux.statx(directory.fd, name)
        except OSError:
            return None
        node: HostNode | None = self.filesystem.nodes.get((device, found.ino))
        return node

    @unnamed
    def unlink(self, name: bytes) -> None:
        self._remove(name, is_directory=False)

    @unnamed
    def rmdir(self, name: bytes) -> None:
        self._remove(name, is_directory=True)

    def _remove(self, name: bytes, is_directory: bool) -> None:
        check_name(name)
        self.check_writable()
        with self.filesystem.lock:
            directory = self.descriptor()
            self.check_mount(name)
            known = self._known(directory, name)
            if known is not None and known.above is self and known.name == name:
                known.hold()
            (os.rmdir if is_directory else os.unlink)(name, dir_fd=directory.fd)

    @unnamed
    def rename(self, name: bytes, directory: Node, new_name: bytes, flags: int = 0) -> None:
        if directory.filesystem is not self.filesystem:
            fail(errno.EXDEV)
        if not isinstance(directory, DirectoryNode):
            fail(errno.ENOTDIR)
        check_name(name)
        check_name(new_name)
        self.check_writable()
        with self.filesystem.lock:
            origin, target = self.descriptor(), directory.descriptor()
            self.check_mount(name)
            directory.check_mount(new_name)
            moved, replaced = self._known(origin, name), directory._known(target, new_name)
            if replaced is not None and not flags & EXCHANGE:
                replaced.hold()
            linux.renameat2(origin.fd, name, target.fd, new_name, flags)
            if moved is replaced and moved is not None:
                return  # two names of one inode: nothing happens
            if moved is not None:
                moved.moved(directory, new_name)
            if replaced is not None and flags & EXCHANGE:
                replaced.moved(self, name)


def _has_default_acl(directory: Descriptor) -> bool:
    try:
        os.getxattr(directory.path, acl.DEFAULT)
    except OSError:
        return False
    return True
