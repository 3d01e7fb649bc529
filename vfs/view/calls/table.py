"""The table that the subjects enter their calls into: handlers by name, and the filter's rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vfs.view.kernel.filter import Filter
from vfs.view.kernel.notify import Call

Handler = Callable[[Call], int]


class CallTable:
    """Handlers by call name. Names that this machine lacks (arm64 has no `stat`) are left out by themselves."""

    def __init__(self) -> None:
        self.filter = Filter()
        self.handlers: dict[str, Handler] = {}

    def handle(self, handler: Handler, *names: str) -> None:
        """Enter a handler for calls whose filter rule is set apart."""
        for name in names:
            self.handlers[name] = handler

    def always(self, handler: Handler, *names: str) -> None:
        """Calls that are trapped whatever their arguments."""
        self.handle(handler, *names)
        self.filter.trap(*names)

    def descriptors(self, handler: Handler, base: int, *names: str, argument: int = 0, also: Sequence[int] = ()) -> None:
        """Calls that are trapped when one argument is a descriptor from *base* on, or one of *also*."""
        self.handle(handler, *names)
        self.filter.trap_fd(names, argument, base, also)
