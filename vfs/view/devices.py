"""Devices in a view: a device module's mount is a node with numbers, and its partitions are nodes beside it.

What a front end must add to `vfs.api.Device`: a type and numbers, by which any node that has the same reaches the device; an
owner and a mode; and who has it open (`devicefile`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from vfs.api import Change, Device, Filesystem, Node, Stat, StatFs, fail, option
from vfs.api.device import sub_device_name
from vfs.api.options import flag, number, octal

if TYPE_CHECKING:
    from vfs.view.devicefile import DeviceFile
    from vfs.view.mounts import Mount, MountTable
    from vfs.view.workers import Workers

FIRST_MAJOR, LAST_MAJOR = 240, 254
"""Major numbers for local use (Linux, Documentation/admin-guide/devices.txt)."""
DEFAULT_MODE: Final = 0o660
MINORS: Final = 1 << 20


@dataclass
class DeviceOptions:
    """What mounts of devices take besides."""

    char: bool = option(flag, "the node is a character device")
    block: bool = option(flag, "the node is a block device")
    major: int | None = option(number, "its major number")
    minor: int | None = option(number, "its minor number")
    mode: int | None = option(octal, "its permission bits")
    uid: int | None = option(number, "its owner")
    gid: int | None = option(number, "its group")
    nsubdev: int | None = option(number, "how many minor numbers, from its own on, are its")


class DeviceNodes(Filesystem):
    """The nodes of one device: inode N + 1 is sub-device N. The root is the whole device, and no directory."""

    stable_numbers = True

    def __init__(self, device: Device, kind: int, major: int, minor: int, count: int, options: DeviceOptions) -> None:
        super().__init__()
        self.device, self.kind, self.major, self.minor, self.count = device, kind, major, minor, count
        self.type = device.type
        self.workers: Workers | None = None
        """Set where the device, or what it is made of, may wait for somebody."""
        self.mode = DEFAULT_MODE if options.mode is None else options.mode & 0o7777
        self.uid, self.gid = options.uid or 0, options.gid or 0
        self.made = time.time_ns()
        self.changed: dict[int, Change] = {}
        """What chmod, chown and utime did to a node."""
        self.open_files: dict[int, DeviceFile] = {}
        """All that processes have open, by its number."""
        self.dirty = False
        """Written, and not flushed since."""

    @property
    def read_only(self) -> bool:  # type: ignore[override]
        return False

    @property
    def blocking(self) -> bool:  # type: ignore[override]
        return self.workers is not None

    @property
    def root(self) -> Node:
        return DeviceNode(self, 1)

    def node(self, ino: int) -> Node:
        if not self.has(ino - 1):
            fail(errno.ESTALE)
        return DeviceNode(self, ino)

    def has(self, sub_device: int) -> bool:
        """Whether there is such a sub-device."""
        if not 0 <= sub_device < self.count:
            return False
        return self.device.character or sub_device in self.device.storages()

    def numbers(self, sub_device: int) -> int:
        return os.makedev(self.major, self.minor + sub_device)

    def parts(self) -> list[int]:
        """The sub-devices besides the whole."""
        return [] if self.device.character else sorted(n for n in self.device.storages() if 0 < n < self.count)

    def statfs(self) -> StatFs:
        return StatFs(type=0x01021994, block_size=4096, blocks=0, free=0, available=0, files=0, files_free=0)

    def sync(self) -> None:
        self.device.flush()

    def close(self) -> None:
        for file in list(self.open_files.values()):
            file.close_handle()
        self.open_files.clear()
        self.device.close()


class DeviceNode(Node):
    """One sub-device."""

    __slots__ = ()
    filesystem: DeviceNodes

    @property
    def sub_device(self) -> int:
        return self.ino - 1

    def stat(self) -> Stat:
        nodes = self.filesystem
        found = Stat(self.ino, nodes.kind | nodes.mode, uid=nodes.uid, gid=nodes.gid, rdev=nodes.numbers(self.sub_device))
        found.atime = found.mtime = found.ctime = nodes.made
        change = nodes.changed.get(self.ino)
        if change is not None:
            found.mode = found.mode if change.mode is None else nodes.kind | stat.S_IMODE(change.mode)
            found.uid = found.uid if change.uid is None else change.uid
            found.gid = found.gid if change.gid is None else change.gid
            found.atime = found.atime if change.atime is None else change.atime
            found.mtime = found.mtime if change.mtime is None else change.mtime
        return found

    def set(self, change: Change) -> None:
        if change.size is not None:
            fail(errno.EINVAL)
        kept = self.filesystem.changed.setdefault(self.ino, Change())
        for name in ("mode", "uid", "gid", "atime", "mtime"):
            value = getattr(change, name)
            if value is not None:
                setattr(kept, name, value)


def numbers_for(mounted: Iterator[DeviceNodes], kind: int, count: int, options: DeviceOptions) -> tuple[int, int]:
    """Major and minor of a new device: what the *options* say, else such as nobody has. EINVAL: impossible; EBUSY: another
    mounted device has them."""
    taken = [(nodes.major, nodes.minor, nodes.count) for nodes in mounted if nodes.kind == kind]
    major = options.major if options.major is not None else free_major(kind)
    minor = options.minor
    if minor is None:
        minor = 0
        for other_major, start, size in sorted(taken):
            if other_major == major and start < minor + count and minor < start + size:
                minor = -(-(start + size) // count) * count
    if major >= 1 << 12 or minor + count > MINORS or count < 1:
        fail(errno.EINVAL, f"device numbers {major}:{minor} are beyond 4095:{MINORS - 1}")
    for other_major, start, size in taken:
        if other_major == major and start < minor + count and minor < start + size:
            fail(errno.EBUSY, f"another mounted device has the numbers {major}:{start} to {start + size - 1}")
    return major, minor


@cache
def free_major(kind: int) -> int:
    """A major number for local use that no driver of the host has."""
    used: set[int] = set()
    with contextlib.suppress(OSError), open("/proc/devices", encoding="ascii") as lines:
        block = False
        for line in lines:
            words = line.split()
            block = block or line.startswith("Block")
            if len(words) == 2 and words[0].isdigit() and block == stat.S_ISBLK(kind):
                used.add(int(words[0]))
    return next((major for major in range(FIRST_MAJOR, LAST_MAJOR + 1) if major not in used), FIRST_MAJOR)


def nodes_of(mount: Mount) -> DeviceNodes:
    """The nodes that the mount of a device, or of one of its partitions, shows."""
    nodes = mount.filesystem
    assert isinstance(nodes, DeviceNodes)
    return nodes


def find(mounts: MountTable, kind: int, rdev: int) -> tuple[Mount, int] | None:
    """The mounted device, and its sub-device, that a node of this type with these numbers reaches."""
    major, minor = os.major(rdev), os.minor(rdev)
    for mount in reversed(mounts.devices):
        nodes = nodes_of(mount)
        if nodes.kind == kind and nodes.major == major and nodes.minor <= minor < nodes.minor + nodes.count:
            return mount, minor - nodes.minor
    return None


def part_target(mount: Mount, part: int) -> bytes:
    """Where a partition's node is: beside the device's."""
    directory, _, name = mount.target.rpartition(b"/")
    return directory + b"/" + sub_device_name(name, part)
