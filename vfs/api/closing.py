"""Closing: `with` for everything that has a `close`."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closing:
    """Ends itself at the end of a `with` block."""

    __slots__ = ()

    def close(self) -> None:
        """Release everything. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
