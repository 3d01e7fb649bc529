"""VMDK: what qemu-img and the builder make is read as they have it; what we make and write, qemu-img reads and finds right."""

from __future__ import annotations

import errno
import os
import random
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests import vd_campaign as campaign
from tests import vmdk_builder as builder
from tests.vd_campaign import Operation
from vfs.api import FileStorage
from vfs.vd.vmdk import layout

KINDS = ("monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized")
SPARSE = ("monolithicSparse", "twoGbMaxExtentSparse")
SIZES = (512, 65536, 3 * 65536 + 512, 2_000_384, 34 << 20)


def disk_of(path: Path, **options: Any) -> bytes:
    with campaign.opened_file(path, **options) as device:
        return campaign.read_all(device.storage(0))


def agrees(path: Path, flat: bytes) -> None:
    """What qemu-img reads is *flat*, and its check and ours have nothing against the image."""
    (path.parent / "flat.raw").write_bytes(flat)
    campaign.qemu_img("compare", "-f", "vmdk", "-F", "raw", path, path.parent / "flat.raw")
    campaign.qemu_check(path, "vmdk")
    with FileStorage(str(path)) as storage:
        assert [finding for finding in campaign.checked(storage) if finding.kind != "leak"] == []


# -------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_reads_what_qemu_img_makes(tmp_path: Path, kind: str, size: int) -> None:
    flat = (
        campaign.make_raw(tmp_path / "flat", size, size) if size < 4 << 20 else campaign.content(size, 1 << 20).ljust(size, b"\0")
    )
    (tmp_path / "flat").write_bytes(flat)
    options = [f"subformat={kind}", "adapter_type=lsilogic", "hwversion=7"]
    variants = ([], ["zeroed_grain=on"]) if kind in SPARSE else ([],)
    for number, more in enumerate(variants):
        path = tmp_path / f"disk{number}.vmdk"
        campaign.qemu_img("convert", "-f", "raw", "-O", "vmdk", "-o", ",".join(options + more), tmp_path / "flat", path)
        assert disk_of(path) == flat
        with campaign.opened_file(path) as device:
            facts = device.details()
            assert (facts["format"], facts["virtual size"], facts["kind"]) == ("vmdk", size, kind)
            assert facts["adapter"] == "lsilogic"


@pytest.mark.parametrize("kind", SPARSE)
def test_zeroed_grains_and_parents_of_qemu(tmp_path: Path, kind: str) -> None:
    size = 1_500_160
    campaign.make_raw(tmp_path / "flat", 5, size)
    campaign.qemu_img("convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={kind}", tmp_path / "flat", tmp_path / "base.vmdk")
    child = tmp_path / "child.vmdk"
    options = f"subformat={kind},zeroed_grain=on"
    campaign.qemu_img("create", "-f", "vmdk", "-F", "vmdk", "-b", "base.vmdk", "-o", options, child)
    campaign.qemu_io(child, "vmdk", "write -z 0 256k", "write -P 5 100k 70k", "write -P 9 1000k 5k", "write -z 1100k 64k")
    flat = campaign.as_raw(child, "vmdk", tmp_path / "out")
    assert disk_of(child) == flat
    with campaign.opened_file(child) as device:
        assert device.details()["parent"] == "base.vmdk"
        assert any(extent.hole for extent in device.storage(0).extents(0, size))


def test_extents_are_the_bytes_of_the_files(tmp_path: Path) -> None:
    flat = campaign.make_raw(tmp_path / "flat", 6, 1_000_448)
    for kind in KINDS:
        path = tmp_path / f"{kind}.vmdk"
        campaign.qemu_img("convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={kind}", tmp_path / "flat", path)
        with campaign.opened_file(path) as device:
            disk, at = device.storage(0), 0
            for extent in disk.extents(0, disk.size):
                assert extent.offset == at
                at += extent.length
                expected = flat[extent.offset : at]
                if extent.fd is not None:
                    assert os.pread(extent.fd, extent.length, extent.fd_offset).ljust(extent.length, b"\0") == expected
                elif extent.hole:
                    assert not expected.strip(b"\0")
                else:
                    assert kind == "streamOptimized"
            assert at == disk.size


