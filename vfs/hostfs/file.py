"""The handle of a regular file: the host's own descriptor."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING, Final

from vfs.api import Extent, Handle, fail
from vfs.api.allocation import fallocate
from vfs.hostfs.filesystem import Descriptor, unnamed

if TYPE_CHECKING:
    from vfs.hostfs.node import HostNode

LARGE: Final = 1 << 20
"""A read of more than this is cut to the file's size first: the room for it is made before it is known how much there is."""


class HostHandle(Handle):
    """An open file of the host."""

    __slots__ = ("_flags", "_handed", "_opened")

    node: HostNode

    def __init__(self, node: HostNode, opened: Descriptor, flags: int) -> None:
        self.node = node
        self._opened: Descriptor | None = opened
        self._flags = flags
        self._handed = False

    def _fd(self) -> int:
        opened = self._opened
        return opened.fd if opened is not None else fail(errno.EBADF)

    @unnamed
    def size(self) -> int:
        return os.fstat(self._fd()).st_size

    @unnamed
    def read(self, offset: int, size: int) -> bytes:
        fd = self._fd()
        if size > LARGE:
            size = min(size, max(LARGE, os.fstat(fd).st_size - offset))
        content = os.pread(fd, size, offset)
        while 0 < len(content) < size:
            more = os.pread(fd, size - len(content), offset + len(content))
            if not more:
                break
            content += more
        return content

    @unnamed
    def readinto(self, offset: int, buffer: memoryview) -> int:
        fd, size, done = self._fd(), len(buffer), 0
        while done < size:
            count = os.preadv(fd, [buffer[done:]], offset + done)
            if not count:
                break
            done += count
        return done

    @unnamed
    def write(self, offset: int, content: bytes | memoryview) -> int:
        return os.pwrite(self._fd(), content, offset)

    @unnamed
    def allocate(self, mode: int, offset: int, length: int) -> None:
        fallocate(self._fd(), mode, offset, length)

    @unnamed
    def flush(self) -> None:
        # Where errors of writing are told by close(2) (NFS, quotas), closing a duplicate tells them.
        if self._flags & os.O_ACCMODE:
            os.close(os.dup(self._fd()))

    @unnamed
    def fsync(self) -> None:
        os.fsync(self._fd())

    def close(self) -> None:
        self._opened = None

    # ---------------------------------------------------------------- where the bytes are

    @unnamed
    def extents(self, offset: int, length: int) -> list[Extent]:
        fd = self._fd()
        found = os.fstat(fd)
        end = min(offset + length, found.st_size)
        if offset < 0 or offset >= end:
            return []
        if found.st_blocks * 512 >= found.st_size:
            return [Extent(offset, end - offset, fd, offset)]
        extents: list[Extent] = []
        while offset < end:
            data = self._seek(offset, os.SEEK_DATA)
            start = end if data is None else min(data, end)
            if start > offset:
                extents.append(Extent(offset, start - offset, hole=True))
            offset = start
            if offset < end:
                hole = self._seek(offset, os.SEEK_HOLE)
                stop = end if hole is None else min(hole, end)
                extents.append(Extent(offset, stop - offset, fd, offset))
                offset = stop
        return extents

    def descriptor(self) -> int | None:
        fd = self._fd()
        if not self._handed:
            # O_NONBLOCK was ours, for opening it.
            shown = os.O_APPEND | os.O_NONBLOCK | os.O_NOATIME
            kept = self._flags & shown | (fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NOATIME)
            fcntl.fcntl(fd, fcntl.F_SETFL, kept)
            self._handed = True
        return fd

    @unnamed
    def seek_data(self, offset: int) -> int:
        found = self._seek(offset, os.SEEK_DATA)
        return found if found is not None else fail(errno.ENXIO)

    @unnamed
    def seek_hole(self, offset: int) -> int:
        found = self._seek(offset, os.SEEK_HOLE)
        return found if found is not None else fail(errno.ENXIO)

    def _seek(self, offset: int, whence: int) -> int | None:
        """lseek(2), which moves the position of the open file description: where a process has it, on another one."""
        fd = self._fd()
        access = self._flags & os.O_ACCMODE | os.O_CLOEXEC
        other = Descriptor(os.open(b"/proc/self/fd/%d" % fd, access)) if self._handed else None
        try:
            return os.lseek(other.fd if other else fd, offset, whence)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return None
