"""qcow2 against qemu-img and qemu-io: what they make is read, what we write is right by their check."""

from __future__ import annotations

import errno
import json
import os
import random
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings

from tests import vd_campaign as campaign
from tests.time_limit import time_limit
from tests.vd_campaign import Operation, qemu_check, qemu_img, qemu_io
from vfs.api import ERROR, LEAK, WARNING, FileStorage
from vfs.api.options import parse
from vfs.vd.qcow2 import layout, packed
from vfs.vd.qcow2.image import Qcow2Image

MIB = 1 << 20


def create(path: Path, size: int, options: str = "", *more: str) -> Path:
    qemu_img("create", "-q", "-f", "qcow2", *(["-o", options] if options else []), *more, path, str(size))
    return path


# -------------------------------------------------------------------------------------------- reading

KINDS = [
    ("compat=0.10", False, 3 * MIB + 512),
    ("compat=1.1", False, 3 * MIB + 70 * 512),
    ("compat=1.1", True, 3 * MIB + 512),
    ("compat=0.10", True, 1 * MIB + 512),
    ("compression_type=zstd", True, 3 * MIB),
    ("compression_type=zstd,cluster_size=2M", True, 5 * MIB + 512),
    ("cluster_size=512", False, 2 * MIB + 512),
    ("cluster_size=512", True, 700_416),
    ("cluster_size=1k,compat=0.10", False, MIB),
    ("cluster_size=4k,refcount_bits=1", False, 2 * MIB),
    ("cluster_size=2M", False, 9 * MIB + 512),
    ("cluster_size=2M", True, 5 * MIB),
    ("cluster_size=512,refcount_bits=64", False, MIB),
    ("refcount_bits=2", True, 2 * MIB),
    ("refcount_bits=4", False, 2 * MIB),
    ("refcount_bits=8,lazy_refcounts=on", False, 2 * MIB),
    ("refcount_bits=32", True, 2 * MIB + 1024),
    ("extended_l2=on,cluster_size=128k", False, 3 * MIB + 512),
    ("extended_l2=on,cluster_size=16k", False, 3 * MIB),
    ("extended_l2=on", True, 2 * MIB),
    ("preallocation=metadata", False, 2 * MIB + 512),
    ("preallocation=falloc", False, 2 * MIB),
]


@pytest.mark.parametrize(("options", "compressed", "size"), KINDS)
def test_images_of_qemu_read_as_it_reads_them(tmp_path: Path, options: str, compressed: bool, size: int) -> None:
    expected = campaign.make_raw(tmp_path / "raw", len(options) + size, size)
    qemu_img(
        "convert", *(["-c"] if compressed else []), "-f", "raw", "-O", "qcow2", "-o", options, tmp_path / "raw", tmp_path / "q"
    )
    with campaign.opened_file(tmp_path / "q") as device:
        disk = device.storage(0)
        assert campaign.read_all(disk, 777_777) == expected
        rng = random.Random(size)
        for _ in range(50):
            at = rng.randrange(size)
            length = rng.randrange(min(200_000, size - at) + 1)
            assert disk.read(at, length) == expected[at : at + length]
        for extent in disk.extents(0, size):
            found = expected[extent.offset : extent.offset + extent.length]
            if extent.fd is not None:
                assert os.pread(extent.fd, extent.length, extent.fd_offset).ljust(extent.length, b"\0") == found
            elif extent.hole:
                assert not any(found)
    with FileStorage(str(tmp_path / "q")) as storage:
        assert campaign.checked(storage) == []


def test_compressed_clusters_without_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = campaign.make_raw(tmp_path / "raw", 4, MIB)
    qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", tmp_path / "raw", tmp_path / "q")

    def none_left(process: int) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(packed, "_workers", none_left)
    with campaign.opened_file(tmp_path / "q") as device:
        assert device.storage(0).read(0, MIB) == expected


@pytest.mark.parametrize("options", ["", "cluster_size=4k", "extended_l2=on", "compat=0.10"])
def test_chains(tmp_path: Path, options: str) -> None:
    """Backing files that are shorter and longer, raw and qcow2, with zeros over data."""
    campaign.make_raw(tmp_path / "base.raw", 1, 3 * MIB + 700 * 512)
    create(tmp_path / "one", 5 * MIB, options, "-b", "base.raw", "-F", "raw")
    qemu_io(
        tmp_path / "one", "qcow2", "write -P 1 100k 300k", "write -P 2 4000k 70k", "write -z 1M 130k", "write -P 3 1500001 5000"
    )
    create(tmp_path / "two", 2 * MIB + 512, options, "-b", "one", "-F", "qcow2")
    qemu_io(tmp_path / "two", "qcow2", "write -P 4 200k 20k", "write -z 300k 600k", "write -P 5 1100k 5k")
    create(tmp_path / "three", 6 * MIB, options, "-b", "./two", "-F", "qcow2")
    qemu_io(tmp_path / "three", "qcow2", "write -P 6 5M 64k")
    for name in ("one", "two", "three"):
        expected = campaign.as_raw(tmp_path / name, "qcow2", tmp_path / "out")
        with campaign.opened_file(tmp_path / name) as device:
            assert campaign.read_all(device.storage(0), 1_000_001) == expected, name
            assert device.details()["parent"]


