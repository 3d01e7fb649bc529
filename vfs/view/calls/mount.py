"""mount(2) and umount2(2): the stock mount(8) and umount(8) work on the view's table.

The newer calls (fsopen, move_mount and so on) are refused (`refused`): mount(8) then uses these two.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from vfs.api import (
    Device,
    FileStorage,
    Filesystem,
    HostDirectory,
    Node,
    NodeStorage,
    Storage,
    fail,
    message,
    parse_all,
    registry,
    unsupported,
)
from vfs.api.closing import Closing
from vfs.api.module import Source
from vfs.api.options import open_paths
from vfs.api.stack import fit, host_source
from vfs.view.afar import comes_from_afar
from vfs.view.calls.table import CallTable
from vfs.view.credentials import SYS_ADMIN
from vfs.view.dentry import DIRECTORY, Dentry, Place
from vfs.view.devices import DeviceNodes, DeviceOptions, find, nodes_of, numbers_for
from vfs.view.kernel.abi import (
    AT_FDCWD,
    MNT_DETACH,
    MS_BIND,
    MS_MGC_MSK,
    MS_MGC_VAL,
    MS_MOVE,
    MS_NOATIME,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REMOUNT,
    MS_SHARED,
    MS_SLAVE,
    MS_UNBINDABLE,
    UMOUNT_NOFOLLOW,
)
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.messages import tell
from vfs.view.mounts import Mount, MountTable, Superblock, ViewOptions
from vfs.view.roots import filesystem_of
from vfs.view.slow import SlowFilesystem

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

PAGE = 4096
HOSTS = {"proc": b"/proc", "sysfs": b"/sys", "devtmpfs": b"/dev", "devpts": b"/dev/pts", "mqueue": b"/dev/mqueue"}
"""Where the host has what the kernel mounts only once."""

PROPAGATION = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE


def install(table: CallTable, supervisor: Supervisor) -> None:
    calls = Mounting(supervisor)
    table.always(calls.mount, "mount")
    table.always(calls.umount, "umount2")


def read_options(call: Call, address: int) -> bytes:
    """The text of mount(2)'s last argument: at most a page, and perhaps less of it mapped."""
    room = PAGE - address % PAGE
    text = call.read(address, room).split(b"\0")[0]
    if len(text) == room < PAGE:
        text += call.read(address + room, PAGE - room).split(b"\0")[0]
    return text


def mount_at(place: Place) -> Mount | None:
    """The mount whose root a place is."""
    return place.mount if isinstance(place, Dentry) and place is place.mount.root else None


def is_directory(place: Place) -> bool:
    return place.kind == DIRECTORY if isinstance(place, Dentry) else os.path.isdir(place)


def set_flags(options: ViewOptions, flags: int) -> None:
    """What mount(2) says by flags."""
    options.nosuid = options.nosuid or bool(flags & MS_NOSUID)
    options.nodev = options.nodev or bool(flags & MS_NODEV)
    options.noexec = options.noexec or bool(flags & MS_NOEXEC)
    options.noatime = options.noatime or bool(flags & MS_NOATIME)


class Point(NamedTuple):
    """Where a device is mounted: *path*; *place*, what it covers; *above*, the directory; *added*: it covers nothing."""

    path: bytes
    place: Place
    above: Place
    added: bool


def device_at(mounts: MountTable, place: Place) -> tuple[Mount, int] | None:
    """The virtual device, and its sub-device, that a node reaches. `None`: it is no node, or of a device of the host's."""
    if not mounts.devices:
        return None
    if isinstance(place, Dentry):
        if place.kind not in (stat.S_IFBLK, stat.S_IFCHR):
            return None
        return find(mounts, place.kind, place.stat().rdev)
    found = os.stat(place)
    return find(mounts, stat.S_IFMT(found.st_mode), found.st_rdev)


def closed(opened: Closing) -> None:
    """Nobody wants it any more."""
    opened.close()


def waits(source: Source) -> bool:
    """Whether reading a source may wait for somebody else, perhaps for a process of this very view."""
    return isinstance(source, FileStorage) and comes_from_afar(os.fsencode(source.name))


