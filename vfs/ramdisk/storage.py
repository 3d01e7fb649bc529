"""The bytes of a ramdisk: a memfd."""

from __future__ import annotations

import errno
import os

from vfs.api import Extent, Storage, fail
from vfs.api.allocation import punch
from vfs.api.storage import host_extents

LARGEST = (1 << 63) - 1
"""The largest offset of a file (off_t)."""


class Memory(Storage):
    """*size* bytes, all zeros at first, which occupy nothing until they are written. EINVAL: not whole sectors, or none; EFBIG:
    more than a file can have."""

    def __init__(self, size: int, block_size: int = 512, read_only: bool = False) -> None:
        if size > LARGEST:
            fail(errno.EFBIG, f"ramdisk: size {size}, at most {LARGEST}")
        if size <= 0 or size % block_size:
            fail(errno.EINVAL, f"ramdisk: size {size} is not a whole number of sectors of {block_size} bytes")
        self.name, self.size, self.block_size, self.read_only = "ramdisk", size, block_size, read_only
        self._fd = os.memfd_create("ramdisk", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self._fd, size)
        except BaseException:
            self.close()
            raise

    def readinto(self, offset: int, buffer: memoryview) -> int:
        return os.preadv(self._fd, [buffer], offset) if offset < self.size else 0

    def read(self, offset: int, size: int) -> bytes:
        if offset >= 0 and 0 <= size <= self.size - offset:
            content = os.pread(self._fd, size, offset)
            if len(content) == size:
                return content
        return super().read(offset, size)

    def _writable(self, offset: int, length: int) -> None:
        if self.read_only:
            fail(errno.EROFS, f"{self.name}: read-only")
        if not 0 <= offset <= offset + length <= self.size:
            fail(errno.ENOSPC, f"{self.name}: a write beyond its end")

    def write(self, offset: int, content: bytes | memoryview) -> int:
        self._writable(offset, len(content))
        view, done = memoryview(content), 0
        while done < len(view):
            done += os.pwrite(self._fd, view[done:], offset + done)
        return done

    def zero(self, offset: int, length: int) -> None:
        self._writable(offset, length)
        if length:
            punch(self._fd, offset, length)  # a memfd always can

    def discard(self, offset: int, length: int) -> None:
        length = min(length, self.size - offset)
        if length > 0 and not self.read_only:
            punch(self._fd, offset, length)

    def occupied(self) -> int:
        """Bytes of memory that the content takes."""
        return os.fstat(self._fd).st_blocks * 512

    def descriptor(self) -> int | None:
        return self._fd if self._fd >= 0 else None

    def extents(self, offset: int, length: int) -> list[Extent]:
        return host_extents(self._fd, offset, min(length, self.size - offset))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
