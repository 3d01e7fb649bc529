"""The fronts against which `posix_cases` run: the same calls, answered by the kernel or by nodes.

`HostCalls` is a directory of this machine, reached by system calls: what Linux really does, and also any mount (FUSE, or inside
a view). `NodeCalls` is a file system of ours, reached through `vfs.api` as a front end would: it resolves paths, and does
what the contract leaves to front ends (O_CREAT, O_EXCL, O_NOFOLLOW and so on), nothing else.

Paths are bytes, relative to the front's root. An open file is an `int` or a handle: cases only pass it back.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vfs.api import Change, Filesystem, Handle, Node, Stat, fail
from vfs.api.walk import resolve

RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 0x01, 0x02, 0x10
O_TMPFILE = os.O_TMPFILE


@dataclass
class Seen:
    """What stat tells. Times are nanoseconds, *blocks* 512 bytes."""

    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int
    blocks: int
    atime: int
    mtime: int
    ctime: int


libc = ctypes.CDLL(None, use_errno=True)
libc.opendir.restype = libc.readdir64.restype = ctypes.c_void_p
libc.readdir64.argtypes = libc.closedir.argtypes = libc.telldir.argtypes = (ctypes.c_void_p,)
libc.seekdir.argtypes = (ctypes.c_void_p, ctypes.c_long)
libc.telldir.restype = ctypes.c_long
libc.fallocate64.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
libc.pwrite64.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int64)
libc.pwrite64.restype = ctypes.c_ssize_t


def check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


class HostListing:
    """An open directory of the host: opendir(3) and its family."""

    def __init__(self, path: bytes) -> None:
        self.stream = libc.opendir(path)
        if not self.stream:
            check(-1)

    def read(self) -> bytes | None:
        """The next name, `.` and `..` left out; `None` at the end."""
        while True:
            entry = libc.readdir64(self.stream)
            if not entry:
                return None
            name = ctypes.string_at(entry + 19)
            if name not in (b".", b".."):
                return name

    def tell(self) -> int:
        return int(libc.telldir(self.stream))

    def seek(self, position: int) -> None:
        libc.seekdir(self.stream, position)

    def rewind(self) -> None:
        libc.rewinddir(ctypes.c_void_p(self.stream))

    def close(self) -> None:
        libc.closedir(self.stream)


class HostCalls:
    """A directory reached by system calls."""

    def __init__(self, root: bytes | str) -> None:
        self.root = os.fsencode(root)

    def path(self, path: bytes) -> bytes:
        return self.root + b"/" + path if path else self.root

    def open(self, path: bytes, flags: int, mode: int = 0o666) -> Any:
        return os.open(self.path(path), flags | os.O_CLOEXEC, mode)

    def temporary(self, directory: bytes, mode: int) -> Any:
        return self.open(directory, O_TMPFILE | os.O_RDWR, mode)

    def link_file(self, file: Any, path: bytes) -> None:
        directory = os.open(self.root, os.O_PATH)
        try:
            os.link(f"/proc/self/fd/{file}", self.path(path), src_dir_fd=directory, follow_symlinks=True)
        finally:
            os.close(directory)

    def close(self, file: Any) -> None:
        os.close(file)

    def pread(self, file: Any, size: int, offset: int) -> bytes:
        return os.pread(file, size, offset)

    def pwrite(self, file: Any, content: bytes, offset: int) -> int:
        return check(libc.pwrite64(file, content, len(content), offset))

    def ftruncate(self, file: Any, size: int) -> None:
        os.ftruncate(file, size)

    def fallocate(self, file: Any, mode: int, offset: int, length: int) -> None:
        check(libc.fallocate64(file, mode, offset, length))

    def seek(self, file: Any, offset: int, whence: int) -> int:
        return os.lseek(file, offset, whence)

    def fsync(self, file: Any) -> None:
        os.fsync(file)

    @staticmethod
    def _seen(found: os.stat_result) -> Seen:
        return Seen(
            found.st_ino,
            found.st_mode,
            found.st_nlink,
            found.st_uid,
            found.st_gid,
            found.st_rdev,
            found.st_size,
            found.st_blocks,
            found.st_atime_ns,
            found.st_mtime_ns,
            found.st_ctime_ns,
        )

    def fstat(self, file: Any) -> Seen:
        return self._seen(os.fstat(file))

    def stat(self, path: bytes) -> Seen:
        return self._seen(os.stat(self.path(path)))

    def lstat(self, path: bytes) -> Seen:
        return self._seen(os.lstat(self.path(path)))

    def mkdir(self, path: bytes, mode: int = 0o777) -> None:
        os.mkdir(self.path(path), mode)

    def mknod(self, path: bytes, mode: int, rdev: int = 0) -> None:
        os.mknod(self.path(path), mode, rdev)

    def symlink(self, target: bytes, path: bytes) -> None:
        os.symlink(target, self.path(path))

    def readlink(self, path: bytes) -> bytes:
        return os.readlink(self.path(path))

    def link(self, old: bytes, new: bytes) -> None:
        os.link(self.path(old), self.path(new))  # link(2): does not follow

    def unlink(self, path: bytes) -> None:
        os.unlink(self.path(path))

    def rmdir(self, path: bytes) -> None:
        os.rmdir(self.path(path))

    def rename(self, old: bytes, new: bytes, flags: int = 0) -> None:
        check(libc.renameat2(-100, self.path(old), -100, self.path(new), flags))

    def chmod(self, path: bytes, mode: int) -> None:
        os.chmod(self.path(path), mode)

    def chown(self, path: bytes, uid: int, gid: int) -> None:
        os.lchown(self.path(path), uid, gid)

    def utime(self, path: bytes, atime: int, mtime: int) -> None:
        os.utime(self.path(path), ns=(atime, mtime), follow_symlinks=False)

    def truncate(self, path: bytes, size: int) -> None:
        os.truncate(self.path(path), size)

    def getxattr(self, path: bytes, name: bytes) -> bytes:
        return os.getxattr(self.path(path), name, follow_symlinks=False)

    def setxattr(self, path: bytes, name: bytes, value: bytes, flags: int = 0) -> None:
        os.setxattr(self.path(path), name, value, flags, follow_symlinks=False)

    def removexattr(self, path: bytes, name: bytes) -> None:
        os.removexattr(self.path(path), name, follow_symlinks=False)

    def listxattr(self, path: bytes) -> list[bytes]:
        return [os.fsencode(name) for name in os.listxattr(self.path(path), follow_symlinks=False)]

    def listing(self, path: bytes) -> Any:
        return HostListing(self.path(path))

    def listdir(self, path: bytes) -> list[bytes]:
        return sorted(os.listdir(self.path(path)))

    def parent_ino(self, path: bytes) -> int:
        """The number of a directory's `..`."""
        return os.stat(self.path(path) + b"/..").st_ino


