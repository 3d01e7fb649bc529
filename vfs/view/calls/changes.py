"""Calls that change the tree by name. What is mounted read-only refuses them; across a border they are EXDEV.

The order of the errors is Linux's: a call that takes a whole name finds it first (ENOENT before EROFS); one that removes or
renames an entry asks whether the mount may be written before it looks for the entry; one that makes an entry looks first
(EEXIST before EROFS); rename compares the mounts before anything else.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from vfs.view.calls.names import named, read_only, redirect
from vfs.view.calls.table import CallTable, Handler
from vfs.view.dentry import Dentry
from vfs.view.kernel.abi import AT_FDCWD
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.kernel.structs import signed
from vfs.view.names import Elsewhere

if TYPE_CHECKING:
    from vfs.view.view import View

# call -> the argument numbers of its dirfd (None: the cwd) and its path; for two names, both pairs.
One = dict[str, tuple[int | None, int]]
FOLLOWING: One = {"truncate": (None, 0), "chmod": (None, 0), "chown": (None, 0), "utime": (None, 0), "utimes": (None, 0)}
FOLLOWING |= {"setxattr": (None, 0), "removexattr": (None, 0), "futimesat": (0, 1), "fchmodat": (0, 1)}
NOT_FOLLOWING: One = {"lchown": (None, 0), "lsetxattr": (None, 0), "lremovexattr": (None, 0)}
WITH_FLAGS = {"fchmodat2": (0, 1, 3), "fchownat": (0, 1, 4), "utimensat": (0, 1, 3)}
REMOVING: One = {"unlink": (None, 0), "rmdir": (None, 0), "unlinkat": (0, 1)}
MAKING: One = {"mkdir": (None, 0), "mknod": (None, 0), "mkdirat": (0, 1), "mknodat": (0, 1), "symlink": (None, 1)}
MAKING |= {"symlinkat": (1, 2)}
Two = dict[str, tuple[int | None, int, int | None, int]]
LINKING: Two = {"link": (None, 0, None, 1), "linkat": (0, 1, 2, 3)}
RENAMING: Two = {"rename": (None, 0, None, 1), "renameat": (0, 1, 2, 3), "renameat2": (0, 1, 2, 3)}


def install(table: CallTable, view: View) -> None:
    for name, (dirfd, path) in FOLLOWING.items():
        table.always(named(view, read_only, path, dirfd), name)
    for name, (dirfd, path) in NOT_FOLLOWING.items():
        table.always(named(view, read_only, path, dirfd, follow=False), name)
    for name, (dirfd, path, flags) in WITH_FLAGS.items():
        table.always(named(view, read_only, path, dirfd, flags=flags), name)
    calls = Changes(view)
    for name, (dirfd, path) in REMOVING.items():
        table.always(calls.entry(dirfd, path, creates=False), name)
    for name, (dirfd, path) in MAKING.items():
        table.always(calls.entry(dirfd, path, creates=True), name)
    for name, places in LINKING.items():
        table.always(calls.link(*places), name)
    for name, places in RENAMING.items():
        table.always(calls.rename(*places), name)


class Changes:
    def __init__(self, view: View) -> None:
        self.view = view

    def parent(self, call: Call, dirfd: int | None, path: int) -> tuple[Dentry | None, bytes]:
        """The virtual directory that holds a name's last component (`None`: a host's), and the name."""
        name = call.string(path)
        directory = AT_FDCWD if dirfd is None else signed(call.args[dirfd])
        found = self.view.names.parent_of(call, directory, name)
        return (found[0] if found else None), name

    def entry(self, dirfd: int | None, path: int, creates: bool) -> Handler:
        """A call that makes or removes one entry."""
        view = self.view

        def handler(call: Call) -> int:
            if not view.mounts.mounts:
                return CONTINUE
            directory, name = self.parent(call, dirfd, path)
            start = AT_FDCWD if dirfd is None else signed(call.args[dirfd])
            if directory is not None:
                if creates and self.exists(call, start, name):
                    return -errno.EEXIST
                return -errno.EROFS
            # On the host; a mount point itself is busy.
            try:
                if view.names.find(call, start, name, follow=False) is not None:
                    return -errno.EEXIST if creates else -errno.EBUSY
            except Elsewhere as elsewhere:
                return redirect(view, call, path, dirfd, elsewhere.path)
            view.names.host.forget()
            return CONTINUE

        return handler

    def exists(self, call: Call, dirfd: int, name: bytes) -> bool:
        try:
            return self.view.names.find(call, dirfd, name, follow=False) is not None
        except FileNotFoundError:
            return False

    def link(self, old_dirfd: int | None, old: int, new_dirfd: int | None, new: int) -> Handler:
        view = self.view

        def handler(call: Call) -> int:
            if not view.mounts.mounts:
                return CONTINUE
            start = AT_FDCWD if old_dirfd is None else signed(call.args[old_dirfd])
            try:
                source = view.names.find(call, start, call.string(old), follow=False)
            except Elsewhere:
                return -errno.EXDEV
            directory, name = self.parent(call, new_dirfd, new)
            if directory is None:
                return CONTINUE if source is None else -errno.EXDEV
            target_start = AT_FDCWD if new_dirfd is None else signed(call.args[new_dirfd])
            return -errno.EEXIST if self.exists(call, target_start, name) else -errno.EROFS

        return handler

    def rename(self, old_dirfd: int | None, old: int, new_dirfd: int | None, new: int) -> Handler:
        view = self.view

        def handler(call: Call) -> int:
            if not view.mounts.mounts:
                return CONTINUE
            source, old_name = self.parent(call, old_dirfd, old)
            target, new_name = self.parent(call, new_dirfd, new)
            if source is not None or target is not None:
                same = source is not None and target is not None and source.mount is target.mount
                return -errno.EROFS if same else -errno.EXDEV
            for dirfd, name in ((old_dirfd, old_name), (new_dirfd, new_name)):
                try:
                    if view.names.find(call, AT_FDCWD if dirfd is None else signed(call.args[dirfd]), name, False) is not None:
                        return -errno.EBUSY  # a mount point
                except Elsewhere:
                    return -errno.EXDEV
            view.names.host.forget()
            return CONTINUE

        return handler
