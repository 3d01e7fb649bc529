"""VHD: qemu's images read, ours read by qemu and libvhdi, changes against a flat model, crashes, damage."""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from tests import vd_campaign as campaign
from tests import vd_made as made
from tests.vd_campaign import MemoryFile, Operation
from tests.vd_libvhdi import libvhdi
from vfs.vd.vhd import layout
from vfs.vd.vhd.create import geometry

MIB = 1 << 20
SIZES = (512 * 68, 3 * MIB - 512, 9 * MIB + 1536)
SIZE = 700_000 // 512 * 512


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("force_size", ("off", "on"))
@pytest.mark.parametrize("subformat", ("dynamic", "fixed"))
def test_images_of_qemu(tmp_path: Path, size: int, subformat: str, force_size: str) -> None:
    campaign.make_raw(tmp_path / "raw", size, size)
    options = f"subformat={subformat},force_size={force_size}"
    campaign.qemu_img("convert", "-f", "raw", "-O", "vpc", "-o", options, tmp_path / "raw", tmp_path / "disk.vhd")
    flat = campaign.as_raw(tmp_path / "disk.vhd", "vpc", tmp_path / "back")
    assert len(flat) == size if force_size == "on" else len(flat) >= size
    with campaign.opened_file(tmp_path / "disk.vhd") as device:
        assert campaign.read_all(device.storage(0)) == flat
        assert device.details()["subformat"] == subformat
    with campaign.FileStorage(str(tmp_path / "disk.vhd")) as storage:
        assert campaign.checked(storage) == []
    changed = bytearray(flat)
    todo = campaign.random_operations(campaign.random.Random(size), size, 12)
    campaign.against_model(lambda: campaign.opened_file(tmp_path / "disk.vhd", True), changed, todo)
    assert campaign.as_raw(tmp_path / "disk.vhd", "vpc", tmp_path / "back") == changed


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("subformat", ("dynamic", "fixed"))
def test_ours_read_by_others(tmp_path: Path, size: int, subformat: str) -> None:
    path = tmp_path / "disk.vhd"
    campaign.created(path, "vhd", size, subformat=subformat)
    flat = bytearray(size)
    todo = campaign.random_operations(campaign.random.Random(size), size, 30)
    campaign.against_model(lambda: campaign.opened_file(path, True), flat, todo)
    assert campaign.as_raw(path, "vpc", tmp_path / "back") == flat
    assert libvhdi(path) == flat
    with campaign.FileStorage(str(path)) as storage:
        assert [finding for finding in campaign.checked(storage) if finding.kind != "leak"] == []


def test_a_chain_read_by_libvhdi(tmp_path: Path) -> None:
    flat = bytearray(campaign.content(5, 9 * MIB))
    names = ["base.vhd", "middle.vhd", "top.vhd"]
    for number, name in enumerate(names):
        path = tmp_path / name
        if number:
            with campaign.FileStorage(str(tmp_path / names[number - 1])) as parent:
                campaign.created(path, "vhd", None, backing_file=parent)
        else:
            campaign.created(path, "vhd", 9 * MIB)
            with campaign.opened_file(path, True) as device:
                device.storage(0).write(0, flat)
        # In whole bytes of the bitmap: libvhdi takes all sectors of a byte behind its first set bit for present.
        todo = campaign.random_operations(campaign.random.Random(number), 9 * MIB, 25, unit=4096)
        campaign.against_model(lambda path=path: campaign.opened_file(path, True), flat, todo)  # type: ignore[misc]
        assert libvhdi(*(tmp_path / other for other in names[number::-1])) == flat, name
    with campaign.opened_file(path) as device:
        assert device.details()["parent"] == "middle.vhd"


# -------------------------------------------------------------------------------------------- changes


def with_parent(**options: int) -> tuple[made.Directory, bytearray]:
    """A child larger than its parent, and with other blocks."""
    flat = bytearray(campaign.content(7, SIZE - 10240))
    directory = made.image("vhd", len(flat), flat, block_size=16384)
    made.add(directory, b"child", "vhd", SIZE, parent=b"disk", **options)
    return directory, flat + bytes(10240)


