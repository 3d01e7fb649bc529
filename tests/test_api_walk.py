"""Paths and walks inside an image: links, `..`, circles, depth. The images are real, the circles made with debugfs."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from oracle import oracle

from fixtures.ext import image
from fixtures.ext_images.build import Build
from fixtures.tree import directory, file, link, symlink
from vfs.api import Image, open_image
from vfs.api.walk import MAX_DEPTH, MAX_LINKS, locate, resolve, walk_tree

TREE = [
    directory(b"a"),
    directory(b"a/b"),
    file(b"a/b/file", b"content\n"),
    link(b"hard", b"a/b/file"),
    symlink(b"to-b", b"a/b"),
    symlink(b"a/up", b".."),
    symlink(b"a/above", b"../../../../a"),
    symlink(b"absolute", b"/a/b/file"),
    symlink(b"chain", b"to-b/../up/absolute"),
    symlink(b"dangling", b"nothing"),
    symlink(b"loop", b"loop"),
    symlink(b"ping", b"pong"),
    symlink(b"pong", b"ping"),
    symlink(b"slash", b"a/b/"),
    symlink(b"file-slash", b"a/b/file/"),
    *(symlink(b"chain-%d" % number, b"chain-%d" % (number + 1) if number < 45 else b"a") for number in range(1, 46)),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    build = Build(tmp_path_factory.mktemp("walk") / "image")
    build.mke2fs("1M", "-t", "ext2", "-b", "1024")
    build.fill(TREE)
    with open_image(str(build.path)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        (b"", b"/"),
        (b"/", b"/"),
        (b"///./.", b"/"),
        (b"..", b"/"),
        (b"/../../a", b"/a"),
        (b"a/b/file", b"/a/b/file"),
        (b"/a//b/./file", b"/a/b/file"),
        (b"a/b/..", b"/a"),
        (b"a/b/../../a/b", b"/a/b"),
        (b"to-b", b"/a/b"),
        (b"to-b/..", b"/a"),
        (b"to-b/file", b"/a/b/file"),
        (b"a/up", b"/"),
        (b"a/up/a/up/a", b"/a"),
        (b"a/above/b", b"/a/b"),
        (b"absolute", b"/a/b/file"),
        (b"chain", b"/a/b/file"),
        (b"slash/file", b"/a/b/file"),
        (b"chain-6", b"/a"),
        (b"hard", b"/hard"),
    ],
)
def test_locate(tree: Image, path: bytes, canonical: bytes) -> None:
    found, node = locate(tree.root, path)
    assert found == canonical
    assert node.ino == tree.resolve(canonical).ino


@pytest.mark.parametrize(
    ("path", "number"),
    [
        (b"nothing", errno.ENOENT),
        (b"a/nothing/b", errno.ENOENT),
        (b"a/nothing/../b", errno.ENOENT),
        (b"dangling", errno.ENOENT),
        (b"a/b/file/x", errno.ENOTDIR),
        (b"a/b/file/..", errno.ENOTDIR),
        (b"a/b/file/.", errno.ENOTDIR),
        (b"a/b/file/", errno.ENOTDIR),
        (b"file-slash", errno.ENOTDIR),
        (b"loop", errno.ELOOP),
        (b"loop/x", errno.ELOOP),
        (b"ping", errno.ELOOP),
        (b"chain-5", errno.ELOOP),
        (b"x" * 256, errno.ENAMETOOLONG),
        (b"nul\0byte", errno.ENOENT),
    ],
)
def test_locate_fails_as_the_kernel_does(tree: Image, path: bytes, number: int) -> None:
    with pytest.raises(OSError) as caught:
        locate(tree.root, path)
    assert caught.value.errno == number


def test_the_last_link_is_followed_when_wanted(tree: Image) -> None:
    assert resolve(tree.root, b"loop", follow=False).readlink() == b"loop"
    assert resolve(tree.root, b"to-b", follow=False).stat().is_symlink
    assert resolve(tree.root, b"to-b/", follow=False).stat().is_directory
    assert resolve(tree.root, b"to-b/file", follow=False).stat().is_regular


def test_forty_links_and_no_more(tree: Image) -> None:
    assert MAX_LINKS == 40
    assert resolve(tree.root, b"chain-6").stat().is_directory  # 40 links
    with pytest.raises(OSError):
        resolve(tree.root, b"chain-5")


# ---------------------------------------------------------------------------------------------------------- whole trees


def walked(opened: Image, **options: object) -> tuple[list[bytes], list[tuple[bytes, OSError]]]:
    errors: list[tuple[bytes, OSError]] = []
    found = walk_tree(opened.root, lambda path, error: errors.append((path, error)), **options)  # type: ignore[arg-type]
    return [each.path for each in found], errors


@pytest.mark.parametrize("name", ["ext2_1k", "ext4_4k"])
def test_a_walk_meets_everything_once(name: str) -> None:
    path = image(name)
    with open_image(str(path)) as opened:
        paths, errors = walked(opened)
    assert errors == []
    assert sorted([b"/", *(b"/" + each for each in paths)]) == sorted(oracle(path))


def test_directories_come_before_their_content_and_depth_is_told(tree: Image) -> None:
    found = {each.path: each for each in walk_tree(tree.root, lambda path, error: None)}
    order = list(found)
    assert order.index(b"a") < order.index(b"a/b") < order.index(b"a/b/file")
    assert [found[path].depth for path in (b"a", b"a/b", b"a/b/file")] == [1, 2, 3]
    assert found[b"a/b/file"].node.ino == found[b"hard"].node.ino == found[b"hard"].entry.ino


def test_enter_decides(tree: Image) -> None:
    paths, _ = walked(tree, enter=lambda found: found.path != b"a/b")
    assert b"a/b" in paths and b"a/b/file" not in paths and b"a/up" in paths


def test_circles_and_double_names_end(tmp_path: Path) -> None:
    build = Build(tmp_path / "image")
    build.mke2fs("1M", "-t", "ext2", "-b", "1024")
    build.fill([directory(b"a"), directory(b"a/b"), file(b"a/b/file", b"x"), directory(b"z")])
    build.commands("ln /a /a/b/circle", "ln /a/b /z/again", "ln / /a/root")
    with open_image(str(build.path)) as opened:
        paths, errors = walked(opened)
    assert paths.count(b"a/b/file") == 1 and b"a/b/circle" in paths
    assert {(path, error.errno) for path, error in errors} == {
        (path, errno.EUCLEAN) for path in (b"a/b/circle", b"z/again", b"a/root")
    }
    assert all("has two names or contains itself" in error.strerror for _, error in errors)


def test_depth_is_bounded(tmp_path: Path) -> None:
    build = Build(tmp_path / "image")
    build.mke2fs("4M", "-t", "ext2", "-b", "1024", "-N", "2048")
    build.commands(*["mkdir d", "cd d"] * (MAX_DEPTH + 10))
    with open_image(str(build.path)) as opened:
        paths, errors = walked(opened)
        assert max(path.count(b"/") for path in paths) + 1 == MAX_DEPTH
        assert [(path.count(b"/") + 1, error.errno) for path, error in errors] == [(MAX_DEPTH, errno.EUCLEAN)]
        deepest = b"/".join([b"d"] * (MAX_DEPTH + 10))
        assert resolve(opened.root, deepest).stat().is_directory  # a path may be as long as its writer likes


def test_an_unreadable_directory_is_told_and_passed(tmp_path: Path) -> None:
    build = Build(tmp_path / "image")
    build.mke2fs("1M", "-t", "ext2", "-b", "1024")
    build.fill([directory(b"bad"), file(b"bad/file", b"x"), directory(b"good"), file(b"good/file", b"x")])
    build.commands("set_inode_field /bad block[0] 0xFFFFFF")
    with open_image(str(build.path)) as opened:
        paths, errors = walked(opened)
        assert b"good/file" in paths and b"bad" in paths
        assert [path for path, _ in errors] == [b"bad"]
        assert errors[0][1].errno in (errno.EUCLEAN, errno.EIO)


# ----------------------------------------------------------------------------------------------------- nested images


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """inner.img with a file, inside middle.img, inside outer.img."""
    inside: Path | None = None
    for name, size in (("inner", "128K"), ("middle", "512K"), ("outer", "2M")):
        build = Build(tmp_path / f"{name}.img")
        build.mke2fs(size, "-t", "ext2", "-b", "1024", "-N", "16")
        content = [directory(b"sub"), symlink(b"link", b"sub/image")]
        content.append(file(b"sub/image", inside.read_bytes() if inside else b"the innermost file\n"))
        build.fill(content)
        inside = build.path
    return tmp_path / "outer.img"


def test_an_image_in_an_image_in_an_image(nested: Path) -> None:
    with open_image(f"{nested}!sub/image!/link") as opened:
        assert [layer.type for layer in opened.layers] == ["ext2"] * 3
        assert [layer.source for layer in opened.layers] == [str(nested), f"{nested}!sub/image", f"{nested}!sub/image!/link"]
        assert opened.read_bytes("/sub/image") == b"the innermost file\n"
        with opened.resolve("/sub/image").open(os.O_RDONLY) as handle:
            (extent,) = handle.extents(0, 100)
        # Through three layers the file is still a range of the outermost image.
        assert extent.fd is not None
        assert os.pread(extent.fd, extent.length, extent.fd_offset) == b"the innermost file\n"


@pytest.mark.parametrize(
    ("inner", "number", "failing"),
    [
        ("!nothing", errno.ENOENT, "!nothing"),
        ("!sub", errno.EISDIR, "!sub"),
        ("!sub/image!sub/image!sub/image", errno.EINVAL, "!sub/image!sub/image!sub/image"),
        ("!sub/image!nothing!more", errno.ENOENT, "!sub/image!nothing"),
        ("!sub/image!sub/image/x", errno.ENOTDIR, "!sub/image!sub/image/x"),
    ],
)
def test_a_failure_names_the_layer(nested: Path, inner: str, number: int, failing: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError) as caught:
        open_image(f"{nested}{inner}")
    assert (caught.value.errno, caught.value.filename) == (number, f"{nested}{failing}")
    assert len(os.listdir("/proc/self/fd")) == before, "a descriptor was left open"


def test_a_host_file_with_an_exclamation_mark(nested: Path) -> None:
    odd = nested.with_name("odd!sub")
    nested.rename(odd)
    with open_image(str(odd)) as opened:
        assert opened.listdir() == ["link", "lost+found", "sub"]


def test_options_are_those_of_the_innermost_layer(nested: Path) -> None:
    with pytest.raises(OSError) as caught:
        open_image(f"{nested}!sub/image", options="nonsense")
    assert caught.value.filename == f"{nested}!sub/image" and "'nonsense'" in caught.value.strerror
