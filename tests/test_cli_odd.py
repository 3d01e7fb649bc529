"""Taking files out of a module that breaks its contract: names that are none, files that end early, types that do not exist.

The front end must not lean on every module, also those of third parties, checking what it hands up. The file system here is a
small real one (a tree in memory, by the API), so that it can be wrong in every way.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from vfs.api import Entry, Extent, Filesystem, Handle, Node, Stat, damaged
from vfs.cli.hosttree import DIRECTORY, HostTree
from vfs.cli.opening import Report
from vfs.cli.progress import Progress
from vfs.cli.tarstream import TarStream
from vfs.cli.transfer import PIECE, WINDOW, stretches, to_file, to_stream


@dataclass
class Odd:
    """One file: children make it a directory. *ends*: reading fails from this byte on, *short*: it ends there."""

    content: bytes = b""
    children: list[tuple[bytes, Odd]] = field(default_factory=list)
    mode: int = stat.S_IFREG | 0o644
    ends: int | None = None
    short: int | None = None
    holes: bool = False
    broken_xattrs: bool = False
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


class OddNode(Node):
    __slots__ = ("odd",)

    def __init__(self, filesystem: Filesystem, odd: Odd) -> None:
        super().__init__(filesystem, id(odd))
        self.odd = odd

    def stat(self) -> Stat:
        size = len(self.odd.content)
        mode = stat.S_IFDIR | 0o755 if self.odd.children else self.odd.mode
        return Stat(self.ino, mode, size=size, blocks=0 if self.odd.holes else -(-size // 512))

    def entries(self, start: int = 0) -> Iterator[Entry]:
        for number, (name, odd) in enumerate(self.odd.children):
            yield Entry(name, id(odd), 0, number + 1)

    def child(self, entry: Entry) -> Node:
        return OddNode(self.filesystem, self.odd.children[entry.next - 1][1])

    def open(self, flags: int = 0) -> Handle:
        return OddHandle(self)

    def listxattr(self) -> list[bytes]:
        if self.odd.broken_xattrs:
            raise damaged("attributes that nobody can read")
        return [name for name, _ in self.odd.xattrs]

    def getxattr(self, name: bytes) -> bytes:
        return dict(self.odd.xattrs)[name]


class OddHandle(Handle):
    def readinto(self, offset: int, buffer: memoryview) -> int:
        odd = self.node.odd  # type: ignore[attr-defined]
        end = offset + len(buffer)
        if odd.ends is not None and end > odd.ends:
            raise damaged(f"nothing from byte {odd.ends} on")
        piece = odd.content[offset : min(end, odd.short) if odd.short is not None else end]
        buffer[: len(piece)] = piece
        return len(piece)

    def extents(self, offset: int, length: int) -> list[Extent]:
        odd = self.node.odd  # type: ignore[attr-defined]
        found = super().extents(offset, length)
        if odd.holes:  # every second stretch of 4 KiB
            end = min(offset + length, len(odd.content))
            found = [Extent(at, min(4096, end - at), hole=at // 4096 % 2 == 0) for at in range(offset, end, 4096)]
        return found


Capture = pytest.CaptureFixture[str]
NAMES = [b"../../x", b"/etc/x", b"a/b", b"..", b".", b"", b"nul\0byte", b"/"]


def taken_out(odd: Odd, kind: str, tmp_path: Path, capsys: Capture) -> tuple[dict[str, bytes | None], list[str]]:
    """Write the tree to a directory or through an archive; what is there then (files with content), and what was said."""
    top = OddNode(Filesystem(), odd)
    out = tmp_path / "cage" / "out"
    out.mkdir(parents=True)
    report, progress = Report("odd"), Progress()
    if kind == "directory":
        with HostTree(os.open(out, DIRECTORY), True, report, progress) as tree:
            tree.fill(b"/", top, finish=False)
        found = {str(path.relative_to(out)): path.read_bytes() if path.is_file() else None for path in out.rglob("*")}
    else:
        archive = os.open(tmp_path / "archive", os.O_RDWR | os.O_CREAT)
        stream = TarStream(archive, report, progress)
        stream.add(b"/", top, b".")
        stream.finish()
        os.close(archive)
        with tarfile.open(tmp_path / "archive") as tar:
            found = {each.name: tar.extractfile(each).read() if each.isreg() else None for each in tar if each.name != "."}  # type: ignore[union-attr]
    assert os.listdir(tmp_path / "cage") == ["out"], "something was written outside"
    report.tell_losses()
    return found, capsys.readouterr().err.splitlines()


both = pytest.mark.parametrize("kind", ["directory", "tar"])


@both
@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_none(name: bytes, kind: str, tmp_path: Path, capsys: Capture) -> None:
    evil = Odd(children=[(b"inside", Odd(b"evil"))])
    odd = Odd(children=[(b"first", Odd(b"1")), (name, Odd(b"evil")), (b"d", Odd(children=[(name, evil), (b"last", Odd(b"2"))]))])
    found, said = taken_out(odd, kind, tmp_path, capsys)
    assert found == {"first": b"1", "d": None, "d/last": b"2"}
    assert len(said) == 2 and all(line.startswith("vfs: odd: /") for line in said)
    assert all(line.endswith(": a name that no file can have") for line in said)


@both
def test_types_that_are_none(kind: str, tmp_path: Path, capsys: Capture) -> None:
    odd = Odd(children=[(b"odd", Odd(b"x", mode=0o070644)), (b"none", Odd(b"x", mode=0o644)), (b"last", Odd(b"1"))])
    found, said = taken_out(odd, kind, tmp_path, capsys)
    assert found == {"last": b"1"}
    assert said == ["vfs: odd: /odd: its type is none (0o70644)", "vfs: odd: /none: its type is none (0o644)"]


@both
@pytest.mark.parametrize("size", [100, 40_000, 3 << 20])
@pytest.mark.parametrize("fault", ["ends", "short"])
def test_files_that_fail_midway(fault: str, size: int, kind: str, tmp_path: Path, capsys: Capture) -> None:
    faulty = Odd(b"y" * size)
    setattr(faulty, fault, size // 2)
    found, said = taken_out(Odd(children=[(b"bad", faulty), (b"last", Odd(b"1"))]), kind, tmp_path, capsys)
    assert len(said) == 1 and said[0].startswith("vfs: odd: /bad: ")
    assert found.pop("last") == b"1"
    if kind == "directory":
        assert found == {}, "whole or not at all"
    else:
        # What was promised is there, as far as it could be had, and zeros after it: the archive stays readable.
        content = found["bad"] or b""
        assert len(content) == size and set(content) <= set(b"y\0")


@both
def test_attributes_that_cannot_be_read_do_not_lose_the_file(kind: str, tmp_path: Path, capsys: Capture) -> None:
    odd = Odd(children=[(b"file", Odd(b"content", broken_xattrs=True))])
    found, said = taken_out(odd, kind, tmp_path, capsys)
    assert found == {"file": b"content"}
    assert said == ["vfs: odd: /file: attributes that nobody can read"]


@both
def test_attributes_with_impossible_names_are_counted(kind: str, tmp_path: Path, capsys: Capture) -> None:
    evil = Odd(b"content", xattrs=((b"user.nul\0byte", b"1"), (b"user.new\nline=%", b"2")))
    found, said = taken_out(Odd(children=[(b"file", evil)]), kind, tmp_path, capsys)
    assert found == {"file": b"content"}
    assert said == ["vfs: odd: warning: extended attributes not kept: 1"]
    if kind == "directory":
        assert os.listxattr(tmp_path / "cage" / "out" / "file") == ["user.new\nline=%"]
    else:
        with tarfile.open(tmp_path / "archive") as tar:
            assert tar.getmember("file").pax_headers == {"SCHILY.xattr.user.new\nline%3D%25": "2"}


# -------------------------------------------------------------------------------------------------------- the transfer


class Mapless(OddHandle):
    def extents(self, offset: int, length: int) -> list[Extent]:
        return []


def test_a_map_that_ends_is_an_error_and_no_endless_loop() -> None:
    with pytest.raises(OSError, match="ends at byte 0"):
        list(stretches(Mapless(OddNode(Filesystem(), Odd(b"x"))), 1))


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5])
@pytest.mark.parametrize("holes", [False, True])
def test_content_through_the_buffer(size: int, holes: bool, tmp_path: Path) -> None:
    content = bytearray(os.urandom(size))
    if holes:
        for start in range(0, size, 8192):
            end = min(start + 4096, size)
            content[start:end] = bytes(end - start)
    counted: list[int] = []
    handle = OddHandle(OddNode(Filesystem(), Odd(bytes(content), holes=holes)))
    with open(tmp_path / "out", "wb") as out:
        to_file(handle, handle.node.stat(), out.fileno(), counted.append)
    assert (tmp_path / "out").read_bytes() == content
    assert holes or sum(counted) == size
    counted.clear()
    with open(tmp_path / "out", "wb") as out:
        to_stream(handle, size, out.fileno(), counted.append)
    assert (tmp_path / "out").read_bytes() == content
    assert sum(counted) == size


def test_a_file_of_one_hole_takes_no_room(tmp_path: Path) -> None:
    class Hole(OddHandle):
        def extents(self, offset: int, length: int) -> list[Extent]:
            assert length <= WINDOW
            return [Extent(offset, length, hole=True)]

        def seek_data(self, offset: int) -> int:
            raise OSError(errno.ENXIO, "none")

    handle = Hole(OddNode(Filesystem(), Odd()))
    with open(tmp_path / "out", "wb") as out:
        to_file(handle, Stat(1, stat.S_IFREG, size=1 << 33), out.fileno())
    found = (tmp_path / "out").stat()
    assert (found.st_size, found.st_blocks) == (1 << 33, 0)
    assert list(stretches(handle, 1 << 62)) == [Extent(0, 1 << 62, hole=True)], "walked through window by window"


def test_ranges_of_a_real_file_go_past_python(tmp_path: Path) -> None:
    """The handle's own reading is never asked."""
    content = os.urandom(2 * PIECE + 77)
    (tmp_path / "in").write_bytes(b"#" * 100 + content)

    class Ranged(OddHandle):
        def extents(self, offset: int, length: int) -> list[Extent]:
            return [Extent(offset, length, source.fileno(), 100 + offset)]

        def readinto(self, offset: int, buffer: memoryview) -> int:
            raise AssertionError("read through Python")

    with open(tmp_path / "in", "rb") as source, open(tmp_path / "out", "wb") as out:
        handle = Ranged(OddNode(Filesystem(), Odd()))
        to_file(handle, Stat(1, stat.S_IFREG, size=len(content)), out.fileno())
        assert (tmp_path / "out").read_bytes() == content
        out.truncate(0)
        out.seek(0, io.SEEK_SET)
        to_stream(handle, len(content), out.fileno())
        assert (tmp_path / "out").read_bytes() == content
