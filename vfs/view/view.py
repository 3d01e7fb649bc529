"""View: what one process tree sees: its mounts, and the names that follow from them."""

from __future__ import annotations

from vfs.view.mounts import MountTable
from vfs.view.names import Names
from vfs.view.tasks import Tasks


class View:
    """One view. A supervisor serves several: those that were started inside another."""

    def __init__(self, mounts: MountTable, tasks: Tasks) -> None:
        self.mounts = mounts
        self.names = Names(mounts, tasks)
