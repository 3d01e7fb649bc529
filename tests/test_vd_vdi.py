"""VDI: qemu's images read, ours read by qemu, changes against a flat model, crashes, damage."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from tests import vd_campaign as campaign
from tests import vd_made as made
from tests.vd_campaign import MemoryFile, Operation
from vfs.vd.vdi import layout
from vfs.vd.vdi.image import uuid_text

MIB = 1 << 20
SIZES = (512, MIB - 512, 5 * MIB + 1536, 9 * MIB)
SIZE = 700_000 // 512 * 512


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("static", ("off", "on"))
def test_images_of_qemu(tmp_path: Path, size: int, static: str) -> None:
    flat = campaign.make_raw(tmp_path / "raw", size, size)
    campaign.qemu_img("convert", "-f", "raw", "-O", "vdi", "-o", f"static={static}", tmp_path / "raw", tmp_path / "disk.vdi")
    with campaign.opened_file(tmp_path / "disk.vdi") as device:
        assert campaign.read_all(device.storage(0)) == flat
        assert device.details()["subformat"] == ("fixed" if static == "on" else "dynamic")
    with campaign.FileStorage(str(tmp_path / "disk.vdi")) as storage:
        assert campaign.checked(storage) == []
    changed = bytearray(flat)
    todo = campaign.random_operations(campaign.random.Random(size), size, 12)
    campaign.against_model(lambda: campaign.opened_file(tmp_path / "disk.vdi", True), changed, todo)
    campaign.qemu_check(tmp_path / "disk.vdi", "vdi")
    assert campaign.as_raw(tmp_path / "disk.vdi", "vdi", tmp_path / "back") == changed


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("subformat", ("dynamic", "fixed"))
def test_ours_read_by_qemu(tmp_path: Path, size: int, subformat: str) -> None:
    path = tmp_path / "disk.vdi"
    campaign.created(path, "vdi", size, subformat=subformat)
    flat = bytearray(size)
    campaign.qemu_check(path, "vdi")
    todo = campaign.random_operations(campaign.random.Random(size), size, 30)
    campaign.against_model(lambda: campaign.opened_file(path, True), flat, todo)
    campaign.qemu_check(path, "vdi")
    assert campaign.as_raw(path, "vdi", tmp_path / "back") == flat


def with_parent(**options: int) -> tuple[made.Directory, bytearray]:
    """A child larger than its parent, and with other blocks."""
    flat = bytearray(campaign.content(7, SIZE - 10240))
    directory = made.image("vdi", len(flat), flat, block_size=16384)
    made.add(directory, b"child", "vdi", SIZE, parent=b"disk", **options)
    return directory, flat + bytes(10240)


def as_virtualbox_reads(file: bytes, parent: bytes) -> bytes:
    """A differencing image, read in the plainest way."""
    header = layout.Header.unpack(file[: layout.HEADER_SIZE])
    found = bytearray(header.disk_size)
    for block in range(header.blocks):
        start = block * header.block_size
        end = min(start + header.block_size, header.disk_size)
        (entry,) = struct.unpack_from("<I", file, header.map_offset + 4 * block)
        if entry == 0xFFFFFFFF:
            found[start:end] = parent[start:end].ljust(end - start, b"\0")
        elif entry != 0xFFFFFFFE:
            at = header.data_offset + entry * header.block_size
            found[start:end] = file[at : at + end - start]
    return bytes(found)


def check_child(todo: list[Operation]) -> None:
    directory, flat = with_parent(block_size=8192)
    below = bytes(flat)
    made.against_model(directory, b"child", flat, todo, parent=b"disk")
    assert as_virtualbox_reads(directory[b"child"], below) == flat
    assert made.content(directory) == below[: SIZE - 10240], "the parent has been written to"


def check_alone(todo: list[Operation]) -> None:
    made.against_model(made.image("vdi", SIZE, block_size=16384), b"disk", bytearray(SIZE), todo)


@pytest.mark.parametrize("check", (check_alone, check_child))
def test_against_a_flat_model(check: Callable[[list[Operation]], None]) -> None:
    settings(max_examples=12, deadline=None)(given(todo=campaign.operations(SIZE))(check))()


@pytest.mark.slow
@pytest.mark.parametrize("check", (check_alone, check_child))
def test_against_a_flat_model_for_long(check: Callable[[list[Operation]], None]) -> None:
    settings(max_examples=400, deadline=None)(given(todo=campaign.operations(SIZE, most=60))(check))()


def test_discarded_blocks_are_given_back() -> None:
    flat = bytearray(campaign.content(3, SIZE) or b"")
    flat[:] = bytes(byte or 1 for byte in flat)
    directory = made.image("vdi", SIZE, flat, block_size=16384)
    whole = len(directory[b"disk"])
    with made.opened(directory, writable=True) as device:
        device.storage(0).discard(16384, 10 * 16384)
        device.storage(0).zero(20 * 16384, 16384)
    flat[16384 : 11 * 16384] = bytes(10 * 16384)
    flat[20 * 16384 : 21 * 16384] = bytes(16384)
    assert made.content(directory) == flat
    assert len(directory[b"disk"]) == whole - 11 * 16384
    assert campaign.checked(MemoryFile(directory, b"disk")) == []


# -------------------------------------------------------------------------------------------- crashes


@pytest.mark.parametrize("seed", range(3))
def test_power_cuts(seed: int) -> None:
    campaign.power_cuts(made.image("vdi", SIZE, block_size=16384), b"disk", seed, 60, 20)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 150))
def test_many_power_cuts(seed: int) -> None:
    campaign.power_cuts(made.image("vdi", SIZE, block_size=16384), b"disk", seed, 150, 50)


@pytest.mark.slow
def test_kills(tmp_path: Path) -> None:
    path = tmp_path / "disk.vdi"
    campaign.created(path, "vdi", 40 * MIB)

    def repaired(path: Path) -> None:
        with campaign.opened_file(path, True) as device:  # whoever writes next uses what the dead one has left
            device.storage(0).write(0, device.storage(0).read(0, 1))
        campaign.qemu_check(path, "vdi")

    campaign.kills(path, 200, 5, after=repaired)


# -------------------------------------------------------------------------------------------- damage


def changed(directory: made.Directory, **fields: object) -> made.Directory:
    header = layout.Header.unpack(bytes(directory[b"disk"][: layout.HEADER_SIZE]))._replace(**fields)
    return {b"disk": bytearray(header.pack()) + directory[b"disk"][layout.HEADER_SIZE :]}


@pytest.mark.parametrize(
    ("fields", "number", "words"),
    (
        ({"version": 1}, errno.EOPNOTSUPP, "version 0.1"),
        ({"type": 3}, errno.EOPNOTSUPP, "undo"),
        ({"type": 9}, errno.EUCLEAN, "type 9"),
        ({"block_size": 1000}, errno.EUCLEAN, "multiples of 512"),
        ({"block_size": 1 << 31}, errno.EUCLEAN, "multiples of 512"),
        ({"disk_size": 1 << 63}, errno.EUCLEAN, "less than the disk's"),
        ({"blocks": 0xFFFFFFFF}, errno.EUCLEAN, "block map of 4294967295"),
        ({"map_offset": 1 << 31}, errno.EUCLEAN, "block map"),
        ({"map_offset": 0}, errno.EUCLEAN, "block map"),
        ({"data_offset": 0}, errno.EUCLEAN, "inside the block map"),
        ({"type": 4}, errno.ENOENT, "parent="),
    ),
)
def test_headers_that_cannot_be(fields: dict[str, object], number: int, words: str) -> None:
    directory = changed(made.image("vdi", SIZE, b"content", block_size=16384), **fields)
    error = made.refused(directory)
    assert error.errno == number and words in error.strerror


@pytest.mark.parametrize(("entry", "words"), ((0, "two structures or blocks"), (7, "outside the file"), (50, "outside the file")))
def test_maps_that_cannot_be(entry: int, words: str) -> None:
    directory = made.image("vdi", SIZE, b"content" * 5000, block_size=16384)
    struct.pack_into("<I", directory[b"disk"], layout.MAP_OFFSET + 4, entry)
    assert words in made.refused(directory, writable=True).strerror
    assert any(finding.kind == "error" for finding in campaign.checked(MemoryFile(directory, b"disk")))


def test_parents_that_are_not_it() -> None:
    directory, flat = with_parent()
    parent = MemoryFile(directory, b"disk")
    assert made.content(directory, b"child", parent=parent) == flat
    made.add(directory, b"other", "vdi", SIZE)
    made.add(directory, b"raw", "raw", SIZE)
    for name, words in ((b"other", "has UUID"), (b"raw", "no VDI image"), (b"child", "itself or one of its children")):
        assert words in made.refused(directory, b"child", parent=MemoryFile(directory, name)).strerror, name
    with made.opened(directory, writable=True) as device:
        device.storage(0).write(0, b"x")
    assert "has been changed since" in made.refused(directory, b"child", parent=parent).strerror
    assert made.refused(directory, parent=MemoryFile(directory, b"other")).errno == errno.EINVAL


def test_snapshots_of_virtualbox() -> None:
    """All but the first of a chain lie beside each other, named by their UUIDs; `parent=` names the first, which is elsewhere."""
    base = made.image("vdi", SIZE, b"base" * 100_000, block_size=16384)
    flat = bytearray(made.content(base))
    snapshots: made.Directory = {}
    below, name = MemoryFile(base, b"disk"), b""
    for number in range(3):
        create = campaign.MODULE.create_options("vdi")(backing_file=below, block_size=16384)
        snapshots[b"new"] = bytearray()
        campaign.MODULE.create(MemoryFile(snapshots, b"new", True), "vdi", None, create)
        header = layout.Header.unpack(bytes(snapshots[b"new"][: layout.HEADER_SIZE]))
        name = b"{%s}.vdi" % uuid_text(header.uuid).encode()
        snapshots[name] = snapshots.pop(b"new")
        with made.opened(snapshots, name, True, parent=MemoryFile(base, b"disk")) as device:
            flat[number * 50_000 : number * 50_000 + 70_000] = bytes([number + 1]) * 70_000
            device.storage(0).write(number * 50_000, bytes([number + 1]) * 70_000)
        below = MemoryFile(snapshots, name)
        assert made.content(snapshots, name, parent=MemoryFile(base, b"disk")) == flat
    assert made.refused(snapshots, name).errno == errno.ENOENT
    other = made.refused(snapshots, name, parent=MemoryFile(made.image("vdi", SIZE), b"disk"))
    assert "has UUID" in other.strerror


@pytest.mark.parametrize("count", (40, pytest.param(500, marks=pytest.mark.slow)))
def test_mutations(tmp_path: Path, count: int) -> None:
    directory = made.image("vdi", SIZE, campaign.content(5, SIZE), block_size=16384)
    (tmp_path / "disk.vdi").write_bytes(directory[b"disk"])
    campaign.damage(tmp_path / "disk.vdi", [(0x40, 0x1A0), (layout.MAP_OFFSET, 200)], count, count)
