"""The mount table of a view: what is mounted where, the latest on top.

Targets are canonical absolute paths in the view: no links, no `..`, no doubled slashes. A path may carry several mounts; the last
one shows. The table knows no names below its targets: `names` walks them.
"""

from __future__ import annotations

import errno
import itertools
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vfs.api import Filesystem, MountOptions, Node, Stat, fail, option
from vfs.api.options import flag
from vfs.view.dentry import Dentry, Place
from vfs.view.devices import DeviceNodes, nodes_of, part_target
from vfs.view.sysblock import BLOCK, Told, places

if TYPE_CHECKING:
    from vfs.view.placeholder import Placeholder

FIRST_MINOR = 1 << 19
"""st_dev of a mount is 0:minor, as the kernel numbers file systems without a device. The host's count up from small numbers."""

FIRST_ID = 1 << 20
"""Mount ids of the view in mountinfo, above all that the host gives."""

_serial = itertools.count()


@dataclass
class ViewOptions(MountOptions):
    """What a view takes besides."""

    excepted: list[str] = option(str, "a path below it at which the earlier view shows", name="except", many=True)  # noqa: RUF009
    permanent: bool = option(flag, "cannot be unmounted as long as the view lasts")
    showcall: bool = option(flag, "log each call on this mount")


class Superblock:
    """One mounted file system. Several mounts may show it: binds, and the same mount in other views. *device* is its `st_dev`;
    *below* is the one that its own source lies in."""

    __slots__ = ("below", "dependents", "device", "filesystem", "placeholders", "room", "shared")

    def __init__(self, filesystem: Filesystem, below: Superblock | None = None) -> None:
        real = filesystem.root.stat().real
        self.device = real[0] if real else os.makedev(0, FIRST_MINOR + next(_serial))
        self.filesystem = filesystem
        self.below = below
        self.dependents = 0
        """How many others have their source here: then it stays open."""
        self.placeholders: dict[int, Placeholder] = {}
        """What stands for its inodes, by number."""
        self.shared = False
        """More than one mount shows it, or has: then none knows of all changes."""
        self.room = 0
        """Bytes that may be written into the cache before `statfs` must be asked again."""


class Owners:
    """Owners of files of the host's that only a view knows, for as long as it lasts."""

    LIMIT = 1 << 16

    def __init__(self) -> None:
        self.by_number: dict[tuple[int, int], tuple[int, int, int | None]] = {}
        """Device and inode -> user, group, and the time at which it was made: the number may be another's by now."""

    def give(self, found: Stat, uid: int, gid: int) -> None:
        if found.real is not None:
            if len(self.by_number) >= self.LIMIT:
                del self.by_number[next(iter(self.by_number))]
            self.by_number[found.real] = uid, gid, found.btime

    def tell(self, found: Stat) -> None:
        """Correct what the host says of a file."""
        known = self.by_number.get(found.real) if found.real is not None else None
        if known is not None and known[2] == found.btime:
            found.uid, found.gid = known[:2]


