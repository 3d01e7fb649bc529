"""Descriptors that are passed over sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfs.view.calls.table import CallTable
from vfs.view.dentry import DIRECTORY
from vfs.view.kernel.notify import CONTINUE, Call

if TYPE_CHECKING:
    from vfs.view.view import View


def install(table: CallTable, view: View) -> None:
    def send(call: Call) -> int:
        """SCM_RIGHTS gives the receiver a low number, where reads are not trapped: the content must be there."""
        files = view.files
        if files.held:
            for number in call.passed():
                placeholder = files.of_descriptor(call.tid, number)
                if placeholder is not None:
                    files.low_directories = files.low_directories or placeholder.dentry.kind == DIRECTORY
                    files.fill_descriptor(call, number, placeholder)
        return CONTINUE

    table.always(send, "sendmsg", "sendmmsg")
