"""The device and its handle."""

from __future__ import annotations

import errno
import os

from vfs.api import Device, Handle, Storage, fail

SIZE = 65536
"""Bytes: what the book gives it."""


class Trivhd(Device):
    """*content* is shared by all handles, and lives as long as the mount."""

    type = "trivhd"
    character = True

    def __init__(self, read_only: bool = False) -> None:
        super().__init__()
        self.read_only = read_only
        self.content = bytearray(SIZE)

    def storages(self) -> dict[int, Storage]:
        return {}

    def open(self, sub_device: int, flags: int = 0) -> Handle:
        if sub_device:
            fail(errno.ENXIO, f"trivhd: no sub-device {sub_device}")
        if self.read_only and flags & os.O_ACCMODE != os.O_RDONLY:
            fail(errno.EROFS, "trivhd: read-only")
        return TrivhdHandle(self, flags)

    def details(self) -> dict[str, str | int]:
        return {"size": SIZE}


class TrivhdHandle(Handle):
    """Reading ends at 64 KiB, and so does writing: ENOSPC."""

    __slots__ = ("_device", "_writable")

    def __init__(self, device: Trivhd, flags: int) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self._device = device
        self._writable = flags & os.O_ACCMODE != os.O_RDONLY

    def size(self) -> int:
        return SIZE

    def readinto(self, offset: int, buffer: memoryview) -> int:
        piece = self._device.content[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)

    def write(self, offset: int, content: bytes | memoryview) -> int:
        if not self._writable:
            fail(errno.EBADF)
        if offset >= SIZE:
            return fail(errno.ENOSPC) if len(content) else 0
        piece = memoryview(content)[: SIZE - offset]
        with self._device.lock:
            self._device.content[offset : offset + len(piece)] = piece
        return len(piece)

    def fsync(self) -> None:
        """There is nothing more durable."""
