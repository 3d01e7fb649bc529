"""What /sys tells of a view's block devices: lsblk, parted and libblkid look there for names, sizes and partitions.

A small read-only tree is made of each device, in the places where the kernel has it, and made anew when its partitions are
others. Source: Linux, Documentation/ABI/stable/sysfs-block; only what stock tools ask for.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import Any, Final

from vfs.api import Entry, Filesystem, Handle, Node, Stat, StatFs, Storage, fail
from vfs.api.blockhandle import READ_AHEAD, SECTOR, disk_sequence
from vfs.api.device import sub_device_name
from vfs.view.devices import DeviceNodes

SYSFS_MAGIC: Final = 0x62656572
PAGE: Final = 4096
BLOCK, BY_NUMBER, BY_NAME = b"/sys/devices/virtual/block", b"/sys/dev/block", b"/sys/block"


class Told(Filesystem):
    """A tree of texts. *tree*: a directory as a dict of names, a file as bytes, a symbolic link as `str`."""

    type = "sysfs"
    stable_numbers = True

    def __init__(self, tree: Any, made: int) -> None:
        super().__init__()
        self.made = made
        self.nodes: list[Any] = []
        self.numbers: dict[int, int] = {}
        self._number(tree)

    def _number(self, node: Any) -> None:
        self.nodes.append(node)
        self.numbers[id(node)] = len(self.nodes)
        for below in node.values() if isinstance(node, dict) else ():
            self._number(below)

    @property
    def root(self) -> Node:
        return ToldNode(self, 1)

    def node(self, ino: int) -> Node:
        return ToldNode(self, ino) if 0 < ino <= len(self.nodes) else fail(errno.ESTALE)

    def statfs(self) -> StatFs:
        return StatFs(type=SYSFS_MAGIC, block_size=PAGE, blocks=0, free=0, available=0, files=0, files_free=0)


class ToldNode(Node):
    __slots__ = ()
    filesystem: Told

    @property
    def content(self) -> Any:
        return self.filesystem.nodes[self.ino - 1]

    def stat(self) -> Stat:
        content, made = self.content, self.filesystem.made
        found = Stat(self.ino, stat.S_IFREG | 0o444, size=PAGE, atime=made, mtime=made, ctime=made)
        if isinstance(content, dict):
            found.mode, found.size = stat.S_IFDIR | 0o755, 0
            found.nlink = 2 + sum(isinstance(below, dict) for below in content.values())
        elif isinstance(content, str):
            found.mode, found.size = stat.S_IFLNK | 0o777, 0
        return found

    def lookup(self, name: bytes) -> Node:
        content = self.content
        if not isinstance(content, dict):
            fail(errno.ENOTDIR)
        below = content.get(name)
        return fail(errno.ENOENT) if below is None else ToldNode(self.filesystem, self.filesystem.numbers[id(below)])

    def entries(self, start: int = 0) -> Iterator[Entry]:
        content = self.content
        if not isinstance(content, dict):
            fail(errno.ENOTDIR)
        for at, (name, below) in enumerate(content.items(), 1):
            if at > start:
                kind = stat.S_IFDIR if isinstance(below, dict) else stat.S_IFLNK if isinstance(below, str) else stat.S_IFREG
                yield Entry(name, self.filesystem.numbers[id(below)], kind >> 12, at)

    def readlink(self) -> bytes:
        content = self.content
        return os.fsencode(content) if isinstance(content, str) else fail(errno.EINVAL)

    def open(self, flags: int = 0) -> Handle:
        content = self.content
        if isinstance(content, dict):
            fail(errno.EISDIR)
        if flags & os.O_ACCMODE != os.O_RDONLY:
            fail(errno.EACCES)
        return ToldHandle(self)


class ToldHandle(Handle):
    __slots__ = ()
    node: ToldNode

    def size(self) -> int:
        return len(self.node.content)

    def readinto(self, offset: int, buffer: memoryview) -> int:
        piece = self.node.content[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)


def line(value: object) -> bytes:
    # Each is an object of its own: they are told apart by identity.
    return bytes(bytearray(f"{value}\n", "utf-8", "surrogateescape"))


def places(nodes: DeviceNodes, name: bytes) -> dict[bytes, Any]:
    """Where in /sys a device called *name* is seen: path -> tree, in the order to mount them."""
    device = nodes.device
    storages = {number: storage for number, storage in device.storages().items() if number < nodes.count}
    disk = _common(nodes, name, 0, storages[0])
    disk |= {
        b"range": line(nodes.count),
        b"ext_range": line(256),
        b"removable": line(0),
        b"hidden": line(0),
        b"diskseq": line(disk_sequence(storages[0])),
        b"holders": {},
        b"slaves": {},
        b"queue": _queue(storages[0]),
    }
    directory = os.fsdecode(name)
    found: dict[bytes, Any] = {
        BLOCK + b"/" + name: disk,
        BY_NAME + b"/" + name: f"../devices/virtual/block/{directory}",
        BY_NUMBER + b"/%d:%d" % (nodes.major, nodes.minor): f"../../devices/virtual/block/{directory}",
    }
    for number, storage in storages.items():
        if number:
            part = sub_device_name(name, number)
            start = getattr(storage, "start", 0) // SECTOR
            disk[part] = _common(nodes, part, number, storage) | {b"partition": line(number), b"start": line(start)}
            link = f"../../devices/virtual/block/{directory}/{os.fsdecode(part)}"
            found[BY_NUMBER + b"/%d:%d" % (nodes.major, nodes.minor + number)] = link
    return found


def _common(nodes: DeviceNodes, name: bytes, number: int, storage: Storage) -> dict[bytes, Any]:
    numbers = f"{nodes.major}:{nodes.minor + number}"
    kind = f"partition\nPARTN={number}" if number else "disk"
    event = f"MAJOR={nodes.major}\nMINOR={nodes.minor + number}\nDEVNAME={os.fsdecode(name)}\nDEVTYPE={kind}"
    return {
        b"dev": line(numbers),
        b"size": line(storage.size // SECTOR),
        b"ro": line(int(storage.read_only)),
        b"alignment_offset": line(0),
        b"discard_alignment": line(0),
        b"stat": line(" ".join(["0"] * 17)),
        b"uevent": line(event),
    }


def _queue(storage: Storage) -> dict[bytes, Any]:
    logical, physical = storage.block_size, storage.physical_block_size or storage.block_size
    return {
        b"logical_block_size": line(logical),
        b"physical_block_size": line(physical),
        b"hw_sector_size": line(logical),
        b"minimum_io_size": line(physical),
        b"optimal_io_size": line(0),
        b"discard_granularity": line(logical),
        b"discard_max_bytes": line(0 if storage.read_only else 1 << 32),
        b"discard_zeroes_data": line(0),
        b"read_ahead_kb": line(READ_AHEAD * SECTOR // 1024),
        b"nr_requests": line(128),
        b"rotational": line(0),
        b"add_random": line(0),
        b"scheduler": line("none"),
        b"zoned": line("none"),
        b"dax": line(0),
    }


def partitions_text(devices: list[tuple[DeviceNodes, bytes]]) -> bytes:
    """The lines of /proc/partitions for block devices and their names."""
    lines = []
    for nodes, name in devices:
        if not nodes.device.character:
            for number, storage in sorted(nodes.device.storages().items()):
                if number < nodes.count:
                    numbers = nodes.major, nodes.minor + number, storage.size >> 10
                    lines.append(b"%4d  %7d %10d %s\n" % (*numbers, sub_device_name(name, number)))
    return b"".join(lines)