@pytest.mark.parametrize("padding", (0, 512, 65536 - 3 * 512))
def test_streams_with_the_directory_at_the_end(tmp_path: Path, padding: int) -> None:
    flat = campaign.content(7, 1 << 20).ljust(70 << 20, b"\0")  # three tables, the last two empty
    path = builder.write(tmp_path / "disk.vmdk", builder.stream(flat, padding=padding))
    assert disk_of(path) == flat
    if not padding:
        assert campaign.as_raw(path, "vmdk", tmp_path / "out") == flat, "the builder is wrong"
        agrees(path, flat)


def test_a_stream_without_its_end_is_refused(tmp_path: Path) -> None:
    path = builder.write(tmp_path / "disk.vmdk", builder.stream(campaign.content(7, 1 << 20))[:-1024])
    with pytest.raises(OSError, match="the end of the stream is missing") as caught:
        campaign.opened_file(path)
    assert caught.value.errno == errno.EUCLEAN


@pytest.mark.parametrize("grain", (1, 16))
def test_extents_of_esx_servers(tmp_path: Path, grain: int) -> None:
    flat = campaign.content(8, 5 << 20)
    path = builder.write(tmp_path / "disk-delta.vmdk", builder.cowd(flat, grain))
    assert disk_of(path) == flat
    line = f'RW {len(flat) // 512} VMFSSPARSE "disk-delta.vmdk"'
    builder.write(tmp_path / "disk.vmdk", builder.descriptor("vmfsSparse", [line]))
    assert disk_of(tmp_path / "disk.vmdk") == flat
    assert campaign.as_raw(tmp_path / "disk.vmdk", "vmdk", tmp_path / "out") == flat, "the builder is wrong"


