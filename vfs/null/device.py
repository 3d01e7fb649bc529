"""The device and its handle."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from vfs.api import Device, Handle, Storage, fail


def on_standard_error(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class NullDevice(Device):
    """*log* is given one line for each request."""

    type = "null"
    character = True

    def __init__(self, read_only: bool = False, log: Callable[[str], None] = on_standard_error) -> None:
        super().__init__()
        self.read_only = read_only
        self.log = log

    def storages(self) -> dict[int, Storage]:
        return {}

    def open(self, sub_device: int, flags: int = 0) -> Handle:
        if sub_device:
            fail(errno.ENXIO, f"null: no sub-device {sub_device}")
        if self.read_only and flags & os.O_ACCMODE != os.O_RDONLY:
            fail(errno.EROFS, "null: read-only")
        return NullHandle(self, flags)


class NullHandle(Handle):
    """Offsets make no difference."""

    __slots__ = ("_device", "_open", "_writable")

    def __init__(self, device: NullDevice, flags: int) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self._device = device
        self._writable = flags & os.O_ACCMODE != os.O_RDONLY
        self._open = True
        self._log(f"open, flags {flags:#o}")

    def _log(self, request: str) -> None:
        self._device.log(f"null: {request}")

    def size(self) -> int:
        return 0

    def readinto(self, offset: int, buffer: memoryview) -> int:
        self._log(f"read {len(buffer)} bytes at {offset}")
        return 0

    def read(self, offset: int, size: int) -> bytes:
        self._log(f"read {size} bytes at {offset}")
        return b""

    def write(self, offset: int, content: bytes | memoryview) -> int:
        if not self._writable:
            fail(errno.EBADF)
        self._log(f"write {len(content)} bytes at {offset}")
        return len(content)

    def ioctl(self, request: int, argument: bytes) -> bytes:
        self._log(f"ioctl {request:#x}")
        return super().ioctl(request, argument)

    def fsync(self) -> None:
        self._log("fsync")

    def close(self) -> None:
        if self._open:
            self._open = False
            self._log("close")