def test_a_parent_by_option_and_without_one(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    content = campaign.make_raw(tmp_path / "elsewhere/base", 2, MIB)
    create(tmp_path / "child", MIB, "", "-b", "elsewhere/base", "-F", "raw")
    with pytest.raises(OSError, match="parent=") as raised:
        campaign.opened_file(tmp_path / "child")
    assert raised.value.errno == errno.EINVAL
    with campaign.opened_file(tmp_path / "child", parent=FileStorage(str(tmp_path / "elsewhere/base"))) as device:
        assert campaign.read_all(device.storage(0)) == content
    create(tmp_path / "orphan", MIB, "", "-u", "-b", "gone", "-F", "raw")
    with pytest.raises(OSError, match="'gone' is missing") as raised:
        campaign.opened_file(tmp_path / "orphan")
    assert raised.value.errno == errno.ENOENT
    create(tmp_path / "alone", MIB)
    with pytest.raises(OSError, match="no backing file"):
        campaign.opened_file(tmp_path / "alone", parent=FileStorage(str(tmp_path / "elsewhere/base")))


def test_chains_that_never_end(tmp_path: Path) -> None:
    create(tmp_path / "a", MIB, "", "-u", "-b", "b", "-F", "qcow2")
    create(tmp_path / "b", MIB, "", "-u", "-b", "a", "-F", "qcow2")
    create(tmp_path / "self", MIB, "", "-u", "-b", "self", "-F", "qcow2")
    link = create(tmp_path / "n01", MIB, "", "-u", "-b", "n02", "-F", "qcow2").read_bytes()
    for number in range(2, 70):
        (tmp_path / f"n{number:02}").write_bytes(link.replace(b"n02", b"n%02d" % (number + 1)))
    for name in ("a", "self", "n01"):
        with pytest.raises(OSError) as raised:
            campaign.opened_file(tmp_path / name)
        assert raised.value.errno == errno.ELOOP, name


def test_a_raw_parent_is_not_looked_into(tmp_path: Path) -> None:
    """What says that its parent is raw gets the bytes, whatever a guest has written there."""
    create(tmp_path / "secret", MIB)
    create(tmp_path / "child", (tmp_path / "secret").stat().st_size, "", "-u", "-b", "secret", "-F", "raw")
    with campaign.opened_file(tmp_path / "child") as device:
        assert device.storage(0).read(0, 4) == b"QFI\xfb"


@pytest.mark.parametrize("options", ["", "cluster_size=4k,refcount_bits=8", "extended_l2=on", "compat=0.10"])
def test_snapshots(tmp_path: Path, options: str) -> None:
    path = create(tmp_path / "disk", 2 * MIB, options)
    states = []
    for number in range(3):
        qemu_io(path, "qcow2", f"write -P {number + 1} {number * 100}k 300k", f"write -P 77 {number + 1200}k 5k")
        states.append(campaign.as_raw(path, "qcow2", tmp_path / "out"))
        qemu_img("snapshot", "-c", f"state {number}", path)
    qemu_io(path, "qcow2", "write -P 9 0 1M")
    now = campaign.as_raw(path, "qcow2", tmp_path / "out")
    with campaign.opened_file(path) as device:
        assert campaign.read_all(device.storage(0)) == now
        assert device.details()["snapshots"] == "1 (state 0), 2 (state 1), 3 (state 2)"
    for number, state in enumerate(states):
        for wanted in (f"state {number}", str(number + 1)):
            with campaign.opened_file(path, snapshot=wanted) as device:
                assert campaign.read_all(device.storage(0)) == state
                assert device.read_only
    with pytest.raises(OSError, match="state 1") as raised:
        campaign.opened_file(path, snapshot="nothing")
    assert raised.value.errno == errno.EINVAL
    with pytest.raises(OSError) as raised:
        campaign.opened_file(path, True, snapshot="1")
    assert raised.value.errno == errno.EROFS
    # Written through: the snapshots stay as they were.
    campaign.against_model(
        lambda: campaign.opened_file(path, True), bytearray(now), campaign.random_operations(random.Random(7), len(now), 40)
    )
    qemu_check(path, "qcow2")
    for number, state in enumerate(states):
        with campaign.opened_file(path, snapshot=f"state {number}") as device:
            assert campaign.read_all(device.storage(0)) == state
    for number in range(3):
        qemu_img("snapshot", "-d", f"state {number}", path)
    qemu_check(path, "qcow2")


@pytest.mark.parametrize("options", ["data_file=data", "data_file=data,data_file_raw=on", "data_file=data,extended_l2=on"])
def test_data_in_a_file_of_its_own(tmp_path: Path, options: str) -> None:
    path = tmp_path / "disk"
    options = options.replace("=data", f"={tmp_path}/data", 1)
    create(path, 2 * MIB, options)
    qemu_io(path, "qcow2", "write -P 1 0 300k", "write -P 2 1M 70k", "write -z 100k 65k")
    flat = bytearray(campaign.as_raw(path, "qcow2", tmp_path / "out"))
    # qemu stores the whole path: as an image from elsewhere would do, and that is refused.
    with pytest.raises(OSError, match="does not lie beside it") as raised:
        campaign.opened_file(path)
    assert raised.value.errno == errno.EINVAL
    before = path.read_bytes()
    rename_data_file(path, f"{tmp_path}/data".encode(), b"disk")
    with pytest.raises(OSError, match="itself") as raised:
        campaign.opened_file(path)
    assert raised.value.errno == errno.EINVAL
    path.write_bytes(before)
    rename_data_file(path, f"{tmp_path}/data".encode(), b"data")
    campaign.against_model(
        lambda: campaign.opened_file(path, True), flat, campaign.random_operations(random.Random(8), len(flat), 40)
    )
    os.chdir(tmp_path)
    qemu_check(path, "qcow2")
    assert campaign.as_raw(path, "qcow2", tmp_path / "out") == flat
    if "raw=on" in options:
        assert (tmp_path / "data").read_bytes() == flat
    with campaign.opened_file(path) as device:
        assert device.details()["data file"] == "data"


def rename_data_file(path: Path, old: bytes, new: bytes) -> None:
    content = bytearray(path.read_bytes())
    at = content.index(old) - layout.EXTENSION.size
    kind, length = layout.EXTENSION.unpack_from(content, at)
    assert kind == layout.DATA_FILE and length == len(old)
    rest = content[at + layout.EXTENSION.size + (length + 7 & ~7) : 4096]
    field = layout.EXTENSION.pack(kind, len(new)) + new.ljust(len(new) + 7 & ~7, b"\0") + rest
    content[at : at + len(field)] = field
    path.write_bytes(content)


# -------------------------------------------------------------------------------------------- writing

WRITABLE = [
    "compat=0.10",
    "compat=1.1",
    "cluster_size=512",
    "cluster_size=512,refcount_bits=64",
    "cluster_size=2M",
    "cluster_size=4k,refcount_bits=1",
    "refcount_bits=2",
    "refcount_bits=4,cluster_size=1k",
    "refcount_bits=8",
    "refcount_bits=32",
    "extended_l2=on",
    "extended_l2=on,cluster_size=16k",
    "compression_type=zstd,lazy_refcounts=on",
]


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "qemu's"])
@pytest.mark.parametrize("options", WRITABLE)
def test_writing(tmp_path: Path, options: str, ours: bool) -> None:
    size = 1_500_160
    path = tmp_path / "disk"
    if ours:
        made = campaign.MODULE.create_options("qcow2")
        campaign.created(path, "qcow2", size, **vars(parse(options, made)))
        qemu_check(path, "qcow2")
    else:
        create(path, size, options)
    flat = bytearray(size)
    todo = campaign.random_operations(random.Random(options), size, 60)
    campaign.against_model(lambda: campaign.opened_file(path, True), flat, todo)
    qemu_check(path, "qcow2")
    assert campaign.as_raw(path, "qcow2", tmp_path / "out") == flat
    with FileStorage(str(path)) as storage:
        assert campaign.checked(storage) == []


