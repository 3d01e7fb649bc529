"""Changed pages of the tables, written through the log (2.3.2, "Log Entry").

One entry is in the log at a time, at its beginning. It may be overwritten when what it holds is durable in its place as well,
which is so because content is made durable before the next entry is written, and with it all that was written before.
"""

from __future__ import annotations

import os
from typing import Final

from vfs.api import Storage, unsupported
from vfs.vd.vhdx import layout
from vfs.vd.vhdx.headers import Headers, with_checksum
from vfs.vd.vhdx.layout import LOG_SECTOR, LogHeader

PAGES: Final = (LOG_SECTOR - layout.LOG_HEADER_SIZE) // layout.DESCRIPTOR.size
"""Of one entry: as many as have descriptors in its first sector. The smallest log has room for twice as many."""


class Journal:
    """EOPNOTSUPP: the file has no log."""

    def __init__(self, file: Storage, headers: Headers) -> None:
        self.file, self.headers = file, headers
        if headers.current.log_length < layout.MIB:
            raise unsupported(f"{file.name}: has no log, without which it is not written to")
        self.guid = os.urandom(16)
        self.sequence = 0

    def begin(self) -> None:
        """Say in the headers that somebody writes: both the file and what the guest sees are going to change, and a log with
        our mark is to be replayed."""
        self.headers.update(file_guid=os.urandom(16), data_guid=os.urandom(16), log_guid=self.guid)

    def write(self, pages: list[tuple[int, bytearray]]) -> None:
        """Change pages (offset, content) of the file, in this order: after a crash all of them are changed up to some point.
        They are so for good when this returns, though not yet durable in their places."""
        for start in range(0, len(pages), PAGES):
            if start:
                self.file.flush()
            some = pages[start : start + PAGES]
            self.file.write(self.headers.current.log_offset, self._entry(some))
            self.file.flush()
            for offset, content in some:
                self.file.write(offset, memoryview(content))

    def _entry(self, pages: list[tuple[int, bytearray]]) -> bytes:
        self.sequence += 1
        size = self.file.size
        length = (1 + len(pages)) * LOG_SECTOR
        head = LogHeader(layout.LOG_SIGNATURE, 0, length, 0, self.sequence, len(pages), 0, self.guid, size, size).pack()
        descriptors, sectors = [head], []
        for offset, content in pages:
            leading, trailing = int.from_bytes(content[:8], "little"), bytes(content[-4:])
            descriptors.append(layout.DESCRIPTOR.pack(layout.DATA_DESCRIPTOR, trailing, leading, offset, self.sequence))
            high, low = self.sequence >> 32, self.sequence & 0xFFFFFFFF
            sectors.append(layout.DATA_SECTOR.pack(layout.DATA_SIGNATURE, high, bytes(content[8:-4]), low))
        return with_checksum(b"".join(descriptors).ljust(LOG_SECTOR, b"\0") + b"".join(sectors))

    def end(self) -> None:
        """All is durable in its place: the log is empty."""
        self.file.flush()
        self.headers.update(log_guid=layout.NO_GUID)
