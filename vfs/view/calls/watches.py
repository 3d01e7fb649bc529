"""inotify watches on what is virtual: set on what stands for it, where opening, reading and closing are real events, or on the
mirror of a directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vfs.view.calls.names import named, redirected
from vfs.view.calls.table import CallTable
from vfs.view.dentry import DIRECTORY, Dentry
from vfs.view.kernel.abi import IN_DONT_FOLLOW
from vfs.view.kernel.notify import Call

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor


def install(table: CallTable, supervisor: Supervisor) -> None:
    def watch(call: Call, dentry: Dentry) -> int:
        name = dentry.node.host_path() if dentry.real else None
        if name is None and dentry.kind == DIRECTORY and not dentry.mount.constant:
            name = supervisor.files.mirrors.watched(dentry)
        if name is None:
            name = b"/proc/%d/fd/%d" % (os.getpid(), supervisor.files.placeholder(dentry).holder)
        arguments = list(call.args)
        arguments[2] &= ~IN_DONT_FOLLOW  # our name for it is a link
        return redirected(supervisor, call, arguments, {1: (None, name)})

    table.always(named(supervisor, watch, path=1), "inotify_add_watch")
