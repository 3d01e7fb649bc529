"""hostfs against the list of POSIX cases, and what only hostfs has: that nothing leaves the directory, changes made on the
host besides us, other file systems below, bounded descriptors."""

from __future__ import annotations

import errno
import gc
import os
import random
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import posix_cases
import pytest
from posix_calls import HostCalls, NodeCalls, NodeListing, RunningListing
from test_ramfs import parameters

from vfs.api import Change, Filesystem, HostDirectory, open_image, registry
from vfs.api.allocation import fallocate
from vfs.api.stack import mount
from vfs.hostfs import linux
from vfs.hostfs.directory import END

PROJECT = Path(__file__).resolve().parent.parent

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounting on the host needs root")


def hostfs(path: Path, options: str = "") -> Filesystem:
    mounted = mount(HostDirectory(str(path)), "hostfs", options)
    assert isinstance(mounted, Filesystem)
    return mounted


def kind_of(path: Path) -> str:
    """What the host calls the type of a file system, as `posix_cases.EXEMPT` does."""
    name = subprocess.run(["stat", "-fc%T", path], capture_output=True, text=True, check=True).stdout.strip()
    return "ext4" if name.startswith("ext") else name


PLACES = {kind_of(place): place for place in (Path("/dev/shm"), Path("/var/tmp"))}
"""Directories of the host on different file systems."""


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty directory on the file system that the test names."""
    if os.geteuid() != 0:
        pytest.skip("the cases are written for root")
    base = PLACES[getattr(request, "param", next(iter(PLACES)))]
    path = base / f"vfs-hostfs-{os.getpid()}"
    path.mkdir(mode=0o755)
    yield path
    shutil.rmtree(path)


# ---------------------------------------------------------------------------------------------- the cases


@pytest.mark.parametrize(("place", "name"), [(kind, name) for kind in PLACES for name in parameters(kind)], indirect=["place"])
def test_cases_on_the_host(place: Path, name: str, no_umask: None) -> None:
    posix_cases.CASES[name](HostCalls(str(place)))


@pytest.mark.parametrize("umask", [0, 0o077])
@pytest.mark.parametrize(
    ("place", "name"), [(kind, name) for kind in PLACES for name in parameters(kind, f"hostfs on {kind}")], indirect=["place"]
)
def test_cases(place: Path, name: str, umask: int) -> None:
    before = os.umask(umask)  # ours must not show
    try:
        with hostfs(place) as filesystem:
            posix_cases.CASES[name](NodeCalls(filesystem, RunningListing if umask else NodeListing))
    finally:
        os.umask(before)


# ---------------------------------------------------------------------------------------------- as a source


def test_a_directory_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "f").write_text("content")
    for type in (None, "hostfs", "umfusehostfs"):
        with open_image(str(tmp_path), type) as image:
            assert (image.listdir("sub"), image.read_bytes("sub/f")) == (["f"], b"content")
            assert [layer.type for layer in image.layers] == ["hostfs"]
            assert image.filesystem.details()["directory"] == str(tmp_path)
    with pytest.raises(OSError) as caught:
        open_image(str(tmp_path / "sub" / "f"), "hostfs")
    assert caught.value.errno == errno.EINVAL and "directory" in caught.value.strerror
    with pytest.raises(OSError) as caught:
        open_image(str(tmp_path), "ext2")
    assert caught.value.errno == errno.EINVAL


def test_an_image_in_a_directory(tmp_path: Path) -> None:
    from fixtures.ext import IMAGES, image

    source = image(next(iter(IMAGES)))
    (tmp_path / "disk.img").symlink_to("elsewhere/disk.img")
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(source, tmp_path / "elsewhere" / "disk.img")
    with open_image(f"{tmp_path}!disk.img") as inner:
        assert [layer.type for layer in inner.layers] == ["hostfs", "ext2"]
        assert "lost+found" in inner.listdir()


def test_a_module_for_directories_gets_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third party's module that knows a directory by what is in it, without knowing that it is the host's."""
    (tmp_path / "marked").mkdir()
    (tmp_path / "marked" / ".mark").write_text("x")
    (tmp_path / "plain").mkdir()
    (tmp_path / "marking.py").write_text(
        "from vfs.api import *\n"
        "class Marked(Filesystem):\n"
        "    type = 'marked'\n"
        "    def __init__(self, node): super().__init__(); self.node_ = node\n"
        "    root = property(lambda self: self.node_)\n"
        "class Marking(Module):\n"
        "    name = 'marked'; description = 'marked directories'\n"
        "    def probe(self, source):\n"
        "        if not isinstance(source, Node): return NO\n"
        "        try: source.lookup(b'.mark')\n"
        "        except OSError: return NO\n"
        "        return CERTAIN\n"
        "    def mount(self, source, options):\n"
        "        assert isinstance(source, Node)\n"
        "        return Marked(source)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    known = dict(registry.modules())
    known["marked"] = registry.Registered("marked", "filesystem", "marking:Marking")
    monkeypatch.setattr(registry, "modules", lambda: known)
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for place, type, expected in (
        ("marked", None, "marked"),
        ("plain", None, "hostfs"),
        ("marked", "hostfs", "hostfs"),
        ("plain", "marked", "marked"),
    ):
        with open_image(str(tmp_path / place), type) as image:
            assert image.filesystem.type == expected
            assert image.listdir() == ([".mark"] if place == "marked" else [])
        del image
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_read_only(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("content")
    with hostfs(tmp_path, "ro") as filesystem:
        root = filesystem.root
        node = root.lookup(b"f")
        assert filesystem.read_only
        for change in (
            lambda: root.create(b"g", 0o644),
            lambda: root.mkdir(b"d", 0o755),
            lambda: root.symlink(b"l", b"x"),
            lambda: root.link(b"l", node),
            lambda: root.temporary(0o644),
            lambda: root.unlink(b"f"),
            lambda: root.rmdir(b"f"),
            lambda: root.rename(b"f", root, b"g"),
            lambda: node.set(Change(mode=0o700)),
            lambda: node.set(Change(size=0)),
            lambda: node.setxattr(b"user.a", b""),
            lambda: node.removexattr(b"user.a"),
            lambda: node.open(os.O_RDWR),
            lambda: node.open(os.O_WRONLY),
            lambda: node.open(os.O_TRUNC),
        ):
            with pytest.raises(OSError) as caught:
                change()
            assert caught.value.errno == errno.EROFS
        with pytest.raises(FileExistsError):
            root.create(b"f", 0o644)
        handle = node.open()
        assert handle.read(0, 100) == b"content"
        for write in (lambda: handle.write(0, b"x"), lambda: handle.allocate(0, 0, 10)):
            with pytest.raises(OSError) as caught:
                write()
            assert caught.value.errno == errno.EBADF


def test_attributes_are_the_hosts(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("content")
    (tmp_path / "d").mkdir()
    (tmp_path / "l").symlink_to("f")
    os.mkfifo(tmp_path / "p")
    with hostfs(tmp_path) as filesystem:
        for path, node in [(tmp_path, filesystem.root)] + [
            (tmp_path / name, filesystem.root.lookup(name.encode())) for name in "fdlp"
        ]:
            found, told = os.lstat(path), node.stat()
            for field in ("ino", "mode", "nlink", "uid", "gid", "rdev", "size", "blocks", "blksize"):
                assert getattr(told, field) == getattr(found, "st_" + field), field
            assert (told.mtime, told.ctime) == (found.st_mtime_ns, found.st_ctime_ns)
            assert told.btime is None or 0 < told.btime <= told.ctime
        native, told = os.statvfs(tmp_path), filesystem.statfs()
        assert (told.block_size, told.blocks, told.files, told.name_max) == (
            native.f_frsize,
            native.f_blocks,
            native.f_files,
            native.f_namemax,
        )
        assert f"{told.type:x}" == subprocess.run(["stat", "-fc%t", tmp_path], capture_output=True, text=True).stdout.strip()
        filesystem.sync()


# ---------------------------------------------------------------------------------------------- nothing leaves the directory


def test_names_that_lead_away(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_text("secret")
    (inside / "up").symlink_to("../secret")
    (inside / "absolute").symlink_to(tmp_path / "secret")
    (inside / "directory").symlink_to("..")
    with hostfs(inside) as filesystem:
        root = filesystem.root
        for name in (b"..", b".", b"", b"../secret", b"/", b"a/b", b"directory/secret", b"a\0b", b"/etc/passwd"):
            for call in (
                lambda name=name: root.lookup(name),
                lambda name=name: root.create(name, 0o644),
                lambda name=name: root.mkdir(name, 0o755),
                lambda name=name: root.symlink(name, b"x"),
                lambda name=name: root.link(name, root.lookup(b"up")),
                lambda name=name: root.unlink(name),
                lambda name=name: root.rmdir(name),
                lambda name=name: root.rename(name, root, b"x"),
                lambda name=name: root.rename(b"up", root, name),
            ):
                with pytest.raises(OSError) as caught:
                    call()
                assert caught.value.errno == errno.EINVAL
        for name in (b"up", b"absolute", b"directory"):
            node = root.lookup(name)
            assert stat.S_ISLNK(node.stat().mode)
            with pytest.raises(OSError) as caught:
                node.open(os.O_RDONLY)
            assert caught.value.errno == errno.ELOOP
            with pytest.raises(OSError) as caught:
                node.lookup(b"secret")
            assert caught.value.errno == errno.ENOTDIR
            node.set(Change(mode=0o600, atime=1, mtime=1))
        assert root.parent().ino == root.ino
        with open_image(str(inside)) as image, pytest.raises(FileNotFoundError):
            image.resolve("up")  # `..` of the root is the root
    assert (tmp_path / "secret").read_text() == "secret"
    assert (tmp_path / "secret").stat().st_mtime_ns != 1


def swap(path: Path, other: Path) -> None:
    """Put something else, reached through *other*, where a node was found."""
    path.rename(path.with_name(path.name + ".moved"))
    path.symlink_to(other)


@pytest.mark.parametrize("kept", [False, True])
def test_what_is_swapped_for_a_link_is_stale(kept: bool, tmp_path: Path) -> None:
    """Between looking a name up and using it, somebody on the host puts a link to outside there."""
    outside = tmp_path / "outside"
    (outside / "sub").mkdir(parents=True)
    (outside / "file").write_text("outside")
    inside = tmp_path / "inside"
    (inside / "directory" / "sub").mkdir(parents=True)
    (inside / "directory" / "file").write_text("inside")
    (inside / "file").write_text("inside")
    with hostfs(inside) as filesystem:
        root = filesystem.root
        directory, file = root.lookup(b"directory"), root.lookup(b"file")
        below = directory.lookup(b"file")
        if not kept:
            filesystem.keep = lambda key, descriptor: None  # type: ignore[attr-defined]
            filesystem._young.clear()  # type: ignore[attr-defined]
        swap(inside / "directory", outside)
        swap(inside / "file", outside / "file")
        calls: list[Callable[[], object]] = [
            lambda: file.stat(),
            lambda: file.open(os.O_RDWR),
            lambda: file.open(os.O_WRONLY | os.O_TRUNC),
            lambda: file.set(Change(mode=0o777)),
            lambda: file.set(Change(size=0)),
            lambda: file.set(Change(mtime=0)),
            lambda: file.setxattr(b"user.a", b"x"),
            lambda: file.listxattr(),
            lambda: root.link(b"linked", file),
            lambda: directory.stat(),
            lambda: list(directory.entries()),
            lambda: directory.set(Change(mode=0o777)),
        ]
        if not kept:
            calls += [
                lambda: below.open(os.O_RDWR),
                lambda: below.stat(),
                lambda: directory.lookup(b"file"),
                lambda: directory.create(b"made", 0o644),
                lambda: directory.mkdir(b"made", 0o755),
                lambda: directory.unlink(b"file"),
                lambda: directory.rmdir(b"sub"),
                lambda: root.rename(b"file", directory, b"made"),
                lambda: directory.rename(b"file", root, b"made"),
                lambda: directory.temporary(0o644),
            ]
        else:
            assert below.open(os.O_RDONLY).read(0, 100) == b"inside"
        for call in calls:
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == errno.ESTALE
            assert caught.value.filename is None
        # Looked up anew they are what they are.
        assert stat.S_ISLNK(root.lookup(b"directory").stat().mode)
        assert stat.S_ISLNK(root.lookup(b"file").stat().mode)
    assert sorted(os.listdir(outside)) == ["file", "sub"]
    assert ((outside / "file").read_text(), (outside / "file").stat().st_mode & 0o777) == ("outside", 0o644)


def test_a_race_never_leads_outside(tmp_path: Path) -> None:
    """A host process swaps a directory and a link to outside as fast as it can; we read and write meanwhile."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    (outside / "file").write_text("outside")
    (inside / "directory").mkdir(parents=True)
    (inside / "directory" / "file").write_text("inside")
    (inside / "link").symlink_to(outside)
    (inside / "file").write_text("inside")
    (inside / "filelink").symlink_to(outside / "file")
    program = f"""
import ctypes, os
os.chdir({str(inside)!r})
libc = ctypes.CDLL(None)
for _ in range(15000):
    libc.renameat2(-100, b"directory", -100, b"link", 2)
    libc.renameat2(-100, b"file", -100, b"filelink", 2)
"""
    swapping = subprocess.Popen([sys.executable, "-c", program])
    outcomes: dict[str, int] = {}
    try:
        with hostfs(inside) as filesystem:
            filesystem.keep = lambda key, descriptor: None  # type: ignore[attr-defined]
            while swapping.poll() is None:
                for path in ((b"directory", b"file"), (b"file",)):
                    try:
                        node = filesystem.root
                        for name in path:
                            node = node.lookup(name)
                        with node.open(os.O_RDWR) as handle:
                            content = handle.read(0, 100)
                            assert content == b"inside"
                            handle.write(0, content)
                        node.set(Change(mode=0o640))
                        outcome = "reached"
                    except OSError as error:
                        assert error.errno in (errno.ESTALE, errno.ELOOP, errno.ENOTDIR, errno.ENOENT), error
                        outcome = errno.errorcode[error.errno]
                    outcomes[outcome] = outcomes.get(outcome, 0) + 1
    finally:
        swapping.kill()
        swapping.wait()
    assert outcomes.keys() >= {"reached", "ESTALE"}, outcomes
    assert ((outside / "file").read_text(), (outside / "file").stat().st_mode & 0o777) == ("outside", 0o644)


# ---------------------------------------------------------------------------------------------- changes on the host


def test_the_host_changes_besides_us(tmp_path: Path) -> None:
    with hostfs(tmp_path) as filesystem:
        root = filesystem.root
        (tmp_path / "f").write_text("one")
        node = root.lookup(b"f")
        (tmp_path / "f").write_text("another")
        assert node.stat().size == 7
        (tmp_path / "f").rename(tmp_path / "g")
        with pytest.raises(OSError) as caught:
            node.stat()
        assert caught.value.errno == errno.ESTALE
        assert root.lookup(b"g") is node and node.stat().size == 7
        handle = node.open(os.O_RDONLY)
        (tmp_path / "g").unlink()
        assert handle.read(0, 10) == b"another"
        with pytest.raises(FileNotFoundError):
            root.lookup(b"g")


def test_nodes_follow_renames_through_us(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "f").write_text("content")
    (tmp_path / "c").mkdir()
    (tmp_path / "x").write_text("x")
    with hostfs(tmp_path) as filesystem:
        root = filesystem.root
        b = root.lookup(b"a").lookup(b"b")
        file, x = b.lookup(b"f"), root.lookup(b"x")
        filesystem._young.clear()  # type: ignore[attr-defined]
        root.rename(b"a", root.lookup(b"c"), b"d")
        assert file.stat().size == 7 and b.parent().ino == root.lookup(b"c").lookup(b"d").ino
        filesystem._young.clear()  # type: ignore[attr-defined]
        b.rename(b"f", root, b"g")
        assert file.open().read(0, 10) == b"content"
        root.rename(b"g", root, b"x", 2)
        assert (file.name, x.name) == (b"x", b"g")  # type: ignore[attr-defined]
        assert (file.stat().size, x.stat().size) == (7, 1)
        root.rename(b"g", root, b"x")
        assert (x.stat().nlink, file.stat().nlink) == (1, 0)
        assert file.open(os.O_RDWR).read(0, 10) == b"content"
        file.set(Change(size=3))
        assert file.stat().size == 3


def test_removed_nodes_live_while_held(tmp_path: Path) -> None:
    with hostfs(tmp_path) as filesystem:
        root = filesystem.root
        file = root.create(b"f", stat.S_IFREG | 0o644)
        with file.open(os.O_WRONLY) as handle:
            handle.write(0, b"content")
        directory = root.mkdir(b"d", 0o755)
        link = root.symlink(b"l", b"target")
        for name in (b"f", b"l"):
            root.unlink(name)
        root.rmdir(b"d")
        assert file.open().read(0, 10) == b"content"
        file.set(Change(mode=0o600, mtime=5))
        assert (file.stat().mode, file.stat().mtime, file.stat().nlink) == (stat.S_IFREG | 0o600, 5, 0)
        assert link.readlink() == b"target"
        assert list(directory.entries()) == []
        with pytest.raises(FileNotFoundError):
            directory.create(b"x", 0o644)
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        del file, link, handle
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) == before - 2


def test_hard_links_are_one_node(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("content")
    os.link(tmp_path / "a", tmp_path / "b")
    with hostfs(tmp_path) as filesystem:
        root = filesystem.root
        node = root.lookup(b"a")
        assert root.lookup(b"b") is node
        root.unlink(b"a")
        assert node.stat().nlink == 1
        root.unlink(b"b")
        assert node.stat().nlink == 0


def test_errors_name_no_files(tmp_path: Path) -> None:
    with hostfs(tmp_path) as filesystem:
        for call in (
            lambda: filesystem.root.lookup(b"none"),
            lambda: filesystem.root.unlink(b"none"),
            lambda: filesystem.root.getxattr(b"user.none"),
            lambda: filesystem.root.rename(b"none", filesystem.root, b"x"),
        ):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.filename is None and "proc" not in str(caught.value)


# ---------------------------------------------------------------------------------------------- owners


@NEEDS_ROOT
def test_owners_are_given(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with hostfs(tmp_path) as filesystem:
            root = filesystem.root
            made = [
                root.create(b"f", stat.S_IFREG | 0o6755, 0, 5, 6),
                root.create(b"p", stat.S_IFIFO | 0o666, 0, 5, 6),
                root.mkdir(b"d", 0o1777, 5, 6),
                root.symlink(b"l", b"x", 5, 6),
                root.temporary(0o644, 5, 6),
            ]
            assert [(node.stat().uid, node.stat().gid) for node in made] == [(5, 6)] * 5
            assert [node.stat().mode & 0o7777 for node in made] == [0o6755, 0o666, 0o1777, 0o777, 0o644]
            made[0].set(Change(uid=7, mode=0o4711))
            assert (made[0].stat().uid, made[0].stat().mode & 0o7777) == (7, 0o4711)
    finally:
        os.umask(before)


def test_as_an_ordinary_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is created is theirs, what the host refuses is refused, and nothing needs a privilege."""
    from command import open_to_all, unprivileged

    prefix = unprivileged()
    place = tmp_path_factory.mktemp("shared")
    open_to_all(place)
    (place / "closed").mkdir(mode=0o700)
    (place / "closed" / "x").touch()
    (place / "open").mkdir()
    (place / "open").chmod(0o777)
    (place / "file").write_text("content")
    (place / "file").chmod(0o644)
    program = f"""
import errno, os, stat
from vfs.api import *
with open_image({str(place)!r}) as image:
    shared = image.resolve("open")
    node = shared.create(b"f", stat.S_IFREG | 0o640, 0, 0, 0)
    assert node.stat().uid == os.getuid() and node.stat().mode == stat.S_IFREG | 0o640
    shared.mkdir(b"d", 0o755); shared.symlink(b"l", b"x"); shared.link(b"g", node)
    node.set(Change(mode=0o600, mtime=5)); node.setxattr(b"user.a", b"x")
    with node.open(os.O_RDWR) as handle: handle.write(0, b"content")
    shared.unlink(b"f"); shared.rename(b"g", shared, b"h"); shared.unlink(b"h")
    assert node.open(os.O_RDONLY).read(0, 10) == b"content"
    for call, number in (
        (lambda: list(image.resolve("closed").entries()), errno.EACCES),
        (lambda: image.resolve("closed/x"), errno.EACCES),
        (lambda: image.resolve("file").open(os.O_WRONLY), errno.EACCES),
        (lambda: image.resolve("file").set(Change(mode=0o777)), errno.EPERM),
        (lambda: image.root.create(b"y", 0o644), errno.EACCES),
    ):
        try: call()
        except OSError as error: assert error.errno == number, error
        else: assert {place.stat().st_uid} == os.getuid(), number
print("done")
"""
    done = subprocess.run(
        [*prefix, sys.executable, "-bb", "-c", program], cwd=PROJECT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "done\n", done.stderr
    assert (place / "open" / "d").is_dir()


# ---------------------------------------------------------------------------------------------- other file systems, bounds


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Mounts on the host, taken away at the end."""
    targets: list[Path] = []

    def mount_it(*arguments: str | Path) -> None:
        subprocess.run(["mount", *arguments], check=True)
        targets.append(Path(arguments[-1]))

    yield mount_it
    gc.collect()
    for target in reversed(targets):
        subprocess.run(["umount", "-l", target], check=True)


@NEEDS_ROOT
def test_other_file_systems_below(tmp_path: Path, mounted: Callable[..., None]) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        mounted("-t", "tmpfs", "none", tmp_path / name)
        (tmp_path / name / "f").write_text(name)
    (tmp_path / "f").write_text("root")
    with hostfs(tmp_path) as filesystem:
        root = filesystem.root
        one, two = root.lookup(b"one"), root.lookup(b"two")
        files = [one.lookup(b"f"), two.lookup(b"f"), root.lookup(b"f")]
        assert os.stat(tmp_path / "one" / "f").st_ino == os.stat(tmp_path / "two" / "f").st_ino
        assert len({file.ino for file in files}) == 3 and len({one.ino, two.ino, root.ino}) == 3
        assert files[2].ino == os.stat(tmp_path / "f").st_ino
        assert [bytes(file.open().read(0, 10)) for file in files] == [b"one", b"two", b"root"]
        assert [entry.ino for entry in one.entries()] == [files[0].ino]
        for call in (lambda: root.link(b"g", files[0]), lambda: root.rename(b"f", one, b"g")):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == errno.EXDEV


@NEEDS_ROOT
def test_a_directory_seen_inside_itself(tmp_path: Path, mounted: Callable[..., None]) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "f").write_text("content")
    (tmp_path / "again").mkdir()
    mounted("--bind", tmp_path / "a", tmp_path / "a" / "b")
    mounted("--bind", tmp_path, tmp_path / "again")
    with hostfs(tmp_path) as filesystem:
        root = filesystem.root
        node = root.lookup(b"a")
        for _ in range(5):
            node = node.lookup(b"b")
            assert node.stat().is_directory
        assert root.lookup(b"a").lookup(b"f").stat().size == 7
        assert root.lookup(b"again").ino == root.ino and root.parent().ino == root.ino
        assert root.lookup(b"a").parent().ino == root.ino


@NEEDS_ROOT
def test_later_fuse_mounts_are_not_entered(tmp_path: Path) -> None:
    """`vfs mount -t hostfs` of a directory that holds its own mount point does not wait for itself."""
    pytest.importorskip("pyfuse3")
    from command import VFS

    (tmp_path / "f").write_text("content")
    target = tmp_path / "sub dir" / "mnt"
    target.mkdir(parents=True)
    try:
        subprocess.run([*VFS, "mount", "-t", "hostfs", "-o", "ro", tmp_path, target], cwd=PROJECT, check=True, timeout=60)
        assert (target / "f").read_text() == "content"
        shown = subprocess.run(["ls", "-l", target / "sub dir" / "mnt"], capture_output=True, text=True, timeout=60)
        assert shown.returncode and "deadlock" in shown.stderr
        assert subprocess.run(["find", target], capture_output=True, timeout=60).returncode == 1
        assert os.listdir(target / "sub dir") == ["mnt"]
    finally:
        subprocess.run(["fusermount3", "-uz", target], check=True)


def test_descriptors_are_bounded(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"d{number}").mkdir()
        (tmp_path / f"d{number}" / "f").write_text(str(number))
    gc.collect()
    with hostfs(tmp_path) as filesystem:
        before = len(os.listdir("/proc/self/fd"))
        nodes = [filesystem.root.lookup(b"d%d" % number).lookup(b"f") for number in range(1000)]
        assert [int(node.open().read(0, 10)) for node in nodes] == list(range(1000))
        listings = [iter(node.parent().entries() if node.parent() else node.above.entries()) for node in nodes]  # type: ignore[attr-defined]
        assert all(next(listing).name == b"f" for listing in listings)
        assert len(os.listdir("/proc/self/fd")) - before <= 256
        assert all(node.stat().size for node in random.sample(nodes, 300))
        assert len(os.listdir("/proc/self/fd")) - before <= 256
        del nodes, listings
        gc.collect()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_very_deep(tmp_path: Path) -> None:
    """Deeper than PATH_MAX, and than Python's stack."""
    with hostfs(tmp_path) as filesystem:
        node = filesystem.root
        for _ in range(1500):
            node = node.mkdir(b"directory", 0o755)
        node.create(b"f", stat.S_IFREG | 0o644)
        filesystem._young.clear()  # type: ignore[attr-defined]
        filesystem._old.clear()  # type: ignore[attr-defined]
        assert [entry.name for entry in node.entries()] == [b"f"]
        assert node.lookup(b"f").stat().size == 0
    subprocess.run(["rm", "-rf", tmp_path / "directory"], check=True)


def test_large_directories(tmp_path: Path) -> None:
    names = {b"name-%05d" % number for number in range(8000)}
    for name in names:
        (tmp_path / os.fsdecode(name)).touch()
    with hostfs(tmp_path) as filesystem:
        entries = list(filesystem.root.entries())
        assert {entry.name for entry in entries} == names and len(entries) == 8000
        assert all(0 < entry.next <= END < 2**63 - 2 for entry in entries)
        for index in (0, 10, 4000, 7998, 7999):
            assert list(filesystem.root.entries(entries[index].next)) == entries[index + 1 :]
        assert list(filesystem.root.entries(END)) == []


# ---------------------------------------------------------------------------------------------- content


def test_extents_and_descriptors(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 10_000)
    with open(tmp_path / "sparse", "wb") as file:
        file.seek(1 << 20)
        file.write(b"y" * 5000)
        file.truncate(1 << 21)
    with hostfs(tmp_path) as filesystem:
        with filesystem.root.lookup(b"f").open(os.O_RDWR) as handle:
            (extent,) = handle.extents(1000, 1 << 40)
            assert (extent.offset, extent.length, extent.fd_offset, extent.hole) == (1000, 9000, 1000, False)
            assert extent.fd is not None and os.pread(extent.fd, 10, extent.fd_offset) == b"x" * 10
            fd = handle.descriptor()
            assert fd is not None
            assert os.fstat(fd).st_ino == os.stat(tmp_path / "f").st_ino
            assert os.write(fd, b"native") == 6
            assert handle.seek_hole(0) == 10_000
            assert os.lseek(fd, 0, os.SEEK_CUR) == 6
            import fcntl

            assert not fcntl.fcntl(fd, fcntl.F_GETFL) & (os.O_NONBLOCK | os.O_APPEND)
        with pytest.raises(OSError) as caught:
            handle.read(0, 1)
        assert caught.value.errno == errno.EBADF
        assert (tmp_path / "f").read_bytes().startswith(b"nativexx")
        with filesystem.root.lookup(b"sparse").open() as handle:
            extents = handle.extents(0, 1 << 40)
            assert sum(each.length for each in extents) == 1 << 21
            assert [each.hole for each in extents] == [True, False, True]
            assert handle.extents(0, 0) == handle.extents(1 << 30, 5) == handle.extents(-1, 5) == []
            assert handle.read(1 << 20, 1 << 62)[:5000] == b"y" * 5000


def test_a_leased_file_is_waited_for(tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "f").write_text("content")
    with open(tmp_path / "f", "r+") as holder:
        try:
            fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            pytest.skip(f"this file system has no leases: {error}")
        released: list[bool] = []

        def release(*_: object) -> None:
            released.append(True)
            fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_UNLCK)

        import signal

        before = signal.signal(signal.SIGIO, release)
        try:
            with hostfs(tmp_path) as filesystem:
                assert filesystem.root.lookup(b"f").open().read(0, 10) == b"content"
        finally:
            signal.signal(signal.SIGIO, before)
        assert released


def test_access_times_are_left_alone_where_asked(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("content")
    os.utime(tmp_path / "f", ns=(5, 10**18))
    with hostfs(tmp_path) as filesystem:
        filesystem.noatime = True
        filesystem.root.lookup(b"f").open().read(0, 10)
    assert os.stat(tmp_path / "f").st_atime_ns == 5


def test_threads(tmp_path: Path) -> None:
    """Many look up, list, make and rename at once; nothing but the expected errors."""
    failures: list[BaseException] = []
    with hostfs(tmp_path) as filesystem:
        root = filesystem.root
        for number in range(300):
            root.mkdir(b"d%d" % number, 0o755)

        def work(seed: int) -> None:
            rng = random.Random(seed)
            try:
                for step in range(300):
                    try:
                        directory = root.lookup(b"d%d" % rng.randrange(300))
                        name = b"f%d" % rng.randrange(3)
                        choice = rng.randrange(5)
                        if choice == 0:
                            with directory.create(name, stat.S_IFREG | 0o644).open(os.O_WRONLY) as handle:
                                handle.write(0, b"%d" % step)
                        elif choice == 1:
                            directory.unlink(name)
                        elif choice == 2:
                            directory.rename(name, root.lookup(b"d%d" % rng.randrange(300)), name)
                        elif choice == 3:
                            list(directory.entries())
                        else:
                            node = directory.lookup(name)
                            node.open().read(0, 10)
                            node.stat()
                    except OSError as error:
                        assert error.errno in (errno.ENOENT, errno.EEXIST, errno.ESTALE), error
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not failures, failures


def test_linux_calls_agree_with_python(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.mknod(tmp_path / "f")
        linux.utimens(os.fsencode(tmp_path / "f"), -1_500_000_000_000_000_001, None)
        assert os.stat(tmp_path / "f").st_atime_ns == -1_500_000_000_000_000_001
        device, found = linux.statx(directory, b"f")
        assert device == linux.device_of(os.stat(tmp_path / "f").st_dev)
        assert found.atime == -1_500_000_000_000_000_001
        with pytest.raises(FileNotFoundError):
            linux.statx(directory, b"none")
        with pytest.raises(NotADirectoryError):
            file = os.open(tmp_path / "f", os.O_RDONLY)
            try:
                linux.getdents(file)
            finally:
                os.close(file)
        for call in (lambda: linux.fstatfs(-1), lambda: linux.syncfs(-1), lambda: fallocate(-1, 0, 0, 1)):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == errno.EBADF
    finally:
        os.close(directory)
