"""mount(2) and umount2(2): the stock mount(8) and umount(8) work on the view's table.

The newer calls (fsopen, move_mount and so on) are refused (`refused`): mount(8) then uses these two.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from vfs.api import Filesystem, MountOptions, fail, message, parse_all, registry, unsupported
from vfs.api.module import Source
from vfs.api.storage import FileStorage, NodeStorage, Storage
from vfs.view.calls.table import CallTable
from vfs.view.dentry import DIRECTORY, Dentry, Place
from vfs.view.kernel.abi import AT_FDCWD, MNT_DETACH, MS_BIND, MS_MOVE, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REMOUNT
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.messages import tell
from vfs.view.mounts import Mount

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

PAGE = 4096


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


class Mounting:
    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor

    # ---------------------------------------------------------------- mount

    def mount(self, call: Call) -> int:
        source_at, target_at, type_at, flags, options_at = call.args[:5]
        target = self.locate(call, call.string(1)) if target_at else fail(errno.EFAULT)
        if flags & (MS_BIND | MS_MOVE | MS_REMOUNT):
            if isinstance(target, Dentry):
                self.tell(call, target.path, "bind, move and remount of virtual mounts are not supported yet")
                fail(errno.EOPNOTSUPP)
            return CONTINUE
        kind = call.string(2).decode(errors="surrogateescape") if type_at else ""
        if not registry.is_known(kind):
            # A type of the host's: the kernel decides. On a virtual place it could do nothing.
            return fail(errno.ENODEV) if isinstance(target, Dentry) else CONTINUE
        source = call.string(0) if source_at else b"none"
        text = read_options(call, options_at).decode(errors="surrogateescape") if options_at else ""
        path = target.path if isinstance(target, Dentry) else target
        try:
            self.attach(call, source, target, path, kind, flags, text)
        except OSError as error:
            self.tell(call, path, f"{os.fsdecode(source)}: {message(error)}")
            raise
        return 0

    def attach(self, call: Call, source: bytes, target: Place, path: bytes, kind: str, flags: int, text: str) -> None:
        supervisor = self.supervisor
        module = registry.find(kind)
        options, common = parse_all(text, module.options, MountOptions)
        options.ro = options.ro or bool(flags & MS_RDONLY)
        common.nosuid = common.nosuid or bool(flags & MS_NOSUID)
        common.nodev = common.nodev or bool(flags & MS_NODEV)
        common.noexec = common.noexec or bool(flags & MS_NOEXEC)
        with ExitStack() as undo:
            opened, uses = self.open_source(call, source, writable=options.rw or options.rw_plus)
            if isinstance(opened, Storage):
                undo.enter_context(opened)
            filesystem = undo.enter_context(module.mount(opened, options))
            if not isinstance(filesystem, Filesystem):
                raise unsupported("devices cannot be mounted yet")
            mount = Mount(filesystem, kind, source, path, supervisor.view.names.above(target), common, uses)
            mount.root = Dentry(mount, None, os.path.basename(path), path, filesystem.root)
            covers_directory = target.kind == DIRECTORY if isinstance(target, Dentry) else os.path.isdir(target)
            if covers_directory != (mount.root.kind == DIRECTORY):
                fail(errno.ENOTDIR, "a directory can only be mounted on a directory, a file on a file")
            undo.pop_all()
        supervisor.view.mounts.add(mount)
        supervisor.view.names.forget()
        supervisor.log(f"mounted {os.fsdecode(source)} on {os.fsdecode(path)} type {kind}")

    def open_source(self, call: Call, source: bytes, writable: bool) -> tuple[Source, Mount | None]:
        """The storage that a source's name stands for in the supervisor, and the mount that it lies in."""
        if source == b"none":
            return None, None
        place = self.locate(call, source)
        if not isinstance(place, Dentry):
            return FileStorage(place, writable), None
        if place.kind == DIRECTORY:
            return place.node, place.mount
        return NodeStorage(place.node, os.fsdecode(place.path), writable), place.mount

    def locate(self, call: Call, name: bytes, follow: bool = True) -> Place:
        """The place of a name that must exist. ENOENT."""
        found = self.supervisor.view.names.locate(call, AT_FDCWD, name, follow)
        if found is None:
            fail(errno.ENOENT)
        if isinstance(found.place, bytes):
            os.stat(found.place, follow_symlinks=follow)
        return found.place

    # ---------------------------------------------------------------- umount

    def umount(self, call: Call) -> int:
        name, flags = call.string(0), call.args[1]
        supervisor = self.supervisor
        place = self.locate(call, name)
        if not isinstance(place, Dentry):
            return CONTINUE
        mount = place.mount
        if place is not mount.root or mount not in supervisor.view.mounts.mounts:
            fail(errno.EINVAL)
        if not flags & MNT_DETACH:
            reason = self.busy(mount)
            if reason:
                self.tell(call, mount.target, reason)
                fail(errno.EBUSY)
        elif supervisor.view.mounts.dependents(mount):
            self.tell(call, mount.target, "other mounts depend on it")
            fail(errno.EBUSY)
        supervisor.detach(mount)
        supervisor.release()
        return 0

    def busy(self, mount: Mount) -> str:
        """Why a mount cannot go, empty when it can."""
        dependents = self.supervisor.view.mounts.dependents(mount)
        if dependents:
            return f"busy: the mount on {os.fsdecode(dependents[-1].target)} depends on it"
        user = self.supervisor.user_of(mount)
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
