"""Every image of the fixtures, walked through `vfs.ext2` and compared whole with the oracle: the kernel, else debugfs.

Names, types, all stat fields, attributes, targets, contents, extents and holes, the look-up of every name, statfs. Here the
module is asked directly; the same images go through the mounts and the view in their own tests.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from pathlib import Path

import oracle
import pytest
from oracle import TYPES, Entry, Listing, differences

from fixtures.ext import IMAGES, image
from vfs.api import Filesystem, Handle, Node, open_image
from vfs.api.walk import walk_tree

READABLE = [name for name, spec in IMAGES.items() if not spec.refused]
TOLD = [name for name in READABLE if IMAGES[name].kernel or IMAGES[name].debugfs or IMAGES[name].same_as]
"""Those that some oracle tells the whole of."""
REFUSED = [name for name, spec in IMAGES.items() if spec.refused]
WITH_ORPHANS = ("kernel_crash", "kernel_crash_orphans")
LIMIT = 64 << 20
"""Files above this are read where they have data, and looked at in their holes."""


def described(filesystem: Filesystem, known: Listing) -> Listing:
    """All of a mounted file system through the API, as an oracle tells it."""
    failures: list[tuple[bytes, OSError]] = []
    listing = {b"/": _entry(filesystem.root, known.get(b"/"))}
    for found in walk_tree(filesystem.root, lambda path, error: failures.append((path, error))):
        path = b"/" + found.path
        assert path not in listing, f"{path!r} is listed twice"
        listing[path] = _entry(found.node, known.get(path))
        assert found.entry.ino == found.node.ino
        if found.entry.type:
            assert found.entry.type == found.node.stat().mode >> 12, path
    for path, error in failures:
        print("could not be read:", path, error)
    return listing


def _entry(node: Node, known: Entry | None) -> Entry:
    status = node.stat()
    digest, runs, error = None, None, None
    if status.is_regular:
        try:
            with node.open() as handle:
                digest, runs = _content(handle, status.size, known)
        except OSError as problem:
            error = problem.errno
    return Entry(
        type=TYPES[stat.S_IFMT(status.mode)],
        mode=stat.S_IMODE(status.mode),
        uid=status.uid,
        gid=status.gid,
        nlink=status.nlink,
        size=status.size,
        rdev=status.rdev,
        ino=status.ino,
        blocks=status.blocks,
        atime=status.atime,
        mtime=status.mtime,
        ctime=status.ctime,
        btime=status.btime,
        xattrs={name: node.getxattr(name) for name in node.listxattr()},
        target=node.readlink() if status.is_symlink else None,
        digest=digest,
        runs=runs,
        error=error,
    )


def _content(handle: Handle, size: int, known: Entry | None) -> tuple[str, tuple[oracle.Run, ...]]:
    assert handle.size() == size

    def read(offset: int, count: int) -> bytes:
        by_read = bytes(handle.read(offset, count))
        buffer = bytearray(b"\xee" * count)
        got = handle.readinto(offset, memoryview(buffer))
        assert bytes(buffer[:got]) == by_read, "read and readinto differ"
        assert _through_extents(handle, offset, count) == by_read, "extents and read differ"
        return by_read

    assert handle.read(size, 10) == b"" and handle.readinto(size + 5, memoryview(bytearray(10))) == 0
    if size > LIMIT and known is not None and known.runs is not None:
        return oracle.content_digest(read, size, oracle.seek_runs(known.runs, size))

    def seek(offset: int) -> oracle.Run | None:
        try:
            start = handle.seek_data(offset)
        except OSError as problem:
            if problem.errno != errno.ENXIO:
                raise
            return None
        return start, handle.seek_hole(start) - start

    return oracle.content_digest(read, size, seek)


def _through_extents(handle: Handle, offset: int, count: int) -> bytes:
    """What a front end that goes around the module gets."""
    pieces = []
    position = offset
    for extent in handle.extents(offset, count):
        assert extent.offset == position and extent.length > 0, "extents have gaps"
        position += extent.length
        if extent.hole:
            pieces.append(bytes(extent.length))
        elif extent.fd is not None:
            pieces.append(os.pread(extent.fd, extent.length, extent.fd_offset))
        else:
            pieces.append(bytes(handle.read(extent.offset, extent.length)))
    assert position == min(offset + count, max(offset, handle.size()))
    return b"".join(pieces)


def expected(name: str) -> tuple[Path, Listing]:
    """The image to look at, and what an oracle says of it."""
    spec = IMAGES[name]
    teller = image(spec.same_as or name)
    return image(name), oracle.oracle(teller, "" if spec.same_as else spec.options)


@pytest.mark.parametrize("name", TOLD)
def test_is_as_the_oracle_says(name: str) -> None:
    path, known = expected(name)
    with open_image(str(path), "ext2", IMAGES[name].options) as opened:
        found = described(opened.filesystem, known)
    wrong = differences(known, found)
    assert not wrong, "\n".join(wrong[:20])


def test_a_damaged_map_costs_its_own_file_and_no_other() -> None:
    with open_image(str(image("map_damaged")), "ext2") as opened:
        found = described(opened.filesystem, {})
    errors = {path: entry.error for path, entry in found.items() if entry.type == "file"}
    damaged = (b"/outside", b"/depth", b"/magic", b"/length")
    assert errors == {**dict.fromkeys(damaged, errno.EUCLEAN), b"/whole": None}
    whole = found[b"/whole"]
    assert whole.digest is not None and whole.runs == ((0, 3000),)


@pytest.mark.parametrize("name", TOLD)
def test_every_name_is_found_and_no_other(name: str) -> None:
    path, known = expected(name)
    with open_image(str(path), "ext2", IMAGES[name].options) as opened:
        nodes = {b"/": opened.root}
        for where in sorted(known, key=lambda path: path.count(b"/")):
            if where == b"/":
                continue
            above, _, last = where.rpartition(b"/")
            parent = nodes[above or b"/"]
            node = parent.lookup(last)
            assert node.ino == known[where].ino, where
            for absent in _absent(parent, last):
                with pytest.raises(OSError) as caught:
                    parent.lookup(absent)
                assert caught.value.errno in (errno.ENOENT, errno.EINVAL), (where, absent)
            if known[where].type == "directory":
                nodes[where] = node
                up = node.parent()
                assert up is not None and up.ino == parent.ino


def _absent(parent: Node, name: bytes) -> list[bytes]:
    """Names near *name* that the directory does not have, not even in another case."""
    names = {entry.name.lower() for entry in parent.entries()}
    near = (name + b"~", name[:-1] + bytes([name[-1] ^ 1]), name[1:])
    wrong = (b"", b".", b"..")
    return [
        other
        for other in near
        if other not in wrong
        and not {b"/", b"\0"} & {bytes([byte]) for byte in other}
        and len(other) <= 255
        and other.lower() not in names
        and other.isascii()
    ]


@pytest.mark.parametrize("name", READABLE)
def test_listing_goes_on_from_any_cookie(name: str) -> None:
    path, known = expected(name)
    with open_image(str(path), "ext2", IMAGES[name].options) as opened:
        for where in [where for where, entry in known.items() if entry.type == "directory"][:20]:
            node = opened.resolve(where)
            whole = list(node.entries())
            cookies = [entry.next for entry in whole]
            assert all(cookie > 0 for cookie in cookies) and len(set(cookies)) == len(cookies)
            for index in {0, 1, len(whole) // 2, len(whole) - 1}:
                if 0 <= index < len(whole):
                    assert list(node.entries(whole[index].next)) == whole[index + 1 :]


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_with_a_sentence(name: str) -> None:
    with pytest.raises(OSError) as caught:
        open_image(str(image(name)), "ext2")
    assert IMAGES[name].refused in str(caught.value)
    assert caught.value.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.EUCLEAN)


@pytest.mark.skipif(not oracle.kernel_can_mount(), reason="needs root, loop devices and the kernel's ext4")
@pytest.mark.parametrize("name", [name for name in READABLE if IMAGES[name].kernel])
def test_statfs_is_the_kernels(name: str) -> None:
    spec = IMAGES[name]
    with oracle.loop_mount(image(name), spec.options) as point:
        wanted = os.statvfs(point)
        said = subprocess.run(
            ["stat", "-f", "-c", "%i %t", str(point)], capture_output=True, text=True, check=True
        ).stdout.split()
    with open_image(str(image(name)), "ext2", spec.options) as opened:
        found = opened.filesystem.statfs()
    assert (found.block_size, found.blocks, found.files, found.name_max) == (
        wanted.f_bsize,
        wanted.f_blocks,
        wanted.f_files,
        wanted.f_namemax,
    )
    told = (found.free, found.available, found.files_free)
    if name in WITH_ORPHANS:
        # The kernel released the files that were unlinked while open, in its copy of the image. We only read.
        assert all(ours <= its for ours, its in zip(told, (wanted.f_bfree, wanted.f_bavail, wanted.f_ffree), strict=True))
    else:
        assert told == (wanted.f_bfree, wanted.f_bavail, wanted.f_ffree)
    assert found.type == int(said[1], 16)
    low, high = found.identity & 0xFFFFFFFF, found.identity >> 32
    assert int(said[0], 16) == low << 32 | high