def without_leaks(directory: made.Directory, name: bytes) -> None:
    assert all(finding.kind == "leak" for finding in campaign.checked(MemoryFile(directory, name)))


def check_child(todo: list[Operation]) -> None:
    directory, flat = with_parent(block_size=8192)
    below = bytes(directory[b"disk"])
    campaign.against_model(lambda: made.opened(directory, b"child", True), flat, todo)
    without_leaks(directory, b"child")
    assert directory[b"disk"] == below, "the parent has been written to"


def check_alone(todo: list[Operation]) -> None:
    directory = made.image("vhd", SIZE, block_size=16384)
    campaign.against_model(lambda: made.opened(directory, writable=True), bytearray(SIZE), todo)
    without_leaks(directory, b"disk")


def check_fixed(todo: list[Operation]) -> None:
    made.against_model(made.image("vhd", SIZE, subformat="fixed"), b"disk", bytearray(SIZE), todo)


CHECKS = pytest.mark.parametrize("check", (check_alone, check_child, check_fixed))


@CHECKS
def test_against_a_flat_model(check: Callable[[list[Operation]], None]) -> None:
    settings(max_examples=12, deadline=None)(given(todo=campaign.operations(SIZE))(check))()


@pytest.mark.slow
@CHECKS
def test_against_a_flat_model_for_long(check: Callable[[list[Operation]], None]) -> None:
    settings(max_examples=400, deadline=None)(given(todo=campaign.operations(SIZE, most=60))(check))()


def test_gaps_are_filled() -> None:
    flat = bytearray(b"x" * SIZE)
    directory = made.image("vhd", SIZE, flat, block_size=16384)
    whole = len(directory[b"disk"])
    with made.opened(directory, writable=True) as device:
        device.storage(0).discard(16384, 10 * 16384)
    with made.opened(directory, writable=True) as device:
        device.storage(0).write(2 * 16384, b"y" * 100)
        device.storage(0).write(4 * 16384, b"z" * 5 * 16384)
    flat[16384 : 11 * 16384] = bytes(10 * 16384)
    flat[2 * 16384 : 2 * 16384 + 100] = b"y" * 100
    flat[4 * 16384 : 9 * 16384] = b"z" * 5 * 16384
    assert made.content(directory) == flat
    assert len(directory[b"disk"]) == whole


def test_a_footer_of_511_bytes() -> None:
    directory = made.image("vhd", 4096, b"content" * 100, subformat="fixed")
    del directory[b"disk"][-1:]
    assert made.content(directory).startswith(b"content")


@pytest.mark.parametrize("creator", (b"vpc ", b"vs  ", b"qemu", b"win ", b"vbox", b"tap\0"))
def test_whose_size_counts(creator: bytes) -> None:
    directory = made.image("vhd", SIZE, subformat="fixed")
    footer = layout.Footer.unpack(bytes(directory[b"disk"][-512:]))
    directory[b"disk"][-512:] = footer._replace(creator=creator).pack()
    cylinders, heads, sectors = geometry(SIZE)
    size = cylinders * heads * sectors * 512 if creator in (b"vpc ", b"vs  ", b"qemu") else SIZE
    assert len(made.content(directory)) == size != 0


@pytest.mark.parametrize("size", (0, 512, 68 * 512, 40 * MIB, 504 * MIB, 1 << 30, 127 << 30, 500 << 30, 2 << 40))
def test_geometry_is_the_largest_that_fits(size: int, tmp_path: Path) -> None:
    cylinders, heads, sectors = geometry(size)
    assert cylinders * heads * sectors * 512 <= size
    if 40 * MIB <= size < 127 << 30:
        campaign.qemu_img("create", "-f", "vpc", tmp_path / "disk", str(size))
        footer = layout.Footer.unpack((tmp_path / "disk").read_bytes()[:512])
        assert abs(footer.cylinders - cylinders) <= 1 and (footer.heads, footer.sectors) == (heads, sectors)


# -------------------------------------------------------------------------------------------- crashes


