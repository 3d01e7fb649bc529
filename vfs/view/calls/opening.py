"""open and its family: a virtual file becomes a descriptor of the process."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from vfs.api import fail, opened_wide
from vfs.view import roots
from vfs.view.calls.changes import left_by_umask
from vfs.view.calls.mount import device_at
from vfs.view.calls.names import demand_writable, redirect, redirect_unwatched, show
from vfs.view.calls.table import CallTable
from vfs.view.dentry import DIRECTORY, LINK, REGULAR, Dentry, Place
from vfs.view.devices import nodes_of, part_target
from vfs.view.kernel import structs
from vfs.view.kernel.abi import AT_FDCWD, RESOLVE_BENEATH, RESOLVE_IN_ROOT
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.kernel.structs import signed
from vfs.view.names import Elsewhere, Missing
from vfs.view.proc.files import FILESYSTEMS, open_file

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

PAGE = 4096
O_TMPFILE = os.O_TMPFILE & ~os.O_DIRECTORY
RESOLVE_KNOWN = 0x3F
MEMORY = 1
"""The major number of /dev/null, zero, full, random and urandom."""


def install(table: CallTable, supervisor: Supervisor) -> None:
    calls = Opening(supervisor)
    table.always(lambda call: calls.open(call, None, 0, call.args[1], call.args[2]), "open")
    table.always(lambda call: calls.open(call, None, 0, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, call.args[1]), "creat")
    table.always(calls.openat, "openat")
    table.always(calls.openat2, "openat2")


class Opening:
    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor

    def openat(self, call: Call) -> int:
        if call.instruction % PAGE in self.supervisor.shortcut.witnesses:
            answer = self.supervisor.shortcut.library(call, call.string(1))
            if answer is not None:
                return answer
        return self.open(call, 0, 1, call.args[2], call.args[3])

    def openat2(self, call: Call) -> int:
        if self.supervisor.view.mounts.idle:
            return CONTINUE
        if call.args[3] > PAGE:
            return CONTINUE  # E2BIG, says the kernel
        flags, mode, resolve = structs.unpack_open_how(call.read(call.args[2], call.args[3]))
        both = RESOLVE_BENEATH | RESOLVE_IN_ROOT
        refused = flags >> 32 or resolve & ~RESOLVE_KNOWN or resolve & both == both
        if refused or mode & ~0o7777 or (mode and not flags & (os.O_CREAT | O_TMPFILE)):
            return CONTINUE  # EINVAL, says the kernel
        return self.open(call, 0, 1, flags, mode, resolve)

    def open(self, call: Call, dirfd: int | None, path: int, flags: int, mode: int, resolve: int = 0) -> int:
        """All of them: *dirfd* and *path* are argument numbers, *flags*, *mode* and *resolve* as openat2(2) has them."""
        supervisor = self.supervisor
        if supervisor.view.mounts.idle:
            name = call.string(path)
            # mount(8) looks there for what it could try. Of other files of /proc the shortcut's library is to be hidden.
            if name != FILESYSTEMS and not (supervisor.shortcut.libraries and name.startswith(b"/proc/")):
                return CONTINUE
        making = bool(flags & os.O_CREAT) and not flags & os.O_PATH
        temporary = bool(flags & O_TMPFILE) and not flags & os.O_PATH
        if (making and flags & os.O_DIRECTORY) or (temporary and not (flags & os.O_DIRECTORY and flags & os.O_ACCMODE)):
            return CONTINUE  # EINVAL, says the kernel
        directory = AT_FDCWD if dirfd is None else signed(call.args[dirfd])
        name = call.string(path)
        follow = not (flags & os.O_NOFOLLOW or (flags & os.O_CREAT and flags & os.O_EXCL))
        if making and not resolve and ends_with_slash(name):
            parent = supervisor.view.names.parent(call, directory, name)
            if parent is not None and (parent.crossed or supervisor.view.names.entry(parent)):
                fail(errno.EISDIR)
        try:
            if resolve:
                found = supervisor.view.names.locate(call, directory, name, follow, resolve)
                place = found.place if found else None
                if found and found.crossed and isinstance(place, bytes):
                    if resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT):
                        fail(errno.EXDEV)  # in and out again: the kernel cannot be asked for a part of the way
                    raise Elsewhere(place)
            else:
                place = supervisor.view.names.search(call, directory, name, follow)
        except Elsewhere as elsewhere:
            answer = self.open_host(call, elsewhere.path, flags)
            if answer != CONTINUE:
                return answer
            send = redirect if opens_at_once(elsewhere.path) else redirect_unwatched
            return send(supervisor, call, path, dirfd, elsewhere.path)
        except FileNotFoundError:
            if not making:
                raise
            missing = self.missing(call, directory, name, follow, resolve)
            show(supervisor, call, missing.directory, missing.name)
            return self.create(call, missing.directory, missing.name, flags, mode)
        if place is None and supervisor.view.mounts.devices and not flags & os.O_PATH:
            place = self.far_node(call, directory, name, follow)
        if not isinstance(place, Dentry):
            return self.open_host(call, place, flags) if place else CONTINUE
        show(supervisor, call, place)
        if flags & os.O_PATH and supervisor.view.names.is_hosts(place):
            # Nobody can be given such a descriptor. It allows nothing: what is done by it is asked anew.
            self.check(place, flags)
            return redirect(supervisor, call, path, dirfd, place.node.host_path() or fail(errno.ENOENT))
        if temporary:
            return self.temporary(call, place, flags, mode)
        self.check(place, flags)
        if making:
            supervisor.permissions.demand_making(place)
        supervisor.permissions.demand_open(place, flags)
        if not flags & os.O_PATH:
            device = self.device(place)
            if device is not None:
                return supervisor.files.open_device(call, device, flags)
        if stat.S_ISCHR(place.kind) and os.major(place.stat().rdev) == MEMORY and supervisor.view.names.is_hosts(place):
            return self.memory_device(call, place, flags)
        special = self.special(place) if not flags & os.O_PATH else None
        if special is not None:
            return redirect_unwatched(supervisor, call, path, dirfd, special)
        return supervisor.files.open(call, place, flags)

    def open_host(self, call: Call, place: bytes, flags: int) -> int:
        """Open a path of the host where the view has something else to show: a text of /proc, a device, a directory with names
        that the host's does not have. Else the kernel opens it."""
        supervisor = self.supervisor
        mounts = supervisor.view.mounts
        if mounts.devices and not flags & os.O_PATH:
            if place in mounts.added:
                supervisor.sweep_devices()
                supervisor.refresh_devices()
                if flags & (os.O_ACCMODE | os.O_CREAT):
                    return CONTINUE  # EISDIR, says the kernel
                directory = roots.hidden(supervisor, place).root
                directory.node.entries()  # EACCES belongs to the open
                return supervisor.files.open(call, directory, flags)
            device = self.device(place)
            if device is not None:
                if supervisor.context.credentials is None and not os.access(place, access_of(flags)):
                    fail(errno.EACCES)
                return supervisor.files.open_device(call, device, flags)
        return open_file(supervisor, call, place, flags)

    def device(self, place: Place) -> Dentry | None:
        """The node of the virtual device that a node of whatever file system reaches. EACCES: by a mount with nodev; ENXIO: the
        device has no such part."""
        mounts = self.supervisor.view.mounts
        try:
            found = device_at(mounts, place)
        except OSError:
            return None
        if found is None:
            return None
        mount, part = found
        if isinstance(place, Dentry) and place.mount is not mount and place.mount.options.nodev:
            fail(errno.EACCES)
        if isinstance(place, Dentry) and place.mount.superblock is mount.superblock:
            return place
        nodes = nodes_of(mount)
        if not nodes.has(part):
            fail(errno.ENXIO)
        return Dentry(mount, mount.root if part else None, part_target(mount, part).rpartition(b"/")[2], nodes.node(part + 1))

    def far_node(self, call: Call, dirfd: int, name: bytes, follow: bool) -> bytes | None:
        """The host's path of a name that is far from all mounts, if it leads to a node whose numbers a virtual device has."""
        base = self.supervisor.tasks.place(call.tid, dirfd) if name[:1] != b"/" else b"/"
        if not isinstance(base, bytes):
            return None
        path = os.path.join(base, name)
        try:
            mode = os.stat(path, follow_symlinks=follow).st_mode
        except OSError:
            return None
        return path if stat.S_ISBLK(mode) or stat.S_ISCHR(mode) else None

    def missing(self, call: Call, dirfd: int, name: bytes, follow: bool, resolve: int) -> Missing:
        """Where a name leads that was not found and O_CREAT would make. ENOENT: more than its last component is missing."""
        try:
            self.supervisor.view.names.locate(call, dirfd, name, follow, resolve)
        except Missing as missing:
            return missing
        fail(errno.ENOENT)

    def create(self, call: Call, directory: Dentry, name: bytes, flags: int, mode: int) -> int:
        """O_CREAT of what does not exist."""
        demand_writable(directory)
        if directory.removed:
            fail(errno.ENOENT)
        self.supervisor.permissions.demand_entry(directory)
        uid, gid, umask = self.supervisor.tasks.creator(call.tid)
        node = directory.node.create(name, stat.S_IFREG | left_by_umask(directory, mode & 0o7777, umask), 0, uid, gid)
        self.supervisor.permissions.own(directory, node, uid, gid)
        self.supervisor.view.names.appeared(directory, name)
        return self.open_new(call, directory.child(name, node), flags)

    def temporary(self, call: Call, directory: Dentry, flags: int, mode: int) -> int:
        """O_TMPFILE."""
        if directory.kind != DIRECTORY:
            fail(errno.ENOTDIR)
        demand_writable(directory)
        self.supervisor.permissions.demand_entry(directory)
        uid, gid, umask = self.supervisor.tasks.creator(call.tid)
        node = directory.node.temporary(stat.S_IFREG | left_by_umask(directory, mode & 0o7777, umask), uid, gid)
        self.supervisor.permissions.own(directory, node, uid, gid)
        dentry = Dentry(directory.mount, directory, b"#%d" % node.ino, node)
        dentry.removed = True
        return self.open_new(call, dentry, flags & ~(O_TMPFILE | os.O_DIRECTORY))

    def open_new(self, call: Call, dentry: Dentry, flags: int) -> int:
        """Open what was just made: as it is asked for, whatever its mode."""
        flags &= ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC)
        try:
            return self.supervisor.files.open(call, dentry, flags)
        except PermissionError:
            if not dentry.real:
                with opened_wide(dentry.node):
                    return self.supervisor.files.open(call, dentry, flags)
            with opened_wide(dentry.node):  # only: the task, when it goes on, may give it another mode at once
                handle = dentry.node.open(flags)
            return self.supervisor.files.hand_on(call, dentry, handle, flags)

    def check(self, dentry: Dentry, flags: int) -> None:
        """What open(2) refuses. EEXIST, ELOOP, EISDIR, ENOTDIR, EROFS."""
        if flags & os.O_CREAT and flags & os.O_EXCL:
            fail(errno.EEXIST)
        if flags & os.O_DIRECTORY and dentry.kind != DIRECTORY:
            fail(errno.ENOTDIR)
        if dentry.kind == LINK and not flags & os.O_PATH:
            fail(errno.ELOOP)
        if flags & os.O_PATH:
            return
        writing = flags & (os.O_ACCMODE | os.O_TRUNC)
        if dentry.kind == DIRECTORY:
            if writing or flags & os.O_CREAT:
                fail(errno.EISDIR)
            if flags & os.O_DIRECT:
                fail(errno.EINVAL)
            if dentry.real:
                dentry.node.entries()  # the host's EACCES belongs to the open, not to the listing
        elif writing and dentry.kind == REGULAR:
            demand_writable(dentry)

    def memory_device(self, call: Call, dentry: Dentry, flags: int) -> int:
        """/dev/null and its kin are the same for everybody, and open at once: we do it."""
        kept = os.O_ACCMODE | os.O_NONBLOCK | os.O_APPEND
        descriptor = os.open(dentry.node.host_path() or fail(errno.ENXIO), flags & kept | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_rdev != dentry.stat().rdev:
                fail(errno.ENXIO)
            return call.add_fd(descriptor, None, bool(flags & os.O_CLOEXEC))
        finally:
            os.close(descriptor)

    def special(self, dentry: Dentry) -> bytes | None:
        """The host's name to open instead of a fifo or device; `None` for what we serve. ENXIO (a socket, no such device here),
        EACCES (nodev)."""
        if stat.S_ISSOCK(dentry.kind):
            fail(errno.ENXIO)
        if dentry.real and dentry.kind not in (REGULAR, DIRECTORY):
            return dentry.node.host_path() or fail(errno.ENXIO)
        if stat.S_ISFIFO(dentry.kind):
            return self.supervisor.files.scratch.fifo(key_of(dentry))
        if stat.S_ISCHR(dentry.kind) or stat.S_ISBLK(dentry.kind):
            if dentry.mount.options.nodev:
                fail(errno.EACCES)
            return host_device(dentry.kind, dentry.stat().rdev)
        return None


def access_of(flags: int) -> int:
    """The access mode of open(2) as access(2) wants it."""
    return {os.O_RDONLY: os.R_OK, os.O_WRONLY: os.W_OK}.get(flags & os.O_ACCMODE, os.R_OK | os.W_OK)


def key_of(dentry: Dentry) -> bytes:
    """A name for what stands for a virtual inode in the scratch directory."""
    return b"%d.%d" % (dentry.mount.device, dentry.node.ino)


def ends_with_slash(name: bytes) -> bool:
    """Whether a name has a slash behind a last component that is none of `.` and `..`."""
    return name[-1:] == b"/" and name.rstrip(b"/").rpartition(b"/")[2] not in (b"", b".", b"..")


def opens_at_once(path: bytes) -> bool:
    """Whether opening a host path cannot wait for anybody, as a fifo or a terminal may."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def host_device(kind: int, rdev: int) -> bytes:
    """The host's device node with these numbers. ENXIO: it has none."""
    group = "char" if stat.S_ISCHR(kind) else "block"
    try:
        with open(f"/sys/dev/{group}/{os.major(rdev)}:{os.minor(rdev)}/uevent") as lines:
            name = next(line[8:].strip() for line in lines if line.startswith("DEVNAME="))
        found = os.stat("/dev/" + name)
    except (OSError, StopIteration):
        fail(errno.ENXIO)
    if found.st_rdev != rdev or stat.S_IFMT(found.st_mode) != kind:
        fail(errno.ENXIO)
    return b"/dev/" + name.encode()
