"""Every image, mounted: all of it as the oracle says."""

from __future__ import annotations

import os

import pytest

from fixtures.ext import IMAGES, image
from tests.fuse_mounts import mounted, needs_fuse
from tests.oracle import differences, listing, oracle

pytestmark = needs_fuse()
READABLE = [name for name, spec in IMAGES.items() if not spec.refused and (spec.kernel or spec.debugfs or spec.same_as)]
"""All but those that are refused, and those of which nobody else can tell."""


@pytest.mark.parametrize("name", READABLE)
def test_image(name: str) -> None:
    spec = IMAGES[name]
    expected = oracle(image(spec.same_as or name), "" if spec.same_as else spec.options)
    options = ["-o", spec.options] if spec.options else []
    with mounted(image(name), "-t", "ext2", *options) as root:
        found = listing(root, expected)
    # FUSE has no time of birth (libfuse 3 before 3.17 knows no STATX request).
    assert differences(expected, found, ["btime"]) == []


def test_root_has_the_images_inode_number() -> None:
    with mounted(image("ext4_4k")) as root:
        assert os.stat(root).st_ino == 2
        with os.scandir(root) as entries:
            assert all(entry.inode() == entry.stat(follow_symlinks=False).st_ino for entry in entries)


def test_dots_are_listed_with_their_numbers() -> None:
    import ctypes

    class Dirent(ctypes.Structure):
        _fields_ = (("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("reclen", ctypes.c_ushort), ("type", ctypes.c_ubyte))

    libc = ctypes.CDLL(None, use_errno=True)
    libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
    libc.opendir.argtypes, libc.readdir.argtypes = [ctypes.c_char_p], [ctypes.c_void_p]
    with mounted(image("ext4_4k")) as root:
        directory = next(str(path) for path in sorted(root.iterdir()) if path.is_dir() and path.name != "lost+found")
        for path, above in ((str(root), os.stat(root).st_ino), (directory, os.stat(root).st_ino)):
            stream = libc.opendir(os.fsencode(path))
            listed = {}
            for _ in range(2):
                at = libc.readdir(stream)
                entry = Dirent.from_address(at)
                listed[ctypes.string_at(at + 19)] = entry.ino, entry.type
            libc.closedir(ctypes.c_void_p(stream))
            assert listed == {b".": (os.stat(path).st_ino, 4), b"..": (above, 4)}


def test_directory_positions_hold() -> None:
    """seekdir to any position goes on with the entry that followed it."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
    libc.telldir.restype = ctypes.c_long
    libc.opendir.argtypes = [ctypes.c_char_p]
    libc.readdir.argtypes = libc.telldir.argtypes = libc.closedir.argtypes = [ctypes.c_void_p]
    libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
    with mounted(image("htree_half_md4")) as root:
        largest = max((path for path, _, _ in os.walk(root)), key=lambda path: len(os.listdir(path)))
        stream = libc.opendir(os.fsencode(largest))
        seen = []
        while True:
            position = libc.telldir(stream)
            at = libc.readdir(stream)
            if not at:
                break
            seen.append((position, ctypes.string_at(at + 19)))
        assert len(seen) > 500
        assert len({name for _, name in seen}) == len(seen)
        for position, name in [*seen[:: len(seen) // 50], seen[0], seen[-1]]:
            libc.seekdir(stream, position)
            assert ctypes.string_at(libc.readdir(stream) + 19) == name
        libc.closedir(stream)