@pytest.mark.parametrize("seed", range(3))
def test_power_cuts(seed: int) -> None:
    campaign.power_cuts(made.image("vhd", SIZE, block_size=16384), b"disk", seed, 60, 20)
    campaign.power_cuts(with_parent(block_size=8192)[0], b"child", seed, 60, 20)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 130))
def test_many_power_cuts(seed: int) -> None:
    campaign.power_cuts(made.image("vhd", SIZE, block_size=16384), b"disk", seed, 150, 50)
    campaign.power_cuts(with_parent(block_size=8192)[0], b"child", seed, 150, 50)


# -------------------------------------------------------------------------------------------- damage


def changed(directory: made.Directory, name: bytes = b"disk", **fields: object) -> made.Directory:
    """Fields of the footer, its copy and the header are changed; checksums are right."""
    file = bytearray(directory[name])
    footer = layout.Footer.unpack(bytes(file[-512:]))
    file[-512:] = footer._replace(**{k: v for k, v in fields.items() if k in footer._fields and k != "block_size"}).pack()
    if footer.type != layout.FIXED:
        file[:512] = file[-512:]
        header = layout.Header.unpack(bytes(file[512:1536]))
        only = {k: v for k, v in fields.items() if k in header._fields and k not in footer._fields}
        file[512:1536] = header._replace(**only).pack()
    return directory | {name: file}


@pytest.mark.parametrize(
    ("fields", "number", "words"),
    (
        ({"version": 2 << 16}, errno.EOPNOTSUPP, "version 2"),
        ({"type": 5}, errno.EUCLEAN, "type 5"),
        ({"type": 2}, errno.EUCLEAN, "only"),
        ({"size": 1 << 63}, errno.EUCLEAN, "at most"),
        ({"size": 1 << 40}, errno.EUCLEAN, "less than the disk's"),
        ({"header_offset": 1 << 62}, errno.EUCLEAN, "header at"),
        ({"header_offset": 0}, errno.EUCLEAN, "no dynamic disk header"),
        ({"block_size": 1000}, errno.EUCLEAN, "powers of two"),
        ({"block_size": 1 << 31}, errno.EUCLEAN, "powers of two"),
        ({"entries": 0xFFFFFFFF}, errno.EUCLEAN, "block table of 4294967295"),
        ({"table_offset": 1 << 63}, errno.EUCLEAN, "block table"),
        ({"type": 4}, errno.ENOENT, "parent="),
    ),
)
def test_headers_that_cannot_be(fields: dict[str, object], number: int, words: str) -> None:
    directory = changed(made.image("vhd", SIZE, b"content", block_size=16384), **fields)
    if fields == {"type": 4}:
        directory = changed(directory, parent_name="gone.vhd".encode("utf-16-be"))
    error = made.refused(directory)
    assert error.errno == number and words in error.strerror


def test_checksums() -> None:
    directory = made.image("vhd", SIZE, b"content", block_size=16384)
    for places, words in (((100, -400), "VHD footer"), ((600,), "disk header")):
        damaged = {b"disk": bytearray(directory[b"disk"])}
        for place in places:
            damaged[b"disk"][place] ^= 1
        error = made.refused(damaged)
        assert error.errno == errno.EUCLEAN and words in error.strerror
    damaged = {b"disk": bytearray(directory[b"disk"])}
    damaged[b"disk"][-400] ^= 1
    assert made.content(damaged) == made.content(directory), "the copy at the beginning counts"
    with made.opened(damaged, writable=True) as device:
        device.storage(0).write(0, b"content")
    assert damaged[b"disk"] == directory[b"disk"], "and goes to the end again"


@pytest.mark.parametrize(
    ("entry", "words"), ((3, "block table"), (1 << 30, "outside the file"), (38, "two structures or blocks"))
)
def test_tables_that_cannot_be(entry: int, words: str) -> None:
    directory = made.image("vhd", SIZE, b"content" * 5000, block_size=16384)
    first = struct.unpack_from(">I", directory[b"disk"], 1536)[0]
    struct.pack_into(">I", directory[b"disk"], 1536 + 4, first if entry < 0 else entry)
    assert words in made.refused(directory, writable=True).strerror
    assert any(finding.kind == "error" for finding in campaign.checked(MemoryFile(directory, b"disk")))


