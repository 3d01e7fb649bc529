"""inotify watches on virtual files: set on what stands for them, where opening, reading and closing are real events."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vfs.view.calls.names import named, redirected
from vfs.view.calls.table import CallTable
from vfs.view.dentry import Dentry
from vfs.view.kernel.abi import IN_DONT_FOLLOW
from vfs.view.kernel.notify import Call

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor


def install(table: CallTable, supervisor: Supervisor) -> None:
    def watch(call: Call, dentry: Dentry) -> int:
        placeholder = supervisor.files.placeholder(dentry)
        arguments = list(call.args)
        arguments[2] &= ~IN_DONT_FOLLOW  # our name for it is a link
        return redirected(supervisor, call, arguments, {1: (None, b"/proc/%d/fd/%d" % (os.getpid(), placeholder.holder))})

    table.always(named(supervisor, watch, path=1), "inotify_add_watch")
