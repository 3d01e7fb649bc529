"""Storages: ranges of bytes, stacked, and the lock on the file at the bottom."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vfs.api import Extent, FileStorage, SubStorage, open_image

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(CONTENT)
    return path


def read(storage: FileStorage | SubStorage, offset: int, size: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: storage.readinto(offset, memoryview(buffer))])


# ------------------------------------------------------------------------------------------------------------- reading


def test_read_is_exact(disk: Path) -> None:
    with FileStorage(disk) as storage:
        assert storage.size == len(CONTENT)
        assert storage.read(100, 1000) == CONTENT[100:1100]
        assert storage.read(0, 0) == b""
        assert storage.read(storage.size, 0) == b""


@pytest.mark.parametrize(("offset", "size"), [(len(CONTENT), 1), (len(CONTENT) - 1, 2), (-1, 1), (0, -1), (2**70, 1), (0, 2**70)])
def test_read_outside_is_an_error(disk: Path, offset: int, size: int) -> None:
    with FileStorage(disk) as storage:
        for each in (storage, SubStorage(storage, 0, storage.size)):
            with pytest.raises(OSError) as caught:
                each.read(offset, size)
            assert caught.value.errno == errno.EIO and "outside" in caught.value.strerror


def test_readinto_is_short_only_at_the_end(disk: Path) -> None:
    with FileStorage(disk) as storage:
        assert read(storage, 10_000, 1000) == CONTENT[10_000:]
        assert read(storage, storage.size, 10) == b""


def test_a_file_that_shrinks_is_an_error_not_zeros(disk: Path) -> None:
    with FileStorage(disk) as storage:
        os.truncate(disk, 100)
        with pytest.raises(OSError) as caught:
            storage.read(0, 200)
        assert caught.value.errno == errno.EIO


# ------------------------------------------------------------------------------------------------------------- writing


def test_write(disk: Path) -> None:
    with FileStorage(disk, writable=True) as storage:
        assert storage.write(5, b"hello") == 5
        storage.flush()
        assert storage.read(4, 7) == CONTENT[4:5] + b"hello" + CONTENT[10:11]


def test_read_only_refuses_writes(disk: Path) -> None:
    with FileStorage(disk) as storage, pytest.raises(OSError) as caught:
        storage.write(0, b"x")
    assert caught.value.errno == errno.EROFS and str(disk) in caught.value.strerror
    assert disk.read_bytes() == CONTENT


# ------------------------------------------------------------------------------------------------------- what is opened


@pytest.mark.parametrize(
    ("make", "number"),
    [
        (lambda path: None, errno.ENOENT),
        (Path.mkdir, errno.EISDIR),
        (os.mkfifo, errno.EINVAL),
        (lambda path: path.symlink_to("/dev/null"), errno.EINVAL),
        (lambda path: path.symlink_to(path), errno.ELOOP),
    ],
    ids=["missing", "directory", "fifo", "character device", "link to itself"],
)
def test_what_is_no_image(tmp_path: Path, make: object, number: int) -> None:
    path = tmp_path / "thing"
    make(path)  # type: ignore[operator]
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError) as caught:
        FileStorage(path)
    assert caught.value.errno == number
    assert len(os.listdir("/proc/self/fd")) == before, "a descriptor was left open"


def test_bytes_and_text_name_the_same_file(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9"
    with open(path, "wb") as file:
        file.write(b"x" * 512)
    for name in (path, os.fsdecode(path)):
        with FileStorage(name) as storage:
            assert storage.size == 512


def test_close_is_idempotent(disk: Path) -> None:
    storage = FileStorage(disk)
    storage.close()
    storage.close()


# --------------------------------------------------------------------------------------------------------------- locks


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        (False, False, None),
        (False, True, "is in use by another mount; unmount it first"),
        (True, False, "is being written by another mount; unmount it first"),
        (True, True, "is in use by another mount; unmount it first"),
    ],
)
def test_a_writer_is_alone(disk: Path, first: bool, second: bool, sentence: str | None) -> None:
    with FileStorage(disk, first):
        if sentence is None:
            FileStorage(disk, second).close()
            return
        with pytest.raises(OSError) as caught:
            FileStorage(disk, second)
        assert (caught.value.errno, caught.value.strerror) == (errno.EBUSY, sentence)
    FileStorage(disk, second).close()  # the lock is gone with its holder


def test_the_lock_holds_between_processes(disk: Path) -> None:
    attempt = (
        "import sys; from vfs.api import FileStorage\ntry: FileStorage(sys.argv[1], True)\nexcept OSError as e: print(e.errno)"
    )
    with FileStorage(disk):
        done = subprocess.run([sys.executable, "-c", attempt, str(disk)], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"{errno.EBUSY}\n"
    done = subprocess.run([sys.executable, "-c", attempt, str(disk)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_failed_lock_is_told_with_the_path(disk: Path) -> None:
    with FileStorage(disk, writable=True), pytest.raises(OSError) as caught:
        open_image(disk)  # type: ignore[arg-type]
    assert (caught.value.errno, caught.value.filename) == (errno.EBUSY, str(disk))


# ------------------------------------------------------------------------------------------------------------- stacking


def test_a_part_shifts_one_coordinate(disk: Path) -> None:
    with FileStorage(disk, writable=True) as storage:
        part = SubStorage(storage, 1000, 500)
        assert part.read(10, 20) == CONTENT[1010:1030]
        assert read(part, 490, 100) == CONTENT[1490:1500]
        assert read(part, 500, 1) == read(part, -1, 5) == b""
        part.write(495, b"12345")
        with pytest.raises(OSError) as caught:
            part.write(496, b"12345")
        assert caught.value.errno == errno.ENOSPC
        part.close()
        assert storage.read(1495, 5) == b"12345"
    assert disk.read_bytes()[1500:] == CONTENT[1500:]


@pytest.mark.parametrize(("start", "size"), [(-1, 5), (0, -1), (len(CONTENT), 1), (0, len(CONTENT) + 1), (2**64, 0)])
def test_a_part_outside_is_refused(disk: Path, start: int, size: int) -> None:
    with FileStorage(disk) as storage, pytest.raises(OSError) as caught:
        SubStorage(storage, start, size)
    assert caught.value.errno == errno.EINVAL


def test_extents_lead_to_the_file_at_the_bottom(disk: Path) -> None:
    with FileStorage(disk) as storage:
        part = SubStorage(SubStorage(storage, 1000, 5000), 200, 300)
        assert part.extents(0, 300) == [Extent(0, 300, storage.fd, 1200)]
        assert part.extents(250, 1000) == [Extent(250, 50, storage.fd, 1450)]
        assert part.extents(300, 1) == []
        assert storage.extents(0, 2**40) == [Extent(0, len(CONTENT), storage.fd, 0)]
        assert os.pread(storage.fd, 300, 1200) == part.read(0, 300)


def test_holes_of_a_file_are_told(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 30)
        file.write(b"x" * 65536)
    with FileStorage(path) as storage:
        end = (1 << 30) + 65536
        assert storage.extents(0, 1 << 40) == [
            Extent(0, 1 << 30, hole=True),
            Extent(1 << 30, 65536, storage.fd, 1 << 30),
            Extent(end, (1 << 40) - end, hole=True),
        ]
        assert storage.extents((1 << 30) + 5, 100) == [Extent((1 << 30) + 5, 100, storage.fd, (1 << 30) + 5)]
        assert (storage.extents(1 << 40, 5), storage.extents(5, 0)) == ([], [])


def test_pieces_of_a_file_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "pieces"
    with path.open("wb") as file:
        for number in range(5000):
            file.seek(number * 16384)
            file.write(b"x" * 4096)
    with FileStorage(path) as storage:
        found = storage.extents(0, storage.size)
        assert len(found) <= 4097
        assert sum(extent.length for extent in found) == storage.size


def test_a_block_device_has_its_own_sectors(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(1 << 20)
    command = ["losetup", "--sector-size", "4096", "--find", "--show", path]
    if os.geteuid() or shutil.which("losetup") is None:
        pytest.skip("only root has loop devices, by losetup (package util-linux)")
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no loop devices: {made.stderr.strip()}")
    device = made.stdout.strip()
    try:
        with FileStorage(device) as storage:
            assert (storage.size, storage.block_size, storage.physical_block_size) == (1 << 20, 4096, 4096)
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
