"""Nodes become files of the host, below one directory and nowhere else.

The names and links in an image are a stranger's. So every host path is walked component by component from a descriptor of the
top directory, without following links (O_NOFOLLOW); names that are no names (`..`, with a slash) are refused; and nothing is
opened for writing that was not just created here, exclusively, under a temporary name. A finished file gets its own name by
rename(2): it is there whole or not at all, and what stood there before is replaced, not written through.

Order of attributes, since each undoes another: owner (clears set-uid), extended attributes (need write permission, an ACL
changes the mode), mode, times. A directory gets its own when all that is in it is there.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from vfs.api.closing import Closing
from vfs.api.devicetree import is_repeated
from vfs.api.errors import damaged, fail
from vfs.api.node import Node, Stat
from vfs.api.walk import Found, walk_tree
from vfs.cli.opening import Report
from vfs.cli.progress import Progress
from vfs.cli.transfer import to_file

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
ATTRIBUTES = "extended attributes not kept"


def check_name(name: bytes) -> None:
    """EUCLEAN: a name from an image that is more or less than one path component."""
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise damaged("a name that no file can have")


class _Unfinished(NamedTuple):
    """A directory whose content is being written: its host path, its path in the image, its depth below the start."""

    path: bytes
    source: bytes
    depth: int
    node: Node
    found: Stat


class HostTree(Closing):
    """Writes files below the directory *top* (a descriptor, owned from now on).

    *keep*: modes, times, hard links, and where the host permits owners and attributes, are those of the image; else new files
    are as the user would make them.
    """

    def __init__(self, top: int, keep: bool, report: Report, progress: Progress) -> None:
        self.keep, self.report, self.progress = keep, report, progress
        self._top = top
        self._here, self._here_path = os.dup(top), b""
        self._root = os.geteuid() == 0
        self._umask = os.umask(0)
        os.umask(self._umask)
        self._links: dict[
            tuple[int, int], tuple[bytes, int]
        ] = {}  # identity -> (host path of the first name, further names to come)
        self._prefix, self._temporaries = b".vfs-%s-" % os.urandom(6).hex().encode(), 0

    def close(self) -> None:
        for fd in (self._top, self._here):
            if fd >= 0:
                os.close(fd)
        self._top = self._here = -1

    # ------------------------------------------------------------------------------------------------------- trees

    def copy(self, source: bytes, node: Node, name: bytes) -> None:
        """*node*, which is at *source* in the image, becomes *name* in the top directory, with all below it."""
        with self.report.about(source):
            check_name(name)
            found = node.stat()
            if not found.is_directory:
                self._file(source, name, node, found)
            else:
                self._directory(name)
                self._below(source, node, _Unfinished(name, source, 0, node, found))

    def fill(self, source: bytes, node: Node, finish: bool) -> None:
        """What is in the directory *node* comes into the top directory itself, which gets its attributes if *finish*."""
        with self.report.about(source):
            self._below(source, node, _Unfinished(b"", source, 0, node, node.stat()) if finish else None)

    def _below(self, source: bytes, start: Node, first: _Unfinished | None) -> None:
        """All below the directory *start*."""
        base = first.path + b"/" if first and first.path else b""
        source = source.rstrip(b"/") + b"/"
        unfinished = [first] if first else []
        entered = False

        def enter(found: Found) -> bool:
            return entered

        for found in walk_tree(start, lambda path, error: self.report.failed(source + path, error), enter):
            while unfinished and unfinished[-1].depth >= found.depth:
                self._finish(unfinished.pop())
            entered = False
            if is_repeated(found.node):
                continue
            origin, path = source + found.path, base + found.path
            with self.report.about(origin):
                check_name(found.entry.name)
                attributes = found.node.stat()
                if attributes.is_directory:
                    self._directory(path)
                    entered = True
                    unfinished.append(_Unfinished(path, origin, found.depth, found.node, attributes))
                else:
                    self._file(origin, path, found.node, attributes)
        while unfinished:
            self._finish(unfinished.pop())

    def _directory(self, path: bytes) -> None:
        """Make a directory, or take the one that is there."""
        parent, name = self._enter(path)
        try:
            # Writable by us alone until all is in it; `_finish` gives it its own mode.
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                fail(errno.EEXIST, "something that is no directory is in its place")

    def _finish(self, directory: _Unfinished) -> None:
        with self.report.about(directory.source):
            self._attributes(directory.source, directory.node, directory.found, self._open(directory.path))

    def _enter(self, path: bytes) -> tuple[int, bytes]:
        """The descriptor of the directory that holds *path*, and the last component."""
        parent, _, name = path.rpartition(b"/")
        return self._open(parent), name

    def _open(self, path: bytes) -> int:
        """The descriptor of a directory that was made here, valid until the next call. Neighbours and children of the last one
        are reached from it; two descriptors are enough for any depth."""
        if path == self._here_path:
            return self._here
        if self._here_path and path.startswith(self._here_path + b"/"):
            fd, rest = os.dup(self._here), path[len(self._here_path) + 1 :]
        else:
            fd, rest = os.dup(self._top), path
        try:
            for name in rest.split(b"/") if rest else []:
                below = os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                os.close(fd)
                fd = below
        except OSError:
            os.close(fd)
            raise
        os.close(self._here)
        self._here, self._here_path = fd, path
        return fd

    # ------------------------------------------------------------------------------------------------------- files

    def _file(self, source: bytes, path: bytes, node: Node, found: Stat) -> None:
        """Anything but a directory."""
        self.progress.start(source)
        linked = self.keep and found.nlink > 1
        if linked and self._link(path, node.identity):
            return
        parent, name = self._enter(path)
        made = self._place(parent, name, lambda temporary: self._make(source, parent, temporary, node, found))
        if made and linked:
            self._links[node.identity] = (path, found.nlink - 1)

    def _place(self, parent: int, name: bytes, make: Callable[[bytes], bool]) -> bool:
        """Let *make* make a file under a temporary name in the directory *parent*, and give it its own; whether it was made."""
        self._temporaries += 1
        temporary = b"%s%d" % (self._prefix, self._temporaries)
        try:
            if not make(temporary):
                return False
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=parent)
            raise
        return True

    def _link(self, path: bytes, identity: tuple[int, int]) -> bool:
        """Make one more name of a file that was written before; whether that was possible."""
        first, remaining = self._links.pop(identity, (b"", 0))
        if not first:
            return False
        if remaining > 1:
            self._links[identity] = (first, remaining - 1)
        directory, _, first_name = first.rpartition(b"/")
        source = os.dup(self._open(directory))
        try:
            parent, name = self._enter(path)
            if _same(first_name, source, name, parent):  # rename(2) would leave the temporary name where it is
                return True

            def make(temporary: bytes) -> bool:
                os.link(first_name, temporary, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
                return True

            self._place(parent, name, make)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EMLINK, errno.EXDEV, errno.EOPNOTSUPP):
                raise
            self.report.lose("hard links written as files of their own")
            return False
        finally:
            os.close(source)
        return True

    def _make(self, source: bytes, parent: int, name: bytes, node: Node, found: Stat) -> bool:
        """Make the file called *name*, with attributes; false when it is left out, and counted."""
        kind = stat.S_IFMT(found.mode)
        if kind == stat.S_IFREG:
            self._regular(source, parent, name, node, found)
            return True
        if kind == stat.S_IFLNK:
            os.symlink(node.readlink(), name, dir_fd=parent)
        elif kind in (stat.S_IFIFO, stat.S_IFSOCK):
            os.mknod(name, kind | 0o600, dir_fd=parent)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            try:
                os.mknod(name, kind | 0o600, found.rdev, dir_fd=parent)
            except PermissionError:
                self.report.lose("devices left out, which only root can make")
                return False
        else:
            raise damaged(f"its type is none ({found.mode:#o})")
        self._attributes(source, node, found, parent, name)
        return True

    def _regular(self, source: bytes, parent: int, name: bytes, node: Node, found: Stat) -> None:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
        try:
            with node.open(os.O_RDONLY) as handle:
                to_file(handle, found, fd, self.progress.advance)
            self._attributes(source, node, found, fd)
        finally:
            os.close(fd)

    # -------------------------------------------------------------------------------------------------- attributes

    def _attributes(self, source: bytes, node: Node, found: Stat, fd: int, name: bytes | None = None) -> None:
        """Give the open file *fd* its attributes; with *name* the link or special file of that name in the directory *fd*."""
        mode = stat.S_IMODE(found.mode) if self.keep else found.mode & 0o777 & ~self._umask
        place: int | bytes = fd if name is None else name
        at: dict[str, Any] = {} if name is None else {"dir_fd": fd, "follow_symlinks": False}
        if self.keep:
            if not self._owner(place, found, at):
                mode &= ~(stat.S_ISUID | stat.S_ISGID)
            # There is no setxattrat(2) before Linux 6.13.
            self._xattrs(source, node, fd if name is None else b"/proc/self/fd/%d/%s" % (fd, name))
        if not found.is_symlink:
            os.chmod(place, mode, dir_fd=None if name is None else fd)
        if self.keep:
            os.utime(place, ns=(found.atime, found.mtime), **at)

    def _owner(self, place: int | bytes, found: Stat, at: dict[str, Any]) -> bool:
        """Give a file its owner; whether it has it now. Only root is expected to."""
        if not self._root:
            return (found.uid, found.gid) == (os.geteuid(), os.getegid())
        try:
            os.chown(place, found.uid, found.gid, **at)
        except OSError:
            self.report.lose("owners not kept")
            return False
        return True

    def _xattrs(self, source: bytes, node: Node, place: int | bytes) -> None:
        try:
            values = [(name, node.getxattr(name)) for name in node.listxattr()]
        except OSError as error:  # no reason to lose the file
            self.report.failed(source, error)
            return
        for name, value in values:
            try:
                os.setxattr(place, name, value, follow_symlinks=isinstance(place, int))
            except (OSError, ValueError):  # ValueError: a NUL in a name from a damaged image
                self.report.lose(ATTRIBUTES)


def _same(name: bytes, directory: int, other: bytes, other_directory: int) -> bool:
    """Whether both names, in their directories, are names of one file already."""
    try:
        there = os.stat(other, dir_fd=other_directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.stat(name, dir_fd=directory, follow_symlinks=False), there)