def test_sesparse(tmp_path: Path) -> None:
    flat = campaign.content(9, 3_000_000)[: 3_000_000 // 512 * 512] + bytes(40 << 20)
    builder.write(tmp_path / "disk-sesparse.vmdk", builder.sesparse(flat))
    line = f'RW {len(flat) // 512} SESPARSE "disk-sesparse.vmdk"'
    path = builder.write(tmp_path / "disk.vmdk", builder.descriptor("seSparse", [line]))
    assert disk_of(path) == disk_of(tmp_path / "disk-sesparse.vmdk") == flat
    assert campaign.as_raw(path, "vmdk", tmp_path / "out") == flat, "the builder is wrong"
    with FileStorage(str(path)) as storage:
        assert campaign.checked(storage) == []
    with pytest.raises(OSError, match="seSparse extents can only be read") as caught:
        campaign.opened_file(path, True)
    assert caught.value.errno == errno.EROFS
    content = bytearray((tmp_path / "disk-sesparse.vmdk").read_bytes())
    content[512 + 24] = 1
    (tmp_path / "disk-sesparse.vmdk").write_bytes(content)
    with pytest.raises(OSError, match="journal of this seSparse extent wants replaying"):
        campaign.opened_file(path)


def test_extents_of_all_kinds_in_one_disk(tmp_path: Path) -> None:
    pieces = [campaign.content(seed, 300 * 512) for seed in range(4)]
    builder.write(tmp_path / "a.raw", bytes(512) + pieces[0])
    builder.write(tmp_path / "b", builder.cowd(pieces[1]))
    builder.write(tmp_path / "c", builder.sesparse(pieces[2]))
    builder.write(tmp_path / "d", pieces[3])
    lines = ['RW 300 FLAT "a.raw" 1', "RW 100 ZERO", 'RW 300 VMFSSPARSE "b"', '  rdonly 300 sesparse "c"', 'RW 300 VMFS "d"']
    path = builder.write(tmp_path / "disk.vmdk", builder.descriptor("custom", lines))
    flat = bytearray(pieces[0] + bytes(51200) + pieces[1] + pieces[2] + pieces[3])
    assert disk_of(path) == flat
    with campaign.opened_file(path) as device:
        assert device.details()["extents"] == 5
    builder.write(path, builder.descriptor("custom", [line for line in lines if "rdonly" not in line]))
    flat = bytearray(pieces[0] + bytes(51200) + pieces[1] + pieces[3])
    with campaign.opened_file(path, True) as device:
        disk = device.storage(0)
        for at in (100, 300 * 512 + 51200 - 100, len(flat) - 700):
            length = 50 if at > 300 * 512 else 5000
            if at < 300 * 512:
                disk.write(at, b"x" * length)
                flat[at : at + length] = b"x" * length
        disk.write(400 * 512 + 7, b"yy")
        flat[400 * 512 + 7 : 400 * 512 + 9] = b"yy"
        with pytest.raises(OSError, match="kind ZERO") as caught:
            disk.write(300 * 512, b"z")
        assert caught.value.errno == errno.EROFS
        disk.zero(300 * 512, 1000)
    assert disk_of(path) == flat


# -------------------------------------------------------------------------------------------- descriptors


@pytest.mark.parametrize(
    "end, encoding, name",
    (
        ("\n", "UTF-8", "größe 日本.vmdk"),
        ("\r\n", "UTF-8", "with spaces = and # .vmdk"),
        ("\r\n", "windows-1252", "größe.vmdk"),
        ("\n", "Shift_JIS", "日本ソ.vmdk"),
        ("\n", "UTF-8", "./disk-flat.vmdk"),
    ),
)
def test_descriptors(tmp_path: Path, end: str, encoding: str, name: str) -> None:
    flat = campaign.make_raw(tmp_path / name.removeprefix("./"), 11, 100 * 512)
    text = builder.descriptor("monolithicFlat", [f'RW 100 FLAT "{name}" 0'], end=end, encoding=encoding)
    path = builder.write(tmp_path / "disk.vmdk", text)
    assert disk_of(path) == flat
    with campaign.opened_file(path, True) as device:
        device.storage(0).write(0, b"new")
    assert disk_of(path) == b"new" + flat[3:]
    after = path.read_bytes()
    assert len(after) == len(text) and after != text
    changed = [(old, new) for old, new in zip(text.split(b"\n"), after.split(b"\n"), strict=True) if old != new]
    assert len(changed) == 2
    assert changed[0][1].strip().startswith(b"CID=") and changed[0][1].strip()[4:] in changed[1][1]


def test_odd_descriptors(tmp_path: Path) -> None:
    flat = campaign.make_raw(tmp_path / "f", 12, 10 * 512)
    for text in (
        b'\xef\xbb\xbf# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\nRW 10 FLAT "f" 0',
        b'#disk descriptorfile\n\n\nVERSION = 1\ncid = "0x1"\nPARENTCID="FFFFFFFF"\n\trw\t10\tflat\t"f"\t0\t\n\0\0\0garbage',
        b'# made by hand\nversion=1\ncreateType="monolithicFlat"\nCID=00000001\nRW 5 FLAT "f" 0\nRW 5 FLAT "f" 5 x y\n',
    ):
        path = builder.write(tmp_path / "disk.vmdk", text)
        assert disk_of(path) == flat, text
        with campaign.opened_file(path, True) as device:
            device.storage(0).write(5, flat[5:6])
        assert disk_of(path) == flat, text
        with campaign.opened_file(path) as device:
            assert device.details()["CID"] != "00000001"


def test_the_first_change_gives_another_cid(tmp_path: Path) -> None:
    def cid(path: Path) -> str | int:
        with campaign.opened_file(path) as device:
            return device.details()["CID"]

    for kind in KINDS:
        path = tmp_path / f"{kind}.vmdk"
        campaign.created(path, "vmdk", 1 << 20, subformat=kind)
        before = cid(path)
        with campaign.opened_file(path, True) as device:
            device.storage(0).read(0, 512)
            device.storage(0).flush()
        assert cid(path) == before
        with campaign.opened_file(path, True) as device:
            device.storage(0).write(0, b"x")
            between = device.details()["CID"]
            device.storage(0).write(70000, b"x")
        assert before != between == cid(path)


# -------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("kind", (*KINDS, "vmfsSparse"))
def test_images_of_ours(tmp_path: Path, kind: str) -> None:
    size = 40 * 65536 + 512
    for zeroed in (False, True) if kind in SPARSE else (False,):
        path = tmp_path / f"disk{zeroed:d}.vmdk"
        campaign.created(path, "vmdk", size, subformat=kind, zeroed_grain=zeroed, adapter_type="buslogic")
        agrees(path, bytes(size))
        flat = bytearray(size)
        todo = campaign.random_operations(random.Random(kind), size, 40)
        campaign.against_model(lambda path=path: campaign.opened_file(path, True), flat, todo)
        agrees(path, flat)
        assert f'"{kind}"' in path.read_bytes()[:4096].decode(errors="replace")


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_qemu_written(tmp_path: Path, kind: str) -> None:
    size = 30 * 65536 + 1024
    flat = bytearray(campaign.make_raw(tmp_path / "flat", 13, size))
    for zeroed in ("off", "on") if kind in SPARSE else ("off",):
        path = tmp_path / f"disk-{zeroed}.vmdk"
        options = f"subformat={kind}" + (f",zeroed_grain={zeroed}" if kind in SPARSE else "")
        campaign.qemu_img("convert", "-f", "raw", "-O", "vmdk", "-o", options, tmp_path / "flat", path)
        changed = bytearray(flat)
        todo = campaign.random_operations(random.Random(zeroed), size, 30)
        campaign.against_model(lambda path=path: campaign.opened_file(path, True), changed, todo)
        agrees(path, changed)


def test_zeros_over_a_parent_that_has_none_are_not_stored(tmp_path: Path) -> None:
    base, path = tmp_path / "base.vmdk", tmp_path / "child.vmdk"
    campaign.created(base, "vmdk", 64 << 20)
    with campaign.opened_file(base, True) as device:
        device.storage(0).write(10_000_000, b"x" * 100_000)
    with FileStorage(str(base)) as parent:
        campaign.created(path, "vmdk", None, backing_file=parent)
    with campaign.opened_file(path, True) as device:
        device.storage(0).zero(0, 64 << 20)
    assert path.stat().st_blocks * 512 < 400_000
    agrees(path, bytes(64 << 20))


@pytest.mark.parametrize("zeroed", (False, True))
@pytest.mark.parametrize("kind", (*SPARSE, "vmfsSparse"))
def test_delta_disks_of_ours(tmp_path: Path, kind: str, zeroed: bool) -> None:
    if zeroed and kind == "vmfsSparse":
        zeroed = False
    size = 20 * 65536 + 512
    base, path = tmp_path / "base.vmdk", tmp_path / "child.vmdk"
    flat = bytearray(campaign.make_raw(tmp_path / "flat", 14, size))
    campaign.qemu_img("convert", "-f", "raw", "-O", "vmdk", tmp_path / "flat", base)
    with FileStorage(str(base)) as parent:
        campaign.created(path, "vmdk", None, subformat=kind, zeroed_grain=zeroed, backing_file=parent)
    agrees(path, flat)
    todo = campaign.random_operations(random.Random(15), size, 40)
    campaign.against_model(lambda: campaign.opened_file(path, True), flat, todo)
    agrees(path, flat)


def test_parents_that_are_not_right(tmp_path: Path) -> None:
    base, child = tmp_path / "base.vmdk", tmp_path / "child.vmdk"
    campaign.created(base, "vmdk", 1 << 20)
    with FileStorage(str(base)) as parent:
        campaign.created(child, "vmdk", None, backing_file=parent)
    campaign.qemu_img("compare", base, child)
    (tmp_path / "away").mkdir()
    with FileStorage(str(shutil.copy(base, tmp_path / "away" / "other.vmdk"))) as parent:
        assert disk_of(child, parent=parent) == bytes(1 << 20)
    with FileStorage(str(tmp_path / "away" / "other.vmdk")) as parent, pytest.raises(OSError, match="must lie in the directory"):
        campaign.created(tmp_path / "far.vmdk", "vmdk", None, backing_file=parent)
    with FileStorage(str(child)) as parent, pytest.raises(OSError, match="no parent"):
        campaign.opened_file(base, parent=parent)
    with campaign.opened_file(base, True) as device:
        device.storage(0).write(0, b"changed")
    with pytest.raises(OSError, match=r"its parent 'base\.vmdk' was changed") as caught:
        campaign.opened_file(child)
    assert caught.value.errno == errno.EUCLEAN
    base.unlink()
    with pytest.raises(OSError, match=r"its parent 'base\.vmdk' is missing; the option parent= names it") as caught:
        campaign.opened_file(child)
    assert caught.value.errno == errno.ENOENT
    for hint, number in (
        (b"C:\\VMs\\base.vmdk", errno.ENOENT),
        (b"/etc/base.vmdk", errno.EINVAL),
        (b"../base.vmdk", errno.EINVAL),
    ):
        text = builder.descriptor(
            "monolithicFlat", ['RW 1 FLAT "flat" 0'], parent="1", more=f'parentFileNameHint="{hint.decode()}"'
        )
        builder.write(tmp_path / "flat", bytes(512))
        with pytest.raises(OSError, match="parent=") as caught:
            campaign.opened_file(builder.write(tmp_path / "odd.vmdk", text))
        assert caught.value.errno == number


def test_a_stream_is_canonical_when_it_is_closed(tmp_path: Path) -> None:
    """As `convert` writes it: the header says that the directory is at the end, the grains come in order from overHead on."""
    path, size = tmp_path / "disk.vmdk", 70 << 20
    flat = campaign.content(16, 1_200_000).ljust(size, b"\0")
    campaign.created(path, "vmdk", size, subformat="streamOptimized")
    with campaign.opened_file(path, True) as device:
        for at in range(0, 1_245_184, 131072):
            device.storage(0).write(at, flat[at : at + 131072])
    agrees(path, flat)
    content = path.read_bytes()
    header = layout.SparseHeader.unpack(content[:512])
    assert header.directory == layout.DIRECTORY_AT_END and not header.unclean
    at, order, kinds = header.overhead * 512, [], []
    while at < len(content):
        sector, size = layout.GRAIN_MARKER.unpack_from(content, at)
        if size:
            order.append(sector // 128)
            at += -(-(12 + size) // 512) * 512
        else:
            kinds.append(struct.unpack_from("<I", content, at + 12)[0])
            at += 512 + sector * 512
    assert order == [number for number in range(19) if flat[number << 16 : (number + 1) << 16].strip(b"\0")]
    assert kinds == [layout.GRAIN_TABLE, layout.GRAIN_DIRECTORY, layout.FOOTER, layout.END_OF_STREAM]


def test_split_disks(tmp_path: Path) -> None:
    for kind, letter in (("twoGbMaxExtentFlat", "f"), ("twoGbMaxExtentSparse", "s")):
        path, size = tmp_path / f"{letter}.vmdk", 5 << 30
        campaign.created(path, "vmdk", size, subformat=kind)
        assert [(tmp_path / f"{letter}-{letter}00{number}.vmdk").exists() for number in (1, 2, 3, 4)] == [True, True, True, False]
        edge = 2047 << 20
        with campaign.opened_file(path, True) as device:
            disk = device.storage(0)
            assert disk.size == size
            disk.write(edge - 100, b"a" * 200)
            disk.write(2 * edge - 65536, b"b" * 131072)
            disk.write(size - 5, b"c" * 5)
        with campaign.opened_file(path) as device:
            disk = device.storage(0)
            assert disk.read(edge - 101, 202) == b"\0" + b"a" * 200 + b"\0"
            assert disk.read(size - 6, 6) == b"\0ccccc"
        shown = campaign.qemu_io(path, "vmdk", f"read -P 98 {2 * edge - 65536} 128k", f"read -P 97 {edge - 100} 200")
        assert "failed" not in shown and "mismatch" not in shown


def test_a_terabyte_opens_at_once(tmp_path: Path) -> None:
    path = tmp_path / "disk.vmdk"
    campaign.created(path, "vmdk", 1 << 40)
    assert path.stat().st_blocks * 512 < 1 << 20
    with campaign.opened_file(path, True) as device:
        disk = device.storage(0)
        disk.write((1 << 40) - 512, b"e" * 512)
        disk.zero(1 << 39, 1 << 30)
        disk.discard(0, 1 << 40)
        assert disk.read((1 << 40) - 512, 512) == bytes(512)
        disk.write((1 << 40) - 512, b"f" * 512)
    assert "mismatch" not in campaign.qemu_io(path, "vmdk", f"read -P 102 {(1 << 40) - 512} 512")


@pytest.mark.parametrize(
    "options, size, sentence",
    (
        ({"subformat": "monolithicFlat", "backing_file": True}, None, "has no parent"),
        ({"subformat": "streamOptimized", "zeroed_grain": True}, 512, "no marks for grains of zeros"),
        ({}, 3 << 40, "at most 2 TiB"),
        ({}, 65 << 40, "at most 64 TiB"),
        ({}, None, "needs a size"),
    ),
)
def test_creations_that_are_refused(tmp_path: Path, options: dict[str, Any], size: int | None, sentence: str) -> None:
    campaign.created(tmp_path / "base.vmdk", "vmdk", 512)
    with FileStorage(str(tmp_path / "base.vmdk")) as parent:
        given_options = {name: parent if name == "backing_file" else value for name, value in options.items()}
        with pytest.raises(OSError, match=sentence):
            campaign.created(tmp_path / "disk.vmdk", "vmdk", size, **given_options)


def test_a_parent_must_be_a_vmdk(tmp_path: Path) -> None:
    campaign.make_raw(tmp_path / "base.raw", 1, 4096)
    with FileStorage(str(tmp_path / "base.raw")) as parent, pytest.raises(OSError, match="VMDK"):
        campaign.created(tmp_path / "disk.vmdk", "vmdk", None, backing_file=parent)


def test_version_3_with_tracking_is_only_read(tmp_path: Path) -> None:
    path = tmp_path / "disk.vmdk"
    campaign.created(path, "vmdk", 1 << 20)
    content = bytearray(path.read_bytes())
    content[4] = 3
    path.write_bytes(content)
    assert disk_of(path) == bytes(1 << 20)
    with pytest.raises(OSError, match="changed-block tracking"):
        campaign.opened_file(path, True)
    builder.write(tmp_path / "flat", bytes(512))
    text = builder.descriptor("vmfs", ['RW 1 VMFS "flat"'], more='changeTrackPath="disk-ctk.vmdk"')
    builder.write(path, text)
    assert disk_of(path) == bytes(512)
    with pytest.raises(OSError, match="changed-block tracking") as caught:
        campaign.opened_file(path, True)
    assert caught.value.errno == errno.EROFS


@pytest.mark.parametrize("kind", ("monolithicSparse", "streamOptimized", "vmfsSparse"))
def test_readers_beside_a_writer(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "disk.vmdk"
    campaign.created(path, "vmdk", 40 << 20, subformat=kind)
    campaign.threads(path, 19, 1)


# -------------------------------------------------------------------------------------------- against a model

SIZE = 12 * 65536 + 1024


def start(kind: str, **options: Any) -> dict[bytes, bytearray]:
    """An image in memory."""
    directory = {b"disk.vmdk": bytearray()}
    storage = campaign.MemoryFile(directory, b"disk.vmdk", True)
    made = campaign.MODULE.create_options("vmdk")(subformat=kind, **options)
    campaign.MODULE.create(storage, "vmdk", SIZE if "backing_file" not in options else None, made)
    return directory


def start_delta(kind: str, zeroed: bool) -> dict[bytes, bytearray]:
    """A child of a disk that has content."""
    directory = start("monolithicSparse")
    directory[b"base.vmdk"] = directory.pop(b"disk.vmdk")
    with campaign.opened(campaign.MemoryFile(directory, b"base.vmdk", True), rw=True) as device:
        device.storage(0).write(0, campaign.content(17, SIZE))
    directory[b"disk.vmdk"] = bytearray()
    storage = campaign.MemoryFile(directory, b"disk.vmdk", True)
    parent = campaign.MemoryFile(directory, b"base.vmdk")
    made = campaign.MODULE.create_options("vmdk")(subformat=kind, zeroed_grain=zeroed, backing_file=parent)
    campaign.MODULE.create(storage, "vmdk", None, made)
    return directory


STARTS: dict[str, Any] = {
    "sparse": lambda: start("monolithicSparse"),
    "zeroed": lambda: start("twoGbMaxExtentSparse", zeroed_grain=True),
    "flat": lambda: start("monolithicFlat"),
    "stream": lambda: start("streamOptimized"),
    "esx": lambda: start("vmfsSparse"),
    "delta": lambda: start_delta("monolithicSparse", False),
    "delta zeroed": lambda: start_delta("monolithicSparse", True),
    "delta esx": lambda: start_delta("vmfsSparse", False),
}


def check_model(name: str, todo: list[Operation]) -> None:
    directory = STARTS[name]()
    with campaign.opened(campaign.MemoryFile(directory, b"disk.vmdk")) as device:
        flat = bytearray(campaign.read_all(device.storage(0)))
    campaign.against_model(lambda: campaign.opened(campaign.MemoryFile(directory, b"disk.vmdk", True), rw=True), flat, todo)
    assert [found for found in campaign.checked(campaign.MemoryFile(directory, b"disk.vmdk")) if found.kind != "leak"] == []


@pytest.mark.parametrize("name", STARTS)
@given(todo=campaign.operations(SIZE))
@settings(max_examples=8, deadline=None)
def test_against_a_flat_model(name: str, todo: list[Operation]) -> None:
    check_model(name, todo)


@pytest.mark.slow
@pytest.mark.parametrize("name", STARTS)
@given(todo=campaign.operations(SIZE, most=60))
@settings(max_examples=300, deadline=None)
def test_against_a_flat_model_at_length(name: str, todo: list[Operation]) -> None:
    check_model(name, todo)


@pytest.mark.parametrize("name", STARTS)
def test_power_cuts(name: str) -> None:
    campaign.power_cuts(STARTS[name](), b"disk.vmdk", 1, 40, 8)


@pytest.mark.slow
@pytest.mark.parametrize("name", STARTS)
def test_many_power_cuts(name: str) -> None:
    for seed in range(2, 42):
        campaign.power_cuts(STARTS[name](), b"disk.vmdk", seed, 60, 15)


@pytest.mark.parametrize("name", ("sparse", "stream"))
def test_files_that_fail(name: str) -> None:
    assert sum(campaign.faults(STARTS[name](), b"disk.vmdk", seed, 40) for seed in range(6)) > 10


@pytest.mark.slow
@pytest.mark.parametrize("name", ("sparse", "stream"))
def test_files_that_fail_often(name: str) -> None:
    for seed in range(6, 200):
        campaign.faults(STARTS[name](), b"disk.vmdk", seed, 60)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ("monolithicSparse", "twoGbMaxExtentSparse", "streamOptimized", "vmfsSparse"))
def test_kills(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "disk.vmdk"
    campaign.created(path, "vmdk", SIZE, subformat=kind)
    campaign.kills(path, 60, 18, after=lambda found: campaign.qemu_check(found, "vmdk"))
