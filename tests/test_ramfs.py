"""ramfs against the list of POSIX cases (test_hostfs runs them on the host), and what only ramfs has: limits, numbers, forms of
content, descriptors, threads."""

from __future__ import annotations

import errno
import gc
import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import posix_cases
import pytest
from posix_calls import NodeCalls, NodeListing, RunningListing

from vfs.api import Change, Filesystem, open_image
from vfs.api.stack import mount
from vfs.ramfs import content

KIB = 1024
PAGE = 4096
PROJECT = Path(__file__).resolve().parent.parent


def ramfs(options: str = "") -> Filesystem:
    mounted = mount(None, "ramfs", options)
    assert isinstance(mounted, Filesystem)
    return mounted


@pytest.fixture
def filesystem() -> Iterator[Filesystem]:
    with ramfs() as mounted:
        yield mounted


@pytest.fixture
def no_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if too many descriptors were in use."""
    monkeypatch.setattr(content, "memory", lambda: None)


# ---------------------------------------------------------------------------------------------- the cases


def parameters(*fronts: str) -> list[str]:
    """The names of the cases that all these fronts fulfil."""
    exempt = {name for front in fronts for name in posix_cases.EXEMPT.get(front, ())}
    assert exempt <= posix_cases.CASES.keys(), f"{fronts}: {exempt - posix_cases.CASES.keys()}"
    return [name for name in posix_cases.CASES if name not in exempt]


@pytest.mark.parametrize("listing", [NodeListing, RunningListing])
@pytest.mark.parametrize("name", parameters("ramfs"))
def test_cases(name: str, listing: type[NodeListing], filesystem: Filesystem) -> None:
    posix_cases.CASES[name](NodeCalls(filesystem, listing))
    check(filesystem)


@pytest.mark.parametrize("name", parameters("ramfs"))
def test_cases_without_descriptors(name: str, filesystem: Filesystem, no_descriptors: None) -> None:
    posix_cases.CASES[name](NodeCalls(filesystem))
    check(filesystem)


def check(filesystem: Filesystem) -> None:
    """The counts of a mount are those of its tree, and all goes when it is removed."""
    root = filesystem.root
    seen: dict[int, int] = {}
    pages: dict[int, int] = {}

    def walk(directory: object) -> None:
        for entry in directory.entries():  # type: ignore[attr-defined]
            node = directory.lookup(entry.name)  # type: ignore[attr-defined]
            found = node.stat()
            assert (found.ino, found.mode >> 12) == (entry.ino, entry.type)
            assert filesystem.node(entry.ino) is node
            seen[entry.ino] = seen.get(entry.ino, 0) + 1
            pages[entry.ino] = node.pages
            if found.is_directory:
                assert found.nlink == 2 + sum(1 for each in node.entries() if each.type == stat.S_IFDIR >> 12)
                assert node.parent() is directory
                walk(node)
            else:
                assert found.blocks * 512 // PAGE <= node.pages

    walk(root)
    for ino, count in seen.items():
        found = filesystem.node(ino).stat()
        assert found.is_directory or found.nlink == count
    told = filesystem.statfs()
    assert told.blocks - told.free == sum(pages.values()) + root.pages  # type: ignore[attr-defined]
    assert told.files - told.files_free == len(seen) + 1

    def remove(directory: object) -> None:
        for entry in list(directory.entries()):  # type: ignore[attr-defined]
            if entry.type == stat.S_IFDIR >> 12:
                remove(directory.lookup(entry.name))  # type: ignore[attr-defined]
                directory.rmdir(entry.name)  # type: ignore[attr-defined]
            else:
                directory.unlink(entry.name)  # type: ignore[attr-defined]

    remove(root)
    gc.collect()  # errors that were caught hold frames, frames nodes
    told = filesystem.statfs()
    assert told.blocks - told.free == root.pages  # type: ignore[attr-defined]
    assert told.files - told.files_free == 1


# ---------------------------------------------------------------------------------------------- options and limits


def put(filesystem: Filesystem, name: bytes, body: bytes = b"") -> object:
    node = filesystem.root.create(name, stat.S_IFREG | 0o644)
    with node.open(os.O_WRONLY) as handle:
        if body:
            assert handle.write(0, body) == len(body)
    return node


def test_options() -> None:
    with ramfs("mode=750,uid=5,gid=6,size=1M,nr_inodes=10") as filesystem:
        found, told = filesystem.root.stat(), filesystem.statfs()
        assert (found.mode, found.uid, found.gid) == (stat.S_IFDIR | 0o750, 5, 6)
        assert (told.type, told.block_size, told.blocks, told.free, told.files, told.files_free) == (
            0x01021994,
            PAGE,
            256,
            256,
            10,
            9,
        )
        assert (filesystem.type, filesystem.read_only, filesystem.stable_numbers) == ("ramfs", False, True)
    with ramfs() as filesystem:
        found = filesystem.root.stat()
        assert (found.mode, found.uid, found.nlink) == (stat.S_IFDIR | 0o1777, os.geteuid(), 2)
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // PAGE
        assert filesystem.statfs().blocks == memory // 2
    for text, blocks in (("size=50%", memory // 2), ("size=1", 1), ("nr_blocks=7", 7), ("size=0", 0), ("size=2g", 524288)):
        with ramfs(text) as filesystem:
            assert filesystem.statfs().blocks == blocks
    for text in ("size=x", "size=-1", "size=5%%", "mode=9", "uid=me", "nr_inodes=", "sb=1"):
        with pytest.raises(OSError) as caught:
            ramfs(text)
        assert caught.value.errno == errno.EINVAL and text.split("=")[0] in caught.value.strerror


def test_it_has_no_source(tmp_path: Path) -> None:
    for source in ("none", "ramfs", "/no/such/thing", str(tmp_path)):
        with open_image(source, "ramfs", "size=4k") as image:
            assert image.listdir() == []


def test_read_only() -> None:
    with ramfs("ro") as filesystem:
        root = filesystem.root
        for change in (
            lambda: root.create(b"f", 0o644),
            lambda: root.mkdir(b"d", 0o755),
            lambda: root.symlink(b"l", b"x"),
            lambda: root.link(b"l", root),
            lambda: root.temporary(0o644),
            lambda: root.unlink(b"f"),
            lambda: root.rmdir(b"f"),
            lambda: root.rename(b"f", root, b"g"),
            lambda: root.set(Change(mode=0o700)),
            lambda: root.setxattr(b"user.a", b""),
            lambda: root.removexattr(b"user.a"),
        ):
            with pytest.raises(OSError) as caught:
                change()
            assert caught.value.errno == errno.EROFS
        atime = root.stat().atime
        assert list(root.entries()) == [] and root.stat().atime == atime


@pytest.mark.parametrize("form", ["memfd", "pages"])
def test_no_space(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if form == "pages":
        monkeypatch.setattr(content, "memory", lambda: None)
    with ramfs("size=100k") as filesystem:
        large = put(filesystem, b"large", b"x" * 80 * KIB)
        small = put(filesystem, b"small", b"y" * 5000)
        handle, other = large.open(os.O_RDWR), small.open(os.O_RDWR)  # type: ignore[attr-defined]
        assert filesystem.statfs().free == 3
        assert other.write(5000, b"y" * 20000) == 8192 - 5000 + 3 * PAGE  # as much as there is
        assert filesystem.statfs().free == 0
        for offset in (other.size(), other.size() + 100_000):
            with pytest.raises(OSError) as caught:
                other.write(offset, b"y")
            assert caught.value.errno == errno.ENOSPC
        assert handle.write(1000, b"z" * 70_000) == 70_000  # pages that are there
        with pytest.raises(OSError) as caught:
            handle.write(80 * KIB, b"z")
        assert caught.value.errno == errno.ENOSPC
        assert (handle.size(), other.size()) == (80 * KIB, 8192 + 3 * PAGE)
        assert handle.write(80 * KIB - 10, b"z" * 20) == 10
        small.set(Change(size=100))  # type: ignore[attr-defined]
        assert filesystem.statfs().free == 4
        handle.allocate(3, 0, 40 * KIB)  # punch
        assert filesystem.statfs().free == 14
        with pytest.raises(OSError) as caught:
            handle.allocate(0, 0, 200 * KIB)
        assert caught.value.errno == errno.ENOSPC
        assert (handle.size(), filesystem.statfs().free) == (80 * KIB, 14)
        assert handle.write(100 * KIB, b"w" * 100_000) == 14 * PAGE
        with pytest.raises(OSError) as caught:
            filesystem.root.symlink(b"l", b"x" * 200)
        assert caught.value.errno == errno.ENOSPC
        filesystem.root.symlink(b"l", b"x" * 100)
        handle.close()
        other.close()
        del large, small, handle, other
        for name in (b"large", b"small", b"l"):
            filesystem.root.unlink(name)
        assert filesystem.statfs().free == 25


def test_attributes_count() -> None:
    with ramfs("size=40k") as filesystem:
        root = filesystem.root
        for number in range(10):
            root.setxattr(b"user.%d" % number, bytes(3000))
        assert 10 - filesystem.statfs().free == 7
        with pytest.raises(OSError) as caught:
            root.setxattr(b"user.large", bytes(30000))
        assert caught.value.errno == errno.ENOSPC
        for number in range(10):
            root.removexattr(b"user.%d" % number)
        assert filesystem.statfs().free == 10
        with pytest.raises(OSError) as caught:
            for number in range(20_000):
                root.setxattr(b"user.%d" % number, b"")
        assert caught.value.errno == errno.ENOSPC
        assert sum(len(name) + 1 for name in root.listxattr()) <= 65536


def test_no_inodes() -> None:
    with ramfs("nr_inodes=3") as filesystem:
        root = filesystem.root
        put(filesystem, b"a")
        put(filesystem, b"b")
        for make in (
            lambda: put(filesystem, b"c"),
            lambda: root.mkdir(b"c", 0o755),
            lambda: root.symlink(b"c", b"x"),
            lambda: root.temporary(0o644),
            lambda: root.rename(b"a", root, b"c", 4),
        ):
            with pytest.raises(OSError) as caught:
                make()
            assert caught.value.errno == errno.ENOSPC
        root.link(b"c", root.lookup(b"a"))
        held = root.lookup(b"b").open(os.O_RDONLY)
        root.unlink(b"b")
        with pytest.raises(OSError):
            put(filesystem, b"d")
        held.close()
        del held
        put(filesystem, b"d")


# ---------------------------------------------------------------------------------------------- numbers and lives


def test_numbers(filesystem: Filesystem) -> None:
    root = filesystem.root
    node = put(filesystem, b"f", b"content")
    ino = node.ino  # type: ignore[attr-defined]
    assert filesystem.node(ino) is node and filesystem.node(root.ino) is root
    handle = node.open(os.O_RDONLY)  # type: ignore[attr-defined]
    root.unlink(b"f")
    assert filesystem.node(ino) is node
    del node
    assert bytes(filesystem.node(ino).open(os.O_RDONLY).read(0, 10)) == b"content"
    handle.close()
    del handle
    with pytest.raises(OSError) as caught:
        filesystem.node(ino)
    assert caught.value.errno == errno.ESTALE
    assert put(filesystem, b"f").ino != ino  # type: ignore[attr-defined]


def test_removed_directories(filesystem: Filesystem) -> None:
    ino = use_a_removed_directory(filesystem)
    gc.collect()
    with pytest.raises(OSError):
        filesystem.node(ino)


def use_a_removed_directory(filesystem: Filesystem) -> int:
    root = filesystem.root
    directory = root.mkdir(b"d", 0o755)
    put(filesystem, b"f")
    root.rmdir(b"d")
    assert (directory.stat().nlink, list(directory.entries()), filesystem.node(directory.ino)) == (0, [], directory)
    for change in (
        lambda: directory.create(b"f", 0o644),
        lambda: directory.mkdir(b"f", 0o755),
        lambda: directory.symlink(b"f", b"x"),
        lambda: directory.link(b"f", root.lookup(b"f")),
        lambda: directory.temporary(0o644),
        lambda: root.rename(b"f", directory, b"f"),
        lambda: directory.lookup(b"f"),
    ):
        with pytest.raises(OSError) as caught:
            change()
        assert caught.value.errno == errno.ENOENT
    return directory.ino


def test_other_file_systems_are_other_devices(filesystem: Filesystem) -> None:
    with ramfs() as other:
        put(filesystem, b"f")
        for change in (
            lambda: other.root.link(b"f", filesystem.root.lookup(b"f")),
            lambda: filesystem.root.rename(b"f", other.root, b"f"),
        ):
            with pytest.raises(OSError) as caught:
                change()
            assert caught.value.errno == errno.EXDEV


def test_most_links(filesystem: Filesystem) -> None:
    node = put(filesystem, b"f")
    node.nlink = 0xFFFFFFFF  # type: ignore[attr-defined]
    with pytest.raises(OSError) as caught:
        filesystem.root.link(b"g", node)  # type: ignore[arg-type]
    assert caught.value.errno == errno.EMLINK


def test_what_is_no_directory(filesystem: Filesystem) -> None:
    node = filesystem.root.lookup(put(filesystem, b"f") and b"f")
    for call in (
        lambda: node.lookup(b"x"),
        lambda: next(node.entries()),
        lambda: node.create(b"x", 0o644),
        lambda: node.mkdir(b"x", 0o755),
        lambda: node.unlink(b"x"),
        lambda: node.rename(b"x", filesystem.root, b"y"),
        lambda: filesystem.root.rename(b"f", node, b"y"),
    ):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.ENOTDIR


def test_close_lets_memory_go() -> None:
    filesystem = ramfs()
    put(filesystem, b"f", b"x" * 300_000)
    kept = filesystem.root.mkdir(b"d", 0o755).create(b"g", stat.S_IFREG | 0o644).open(os.O_RDWR)
    before = len(os.listdir("/proc/self/fd"))
    gc.disable()
    try:
        filesystem.close()
        filesystem.close()
        assert len(os.listdir("/proc/self/fd")) == before - 1
    finally:
        gc.enable()
    assert kept.write(0, b"still") == 5
    assert bytes(kept.read(0, 10)) == b"still"
    kept.close()


# ---------------------------------------------------------------------------------------------- content and descriptors


def test_small_files_need_no_descriptor(filesystem: Filesystem) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(5000):
        put(filesystem, b"f%d" % number, b"x" * number)
    assert len(os.listdir("/proc/self/fd")) == before
    assert filesystem.root.lookup(b"f9").open().extents(0, 100)[0].fd is None


def test_extents(filesystem: Filesystem) -> None:
    node = filesystem.root.create(b"f", stat.S_IFREG | 0o644)
    with node.open(os.O_RDWR) as handle:
        assert handle.extents(0, 100) == []
        handle.write(100_000, b"x" * 100_000)
        handle.write(1 << 20, b"y" * 10)
        extents = handle.extents(0, 1 << 30)
        assert [(each.offset, each.length, each.hole) for each in extents] == [
            (0, 98304, True),
            (98304, 102400, False),
            (200704, 847872, True),
            (1 << 20, 10, False),
        ]
        for each in extents:
            if not each.hole:
                assert each.fd is not None
                assert os.pread(each.fd, each.length, each.fd_offset) == handle.read(each.offset, each.length)
        assert handle.extents(150_000, 10) == [extents[1]._replace(offset=150_000, length=10, fd_offset=150_000)]
        assert handle.extents(1 << 20, -5) == handle.extents(-5, 3) == handle.extents(1 << 40, 3) == []


def test_where_descriptors_run_out() -> None:
    """Files beyond three quarters of the limit are held as pages, and the process can still open others."""
    program = """
