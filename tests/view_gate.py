"""A file system of somebody else that waits, for test_view_workers.py: registered by an entry point, as third parties do it.

Everything waits as long as the host's file `$GATE/NAME` is missing, where NAME says what is waited for, and tells so by making
`$GATE/NAME.waits`. Names: lookup (of the entry `looked`), open and read (of the file `file`), entries (of the directory `dir`),
mount (the option `wait`), close, disk (reading `disk`, which is all zeros). `plain` never waits.
"""

import errno
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass

from vfs.api import Entry, Filesystem, Handle, Module, Node, Options, Stat, StatFs, fail, option
from vfs.api.options import flag

NAMES = [b"looked", b"file", b"dir", b"plain", b"disk"]
DISK_SIZE = 1 << 20
CONTENT = b"it took a while\n"


def wait(name: str) -> None:
    gate = os.environ["GATE"]
    if os.path.exists(f"{gate}/{name}"):
        return
    os.close(os.open(f"{gate}/{name}.waits", os.O_CREAT | os.O_WRONLY, 0o666))
    while not os.path.exists(f"{gate}/{name}"):
        time.sleep(0.005)


class GateNode(Node):
    __slots__ = ("name",)

    def __init__(self, filesystem: Filesystem, ino: int, name: bytes = b"") -> None:
        super().__init__(filesystem, ino)
        self.name = name

    @property
    def directory(self) -> bool:
        return self.ino == 1 or self.name == b"dir"

    def stat(self) -> Stat:
        mode = stat.S_IFDIR | 0o755 if self.directory else stat.S_IFREG | 0o644
        return Stat(self.ino, mode, size=DISK_SIZE if self.name == b"disk" else len(CONTENT))

    def lookup(self, name: bytes) -> Node:
        if name == b"looked":
            wait("lookup")
        if name == b"mistake":
            raise ZeroDivisionError
        return GateNode(self.filesystem, NAMES.index(name) + 2, name) if name in NAMES else fail(errno.ENOENT)

    def entries(self, start: int = 0) -> Iterator[Entry]:
        if self.name == b"dir":
            wait("entries")
            for number in range(start, 1000):
                yield Entry(b"e%d" % number, 100 + number, 8, number + 1)
        elif self.directory:
            for at, name in enumerate(NAMES[start:], start):
                yield Entry(name, at + 2, 4 if name == b"dir" else 8, at + 1)
        else:
            fail(errno.ENOTDIR)

    def open(self, flags: int = 0) -> Handle:
        if self.directory:
            fail(errno.EISDIR)
        if self.name == b"file":
            wait("open")
        return GateHandle(self)


class GateHandle(Handle):
    def readinto(self, offset: int, buffer: memoryview) -> int:
        assert isinstance(self.node, GateNode)
        if self.node.name == b"file":
            wait("read")
        if self.node.name == b"disk":
            wait("disk")
            size = max(0, min(len(buffer), DISK_SIZE - offset))
            buffer[:size] = bytes(size)
            return size
        piece = CONTENT[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)


class GateFilesystem(Filesystem):
    type = "gate"
    blocking = True

    @property
    def root(self) -> Node:
        return GateNode(self, 1)

    def statfs(self) -> StatFs:
        return StatFs(0x6A7E, 4096, 0, 0, 0, 0, 0)

    def close(self) -> None:
        wait("close")


@dataclass
class GateOptions(Options):
    wait: bool = option(flag, "mounting waits, too")


class GateModule(Module):
    name = "gate"
    description = "waits"
    options = GateOptions
    sourceless = True

    def mount(self, source: object, options: GateOptions) -> Filesystem:
        if options.wait:
            wait("mount")
        return GateFilesystem()