@pytest.mark.parametrize("options", ["", "cluster_size=4k,compat=0.10", "extended_l2=on", "compression_type=zstd"])
def test_writing_over_a_parent_and_compressed_clusters(tmp_path: Path, options: str) -> None:
    size = 2 * MIB
    campaign.make_raw(tmp_path / "raw", 5, size - 300_032)
    more = [] if "compression_type" in options else ["-o", options] if options else []
    qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", *more, tmp_path / "raw", tmp_path / "base")
    create(tmp_path / "child", size, options, "-b", "base", "-F", "qcow2")
    for name in ("child", "base"):
        flat = bytearray(campaign.as_raw(tmp_path / name, "qcow2", tmp_path / "out"))
        todo = campaign.random_operations(random.Random(options), len(flat), 60)
        campaign.against_model(lambda name=name: campaign.opened_file(tmp_path / name, True), flat, todo)
        qemu_check(tmp_path / name, "qcow2")
        assert campaign.as_raw(tmp_path / name, "qcow2", tmp_path / "out") == flat
        with FileStorage(str(tmp_path / name)) as storage:
            assert campaign.checked(storage) == []


SIZE = 400_384


def memory_image(
    path: Path, snapshots: int = 0, parent: bool = False, data: bool = False, **options: object
) -> dict[bytes, bytearray]:
    """A directory with an image called `disk`, and its parent or its data file."""
    files = {}
    if parent:
        files[b"base"] = bytearray(campaign.make_raw(path.with_name("base"), 1, SIZE - 50_000))
        with FileStorage(str(path.with_name("base"))) as storage:
            campaign.created(path, "qcow2", SIZE, backing_file=storage, **options)
    elif data:
        create(path, SIZE, f"data_file={path.parent}/data")
        rename_data_file(path, f"{path.parent}/data".encode(), b"data")
        files[b"data"] = bytearray(path.with_name("data").read_bytes())
    else:
        campaign.created(path, "qcow2", SIZE, **options)
    for number in range(snapshots):
        qemu_io(path, "qcow2", f"write -P {number + 1} {number * 100}k 200k")
        qemu_img("snapshot", "-c", f"state {number}", path)
    return files | {b"disk": bytearray(path.read_bytes())}


