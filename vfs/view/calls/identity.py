"""Who am I: mount(8) and umount(8) ask for uid 0 before they try.

On the host they are set-user-ID programs. Without privilege (no_new_privs) they would refuse at once what the view
allows everybody, so these two, and only these, are told that they are root.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vfs.view.calls.table import CallTable
from vfs.view.kernel.notify import CONTINUE, Call

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

BELIEVERS = (b"mount", b"umount")


def install(table: CallTable, supervisor: Supervisor) -> None:
    def identity(call: Call) -> int:
        return 0 if os.path.basename(supervisor.tasks.program(call.tid)) in BELIEVERS else CONTINUE

    if os.geteuid() != 0:
        table.always(identity, "getuid", "geteuid", "getgid", "getegid")
