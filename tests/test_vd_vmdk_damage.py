"""VMDK, hostile and damaged: errors with a sentence, in little time and memory, and never a file that lies elsewhere."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import vd_campaign as campaign
from tests import vmdk_builder as builder
from vfs.api import ERROR, LEAK, WARNING, FileStorage, Finding
from vfs.vd.vmdk import layout

SIZE = 3 << 20


def findings(path: Path) -> list[Finding]:
    with FileStorage(str(path)) as storage:
        return campaign.checked(storage)


def kinds(path: Path) -> list[str]:
    return [finding.kind for finding in findings(path)]


def sparse(path: Path, kind: str = "monolithicSparse") -> bytes:
    """An image of qemu-img's making; its content."""
    flat = campaign.make_raw(path.with_suffix(".raw"), 21, SIZE)
    campaign.qemu_img("convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={kind}", path.with_suffix(".raw"), path)
    path.with_suffix(".raw").unlink()
    return flat


def header_of(path: Path) -> layout.SparseHeader:
    return layout.SparseHeader.unpack(path.read_bytes()[:512])


def patch(path: Path, position: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        file.write(content)


# -------------------------------------------------------------------------------------------- redundant tables


def test_the_redundant_tables_are_used(tmp_path: Path) -> None:
    path = tmp_path / "disk.vmdk"
    flat = sparse(path)
    whole = path.read_bytes()
    header = header_of(path)
    directory = header.directory * 512
    table = int.from_bytes(whole[directory : directory + 4], "little") * 512
    entry = next(at for at in range(table, table + 2048, 4) if whole[at : at + 4] != bytes(4))
    for position, content in (
        (0x38, struct.pack("<Q", 1 << 40)),  # gdOffset
        (directory, struct.pack("<I", 0x7FFFFFFF)),
        (directory, bytes(4)),
        (entry, struct.pack("<I", 0xFFFFFFF0)),
        (entry, struct.pack("<I", 1)),
    ):
        path.write_bytes(whole)
        patch(path, position, content)
        with campaign.opened_file(path) as device:
            assert campaign.read_all(device.storage(0)) == flat
        assert findings(path), "check has seen nothing"
        if position == 0x38:
            with pytest.raises(OSError, match="can only be read") as caught, campaign.opened_file(path, True) as device:
                device.storage(0).write(0, b"x")
            assert caught.value.errno == errno.EUCLEAN
            continue
        with campaign.opened_file(path, True) as device:
            device.storage(0).write(5, b"mended")
        with campaign.opened_file(path) as device:
            assert campaign.read_all(device.storage(0)) == flat[:5] + b"mended" + flat[11:]
        campaign.qemu_img("convert", "-f", "vmdk", "-O", "raw", path, tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == flat[:5] + b"mended" + flat[11:]
        assert ERROR not in kinds(path)
    patch(path, 0x30, struct.pack("<QQ", 1 << 40, 1 << 40))
    with campaign.opened_file(path) as device, pytest.raises(OSError, match="grain directory of 1 tables at byte") as caught:
        device.storage(0).read(0, 512)
    assert caught.value.errno == errno.EUCLEAN


def test_check_names_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "disk.vmdk"
    sparse(path)
    whole = path.read_bytes()
    header = header_of(path)
    assert findings(path) == []
    table = int.from_bytes(whole[header.directory * 512 :][:4], "little") * 512
    redundant = int.from_bytes(whole[header.redundant_directory * 512 :][:4], "little") * 512
    entries = [at for at in range(0, 4 * (SIZE // 65536), 4) if whole[table + at : table + at + 4] != bytes(4)]

    def both(at: int, value: int) -> None:
        for start in (table, redundant):
            patch(path, start + at, struct.pack("<I", value))

    first = int.from_bytes(whole[table + entries[0] :][:4], "little")
    for change, kind, sentence in (
        (lambda: both(entries[1], first), ERROR, "lies on the grain at"),
        (lambda: both(entries[1], header.directory), ERROR, "lies on"),
        (lambda: both(entries[1], 1 << 30), ERROR, "is outside the file"),
        (lambda: patch(path, redundant + entries[0], bytes(4)), WARNING, "redundant copy differ"),
        (lambda: both(entries[0], 0), LEAK, "room for 1 grains"),
        (lambda: patch(path, 0x48, b"\1"), WARNING, "not closed"),
        (lambda: patch(path, 0x4B, b"\n\n"), ERROR, "transferred the file as text"),
        (lambda: patch(path, header.directory * 512, struct.pack("<I", redundant // 512)), ERROR, "is there already"),
    ):
        path.write_bytes(whole)
        change()
        found = findings(path)
        assert any(finding.kind == kind and sentence in finding.sentence for finding in found), (sentence, found)


def test_discards_leave_holes_that_check_calls_leaks(tmp_path: Path) -> None:
    path = tmp_path / "disk.vmdk"
    campaign.created(path, "vmdk", SIZE)
    with campaign.opened_file(path, True) as device:
        device.storage(0).write(0, b"x" * SIZE)
        device.storage(0).flush()
        full = path.stat().st_blocks
        device.storage(0).discard(65536, SIZE // 2)
        device.storage(0).flush()
        assert path.stat().st_blocks < full * 2 // 3
        size = path.stat().st_size
        device.storage(0).write(0, b"y" * SIZE)
        assert path.stat().st_size == size, "nothing was used again"
        device.storage(0).flush()
    assert findings(path) == []
    with campaign.opened_file(path, True) as device:
        device.storage(0).discard(65536, SIZE // 2)
    assert kinds(path) == [LEAK]


def test_an_unclean_end_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "disk.vmdk"
    sparse(path)
    header = header_of(path)
    redundant = int.from_bytes(path.read_bytes()[header.redundant_directory * 512 :][:4], "little") * 512
    patch(path, redundant, bytes(64))
    patch(path, layout.UNCLEAN_OFFSET, b"\1")
    with campaign.opened_file(path) as device:
        assert device.details()["state"] == "was not closed"
    assert kinds(path) == [WARNING, WARNING]
    with campaign.opened_file(path, True) as device:
        device.storage(0).write(0, b"x")
    assert findings(path) == []


# -------------------------------------------------------------------------------------------- other files


def flat_lines(*lines: str, kind: str = "monolithicFlat") -> bytes:
    return builder.descriptor(kind, list(lines))


@pytest.mark.parametrize(
    "name", ("/etc/passwd", "../secret", "sub/secret", "..", ".", "", "./../secret", "a\0b", "\\\\.\\PhysicalDrive0", "missing")
)
def test_extents_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(512))
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "sub" / "secret").write_bytes(bytes(512))
    path = builder.write(tmp_path / "d" / "disk.vmdk", flat_lines(f'RW 1 FLAT "{name}" 0'))
    with pytest.raises(OSError) as caught:
        campaign.opened_file(path)
    assert caught.value.errno in (errno.EINVAL, errno.EUCLEAN, errno.ENOENT) and caught.value.strerror


@pytest.mark.parametrize(
    "text, sentence",
    (
        (flat_lines('RW 1 FLAT "\\\\.\\PhysicalDrive0" 63', kind="fullDevice"), "devices that an image names are never opened"),
        (flat_lines('RW 1 FLAT "/dev/sda" 63', kind="partitionedDevice"), "devices that an image names are never opened"),
        (flat_lines('RW 1 VMFSRDM "flat"', kind="vmfs"), "kind RW VMFSRDM"),
        (flat_lines('NOACCESS 1 FLAT "flat" 0'), "kind NOACCESS FLAT"),
        (flat_lines('RW 1 FANCY "flat"'), "kind FANCY"),
        (flat_lines(), "names no extents"),
        (flat_lines("RW 1 FLAT"), "without the name"),
        (flat_lines('RW 2 FLAT "flat" 0'), "has 512 bytes, the descriptor wants 1024"),
        (flat_lines('RW 1 FLAT "flat" 18446744073709551615'), "the descriptor wants 512 from byte"),
        (flat_lines("RW 99999999999999999999 ZERO"), "more than a disk can have"),
        (flat_lines(f"RW {(1 << 54) - 1} ZERO", "RW 1 ZERO"), "more than a disk can have"),
        (flat_lines('RW 1 SPARSE "flat"'), "not a sparse extent"),
        (flat_lines('RW 1 SPARSE "flat"', 'RW 1 FLAT "flat" 0'), "not a sparse extent"),
        (builder.descriptor("monolithicFlat", ['RW 1 FLAT "flat" 0'], cid="xyz"), "no hexadecimal number"),
        (
            flat_lines('RW 1 FLAT "fl\xe4t" 0').replace(b"UTF-8", b"rot13"),
            "encoding 'rot13'",
        ),
    ),
)
def test_descriptors_that_are_refused(tmp_path: Path, text: bytes, sentence: str) -> None:
    (tmp_path / "flat").write_bytes(bytes(512))
    path = builder.write(tmp_path / "disk.vmdk", text)
    with pytest.raises(OSError, match=sentence):
        campaign.opened_file(path)


def test_an_extent_named_twice(tmp_path: Path) -> None:
    builder.write(tmp_path / "x", builder.cowd(bytes(512)))
    path = builder.write(tmp_path / "disk.vmdk", flat_lines('RW 1 VMFSSPARSE "x"', 'RW 1 VMFSSPARSE "x"'))
    with pytest.raises(OSError, match="is named twice"):
        campaign.opened_file(path)


def test_loops_of_parents(tmp_path: Path) -> None:
    builder.write(tmp_path / "flat", bytes(512))
    for name, parent in (("a", "b"), ("b", "a"), ("c", "c")):
        hint = f'parentFileNameHint="{parent}.vmdk"'
        text = builder.descriptor("monolithicFlat", ['RW 1 FLAT "flat" 0'], "1", "1", hint)
        builder.write(tmp_path / f"{name}.vmdk", text)
    for name in "abc":
        with pytest.raises(OSError) as caught:
            campaign.opened_file(tmp_path / f"{name}.vmdk")
        assert caught.value.errno == errno.ELOOP
    for number in range(70):
        hint = f'parentFileNameHint="p{number + 1}.vmdk"'
        text = builder.descriptor("monolithicFlat", ['RW 1 FLAT "flat" 0'], "1", "1", hint)
        builder.write(tmp_path / f"p{number}.vmdk", text)
    with pytest.raises(OSError) as caught:
        campaign.opened_file(tmp_path / "p0.vmdk")
    assert caught.value.errno == errno.ELOOP


def test_nothing_stays_open_after_a_refusal(tmp_path: Path) -> None:
    builder.write(tmp_path / "flat", bytes(512))
    path = builder.write(tmp_path / "disk.vmdk", flat_lines('RW 1 FLAT "flat" 0', 'RW 2 FLAT "flat" 0'))
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with pytest.raises(OSError):
            campaign.opened_file(path, True)
    assert os.listdir("/proc/self/fd") == before


# -------------------------------------------------------------------------------------------- headers


@pytest.mark.parametrize(
    "field, value, sentence",
    (
        ("version", 4, "VMDK version 4"),
        ("flags", 0x40003, "flags 0x40003"),
        ("compression", 2, "compression algorithm 2"),
        ("compression", 1, "contradict"),
        ("flags", 0x10003, "contradict"),
        ("grain_size", 0, "grains of 0 sectors"),
        ("grain_size", 3, "grains of 3 sectors"),
        ("grain_size", 1 << 60, "sectors, a power of two"),
        ("table_entries", 0, "grain tables of 0 entries"),
        ("table_entries", 0xFFFFFFFF, "grain tables of 4294967295 entries"),
        ("capacity", 1 << 55, "more than a disk can have"),
        ("capacity", 1 << 54, "more than a disk can have|a disk of|at most"),
        ("descriptor_offset", 1 << 62, "the descriptor at byte"),
        ("descriptor_size", 1 << 30, "the descriptor at byte"),
        ("directory", layout.DIRECTORY_AT_END, "the end of the stream is missing"),
    ),
)
def test_headers_that_are_refused(tmp_path: Path, field: str, value: int, sentence: str) -> None:
    path = tmp_path / "disk.vmdk"
    campaign.created(path, "vmdk", 1 << 20)
    patch(path, 0, header_of(path)._replace(**{field: value}).pack())
    with pytest.raises(OSError, match=sentence) as caught:
        campaign.opened_file(path)
    assert caught.value.errno in (errno.EUCLEAN, errno.EOPNOTSUPP)


def test_a_capacity_that_no_directory_has(tmp_path: Path) -> None:
    path = tmp_path / "disk.vmdk"
    campaign.created(path, "vmdk", 1 << 20)
    patch(path, 0, header_of(path)._replace(capacity=(1 << 54) - 1).pack())
    with campaign.opened_file(path) as device:
        disk = device.storage(0)
        for at in (0, disk.size - 512):
            with pytest.raises(OSError, match="grain directory of") as caught:
                disk.read(at, 512)
            assert caught.value.errno == errno.EUCLEAN


def test_grains_of_streams_that_lie(tmp_path: Path) -> None:
    flat = campaign.content(22, 1 << 20)
    whole = builder.stream(flat)
    first = 128 * 512
    assert struct.unpack_from("<Q", whole, first)[0] % 128 == 0
    number = struct.unpack_from("<Q", whole, first)[0] // 128
    for position, content, sentence in (
        (first, struct.pack("<Q", 7), "is marked as sector 7"),
        (first + 8, struct.pack("<I", 0), "with 0 bytes"),
        (first + 8, struct.pack("<I", 0xFFFFFFFF), "with 4294967295 bytes"),
        (first + 12, b"\0\0", "while decompressing"),
        (first + 8, struct.pack("<I", 20), "has only"),
    ):
        path = builder.write(tmp_path / "disk.vmdk", whole)
        patch(path, position, content)
        with campaign.opened_file(path) as device:
            with pytest.raises(OSError, match=sentence) as caught:
                device.storage(0).read(number * 65536, 512)
            assert caught.value.errno == errno.EUCLEAN
        if position < first + 12 and "20" not in sentence and sentence != "has only":
            assert ERROR in kinds(path)


# -------------------------------------------------------------------------------------------- mutations


def _hosted(folder: Path) -> list[tuple[int, int]]:
    sparse(folder / "disk.vmdk")
    return [(0, 80), (0, 80), (512, 400), (21 * 512, 20 * 512)]


def _stream(folder: Path) -> list[tuple[int, int]]:
    content = builder.stream(campaign.content(23, SIZE))
    builder.write(folder / "disk.vmdk", content)
    return [(0, 80), (512, 400), (65536, 3000), (len(content) - 6 * 512, 6 * 512), (len(content) - 1024, 80)]


def _split(folder: Path) -> list[tuple[int, int]]:
    sparse(folder / "disk.vmdk", "twoGbMaxExtentSparse")
    return [(0, 350)]


def _cowd(folder: Path) -> list[tuple[int, int]]:
    builder.write(folder / "disk.vmdk", builder.cowd(campaign.content(24, SIZE)))
    return [(0, 48), (0, 48), (2048, 64), (2048, 5000)]


def _sesparse(folder: Path) -> list[tuple[int, int]]:
    builder.write(folder / "disk.vmdk", builder.sesparse(campaign.content(25, SIZE)))
    return [(0, 208), (0, 208), (512, 32), (16 * 512, 16), (17 * 512, 6000)]


MAKERS: dict[str, Callable[[Path], list[tuple[int, int]]]] = {
    "hosted": _hosted,
    "stream": _stream,
    "split": _split,
    "cowd": _cowd,
    "sesparse": _sesparse,
}


@pytest.mark.parametrize("name", MAKERS)
def test_mutations(tmp_path: Path, name: str) -> None:
    campaign.damage(tmp_path / "disk.vmdk", MAKERS[name](tmp_path), 1, 12)


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_many_mutations(tmp_path: Path, name: str) -> None:
    campaign.damage(tmp_path / "disk.vmdk", MAKERS[name](tmp_path), 2, 500)
