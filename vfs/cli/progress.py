"""Progress of long work: one line on standard error, on a terminal only."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from vfs.cli.printing import amount, shown

INTERVAL = 0.1


class Progress:
    """Counts files and bytes, and shows them ten times a second at most; in a pipe it only counts. *total*: bytes in all, where
    that is known and there is one file."""

    def __init__(self, total: int = 0) -> None:
        self.total = total
        self.files = 0
        self.bytes = 0
        self._terminal = sys.stderr.isatty()
        # What is over before a person looks up needs no line.
        self._next = time.monotonic() + 5 * INTERVAL
        self._drawn = False
        self._path = b""

    def start(self, path: bytes) -> None:
        """A file is begun."""
        self.files += 1
        self._path = path
        self.advance(0)

    def advance(self, count: int) -> None:
        """*count* more bytes are there."""
        self.bytes += count
        if self._terminal and (now := time.monotonic()) >= self._next:
            self._next = now + INTERVAL
            self._drawn = True
            name = shown(self._path)
            told = f"{100 * self.bytes // self.total}%" if self.total else f"{self.files} files"
            line = f"{told}, {amount(self.bytes)}  {name if len(name) <= 48 else '…' + name[-47:]}"
            print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the line away: something else is about to be printed, or the work is over."""
        if self._drawn:
            self._drawn = False
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.clear()