def named(relative: str = "", name: str = "", absolute: str = "") -> made.Directory:
    """A child that calls its parent by these names."""
    directory, _ = with_parent(block_size=16384)
    locators, at = [], len(directory[b"child"]) - 512
    file = directory[b"child"]
    for platform, path in ((layout.RELATIVE, relative), (layout.ABSOLUTE, absolute)):
        if path:
            raw = path.encode("utf-16-le")
            file[at:at] = raw.ljust(512, b"\0")
            locators.append(layout.Locator(platform, 512, len(raw), 0, at))
            at += 512
    packed = layout.pack_locators(locators)
    return changed(directory, b"child", locators=packed, parent_name=name.encode("utf-16-be"))


@pytest.mark.parametrize(
    ("relative", "name", "absolute", "number"),
    (
        (".\\disk", "", "", 0),
        ("disk", "", "C:\\elsewhere\\disk", 0),
        ("..\\base\\disk", "", "", 0),  # a relative path: the file of that name, if it lies beside the child
        ("", "disk", "C:\\elsewhere\\x", 0),
        ("", "", "C:\\elsewhere\\disk", errno.EINVAL),
        ("", "/etc/shadow", "", errno.EINVAL),
        ("..\\..\\etc\\passwd", "", "", errno.ENOENT),
        ("", "", "", errno.ENOENT),
    ),
)
def test_names_of_parents(relative: str, name: str, absolute: str, number: int) -> None:
    directory = named(relative, name, absolute)
    if number:
        error = made.refused(directory, b"child")
        assert error.errno == number and ("parent=" in error.strerror or "plain name" in error.strerror)
    else:
        assert made.content(directory, b"child") == with_parent()[1]
    assert made.content(directory, b"child", parent=MemoryFile(directory, b"disk")) == with_parent()[1]


def test_parents_that_are_not_it() -> None:
    directory, _ = with_parent()
    made.add(directory, b"other", "vhd", SIZE)
    made.add(directory, b"raw", "raw", SIZE)
    for name, words in ((b"other", "has UUID"), (b"raw", "no VHD image"), (b"child", "itself or one of its children")):
        assert words in made.refused(directory, b"child", parent=MemoryFile(directory, name)).strerror, name
    del directory[b"disk"]
    assert "'disk' is missing" in made.refused(directory, b"child").strerror
    assert made.refused(directory, b"other", parent=MemoryFile(directory, b"raw")).errno == errno.EINVAL


def corrected(file: bytearray) -> bytearray:
    """With checksums that are right, and the same footer at both ends."""
    file[:512] = layout.Footer.unpack(bytes(file[:512])).pack()
    file[512:1536] = layout.Header.unpack(bytes(file[512:1536])).pack()
    file[-512:] = file[:512]
    return file


@pytest.mark.parametrize("count", (40, pytest.param(1500, marks=pytest.mark.slow)))
def test_mutations_whose_checksums_are_right(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryFile, "largest", 8 * MIB)
    directory, _ = with_parent(block_size=16384)
    with made.opened(directory, b"child", True) as device:
        device.storage(0).write(100_000, b"x" * 100_000)
    file = bytes(directory[b"child"])
    for number in range(count):
        changed = bytearray(campaign.mutated(file, campaign.random.Random(number), [(0, 85), (512, 0x2D0), (1536, 250)]))
        if len(changed) > 4096:
            corrected(changed)
        before = time.monotonic()
        campaign.look_at_everything(directory | {b"child": changed}, b"child")
        assert time.monotonic() - before < campaign.SECONDS, number


@pytest.mark.parametrize("count", (40, pytest.param(500, marks=pytest.mark.slow)))
def test_mutations(tmp_path: Path, count: int) -> None:
    directory, _ = with_parent(block_size=16384)
    with made.opened(directory, b"child", True) as device:
        device.storage(0).write(100_000, b"x" * 100_000)
    for name, file in directory.items():
        (tmp_path / name.decode()).write_bytes(file)
    campaign.damage(tmp_path / "child", [(0, 85), (512, 0x2D0), (1536, 250)], count, count)