class Mount:
    """One mount. *type* and *source* are shown as the user gave them, *shown* are the module's own options. *covered* is what
    showed at the target before, *above* the directory that holds it."""

    HANDED_LIMIT = 1 << 16

    __slots__ = (
        "above",
        "added",
        "covered",
        "epoch",
        "handed",
        "hidden",
        "holes",
        "id",
        "main",
        "options",
        "owners",
        "read_only",
        "root",
        "shown",
        "source",
        "superblock",
        "target",
        "type",
    )

    def __init__(
        self,
        superblock: Superblock,
        node: Node,
        type: str,
        source: bytes,
        target: bytes,
        covered: Place,
        above: Place,
        options: ViewOptions,
        read_only: bool = False,
        shown: str = "",
        hidden: bool = False,
        main: Mount | None = None,
        added: bool = False,
    ) -> None:
        self.id = FIRST_ID + next(_serial)
        self.superblock, self.type, self.source, self.target = superblock, type, source, target
        self.covered, self.above, self.options, self.shown = covered, above, options, shown
        self.added = added
        """The directory that holds it has no such name: devices may be mounted where nothing is."""
        self.main = main
        """The mount of the device of which this one shows a partition: it comes and goes with that, and no table shows it."""
        self.hidden = hidden
        """It stands for the directory of the host that it shows (`roots`)."""
        self.handed: set[tuple[int, int]] = set()
        """Device and inode of files of the host's that processes were given by this mount: they may still have them."""
        self.owners: Owners | None = None
        """Where what virtual users make can only belong to the real one: to whom it belongs in the view."""
        self.read_only = read_only or superblock.filesystem.read_only
        base = target.rstrip(b"/")
        self.holes = frozenset(base + b"/" + os.fsencode(path).strip(b"/") for path in options.excepted)
        """Paths, below the target, at which the earlier view shows."""
        self.epoch = 0
        """Grows when a directory gets another name: what dentries know of their paths is then old."""
        self.root = Dentry(self, None, target.rpartition(b"/")[2], node)

    def copy(self) -> Mount:
        """The same for another view, to be changed there."""
        options = replace(self.options)
        sources = self.type, self.source, self.target, self.covered, self.above
        return Mount(self.superblock, self.root.node, *sources, options, self.read_only, self.shown, added=self.added)

    def hand_out(self, found: os.stat_result) -> None:
        """A process is about to get a descriptor of this file."""
        if len(self.handed) >= self.HANDED_LIMIT:
            self.handed.clear()
        self.handed.add((found.st_dev, found.st_ino))

    @property
    def filesystem(self) -> Filesystem:
        return self.superblock.filesystem

    @property
    def device(self) -> int:
        return self.superblock.device

    @property
    def inside(self) -> Mount | None:
        """The mount that holds the mount point, `None`: the host."""
        return owner_of(self.above)

    @property
    def constant(self) -> bool:
        """Names and attributes stay what they are: nobody may change them."""
        return self.superblock.filesystem.read_only and not self.superblock.filesystem.changes_outside

    @property
    def is_ours(self) -> bool:
        """All changes of names come through this mount, so that names may be remembered."""
        return self.constant or not (self.superblock.shared or self.superblock.filesystem.changes_outside)

    def shown_options(self) -> str:
        """The options as /proc/mounts shows them."""
        words = ["ro" if self.read_only else "rw"]
        words += [name for name in ("nosuid", "nodev", "noexec", "noatime") if getattr(self.options, name)]
        words += ["except=" + path for path in self.options.excepted]
        return ",".join([*words, self.shown] if self.shown else words)


def partition(device: Mount, part: int) -> Mount:
    """The mount of a device's partition, beside the device."""
    target, above = part_target(device, part), device.above
    try:
        if isinstance(above, Dentry):
            above.node.lookup(target.rpartition(b"/")[2])
        else:
            os.lstat(target)
        added = False
    except OSError:
        added = True
    node = device.filesystem.node(part + 1)
    return Mount(
        device.superblock, node, device.type, device.source, target, target, above, device.options, main=device, added=added
    )


def told(device: Mount, nodes: DeviceNodes) -> list[Mount]:
    """The mounts by which /sys tells of a block device, where the host has a /sys, and none of that name."""
    name = device.target.rpartition(b"/")[2]
    if nodes.device.character or os.path.lexists(BLOCK + b"/" + name):
        return []
    found = []
    for path, tree in places(nodes, name).items():
        above = path.rpartition(b"/")[0]
        if os.path.isdir(above):
            superblock = Superblock(Told(tree, nodes.made))
            root = superblock.filesystem.root
            found.append(
                Mount(superblock, root, "sysfs", b"sysfs", path, path, above, ViewOptions(), True, main=device, added=True)
            )
    return found


def owner_of(place: Place) -> Mount | None:
    """The mount that a place is in, `None`: the host, or what stands for it."""
    return place.mount if isinstance(place, Dentry) and not place.mount.hidden else None


