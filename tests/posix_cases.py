"""What a file system of Linux does: one list of cases, for every front.

A case is a function of the front's calls (`posix_calls`), with an empty directory to work in. They run on the host first, which
tests the cases, then on our file systems through the API, then on the same as mounts. As a program they run on a directory of
whatever is mounted there, in a view for instance:

    python tests/posix_cases.py DIRECTORY [CASE…]

They are written for root, and leave the umask at 0. EXEMPT says which cases a front need not fulfil, and why.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from posix_calls import (
    KEEP_SIZE,
    PUNCH_HOLE,
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    RENAME_WHITEOUT,
    ZERO_RANGE,
    Calls,
    HostCalls,
    acl,
    read_all,
)

Case = Callable[[Calls], None]
CASES: dict[str, Case] = {}

EXEMPT: dict[str, dict[str, str]] = {
    "tmpfs": {
        "zero_range": "tmpfs has no FALLOC_FL_ZERO_RANGE",
    },
    "ext4": {
        "times_before_1970_and_after_2446": "ext4 has 34 bits of seconds",
        "the_largest_file": "ext4's files are smaller",
        "large_extended_attribute": "ext4's attributes fit a block",
        "many_extended_attributes": "ext4's attributes fit a block",
        "directories_count_their_subdirectories_in_size": "a directory's size is its blocks",
        "fallocate_beyond_what_there_is": "ext4 says EFBIG first",
    },
    "hostfs on tmpfs": {
        "a_listing_keeps_names_that_are_replaced": "tmpfs gives a name that is replaced a new position",
    },
}
"""Front -> case -> why not. The name of a case that is not there is a mistake, and fails."""


def outcomes(output: str) -> tuple[int, dict[str, str]]:
    """What this program printed: how many cases there were, and where those that failed did."""
    told = dict(line.split(" ", 1)[::-1] for line in output.splitlines() if line.startswith(("ok ", "FAILED ")))
    return len(told), {where.split(":")[0]: where for where, outcome in told.items() if outcome == "FAILED"}


def case(body: Case) -> Case:
    assert body.__name__ not in CASES
    CASES[body.__name__] = body
    return body


@contextmanager
def raises(*numbers: int) -> Iterator[None]:
    """The block fails with one of these errno."""
    try:
        yield
    except OSError as error:
        assert error.errno in numbers, f"{errno.errorcode.get(error.errno or 0)}: {error}"
    else:
        raise AssertionError(f"nothing failed with {[errno.errorcode[number] for number in numbers]}")


def put(calls: Calls, path: bytes, content: bytes = b"") -> None:
    """Make a file."""
    file = calls.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    if content:
        assert calls.pwrite(file, content, 0) == len(content)
    calls.close(file)


def get(calls: Calls, path: bytes) -> bytes:
    """A file's content."""
    file = calls.open(path, os.O_RDONLY)
    content = calls.pread(file, calls.fstat(file).size + 10, 0)
    calls.close(file)
    return content


def later(calls: Calls, than: int) -> None:
    """Return when the file system's clock, which may tick in steps, is past *than*."""
    while True:
        calls.mknod(b".tick", stat.S_IFREG | 0o600)
        now = calls.lstat(b".tick").ctime
        calls.unlink(b".tick")
        if now > than:
            return


@contextmanager
def changes(calls: Calls, *paths: bytes, ctime: bool = True, mtime: bool | None = True) -> Iterator[None]:
    """The block sets these times of these paths, or leaves them; `None`: either will do. Not for the root: the clock is read by
    making a file there."""
    before = {path: calls.lstat(path) for path in paths}
    later(calls, max(max(found.ctime, found.mtime) for found in before.values()))
    yield
    for path, was in before.items():
        now = calls.lstat(path)
        assert (now.ctime > was.ctime) == ctime, f"ctime of {path!r}: {was.ctime} -> {now.ctime}"
        assert mtime is None or (now.mtime > was.mtime) == mtime, f"mtime of {path!r}: {was.mtime} -> {now.mtime}"


# ---------------------------------------------------------------------------------------------- files


@case
def create_read_write(calls: Calls) -> None:
    file = calls.open(b"f", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o640)
    found = calls.fstat(file)
    assert (found.mode, found.nlink, found.size, found.blocks, found.uid) == (stat.S_IFREG | 0o640, 1, 0, 0, 0)
    assert calls.pread(file, 10, 0) == b""
    assert calls.pwrite(file, b"hello", 0) == 5
    assert calls.pwrite(file, b"J", 0) == 1
    assert calls.pwrite(file, b", world", 5) == 7
    assert calls.pread(file, 100, 0) == b"Jello, world"
    assert calls.pread(file, 3, 4) == b"o, "
    assert calls.pread(file, 3, 12) == b"" == calls.pread(file, 3, 1000)
    assert calls.fstat(file).size == 12
    calls.fsync(file)
    calls.close(file)
    assert get(calls, b"f") == b"Jello, world"
    assert calls.lstat(b"f").ino == found.ino