def resolve_from(root: Node, directory: Node, path: bytes) -> Node:
    """The directory at *path*, which is relative to *directory*. Links in it, and `..`, are followed by nodes alone."""
    above: list[bytes] = []
    while directory.ino != root.ino:
        parent = directory.parent()
        assert parent is not None
        above.append(next(entry.name for entry in parent.entries() if entry.ino == directory.ino))
        directory = parent
    return resolve(root, b"/".join([*reversed(above), path]))


class NodeListing:
    """An open directory: each `read` asks the node anew, with the cookie of the entry before, as a front end may."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.position = 0

    def read(self) -> bytes | None:
        for entry in self.node.entries(self.position):
            assert entry.next > 0
            self.position = entry.next
            return entry.name
        return None

    def tell(self) -> int:
        return self.position

    def seek(self, position: int) -> None:
        self.position = position

    def rewind(self) -> None:
        self.position = 0

    def close(self) -> None:
        pass


class RunningListing(NodeListing):
    """An open directory that runs on with one iterator, as other front ends do."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.rest = iter(node.entries())

    def read(self) -> bytes | None:
        entry = next(self.rest, None)
        if entry is None:
            return None
        self.position = entry.next
        return entry.name

    def seek(self, position: int) -> None:
        self.position = position
        self.rest = iter(self.node.entries(position))

    def rewind(self) -> None:
        self.seek(0)