class MountTable:
    """The mounts of one view, in the order they were made."""

    def __init__(self) -> None:
        self.mounts: list[Mount] = []
        self.present: set[Mount] = set()
        """The same, to be asked quickly. A mount taken out may live on in what processes have open."""
        self.on: dict[bytes, Mount] = {}
        """The latest mount on each target. `over` tells whether it is what shows."""
        self.private: dict[bytes, bytes] = {}
        """Directories of the host in whose place the view has its own."""
        self.points: set[bytes] = set()
        """Where the view differs from the host: the keys of both."""
        self.holes: set[bytes] = set()
        """All paths of holes."""
        self.devices: list[Mount] = []
        """Those that are devices; without their partitions."""
        self.added: dict[bytes, list[Mount]] = {}
        """By directory, the mounts in it whose names nothing below them has."""
        self.generations: dict[Mount, int] = {}
        """`Device.generation` as it was when the partitions of a device were mounted."""
        self.idle = True
        """There was no mount yet: every call is the kernel's."""

    def fork(self) -> MountTable:
        """The table of a view that starts from this one, apart from now on."""
        other = MountTable()
        other.mounts = list(self.mounts)
        other.generations = dict(self.generations)
        other.private = dict(self.private)
        other.idle = self.idle
        other.index()
        for mount in self.mounts:
            mount.superblock.shared = True
        return other

    def index(self) -> None:
        self.present = set(self.mounts)
        self.on = {mount.target: mount for mount in self.mounts}
        self.devices = [m for m in self.mounts if m.main is None and isinstance(m.filesystem, DeviceNodes)]
        self.added = {}
        for mount in self.mounts:
            if mount.added:
                self.added.setdefault(mount.target.rpartition(b"/")[0] or b"/", []).append(mount)
        self.points = set(self.on) | set(self.private) | set(self.added)
        self.holes = {hole for mount in self.mounts for hole in mount.holes}

    def replace(self, directory: bytes, private: bytes) -> None:
        """Show a directory of our own in place of one of the host."""
        self.private[directory] = private
        self.points.add(directory)

    def add(self, mount: Mount) -> None:
        self.mounts.append(mount)
        self.index()
        self.idle = False

    def exchange(self, mount: Mount, other: Mount) -> None:
        """Put another mount in the place of one."""
        self.mounts[self.mounts.index(mount)] = other
        self.index()

    def remove(self, mount: Mount) -> None:
        """Take a mount out; what it covered shows again. EINVAL: not in the table."""
        if mount not in self.present:
            fail(errno.EINVAL, "not mounted")
        self.mounts = [m for m in self.mounts if m is not mount and m.main is not mount]
        self.generations.pop(mount, None)
        self.index()

    def refresh(self, device: Mount) -> bool:
        """Mount the partitions that a device has now in place of those that it had; whether there is a difference."""
        nodes = nodes_of(device)
        if self.generations.get(device) == nodes.device.generation:
            return False
        self.generations[device] = nodes.device.generation
        old = {m.root.node.ino: m for m in self.mounts if m.main is device and m.superblock is device.superblock}
        parts = [old.get(part + 1) or partition(device, part) for part in nodes.parts()]
        parts += told(device, nodes)
        at = self.mounts.index(device) + 1
        others = [m for m in self.mounts if m.main is not device]
        self.mounts = others[:at] + parts + others[at:]
        self.index()
        return True

    def over(self, path: bytes, owner: Mount | None) -> Mount | None:
        """The mount that shows at *path* of *owner* (`None`: of the host)."""
        if path not in self.on:
            return None
        return next((m for m in reversed(self.mounts) if m.target == path and m.inside is owner), None)

    def owner(self, path: bytes) -> Mount | None:
        """Whose directory a canonical path leads to; `None`: the host's."""
        owner = self.over(b"/", None)
        at = path.find(b"/", 1)
        while at > 0:
            owner = self.owner_at(path[:at], owner)
            at = path.find(b"/", at + 1)
        return self.owner_at(path, owner)

    def owner_at(self, path: bytes, owner: Mount | None) -> Mount | None:
        """Who owns *path*, whose directory *owner* has."""
        if path in self.holes and owner is not None and path in owner.holes:
            owner = self.beneath(path, owner)
        return self.over(path, owner) or owner

    def beneath(self, path: bytes, mount: Mount) -> Mount | None:
        """Who owns *path* where *mount* has a hole there."""
        owner = owner_of(mount.covered)
        at = path.find(b"/", len(mount.target.rstrip(b"/")) + 1)
        while at > 0:
            owner = self.owner_at(path[:at], owner)
            at = path.find(b"/", at + 1)
        return owner

    def dependents(self, mount: Mount) -> list[Mount]:
        """The mounts that lie on or below this one, or whose source lies in it."""
        below = mount.target.rstrip(b"/") + b"/"
        targets = {mount.target, *(m.target for m in self.mounts if m.main is mount)}
        later = self.mounts[self.mounts.index(mount) + 1 :]
        only = all(m is mount or m.main is mount or m.superblock is not mount.superblock for m in self.mounts)
        return [
            m
            for m in later
            if m.main is not mount
            and ((only and m.superblock.below is mount.superblock) or m.target in targets or m.target.startswith(below))
        ]

    def below(self, path: bytes) -> bool:
        """Whether a mount point lies on or below a host path."""
        prefix = path.rstrip(b"/") + b"/"
        return any(m.inside is None and (m.target == path or m.target.startswith(prefix)) for m in self.mounts)

    def under(self, dentry: Dentry) -> bool:
        """Whether a mount point lies on a dentry or below it."""
        path, owner = dentry.path, owner_of(dentry)
        return any(m.inside is owner and (m.target == path or m.target.startswith(path + b"/")) for m in self.mounts)