@pytest.mark.parametrize(
    "options", [{}, {"cluster_size": 512}, {"extended_l2": True, "cluster_size": 16384}], ids=["64k", "512", "sub"]
)
def test_against_a_flat_model(tmp_path_factory: pytest.TempPathFactory, options: dict[str, int]) -> None:
    start = memory_image(tmp_path_factory.mktemp("q") / "disk", **options)

    flat_model(start, 15)


def flat_model(start: dict[bytes, bytearray], examples: int) -> None:
    @given(todo=campaign.operations(SIZE, most=40))
    @settings(max_examples=examples, deadline=None)
    def run(todo: list[Operation]) -> None:
        directory = {name: bytearray(file) for name, file in start.items()}
        open_it = lambda: campaign.opened(campaign.MemoryFile(directory, b"disk", True), rw=True)  # noqa: E731
        with open_it() as device:
            flat = bytearray(campaign.read_all(device.storage(0)))
        campaign.against_model(open_it, flat, todo)
        assert campaign.checked(campaign.MemoryFile(directory, b"disk")) == []

    run()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cluster_size": 512, "refcount_bits": 1},
        {"compat": 2, "cluster_size": 4096},
        {"extended_l2": True, "cluster_size": 16384},
        {"snapshots": 2, "cluster_size": 4096},
        {"parent": True},
        {"parent": True, "compat": 2, "snapshots": 1},
        {"parent": True, "extended_l2": True, "snapshots": 2},
        {"data": True},
    ],
    ids=str,
)
def test_many_against_a_flat_model(tmp_path_factory: pytest.TempPathFactory, options: dict[str, int]) -> None:
    start = memory_image(tmp_path_factory.mktemp("q") / "disk", **options)

    flat_model(start, 200)


@pytest.mark.parametrize("options", ["", "cluster_size=512,refcount_bits=8", "extended_l2=on", "compat=0.10,cluster_size=4k"])
def test_by_turns_with_qemu(tmp_path: Path, options: str) -> None:
    """What one has written, zeroed, discarded or snapshotted, the other goes on with."""
    path = create(tmp_path / "disk", 2 * MIB, options)
    rng = random.Random(options)
    for turn in range(4):
        commands = []
        for _ in range(6):
            kind = rng.choice(("write -P 1", "write -P 2", "write -z", "write -z -u", "discard"))
            at, length = rng.randrange(0, 3000) * 512, rng.randrange(1, 600) * 512
            commands.append(f"{kind} {at} {length}")
        qemu_io(path, "qcow2", *commands)
        if turn == 1:
            qemu_img("snapshot", "-c", "middle", path)
        if turn == 3:
            qemu_img("snapshot", "-d", "middle", path)
        flat = bytearray(campaign.as_raw(path, "qcow2", tmp_path / "out"))
        with FileStorage(str(path)) as storage:
            assert campaign.checked(storage) == []
        todo = campaign.random_operations(rng, len(flat), 12)
        campaign.against_model(lambda: campaign.opened_file(path, True), flat, todo)
        qemu_check(path, "qcow2")
        assert campaign.as_raw(path, "qcow2", tmp_path / "out") == flat


def test_a_growing_refcount_table(tmp_path: Path) -> None:
    """Clusters of 512 bytes, refcounts of 64 bits: a block is for 32 KiB of the file, a table's cluster for 2 MiB."""
    path = tmp_path / "disk"
    campaign.created(path, "qcow2", 12 * MIB, cluster_size=512, refcount_bits=64)
    content = campaign.content(9, 11 * MIB)
    with campaign.opened_file(path, True) as device:
        for at in range(0, len(content), 300_000):
            device.storage(0).write(at, content[at : at + 300_000])
    qemu_check(path, "qcow2")
    assert campaign.as_raw(path, "qcow2", tmp_path / "out")[: len(content)] == content


