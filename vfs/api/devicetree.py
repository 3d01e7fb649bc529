"""A device as a directory of files: `disk` for the whole, `p1`, `p2` … for its parts, numbered as their table numbers them.

A part that holds a file system is a directory: that file system's root, with its own nodes below (`node.filesystem` tells). It
is found out when the part is first asked for, and mounted, read-only, when somebody looks inside. Everything else, and the whole
always, is a file with the bytes.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Iterator

from vfs.api import registry
from vfs.api.device import Device, StorageHandle
from vfs.api.errors import damaged, fail
from vfs.api.filesystem import Filesystem, StatFs
from vfs.api.module import Module
from vfs.api.node import Entry, Handle, Node, Stat

WHOLE = b"disk"
DIRECTORY = 1
FIRST = 2
"""Inode 1 is the directory, inode 2 + N sub-device N."""


def part_name(number: int) -> bytes:
    """The name of a sub-device."""
    return b"p%d" % number if number else WHOLE


def part_number(name: bytes, device: Device) -> int:
    """The sub-device called *name*. ENOENT: none."""
    found = re.fullmatch(rb"p([1-9][0-9]{0,8})", name)
    number = int(found[1]) if found else 0
    if (found or name == WHOLE) and number in device.storages():
        return number
    return fail(errno.ENOENT)


def is_repeated(node: Node) -> bool:
    """Whether it is the whole of a device whose parts are there too: who takes a tree out wants each byte once."""
    return isinstance(node, PartFile) and node.ino == FIRST and len(node.filesystem.device.storages()) > 1


class DeviceTree(Filesystem):
    """The file system that shows a device, which stays open when it is closed."""

    stable_numbers = True

    def __init__(self, device: Device) -> None:
        super().__init__()
        self.device = device
        self.type = device.type
        self.made = time.time_ns()
        self._modules: dict[int, Module | None] = {}
        self._mounted: dict[int, Filesystem] = {}

    @property
    def root(self) -> Node:
        return TreeRoot(self, DIRECTORY)

    def node(self, ino: int) -> Node:
        """Of the directory, or of a sub-device."""
        if ino == DIRECTORY:
            return self.root
        number = ino - FIRST
        if number not in self.device.storages():
            fail(errno.ESTALE)
        return PartDirectory(self, ino) if number and self.content(number) is not None else PartFile(self, ino)

    def content(self, number: int) -> Module | None:
        """The module of the file system in a part; `None`: none is known."""
        with self.lock:
            if number not in self._modules:
                try:
                    self._modules[number] = registry.detect(self.device.storage(number), "filesystem")
                except OSError as error:
                    if error.errno != errno.EINVAL:
                        raise
                    self._modules[number] = None
            return self._modules[number]

    def parts(self) -> list[int]:
        """The numbers of the parts that hold a file system."""
        return [number for number in sorted(self.device.storages()) if number and self.content(number) is not None]

    def mounted(self, number: int) -> Filesystem:
        """The file system in a part. EUCLEAN, EOPNOTSUPP: as `Module.mount`; EBUSY."""
        with self.lock:
            if number not in self._mounted:
                module = self.content(number) or fail(errno.ENOTDIR)
                storage = self.device.hold(number)
                try:
                    found = module.mount(storage, module.options(ro=True))
                except BaseException:
                    storage.close()
                    raise
                if not isinstance(found, Filesystem):
                    found.close()
                    raise damaged(f"{module.name} is no file system")
                self._mounted[number] = found
            return self._mounted[number]

    def statfs(self) -> StatFs:
        storages = self.device.storages()
        blocks = storages[0].size // 512 if 0 in storages else 0
        return StatFs(type=0, block_size=512, blocks=blocks, free=0, available=0, files=len(storages), files_free=0)

    def close(self) -> None:
        with self.lock:
            for number in list(self._mounted):
                self._mounted.pop(number).close()


class TreeRoot(Node):
    """The directory."""

    __slots__ = ()
    filesystem: DeviceTree

    def stat(self) -> Stat:
        made = self.filesystem.made
        return Stat(DIRECTORY, stat.S_IFDIR | 0o555, 1, os.getuid(), os.getgid(), atime=made, mtime=made, ctime=made, btime=made)

    def lookup(self, name: bytes) -> Node:
        number = part_number(name, self.filesystem.device)
        found = self.filesystem.node(FIRST + number)
        if not isinstance(found, PartDirectory):
            return found
        try:
            return self.filesystem.mounted(number).root
        except OSError:
            return found  # it is there; who looks inside is told what is wrong

    def entries(self, start: int = 0) -> Iterator[Entry]:
        for number in sorted(self.filesystem.device.storages()):
            ino = FIRST + number
            if ino > start:
                directory = number and self.filesystem.content(number) is not None
                yield Entry(part_name(number), ino, (stat.S_IFDIR if directory else stat.S_IFREG) >> 12, ino)

    def parent(self) -> Node | None:
        return self


class PartDirectory(Node):
    """A part with a file system that cannot be mounted."""

    __slots__ = ()
    filesystem: DeviceTree

    def stat(self) -> Stat:
        made = self.filesystem.made
        return Stat(self.ino, stat.S_IFDIR | 0o555, 2, os.getuid(), os.getgid(), atime=made, mtime=made, ctime=made)

    def lookup(self, name: bytes) -> Node:
        return self._inside().lookup(name)

    def entries(self, start: int = 0) -> Iterator[Entry]:
        return self._inside().entries(start)

    def parent(self) -> Node | None:
        return self.filesystem.root

    def _inside(self) -> Node:
        return self.filesystem.mounted(self.ino - FIRST).root


class PartFile(Node):
    """The bytes of a sub-device."""

    __slots__ = ()
    filesystem: DeviceTree

    def stat(self) -> Stat:
        made = self.filesystem.made
        found = Stat(self.ino, stat.S_IFREG | 0o400, uid=os.getuid(), gid=os.getgid(), atime=made, mtime=made, ctime=made)
        found.size = self.filesystem.device.storage(self.ino - FIRST).size
        found.blocks = -(-found.size // 512)
        return found

    def open(self, flags: int = 0) -> Handle:
        if flags & (os.O_ACCMODE | os.O_TRUNC) != os.O_RDONLY:
            fail(errno.EROFS)
        return StorageHandle(self.filesystem.device.storage(self.ino - FIRST))
