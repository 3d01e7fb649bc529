"""VHDX: qemu's images read, ours read by qemu and libvhdi, the log, changes against a flat model, crashes, damage."""

from __future__ import annotations

import errno
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests import vd_campaign as campaign
from tests import vd_made as made
from tests.vd_campaign import MemoryFile, Operation
from tests.vd_libvhdi import libvhdi
from vfs.vd.vhdx import layout
from vfs.vd.vhdx.headers import Headers, with_checksum
from vfs.vd.vhdx.journal import Journal

MIB = 1 << 20
SIZES = (512, 3 * MIB - 512, 9 * MIB + 1536)
SIZE = 5 * MIB + 69 * 512
KINDS = ("subformat=dynamic", "subformat=fixed", "subformat=dynamic,block_size=1M", "subformat=dynamic,block_state_zero=off")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("options", KINDS)
def test_images_of_qemu(tmp_path: Path, size: int, options: str) -> None:
    flat = campaign.make_raw(tmp_path / "raw", size, size)
    campaign.qemu_img("convert", "-f", "raw", "-O", "vhdx", "-o", options, tmp_path / "raw", tmp_path / "disk.vhdx")
    with campaign.opened_file(tmp_path / "disk.vhdx") as device:
        found = campaign.read_all(device.storage(0))
        assert found == campaign.as_raw(tmp_path / "disk.vhdx", "vhdx", tmp_path / "back") and found.startswith(flat)
    with campaign.FileStorage(str(tmp_path / "disk.vhdx")) as storage:
        assert campaign.checked(storage) == []
    changed = bytearray(found)
    todo = campaign.random_operations(campaign.random.Random(size), size, 12)
    campaign.against_model(lambda: campaign.opened_file(tmp_path / "disk.vhdx", True), changed, todo)
    campaign.qemu_check(tmp_path / "disk.vhdx", "vhdx")
    assert campaign.as_raw(tmp_path / "disk.vhdx", "vhdx", tmp_path / "back") == changed


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("options", ({}, {"subformat": "fixed", "block_size": MIB}, {"block_size": MIB, "log_size": 2 * MIB}))
def test_ours_read_by_others(tmp_path: Path, size: int, options: dict[str, Any]) -> None:
    path = tmp_path / "disk.vhdx"
    campaign.created(path, "vhdx", size, **options)
    campaign.qemu_check(path, "vhdx")
    flat = bytearray(size)
    todo = campaign.random_operations(campaign.random.Random(size), size, 30)
    campaign.against_model(lambda: campaign.opened_file(path, True), flat, todo)
    campaign.qemu_check(path, "vhdx")
    assert campaign.as_raw(path, "vhdx", tmp_path / "back") == flat
    assert libvhdi(path) == flat
    with campaign.FileStorage(str(path)) as storage:
        assert [finding for finding in campaign.checked(storage) if finding.kind != "leak"] == []


@pytest.mark.parametrize("block_size", (MIB, 2 * MIB, 256 * MIB))
def test_a_chain_read_by_libvhdi(tmp_path: Path, block_size: int) -> None:
    flat = bytearray(campaign.content(5, 9 * MIB))
    names = ["base.vhdx", "middle.vhdx", "top.vhdx"]
    for number, name in enumerate(names):
        path = tmp_path / name
        if number:
            with campaign.FileStorage(str(tmp_path / names[number - 1])) as parent:
                campaign.created(path, "vhdx", None, backing_file=parent, block_size=block_size)
        else:
            campaign.created(path, "vhdx", 9 * MIB)
            with campaign.opened_file(path, True) as device:
                device.storage(0).write(0, flat)
        todo = campaign.random_operations(campaign.random.Random(number), 9 * MIB, 25)
        campaign.against_model(lambda path=path: campaign.opened_file(path, True), flat, todo)  # type: ignore[misc]
        assert libvhdi(*(tmp_path / other for other in names[number::-1])) == flat, name
    with campaign.opened_file(path) as device:
        assert device.details()["parent"] == "middle.vhdx"


