"""Calls that change the tree by name: make, remove, link and rename entries. Across a border they are EXDEV.

The order of the errors is Linux's: one that removes or renames an entry asks whether the mount may be written before it looks for
the entry; one that makes an entry looks first (EEXIST before EROFS); rename compares the mounts before anything else.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from vfs.api import fail
from vfs.api.acl import DEFAULT
from vfs.view.calls.names import demand_writable, redirect, redirected, show
from vfs.view.calls.table import CallTable, Handler
from vfs.view.dentry import DIRECTORY, Dentry, Place
from vfs.view.kernel.abi import AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, RENAME_EXCHANGE, RENAME_NOREPLACE
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.kernel.structs import signed
from vfs.view.names import Parent, join, mount_of
from vfs.view.proc.links import MAGIC

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

# call -> the argument numbers of its dirfd (None: the cwd) and its path, for both names, and of the flags.
Two = dict[str, tuple[int | None, int, int | None, int, int | None]]
LINKING: Two = {"link": (None, 0, None, 1, None), "linkat": (0, 1, 2, 3, 4)}
RENAMING: Two = {"rename": (None, 0, None, 1, None), "renameat": (0, 1, 2, 3, None), "renameat2": (0, 1, 2, 3, 4)}

DOTS = (b".", b"..")
MAKEABLE = (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)


def install(table: CallTable, supervisor: Supervisor) -> None:
    calls = Changes(supervisor)
    table.always(calls.remove(None, 0, directory=False), "unlink")
    table.always(calls.remove(None, 0, directory=True), "rmdir")
    table.always(calls.unlinkat, "unlinkat")
    table.always(calls.make(None, 0, calls.directory), "mkdir")
    table.always(calls.make(0, 1, calls.directory), "mkdirat")
    table.always(calls.make(None, 0, calls.node), "mknod")
    table.always(calls.make(0, 1, calls.node), "mknodat")
    table.always(calls.make(None, 1, calls.symlink), "symlink")
    table.always(calls.make(1, 2, calls.symlink), "symlinkat")
    for name, places in LINKING.items():
        table.always(calls.link(*places), name)
    for name, places in RENAMING.items():
        table.always(calls.rename(*places), name)


def left_by_umask(directory: Dentry, mode: int, umask: int) -> int:
    """What the umask leaves of a new entry's mode; a default ACL takes its place (acl(5))."""
    try:
        directory.node.getxattr(DEFAULT)
    except OSError:
        return mode & ~umask
    return mode


def is_opened(name: bytes) -> bool:
    """Whether a name stands for an open descriptor: it is empty (AT_EMPTY_PATH), or a link of /proc."""
    return not name or MAGIC.fullmatch(name.replace(b"/self/", b"/0/").replace(b"/thread-self/", b"/0/")) is not None


Maker = Callable[[Call, Dentry, bytes, int], None]
"""Makes an entry of a virtual directory; the number of the path's argument is the last."""