def test_room_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    campaign.created(path, "qcow2", 64 * MIB)
    with campaign.opened_file(path, True) as device:
        disk = device.storage(0)
        disk.write(0, random.Random(1).randbytes(32 * MIB))
        device.flush()
        full = path.stat().st_blocks * 512
        disk.discard(0, 20 * MIB)
        disk.zero(20 * MIB, 10 * MIB)
        device.flush()
        assert path.stat().st_blocks * 512 < full - 29 * MIB
        size = path.stat().st_size
        disk.write(40 * MIB, bytes(range(256)) * 80000)
    assert path.stat().st_size <= size + MIB
    qemu_check(path, "qcow2")


def test_a_cluster_that_somebody_reads_stays(tmp_path: Path) -> None:
    """A read that has looked up where a cluster lies gets that cluster, whatever is discarded, flushed and written meanwhile."""
    path = tmp_path / "disk"
    campaign.created(path, "qcow2", MIB)
    with campaign.opened_file(path, True) as device:
        disk = device.storage(0)
        assert isinstance(disk, Qcow2Image)
        disk.write(0, b"a" * 65536)
        device.flush()
        place = disk.extents(0, 1)[0].fd_offset
        disk.reading += 1
        disk.discard(0, 65536)
        device.flush()
        disk.write(65536, b"b" * 65536)
        device.flush()
        assert disk.file.read(place, 65536) == b"a" * 65536
        disk.reading -= 1
        device.flush()
        disk.write(0, b"c" * 65536)
        assert disk.file.read(place, 65536) == b"c" * 65536
    qemu_check(path, "qcow2")


