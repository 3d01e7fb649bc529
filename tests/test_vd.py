"""vd, whatever the format: what is recognised, options, raw images, the common map."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vfs.api import NO, Device, FileStorage, Storage
from vfs.vd.disk import DATA, HOLE, PACKED, ZERO, DiskImage, Run, is_zero
from vfs.vd.formats import KINDS
from vfs.vd.module import VdModule

MODULE = VdModule()


def mount(path: Path, writable: bool = False, **options: Any) -> Device:
    """The device in an image; its file is closed with it."""
    storage = FileStorage(str(path), writable)
    try:
        return MODULE.mount(storage, MODULE.options(**options))  # type: ignore[arg-type]
    except BaseException:
        storage.close()
        raise


class Bytes(Storage):
    def __init__(self, content: bytes) -> None:
        self.content, self.size, self.name = content, len(content), "bytes"

    def readinto(self, offset: int, buffer: memoryview) -> int:
        piece = self.content[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)


class Pieces(DiskImage):
    """An image whose map is given."""

    format = "pieces"

    def __init__(self, file: Storage, size: int, runs: list[Run], parent: DiskImage | None = None) -> None:
        super().__init__(file, size, parent=parent)
        self.all_runs = runs

    def runs(self, offset: int, length: int) -> Iterator[Run]:
        for run in self.all_runs:
            first, last = max(run.offset, offset), min(run.offset + run.length, offset + length)
            if first < last:
                yield run._replace(offset=first, length=last - first, source_offset=run.source_offset + first - run.offset)

    def unpack(self, run: Run) -> bytes:
        return b"P" * run.length


def test_a_map_of_all_kinds_is_read_and_passed_down(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"D" * 100)
    file, below = FileStorage(str(path)), FileStorage(str(path))
    parent = Pieces(below, 55, [Run(0, 55, DATA, below, 10)])
    runs = [Run(0, 20, DATA, file, 0), Run(20, 10, ZERO), Run(30, 30, HOLE), Run(60, 5, PACKED), Run(65, 30, DATA, file, 90)]
    with Pieces(file, 95, runs, parent) as image:
        expected = b"D" * 20 + bytes(10) + b"D" * 25 + bytes(5) + b"P" * 5 + b"D" * 10 + bytes(20)
        assert image.read(0, 95) == expected
        for start in range(95):
            assert image.read(start, min(17, 95 - start)) == expected[start : start + 17]
        found = [(extent.offset, extent.length, extent.fd, extent.fd_offset, extent.hole) for extent in image.extents(0, 1000)]
        assert found == [
            (0, 20, file.fd, 0, False),
            (20, 10, None, 0, True),
            (30, 25, below.fd, 40, False),
            (55, 5, None, 0, True),
            (60, 5, None, 0, False),
            (65, 10, file.fd, 90, False),
            (75, 20, None, 0, True),
        ]
        with pytest.raises(OSError) as raised:
            image.write(0, b"x")
        assert raised.value.errno == errno.EROFS


def test_raw_only_by_name(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(b"x" * 5000)
    with FileStorage(str(path)) as storage:
        assert MODULE.probe(storage) == NO
    with pytest.raises(OSError, match="format=raw") as raised:
        mount(path)
    assert raised.value.errno == errno.EINVAL
    with mount(path, True, format="raw", rw=True) as device:
        disk = device.storage(0)
        assert disk.size == 5000 and not disk.read_only and not device.read_only
        disk.write(100, b"hello")
        disk.zero(4000, 1000)
        assert disk.read(98, 9) == b"xxhelloxx"
        assert disk.descriptor() is not None
        with pytest.raises(OSError) as raised:
            disk.write(4999, b"12")
        assert raised.value.errno == errno.ENOSPC
        device.flush()
    assert path.read_bytes() == b"x" * 100 + b"hello" + b"x" * 3895 + bytes(1000)


def test_raw_made(tmp_path: Path) -> None:
    with FileStorage(str(tmp_path / "new.img"), True, True) as storage:
        MODULE.create(storage, "raw", 12345, MODULE.create_options("raw")())
        assert storage.size == 12345
        with pytest.raises(OSError, match="size"):
            MODULE.create(storage, "raw", None, MODULE.create_options("raw")())
    with pytest.raises(OSError, match="qcow2") as raised:
        MODULE.create_options("tar")
    assert raised.value.errno == errno.EINVAL


@pytest.mark.parametrize(
    ("format", "kind", "options"),
    [
        ("qcow2", "qcow2", ""),
        ("qcow2", "qcow2", "compat=0.10"),
        ("vdi", "vdi", ""),
        ("vpc", "vhd", "subformat=dynamic"),
        ("vpc", "vhd", "subformat=fixed"),
        ("vhdx", "vhdx", ""),
        ("vmdk", "vmdk", ""),
        ("vmdk", "vmdk", "subformat=twoGbMaxExtentSparse"),
        ("raw", None, ""),
    ],
)
def test_formats_are_recognised(tmp_path: Path, format: str, kind: str | None, options: str) -> None:
    path = tmp_path / "image"
    arguments = ["-o", options] if options else []
    subprocess.run(["qemu-img", "create", "-q", "-f", format, *arguments, str(path), "3M"], check=True)
    head = path.read_bytes()[:4096]
    tail = path.read_bytes()[-512:]
    sure = {name: found.probe(head, tail) for name, found in KINDS.items() if found.probe(head, tail)}
    assert list(sure) == ([kind] if kind else [])


def test_small_and_empty_files_are_nothing(tmp_path: Path) -> None:
    for size in (0, 1, 3, 100, 511, 513):
        path = tmp_path / f"{size}"
        path.write_bytes(os.urandom(size))
        with FileStorage(str(path)) as storage:
            assert MODULE.probe(storage) == NO


def test_zeros_are_seen() -> None:
    assert is_zero(bytes(3 << 20)) and is_zero(b"")
    for at in (0, 1 << 20, (3 << 20) - 1):
        content = bytearray(3 << 20)
        content[at] = 1
        assert not is_zero(memoryview(content))
