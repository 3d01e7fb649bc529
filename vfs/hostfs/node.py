"""One inode: where it is, what it is, and what is done to it.

A node is found again from a descriptor of its directory by its name. Where the name is gone (removed, or made without one) it
holds a descriptor of its own.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from vfs.api import Change, Node, Stat, fail
from vfs.hostfs import linux
from vfs.hostfs.file import HostHandle
from vfs.hostfs.filesystem import Descriptor, HostFilesystem, unnamed

if TYPE_CHECKING:
    from vfs.hostfs.directory import DirectoryNode

GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""What a call by name says when another inode, or none, has the name now."""

OPENED_WITH: Final = os.O_ACCMODE | os.O_APPEND | os.O_NOATIME | os.O_SYNC | os.O_DSYNC


class HostNode(Node):
    """One inode of the host. *key* is its device and number; *above* and *name* say where it was last; *held* is a descriptor of
    its own, where it has one."""

    __slots__ = ("__weakref__", "above", "held", "key", "kind", "name")

    filesystem: HostFilesystem
    above: DirectoryNode | None

    def __init__(self, filesystem: HostFilesystem, found: linux.Found, above: DirectoryNode | None, name: bytes) -> None:
        self.filesystem = filesystem
        device, told = found
        self.key = device, told.ino
        self.ino = told.ino if device == filesystem.device else filesystem.number(device, told.ino)
        self.kind = told.mode & 0o170000
        self.above = above
        self.name = name
        self.held: Descriptor | None = None

    # ---------------------------------------------------------------- finding it

    def place(self) -> tuple[Descriptor, bytes]:
        """From where, and by which name a call reaches it; the name is empty where the descriptor is the inode. EDEADLK."""
        held, above = self.held, self.above
        if held is not None:
            return held, linux.NOWHERE
        if above is None:
            return self.filesystem.top, linux.NOWHERE
        above.check_mount(self.name)
        return above.descriptor(), self.name

    def path(self) -> bytes:
        """From the root, with a leading `/`."""
        parts: list[bytes] = []
        name, above = self.name, self.above
        while above is not None:
            parts.append(name)
            name, above = above.name, above.above
        return b"/" + b"/".join(reversed(parts))

    def reach(self, flags: int = os.O_PATH) -> Descriptor:
        """A descriptor of it, opened with *flags*. ESTALE: it is not there any more."""
        directory, name = self.place()
        if not name:
            return directory if flags == os.O_PATH else Descriptor(os.open(directory.path, flags | os.O_CLOEXEC))
        try:
            # O_NONBLOCK: what has the name now may be a fifo.
            fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=directory.fd)
        except BlockingIOError:
            # Somebody has a lease on the file: wait for him, but for nothing else.
            reached = self.reach()
            return Descriptor(os.open(reached.path, flags | os.O_CLOEXEC))
        except OSError as error:
            if error.errno in GONE:
                fail(errno.ESTALE)
            raise
        opened = Descriptor(fd)
        found = os.fstat(fd)
        if (linux.device_of(found.st_dev), found.st_ino) != self.key:
            fail(errno.ESTALE)
        return opened

    def hold(self) -> None:
        """Its name is about to go: keep a descriptor. Best effort: what is gone already is no loss."""
        if self.held is None:
            try:
                self.held = self.reach()
            except OSError:
                pass

    def moved(self, above: DirectoryNode, name: bytes) -> None:
        """It was seen at this place."""
        self.above, self.name = above, name
        self.held = None

    # ---------------------------------------------------------------- reading

    @unnamed
    def stat(self) -> Stat:
        directory, name = self.place()
        try:
            device, found = linux.statx(directory.fd, name)
        except OSError as error:
            if error.errno in GONE:
                fail(errno.ESTALE)
            raise
        if (device, found.ino) != self.key:
            fail(errno.ESTALE)
        found.ino, found.real = self.ino, (os.makedev(device & 0xFFFFFFFF, device >> 32), self.key[1])
        return found

    @unnamed
    def host_path(self) -> bytes | None:
        reached = self.reach()
        path = os.readlink(reached.path)
        return None if path.endswith(b" (deleted)") else path

    @unnamed
    def readlink(self) -> bytes:
        if self.kind != stat.S_IFLNK:
            fail(errno.EINVAL)
        reached = self.reach()
        return os.readlink(b"", dir_fd=reached.fd)

    @unnamed
    def open(self, flags: int = 0) -> HostHandle:
        if self.kind != stat.S_IFREG:
            fail({stat.S_IFDIR: errno.EISDIR, stat.S_IFLNK: errno.ELOOP}.get(self.kind, errno.ENXIO))
        if self.filesystem.read_only and flags & (os.O_ACCMODE | os.O_TRUNC):
            fail(errno.EROFS)
        wanted = flags & OPENED_WITH
        if self.filesystem.noatime and not wanted & os.O_NOATIME:
            try:
                opened = self.reach(wanted | os.O_NOATIME)
            except PermissionError:  # it is not ours
                opened = self.reach(wanted)
        else:
            opened = self.reach(wanted)
        if flags & os.O_TRUNC:
            # Not by open(2): another inode might have had the name.
            if flags & os.O_ACCMODE:
                os.ftruncate(opened.fd, 0)
            else:
                os.truncate(opened.path, 0)
        return HostHandle(self, opened, flags)

    @unnamed
    def getxattr(self, name: bytes) -> bytes:
        reached = self.reach()
        return os.getxattr(reached.path, name)

    @unnamed
    def listxattr(self) -> list[bytes]:
        reached = self.reach()
        return [os.fsencode(name) for name in os.listxattr(reached.path)]

    # ---------------------------------------------------------------- changing

    def check_writable(self) -> None:
        """EROFS."""
        if self.filesystem.read_only:
            fail(errno.EROFS)

    @unnamed
    def set(self, change: Change) -> None:
        self.check_writable()
        if change.size is not None and self.kind != stat.S_IFREG:
            fail(errno.EISDIR if self.kind == stat.S_IFDIR else errno.EINVAL)
        with self.filesystem.lock:
            reached = self.reach()
            if change.size is not None:
                os.truncate(reached.path, change.size)
            # An owner takes set-user-ID bits away, and a mode gives them: in this order.
            if change.uid is not None or change.gid is not None:
                os.chown(reached.path, -1 if change.uid is None else change.uid, -1 if change.gid is None else change.gid)
            if change.mode is not None and self.kind != stat.S_IFLNK:
                os.chmod(reached.path, stat.S_IMODE(change.mode))
            if change.atime is not None or change.mtime is not None:
                linux.utimens(reached.path, change.atime, change.mtime)

    @unnamed
    def setxattr(self, name: bytes, value: bytes, flags: int = 0) -> None:
        self.check_writable()
        with self.filesystem.lock:
            reached = self.reach()
            os.setxattr(reached.path, name, value, flags)

    @unnamed
    def removexattr(self, name: bytes) -> None:
        self.check_writable()
        with self.filesystem.lock:
            reached = self.reach()
            os.removexattr(reached.path, name)