import os, resource, stat
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
from vfs.api.stack import mount
filesystem = mount(None, "ramfs")
body = bytes(range(256)) * 400
for number in range(300):
    with filesystem.root.create(b"%d" % number, stat.S_IFREG | 0o644).open(os.O_RDWR) as handle:
        handle.write(0, body)
used = len(os.listdir("/proc/self/fd"))
assert 60 < used < 80, used
files = [filesystem.root.lookup(b"%d" % number).open(os.O_RDWR) for number in range(300)]
assert all(bytes(file.read(0, 1 << 20)) == body for file in files)
told = [file.extents(0, 10)[0].fd is not None for file in files]
assert sum(told) > 10 and not all(told), sum(told)
filesystem.close()
"""
    subprocess.run([sys.executable, "-bb", "-c", program], cwd=PROJECT, check=True, timeout=60)


# ---------------------------------------------------------------------------------------------- threads


def test_readers_and_writers_in_threads(filesystem: Filesystem) -> None:
    """Counts stay exact, a listing meets no trouble, a reader sees each small write whole."""
    root = filesystem.root
    shared = root.create(b"shared", stat.S_IFREG | 0o644)
    with shared.open(os.O_WRONLY) as handle:
        handle.write(0, b"a" * 1000)
    failures: list[BaseException] = []
    done = threading.Event()

    def write(name: bytes) -> None:
        for number in range(400):
            node = root.create(b"%s.%d" % (name, number), stat.S_IFREG | 0o644)
            with node.open(os.O_RDWR) as handle:
                handle.write(0, name * (number * 50))
                handle.write(0, name)
                with shared.open(os.O_WRONLY) as common:
                    common.write(0, name * 1000)
            if number % 3:
                root.rename(b"%s.%d" % (name, number), root, name + b".moved")
            if number % 5 == 0:
                root.unlink(b"%s.moved" % name if number % 3 else b"%s.%d" % (name, number))

    def read() -> None:
        while not done.is_set():
            names = [entry.name for entry in root.entries()]
            assert len(names) == len(set(names))
            piece = bytes(shared.open().read(0, 1000))
            assert len(set(piece)) == 1 and len(piece) == 1000
            for name in names[:20]:
                try:
                    root.lookup(name).stat()
                except FileNotFoundError:
                    pass

    def guarded(body: object, *arguments: bytes) -> None:
        try:
            body(*arguments)  # type: ignore[operator]
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=guarded, args=(write, bytes([byte]))) for byte in b"wxyz"]
    readers = [threading.Thread(target=guarded, args=(read,)) for _ in range(2)]
    for thread in (*writers, *readers):
        thread.start()
    for thread in writers:
        thread.join(60)
    done.set()
    for thread in readers:
        thread.join(60)
    assert not failures
    del handle
    shared = None  # type: ignore[assignment]
    check(filesystem)


def test_the_table_of_pages_finds_its_holes(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Pages.next` against a plain search, over many patterns."""
    import random

    rng = random.Random(5)
    for _ in range(200):
        pages = content.Pages()
        count = rng.randrange(1, 40)
        present = {number for number in range(count) if rng.random() < 0.6}
        for number in present:
            pages.write(number * PAGE, b"x")
        pages.truncate(count * PAGE - rng.randrange(0, PAGE - 1))
        for offset in range(0, pages.size, 1000):
            for hole in (False, True):
                expected: int | None = None
                for number in range(offset // PAGE, count):
                    if (number in present) != hole:
                        expected = max(offset, number * PAGE)
                        break
                if hole and expected is None:
                    expected = pages.size
                assert pages.next(offset, hole) == (None if expected is None else min(expected, pages.size))


def test_a_million_files_fit() -> None:
    """Room for an inode stays within what the documentation says (sampled with fewer)."""
    program = """
import os, stat
from vfs.api.stack import mount
filesystem = mount(None, "ramfs")
directory = filesystem.root.mkdir(b"d", 0o755)
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
before = resident()
for number in range(50000):
    directory.create(b"file%d" % number, stat.S_IFREG | 0o644)
print((resident() - before) // 50000)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 800


def test_limits_of_the_process_are_untouched(filesystem: Filesystem) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    put(filesystem, b"f", b"x" * 100_000)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