class Changes:
    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.remove_directory = self.remove(0, 1, directory=True)
        self.remove_file = self.remove(0, 1, directory=False)

    def parent(self, call: Call, dirfd: int | None, path: int) -> Parent | None:
        directory = AT_FDCWD if dirfd is None else signed(call.args[dirfd])
        return self.supervisor.view.names.parent(call, directory, call.string(path))

    # ---------------------------------------------------------------- one entry

    def entry(self, dirfd: int | None, path: int, decide: Callable[[Call, Parent], int]) -> Handler:
        """A handler for a call on one entry, which *decide* answers."""

        def handler(call: Call) -> int:
            if self.supervisor.view.mounts.idle:
                return CONTINUE
            parent = self.parent(call, dirfd, path)
            if parent is None:
                return CONTINUE
            if isinstance(parent.place, Dentry):
                show(self.supervisor, call, parent.place, parent.name)
            return decide(call, parent)

        return handler

    def make(self, dirfd: int | None, path: int, maker: Maker) -> Handler:
        """A call that makes one entry."""
        link = maker == self.symlink

        def decide(call: Call, parent: Parent) -> int:
            if link and not call.string(0):
                return CONTINUE  # ENOENT, says the kernel
            if link:
                self.supervisor.view.names.host.forget()
            number = self.refuse(parent, maker == self.directory)
            if number or isinstance(parent.place, bytes):
                return number or self.on_host(call, parent, path, dirfd)
            self.supervisor.permissions.demand_entry(parent.place)
            maker(call, parent.place, parent.name, path)
            self.supervisor.view.names.appeared(parent.place, parent.name)
            return 0

        return self.entry(dirfd, path, decide)

    def directory(self, call: Call, above: Dentry, name: bytes, path: int) -> None:
        uid, gid, umask = self.supervisor.tasks.creator(call.tid)
        node = above.node.mkdir(name, left_by_umask(above, call.args[path + 1] & 0o1777, umask), uid, gid)
        self.supervisor.permissions.own(above, node, uid, gid)

    def node(self, call: Call, above: Dentry, name: bytes, path: int) -> None:
        mode = call.args[path + 1] & 0xFFFFFFFF
        kind = stat.S_IFMT(mode) or stat.S_IFREG
        if kind not in MAKEABLE:
            fail(errno.EPERM if kind == DIRECTORY else errno.EINVAL)
        uid, gid, umask = self.supervisor.tasks.creator(call.tid)
        rdev = call.args[path + 2] if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0
        node = above.node.create(name, kind | left_by_umask(above, mode & 0o7777, umask), rdev & 0xFFFFFFFF, uid, gid)
        self.supervisor.permissions.own(above, node, uid, gid)

    def symlink(self, call: Call, above: Dentry, name: bytes, path: int) -> None:
        uid, gid, _ = self.supervisor.tasks.creator(call.tid)
        self.supervisor.permissions.own(above, above.node.symlink(name, call.string(0), uid, gid), uid, gid)

    def refuse(self, parent: Parent, directory: bool) -> int:
        """What is wrong with making a new entry there; 0: nothing that we know of."""
        names = self.supervisor.view.names
        if isinstance(parent.place, bytes):
            return -errno.EEXIST if names.entry(parent) else 0
        if parent.name in DOTS or names.entry(parent):
            return -errno.EEXIST
        if parent.slashes and not directory:
            return -errno.ENOENT
        if parent.place.mount.read_only:
            return -errno.EROFS
        return -errno.ENOENT if parent.place.removed else 0

    def on_host(self, call: Call, parent: Parent, path: int, dirfd: int | None) -> int:
        """The kernel does it, under the host's name when its own name leads through a mount."""
        if not parent.crossed:
            return CONTINUE
        return redirect(self.supervisor, call, path, dirfd, parent.path + parent.slashes)

    def unlinkat(self, call: Call) -> int:
        flags = call.args[2] & 0xFFFFFFFF
        if flags & ~AT_REMOVEDIR:
            return CONTINUE  # EINVAL, says the kernel
        return self.remove_directory(call) if flags else self.remove_file(call)

    def remove(self, dirfd: int | None, path: int, directory: bool) -> Handler:
        """A call that removes one entry."""

        def decide(call: Call, parent: Parent) -> int:
            names = self.supervisor.view.names
            if isinstance(parent.place, bytes):
                point = names.entry(parent)
                if point is None:
                    return self.on_host(call, parent, path, dirfd)
                is_directory = isinstance(point, Dentry) and point.kind == DIRECTORY
                return -(errno.EISDIR if is_directory and not directory else errno.EBUSY)
            if parent.name in DOTS:
                return -(errno.EISDIR if not directory else errno.EINVAL if parent.name == b"." else errno.ENOTEMPTY)
            demand_writable(parent.place)
            dentry = self.free(names.entry(parent), parent.place)
            self.supervisor.permissions.demand_removal(parent.place, dentry)
            if (dentry.kind == DIRECTORY) != directory:
                return -(errno.ENOTDIR if directory else errno.EISDIR)
            if parent.slashes and not directory:
                return -errno.ENOTDIR
            if directory:
                parent.place.node.rmdir(parent.name)
            else:
                parent.place.node.unlink(parent.name)
            names.vanished(parent.place, parent.name)
            self.supervisor.files.removed(dentry)
            return 0

        return self.entry(dirfd, path, decide)

    def free(self, dentry: Place | None, directory: Dentry) -> Dentry:
        """An entry that was looked up, to be removed or renamed. ENOENT; EBUSY: something is mounted there or below."""
        if dentry is None:
            fail(errno.ENOENT)
        if not isinstance(dentry, Dentry) or dentry.mount is not directory.mount or dentry.parent is None:
            fail(errno.EBUSY)
        if dentry.kind == DIRECTORY and self.supervisor.view.mounts.under(dentry):
            fail(errno.EBUSY)
        return dentry

    # ---------------------------------------------------------------- two names

    def link(self, old_dirfd: int | None, old: int, new_dirfd: int | None, new: int, flags: int | None) -> Handler:
        supervisor = self.supervisor

        def handler(call: Call) -> int:
            given = call.args[flags] & 0xFFFFFFFF if flags is not None else 0
            if supervisor.view.mounts.idle or given & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH):
                return CONTINUE
            start, name = AT_FDCWD if old_dirfd is None else signed(call.args[old_dirfd]), call.string(old)
            source: Place | None
            if not name and not given & AT_EMPTY_PATH:
                return CONTINUE  # ENOENT, says the kernel
            if not name:
                source, crossed = supervisor.tasks.place(call.tid, start), False
            else:
                found = supervisor.view.names.locate(call, start, name, bool(given & AT_SYMLINK_FOLLOW))
                source, crossed = (found.place, found.crossed) if found else (None, False)
            target = self.parent(call, new_dirfd, new)
            if target is None:
                return CONTINUE
            number = self.refuse(target, False)
            if number and isinstance(source, bytes) and not os.path.lexists(source):
                return -errno.ENOENT
            if number:
                return number
            if isinstance(target.place, Dentry) and target.place.real and not isinstance(source, Dentry) and is_opened(name):
                return self.link_opened(call, new, new_dirfd, target.place, target.name)
            if isinstance(source, Dentry) or isinstance(target.place, Dentry):
                if source is None or mount_of(target.place) is not mount_of(source):
                    return -errno.EXDEV
                return self.link_virtual(source, target)
            supervisor.view.names.host.forget()
            if not (crossed or target.crossed) or not name or source is None:
                return self.on_host(call, target, new, new_dirfd)
            both = {old: (old_dirfd, source), new: (new_dirfd, target.path + target.slashes)}
            return redirected(supervisor, call, list(call.args), both)

        return handler

    def link_opened(self, call: Call, new: int, dirfd: int | None, directory: Dentry, name: bytes) -> int:
        """A file of the host's, that the task has open, gets a name in a directory of the host's (O_TMPFILE, then linkat)."""
        path = directory.node.host_path()
        if path is None:
            return -errno.ENOENT
        self.supervisor.view.names.appeared(directory, name)
        return redirected(self.supervisor, call, list(call.args), {new: (dirfd, join(path, name))})

    def link_virtual(self, source: Place | None, target: Parent) -> int:
        assert isinstance(source, Dentry) and isinstance(target.place, Dentry)  # they are of one mount
        self.supervisor.permissions.demand_link(source)
        self.supervisor.permissions.demand_entry(target.place)
        if source.kind == DIRECTORY:
            return -errno.EPERM
        target.place.node.link(target.name, source.node)
        self.supervisor.view.names.appeared(target.place, target.name)
        return 0

    def rename(self, old_dirfd: int | None, old: int, new_dirfd: int | None, new: int, flags: int | None) -> Handler:
        supervisor = self.supervisor

        def handler(call: Call) -> int:
            given = call.args[flags] & 0xFFFFFFFF if flags is not None else 0
            odd = given & ~7 or (given & RENAME_EXCHANGE and given != RENAME_EXCHANGE)
            if supervisor.view.mounts.idle or odd:
                return CONTINUE
            source, target = self.parent(call, old_dirfd, old), self.parent(call, new_dirfd, new)
            if source is None or target is None:
                return CONTINUE
            if mount_of(source.place) is not mount_of(target.place):
                return -errno.EXDEV
            if isinstance(source.place, Dentry) and isinstance(target.place, Dentry):
                return self.rename_virtual(call, source, source.place, target, target.place, given)
            # On the host. Mount points are known by their paths: what lies above one keeps its name.
            if supervisor.view.mounts.below(source.path) or supervisor.view.mounts.below(target.path):
                return -errno.EBUSY
            supervisor.view.names.host.forget()
            if not (source.crossed or target.crossed):
                return CONTINUE
            both = {old: (old_dirfd, source.path + source.slashes), new: (new_dirfd, target.path + target.slashes)}
            return redirected(supervisor, call, list(call.args), both)

        return handler

    def rename_virtual(self, call: Call, source: Parent, old: Dentry, target: Parent, new: Dentry, flags: int) -> int:
        names = self.supervisor.view.names
        show(self.supervisor, call, old, source.name)
        if source.name in DOTS:
            return -errno.EBUSY
        if target.name in DOTS:
            return -(errno.EEXIST if flags & RENAME_NOREPLACE else errno.EBUSY)
        demand_writable(old)
        moved = self.free(names.entry(source), old)
        covered = names.entry(target)
        replaced = self.free(covered, new) if covered is not None else None
        if replaced is not None and flags & RENAME_NOREPLACE:
            return -errno.EEXIST
        if replaced is None and flags & RENAME_EXCHANGE:
            return -errno.ENOENT
        slashes = source.slashes or (target.slashes and not flags & RENAME_EXCHANGE)
        if slashes and moved.kind != DIRECTORY:
            return -errno.ENOTDIR
        if flags & RENAME_EXCHANGE and target.slashes and replaced is not None and replaced.kind != DIRECTORY:
            return -errno.ENOTDIR
        if replaced is not None and replaced.node.ino == moved.node.ino:
            return 0  # two names of one file: POSIX wants both to stay
        self.supervisor.permissions.demand_move(old, moved, new, replaced, bool(flags & RENAME_EXCHANGE))
        old.node.rename(source.name, new.node, target.name, flags)
        names.moved(old, source.name, new, target.name, bool(flags & RENAME_EXCHANGE))
        if replaced is not None and not flags & RENAME_EXCHANGE:
            self.supervisor.files.removed(replaced)
        return 0
