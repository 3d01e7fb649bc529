"""A device as a directory of files: `disk` for the whole, `p1`, `p2` … for its parts, numbered as their table numbers them.

Inode 1 is the directory, inode N + 2 sub-device N. Made once at the mount: a table that changes later does not show.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator

from vfs.api.device import Device
from vfs.api.errors import fail
from vfs.api.filesystem import Filesystem, StatFs
from vfs.api.node import Entry, Extent, Handle, Node, Stat
from vfs.api.storage import Storage

DIRECTORY = 1
FIRST = 2


class DeviceFiles(Filesystem):
    """The file system of one device, whose end it is too."""

    stable_numbers = True

    def __init__(self, device: Device) -> None:
        super().__init__()
        self._device = device
        self.type = device.type
        self.made = time.time_ns()
        self.storages = {FIRST + number: storage for number, storage in sorted(device.storages().items())}
        self.names = {_name(ino - FIRST): ino for ino in self.storages}

    @property
    def root(self) -> Node:
        return DeviceDirectory(self)

    def node(self, ino: int) -> Node:
        if ino == DIRECTORY:
            return self.root
        if ino not in self.storages:
            fail(errno.ESTALE)
        return DeviceFile(self, ino)

    def statfs(self) -> StatFs:
        size = max((storage.size for storage in self.storages.values()), default=0)
        return StatFs(type=0, block_size=512, blocks=size // 512, free=0, available=0, files=len(self.storages), files_free=0)

    def close(self) -> None:
        self._device.close()


def _name(number: int) -> bytes:
    return b"p%d" % number if number else b"disk"


class DeviceDirectory(Node):
    """The root directory."""

    __slots__ = ()
    filesystem: DeviceFiles

    def __init__(self, filesystem: DeviceFiles) -> None:
        super().__init__(filesystem, DIRECTORY)

    def stat(self) -> Stat:
        made = self.filesystem.made
        return Stat(
            DIRECTORY, stat.S_IFDIR | 0o555, 2, uid=os.getuid(), gid=os.getgid(), atime=made, mtime=made, ctime=made, btime=made
        )

    def lookup(self, name: bytes) -> Node:
        ino = self.filesystem.names.get(name)
        return DeviceFile(self.filesystem, ino) if ino is not None else fail(errno.ENOENT)

    def entries(self, start: int = 0) -> Iterator[Entry]:
        for name, ino in self.filesystem.names.items():
            if ino > start:
                yield Entry(name, ino, stat.S_IFREG >> 12, ino)

    def parent(self) -> Node | None:
        return self


class DeviceFile(Node):
    """One sub-device."""

    __slots__ = ()
    filesystem: DeviceFiles

    @property
    def storage(self) -> Storage:
        return self.filesystem.storages[self.ino]

    def stat(self) -> Stat:
        storage, made = self.storage, self.filesystem.made
        found = Stat(self.ino, stat.S_IFREG | (0o400 if storage.read_only else 0o600), uid=os.getuid(), gid=os.getgid())
        found.size, found.blocks = storage.size, -(-storage.size // 512)
        found.atime = found.mtime = found.ctime = made
        return found

    def open(self, flags: int = 0) -> Handle:
        if flags & os.O_ACCMODE != os.O_RDONLY and self.filesystem.read_only:
            fail(errno.EROFS)
        return DeviceHandle(self)


class DeviceHandle(Handle):
    """A storage read as a file."""

    __slots__ = ()
    node: DeviceFile

    def size(self) -> int:
        return self.node.storage.size

    def readinto(self, offset: int, buffer: memoryview) -> int:
        return self.node.storage.readinto(offset, buffer)

    def extents(self, offset: int, length: int) -> list[Extent]:
        return self.node.storage.extents(offset, length)
