"""Calls that change the tree by name. What is mounted read-only refuses them; across a border they are EXDEV.

The order of the errors is Linux's: a call that takes a whole name finds it first (ENOENT before EROFS); one that removes or
renames an entry asks whether the mount may be written before it looks for the entry; one that makes an entry looks first
(EEXIST before EROFS); rename compares the mounts before anything else.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from vfs.view.calls.names import named, opened, read_only, redirect, redirected, unless
from vfs.view.calls.table import CallTable, Handler
from vfs.view.dentry import DIRECTORY, REGULAR, Dentry, Place
from vfs.view.kernel.abi import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_REMOVEDIR,
    AT_SYMLINK_FOLLOW,
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    XATTR_CREATE,
    XATTR_REPLACE,
)
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.kernel.structs import signed, signed64
from vfs.view.names import Parent, mount_of

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

# call -> the argument numbers of its dirfd (None: the cwd) and its path; for two names, both pairs.
One = dict[str, tuple[int | None, int]]
FOLLOWING: One = {"chmod": (None, 0), "chown": (None, 0), "utime": (None, 0), "utimes": (None, 0)}
FOLLOWING |= {"removexattr": (None, 0), "fchmodat": (0, 1)}
NOT_FOLLOWING: One = {"lchown": (None, 0), "lremovexattr": (None, 0)}
WITH_FLAGS = {"fchmodat2": (0, 1, 3), "fchownat": (0, 1, 4), "utimensat": (0, 1, 3)}
Two = dict[str, tuple[int | None, int, int | None, int, int | None]]
"""And the number of the flags."""
LINKING: Two = {"link": (None, 0, None, 1, None), "linkat": (0, 1, 2, 3, 4)}
RENAMING: Two = {"rename": (None, 0, None, 1, None), "renameat": (0, 1, 2, 3, None), "renameat2": (0, 1, 2, 3, 4)}

DOTS = (b".", b"..")


def install(table: CallTable, supervisor: Supervisor) -> None:
    for name, (dirfd, path) in FOLLOWING.items():
        table.always(named(supervisor, read_only, path, dirfd), name)
    for name, (dirfd, path) in NOT_FOLLOWING.items():
        table.always(named(supervisor, read_only, path, dirfd, follow=False), name)
    for name, (dirfd, path, flags) in WITH_FLAGS.items():
        table.always(named(supervisor, read_only, path, dirfd, flags=flags), name)
    table.always(unless(lambda call: signed64(call.args[1]) < 0, named(supervisor, truncate)), "truncate")
    table.always(unless(bad_attribute, named(supervisor, read_only)), "setxattr")
    table.always(unless(bad_attribute, named(supervisor, read_only, follow=False)), "lsetxattr")
    calls = Changes(supervisor)
    table.always(calls.unnamed(table.handlers["utimensat"]), "utimensat")
    table.always(calls.unnamed(named(supervisor, read_only, 1, 0)), "futimesat")
    table.always(calls.remove(None, 0, directory=False), "unlink")
    table.always(calls.remove(None, 0, directory=True), "rmdir")
    table.always(calls.unlinkat, "unlinkat")
    table.always(calls.make(None, 0, directory=True), "mkdir")
    table.always(calls.make(0, 1, directory=True), "mkdirat")
    table.always(calls.make(None, 0), "mknod")
    table.always(calls.make(0, 1), "mknodat")
    table.always(calls.make(None, 1, link=True), "symlink")
    table.always(calls.make(1, 2, link=True), "symlinkat")
    for name, places in LINKING.items():
        table.always(calls.link(*places), name)
    for name, places in RENAMING.items():
        table.always(calls.rename(*places), name)


def bad_attribute(call: Call) -> bool:
    """Whether setxattr's flags or its name's length are impossible."""
    return bool(call.args[4] & 0xFFFFFFFF & ~(XATTR_CREATE | XATTR_REPLACE)) or not 0 < len(call.string(1)) < 256


def truncate(call: Call, dentry: Dentry) -> int:
    return -(errno.EROFS if dentry.kind == REGULAR else errno.EISDIR if dentry.kind == DIRECTORY else errno.EINVAL)


class Changes:
    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.remove_directory = self.remove(0, 1, directory=True)
        self.remove_file = self.remove(0, 1, directory=False)

    def parent(self, call: Call, dirfd: int | None, path: int) -> Parent | None:
        directory = AT_FDCWD if dirfd is None else signed(call.args[dirfd])
        return self.supervisor.view.names.parent(call, directory, call.string(path))

    def unnamed(self, handler: Handler) -> Handler:
        """utimensat and futimesat change the descriptor itself where the name is null."""
        by_descriptor = opened(self.supervisor, read_only)
        return lambda call: handler(call) if call.args[1] or signed(call.args[0]) == AT_FDCWD else by_descriptor(call)

    # ---------------------------------------------------------------- one entry

    def entry(self, dirfd: int | None, path: int, decide: Callable[[Call, Parent], int]) -> Handler:
        """A handler for a call on one entry, which *decide* answers."""

        def handler(call: Call) -> int:
            if self.supervisor.view.mounts.idle:
                return CONTINUE
            parent = self.parent(call, dirfd, path)
            return CONTINUE if parent is None else decide(call, parent)

        return handler

    def make(self, dirfd: int | None, path: int, directory: bool = False, link: bool = False) -> Handler:
        """A call that makes one entry: a *directory*, a symbolic *link*, or another."""

        def decide(call: Call, parent: Parent) -> int:
            if link and not call.string(0):
                return CONTINUE  # ENOENT, says the kernel
            if link:
                self.supervisor.view.names.host.forget()
            return self.refuse(parent, directory) or self.on_host(call, parent, path, dirfd)

        return self.entry(dirfd, path, decide)

    def refuse(self, parent: Parent, directory: bool) -> int:
        """What is wrong with making a new entry there; 0: nothing that we know of, it is on the host."""
        names = self.supervisor.view.names
        if isinstance(parent.place, bytes):
            return -errno.EEXIST if names.entry(parent) else 0
        if parent.name in DOTS or names.entry(parent):
            return -errno.EEXIST
        return -errno.ENOENT if parent.slashes and not directory else -errno.EROFS

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
            if isinstance(parent.place, bytes):
                point = self.supervisor.view.names.entry(parent)
                if point:
                    return -(errno.EISDIR if point.kind == DIRECTORY and not directory else errno.EBUSY)
                return self.on_host(call, parent, path, dirfd)
            if parent.name in DOTS:
                return -(errno.EISDIR if not directory else errno.EINVAL if parent.name == b"." else errno.ENOTEMPTY)
            return -errno.EROFS

        return self.entry(dirfd, path, decide)

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
            if number or isinstance(source, Dentry):
                return number or -errno.EXDEV
            supervisor.view.names.host.forget()
            if not (crossed or target.crossed) or not name or source is None:
                return self.on_host(call, target, new, new_dirfd)
            both = {old: (old_dirfd, source), new: (new_dirfd, target.path + target.slashes)}
            return redirected(supervisor, call, list(call.args), both)

        return handler

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
            if isinstance(source.place, Dentry):
                if source.name in DOTS:
                    return -errno.EBUSY
                if target.name in DOTS:
                    return -(errno.EEXIST if given & RENAME_NOREPLACE else errno.EBUSY)
                return -errno.EROFS
            # On the host. Mount points are known by their paths: what lies above one keeps its name.
            if supervisor.view.mounts.below(source.path) or supervisor.view.mounts.below(target.path):
                return -errno.EBUSY
            supervisor.view.names.host.forget()
            if not (source.crossed or target.crossed):
                return CONTINUE
            both = {old: (old_dirfd, source.path + source.slashes), new: (new_dirfd, target.path + target.slashes)}
            return redirected(supervisor, call, list(call.args), both)

        return handler