class Mounting:
    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor

    # ---------------------------------------------------------------- mount

    def mount(self, call: Call) -> int:
        self.supervisor.demand(SYS_ADMIN)
        source_at, target_at, type_at, flags, options_at = call.args[:5]
        if flags & MS_MGC_MSK == MS_MGC_VAL:
            flags &= ~MS_MGC_MSK  # as mount(2) was called long ago
        name = call.string(1) if target_at else fail(errno.EFAULT)
        source = call.string(0) if source_at else b"none"
        kind = call.string(2).decode(errors="surrogateescape") if type_at else ""
        if self.is_device(kind) and not flags & (MS_REMOUNT | MS_BIND | PROPAGATION | MS_MOVE):
            where = self.point(call, name)
            return self.attempt(
                call, source, where.path, partial(self.attach_device, call, source, where, kind, flags, call.args[4])
            )
        target = self.locate(call, name)
        path = target.path if isinstance(target, Dentry) else target
        text = read_options(call, options_at).decode(errors="surrogateescape") if options_at else ""
        action: Callable[[], None]
        if flags & MS_REMOUNT:
            mount = mount_at(target)
            if mount is None:
                return fail(errno.EINVAL) if isinstance(target, Dentry) else CONTINUE
            action = partial(self.remount, mount, flags, text)
        elif flags & MS_BIND:
            action = partial(self.bind, self.locate(call, source), target, path, flags)
        elif flags & PROPAGATION:
            return 0 if isinstance(target, Dentry) else CONTINUE  # nobody else sees the view's mounts
        elif flags & MS_MOVE:
            moved = mount_at(self.locate(call, source))
            if moved is None:
                return fail(errno.EINVAL) if isinstance(target, Dentry) else CONTINUE
            action = partial(self.move, moved, target, path)
        elif registry.is_known(self.supervisor.view.services.type_of(kind)):
            action = partial(self.attach, call, source, target, path, kind, flags, text)
        else:
            # A type of the host's: the kernel decides. On a virtual place it could do nothing: there the host's own is shown.
            if not isinstance(target, Dentry):
                return CONTINUE
            place = HOSTS.get(kind) or fail(errno.ENODEV)
            action = partial(self.bind, place, target, path, flags, kind, source)
        return self.attempt(call, source, path, action)

    def attempt(self, call: Call, source: bytes, path: bytes, action: Callable[[], None]) -> int:
        self.supervisor.workers.aside()
        try:
            action()
        except OSError as error:
            self.tell(call, path, f"{os.fsdecode(source)}: {message(error)}")
            raise
        return 0

    def attach(self, call: Call, source: bytes, target: Place, path: bytes, kind: str, flags: int, text: str) -> None:
        """Mount a file system that is not mounted yet."""
        supervisor, workers = self.supervisor, self.supervisor.workers
        type, before = supervisor.view.services.use(kind)
        module = registry.find(type)
        options, common = parse_all(",".join(filter(None, (before, text))), module.options, ViewOptions)
        options.ro = options.ro or bool(flags & MS_RDONLY)
        set_flags(common, flags)
        with ExitStack() as undo:
            opened: Source = None
            below: Superblock | None = None
            if not module.sourceless:
                opened, below = self.open_source(call, source, options.rw or options.rw_plus)
                if isinstance(opened, Storage | HostDirectory):
                    undo.enter_context(opened)
                module, opened = fit(opened, module, undo)
            mounted = workers.outside(lambda: module.mount(opened, options), closed)
            filesystem = undo.enter_context(mounted)
            if not isinstance(filesystem, Filesystem):
                raise unsupported(f"{type} makes a device, and is not registered as such")
            if filesystem.blocking or (below and below.filesystem.blocking) or waits(opened):
                filesystem = SlowFilesystem(filesystem, workers)
            filesystem.noatime = common.noatime
            superblock = Superblock(filesystem, below)
            mount = self.show(superblock, filesystem.root, kind, source, target, path, common)
            undo.pop_all()
        self.enter(superblock, mount)

    def enter(self, superblock: Superblock, mount: Mount) -> None:
        """A superblock is new, and a mount shows it."""
        self.supervisor.superblocks.append(superblock)
        if superblock.below is not None:
            superblock.below.dependents += 1
        self.add(mount)

    # ---------------------------------------------------------------- devices

    def is_device(self, kind: str) -> bool:
        found = registry.modules().get(registry.canonical(self.supervisor.view.services.type_of(kind)))
        return found is not None and found.kind == "device"

    def point(self, call: Call, name: bytes) -> Point:
        """Where a device is to be mounted: something, or a name in a directory that has none such. ENOENT, EISDIR."""
        names = self.supervisor.view.names
        try:
            place = self.locate(call, name)
        except FileNotFoundError:
            parent = names.parent(call, AT_FDCWD, name)
            if parent is None or parent.slashes or not is_directory(parent.place):
                raise
            return Point(parent.path, parent.path, parent.place, True)
        if is_directory(place):
            fail(errno.EISDIR, "a device is mounted on a file, or where nothing is")
        return Point(place.path if isinstance(place, Dentry) else place, place, names.above(place), False)

    def attach_device(self, call: Call, source: bytes, where: Point, kind: str, flags: int, options_at: int) -> None:
        """Mount a device: its node, and those of its partitions."""
        supervisor, workers = self.supervisor, self.supervisor.workers
        text = read_options(call, options_at).decode(errors="surrogateescape") if options_at else ""
        type, before = supervisor.view.services.use(kind)
        module = registry.find(type)
        options, common, shown = parse_all(",".join(filter(None, (before, text))), module.options, ViewOptions, DeviceOptions)
        options.ro = options.ro or bool(flags & MS_RDONLY)
        set_flags(common, flags)
        with ExitStack() as undo:
            open_paths(options, lambda name: undo.enter_context(self.open_image(call, os.fsencode(name))))
            opened: Source = None
            below: Superblock | None = None
            if not module.sourceless:
                opened, below = self.open_device_source(call, source, not options.ro, undo)
            mounted = workers.outside(lambda: module.mount(opened, options), closed)
            device = undo.enter_context(mounted)
            if not isinstance(device, Device):
                raise unsupported(f"{type} makes no device, and is registered as such")
            if shown.char and shown.block:
                fail(errno.EINVAL, "char or block, not both")
            character = shown.char or (device.character and not shown.block)
            node_kind = stat.S_IFCHR if character else stat.S_IFBLK
            self.take_numbers(where, node_kind, shown)
            uid, gid, _ = supervisor.tasks.creator(call.tid)
            shown.uid = uid if shown.uid is None else shown.uid
            shown.gid = gid if shown.gid is None else shown.gid
            count = shown.nsubdev or device.sub_devices
            others = map(nodes_of, supervisor.view.mounts.devices)
            major, minor = numbers_for(others, node_kind, count, shown)
            nodes = DeviceNodes(device, node_kind, major, minor, count, shown)
            if device.blocking or (below and below.filesystem.blocking) or waits(opened):
                nodes.workers = workers
            superblock = Superblock(nodes, below)
            mount = Mount(
                superblock,
                nodes.root,
                kind,
                source,
                where.path,
                where.place,
                where.above,
                common,
                device.read_only,
                added=where.added,
            )
            undo.pop_all()
        self.enter(superblock, mount)
        supervisor.refresh_devices()
        supervisor.device_watch.begin()

    def take_numbers(self, where: Point, kind: int, options: DeviceOptions) -> None:
        """Over an existing node of its type a device takes the node's numbers, where the options say none."""
        if where.added or options.major is not None:
            return
        if isinstance(where.place, Dentry):
            mode, rdev = where.place.stat().mode, where.place.stat().rdev
        else:
            found = os.stat(where.place)
            mode, rdev = found.st_mode, found.st_rdev
        if stat.S_IFMT(mode) == kind:
            options.major = os.major(rdev)
            options.minor = os.minor(rdev) if options.minor is None else options.minor

    def open_device_source(
        self, call: Call, source: bytes, writable: bool, undo: ExitStack
    ) -> tuple[Storage | Node | HostDirectory, Superblock | None]:
        """A device's source is opened for writing, if it can be."""
        try:
            opened, below = self.open_source(call, source, writable)
        except OSError as error:
            if not writable or error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM):
                raise
            opened, below = self.open_source(call, source, False)
        if isinstance(opened, Storage | HostDirectory):
            undo.enter_context(opened)
        assert opened is not None
        return opened, below

    def open_image(self, call: Call, name: bytes) -> Storage:
        """One more source, for reading, that an option names."""
        opened, _ = self.open_source(call, name, False)
        return opened if isinstance(opened, Storage) else fail(errno.EISDIR, f"{os.fsdecode(name)}: is a directory")

    def device_at(self, place: Place) -> tuple[Mount, int] | None:
        """The virtual device that a node reaches."""
        return device_at(self.supervisor.view.mounts, place)

    # ---------------------------------------------------------------- what all have in common

    def show(
        self, superblock: Superblock, node: Node, kind: str, source: bytes, target: Place, path: bytes, options: ViewOptions
    ) -> Mount:
        """A mount of *node* over *target*, at *path*. ENOTDIR."""
        above = self.supervisor.view.names.above(target)
        mount = Mount(superblock, node, kind, source, path, target, above, options)
        if is_directory(target) != (mount.root.kind == DIRECTORY):
            fail(errno.ENOTDIR, "a directory can only be mounted on a directory, a file on a file")
        return mount

    def add(self, mount: Mount) -> None:
        view = self.supervisor.view
        view.mounts.add(mount)
        view.names.forget()
        self.supervisor.log(f"mounted {os.fsdecode(mount.source)} on {os.fsdecode(mount.target)} type {mount.type}")

    def open_source(self, call: Call, source: bytes, writable: bool) -> tuple[Source, Superblock | None]:
        """What a source's name stands for in the view, and the file system that it lies in."""
        if source == b"none":
            fail(errno.EINVAL, "what is to be mounted?")
        place = self.locate(call, source)
        found = self.device_at(place)
        if found is not None:
            mount, part = found
            nodes = nodes_of(mount)
            self.supervisor.files.sweep_devices(nodes)
            storage = nodes.device.hold(part)
            if writable and storage.read_only:
                storage.close()
                fail(errno.EROFS, "the device is read-only")
            return storage, mount.superblock
        if not isinstance(place, Dentry):
            return self.supervisor.workers.outside(lambda: host_source(place, writable), closed), None
        if place.kind == DIRECTORY:
            return place.node, place.mount.superblock
        self.supervisor.files.demand_stored(place)
        directory = place.parent.node if place.parent is not None else None
        return NodeStorage(place.node, os.fsdecode(place.path), writable, directory), place.mount.superblock

    def bind(self, place: Place, target: Place, path: bytes, flags: int, kind: str = "", source: bytes = b"") -> None:
        """mount --bind: show a file or directory at a second place; *kind* and *source*: as the mount tables shall have it."""
        options = ViewOptions()
        set_flags(options, flags)
        if isinstance(place, Dentry):
            superblock = place.mount.superblock
            mount = self.show(superblock, place.node, place.mount.type, place.mount.source, target, path, options)
            mount.read_only = mount.read_only or place.mount.read_only
            superblock.shared = True
            self.add(mount)
            return
        directory, name = (place, b"") if os.path.isdir(place) else os.path.split(place)
        with ExitStack() as undo:
            filesystem = filesystem_of(directory, undo)
            node = filesystem.root.lookup(name) if name else filesystem.root
            superblock = Superblock(filesystem)
            mount = self.show(superblock, node, kind or filesystem.type, source or place, target, path, options)
            undo.pop_all()
        self.supervisor.superblocks.append(superblock)
        self.add(mount)

    def own(self, mount: Mount) -> Mount:
        """The mount, to be changed. A view that began as a copy of another shares its mounts, and nothing that one does may show
        in the other: it gets a copy. EBUSY: somebody here is in the mount, and would be left in the other's."""
        supervisor = self.supervisor
        if not any(mount in view.mounts.present for view in supervisor.views if view is not supervisor.view):
            return mount
        reason = self.busy(mount)
        if reason or mount.main is not None or isinstance(mount.filesystem, DeviceNodes):
            fail(errno.EBUSY, f"another view has the same mount, and it is {reason or 'a device'}")
        copy = mount.copy()
        supervisor.view.mounts.exchange(mount, copy)
        supervisor.view.names.forget()
        return copy

    def remount(self, mount: Mount, flags: int, text: str) -> None:
        """Other options for a mount. EROFS: it was made to be read only; EBUSY: files are open for writing."""
        (common,) = parse_all(",".join(word for word in text.split(",") if word not in ("ro", "rw")), ViewOptions)
        set_flags(common, flags)
        common.excepted, common.permanent = mount.options.excepted, mount.options.permanent
        if not flags & MS_RDONLY and mount.superblock.filesystem.read_only:
            fail(errno.EROFS, "it was mounted read-only: unmount it, and mount it anew")
        mount = self.own(mount)
        if flags & MS_RDONLY and not mount.read_only:
            superblock = mount.superblock
            self.supervisor.files.written.flush(superblock)
            if any(p.written and p.dentry.mount is mount for p in superblock.placeholders.values()):
                fail(errno.EBUSY, "files are open for writing")
        mount.read_only = bool(flags & MS_RDONLY)
        mount.options = common

    def move(self, mount: Mount, target: Place, path: bytes) -> None:
        """mount --move. EINVAL: other mounts lie on it; ELOOP: below itself."""
        view = self.supervisor.view
        below = mount.target.rstrip(b"/") + b"/"
        if any(m is not mount and m.target.startswith(below) for m in view.mounts.mounts):
            fail(errno.EINVAL, "other mounts lie on it")
        if path.startswith(below):
            fail(errno.ELOOP)
        if is_directory(target) != (mount.root.kind == DIRECTORY):
            fail(errno.ENOTDIR)
        if mount.main is not None or isinstance(mount.filesystem, DeviceNodes):
            fail(errno.EINVAL, "devices stay where they are: unmount it, and mount it there")
        mount = self.own(mount)
        view.mounts.remove(mount)
        mount.covered, mount.above, mount.target = target, view.names.above(target), path
        mount.root.name = path.rpartition(b"/")[2]
        mount.epoch += 1
        self.add(mount)

    def locate(self, call: Call, name: bytes, follow: bool = True) -> Place:
        """The place of a name that must exist. ENOENT."""
        found = self.supervisor.view.names.locate(call, AT_FDCWD, name, follow)
        if found is None:
            fail(errno.ENOENT)
        if isinstance(found.place, Dentry) and self.supervisor.view.names.is_hosts(found.place):
            return found.place.path
        if isinstance(found.place, bytes):
            os.stat(found.place, follow_symlinks=follow)
        return found.place

    # ---------------------------------------------------------------- umount

    def umount(self, call: Call) -> int:
        name, flags = call.string(0), call.args[1]
        supervisor = self.supervisor
        supervisor.demand(SYS_ADMIN)
        place = self.locate(call, name, not flags & UMOUNT_NOFOLLOW)
        if not isinstance(place, Dentry):
            return CONTINUE
        mount = mount_at(place)
        if mount is None or mount not in supervisor.view.mounts.present or mount.main is not None:
            fail(errno.EINVAL)
        if isinstance(mount.filesystem, DeviceNodes):
            supervisor.files.sweep_devices(mount.filesystem)
        if mount.options.permanent:
            self.tell(call, mount.target, "permanent: it stays as long as the view")
            fail(errno.EBUSY)
        if mount.filesystem.blocking:
            supervisor.workers.aside()
        if not flags & MNT_DETACH:
            reason = self.busy(mount)
            if reason:
                self.tell(call, mount.target, reason)
                fail(errno.EBUSY)
        elif supervisor.view.mounts.dependents(mount):
            self.tell(call, mount.target, "other mounts depend on it")
            fail(errno.EBUSY)
        supervisor.detach(mount)
        return 0

    def busy(self, mount: Mount) -> str:
        """Why a mount cannot go, empty when it can."""
        dependents = self.supervisor.view.mounts.dependents(mount)
        if dependents:
            return f"busy: the mount on {os.fsdecode(dependents[-1].target)} depends on it"
        user = self.supervisor.user_of(mount.superblock, mount)
        return f"busy: in use by process {user}" if user else ""

    # ---------------------------------------------------------------- telling

    def tell(self, call: Call, path: bytes, sentence: str) -> None:
        """Write one line to the caller's standard error: mount(2) has only an errno to say what was wrong. Never waits."""
        line = f"umview: {os.fsdecode(path)}: {sentence}\n"
        self.supervisor.log(line.rstrip())
        try:
            descriptor = call.get_fd(2)
        except OSError:
            return
        tell(descriptor, line)
        os.close(descriptor)
