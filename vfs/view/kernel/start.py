"""Start a tree of processes under a filter: `launch` returns in the supervisor.  (Interface; being filled in.)"""

from collections.abc import Callable, Mapping, Sequence

from vfs.view.kernel.filter import Filter
from vfs.view.kernel.notify import Listener


class CannotStart(Exception):
    """A view can't be had here; the text is a sentence for the user."""


class Tree:
    """The tree that was started."""

    listener: Listener
    child: int  # the command's process

    def wait(self) -> int:
        """After the loop has ended: the command's exit status, 128+n when signal n ended it."""
        raise NotImplementedError


def launch(
    filter: Filter,
    argv: Sequence[str | bytes],
    environment: Mapping[str, str] | None = None,
    prepare: Callable[[], None] | None = None,
) -> Tree:
    raise NotImplementedError
