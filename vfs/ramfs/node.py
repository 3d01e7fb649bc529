"""What every inode has: attributes, times, extended attributes. Special files and symbolic links are hardly more."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING, Any, Final, NoReturn

from vfs.api import Change, Node, Stat, acl, clock, fail
from vfs.ramfs import attributes

if TYPE_CHECKING:
    from vfs.ramfs.filesystem import RamFilesystem

PAGE: Final = 4096
DAY: Final = 86_400_000_000_000
"""In nanoseconds: an access time older than this is set anew (`relatime` of mount(8))."""

PERMISSIONS: Final = 0o7777
SHORT_LINK: Final = 128
"""Targets up to this length need no page (SHORT_SYMLINK_LEN of `mm/shmem.c`)."""


def _not_a_directory(*_: object, **__: object) -> NoReturn:
    fail(errno.ENOTDIR)


_refuse: Any = _not_a_directory


class RamNode(Node):
    """One inode; as it stands, a special file. There is one object of each inode, and it is the inode."""

    __slots__ = (
        "__weakref__",
        "atime",
        "attributes",
        "btime",
        "ctime",
        "gid",
        "mode",
        "mtime",
        "nlink",
        "pages",
        "rdev",
        "uid",
    )

    filesystem: RamFilesystem

    def __init__(self, filesystem: RamFilesystem, mode: int, uid: int, gid: int, rdev: int = 0) -> None:
        self.filesystem = filesystem
        self.ino = next(filesystem.numbers)
        self.mode = mode
        self.nlink = 1
        self.uid = uid
        self.gid = gid
        self.rdev = rdev
        self.atime = self.mtime = self.ctime = self.btime = clock.now()
        self.attributes: dict[bytes, bytes] | None = None
        self.pages = 0
        """What this inode has of the file system's pages."""

    def __del__(self) -> None:
        filesystem = self.filesystem
        filesystem.removed.pop(self.ino, None)
        if self.pages:
            filesystem.released.append(self.pages)

    # ---------------------------------------------------------------- attributes

    def stat(self) -> Stat:
        return Stat(
            self.ino,
            self.mode,
            self.nlink,
            self.uid,
            self.gid,
            self.rdev,
            self.length(),
            self.content_pages() * (PAGE // 512),
            PAGE,
            self.atime,
            self.mtime,
            self.ctime,
            self.btime,
        )

    def length(self) -> int:
        """The size in bytes."""
        return 0

    def content_pages(self) -> int:
        """Pages of content."""
        return 0

    def charge(self, pages: int) -> None:
        """Account for *pages* more of this inode (fewer, when negative). The lock is held."""
        self.pages += pages
        self.filesystem.used += pages

    def accessed(self) -> None:
        """It was read: set the access time where `relatime` does."""
        atime = self.atime
        if atime <= self.mtime or atime <= self.ctime or clock.now() - atime > DAY:
            filesystem = self.filesystem
            if not (filesystem.noatime or filesystem.read_only):
                self.atime = clock.now()

    def set(self, change: Change) -> None:
        filesystem = self.filesystem
        with filesystem.lock:
            if filesystem.read_only:
                fail(errno.EROFS)
            now = clock.now()
            if change.size is not None:
                self.resize(change.size)
                self.mtime = now
            if change.mode is not None:
                self.mode = stat.S_IFMT(self.mode) | change.mode & PERMISSIONS
                attributes.follow_mode(self)
            if change.uid is not None:
                self.uid = change.uid
            if change.gid is not None:
                self.gid = change.gid
            if change.atime is not None:
                self.atime = change.atime
            if change.mtime is not None:
                self.mtime = change.mtime
            self.ctime = now if change.ctime is None else change.ctime

    def resize(self, size: int) -> None:
        """Set the size. EISDIR, EINVAL: this is no file."""
        fail(errno.EISDIR if stat.S_ISDIR(self.mode) else errno.EINVAL)

    def inherit(self, directory: RamNode) -> None:
        """Take from the directory in which this is made: its group, its default ACL."""
        if directory.mode & stat.S_ISGID:
            self.gid = directory.gid
            if stat.S_ISDIR(self.mode):
                self.mode |= stat.S_ISGID
        if directory.attributes and acl.DEFAULT in directory.attributes:
            attributes.inherit(self, directory.attributes[acl.DEFAULT])

    # ---------------------------------------------------------------- extended attributes

    def getxattr(self, name: bytes) -> bytes:
        return attributes.get(self, name)

    def listxattr(self) -> list[bytes]:
        return list(self.attributes) if self.attributes else []

    def setxattr(self, name: bytes, value: bytes, flags: int = 0) -> None:
        with self.filesystem.lock:
            if self.filesystem.read_only:
                fail(errno.EROFS)
            attributes.put(self, name, bytes(value), flags)
            self.ctime = clock.now()

    def removexattr(self, name: bytes) -> None:
        with self.filesystem.lock:
            if self.filesystem.read_only:
                fail(errno.EROFS)
            attributes.remove(self, name)
            self.ctime = clock.now()

    # ---------------------------------------------------------------- what only directories do

    create = mkdir = symlink = link = temporary = unlink = rmdir = rename = _refuse


class RamLink(RamNode):
    """A symbolic link."""

    __slots__ = ("target",)

    def __init__(self, filesystem: RamFilesystem, target: bytes, uid: int, gid: int) -> None:
        super().__init__(filesystem, stat.S_IFLNK | 0o777, uid, gid)
        self.target = target
        if len(target) > SHORT_LINK:
            self.charge(1)

    def length(self) -> int:
        return len(self.target)

    def content_pages(self) -> int:
        return int(len(self.target) > SHORT_LINK)

    def readlink(self) -> bytes:
        self.accessed()
        return self.target

    def open(self, flags: int = 0) -> NoReturn:
        fail(errno.ELOOP)
