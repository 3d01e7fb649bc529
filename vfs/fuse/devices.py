"""A device as a directory of files: `disk` for the whole, `p1`, `p2` … for its parts, numbered as their table numbers them;
`device` for a character device.

Inode 1 is the directory, inode N + 2 sub-device N. The files show what a device that can be written is at the moment: the kernel
keeps no names, sizes or content of it. A regular file has no BLKRRPART, but the table of parts is read again when a program
that has written to the whole closes it (`BlockHandle.flush`): what fdisk wrote is there when fdisk has ended.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator

from vfs.api.device import Device
from vfs.api.devicetree import part_name, part_number
from vfs.api.errors import fail
from vfs.api.filesystem import Filesystem, StatFs
from vfs.api.node import Change, Entry, Handle, Node, Stat

DIRECTORY = 1
FIRST = 2
WHOLE = 0
"""The sub-device that is the whole device."""
CHARACTER = b"device"
"""The name of a character device."""


class DeviceFiles(Filesystem):
    """The file system of one device, whose end it is too."""

    stable_numbers = True

    def __init__(self, device: Device) -> None:
        super().__init__()
        self.device = device
        self.type = device.type
        self.read_only = device.read_only
        self.blocking = device.blocking
        self.changes_outside = not device.read_only
        self.made = time.time_ns()

    @property
    def root(self) -> Node:
        return DeviceDirectory(self)

    def node(self, ino: int) -> Node:
        if ino == DIRECTORY:
            return self.root
        return DeviceFile(self, ino) if self.has(ino - FIRST) else fail(errno.ESTALE)

    def sub_devices(self) -> list[int]:
        """The numbers of the sub-devices that there are now."""
        return [WHOLE] if self.device.character else sorted(self.device.storages())

    def has(self, sub_device: int) -> bool:
        return sub_device == WHOLE if self.device.character else sub_device in self.device.storages()

    def name(self, sub_device: int) -> bytes:
        return CHARACTER if self.device.character else part_name(sub_device)

    def statfs(self) -> StatFs:
        size = 0 if self.device.character else self.device.storage(WHOLE).size
        files = len(self.sub_devices())
        return StatFs(type=0, block_size=512, blocks=size // 512, free=0, available=0, files=files, files_free=0)

    def sync(self) -> None:
        self.device.flush()

    def close(self) -> None:
        self.device.close()


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
        device = self.filesystem.device
        if not device.character:
            return DeviceFile(self.filesystem, FIRST + part_number(name, device))
        return DeviceFile(self.filesystem, FIRST) if name == CHARACTER else fail(errno.ENOENT)

    def entries(self, start: int = 0) -> Iterator[Entry]:
        for number in self.filesystem.sub_devices():
            ino = FIRST + number
            if ino > start:
                yield Entry(self.filesystem.name(number), ino, stat.S_IFREG >> 12, ino)

    def parent(self) -> Node | None:
        return self


class DeviceFile(Node):
    """One sub-device."""

    __slots__ = ()
    filesystem: DeviceFiles

    def stat(self) -> Stat:
        device, made = self.filesystem.device, self.filesystem.made
        found = Stat(self.ino, stat.S_IFREG | 0o600, uid=os.getuid(), gid=os.getgid())
        if device.character:
            read_only = device.read_only
        else:
            storage = device.storage(self.ino - FIRST)
            read_only = storage.read_only
            found.size, found.blocks = storage.size, -(-storage.size // 512)
        if read_only:
            found.mode = stat.S_IFREG | 0o400
        found.atime = found.mtime = found.ctime = made
        return found

    def open(self, flags: int = 0) -> Handle:
        return self.filesystem.device.open(self.ino - FIRST, flags)

    def set(self, change: Change) -> None:
        """A device keeps its size and owner. Emptying is what opening with O_TRUNC asks for: devices take no notice of it. Times
        are not kept."""
        if change.mode is not None or change.uid is not None or change.gid is not None:
            fail(errno.EPERM, "a device's owner and mode are fixed")
        if change.size and change.size != self.stat().size:
            fail(errno.EINVAL, "a device's size is fixed")