def test_a_terabyte(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    campaign.created(path, "qcow2", 1 << 40)
    assert path.stat().st_blocks * 512 < MIB
    with campaign.opened_file(path, True) as device:
        disk = device.storage(0)
        disk.write((1 << 40) - 5, b"12345")
        assert [extent.hole for extent in disk.extents(0, 1 << 40)] == [True, False]
        assert len(disk.read((1 << 40) - 70000, 70000).rstrip(b"\0")) == 70000
    qemu_check(path, "qcow2")


# -------------------------------------------------------------------------------------------- flags


def set_feature(path: Path, offset: int, bits: int) -> None:
    content = bytearray(path.read_bytes())
    old = struct.unpack_from(">Q", content, offset)[0]
    struct.pack_into(">Q", content, offset, old | bits)
    path.write_bytes(content)


def test_marked_corrupt(tmp_path: Path) -> None:
    path = create(tmp_path / "disk", MIB)
    qemu_io(path, "qcow2", "write -P 5 0 64k")
    set_feature(path, layout.INCOMPATIBLE_AT, layout.CORRUPT)
    with pytest.raises(OSError, match="corrupt") as raised:
        campaign.opened_file(path, True)
    assert raised.value.errno == errno.EROFS
    with campaign.opened(FileStorage(str(path), True)) as device:
        assert device.read_only and device.storage(0).read(0, 4) == b"\5" * 4
        assert device.details()["corrupt"] == "yes"
    with FileStorage(str(path)) as storage:
        assert [finding.kind for finding in campaign.checked(storage)] == [WARNING]


@pytest.mark.parametrize(
    "options", ["lazy_refcounts=on", "lazy_refcounts=on,cluster_size=512", "lazy_refcounts=on,refcount_bits=4"]
)
def test_left_dirty(tmp_path: Path, options: str) -> None:
    """As after a power cut with lazy refcounts: those of all that was written are missing."""
    path = create(tmp_path / "disk", MIB, options)
    before = path.read_bytes()
    qemu_io(path, "qcow2", "write -P 5 0 300k", "write -P 6 500k 5k")
    expected = campaign.as_raw(path, "qcow2", tmp_path / "out")
    content = bytearray(path.read_bytes())
    header = struct.unpack_from(">QI", content, layout.REFCOUNT_TABLE_AT)
    size = 1 << struct.unpack_from(">I", content, 20)[0]
    table = content[header[0] : header[0] + size * header[1]]
    for index, (place,) in enumerate(struct.iter_unpack(">Q", table)):
        if place and place < len(before):
            content[place : place + size] = before[place : place + size]
        elif place:
            struct.pack_into(">Q", content, header[0] + index * 8, 0)
    path.write_bytes(content)
    set_feature(path, layout.INCOMPATIBLE_AT, layout.DIRTY)
    with campaign.opened_file(path) as device:
        assert campaign.read_all(device.storage(0)) == expected
        assert device.details()["dirty"] == "yes"
    with FileStorage(str(path)) as storage:
        assert {finding.kind for finding in campaign.checked(storage)} == {WARNING, ERROR}
    with campaign.opened_file(path, True) as device:
        device.storage(0).write(700_000, b"more")
    qemu_check(path, "qcow2", leaks=True)
    with campaign.opened_file(path) as device:
        assert "dirty" not in device.details()
        assert device.storage(0).read(0, 700_000) == expected[:700_000]


def test_bitmaps(tmp_path: Path) -> None:
    """Those that record changes are marked as in use when we write, the others stay valid."""
    path = create(tmp_path / "disk", 4 * MIB)
    qemu_img("bitmap", "--add", "-f", "qcow2", path, "recording")
    qemu_img("bitmap", "--add", "--disable", "-f", "qcow2", path, "still")
    qemu_io(path, "qcow2", "write -P 5 0 300k")
    with campaign.opened_file(path) as device:
        assert device.details()["bitmaps"] == "recording, still"
    with campaign.opened_file(path, True):
        pass
    assert "in-use" not in qemu_img("info", path)
    with campaign.opened_file(path, True) as device:
        device.storage(0).write(0, b"change")
    qemu_check(path, "qcow2")
    shown = qemu_img("info", path)
    assert shown.count("in-use") == 1 and shown.index("in-use") < shown.index("recording") < shown.index("still")
    with FileStorage(str(path)) as storage:
        assert campaign.checked(storage) == []


def test_unknown_autoclear_features_are_cleared(tmp_path: Path) -> None:
    path = create(tmp_path / "disk", MIB)
    set_feature(path, layout.AUTOCLEAR_AT, 1 << 40)
    with campaign.opened_file(path, True) as device:
        device.storage(0).write(0, b"x")
    assert path.read_bytes()[layout.AUTOCLEAR_AT : layout.AUTOCLEAR_AT + 8] == bytes(8)


def test_refused(tmp_path: Path) -> None:
    path = create(tmp_path / "disk", MIB)
    content = bytearray(path.read_bytes())
    for method, name in ((1, "AES"), (2, "LUKS"), (3, "method 3")):
        struct.pack_into(">I", content, 32, method)
        path.write_bytes(content)
        with pytest.raises(OSError, match=name) as raised:
            campaign.opened_file(path)
        assert raised.value.errno == errno.EOPNOTSUPP
    path = create(tmp_path / "future", MIB)
    set_feature(path, layout.INCOMPATIBLE_AT, 1 << 50)
    with pytest.raises(OSError, match="0x4000000000000") as raised:
        campaign.opened_file(path)
    assert raised.value.errno == errno.EOPNOTSUPP


HOSTILE: list[tuple[str, int, str, int, int, str]] = [
    # what, offset, format, value, errno, word of the sentence
    ("cluster bits", 20, ">I", 8, errno.EUCLEAN, "clusters of 2"),
    ("cluster bits", 20, ">I", 63, errno.EUCLEAN, "clusters of 2"),
    ("size", 24, ">Q", (1 << 63) - 512, errno.EUCLEAN, "L1 table"),
    ("size", 24, ">Q", (1 << 64) - 512, errno.EUCLEAN, "disk of"),
    ("size", 24, ">Q", 1 << 40, errno.EUCLEAN, "are needed"),
    ("L1 entries", 36, ">I", 0, errno.EUCLEAN, "are needed"),
    ("L1 entries", 36, ">I", 1 << 31, errno.EUCLEAN, "L1 table"),
    ("L1 entries", 36, ">I", 1 << 20, errno.EUCLEAN, "outside the file"),
    ("L1 table", 40, ">Q", 12345, errno.EUCLEAN, "does not begin"),
    ("L1 table", 40, ">Q", 1 << 62, errno.EUCLEAN, "outside the file"),
    ("refcount table", 48, ">Q", 1 << 40, errno.EUCLEAN, "outside the file"),
    ("refcount clusters", 56, ">I", 1 << 30, errno.EUCLEAN, "refcount table"),
    ("snapshots", 60, ">I", 1 << 20, errno.EUCLEAN, "snapshots"),
    ("snapshots", 60, ">I", 60000, errno.EUCLEAN, "snapshot"),
    ("refcount order", 96, ">I", 7, errno.EUCLEAN, "refcounts"),
    ("header length", 100, ">I", 105, errno.EUCLEAN, "header of 105"),
    ("header length", 100, ">I", 1 << 31, errno.EUCLEAN, "header of"),
    ("version", 4, ">I", 4, errno.EINVAL, "no known"),
    ("backing name", 16, ">I", 5000, errno.EUCLEAN, "backing file's name"),
    ("compression", 104, ">B", 1, errno.EUCLEAN, "compression type"),
    ("compression", 104, ">B", 7, errno.EOPNOTSUPP, "compression type 7"),
]


@pytest.mark.parametrize(("what", "offset", "kind", "value", "number", "word"), HOSTILE)
def test_hostile_headers(tmp_path: Path, what: str, offset: int, kind: str, value: int, number: int, word: str) -> None:
    path = create(tmp_path / "disk", MIB, "", "-u", "-b", "base", "-F", "raw")
    (tmp_path / "base").write_bytes(bytes(512))
    content = bytearray(path.read_bytes())
    struct.pack_into(kind, content, offset, value)
    path.write_bytes(content)
    with pytest.raises(OSError, match=word) as raised:
        campaign.opened_file(path)
    assert raised.value.errno == number


def test_a_map_without_end(tmp_path: Path) -> None:
    """A file of 3 MiB that is a disk of 100 TiB: all L1 entries refer to one L2 table, of zeros and holes by turns."""
    path = tmp_path / "disk"
    campaign.created(path, "qcow2", 100 << 40)
    with open(path, "r+b") as file:
        file.seek(40)
        l1 = struct.unpack(">Q", file.read(8))[0]
        size = path.stat().st_size
        file.truncate(size + 65536)
        file.seek(size)
        file.write(struct.pack(">QQ", 1, 0) * 4096)
        file.seek(l1)
        file.write(struct.pack(">Q", size) * 204800)
    with campaign.opened_file(path) as device, time_limit(5):
        disk = device.storage(0)
        extents = disk.extents(0, disk.size)
        assert sum(extent.length for extent in extents) == disk.size and extents[0].hole
        assert not any(disk.read(disk.size - MIB, MIB))
    with FileStorage(str(path)) as storage, time_limit(10):
        assert {finding.kind for finding in campaign.checked(storage)} == {ERROR}


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"cluster_size": 1000}, "cluster_size"),
        ({"cluster_size": 4 * MIB}, "cluster_size"),
        ({"cluster_size": 4096, "extended_l2": True}, "cluster_size"),
        ({"refcount_bits": 3}, "refcount_bits"),
        ({"compat": 2, "refcount_bits": 8}, "compat"),
        ({"backing_fmt": "raw"}, "backing_file"),
    ],
)
def test_created_with_wrong_options(tmp_path: Path, options: dict[str, object], word: str) -> None:
    with pytest.raises(OSError, match=word) as raised:
        campaign.created(tmp_path / "disk", "qcow2", MIB, **options)
    assert raised.value.errno == errno.EINVAL


