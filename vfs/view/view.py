"""View: what one process tree sees: its mounts, and the names that follow from them."""

from __future__ import annotations

from vfs.view.mounts import Mount, MountTable
from vfs.view.names import Names
from vfs.view.services import Services
from vfs.view.tasks import Tasks


class View:
    """One view. A supervisor serves several: those that were started inside another, its *parent*."""

    def __init__(self, mounts: MountTable, tasks: Tasks, parent: View | None = None, number: int = 0) -> None:
        self.mounts = mounts
        self.names = Names(mounts, tasks)
        self.parent, self.number = parent, number
        self.hidden: dict[bytes, Mount] = dict(parent.hidden) if parent else {}
        """What shows directories of the host to those who have their root there (`roots`), by path."""
        self.services: Services = parent.services.fork() if parent else Services()
        self.name: str = parent.name if parent else ""
        """As `viewname` sets it. Text of the user's."""
        self.human: bool = parent.human if parent else False
        """Permissions are enforced (`umview -s`)."""

    def is_within(self, other: View) -> bool:
        """Whether it is *other*, or was started inside it."""
        return other in ancestry(self)


def ancestry(view: View | None) -> list[View]:
    """A view, and those that it was started in, the outermost last."""
    found = []
    while view is not None:
        found.append(view)
        view = view.parent
    return found
