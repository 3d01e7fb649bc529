"""What the kernel front end makes of a module that is not ext2: numbers that are not stable, calls that wait, errors, devices.

The file systems here are small but real ones: they fulfil the API's contract, and the kernel uses them through a mount.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.fuse_mounts import LIMIT, needs_fuse, place, until
from vfs.api import Device, Entry, Filesystem, Handle, Node, Stat, StatFs, Storage, SubStorage
from vfs.api.errors import fail
from vfs.fuse import background

pytestmark = needs_fuse()


class Gate:
    """What waits here goes on when it is opened, from whatever process."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def wait(self) -> None:
        os.read(self._read, 1)

    def open(self) -> None:
        os.write(self._write, b"x" * 100)

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


class Tree(Filesystem):
    """Directories as dictionaries, files as bytes; what a name leads to may also be an error, or a gate to wait at."""

    type = "tree"

    def __init__(self, content: Mapping[bytes, object], stable: bool = True, blocking: bool = False, first: int = 2) -> None:
        super().__init__()
        self.stable_numbers, self.blocking = stable, blocking
        self.inodes: dict[int, object] = {}
        self.children: dict[int, dict[bytes, int]] = {}
        self.parents: dict[int, int] = {}
        self.made = 0
        self._first = first
        self._enter(content, first)

    def _enter(self, content: object, parent: int) -> int:
        ino = self._first + len(self.inodes)
        # Number 1 is somebody's too: of the last inode, when the root has another.
        self.inodes[ino] = content
        self.parents[ino] = parent
        if isinstance(content, dict):
            self.children[ino] = {name: self._enter(below, ino) for name, below in content.items()}
        return ino

    @property
    def root(self) -> Node:
        return Leaf(self, self._first)

    def node(self, ino: int) -> Node:
        if not self.stable_numbers:
            fail(errno.EOPNOTSUPP)
        return Leaf(self, ino) if ino in self.inodes else fail(errno.ESTALE)

    def statfs(self) -> StatFs:
        return StatFs(0, 512, 2**40, 7, 5, 3, 2, 100)


