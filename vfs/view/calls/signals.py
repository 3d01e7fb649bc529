"""Signals: a call that one interrupted before it was received begins again (`vfs.view.kernel.interrupted`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfs.view.calls.table import CallTable
from vfs.view.kernel.interrupted import Interrupted

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor


def install(table: CallTable, supervisor: Supervisor) -> None:
    Interrupted(table.filter).install(table.always)