@case
def open_refuses(calls: Calls) -> None:
    put(calls, b"f")
    calls.mkdir(b"d")
    calls.symlink(b"nowhere", b"l")
    with raises(errno.ENOENT):
        calls.open(b"none", os.O_RDONLY)
    with raises(errno.ENOENT):
        calls.open(b"none/f", os.O_CREAT | os.O_WRONLY)
    with raises(errno.ENOTDIR):
        calls.open(b"f/g", os.O_CREAT | os.O_WRONLY)
    with raises(errno.EEXIST):
        calls.open(b"f", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    with raises(errno.EEXIST):
        calls.open(b"l", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    with raises(errno.EISDIR):
        calls.open(b"d", os.O_WRONLY)
    with raises(errno.ENOTDIR):
        calls.open(b"f", os.O_RDONLY | os.O_DIRECTORY)
    with raises(errno.ELOOP):
        calls.open(b"l", os.O_RDONLY | os.O_NOFOLLOW)
    with raises(errno.ENOENT):
        calls.open(b"l", os.O_RDONLY)


@case
def access_modes(calls: Calls) -> None:
    put(calls, b"f", b"content")
    reader, writer = calls.open(b"f", os.O_RDONLY), calls.open(b"f", os.O_WRONLY)
    with raises(errno.EBADF):
        calls.pwrite(reader, b"x", 0)
    with raises(errno.EBADF):
        calls.pread(writer, 1, 0)
    with raises(errno.EBADF):
        calls.fallocate(reader, 0, 0, 10)
    calls.pwrite(writer, b"C", 0)
    assert calls.pread(reader, 10, 0) == b"Content"
    calls.close(reader)
    calls.close(writer)


@case
def open_truncates(calls: Calls) -> None:
    put(calls, b"f", b"content" * 1000)
    with changes(calls, b"f"):
        calls.close(calls.open(b"f", os.O_WRONLY | os.O_TRUNC))
    assert (calls.lstat(b"f").size, get(calls, b"f"), calls.lstat(b"f").blocks) == (0, b"", 0)
    with changes(calls, b"f"):
        calls.close(calls.open(b"f", os.O_WRONLY | os.O_TRUNC))


@case
def append(calls: Calls) -> None:
    put(calls, b"f", b"one")
    file, other = calls.open(b"f", os.O_WRONLY | os.O_APPEND), calls.open(b"f", os.O_WRONLY)
    assert calls.pwrite(file, b" two", 0) == 4
    calls.pwrite(other, b"!", 7)
    assert calls.pwrite(file, b" three", 1) == 6
    calls.close(file)
    calls.close(other)
    assert get(calls, b"f") == b"one two! three"


@case
def large_file(calls: Calls) -> None:
    block = bytes(range(256)) * 513  # no multiple of a page
    file = calls.open(b"f", os.O_CREAT | os.O_RDWR)
    for number in range(20):
        assert calls.pwrite(file, block, number * len(block)) == len(block)
    assert calls.fstat(file).size == 20 * len(block)
    assert calls.pread(file, 20 * len(block), 0) == block * 20
    calls.pwrite(file, b"-" * 5000, 65536 - 2500)
    assert calls.pread(file, 5004, 65536 - 2502) == (block * 2)[63034:63036] + b"-" * 5000 + (block * 2)[68036:68038]
    calls.ftruncate(file, 70001)
    assert calls.pread(file, 10**6, 65536) == b"-" * 2500 + (block * 2)[68036:70001]
    calls.close(file)


@case
def growth_through_every_size(calls: Calls) -> None:
    """Written piece by piece, past all thresholds that an implementation may have."""
    file = calls.open(b"f", os.O_CREAT | os.O_RDWR)
    written = b""
    for number in range(150):
        piece = bytes([number]) * (997 + number)
        calls.pwrite(file, piece, len(written))
        written += piece
        if number % 10 == 0:
            assert calls.pread(file, len(written) + 1, 0) == written
    assert calls.pread(file, len(written) + 1, 0) == written
    calls.close(file)


@case
def write_beyond_the_end(calls: Calls) -> None:
    for name, gap in ((b"a", 1), (b"b", 4095), (b"c", 4096), (b"d", 5000), (b"e", 70000), (b"f", 1 << 30)):
        put(calls, name, b"abc")
        file = calls.open(name, os.O_RDWR)
        calls.pwrite(file, b"xyz", 3 + gap)
        assert calls.fstat(file).size == gap + 6
        assert calls.pread(file, 8, 0) == (b"abc" + bytes(min(gap, 5)) + b"xyz")[:8]
        assert calls.pread(file, 10, gap + 1) == (b"abc" + bytes(gap if gap < 100 else 2))[-2:] + b"xyz"
        calls.close(file)


@case
def truncate(calls: Calls) -> None:
    put(calls, b"f", b"abcdefgh" * 2000)
    calls.truncate(b"f", 5)
    assert get(calls, b"f") == b"abcde"
    calls.truncate(b"f", 9)
    assert get(calls, b"f") == b"abcde\0\0\0\0"
    calls.truncate(b"f", 100_000)
    assert get(calls, b"f") == b"abcde" + bytes(99_995)
    calls.truncate(b"f", 8192)
    calls.truncate(b"f", 3)
    calls.truncate(b"f", 8)
    assert get(calls, b"f") == b"abc\0\0\0\0\0"
    calls.truncate(b"f", 0)
    assert get(calls, b"f") == b""
    with raises(errno.EINVAL):
        calls.truncate(b"f", -1)
    calls.mkdir(b"d")
    with raises(errno.EISDIR):
        calls.truncate(b"d", 0)


@case
def truncated_content_does_not_come_back(calls: Calls) -> None:
    for size in (5000, 70_000, 300_000):
        name = b"f%d" % size
        put(calls, name, b"x" * size)
        calls.truncate(name, 100)
        calls.truncate(name, size)
        assert get(calls, name) == b"x" * 100 + bytes(size - 100)


@case
def blocks_of_a_sparse_file(calls: Calls) -> None:
    file = calls.open(b"f", os.O_CREAT | os.O_RDWR)
    calls.ftruncate(file, 1 << 40)
    assert (calls.fstat(file).size, calls.fstat(file).blocks) == (1 << 40, 0)
    calls.pwrite(file, b"x", 1 << 30)
    assert calls.fstat(file).blocks == 8
    calls.pwrite(file, b"x" * 4097, (1 << 30) + 4095)
    assert calls.fstat(file).blocks == 16
    assert calls.pread(file, 5, (1 << 39)) == bytes(5)
    assert calls.pread(file, 5, (1 << 30) + 8190) == b"xx\0\0\0"
    calls.ftruncate(file, (1 << 30) + 1)
    assert calls.fstat(file).blocks == 8
    calls.close(file)


@case
def seek_data_and_holes(calls: Calls) -> None:
    data, hole = os.SEEK_DATA, os.SEEK_HOLE
    file = calls.open(b"f", os.O_CREAT | os.O_RDWR)
    with raises(errno.ENXIO):
        calls.seek(file, 0, data)
    with raises(errno.ENXIO):
        calls.seek(file, 0, hole)
    calls.pwrite(file, b"x" * 4096, 8192)
    calls.pwrite(file, b"x" * 100, 1 << 20)
    calls.ftruncate(file, 1 << 21)
    calls.fsync(file)
    assert calls.seek(file, 0, data) == 8192
    assert calls.seek(file, 8193, data) == 8193
    assert calls.seek(file, 0, hole) == 0
    assert calls.seek(file, 8192, hole) == 12288
    assert calls.seek(file, 12288, data) == 1 << 20
    assert calls.seek(file, 1 << 20, hole) == (1 << 20) + 4096
    with raises(errno.ENXIO):
        calls.seek(file, (1 << 20) + 4096, data)
    assert calls.seek(file, (1 << 20) + 4096, hole) == (1 << 20) + 4096
    for whence in (data, hole):
        with raises(errno.ENXIO):
            calls.seek(file, 1 << 21, whence)
    calls.close(file)
    put(calls, b"full", b"x" * 10000)
    file = calls.open(b"full", os.O_RDONLY)
    assert (calls.seek(file, 5000, data), calls.seek(file, 5000, hole)) == (5000, 10000)
    calls.close(file)


@case
def fallocate(calls: Calls) -> None:
    file = calls.open(b"f", os.O_CREAT | os.O_RDWR)
    calls.fallocate(file, 0, 0, 10_000)
    found = calls.fstat(file)
    assert (found.size, found.blocks) == (10_000, 24)
    assert calls.pread(file, 20_000, 0) == bytes(10_000)
    calls.fallocate(file, KEEP_SIZE, 0, 100_000)
    found = calls.fstat(file)
    assert (found.size, found.blocks) == (10_000, 200)
    calls.pwrite(file, b"abc", 0)
    calls.fallocate(file, 0, 0, 5)
    assert calls.pread(file, 5, 0) == b"abc\0\0"
    assert calls.fstat(file).size == 10_000
    calls.close(file)
    put(calls, b"g", b"small")
    file = calls.open(b"g", os.O_RDWR)
    calls.fallocate(file, 0, 2, 10)
    assert calls.pread(file, 20, 0) == b"small" + bytes(7)
    calls.close(file)


@case
def punch_hole(calls: Calls) -> None:
    for size in (20_000, 200_000):
        name = b"f%d" % size
        put(calls, name, b"x" * size)
        file = calls.open(name, os.O_RDWR)
        before = calls.fstat(file).blocks
        with changes(calls, name):
            calls.fallocate(file, PUNCH_HOLE | KEEP_SIZE, 1000, 10_000)
        assert calls.pread(file, size, 0) == b"x" * 1000 + bytes(10_000) + b"x" * (size - 11_000)
        assert calls.fstat(file).blocks == before - 8  # one whole page
        calls.fallocate(file, PUNCH_HOLE | KEEP_SIZE, size - 10, 1 << 40)
        assert calls.fstat(file).size == size
        assert calls.pread(file, 20, size - 11) == b"x" + bytes(10)
        calls.close(file)


@case
def zero_range(calls: Calls) -> None:
    for size in (20_000, 200_000):
        name = b"f%d" % size
        put(calls, name, b"x" * size)
        file = calls.open(name, os.O_RDWR)
        before = calls.fstat(file).blocks
        calls.fallocate(file, ZERO_RANGE, 1000, 10_000)
        assert calls.pread(file, size, 0) == b"x" * 1000 + bytes(10_000) + b"x" * (size - 11_000)
        assert calls.fstat(file).blocks == before
        calls.fallocate(file, ZERO_RANGE | KEEP_SIZE, size - 10, 20)
        assert calls.fstat(file).size == size
        calls.fallocate(file, ZERO_RANGE, size - 10, 20)
        assert calls.pread(file, 50, size - 11) == b"x" + bytes(20)
        calls.close(file)


@case
def fallocate_refuses(calls: Calls) -> None:
    file = calls.open(b"f", os.O_CREAT | os.O_RDWR)
    for offset, length in ((-1, 10), (0, 0), (0, -1)):
        with raises(errno.EINVAL):
            calls.fallocate(file, 0, offset, length)
    with raises(errno.EFBIG):
        calls.fallocate(file, 0, 1 << 62, (1 << 62) + 10)
    with raises(errno.EOPNOTSUPP):
        calls.fallocate(file, PUNCH_HOLE, 0, 10)
    with raises(errno.EOPNOTSUPP):
        calls.fallocate(file, PUNCH_HOLE | ZERO_RANGE | KEEP_SIZE, 0, 10)
    with raises(errno.EOPNOTSUPP):
        calls.fallocate(file, 1 << 20, 0, 10)
    assert calls.fstat(file).size == 0
    calls.close(file)


@case
def fallocate_beyond_what_there_is(calls: Calls) -> None:
    file = calls.open(b"f", os.O_CREAT | os.O_RDWR)
    with raises(errno.ENOSPC):
        calls.fallocate(file, 0, 0, 1 << 60)
    assert (calls.fstat(file).size, calls.fstat(file).blocks) == (0, 0)
    calls.close(file)


@case
def the_largest_file(calls: Calls) -> None:
    largest = (1 << 63) - 1
    file = calls.open(b"f", os.O_CREAT | os.O_RDWR)
    assert calls.pwrite(file, b"a", largest - 1) == 1
    assert calls.fstat(file).size == largest
    with raises(errno.EFBIG, errno.EINVAL):
        calls.pwrite(file, b"a", largest)
    assert calls.pread(file, 1, largest - 1) == b"a"
    calls.close(file)
    calls.truncate(b"f", 0)
    calls.truncate(b"f", largest)
    calls.truncate(b"f", 7)
    assert get(calls, b"f") == bytes(7)


@case
def an_empty_write_changes_nothing(calls: Calls) -> None:
    put(calls, b"f", b"abc")
    file = calls.open(b"f", os.O_WRONLY)
    with changes(calls, b"f", ctime=False, mtime=False):
        assert calls.pwrite(file, b"", 100) == 0
    assert calls.fstat(file).size == 3
    calls.close(file)


@case
def negative_offsets(calls: Calls) -> None:
    file = calls.open(b"f", os.O_CREAT | os.O_RDWR)
    with raises(errno.EINVAL):
        calls.pwrite(file, b"x", -1)
    with raises(errno.EINVAL):
        calls.pread(file, 1, -1)
    calls.close(file)


@case
def a_removed_file_lives_while_it_is_open(calls: Calls) -> None:
    for size in (100, 200_000):
        put(calls, b"f", b"x" * size)
        first, second = calls.open(b"f", os.O_RDWR), calls.open(b"f", os.O_RDONLY)
        calls.unlink(b"f")
        with raises(errno.ENOENT):
            calls.lstat(b"f")
        put(calls, b"f", b"another")
        calls.pwrite(first, b"yz", size)
        calls.close(first)
        assert calls.fstat(second).nlink == 0
        assert calls.pread(second, size + 10, 0) == b"x" * size + b"yz"
        calls.close(second)
        assert get(calls, b"f") == b"another"
        calls.unlink(b"f")


@case
def a_replaced_file_lives_while_it_is_open(calls: Calls) -> None:
    put(calls, b"f", b"old")
    put(calls, b"g", b"new")
    file = calls.open(b"f", os.O_RDWR)
    calls.rename(b"g", b"f")
    assert (calls.fstat(file).nlink, calls.pread(file, 10, 0)) == (0, b"old")
    calls.ftruncate(file, 1)
    assert (calls.pread(file, 10, 0), get(calls, b"f")) == (b"o", b"new")
    calls.close(file)


@case
def files_without_a_name(calls: Calls) -> None:
    calls.mkdir(b"d")
    file = calls.temporary(b"d", 0o640)
    assert (calls.fstat(file).nlink, calls.fstat(file).mode) == (0, stat.S_IFREG | 0o640)
    calls.pwrite(file, b"content", 0)
    assert calls.listdir(b"d") == []
    calls.link_file(file, b"d/f")
    assert (calls.fstat(file).nlink, get(calls, b"d/f")) == (1, b"content")
    assert calls.lstat(b"d/f").ino == calls.fstat(file).ino
    calls.unlink(b"d/f")
    with raises(errno.ENOENT):
        calls.link_file(file, b"d/g")
    calls.close(file)
    calls.rmdir(b"d")


# ---------------------------------------------------------------------------------------------- names


@case
def names_of_all_bytes(calls: Calls) -> None:
    names = [bytes([byte]) * 3 for byte in range(1, 256) if byte not in b"/."] + [b"...", b" ", b"-", b"a\nb", b"\xff" * 255]
    for name in names:
        put(calls, name, name)
    assert calls.listdir(b"") == sorted(names)
    for name in names:
        assert get(calls, name) == name
        calls.unlink(name)
    assert calls.listdir(b"") == []


@case
def names_too_long(calls: Calls) -> None:
    longest, longer = b"n" * 255, b"n" * 256
    put(calls, longest)
    put(calls, b"f")
    calls.rename(longest, b"m" * 255)
    for call in (
        lambda: calls.lstat(longer),
        lambda: put(calls, longer),
        lambda: calls.mkdir(longer),
        lambda: calls.symlink(b"x", longer),
        lambda: calls.link(b"f", longer),
        lambda: calls.unlink(longer),
        lambda: calls.rmdir(longer),
        lambda: calls.rename(b"f", longer),
        lambda: calls.rename(longer, b"f"),
        lambda: calls.mknod(longer, stat.S_IFIFO | 0o600),
    ):
        with raises(errno.ENAMETOOLONG):
            call()
    assert calls.listdir(b"") == [b"f", b"m" * 255]


@case
def names_taken(calls: Calls) -> None:
    put(calls, b"f")
    calls.mkdir(b"d")
    calls.symlink(b"nowhere", b"l")
    for name in (b"f", b"d", b"l"):
        with raises(errno.EEXIST):
            calls.mkdir(name)
        with raises(errno.EEXIST):
            calls.symlink(b"x", name)
        with raises(errno.EEXIST):
            calls.mknod(name, stat.S_IFIFO | 0o600)
        with raises(errno.EEXIST):
            calls.link(b"f", name)
    assert calls.readlink(b"l") == b"nowhere"


# ---------------------------------------------------------------------------------------------- directories


@case
def directories(calls: Calls) -> None:
    before = calls.stat(b"").nlink
    calls.mkdir(b"d", 0o1750)
    found = calls.lstat(b"d")
    assert (found.mode & ~0o1000, found.nlink, calls.stat(b"").nlink) == (stat.S_IFDIR | 0o750, 2, before + 1)
    with changes(calls, b"d"):
        calls.mkdir(b"d/e")
    assert (calls.lstat(b"d").nlink, calls.parent_ino(b"d/e"), calls.parent_ino(b"d")) == (3, found.ino, calls.stat(b"").ino)
    put(calls, b"d/f")
    assert calls.lstat(b"d").nlink == 3
    with raises(errno.ENOTEMPTY):
        calls.rmdir(b"d")
    with raises(errno.EISDIR):
        calls.unlink(b"d/e")
    with raises(errno.ENOTDIR):
        calls.rmdir(b"d/f")
    with raises(errno.ENOENT):
        calls.rmdir(b"d/none")
    with changes(calls, b"d"):
        calls.rmdir(b"d/e")
    assert calls.lstat(b"d").nlink == 2
    with changes(calls, b"d"):
        calls.unlink(b"d/f")
    calls.rmdir(b"d")
    assert (calls.stat(b"").nlink, calls.listdir(b"")) == (before, [])


@case
def directories_count_their_subdirectories_in_size(calls: Calls) -> None:
    calls.mkdir(b"d")
    empty = calls.lstat(b"d").size
    put(calls, b"d/f")
    one = calls.lstat(b"d").size
    calls.mkdir(b"d/g")
    assert 0 < empty < one < calls.lstat(b"d").size
    calls.unlink(b"d/f")
    calls.rmdir(b"d/g")
    assert calls.lstat(b"d").size == empty


@case
def deep_directories(calls: Calls) -> None:
    path = b""
    for number in range(200):
        path += b"/" * bool(path) + b"d%d" % (number % 7)
        calls.mkdir(path)
    put(calls, path + b"/f", b"deep")
    assert get(calls, path + b"/f") == b"deep"
    calls.rename(b"d0/d1/d2", b"moved")
    assert get(calls, path.replace(b"d0/d1/d2", b"moved", 1) + b"/f") == b"deep"


@case
def a_listing_shows_all_once(calls: Calls) -> None:
    names = sorted(b"name%d" % number for number in range(2000))
    for name in names:
        put(calls, name)
    listing = calls.listing(b"")
    assert sorted(read_all(listing)) == names
    assert listing.read() is None
    listing.rewind()
    assert sorted(read_all(listing)) == names
    listing.close()


@case
def a_listing_goes_on_while_entries_are_removed(calls: Calls) -> None:
    names = {b"name%d" % number for number in range(1000)}
    for name in names:
        put(calls, name)
    listing = calls.listing(b"")
    seen: list[bytes] = []
    removed: set[bytes] = set()
    for number, name in enumerate(read_all(listing)):
        seen.append(name)
        if number % 2:
            for gone in {name, *sorted(names - set(seen) - removed)[:1]} - removed:
                calls.unlink(gone)
                removed.add(gone)
    listing.close()
    assert len(seen) == len(set(seen)), "an entry was shown twice"
    assert names - removed <= set(seen), "an entry was missed"


@case
def a_listing_ends_while_entries_are_added(calls: Calls) -> None:
    names = {b"name%d" % number for number in range(500)}
    for name in names:
        put(calls, name)
    listing = calls.listing(b"")
    seen = []
    for number, name in enumerate(read_all(listing)):
        assert number < 5000, "the listing does not end"
        seen.append(name)
        put(calls, b"added%d" % number)
    listing.close()
    assert names <= set(seen) and len(seen) == len(set(seen))


@case
def a_listing_goes_on_while_entries_are_renamed(calls: Calls) -> None:
    for number in range(500):
        put(calls, b"name%d" % number)
    listing = calls.listing(b"")
    for number, name in enumerate(read_all(listing)):
        assert number < 5000, "the listing does not end"
        calls.rename(name, b"x" + name)
    listing.close()
    assert len(calls.listdir(b"")) == 500


@case
def a_listing_keeps_names_that_are_replaced(calls: Calls) -> None:
    names = {b"name%d" % number for number in range(400)}
    for name in names:
        put(calls, name)
    listing = calls.listing(b"")
    seen = []
    for name in read_all(listing):
        seen.append(name)
        other = sorted(names - set(seen))[:1]
        if other and len(seen) % 3 == 0:
            put(calls, b".new")
            calls.rename(b".new", other[0])
    listing.close()
    assert names <= set(seen)


@case
def a_listing_can_go_back(calls: Calls) -> None:
    for number in range(300):
        put(calls, b"name%d" % number)
    listing = calls.listing(b"")
    order, positions = [], [listing.tell()]
    for name in read_all(listing):
        order.append(name)
        positions.append(listing.tell())
    for index in (299, 0, 150, 1, 77, 298):
        listing.seek(positions[index])
        assert list(read_all(listing)) == order[index:]
    # What is before a position may go without harm to what is after it.
    for name in order[:100]:
        calls.unlink(name)
    for index in (100, 50, 200):
        listing.seek(positions[index])
        assert list(read_all(listing)) == order[max(index, 100) :]
    listing.close()


@case
def an_empty_listing(calls: Calls) -> None:
    calls.mkdir(b"d")
    listing = calls.listing(b"d")
    assert listing.read() is None
    listing.close()
    put(calls, b"f")
    with raises(errno.ENOTDIR):
        calls.listing(b"f")


# ---------------------------------------------------------------------------------------------- links


@case
def hard_links(calls: Calls) -> None:
    put(calls, b"a", b"content")
    calls.mkdir(b"d")
    with changes(calls, b"a", mtime=False):
        calls.link(b"a", b"d/b")
    found = calls.lstat(b"a")
    assert (found.nlink, calls.lstat(b"d/b")) == (2, found)
    file = calls.open(b"d/b", os.O_WRONLY)
    calls.pwrite(file, b"C", 0)
    calls.close(file)
    assert get(calls, b"a") == b"Content"
    with changes(calls, b"d/b", mtime=False):
        calls.unlink(b"a")
    assert (calls.lstat(b"d/b").nlink, get(calls, b"d/b")) == (1, b"Content")
    with raises(errno.EPERM):
        calls.link(b"d", b"e")
    with raises(errno.ENOENT):
        calls.link(b"none", b"e")
    with raises(errno.ENOENT):
        calls.link(b"d/b", b"none/e")


@case
def hard_links_of_other_things(calls: Calls) -> None:
    calls.symlink(b"nowhere", b"l")
    calls.mknod(b"p", stat.S_IFIFO | 0o600)
    calls.link(b"l", b"l2")
    calls.link(b"p", b"p2")
    assert (calls.readlink(b"l2"), calls.lstat(b"l2").nlink) == (b"nowhere", 2)
    assert calls.lstat(b"p2") == calls.lstat(b"p")


@case
def symbolic_links(calls: Calls) -> None:
    put(calls, b"f", b"content")
    for name, target in ((b"short", b"f"), (b"dangling", b"no/where\xff"), (b"long", b"x/" * 100), (b"longest", b"y" * 4095)):
        calls.symlink(target, name)
        found = calls.lstat(name)
        assert (found.mode, found.size, found.nlink) == (stat.S_IFLNK | 0o777, len(target), 1)
        assert calls.readlink(name) == target
    assert get(calls, b"short") == b"content"
    assert calls.stat(b"short") == calls.lstat(b"f")
    with raises(errno.EINVAL):
        calls.readlink(b"f")
    with raises(errno.ENAMETOOLONG):
        calls.symlink(b"z" * 4096, b"too-long")
    with raises(errno.ENOENT):
        calls.symlink(b"", b"empty")
    calls.chown(b"short", 5, 6)
    calls.utime(b"short", 10**18 + 1, 10**18 + 2)
    found = calls.lstat(b"short")
    assert (found.uid, found.gid, found.atime, found.mtime) == (5, 6, 10**18 + 1, 10**18 + 2)
    assert calls.lstat(b"f").uid == 0
    calls.unlink(b"short")
    assert get(calls, b"f") == b"content"


# ---------------------------------------------------------------------------------------------- renaming


@case
def rename(calls: Calls) -> None:
    put(calls, b"f", b"content")
    calls.mkdir(b"d")
    calls.mkdir(b"e")
    ino = calls.lstat(b"f").ino
    with changes(calls, b"d"):
        calls.rename(b"f", b"d/g")
    assert (calls.listdir(b""), calls.listdir(b"d"), calls.lstat(b"d/g").ino) == ([b"d", b"e"], [b"g"], ino)
    calls.link(b"d/g", b"other")
    with changes(calls, b"other", mtime=False), changes(calls, b"d"):
        calls.rename(b"d/g", b"d/h")
    calls.unlink(b"other")
    before = calls.stat(b"").nlink
    calls.rename(b"d", b"e/d")
    assert (calls.stat(b"").nlink, calls.lstat(b"e").nlink, calls.parent_ino(b"e/d")) == (before - 1, 3, calls.lstat(b"e").ino)
    assert get(calls, b"e/d/h") == b"content"
    with raises(errno.ENOENT):
        calls.rename(b"none", b"x")
    with raises(errno.ENOENT):
        calls.rename(b"e/d/h", b"none/x")
    with raises(errno.ENOTDIR):
        calls.rename(b"e", b"e/d/h/x")


@case
def rename_over_something(calls: Calls) -> None:
    put(calls, b"f", b"f")
    put(calls, b"g", b"g")
    calls.symlink(b"g", b"l")
    for name in (b"empty", b"empty2", b"full", b"full/sub"):
        calls.mkdir(name)
    for source, target, number in (
        (b"f", b"empty", errno.EISDIR),
        (b"f", b"full", errno.EISDIR),
        (b"l", b"empty", errno.EISDIR),
        (b"empty", b"f", errno.ENOTDIR),
        (b"empty", b"l", errno.ENOTDIR),
        (b"empty", b"full", errno.ENOTEMPTY),
        (b"full", b"full/sub", errno.EINVAL),
        (b"full", b"full/new", errno.EINVAL),
        (b"full/sub", b"full", errno.ENOTEMPTY),
    ):
        with raises(number):
            calls.rename(source, target)
    nlink = calls.stat(b"").nlink
    calls.rename(b"full", b"empty")
    assert (calls.listdir(b"empty"), calls.stat(b"").nlink) == ([b"sub"], nlink - 1)
    calls.rename(b"f", b"g")
    assert get(calls, b"g") == b"f"
    calls.rename(b"g", b"l")
    assert (calls.lstat(b"l").mode, calls.listdir(b"")) == (stat.S_IFREG | 0o666, [b"empty", b"empty2", b"l"])


@case
def rename_to_itself(calls: Calls) -> None:
    put(calls, b"a", b"content")
    calls.link(b"a", b"b")
    calls.mkdir(b"d")
    calls.rename(b"a", b"a")
    calls.rename(b"a", b"b")
    calls.rename(b"d", b"d")
    assert (calls.listdir(b""), calls.lstat(b"a").nlink) == ([b"a", b"b", b"d"], 2)


@case
def rename_without_replacing(calls: Calls) -> None:
    put(calls, b"a", b"a")
    put(calls, b"b", b"b")
    with raises(errno.EEXIST):
        calls.rename(b"a", b"b", RENAME_NOREPLACE)
    with raises(errno.EEXIST):
        calls.rename(b"a", b"a", RENAME_NOREPLACE)
    calls.rename(b"a", b"c", RENAME_NOREPLACE)
    assert (calls.listdir(b""), get(calls, b"c"), get(calls, b"b")) == ([b"b", b"c"], b"a", b"b")


@case
def rename_exchanging(calls: Calls) -> None:
    put(calls, b"f", b"content")
    calls.mkdir(b"d")
    calls.mkdir(b"d/e")
    put(calls, b"d/g", b"other")
    with raises(errno.ENOENT):
        calls.rename(b"f", b"none", RENAME_EXCHANGE)
    for source, target in ((b"d", b"d/e"), (b"d/e", b"d")):
        with raises(errno.EINVAL):
            calls.rename(source, target, RENAME_EXCHANGE)
    calls.rename(b"f", b"d/g", RENAME_EXCHANGE)
    assert (get(calls, b"f"), get(calls, b"d/g")) == (b"other", b"content")
    nlink = calls.stat(b"").nlink
    with changes(calls, b"f", b"d/e", mtime=None):  # a directory's mtime may change with its parent
        calls.rename(b"f", b"d/e", RENAME_EXCHANGE)
    assert get(calls, b"d/e") == b"other"
    assert (calls.stat(b"").nlink, calls.lstat(b"d").nlink, calls.parent_ino(b"f")) == (nlink + 1, 2, calls.stat(b"").ino)
    calls.rename(b"d", b"f", RENAME_EXCHANGE)
    assert (calls.listdir(b"f"), calls.listdir(b"d")) == ([b"e", b"g"], [])
    calls.rename(b"d", b"d", RENAME_EXCHANGE)


@case
def rename_leaving_a_whiteout(calls: Calls) -> None:
    put(calls, b"f", b"content")
    calls.mkdir(b"d")
    calls.rename(b"f", b"d/g", RENAME_WHITEOUT)
    found = calls.lstat(b"f")
    assert (stat.S_IFMT(found.mode), found.rdev, found.size) == (stat.S_IFCHR, 0, 0)
    assert (get(calls, b"d/g"), calls.listdir(b"")) == (b"content", [b"d", b"f"])


@case
def rename_flags(calls: Calls) -> None:
    put(calls, b"a")
    put(calls, b"b")
    for flags in (RENAME_NOREPLACE | RENAME_EXCHANGE, RENAME_EXCHANGE | RENAME_WHITEOUT, 8, 1 << 30):
        with raises(errno.EINVAL):
            calls.rename(b"a", b"b", flags)


# ---------------------------------------------------------------------------------------------- special files


@case
def special_files(calls: Calls) -> None:
    device = os.makedev(240, 70_000)
    for name, mode, rdev in (
        (b"fifo", stat.S_IFIFO | 0o640, 0),
        (b"socket", stat.S_IFSOCK | 0o600, 0),
        (b"character", stat.S_IFCHR | 0o444, os.makedev(1, 3)),
        (b"block", stat.S_IFBLK | 0o222, device),
        (b"regular", stat.S_IFREG | 0o4755, 0),
    ):
        calls.mknod(name, mode, rdev)
        found = calls.lstat(name)
        assert (found.mode, found.rdev, found.size, found.nlink) == (mode, rdev, 0, 1)
        with raises(errno.ENOTDIR):
            calls.lstat(name + b"/x")
    with raises(errno.ENXIO):
        calls.open(b"socket", os.O_RDONLY)
    for name in calls.listdir(b""):
        calls.unlink(name)


# ---------------------------------------------------------------------------------------------- attributes


@case
def change_mode_and_owner(calls: Calls) -> None:
    put(calls, b"f")
    calls.mkdir(b"d")
    for name, kind in ((b"f", stat.S_IFREG), (b"d", stat.S_IFDIR)):
        for mode in (0, 0o7777, 0o644):
            with changes(calls, name, mtime=False):
                calls.chmod(name, mode)
            assert calls.lstat(name).mode == kind | mode
        with changes(calls, name, mtime=False):
            calls.chown(name, 1234567, 7654321)
        assert (calls.lstat(name).uid, calls.lstat(name).gid) == (1234567, 7654321)
        calls.chown(name, -1, 5)
        assert (calls.lstat(name).uid, calls.lstat(name).gid) == (1234567, 5)


@case
def set_times(calls: Calls) -> None:
    put(calls, b"f", b"x")
    with changes(calls, b"f", mtime=False):
        calls.utime(b"f", 123_456_789_123_456_789, 987_654_321_987_654_321)
    found = calls.lstat(b"f")
    assert (found.atime, found.mtime) == (123_456_789_123_456_789, 987_654_321_987_654_321)


@case
def times_before_1970_and_after_2446(calls: Calls) -> None:
    put(calls, b"f", b"x")
    calls.utime(b"f", -1_500_000_000_500_000_000, 17_000_000_000_123_456_789)
    found = calls.lstat(b"f")
    assert (found.atime, found.mtime) == (-1_500_000_000_500_000_000, 17_000_000_000_123_456_789)


@case
def writing_sets_times(calls: Calls) -> None:
    for size in (10, 100_000):
        name = b"f%d" % size
        put(calls, name, b"x" * size)
        file = calls.open(name, os.O_RDWR)
        with changes(calls, name):
            calls.pwrite(file, b"y", 0)
        with changes(calls, name):
            calls.ftruncate(file, 5)
        with changes(calls, name):
            calls.ftruncate(file, 5)
        with changes(calls, name):
            calls.fallocate(file, 0, 0, 100)
        with changes(calls, name):
            calls.truncate(name, 7)
        calls.close(file)
    calls.mkdir(b"d")
    with changes(calls, b"d"):
        put(calls, b"d/new")
    with changes(calls, b"d", ctime=False, mtime=False):
        calls.chmod(b"d/new", 0o600)


@case
def reading_sets_the_access_time_as_relatime(calls: Calls) -> None:
    for size in (10, 100_000):
        name = b"f%d" % size
        put(calls, name, b"x" * size)
        calls.utime(name, 10**18, 10**18 + 1)
        get(calls, name)
        assert calls.lstat(name).atime > 10**18 + 1
        later(calls, calls.lstat(name).ctime)
        get(calls, name)
        atime = calls.lstat(name).atime
        later(calls, atime)
        get(calls, name)
        assert calls.lstat(name).atime == atime
        file = calls.open(name, os.O_RDWR)
        calls.pwrite(file, b"z", 0)
        calls.close(file)
        file = calls.open(name, os.O_RDONLY | os.O_NOATIME)
        calls.pread(file, 5, 0)
        calls.close(file)
        assert calls.lstat(name).atime == atime
        assert calls.lstat(name).mtime > atime


@case
def set_group_id_directories(calls: Calls) -> None:
    calls.mkdir(b"d")
    calls.chown(b"d", 5, 6)
    calls.chmod(b"d", 0o2755)
    put(calls, b"d/f")
    calls.mkdir(b"d/e", 0o700)
    calls.mknod(b"d/p", stat.S_IFIFO | 0o600)
    calls.symlink(b"x", b"d/l")
    assert [calls.lstat(b"d/" + name).gid for name in (b"f", b"e", b"p", b"l")] == [6, 6, 6, 6]
    assert [calls.lstat(b"d/" + name).uid for name in (b"f", b"e", b"p", b"l")] == [0, 0, 0, 0]
    assert calls.lstat(b"d/e").mode == stat.S_IFDIR | 0o2700
    assert calls.lstat(b"d/f").mode == stat.S_IFREG | 0o666
    calls.mkdir(b"d/e/g")
    assert (calls.lstat(b"d/e/g").gid, calls.lstat(b"d/e/g").mode & 0o2000) == (6, 0o2000)


# ---------------------------------------------------------------------------------------------- extended attributes


@case
def extended_attributes(calls: Calls) -> None:
    put(calls, b"f")
    calls.mkdir(b"d")
    for path in (b"f", b"d"):
        with raises(errno.ENODATA):
            calls.getxattr(path, b"user.a")
        with changes(calls, path, mtime=False):
            calls.setxattr(path, b"user.a", b"one\0two")
        calls.setxattr(path, b"user.empty", b"")
        calls.setxattr(path, b"trusted.t", b"t")
        calls.setxattr(path, b"security.s", b"s")
        assert calls.getxattr(path, b"user.a") == b"one\0two"
        assert calls.getxattr(path, b"user.empty") == b""
        assert sorted(calls.listxattr(path)) == [b"security.s", b"trusted.t", b"user.a", b"user.empty"]
        calls.setxattr(path, b"user.a", b"another")
        assert calls.getxattr(path, b"user.a") == b"another"
        with raises(errno.EEXIST):
            calls.setxattr(path, b"user.a", b"", os.XATTR_CREATE)
        with raises(errno.ENODATA):
            calls.setxattr(path, b"user.b", b"", os.XATTR_REPLACE)
        calls.setxattr(path, b"user.b", b"", os.XATTR_CREATE)
        calls.setxattr(path, b"user.b", b"2", os.XATTR_REPLACE)
        with changes(calls, path, mtime=False):
            calls.removexattr(path, b"user.a")
        with raises(errno.ENODATA):
            calls.removexattr(path, b"user.a")
        assert sorted(calls.listxattr(path)) == [b"security.s", b"trusted.t", b"user.b", b"user.empty"]


@case
def extended_attributes_refused(calls: Calls) -> None:
    put(calls, b"f")
    for name in (b"none.a", b"plain", b"system.other"):
        with raises(errno.EOPNOTSUPP):
            calls.setxattr(b"f", name, b"")
        with raises(errno.EOPNOTSUPP, errno.ENODATA):
            calls.getxattr(b"f", name)
    with raises(errno.ERANGE):
        calls.setxattr(b"f", b"user." + b"n" * 251, b"")
    with raises(errno.E2BIG):
        calls.setxattr(b"f", b"user.a", bytes(65537))
    with raises(errno.EINVAL):
        calls.setxattr(b"f", b"user.a", b"", 8)
    assert calls.listxattr(b"f") == []
    calls.setxattr(b"f", b"user." + b"n" * 250, b"x")


@case
def extended_attributes_of_other_things(calls: Calls) -> None:
    calls.symlink(b"nowhere", b"l")
    calls.mknod(b"p", stat.S_IFIFO | 0o600)
    for path in (b"l", b"p"):
        with raises(errno.EPERM):
            calls.setxattr(path, b"user.a", b"")
        with raises(errno.ENODATA, errno.EPERM):
            calls.getxattr(path, b"user.a")
        calls.setxattr(path, b"trusted.a", b"value")
        assert calls.getxattr(path, b"trusted.a") == b"value"
    with raises(errno.EOPNOTSUPP):
        calls.setxattr(b"l", b"system.posix_acl_access", acl((1, 7, 0), (4, 7, 0), (0x20, 7, 0)))


@case
def large_extended_attribute(calls: Calls) -> None:
    put(calls, b"f")
    calls.setxattr(b"f", b"trusted.large", b"x" * 65536)
    assert calls.getxattr(b"f", b"trusted.large") == b"x" * 65536


@case
def many_extended_attributes(calls: Calls) -> None:
    put(calls, b"f")
    for number in range(500):
        calls.setxattr(b"f", b"user.%d" % number, b"%d" % number)
    assert len(calls.listxattr(b"f")) == 500
    assert calls.getxattr(b"f", b"user.77") == b"77"


ACCESS, DEFAULT = b"system.posix_acl_access", b"system.posix_acl_default"
NOBODY = 0xFFFFFFFF
PLAIN = acl((1, 7, NOBODY), (4, 5, NOBODY), (0x20, 1, NOBODY))
NAMED = acl((1, 6, NOBODY), (2, 7, 1000), (4, 4, NOBODY), (8, 1, 50), (0x10, 6, NOBODY), (0x20, 0, NOBODY))


@case
def access_acls(calls: Calls) -> None:
    put(calls, b"f")
    calls.setxattr(b"f", ACCESS, PLAIN)
    assert (calls.lstat(b"f").mode & 0o777, calls.listxattr(b"f")) == (0o751, [])
    calls.chmod(b"f", 0o4700)
    with changes(calls, b"f", mtime=False):
        calls.setxattr(b"f", ACCESS, NAMED)
    assert (calls.lstat(b"f").mode, calls.getxattr(b"f", ACCESS)) == (stat.S_IFREG | 0o4660, NAMED)
    assert calls.listxattr(b"f") == [ACCESS]
    calls.chmod(b"f", 0o751)
    changed = acl((1, 7, NOBODY), (2, 7, 1000), (4, 4, NOBODY), (8, 1, 50), (0x10, 5, NOBODY), (0x20, 1, NOBODY))
    assert calls.getxattr(b"f", ACCESS) == changed
    calls.removexattr(b"f", ACCESS)
    assert (calls.lstat(b"f").mode & 0o777, calls.listxattr(b"f")) == (0o751, [])
    with raises(errno.ENODATA):
        calls.getxattr(b"f", ACCESS)
    calls.removexattr(b"f", ACCESS)


@case
def default_acls(calls: Calls) -> None:
    calls.mkdir(b"d")
    calls.setxattr(b"d", DEFAULT, NAMED)
    assert (calls.getxattr(b"d", DEFAULT), calls.lstat(b"d").mode & 0o777) == (NAMED, 0o777)
    calls.close(calls.open(b"d/f", os.O_CREAT | os.O_WRONLY, 0o640))
    made = acl((1, 6, NOBODY), (2, 7, 1000), (4, 4, NOBODY), (8, 1, 50), (0x10, 4, NOBODY), (0x20, 0, NOBODY))
    assert (calls.lstat(b"d/f").mode & 0o777, calls.getxattr(b"d/f", ACCESS)) == (0o640, made)
    calls.mkdir(b"d/e", 0o777)
    assert calls.lstat(b"d/e").mode & 0o777 == 0o660
    assert (calls.getxattr(b"d/e", ACCESS), calls.getxattr(b"d/e", DEFAULT)) == (NAMED, NAMED)
    calls.symlink(b"x", b"d/l")
    assert calls.lstat(b"d/l").mode & 0o777 == 0o777
    calls.removexattr(b"d", DEFAULT)
    put(calls, b"d/g")
    assert calls.listxattr(b"d/g") == []
    calls.setxattr(b"d", DEFAULT, PLAIN)
    put(calls, b"d/h")
    assert (calls.lstat(b"d/h").mode & 0o777, calls.listxattr(b"d/h")) == (0o640, [])


@case
def acls_refused(calls: Calls) -> None:
    put(calls, b"f")
    with raises(errno.EACCES):
        calls.setxattr(b"f", DEFAULT, PLAIN)
    for value in (
        b"",
        b"xxx",
        PLAIN[:-1],
        acl((1, 7, NOBODY), (4, 5, NOBODY)),
        acl((4, 5, NOBODY), (1, 7, NOBODY), (0x20, 1, NOBODY)),
        acl((1, 7, NOBODY), (2, 7, 5), (4, 5, NOBODY), (0x20, 1, NOBODY)),
        acl((1, 8, NOBODY), (4, 5, NOBODY), (0x20, 1, NOBODY)),
        acl((1, 7, NOBODY), (3, 5, NOBODY), (0x20, 1, NOBODY)),
    ):
        if value:  # an empty one removes
            with raises(errno.EINVAL):
                calls.setxattr(b"f", ACCESS, value)
    with raises(errno.EOPNOTSUPP):
        calls.setxattr(b"f", ACCESS, b"\1\0\0\0" + PLAIN[4:])
    assert calls.listxattr(b"f") == []


def main() -> int:
    """Run on a directory of the host: a line a case, the number of failures as exit status."""
    place, wanted = os.fsencode(sys.argv[1]), sys.argv[2:]
    os.umask(0)
    failed = 0
    for name, body in CASES.items():
        if wanted and name not in wanted:
            continue
        directory = place + b"/" + name.encode()
        os.mkdir(directory)
        try:
            body(HostCalls(directory))
        except Exception as error:
            failed += 1
            where = traceback.extract_tb(error.__traceback__)
            line = next((frame.lineno for frame in reversed(where) if frame.filename == __file__), 0)
            print(f"FAILED {name}:{line}: {type(error).__name__}: {error}", flush=True)
        else:
            print(f"ok {name}", flush=True)
    return min(failed, 100)


if __name__ == "__main__":
    sys.exit(main())