class Leaf(Node):
    filesystem: Tree

    def __init__(self, filesystem: Tree, ino: int) -> None:
        super().__init__(filesystem, ino)
        filesystem.made += 1

    @property
    def content(self) -> object:
        found = self.filesystem.inodes[self.ino]
        if isinstance(found, Gate):
            found.wait()
            return b"late"
        if isinstance(found, Exception):
            raise found
        return found

    def stat(self) -> Stat:
        content = self.content
        kind = stat.S_IFDIR if isinstance(content, dict) else stat.S_IFREG
        size = len(content) if isinstance(content, bytes) else 0
        return Stat(self.ino, kind | 0o755, size=size, blocks=-(-size // 512), mtime=-1, atime=2**33 * 10**9 + 5)

    def lookup(self, name: bytes) -> Node:
        children = self.filesystem.children[self.ino]
        return Leaf(self.filesystem, children[name]) if name in children else fail(errno.ENOENT)

    def entries(self, start: int = 0) -> Iterator[Entry]:
        for position, (name, ino) in enumerate(self.filesystem.children[self.ino].items()):
            if position >= start:
                if name == b"stop":
                    raise OSError(errno.EUCLEAN, "damaged here")
                yield Entry(name, ino, 0, position + 1)

    def parent(self) -> Node | None:
        return Leaf(self.filesystem, self.filesystem.parents[self.ino])

    def open(self, flags: int = 0) -> Handle:
        return Content(self)


class Content(Handle):
    node: Leaf

    def readinto(self, offset: int, buffer: memoryview) -> int:
        content = self.node.content
        assert isinstance(content, bytes)
        piece = content[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)


@contextlib.contextmanager
def served(filesystem: Filesystem) -> Iterator[Path]:
    """A file system made in this process, served by another through the ordinary session."""
    import pyfuse3

    from vfs.api.options import MountOptions
    from vfs.fuse import session
    from vfs.fuse.options import FuseOptions, libfuse_options

    with place() as directory:

        def serve(ready: Callable[[], None]) -> None:
            operations, loop = session.serving(filesystem, True, ready)
            options = libfuse_options(MountOptions(), FuseOptions(), filesystem.type, "test", filesystem.read_only)
            session._mount(operations, str(directory), options)
            loop.run()
            operations.close()
            pyfuse3.close()

        child = background.launch(serve)
        try:
            yield directory
        finally:
            subprocess.run(["umount", "-l", directory] if os.geteuid() == 0 else ["fusermount3", "-uz", directory], check=True)
            assert until(lambda: os.waitpid(child, os.WNOHANG)[0] == child)


KINDS = [(True, False), (False, False), (True, True), (False, True)]


@pytest.mark.parametrize(("stable", "blocking"), KINDS)
def test_tree(stable: bool, blocking: bool) -> None:
    content: dict[bytes, object] = {b"top": b"top"}
    content[b"dir"] = {b"a": b"A" * 5000, b"b": b"", b"sub": {b"c": bytes(range(256)) * 1000}}
    content |= {b"%04d" % number: b"%d" % number for number in range(1500)}
    with served(Tree(content, stable, blocking)) as root:
        for _ in range(2):
            assert sorted(os.listdir(root)) == sorted(os.fsdecode(name) for name in content)
            assert (root / "dir" / "a").read_bytes() == b"A" * 5000
            assert (root / "dir" / "b").read_bytes() == b""
            assert (root / "dir" / "sub" / "c").read_bytes() == bytes(range(256)) * 1000
            assert {(root / f"{number:04}").read_bytes() for number in range(1500)} == {b"%d" % n for n in range(1500)}
            assert not (root / "none").exists()
            found = (root / "top").stat()
            assert (found.st_mtime_ns, found.st_atime_ns) == (-1, 2**33 * 10**9 + 5)
            numbers = {path: path.lstat().st_ino for path in root.rglob("*")}
            assert len(set(numbers.values())) == len(numbers)
            if os.geteuid() == 0:
                Path("/proc/sys/vm/drop_caches").write_text("2")  # the kernel forgets; we are asked anew
        space = os.statvfs(root)
        assert (space.f_frsize, space.f_blocks, space.f_bfree, space.f_bavail) == (512, 2**40, 7, 5)
        assert (space.f_files, space.f_ffree, space.f_namemax) == (3, 2, 100)


@pytest.mark.parametrize("first", [1, 2, 77, 2**40])
def test_any_number_may_be_the_roots(first: int) -> None:
    with served(Tree({b"a": {b"b": b"x"}}, first=first)) as root:
        assert [os.stat(root / name).st_ino for name in ("", "a", "a/b")] == [first, first + 1, first + 2]


def test_number_one_may_be_another_inodes() -> None:
    tree = Tree({b"a": b"first"})
    tree.inodes[1], tree.parents[1] = b"number one", 2
    tree.children[2][b"one"] = 1
    with served(tree) as root:
        assert os.stat(root).st_ino == 2
        assert (root / "one").read_bytes() == b"number one"
        assert {name: os.lstat(root / name).st_ino for name in sorted(os.listdir(root))} == {"a": 3, "one": 1}


def test_directory_below_itself_is_an_error_not_a_loop() -> None:
    tree = Tree({b"a": {b"b": b"x"}})
    tree.children[3][b"up"] = 2
    with served(tree) as root:
        with pytest.raises(OSError):
            os.stat(root / "a" / "up")
        done = subprocess.run(["find", root], capture_output=True, timeout=LIMIT)
        assert done.stdout.count(b"\n") <= 4


def test_errors_reach_the_caller_and_nothing_else_suffers() -> None:
    broken = {
        b"damaged": OSError(errno.EUCLEAN, "inode 5: damaged"),
        b"locked": OSError(errno.ENOKEY, "no key"),
        b"mistake": ZeroDivisionError("a mistake in a module"),
        b"whole": b"fine",
    }
    with served(Tree({b"dir": broken, b"half": {b"a": b"", b"b": b"", b"stop": b""}})) as root:
        directory = root / "dir"
        assert sorted(os.listdir(directory)) == ["damaged", "locked", "mistake", "whole"]
        for name, number in (("damaged", errno.EUCLEAN), ("locked", errno.ENOKEY), ("mistake", errno.EIO)):
            for _ in range(2):
                with pytest.raises(OSError) as caught:
                    os.lstat(directory / name)
                assert caught.value.errno == number
        assert (directory / "whole").read_bytes() == b"fine"
        # A listing that breaks off tells what it had, and then the reason.
        seen = []
        with pytest.raises(OSError) as caught, os.scandir(root / "half") as entries:
            for entry in entries:
                seen.append(entry.name)
        assert (seen, caught.value.errno) == (["a", "b"], errno.EUCLEAN)


def test_waiting_calls_do_not_hold_up_others() -> None:
    with contextlib.closing(Gate()) as gate, served(Tree({b"slow": gate, b"fast": b"fast"}, blocking=True)) as root:
        # The kernel looks up one name of a directory after the other (libfuse does not ask for more), so this one comes first.
        assert (root / "fast").read_bytes() == b"fast"
        waiting = threading.Thread(target=os.stat, args=(root / "slow",))
        waiting.start()
        for _ in range(20):
            assert (root / "fast").read_bytes() == b"fast"
        assert waiting.is_alive()
        gate.open()
        waiting.join(LIMIT)
        assert not waiting.is_alive()


def test_nodes_are_held_as_long_as_the_kernel_knows_them() -> None:
    from vfs.fuse.nodes import ROOT, HeldNodes, Nodes

    tree = Tree({b"%d" % number: b"" for number in range(10)}, stable=False)
    table = HeldNodes(tree)
    node = tree.root.lookup(b"3")
    number = table.number(node.ino)
    for _ in range(3):
        table.enter(number, node)
    table.forget([(number, 2)])
    assert table.get(number) is node
    table.forget([(number, 1), (ROOT, 5)])
    with pytest.raises(OSError) as caught:
        table.get(number)
    assert caught.value.errno == errno.ESTALE
    assert table.get(ROOT).ino == 2

    stable = Tree({b"%d" % number: b"" for number in range(20000)})
    numbers = Nodes(stable)
    for ino in stable.inodes:
        numbers.enter(numbers.number(ino), stable.node(ino))
    kept = numbers._recent
    assert len(kept._young) + len(kept._old) <= 8192
    assert numbers.get(3).ino == 3


# ---------------------------------------------------------------- devices


class Bytes(Storage):
    def __init__(self, content: bytes) -> None:
        self.content, self.size = content, len(content)

    def readinto(self, offset: int, buffer: memoryview) -> int:
        piece = self.content[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)


class Disk(Device):
    type = "disk"

    def __init__(self) -> None:
        self.whole = Bytes(bytes(range(256)) * 400)
        self.closed = False

    def storages(self) -> dict[int, Storage]:
        return {0: self.whole, 5: SubStorage(self.whole, 512, 2000), 1: SubStorage(self.whole, 1024, 100)}

    def close(self) -> None:
        self.closed = True


def test_device_is_a_directory_of_its_parts() -> None:
    from vfs.fuse.devices import DeviceFiles

    disk = Disk()
    with DeviceFiles(disk) as files, served(files) as root:
        assert {path.name: path.stat().st_size for path in root.iterdir()} == {"disk": 102400, "p1": 100, "p5": 2000}
        assert (root / "disk").read_bytes() == disk.whole.content
        assert (root / "p1").read_bytes() == disk.whole.content[1024:1124]
        assert (root / "p5").read_bytes() == disk.whole.content[512:2512]
        assert stat.S_IMODE((root / "disk").stat().st_mode) == 0o400
    assert disk.closed


def test_serving_process_is_small() -> None:
    """What the kernel was told of is not held: a walk leaves no objects behind. (The 100 MiB of a million inodes: bench.)"""
    tree = Tree({b"%d" % directory: {b"%d" % name: b"" for name in range(500)} for directory in range(100)})
    with served(tree) as root:
        (pid,) = [int(name) for name in os.listdir("/proc") if name.isdigit() and _parent(name) == os.getpid() and _serves(name)]

        def resident() -> int:
            line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
            return int(line.split()[1])

        subprocess.run(["find", root / "0", "-ls"], stdout=subprocess.DEVNULL, timeout=LIMIT, check=True)
        before = resident()
        subprocess.run(["find", root, "-ls"], stdout=subprocess.DEVNULL, timeout=LIMIT, check=True)
        # 50,000 held nodes with their attributes would be more than 20 MiB.
        assert resident() - before < 10 * 1024


def _parent(pid: str) -> int:
    try:
        return int(Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _serves(pid: str) -> bool:
    return any(os.readlink(f"/proc/{pid}/fd/{number}") == "/dev/fuse" for number in os.listdir(f"/proc/{pid}/fd"))
