"""The fsspec interface, through fsspec's own functions."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from oracle import oracle

from fixtures.ext import image
from vfs.fsspec import VfsFileSystem


@pytest.fixture
def fs() -> Iterator[VfsFileSystem]:
    opened = fsspec.filesystem("vfs", image=str(image("ext4_4k")))
    yield opened
    opened.close()


def test_the_protocol_is_registered(fs: VfsFileSystem) -> None:
    assert type(fs) is VfsFileSystem
    assert "vfs" in fsspec.available_protocols()


def test_a_walk_and_all_content(fs: VfsFileSystem) -> None:
    expected = oracle(image("ext4_4k"))
    found = fs.find("/", withdirs=True, detail=True)
    assert {os.fsencode(name) for name in found} == set(expected)
    for name, fields in found.items():
        entry = expected[os.fsencode(name)]
        if entry.type in ("file", "directory"):
            assert fields["type"] == entry.type
            assert (fields["size"], fields["ino"], fields["nlink"]) == (entry.size, entry.ino, entry.nlink)
            assert (fields["uid"], fields["gid"], fields["mode"] & 0o7777) == (entry.uid, entry.gid, entry.mode)
            assert fields["mtime"] == entry.mtime / 10**9
        assert fields["islink"] == (entry.type == "symlink")
        if entry.type == "file":
            assert len(fs.cat_file(name)) == entry.size


def test_names_are_absolute_however_they_are_asked_for(fs: VfsFileSystem) -> None:
    for path in ("/docs", "docs", "docs/", "vfs://docs", "vfs:///docs"):
        assert fs.ls(path, detail=False) == [f"/docs/chapter-{number}.txt" for number in range(6)]
    assert fs.ls("/README", detail=False) == ["/README"]
    assert fs.info("")["name"] == "/"


def test_links(fs: VfsFileSystem) -> None:
    listed = {entry["name"]: entry for entry in fs.ls("/links")}
    assert listed["/links/relative"]["type"] == "file" and listed["/links/relative"]["destination"] == "first"
    assert listed["/links/relative"]["size"] == 3000
    for name in ("directory", "dangling", "loop"):
        assert listed[f"/links/{name}"]["type"] == "link"
    assert fs.isdir("/links/directory") and fs.ls("/links/directory", detail=False) == ["/links/directory/d"]
    assert fs.cat("/links/absolute") == fs.cat("/README")
    assert not fs.exists("/links/dangling")


def test_a_file_object(fs: VfsFileSystem) -> None:
    whole = fs.cat("/sizes/300000")
    with fs.open("/sizes/300000") as file:
        assert isinstance(file, io.BufferedIOBase) and file.size == 300_000
        assert file.read(10) == whole[:10] and file.tell() == 10
        assert file.seek(-5, os.SEEK_END) == 299_995 and file.read() == whole[-5:] and file.read() == b""
        file.seek(400_000)
        assert file.read(1) == b""
        with pytest.raises(OSError):
            file.seek(-1)
    with fs.open("/docs/chapter-1.txt", "r") as text:
        assert text.readline().startswith("000000 ")
    assert fs.cat_file("/sizes/300000", 5, 10) == whole[5:10]
    assert fs.tail("/sizes/300000", 7) == whole[-7:]
    assert fs.head("/sizes/300000", 7) == whole[:7]
    assert fs.glob("/docs/*-3.txt") == ["/docs/chapter-3.txt"]


def test_get(fs: VfsFileSystem, tmp_path: Path) -> None:
    fs.get("/docs", str(tmp_path / "docs"), recursive=True)
    assert sorted(path.name for path in (tmp_path / "docs").iterdir()) == [f"chapter-{number}.txt" for number in range(6)]
    assert (tmp_path / "docs" / "chapter-5.txt").read_bytes() == fs.cat("/docs/chapter-5.txt")


def test_times(fs: VfsFileSystem) -> None:
    assert fs.modified("/README").isoformat() == fs.created("/README").isoformat() == "2023-11-14T22:13:20+00:00"


def test_errors(fs: VfsFileSystem) -> None:
    with pytest.raises(FileNotFoundError):
        fs.info("/nothing")
    with pytest.raises(FileNotFoundError):
        fs.cat("/nothing")
    with pytest.raises(IsADirectoryError):
        fs.open("/docs")
    with pytest.raises(OSError, match="reading only"):
        fs.open("/new", "wb")
    with pytest.raises(ValueError, match="name an image"):
        fsspec.filesystem("vfs")
    with pytest.raises(FileNotFoundError):
        fsspec.filesystem("vfs", image="/nothing")


def test_urls_chain(tmp_path: Path) -> None:
    expected = oracle(image("ext4_4k"))[b"/README"].size
    with fsspec.open(f"vfs://README::{image('ext4_4k')}") as file:
        assert len(file.read()) == expected
    with fsspec.open(f"vfs://README::file://{image('ext4_4k')}", "rt") as text:
        assert text.readline() == "This image is a test fixture.\n"
    fs, path = fsspec.url_to_fs(f"vfs://docs::{image('ext4_4k')}")
    assert path == "/docs" and len(fs.ls(path)) == 6
    fs.close()


def test_an_image_that_is_not_local(tmp_path: Path) -> None:
    """An image inside a tar archive, and in memory: read through fsspec's own file objects."""
    with tarfile.open(tmp_path / "packed.tar", "w") as packed:
        packed.add(image("ext4_4k"), "images/disk.img")
    with fsspec.open(f"vfs://README::tar://images/disk.img::{tmp_path}/packed.tar") as file:
        assert file.readline() == b"This image is a test fixture.\n"
    fsspec.filesystem("memory").pipe("/disk.img", image("ext4_4k").read_bytes())
    fs, _ = fsspec.url_to_fs("vfs://::memory://disk.img")
    assert "/docs" in fs.ls("/", detail=False)
    fs.close()
    fsspec.filesystem("memory").rm("/disk.img")


def test_an_instance_lets_go_of_its_image(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(image("ext4_4k").read_bytes())
    fs = fsspec.filesystem("vfs", image=str(path))
    descriptors = len(os.listdir("/proc/self/fd"))
    del fs
    assert len(os.listdir("/proc/self/fd")) == descriptors - 1
