"""Storage: a disk-like thing, a numbered range of bytes. What file systems and partition tables are read from.

Storages stack: a file on the host, a part of another storage, the content of a node inside a mounted image, a virtual disk.
Each layer shifts one coordinate and passes the rest down, `extents` too, so that a front end at the top still learns where
the bytes lie in the file at the bottom. Offsets and sizes are bytes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys

from vfs.api.allocation import KEEP_SIZE, PUNCH_HOLE, punch
from vfs.api.closing import Closing
from vfs.api.errors import fail
from vfs.api.node import Change, Extent, Handle, Node

ZEROS = 1 << 20
"""How many zeros are written at once where a storage knows no better."""


_NOTHING = bytes(ZEROS)


def is_zero(content: bytes | memoryview) -> bool:
    """Whether all bytes are zero. (`startswith` compares as memcmp does; memoryviews compare a hundred times slower.)"""
    return all(_NOTHING.startswith(content[at : at + ZEROS]) for at in range(0, len(content), ZEROS))


EXTENTS = 4096
"""Pieces of a range that are told apart."""


def plain(name: bytes) -> bytes:
    """A name that a virtual disk gives, if it is one of its own directory. EINVAL: an image may not name what lies elsewhere."""
    if not name or b"/" in name or b"\0" in name or name in (b".", b".."):
        fail(errno.EINVAL, f"'{os.fsdecode(name)}' is not the name of a file beside the image")
    return name


def host_extents(fd: int, offset: int, length: int) -> list[Extent]:
    """Data and holes of a range inside a file of the host, as the kernel tells them (SEEK_DATA, SEEK_HOLE). Moves its offset."""
    found: list[Extent] = []
    end = offset + length
    while offset < end:
        data = _next(fd, offset, os.SEEK_DATA, end)
        if data > offset:
            found.append(Extent(offset, data - offset, hole=True))
        if data < end:
            # What is in very many pieces is data to the end.
            stop = _next(fd, data, os.SEEK_HOLE, end) if len(found) < EXTENTS else end
            found.append(Extent(data, stop - data, fd, data))
            data = stop
        offset = data
    return found


def _next(fd: int, offset: int, whence: int, end: int) -> int:
    try:
        return min(os.lseek(fd, offset, whence), end)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return end
        # The file system does not know: all is data.
        return offset if whence == os.SEEK_DATA else end


class Storage(Closing):
    """The contract. *name* is for messages, *size* in bytes, *block_size* the logical sector, *physical_block_size* what is
    written at once (0: the same)."""

    name: str = ""
    size: int = 0
    block_size: int = 512
    physical_block_size: int = 0
    read_only: bool = True

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill *buffer* from *offset*; short only at the end of the storage. EIO."""
        raise NotImplementedError

    def read(self, offset: int, size: int) -> bytes:
        """Exactly *size* bytes. EIO: the range is not wholly inside the storage: whoever follows a number from disk gets an
        error instead of a short answer."""
        if offset < 0 or size < 0 or offset + size > self.size:
            fail(errno.EIO, f"{self.name}: bytes {offset} to {offset + size} are outside its {self.size} bytes")
        buffer = bytearray(size)
        if self.readinto(offset, memoryview(buffer)) != size:
            fail(errno.EIO, f"{self.name}: short read at {offset}")
        return bytes(buffer)

    def write(self, offset: int, content: bytes | memoryview) -> int:
        """Write all of *content* at *offset*. EROFS, ENOSPC, EIO."""
        fail(errno.EROFS, f"{self.name}: opened read-only")

    def zero(self, offset: int, length: int) -> None:
        """The range reads as zeros from now on, and occupies nothing where that can be. EROFS, ENOSPC, EIO."""
        nothing = bytes(min(length, ZEROS))
        for at in range(offset, offset + length, ZEROS):
            self.write(at, memoryview(nothing)[: min(ZEROS, offset + length - at)])

    def discard(self, offset: int, length: int) -> None:
        """The range's content is of no interest any more; it may read as zeros, or as it was. A hint."""

    def resize(self, size: int) -> None:
        """Another size; what is new reads as zeros. Files can, most others not: EOPNOTSUPP. EROFS, ENOSPC, EFBIG."""
        fail(errno.EOPNOTSUPP, f"{self.name}: its size cannot be changed")

    def beside(self, name: bytes, writable: bool = False, create: bool = False) -> Storage:
        """The file called *name* in the directory that this one lies in: what a virtual disk names as its parent or extent. To be
        closed by the caller. *create*: a new, empty one (EEXIST). EINVAL: no plain name; ENOENT, EACCES, EBUSY; EOPNOTSUPP: this
        is no file, or its directory is not known."""
        fail(errno.EOPNOTSUPP, f"{self.name}: nothing is known to lie beside it")

    def identity(self) -> object:
        """Equal for two storages that are the same bytes: who follows a chain of parents sees with it that it is a loop."""
        return id(self)

    def descriptor(self) -> int | None:
        """A descriptor of the host that *is* this storage from its first to its last byte, for reading and, if it is writable,
        writing; it is the storage's own. Whoever has it needs nobody between. `None`: there is none."""
        return None

    def flush(self) -> None:
        """Make what was written durable. EIO."""

    def advise(self, offset: int, length: int) -> None:
        """The range will be read soon: fetching it may begin, but nobody waits for it. A hint; never fails."""

    def extents(self, offset: int, length: int) -> list[Extent]:
        """Where the range lies: sorted, without gaps, clipped to the storage. See `Extent`."""
        length = max(0, min(length, self.size - offset))
        return [Extent(offset, length)] if length else []

    def close(self) -> None:
        """Release what lies below. Idempotent."""