class NodeCalls:
    """A file system reached through the API."""

    def __init__(self, filesystem: Filesystem, listing: type[NodeListing] = NodeListing) -> None:
        self.filesystem = filesystem
        self.root = filesystem.root
        self.opened = itertools.count()
        self._listing = listing

    def _at(self, path: bytes, follow: bool = False) -> Node:
        return resolve(self.root, path, follow)

    def _parent(self, path: bytes) -> tuple[Node, bytes]:
        above, _, name = path.rpartition(b"/")
        node = resolve(self.root, above)
        if not node.stat().is_directory:
            fail(errno.ENOTDIR)
        return node, name

    def open(self, path: bytes, flags: int, mode: int = 0o666) -> Any:
        follow = not (flags & os.O_NOFOLLOW or (flags & os.O_CREAT and flags & os.O_EXCL))
        try:
            node = self._at(path, follow)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
            above, name = self._parent(path)
            if follow:
                for _ in range(40):  # a link to what is not there yet: made where it leads
                    try:
                        target = above.lookup(name).readlink()
                    except FileNotFoundError:
                        break
                    where, _, name = target.rpartition(b"/")
                    above = resolve_from(self.root, above, where)
            node = above.create(name, stat.S_IFREG | mode)
            return node.open(flags & ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC))
        if flags & os.O_CREAT and flags & os.O_EXCL:
            fail(errno.EEXIST)
        if flags & os.O_DIRECTORY and not node.stat().is_directory:
            fail(errno.ENOTDIR)
        return node.open(flags & ~os.O_CREAT)

    def temporary(self, directory: bytes, mode: int) -> Any:
        return self._at(directory).temporary(mode).open(os.O_RDWR)

    def link_file(self, file: Handle, path: bytes) -> None:
        above, name = self._parent(path)
        above.link(name, file.node)

    def close(self, file: Handle) -> None:
        file.flush()
        file.close()
        file.close()

    def pread(self, file: Handle, size: int, offset: int) -> bytes:
        content = bytes(file.read(offset, size))
        buffer = bytearray(size)
        count = file.readinto(offset, memoryview(buffer))
        assert bytes(buffer[:count]) == content
        return content

    def pwrite(self, file: Handle, content: bytes, offset: int) -> int:
        return file.write(offset, content)

    def ftruncate(self, file: Handle, size: int) -> None:
        file.node.set(Change(size=size))

    def fallocate(self, file: Handle, mode: int, offset: int, length: int) -> None:
        file.allocate(mode, offset, length)

    def seek(self, file: Handle, offset: int, whence: int) -> int:
        return file.seek_data(offset) if whence == os.SEEK_DATA else file.seek_hole(offset)

    def fsync(self, file: Handle) -> None:
        file.fsync()

    @staticmethod
    def _seen(found: Stat) -> Seen:
        return Seen(
            found.ino,
            found.mode,
            found.nlink,
            found.uid,
            found.gid,
            found.rdev,
            found.size,
            found.blocks,
            found.atime,
            found.mtime,
            found.ctime,
        )

    def fstat(self, file: Handle) -> Seen:
        assert file.size() == file.node.stat().size
        return self._seen(file.node.stat())

    def stat(self, path: bytes) -> Seen:
        return self._seen(self._at(path, follow=True).stat())

    def lstat(self, path: bytes) -> Seen:
        return self._seen(self._at(path).stat())

    def mkdir(self, path: bytes, mode: int = 0o777) -> None:
        above, name = self._parent(path)
        above.mkdir(name, mode)

    def mknod(self, path: bytes, mode: int, rdev: int = 0) -> None:
        above, name = self._parent(path)
        above.create(name, mode, rdev)

    def symlink(self, target: bytes, path: bytes) -> None:
        above, name = self._parent(path)
        above.symlink(name, target)

    def readlink(self, path: bytes) -> bytes:
        return self._at(path).readlink()

    def link(self, old: bytes, new: bytes) -> None:
        node = self._at(old)
        above, name = self._parent(new)
        above.link(name, node)

    def unlink(self, path: bytes) -> None:
        above, name = self._parent(path)
        above.unlink(name)

    def rmdir(self, path: bytes) -> None:
        above, name = self._parent(path)
        above.rmdir(name)

    def rename(self, old: bytes, new: bytes, flags: int = 0) -> None:
        if flags & RENAME_EXCHANGE and flags & (RENAME_NOREPLACE | RENAME_WHITEOUT):
            fail(errno.EINVAL)  # the call's own check comes before any name
        above, name = self._parent(old)
        directory, new_name = self._parent(new)
        above.rename(name, directory, new_name, flags)

    def chmod(self, path: bytes, mode: int) -> None:
        self._at(path, follow=True).set(Change(mode=mode))

    def chown(self, path: bytes, uid: int, gid: int) -> None:
        self._at(path).set(Change(uid=None if uid < 0 else uid, gid=None if gid < 0 else gid))

    def utime(self, path: bytes, atime: int, mtime: int) -> None:
        self._at(path).set(Change(atime=atime, mtime=mtime))

    def truncate(self, path: bytes, size: int) -> None:
        self._at(path, follow=True).set(Change(size=size))

    def getxattr(self, path: bytes, name: bytes) -> bytes:
        return self._at(path).getxattr(name)

    def setxattr(self, path: bytes, name: bytes, value: bytes, flags: int = 0) -> None:
        self._at(path).setxattr(name, value, flags)

    def removexattr(self, path: bytes, name: bytes) -> None:
        self._at(path).removexattr(name)

    def listxattr(self, path: bytes) -> list[bytes]:
        return self._at(path).listxattr()

    def listing(self, path: bytes) -> Any:
        node = self._at(path)
        if not node.stat().is_directory:
            fail(errno.ENOTDIR)
        return self._listing(node)

    def listdir(self, path: bytes) -> list[bytes]:
        return sorted(entry.name for entry in self._at(path, follow=True).entries())

    def parent_ino(self, path: bytes) -> int:
        above = self._at(path).parent()
        assert above is not None
        return above.ino


Calls = HostCalls | NodeCalls


def acl(*entries: tuple[int, int, int]) -> bytes:
    """The value of a POSIX ACL attribute: (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def read_all(listing: Any) -> Iterator[bytes]:
    while (name := listing.read()) is not None:
        yield name
