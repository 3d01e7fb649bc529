"""Calls that change the tree by name. What is mounted read-only refuses them; across a border they are EXDEV."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vfs.view.calls.names import redirect
from vfs.view.calls.table import CallTable, Handler
from vfs.view.kernel.abi import AT_FDCWD
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.kernel.structs import signed
from vfs.view.names import Elsewhere

if TYPE_CHECKING:
    from vfs.view.view import View

Name = tuple[int | None, int]
"""A name among the arguments: the number of its dirfd (`None`: the cwd) and of its path."""

# call -> its names. `creates`: the last name is that of a new entry, so EEXIST comes before EROFS, as in Linux.
CHANGING: dict[str, Sequence[Name]] = {
    "truncate": [(None, 0)],
    "chmod": [(None, 0)],
    "chown": [(None, 0)],
    "lchown": [(None, 0)],
    "utime": [(None, 0)],
    "utimes": [(None, 0)],
    "unlink": [(None, 0)],
    "rmdir": [(None, 0)],
    "setxattr": [(None, 0)],
    "lsetxattr": [(None, 0)],
    "removexattr": [(None, 0)],
    "lremovexattr": [(None, 0)],
    "unlinkat": [(0, 1)],
    "fchmodat": [(0, 1)],
    "fchmodat2": [(0, 1)],
    "fchownat": [(0, 1)],
    "futimesat": [(0, 1)],
    "utimensat": [(0, 1)],
}
CREATING: dict[str, Sequence[Name]] = {
    "mkdir": [(None, 0)],
    "mknod": [(None, 0)],
    "mkdirat": [(0, 1)],
    "mknodat": [(0, 1)],
    "symlink": [(None, 1)],
    "symlinkat": [(1, 2)],
    "link": [(None, 0), (None, 1)],
    "rename": [(None, 0), (None, 1)],
    "linkat": [(0, 1), (2, 3)],
    "renameat": [(0, 1), (2, 3)],
    "renameat2": [(0, 1), (2, 3)],
}
MOVES_NAMES = {"rmdir", "unlinkat", "symlink", "symlinkat", "rename", "renameat", "renameat2"}
"""Calls on the host after which remembered directory strings may lead elsewhere."""


def install(table: CallTable, view: View) -> None:
    for calls, creates in ((CHANGING, False), (CREATING, True)):
        for name, places in calls.items():
            table.always(changing(view, places, creates, name in MOVES_NAMES), name)


def changing(view: View, places: Sequence[Name], creates: bool, moves_names: bool) -> Handler:
    """A handler for a call with one or two names."""

    def handler(call: Call) -> int:
        if not view.mounts.mounts:
            return CONTINUE
        inside = outside = False
        for position, (dirfd, path) in enumerate(places):
            new = creates and position == len(places) - 1
            directory = AT_FDCWD if dirfd is None else signed(call.args[dirfd])
            if not call.args[path]:  # utimensat(fd, NULL)
                return -errno.EROFS if view.files.of_descriptor(call.tid, directory) else CONTINUE
            name = call.string(path)
            try:
                found = view.names.find(call, directory, name, follow=False) is not None
                if found and new and len(places) == 1:
                    return -errno.EEXIST
            except OSError as error:
                if error.errno != errno.ENOENT or not new or view.names.parent_of(call, directory, name) is None:
                    raise
                found = True  # a free name in a mount
            except Elsewhere as elsewhere:
                if len(places) > 1:
                    return -errno.EXDEV
                return redirect(view, call, path, dirfd, elsewhere.path)
            inside, outside = inside or found, outside or not found
        if inside:
            return -errno.EXDEV if outside else -errno.EROFS
        if moves_names:
            view.names.host.forget()
        return CONTINUE

    return handler