def test_created_with_a_parent(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(bytes(512))
    (tmp_path / "below").mkdir()
    with FileStorage(str(tmp_path / "elsewhere")) as parent, pytest.raises(OSError, match="directory of the new image"):
        campaign.created(tmp_path / "below/child", "qcow2", MIB, backing_file=parent)
    content = campaign.make_raw(tmp_path / "base.raw", 3, MIB + 512)
    with FileStorage(str(tmp_path / "base.raw")) as parent:
        campaign.created(tmp_path / "child", "qcow2", None, backing_file=parent)
    with FileStorage(str(tmp_path / "child")) as parent:
        campaign.created(tmp_path / "grandchild", "qcow2", 2 * MIB, backing_file=parent, compat=2)
    with campaign.opened_file(tmp_path / "grandchild", True) as device:
        device.storage(0).write(1000, b"changed")
    assert campaign.as_raw(tmp_path / "child", "qcow2", tmp_path / "out") == content
    qemu_check(tmp_path / "grandchild", "qcow2")
    found = campaign.as_raw(tmp_path / "grandchild", "qcow2", tmp_path / "out")
    assert found == content[:1000] + b"changed" + content[1007:] + bytes(MIB - 512)


# -------------------------------------------------------------------------------------------- check


def test_errors_and_leaks_are_counted_as_qemu_does(tmp_path: Path) -> None:
    path = create(tmp_path / "disk", 4 * MIB)
    qemu_io(path, "qcow2", "write -P 5 0 1M", "write -P 6 2M 64k")
    content = bytearray(path.read_bytes())
    table = struct.unpack_from(">Q", content, layout.REFCOUNT_TABLE_AT)[0]
    block = struct.unpack_from(">Q", content, table)[0]
    for cluster, count in ((6, 0), (7, 3), (9, 2), (200, 1)):
        struct.pack_into(">H", content, block + 2 * cluster, count)
    path.write_bytes(content)
    said = json.loads(subprocess.run(["qemu-img", "check", "--output=json", path], capture_output=True, text=True).stdout)
    with FileStorage(str(path)) as storage:
        found = campaign.checked(storage)
    kinds = [finding.kind for finding in found]
    assert (kinds.count(ERROR), kinds.count(LEAK)) == (said["corruptions"], said["leaks"]), (found, said)


# -------------------------------------------------------------------------------------------- campaigns


CUT = [
    {},
    {"cluster_size": 512, "refcount_bits": 64},
    {"extended_l2": True, "cluster_size": 16384},
    {"cluster_size": 4096, "snapshots": 2},
]


@pytest.mark.parametrize("options", CUT)
def test_power_cuts(tmp_path: Path, options: dict[str, int]) -> None:
    start = memory_image(tmp_path / "disk", **options)
    for seed in range(3):
        campaign.power_cuts(start, b"disk", seed, 30, 6)


@pytest.mark.parametrize("options", [{}, {"cluster_size": 4096}, {"extended_l2": True}], ids=["64k", "4k", "sub"])
def test_threads(tmp_path: Path, options: dict[str, int]) -> None:
    campaign.created(tmp_path / "disk", "qcow2", 8 * MIB, **options)
    campaign.threads(tmp_path / "disk", 1, 0.5)
    qemu_check(tmp_path / "disk", "qcow2")


@pytest.mark.parametrize("options", CUT)
def test_a_file_system_that_is_full_or_fails(tmp_path: Path, options: dict[str, int]) -> None:
    start = memory_image(tmp_path / "disk", **options)
    assert sum(campaign.faults(start, b"disk", seed, 40) for seed in range(4)) > 10


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        *CUT,
        {"compat": 2},
        {"cluster_size": 512, "snapshots": 2},
        {"extended_l2": True, "snapshots": 2},
        {"parent": True, "cluster_size": 4096},
        {"parent": True, "compat": 2, "snapshots": 1},
        {"parent": True, "extended_l2": True, "snapshots": 1},
        {"data": True},
    ],
)
def test_many_power_cuts(tmp_path: Path, options: dict[str, int]) -> None:
    start = memory_image(tmp_path / "disk", **options)
    for seed in range(100, 160):
        campaign.power_cuts(start, b"disk", seed, 60, 12)


