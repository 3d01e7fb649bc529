"""What all kinds of extents share, and the two that have no tables: flat ones and those of zeros."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import NamedTuple

from vfs.api import Storage, fail
from vfs.vd.disk import DATA, ZERO


class Span(NamedTuple):
    """A range of an extent: *offset* and *length* in it; *kind* as `vfs.vd.disk` has them; of `DATA` the *position* in the
    extent's file. Bytes."""

    offset: int
    length: int
    kind: int
    position: int = 0


Below = Callable[[int, int], bytes]
"""What the parent has (zeros without one) at offset and length in an extent."""


class DiskExtent:
    """One extent. Offsets and lengths lie inside it, in bytes; whoever calls has seen to that. Changes happen under the disk's
    lock. *size* bytes; *sealed*: says why it cannot be written, else empty; *grain*: bytes, 0 without; *unclean*: its last writer
    did not finish."""

    kind = ""
    sealed = ""
    grain = 0
    unclean = False

    def __init__(self, source: Storage | None, size: int) -> None:
        self.source, self.size = source, size
        self.below: Below | None = None
        """Set when the disk has a parent."""

    def spans(self, offset: int, length: int) -> Iterator[Span]:
        """How the range is stored: in order, without gaps."""
        raise NotImplementedError

    def content(self, offset: int, length: int) -> bytes:
        """A range that `spans` gave as `PACKED`."""
        raise NotImplementedError

    def begin(self) -> None:
        """Called before the first change of an opening."""

    def write(self, offset: int, content: memoryview) -> None:
        fail(errno.EROFS, self.sealed)

    def zero(self, offset: int, length: int) -> None:
        fail(errno.EROFS, self.sealed)

    def discard(self, offset: int, length: int) -> None:
        """A hint."""

    def flush(self) -> None:
        """Make everything durable."""

    def finish(self) -> None:
        """After the last `flush` of an extent that was changed: it is left as others want to find it."""


class FlatExtent(DiskExtent):
    """A range of a file, as it is."""

    kind = "FLAT"

    def __init__(self, source: Storage, size: int, start: int) -> None:
        super().__init__(source, size)
        self.file, self.start = source, start
        if source.read_only:
            self.sealed = f"{source.name}: read-only"

    def spans(self, offset: int, length: int) -> Iterator[Span]:
        yield Span(offset, length, DATA, self.start + offset)

    def write(self, offset: int, content: memoryview) -> None:
        self.file.write(self.start + offset, content)

    def zero(self, offset: int, length: int) -> None:
        self.file.zero(self.start + offset, length)

    def discard(self, offset: int, length: int) -> None:
        self.file.discard(self.start + offset, length)

    def flush(self) -> None:
        self.file.flush()


class ZeroExtent(DiskExtent):
    """Zeros that no file has."""

    kind = "ZERO"
    sealed = "an extent of kind ZERO cannot be written"

    def __init__(self, size: int) -> None:
        super().__init__(None, size)

    def spans(self, offset: int, length: int) -> Iterator[Span]:
        yield Span(offset, length, ZERO)

    def zero(self, offset: int, length: int) -> None:
        """It is."""