class FileStorage(Storage):
    """A file or block device of the host.

    The file is locked (flock) for as long as it is open: readers share, a writer is alone. EBUSY when the lock is taken; ENOENT,
    EACCES as open(2); EISDIR, and EINVAL for what is neither a file nor a block device.
    """

    def __init__(self, path: bytes | str, writable: bool = False, create: bool = False) -> None:
        self.name = os.fsdecode(path)
        self.read_only = not writable
        # O_NONBLOCK: opening a fifo by mistake must not wait for a writer.
        flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC | os.O_NONBLOCK
        self.fd = os.open(path, flags | (os.O_CREAT | os.O_EXCL if create else 0), 0o666)
        try:
            mode = os.fstat(self.fd).st_mode
            if stat.S_ISDIR(mode):
                fail(errno.EISDIR, "is a directory")
            if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
                fail(errno.EINVAL, "not a file or a block device")
            self._lock(writable)
            self.size = os.lseek(self.fd, 0, os.SEEK_END)
            if stat.S_ISBLK(mode):
                self._ask_block_sizes()
        except BaseException:
            self.close()
            raise

    def _ask_block_sizes(self) -> None:
        from vfs.api.ioctls import BLKPBSZGET, BLKSSZGET  # a millisecond that few need

        def ask(request: int) -> int:
            return int.from_bytes(fcntl.ioctl(self.fd, request, bytes(4)), sys.byteorder)

        self.block_size, self.physical_block_size = ask(BLKSSZGET), ask(BLKPBSZGET)

    def _lock(self, writable: bool) -> None:
        try:
            fcntl.flock(self.fd, (fcntl.LOCK_EX if writable else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            who = "is in use by another mount" if writable else "is being written by another mount"
            fail(errno.EBUSY, f"{who}; unmount it first")
        except OSError as error:
            # Some network file systems cannot lock. That is no reason not to read.
            if writable or error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF):
                raise

    def readinto(self, offset: int, buffer: memoryview) -> int:
        if offset >= self.size:
            return 0
        done = os.preadv(self.fd, [buffer], offset)
        while 0 < done < len(buffer):
            more = os.preadv(self.fd, [buffer[done:]], offset + done)
            if not more:
                break
            done += more
        return done

    def read(self, offset: int, size: int) -> bytes:
        # A range from a damaged structure may be larger than what memory or a C integer holds: the base class refuses it.
        if offset >= 0 and 0 <= size <= self.size - offset:
            content = os.pread(self.fd, size, offset)
            if len(content) == size:
                return content
        return super().read(offset, size)

    def write(self, offset: int, content: bytes | memoryview) -> int:
        if self.read_only:
            return super().write(offset, content)
        view, done = memoryview(content), 0
        while done < len(view):
            done += os.pwrite(self.fd, view[done:], offset + done)
        if offset + done > self.size:
            self.size = offset + done
        return done

    def zero(self, offset: int, length: int) -> None:
        if self.read_only:
            super().write(offset, b"")
        # What lies beyond the end cannot be punched, only written.
        if offset + length > self.size or (length > 0 and not punch(self.fd, offset, length)):
            super().zero(offset, length)

    def discard(self, offset: int, length: int) -> None:
        length = min(length, self.size - offset)
        if not self.read_only and length > 0:
            punch(self.fd, offset, length)

    def resize(self, size: int) -> None:
        if self.read_only:
            super().write(0, b"")
        os.ftruncate(self.fd, size)
        self.size = size

    def beside(self, name: bytes, writable: bool = False, create: bool = False) -> Storage:
        # By the name that it was opened by: a link to an image has its neighbours where the image is.
        directory = os.path.dirname(os.path.realpath(os.fsencode(self.name)))
        return FileStorage(os.path.join(directory, plain(name)), writable, create)

    def identity(self) -> object:
        found = os.fstat(self.fd)
        return found.st_dev, found.st_ino

    def descriptor(self) -> int | None:
        return self.fd if self.fd >= 0 else None

    def flush(self) -> None:
        if not self.read_only:
            os.fdatasync(self.fd)

    def advise(self, offset: int, length: int) -> None:
        length = max(0, min(length, self.size - offset))
        if length and offset >= 0:
            with contextlib.suppress(OSError):
                os.posix_fadvise(self.fd, offset, length, os.POSIX_FADV_WILLNEED)

    def extents(self, offset: int, length: int) -> list[Extent]:
        return host_extents(self.fd, offset, min(length, self.size - offset))

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class HostDirectory(Closing):
    """A directory of the host, as a source: *fd* is open with O_PATH. ENOENT, ENOTDIR, EACCES as open(2)."""

    def __init__(self, path: bytes | str) -> None:
        self.name = os.fsdecode(path)
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def again(self) -> HostDirectory:
        """The same directory as a source of its own."""
        other = HostDirectory.__new__(HostDirectory)
        other.name, other.fd = self.name, os.dup(self.fd)
        return other

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class SubStorage(Storage):
    """A part of another storage: a partition. Closing it leaves the other open."""

    def __init__(self, below: Storage, start: int, size: int, name: str = "") -> None:
        if start < 0 or size < 0 or start + size > below.size:
            fail(errno.EINVAL, f"{below.name}: a part from {start} to {start + size} is outside its {below.size} bytes")
        self.below, self.start, self.size = below, start, size
        self.name = name or f"{below.name}+{start}"
        self.block_size, self.read_only = below.block_size, below.read_only
        self.physical_block_size = below.physical_block_size

    def _inside(self, offset: int, size: int) -> int:
        return max(0, min(size, self.size - offset)) if offset >= 0 else 0

    def readinto(self, offset: int, buffer: memoryview) -> int:
        size = self._inside(offset, len(buffer))
        return self.below.readinto(self.start + offset, buffer[:size]) if size else 0

    def read(self, offset: int, size: int) -> bytes:
        if offset >= 0 and 0 <= size <= self.size - offset:
            return self.below.read(self.start + offset, size)
        return super().read(offset, size)

    def _writable(self, offset: int, length: int) -> None:
        if self.read_only:
            fail(errno.EROFS, f"{self.name}: read-only")
        if self._inside(offset, length) != length:
            fail(errno.ENOSPC, f"{self.name}: a write beyond its end")

    def write(self, offset: int, content: bytes | memoryview) -> int:
        self._writable(offset, len(content))
        return self.below.write(self.start + offset, content)

    def zero(self, offset: int, length: int) -> None:
        self._writable(offset, length)
        self.below.zero(self.start + offset, length)

    def discard(self, offset: int, length: int) -> None:
        length = self._inside(offset, length)
        if length and not self.read_only:
            self.below.discard(self.start + offset, length)

    def flush(self) -> None:
        self.below.flush()

    def advise(self, offset: int, length: int) -> None:
        length = self._inside(offset, length)
        if length:
            self.below.advise(self.start + offset, length)

    def extents(self, offset: int, length: int) -> list[Extent]:
        length = self._inside(offset, length)
        below = self.below.extents(self.start + offset, length) if length else []
        return [extent._replace(offset=extent.offset - self.start) for extent in below]


class NodeStorage(Storage):
    """The content of a regular file's node: an image inside a mounted image. Owns the handle that it opens. *directory* is the
    node that has it, where that is known. EISDIR, EINVAL."""

    def __init__(self, node: Node, name: str, writable: bool = False, directory: Node | None = None) -> None:
        found = node.stat()
        if found.is_directory:
            fail(errno.EISDIR, f"{name}: is a directory")
        if not found.is_regular:
            fail(errno.EINVAL, f"{name}: not a regular file")
        self.handle: Handle | None = node.open(os.O_RDWR if writable else os.O_RDONLY)
        self.name, self.size, self.read_only = name, found.size, not writable
        self.node, self.directory = node, directory

    def _open(self) -> Handle:
        return self.handle if self.handle is not None else fail(errno.EBADF, f"{self.name}: closed")

    def readinto(self, offset: int, buffer: memoryview) -> int:
        return self._open().readinto(offset, buffer)

    def write(self, offset: int, content: bytes | memoryview) -> int:
        if self.read_only:
            return super().write(offset, content)
        view, done = memoryview(content), 0
        while done < len(view):
            done += self._open().write(offset + done, view[done:])
        self.size = max(self.size, offset + done)
        return done

    def zero(self, offset: int, length: int) -> None:
        if self.read_only:
            super().write(offset, b"")
        if offset + length > self.size or not self._punch(offset, length):
            super().zero(offset, length)

    def discard(self, offset: int, length: int) -> None:
        length = min(length, self.size - offset)
        if length > 0 and not self.read_only:
            self._punch(offset, length)

    def _punch(self, offset: int, length: int) -> bool:
        try:
            self._open().allocate(KEEP_SIZE | PUNCH_HOLE, offset, length)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
            return False
        return True

    def resize(self, size: int) -> None:
        if self.read_only:
            super().write(0, b"")
        self.node.set(Change(size=size))
        self.size = size

    def beside(self, name: bytes, writable: bool = False, create: bool = False) -> Storage:
        if self.directory is None:
            return super().beside(name)
        node = self.directory.create(plain(name), stat.S_IFREG | 0o644) if create else self.directory.lookup(plain(name))
        return NodeStorage(node, os.path.join(os.path.dirname(self.name), os.fsdecode(name)), writable, self.directory)

    def identity(self) -> object:
        return id(self.node.filesystem), self.node.ino

    def flush(self) -> None:
        if not self.read_only:
            self._open().fsync()

    def extents(self, offset: int, length: int) -> list[Extent]:
        return self._open().extents(offset, length)

    def close(self) -> None:
        handle, self.handle = self.handle, None
        if handle is not None:
            handle.close()
