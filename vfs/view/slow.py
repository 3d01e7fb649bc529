"""A file system that may wait, as handlers see it: every operation of it is done `outside` (`vfs.view.workers`).

So handlers need not know: one that meets such a file system in the loop is left there and asked again in a worker.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

from vfs.api import Change, Entry, Extent, Filesystem, Handle, Node, Stat, StatFs
from vfs.view.workers import Workers

CHUNK = 256
"""Directory entries fetched at once."""


class _Lock:
    """The file system's lock, waited for outside."""

    def __init__(self, lock: Any, workers: Workers) -> None:
        self.lock, self.workers = lock, workers

    def __enter__(self) -> None:
        self.workers.outside(self.lock.acquire, lambda _: None)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.lock.release()


class SlowFilesystem(Filesystem):
    def __init__(self, inner: Filesystem, workers: Workers) -> None:
        self.inner, self.workers = inner, workers
        self.type, self.stable_numbers, self.changes_outside = inner.type, inner.stable_numbers, inner.changes_outside
        self.blocking = True
        self.lock: Any = _Lock(inner.lock, workers)

    @property
    def read_only(self) -> bool:  # type: ignore[override]
        return self.inner.read_only

    @property
    def noatime(self) -> bool:
        return self.inner.noatime

    @noatime.setter
    def noatime(self, value: bool) -> None:
        self.inner.noatime = value

    @property
    def root(self) -> Node:
        return SlowNode(self, self.workers.outside(lambda: self.inner.root))

    def node(self, ino: int) -> Node:
        return SlowNode(self, self.workers.outside(lambda: self.inner.node(ino)))

    def statfs(self) -> StatFs:
        return self.workers.outside(self.inner.statfs)

    def details(self) -> dict[str, str | int]:
        return self.workers.outside(self.inner.details)

    def sync(self) -> None:
        self.workers.outside(self.inner.sync)

    def close(self) -> None:
        """In the loop nobody waits for it."""
        if self.workers.in_loop:
            self.workers.later(self.inner.close)
        else:
            self.workers.outside(self.inner.close, abandon=False)


class SlowNode(Node):
    __slots__ = ("inner", "outside")
    filesystem: SlowFilesystem

    def __init__(self, filesystem: SlowFilesystem, inner: Node) -> None:
        super().__init__(filesystem, inner.ino)
        self.inner = inner
        self.outside = filesystem.workers.outside

    def wrap(self, make: Callable[[], Node]) -> Node:
        return SlowNode(self.filesystem, self.outside(make))

    def stat(self) -> Stat:
        return self.outside(self.inner.stat)

    def lookup(self, name: bytes) -> Node:
        return self.wrap(lambda: self.inner.lookup(name))

    def entries(self, start: int = 0) -> Iterator[Entry]:
        while True:
            chunk = self.outside(functools.partial(self.fetch, start))
            yield from chunk
            if len(chunk) < CHUNK:
                return
            start = chunk[-1].next

    def fetch(self, start: int) -> list[Entry]:
        return list(itertools.islice(self.inner.entries(start), CHUNK))

    def child(self, entry: Entry) -> Node:
        return self.wrap(lambda: self.inner.child(entry))

    def expect(self, entries: Sequence[Entry]) -> None:
        pass

    def parent(self) -> Node | None:
        above = self.outside(self.inner.parent)
        return above and self.wrap(lambda: above)

    def readlink(self) -> bytes:
        return self.outside(self.inner.readlink)

    def open(self, flags: int = 0) -> Handle:
        return SlowHandle(self, self.outside(lambda: self.inner.open(flags), Handle.close), self.filesystem.workers)

    def getxattr(self, name: bytes) -> bytes:
        return self.outside(lambda: self.inner.getxattr(name))

    def listxattr(self) -> list[bytes]:
        return self.outside(self.inner.listxattr)

    def create(self, name: bytes, mode: int, rdev: int = 0, uid: int = 0, gid: int = 0) -> Node:
        return self.wrap(lambda: self.inner.create(name, mode, rdev, uid, gid))

    def temporary(self, mode: int, uid: int = 0, gid: int = 0) -> Node:
        return self.wrap(lambda: self.inner.temporary(mode, uid, gid))

    def mkdir(self, name: bytes, mode: int, uid: int = 0, gid: int = 0) -> Node:
        return self.wrap(lambda: self.inner.mkdir(name, mode, uid, gid))

    def symlink(self, name: bytes, target: bytes, uid: int = 0, gid: int = 0) -> Node:
        return self.wrap(lambda: self.inner.symlink(name, target, uid, gid))

    def link(self, name: bytes, node: Node) -> None:
        self.outside(lambda: self.inner.link(name, bare(node)))

    def unlink(self, name: bytes) -> None:
        self.outside(lambda: self.inner.unlink(name))

    def rmdir(self, name: bytes) -> None:
        self.outside(lambda: self.inner.rmdir(name))

    def rename(self, name: bytes, directory: Node, new_name: bytes, flags: int = 0) -> None:
        self.outside(lambda: self.inner.rename(name, bare(directory), new_name, flags))

    def set(self, change: Change) -> None:
        self.outside(lambda: self.inner.set(change))

    def setxattr(self, name: bytes, value: bytes, flags: int = 0) -> None:
        self.outside(lambda: self.inner.setxattr(name, value, flags))

    def removexattr(self, name: bytes) -> None:
        self.outside(lambda: self.inner.removexattr(name))


def bare(node: Node) -> Node:
    """The module's own node."""
    return node.inner if isinstance(node, SlowNode) else node


class SlowHandle(Handle):
    __slots__ = ("inner", "outside", "workers")

    def __init__(self, node: Node, inner: Handle, workers: Workers) -> None:
        super().__init__(node)
        self.inner, self.workers = inner, workers
        self.outside = workers.outside

    def size(self) -> int:
        return self.outside(self.inner.size)

    def readinto(self, offset: int, buffer: memoryview) -> int:
        return self.outside(lambda: self.inner.readinto(offset, buffer))

    def read(self, offset: int, size: int) -> bytes | bytearray | memoryview:
        return self.outside(lambda: self.inner.read(offset, size))

    def write(self, offset: int, content: bytes | memoryview) -> int:
        return self.outside(lambda: self.inner.write(offset, content))

    def allocate(self, mode: int, offset: int, length: int) -> None:
        self.outside(lambda: self.inner.allocate(mode, offset, length))

    def flush(self) -> None:
        self.outside(self.inner.flush)

    def fsync(self) -> None:
        self.outside(self.inner.fsync)

    def close(self) -> None:
        """This happens wherever something is dropped: nobody waits for it."""
        self.workers.later(self.inner.close)

    def extents(self, offset: int, length: int) -> list[Extent]:
        return self.outside(lambda: self.inner.extents(offset, length))

    def descriptor(self) -> int | None:
        return self.outside(self.inner.descriptor)

    def seek_data(self, offset: int) -> int:
        return self.outside(lambda: self.inner.seek_data(offset))

    def seek_hole(self, offset: int) -> int:
        return self.outside(lambda: self.inner.seek_hole(offset))

    def ioctl(self, request: int, argument: bytes) -> bytes:
        return self.outside(lambda: self.inner.ioctl(request, argument))

    def poll(self, events: int) -> int:
        return self.outside(lambda: self.inner.poll(events))
