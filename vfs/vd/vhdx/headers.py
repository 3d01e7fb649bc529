"""The two headers: the valid one with the higher sequence number counts, the other one is what an update overwrites."""

from __future__ import annotations

import errno
import struct
from typing import Any, Final

from vfs.api import Storage, damaged, fail, unsupported
from vfs.api.crc32c import crc32c
from vfs.vd.vhdx import layout
from vfs.vd.vhdx.layout import Header

SEQUENCE_MAX: Final = (1 << 64) - (1 << 16)
"""Nobody has counted as far; a damaged file may say so."""


def checksum(raw: bytes) -> int:
    """Of a structure that has its checksum at `CHECKSUM_OFFSET`: counted with four zeros there."""
    at = layout.CHECKSUM_OFFSET
    return crc32c(0xFFFFFFFF, raw[:at] + bytes(4) + raw[at + 4 :]) ^ 0xFFFFFFFF


def checksum_holds(raw: bytes) -> bool:
    return checksum(raw) == int.from_bytes(raw[layout.CHECKSUM_OFFSET : layout.CHECKSUM_OFFSET + 4], "little")


def with_checksum(raw: bytes) -> bytes:
    at = layout.CHECKSUM_OFFSET
    return raw[:at] + struct.pack("<I", checksum(raw)) + raw[at + 4 :]


def read_headers(source: Storage) -> list[Header | None]:
    """Both, `None` where one is not valid. EINVAL: no VHDX image."""
    if source.size < layout.HEADER_SECTION or source.read(0, 8) != layout.SIGNATURE:
        fail(errno.EINVAL, f"{source.name}: not a VHDX image")
    found: list[Header | None] = []
    for offset in layout.HEADER_OFFSETS:
        raw = source.read(offset, layout.HEADER_SIZE)
        valid = raw[:4] == layout.HEADER_SIGNATURE and checksum_holds(raw)
        found.append(Header.unpack(raw) if valid else None)
    return found


class Headers:
    """*current* is the header that counts."""

    def __init__(self, source: Storage) -> None:
        self.file = source
        first, second = read_headers(source)
        if first is None and second is None:
            raise damaged(f"{source.name}: both VHDX headers are damaged")
        # Disk2vhd writes the same header twice.
        if first is not None and second is not None and first.sequence == second.sequence and first != second:
            raise damaged(f"{source.name}: two VHDX headers with the sequence number {first.sequence}")
        self._slot = 0 if second is None or (first is not None and first.sequence >= second.sequence) else 1
        current = second if self._slot else first
        assert current is not None
        self.current = current
        if current.version != layout.VERSION:
            raise unsupported(f"{source.name}: VHDX version {current.version}, only 1 is read")
        start, length = current.log_offset, current.log_length
        if length and (start % layout.MIB or length % layout.MIB or not layout.MIB <= start <= source.size - length):
            raise damaged(f"{source.name}: a log of {length} bytes at {start} of {source.size} bytes")

    def update(self, **changes: bytes) -> None:
        """Change fields, durably: both headers are written, one after the other, so that one is valid at any time."""
        if self.current.sequence > SEQUENCE_MAX:
            raise damaged(f"{self.file.name}: the header's sequence number {self.current.sequence} leaves none for another")
        fields: dict[str, Any] = dict(changes)
        for _ in layout.HEADER_OFFSETS:
            self._slot = 1 - self._slot
            self.current = self.current._replace(sequence=self.current.sequence + 1, **fields)
            self.file.write(layout.HEADER_OFFSETS[self._slot], with_checksum(self.current.pack()))
            self.file.flush()