@pytest.mark.slow
def test_power_cuts_while_the_refcount_table_grows(tmp_path: Path) -> None:
    """The table is for 2 MiB of the file, and almost used up."""
    path = tmp_path / "disk"
    campaign.created(path, "qcow2", 4 * MIB, cluster_size=512, refcount_bits=64)
    with campaign.opened_file(path, True) as device:
        device.storage(0).write(MIB, random.Random(1).randbytes(1_880_064))
    start = {b"disk": bytearray(path.read_bytes())}
    grown = 0
    for seed in range(25):
        campaign.power_cuts(start, b"disk", seed, 20, 8)
        directory = {b"disk": bytearray(start[b"disk"])}
        with campaign.opened(campaign.MemoryFile(directory, b"disk", True), rw=True) as device:
            for operation in campaign.random_operations(random.Random(seed), 4 * MIB, 20, 512):
                campaign.perform(device.storage(0), operation)
        grown += directory[b"disk"][48:60] != start[b"disk"][48:60]
    assert grown > 5


def damaged_image(path: Path, options: str) -> list[tuple[int, int]]:
    """A small image with a bit of everything, and where its structures are."""
    create(path, 600_064, options)
    qemu_io(path, "qcow2", "write -P 1 0 100k", "write -z 64k 64k", "write -c -P 3 192k 64k", "write -P 2 300k 3k")
    qemu_img("snapshot", "-c", "before", path)
    qemu_io(path, "qcow2", "write -P 4 10k 100k")
    content = path.read_bytes()
    l1, table = struct.unpack_from(">QQ", content, 40)
    size = 1 << struct.unpack_from(">I", content, 20)[0]
    places = [(0, 120), (0, 120), (l1, 8), (table, 16)]
    places.append((struct.unpack_from(">Q", content, table)[0], 64))
    places.append((struct.unpack_from(">Q", content, l1)[0] & layout.OFFSET, min(size, 160)))
    places.append((struct.unpack_from(">Q", content, 64)[0], 80))
    return places


DAMAGED = ["", "cluster_size=4k", "extended_l2=on", "compat=0.10"]


@pytest.mark.parametrize("options", DAMAGED)
def test_damage(tmp_path: Path, options: str) -> None:
    campaign.damage(tmp_path / "disk", damaged_image(tmp_path / "disk", options), 1, 12)


@pytest.mark.slow
@pytest.mark.parametrize("options", DAMAGED)
def test_much_damage(tmp_path: Path, options: str) -> None:
    campaign.damage(tmp_path / "disk", damaged_image(tmp_path / "disk", options), 2, 500)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"cluster_size": 512}, {"extended_l2": True}], ids=["64k", "512", "sub"])
def test_kills(tmp_path: Path, options: dict[str, int]) -> None:
    campaign.created(tmp_path / "disk", "qcow2", 8 * MIB, **options)
    campaign.kills(tmp_path / "disk", 80, 5, after=lambda path: qemu_check(path, "qcow2", leaks=True))