# -------------------------------------------------------------------------------------------- changes


def with_parent(**options: int) -> tuple[made.Directory, bytearray]:
    """A child larger than its parent, and with other blocks."""
    flat = bytearray(campaign.content(7, SIZE - 10240))
    directory = made.image("vhdx", len(flat), flat, block_size=2 * MIB)
    made.add(directory, b"child", "vhdx", SIZE, parent=b"disk", **options)
    return directory, flat + bytes(10240)


def without_leaks(directory: made.Directory, name: bytes) -> None:
    found = campaign.checked(MemoryFile(directory, name))
    assert all(finding.kind == "leak" for finding in found), found


def check_child(todo: list[Operation]) -> None:
    directory, flat = with_parent(block_size=MIB)
    below = bytes(directory[b"disk"])
    campaign.against_model(lambda: made.opened(directory, b"child", True), flat, todo)
    without_leaks(directory, b"child")
    assert directory[b"disk"] == below, "the parent has been written to"


def check_alone(todo: list[Operation]) -> None:
    directory = made.image("vhdx", SIZE, block_size=MIB)
    campaign.against_model(lambda: made.opened(directory, writable=True), bytearray(SIZE), todo)
    without_leaks(directory, b"disk")


def check_fixed_with_large_sectors(todo: list[Operation]) -> None:
    directory = made.image("vhdx", SIZE // 4096 * 4096, block_size=MIB, subformat="fixed", sector_size=4096)
    flat = bytearray(SIZE // 4096 * 4096)
    inside = [one for one in todo if one.offset + one.length <= len(flat)]
    campaign.against_model(lambda: made.opened(directory, writable=True), flat, inside)
    without_leaks(directory, b"disk")


def check_child_with_large_sectors(todo: list[Operation]) -> None:
    size = SIZE // 4096 * 4096
    flat = bytearray(campaign.content(7, size))
    directory = made.image("vhdx", size, flat, sector_size=4096)
    made.add(directory, b"child", "vhdx", None, parent=b"disk", block_size=2 * MIB, sector_size=4096)
    inside = [one for one in todo if one.offset + one.length <= size]
    campaign.against_model(lambda: made.opened(directory, b"child", True), flat, inside)
    without_leaks(directory, b"child")


CHECKS = pytest.mark.parametrize(
    "check", (check_alone, check_child, check_fixed_with_large_sectors, check_child_with_large_sectors)
)


@CHECKS
def test_against_a_flat_model(check: Callable[[list[Operation]], None]) -> None:
    settings(max_examples=6, deadline=None)(given(todo=campaign.operations(SIZE))(check))()


@pytest.mark.slow
@CHECKS
def test_against_a_flat_model_for_long(check: Callable[[list[Operation]], None]) -> None:
    settings(max_examples=150, deadline=None)(given(todo=campaign.operations(SIZE, most=60))(check))()


def test_places_of_unmapped_blocks_are_left_to_them() -> None:
    """Others leave the place in the entry of a block that they unmap, and may come back to it: unless it is another's."""
    directory = made.image("vhdx", 4 * MIB, b"x" * 4 * MIB, block_size=MIB)
    with made.opened(directory, writable=True) as device:
        device.storage(0).discard(0, 3 * MIB)
    file, start = directory[b"disk"], 4 * MIB
    assert [entry & 7 for entry in struct.unpack_from("<4Q", file, 3 * MIB)] == [2, 2, 2, 6]
    last = struct.unpack_from("<Q", file, 3 * MIB + 24)[0] & layout.OFFSET_MASK
    struct.pack_into("<3Q", file, 3 * MIB, start | layout.UNMAPPED, start | layout.UNMAPPED, last | layout.UNDEFINED)
    with made.opened(directory, writable=True) as device:
        device.storage(0).write(2 * MIB, b"y" * MIB)
    assert struct.unpack_from("<Q", file, 3 * MIB + 16)[0] & layout.OFFSET_MASK not in (start, last)
    assert made.content(directory) == bytes(2 * MIB) + b"y" * MIB + b"x" * MIB


def test_sectors_of_4096() -> None:
    directory = made.image("vhdx", 3 * MIB, sector_size=4096)
    with made.opened(directory) as device:
        assert device.storage(0).block_size == 4096 and device.storage(0).physical_block_size == 4096


def test_a_full_block_table_with_entries_of_bitmaps(tmp_path: Path) -> None:
    """Chunks of 16 blocks: a disk of more than one, without content."""
    campaign.created(tmp_path / "disk", "vhdx", 9 << 30, subformat="fixed", block_size=256 * MIB)
    with campaign.opened_file(tmp_path / "disk", True) as device:
        for at in range(0, 9 << 30, 512 * MIB):
            device.storage(0).write(at, b"%d" % at)
    campaign.qemu_check(tmp_path / "disk", "vhdx")
    command = [word for at in range(0, 9 << 30, 512 * MIB) for word in (f"read -P {ord(str(at)[0])} {at} 1",)]
    campaign.qemu_io(tmp_path / "disk", "vhdx", *command)


def test_a_dynamic_disk_of_64_tib(tmp_path: Path) -> None:
    campaign.created(tmp_path / "disk", "vhdx", 64 << 40)
    with campaign.opened_file(tmp_path / "disk", True) as device:
        device.storage(0).write((64 << 40) - 10, b"x" * 10)
    with campaign.opened_file(tmp_path / "disk") as device:
        assert device.storage(0).read((64 << 40) - 12, 12) == b"\0\0" + b"x" * 10
        first = device.storage(0).extents(0, 64 << 40)[0]
        assert first.hole and first.length >= (64 << 40) - (32 << 20)


# -------------------------------------------------------------------------------------------- the log


def in_the_log(directory: made.Directory, changes: list[tuple[int, bytes]]) -> None:
    """Write an image's log, but not what is in it."""
    before = bytes(directory[b"disk"])
    file = MemoryFile(directory, b"disk", True)
    headers = Headers(file)
    journal = Journal(file, headers)
    journal.begin()
    journal.write([(offset, bytearray(content)) for offset, content in changes])
    for offset, content in changes:
        directory[b"disk"][offset : offset + len(content)] = before[offset : offset + len(content)]


def logged() -> tuple[made.Directory, bytearray]:
    """An image whose block table is in the log only."""
    flat = bytearray(campaign.content(9, SIZE))
    directory = made.image("vhdx", SIZE, flat, block_size=MIB)
    table = 3 * MIB
    content = bytes(directory[b"disk"][table : table + 4096])
    assert any(content)
    directory[b"disk"][table : table + 4096] = bytes(4096)
    in_the_log(directory, [(table, content)])
    assert directory[b"disk"][table : table + 4096] == bytes(4096)
    return directory, flat


def test_a_log_is_replayed_in_memory() -> None:
    directory, flat = logged()
    before = bytes(directory[b"disk"])
    assert made.content(directory) == flat
    assert directory[b"disk"] == before
    assert [finding.kind for finding in campaign.checked(MemoryFile(directory, b"disk"))] == ["warning"]
    with made.opened(directory) as device:
        assert "holds changes" in str(device.details()["log"])


def test_a_log_is_replayed_into_the_file() -> None:
    directory, flat = logged()
    with made.opened(directory, writable=True) as device:
        assert campaign.read_all(device.storage(0)) == flat
    assert campaign.checked(MemoryFile(directory, b"disk")) == []
    assert made.content(directory) == flat


def test_our_log_is_replayed_by_qemu(tmp_path: Path) -> None:
    directory, flat = logged()
    (tmp_path / "disk.vhdx").write_bytes(directory[b"disk"])
    compare = ["qemu-img", "compare", tmp_path / "disk.vhdx", tmp_path / "disk.vhdx"]
    refused = subprocess.run(compare, capture_output=True, text=True)
    assert "log that needs to be replayed" in refused.stderr
    campaign.qemu_img("check", "-r", "all", tmp_path / "disk.vhdx")
    assert campaign.as_raw(tmp_path / "disk.vhdx", "vhdx", tmp_path / "back") == flat


def test_entries_that_are_not_whole_are_not_replayed() -> None:
    directory = logged()[0]
    directory[b"disk"][MIB + 4096 + 100] ^= 1
    assert made.content(directory) == bytes(SIZE), "nothing is in the block table"


def entry(sequence: int, tail: int, guid: bytes, changes: list[tuple[int, int, bytes | None]], size: int) -> bytes:
    """One entry of a log, as the specification has it: (offset, length of zeros, or content)."""
    head = layout.LogHeader(b"loge", 0, 0, tail, sequence, len(changes), 0, guid, size, size)
    descriptors, sectors = b"", b""
    for offset, zeros, content in changes:
        if content is None:
            descriptors += struct.pack("<4sIQQQ", b"zero", 0, zeros, offset, sequence)
        else:
            descriptors += struct.pack("<4s4s8sQQ", b"desc", content[-4:], content[:8], offset, sequence)
            sectors += struct.pack("<4sI4084sI", b"data", sequence >> 32, content[8:-4], sequence & 0xFFFFFFFF)
    length = -(-(64 + len(descriptors)) // 4096) * 4096 + len(sectors)
    raw = (head._replace(length=length).pack() + descriptors).ljust(length - len(sectors), b"\0") + sectors
    return with_checksum(raw)


def with_log(directory: made.Directory, place: int, entries: list[bytes], guid: bytes) -> None:
    """A ring of 1 MiB with these entries from *place* on."""
    ring = bytearray(MIB)
    for raw in entries:
        for at in range(0, len(raw), 4096):
            ring[place % MIB : place % MIB + 4096] = raw[at : at + 4096]
            place += 4096
    directory[b"disk"][MIB : 2 * MIB] = ring
    Headers(MemoryFile(directory, b"disk", True)).update(log_guid=guid)


@pytest.mark.parametrize("place", (0, MIB - 8192, MIB - 4096))
def test_entries_that_follow_each_other_around_the_end(place: int) -> None:
    flat = bytearray(campaign.content(9, 3 * MIB))
    directory = made.image("vhdx", 3 * MIB, flat, block_size=MIB)
    data, guid, size = 4 * MIB, b"g" * 16, len(directory[b"disk"])
    old, new = bytes(b"o" * 4096), bytes(range(256)) * 16
    second = (place + 8192) % MIB
    many = [(data + 65536 + 4096 * number, 0, new) for number in range(150)]
    entries = [
        entry(2**32 + 6, place, guid, [(data, 0, new)], size),  # flushed long ago: the tail of the next ones is behind it
        entry(2**32 + 7, second, guid, [(data, 0, old), (data + 8192, 16384, None)], size),
        entry(2**32 + 8, second, guid, [(data, 0, new), (data + 4096, 8192, None), *many], size),
    ]
    with_log(directory, place, entries, guid)
    flat[:4096] = new
    flat[4096 : 8192 + 16384] = bytes(4096 + 16384)
    flat[65536 : 65536 + 150 * 4096] = new * 150
    assert made.content(directory) == flat
    with made.opened(directory) as device:
        disk = device.storage(0)
        for offset, length in ((0, 1), (4095, 2), (8000, 500), (24576, 1), (65000, 5000), (MIB - 1, 2)):
            assert disk.read(offset, length) == flat[offset : offset + length]
    # Another entry with a higher number that is not whole counts for nothing; nor does one of another log.
    broken = bytearray(entry(2**32 + 9, second, guid, [(data, 0, old)], size))
    broken[5000] ^= 1
    with_log(directory, place, [*entries, bytes(broken)], guid)
    assert made.content(directory) == flat
    with_log(directory, place, [*entries, entry(2**32 + 9, second, b"h" * 16, [(data, 0, old)], size)], guid)
    assert made.content(directory) == flat
    with made.opened(directory, writable=True) as device:
        assert campaign.read_all(device.storage(0)) == flat
    assert campaign.checked(MemoryFile(directory, b"disk")) == []


@pytest.mark.parametrize(
    ("change", "size", "words"),
    (
        ((1 << 60, 0, b"x" * 4096), 0, "descriptor 0"),
        ((4 * MIB, 1 << 60, None), 0, "descriptor 0"),
        ((4 * MIB + 1, 0, b"x" * 4096), 0, "descriptor 0"),
        ((4 * MIB, 0, b"x" * 4096), 1 << 62, "a file of"),
    ),
)
def test_logs_that_cannot_be(change: tuple[int, int, bytes | None], size: int, words: str) -> None:
    directory = made.image("vhdx", 3 * MIB, b"content", block_size=MIB)
    raw = bytearray(entry(1, 0, b"g" * 16, [change], len(directory[b"disk"])))
    if size:
        struct.pack_into("<Q", raw, 56, size)
    with_log(directory, 0, [with_checksum(bytes(raw))], b"g" * 16)
    before = bytes(directory[b"disk"])
    for writable in (False, True):
        error = made.refused(directory, writable=writable)
        assert error.errno == errno.EUCLEAN and words in error.strerror
    assert directory[b"disk"] == before


def test_logs_whose_entries_overlap() -> None:
    """A thousand heads, each of an entry as long as the log: in bounded time."""
    directory = made.image("vhdx", 3 * MIB, b"content", block_size=MIB)
    heads = []
    for number in range(256):
        head = layout.LogHeader(b"loge", 0, MIB, number * 4096, number + 1, 0, 0, b"g" * 16, 0, 0)
        heads.append(head.pack().ljust(4096, b"\0"))
    with_log(directory, 0, heads, b"g" * 16)
    assert "overlap" in made.refused(directory).strerror


def test_a_file_shorter_than_the_log_knows_it() -> None:
    directory = made.image("vhdx", 3 * MIB, b"content", block_size=MIB)
    size = len(directory[b"disk"])
    with_log(directory, 0, [entry(1, 0, b"g" * 16, [(4 * MIB, 0, b"x" * 4096)], size + MIB)], b"g" * 16)
    assert "when the log was written" in made.refused(directory).strerror


# -------------------------------------------------------------------------------------------- crashes


@pytest.mark.parametrize("seed", range(2))
def test_power_cuts(seed: int) -> None:
    campaign.power_cuts(made.image("vhdx", SIZE, block_size=MIB), b"disk", seed, 40, 6)
    campaign.power_cuts(with_parent(block_size=MIB)[0], b"child", seed, 40, 6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 130))
def test_many_power_cuts(seed: int) -> None:
    campaign.power_cuts(made.image("vhdx", SIZE, block_size=MIB), b"disk", seed, 100, 30)
    campaign.power_cuts(with_parent(block_size=MIB)[0], b"child", seed, 100, 30)


@pytest.mark.slow
def test_kills(tmp_path: Path) -> None:
    path = tmp_path / "disk.vhdx"
    campaign.created(path, "vhdx", 40 * MIB, block_size=MIB)
    replay = ["qemu-img", "check", "-q", "-r", "all", str(path)]

    def by_qemu(path: Path) -> None:
        assert subprocess.run(replay).returncode == 0
        campaign.qemu_check(path, "vhdx")

    campaign.kills(path, 100, 5)
    campaign.kills(path, 100, 6, after=by_qemu)


# -------------------------------------------------------------------------------------------- damage


def header(directory: made.Directory, **fields: object) -> None:
    for offset in layout.HEADER_OFFSETS:
        found = layout.Header.unpack(bytes(directory[b"disk"][offset : offset + 4096]))._replace(**fields)
        directory[b"disk"][offset : offset + 4096] = with_checksum(found.pack())


def region(directory: made.Directory, at: int, form: str, value: int) -> None:
    """A number of the region tables, at *at* of the first entry (the block table's)."""
    for offset in layout.REGION_OFFSETS:
        struct.pack_into(form, directory[b"disk"], offset + 16 + at, value)
        raw = bytes(directory[b"disk"][offset : offset + 65536])
        directory[b"disk"][offset : offset + 65536] = with_checksum(raw)


def metadata(directory: made.Directory, at: int, form: str, value: int) -> None:
    """A number in the metadata items, which begin with block size (0), flags (4), disk size (8), and sectors (32, 36)."""
    struct.pack_into(form, directory[b"disk"], 2 * MIB + 65536 + at, value)


@pytest.mark.parametrize(
    ("change", "arguments", "number", "words"),
    (
        (header, {"version": 2}, errno.EOPNOTSUPP, "version 2"),
        (header, {"log_offset": 1 << 62}, errno.EUCLEAN, "a log of"),
        (header, {"log_offset": 5000}, errno.EUCLEAN, "a log of"),
        (header, {"log_length": 2 * MIB}, errno.EUCLEAN, "overlap"),
        (header, {"log_guid": b"x" * 16, "log_version": 1}, errno.EOPNOTSUPP, "log is of version 1"),
        (region, {"at": 16, "form": "<Q", "value": 1 << 62}, errno.EUCLEAN, "region 0"),
        (region, {"at": 16, "form": "<Q", "value": 2 * MIB}, errno.EUCLEAN, "overlap"),
        (region, {"at": 24, "form": "<I", "value": 0}, errno.EUCLEAN, "too small"),
        (region, {"at": 0, "form": "<I", "value": 1}, errno.EOPNOTSUPP, "unknown"),
        (metadata, {"at": 0, "form": "<I", "value": 0}, errno.EUCLEAN, "blocks of 0"),
        (metadata, {"at": 0, "form": "<I", "value": 1 << 31}, errno.EUCLEAN, "powers of two"),
        (metadata, {"at": 8, "form": "<Q", "value": 1 << 63}, errno.EUCLEAN, "whole sectors"),
        (metadata, {"at": 8, "form": "<Q", "value": 1 << 45}, errno.EUCLEAN, "too small"),
        (metadata, {"at": 8, "form": "<Q", "value": 513}, errno.EUCLEAN, "whole sectors"),
        (metadata, {"at": 32, "form": "<I", "value": 1000}, errno.EUCLEAN, "sectors of 1000"),
        (metadata, {"at": 4, "form": "<I", "value": 2}, errno.EUCLEAN, "no parent locator"),
    ),
)
def test_structures_that_cannot_be(change: Callable[..., None], arguments: dict[str, Any], number: int, words: str) -> None:
    directory = made.image("vhdx", SIZE, b"content", block_size=MIB)
    change(directory, **arguments)
    error = made.refused(directory)
    assert error.errno == number and words in error.strerror


def test_one_of_two_headers_or_region_tables_is_enough() -> None:
    for places in ((65536, 192 << 10), (128 << 10, 256 << 10)):
        directory = made.image("vhdx", SIZE, b"content", block_size=MIB)
        for place in places:
            directory[b"disk"][place + 20] ^= 1
        assert made.content(directory).startswith(b"content")
        kinds = [finding.kind for finding in campaign.checked(MemoryFile(directory, b"disk"))]
        assert kinds == ["warning", "warning"]
    for both, words in ((layout.HEADER_OFFSETS, "both VHDX headers"), (layout.REGION_OFFSETS, "both region tables")):
        directory = made.image("vhdx", SIZE, b"content", block_size=MIB)
        for place in both:
            directory[b"disk"][place + 20] ^= 1
        assert words in made.refused(directory).strerror


@pytest.mark.parametrize(
    ("value", "words"),
    (
        (4, "state 4"),
        (7 | 4 * MIB, "state 7"),
        (6 | 1 << 50, "outside the file"),
        (6 | 5 * MIB, "two structures or blocks"),
        (6 | 3 * MIB, "two structures or blocks"),
    ),
)
def test_tables_that_cannot_be(value: int, words: str) -> None:
    directory = made.image("vhdx", SIZE, b"content" * 500_000, block_size=MIB)
    struct.pack_into("<Q", directory[b"disk"], 3 * MIB, value)
    assert words in made.refused(directory, writable=True).strerror
    assert any(finding.kind == "error" for finding in campaign.checked(MemoryFile(directory, b"disk")))


def corrected(file: bytearray) -> bytearray:
    """With checksums that are right, as far as the structures are where they belong."""
    for places, length in ((layout.HEADER_OFFSETS, 4096), (layout.REGION_OFFSETS, 65536)):
        for at in places:
            file[at : at + length] = with_checksum(bytes(file[at : at + length]))
    (length,) = struct.unpack_from("<I", file, MIB + 8)
    if 4096 <= length <= MIB:
        file[MIB : MIB + length] = with_checksum(bytes(file[MIB : MIB + length]))
    return file


@pytest.mark.parametrize("count", (40, pytest.param(1500, marks=pytest.mark.slow)))
def test_mutations_whose_checksums_are_right(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryFile, "largest", 24 * MIB)
    directory, _ = logged()
    file = bytes(directory[b"disk"])
    places = [(at, 80) for at in layout.HEADER_OFFSETS + layout.REGION_OFFSETS] + [(MIB, 128), (MIB + 4096, 4096)]
    for number in range(count):
        changed = bytearray(campaign.mutated(file, campaign.random.Random(number), places))
        before = time.monotonic()
        campaign.look_at_everything({b"disk": corrected(changed) if len(changed) > 2 * MIB else changed}, b"disk")
        assert time.monotonic() - before < campaign.SECONDS, number


def test_parents_that_are_not_it() -> None:
    directory, flat = with_parent()
    made.add(directory, b"other", "vhdx", SIZE)
    made.add(directory, b"raw", "raw", SIZE)
    assert made.content(directory, b"child") == flat
    for name, words in ((b"other", "is not its parent"), (b"raw", "no VHDX image"), (b"child", "itself or one of its children")):
        assert words in made.refused(directory, b"child", parent=MemoryFile(directory, name)).strerror, name
    assert made.refused(directory, b"other", parent=MemoryFile(directory, b"raw")).errno == errno.EINVAL
    with made.opened(directory, writable=True) as device:
        device.storage(0).write(0, b"x")
    assert "has been changed since" in made.refused(directory, b"child").strerror
    del directory[b"disk"]
    assert "'disk' is missing" in made.refused(directory, b"child").strerror


def test_names_of_parents() -> None:
    directory, _ = with_parent()
    file = directory[b"child"]
    at = file.index(".\\disk".encode("utf-16-le"))
    for name, number in (("\\\\disk", 0), ("..disk", errno.ENOENT), ("/a/b/c", errno.ENOENT)):
        file[at : at + 12] = name.encode("utf-16-le")[:12].ljust(12, b"\0")
        if number:
            assert made.refused(directory, b"child").errno == number
        else:
            made.content(directory, b"child")
    at = file.index("relative_path".encode("utf-16-le"))
    file[at : at + 26] = "absolute_path".encode("utf-16-le")
    assert made.refused(directory, b"child").errno == errno.ENOENT


@pytest.mark.parametrize("count", (40, pytest.param(500, marks=pytest.mark.slow)))
def test_mutations(tmp_path: Path, count: int) -> None:
    directory = made.image("vhdx", MIB, campaign.content(7, MIB), block_size=MIB)
    made.add(directory, b"child", "vhdx", 2 * MIB, parent=b"disk", block_size=MIB)
    with made.opened(directory, b"child", True) as device:
        device.storage(0).write(100_000, b"x" * 100_000)
    for name, file in directory.items():
        (tmp_path / name.decode()).write_bytes(file)
    places = [(2 * MIB, 32 * 7), (2 * MIB + 65536, 300), (3 * MIB, 100), (3 * MIB + 8 * 4096, 8)]
    campaign.damage(tmp_path / "child", places, count, count)
