"""Disks on the command line, as a user looks at them: layers, partitions, bytes; new images, checks, mounts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import fuse_mounts
import pytest

from tests.command import PROJECT, VFS, complaint, output, records, vfs
from tests.devices import LUKS, MIB, SIZES, STARTS, partitioned, run

ELSEWHERE = {**os.environ, "PYTHONPATH": str(PROJECT)}
"""For running `vfs` in another directory."""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return partitioned(tmp_path_factory.mktemp("cli-disk") / "disk.img")


@pytest.fixture(scope="module")
def vdi(disk: Path) -> Path:
    image = disk.with_suffix(".vdi")
    run("qemu-img", "convert", "-O", "vdi", disk, image)
    return image


@pytest.fixture(params=["disk", "vdi"])
def image(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def leftovers(place: Path) -> list[str]:
    return [name for name in os.listdir(place) if name.startswith(".vfs-")]


# ---------------------------------------------------------------------------------------------------------- looking in


def test_looking_into_parts(image: Path) -> None:
    assert output("ls", image).split() == [b"disk", b"p1", b"p2", b"p3"]
    assert output("ls", image, "/p1/etc").split() == [b"alias", b"hostname", b"up"]
    assert output("cat", image, "/p1/etc/alias", "/p3/etc/up") == b"host1\nhost3\n"
    assert output("ls", "--partition", "3", image).split() == [b"data", b"etc", b"lost+found", b"sparse"]
    assert output("ls", f"{image}!/p1", "etc").split() == [b"alias", b"hostname", b"up"]
    assert output("find", image, "-name", "hostname").split() == [b"/p1/etc/hostname", b"/p3/etc/hostname"]
    assert b"2 directories" not in output("tree", image) and b"hostname" in output("tree", image)
    assert output("cat", image, "/p2")[: len(LUKS)] == LUKS
    rows = {row["path"]: (row["type"], row["size"]) for row in records("ls", "--json", image)}
    assert rows["/p2"] == ("file", SIZES[2]) and rows["/disk"] == ("file", 20 * MIB)
    assert rows["/p1"][0] == rows["/p3"][0] == "dir"
    done = vfs("cat", image, "/p4/etc/hostname")
    assert done.returncode == 1 and complaint(done) == f"vfs: {image}: /p4/etc/hostname: No such file or directory"


def test_taking_out_takes_each_byte_once(image: Path, tmp_path: Path) -> None:
    output("extract", image, tmp_path / "all")
    assert sorted(os.listdir(tmp_path / "all")) == ["p1", "p2", "p3"]
    for number in (1, 3):
        assert (tmp_path / f"all/p{number}/etc/hostname").read_text() == f"host{number}\n"
    assert (tmp_path / "all/p2").stat().st_size == SIZES[2]
    assert (tmp_path / "all/p2").stat().st_blocks * 512 <= SIZES[2] / 2
    output("cp", image, "/disk", "/p3/etc/hostname", tmp_path)
    assert (tmp_path / "disk").stat().st_size == 20 * MIB and (tmp_path / "hostname").read_text() == "host3\n"
    archive = tmp_path / "all.tar"
    archive.write_bytes(output("extract", "--tar", image, "-"))
    with tarfile.open(archive) as tar:
        names = set(tar.getnames())
        assert {"p1/etc/hostname", "p2", "p3/data"} <= names and "disk" not in names


def test_df(image: Path) -> None:
    lines = output("df", image).decode().splitlines()
    assert len(lines) == 3 and lines[1].startswith(f"{image}!/p1 ext2 ") and lines[2].startswith(f"{image}!/p3 ext2 ")
    assert [(row["partition"], row["type"]) for row in records("df", "--json", image)] == [(1, "ext2"), (3, "ext2")]
    (row,) = records("df", "--json", "--partition", "3", image)
    assert "partition" not in row and 6 * MIB < row["size"] <= 8 * MIB


def test_info_tells_the_layers(image: Path) -> None:
    rows = records("info", "--json", image)
    devices = ["vd", "mbr"] if image.suffix == ".vdi" else ["mbr"]
    assert [row["type"] for row in rows] == [*devices, "ext2", "ext2"]
    assert [row["layer"] for row in rows] == [*range(len(devices)), len(devices), len(devices)]
    if image.suffix == ".vdi":
        assert rows[0]["details"]["format"] == "vdi" and rows[0]["details"]["virtual size"] == 20 * MIB
    table = rows[len(devices) - 1]
    assert table["details"]["table"] == "GPT" and [row["number"] for row in table["partitions"]] == [1, 2, 3]
    assert [row["source"] for row in rows[-2:]] == [f"{image}!/p1", f"{image}!/p3"]
    assert [row["type"] for row in records("info", "--json", "--partition", "1", image)] == [*devices, "ext2"]
    text = output("info", image).decode()
    assert "  p1: 8.0M at 1.0M, Linux filesystem, 'root'\n" in text


def test_info_of_a_damaged_layer(disk: Path, tmp_path: Path) -> None:
    image = tmp_path / "damaged.img"
    content = bytearray(disk.read_bytes())
    content[STARTS[1] + 1024 + 0x63] |= 0x80  # s_feature_incompat
    image.write_bytes(content)
    for more in ([], ["--partition", "1"]):
        done = vfs("info", *more, image)
        assert done.returncode == 1 and done.stdout.startswith(os.fsencode(f"{image}: mbr\n"))
        assert f"{image}" in complaint(done) and "/p1: " in complaint(done) and "not supported" in complaint(done)
    done = vfs("ls", image, "/p1", "/p3/etc")
    assert done.returncode == 1 and b"hostname" in done.stdout and f"vfs: {image}: /p1: " in complaint(done)


def test_partitions(image: Path, disk: Path) -> None:
    told = json.loads(run("sfdisk", "-J", disk))["partitiontable"]["partitions"]
    rows = records("partitions", "--json", image)
    assert [(row["start"] >> 9, row["size"] >> 9, row["type"], row["uuid"]) for row in rows] == [
        (part["start"], part["size"], part["type"], part["uuid"]) for part in told
    ]
    assert [(row["number"], row["name"], row["bootable"]) for row in rows] == [(1, "root", False), (2, "", False), (3, "", False)]
    lines = output("partitions", image).decode().splitlines()
    assert lines[0].split() == ["Number", "Start", "Size", "Boot", "Type", "Name", "UUID"] and len(lines) == 4
    done = vfs("partitions", "--partition", "1", image)
    assert done.returncode == 1 and complaint(done) == f"vfs: {image}!/p1: has no table of partitions: ext2"


@pytest.mark.parametrize("format", ["qcow2", "vdi", "vhdx", "vmdk", "vpc"])
def test_looking_in_imports_little(format: str, disk: Path, tmp_path: Path) -> None:
    image = tmp_path / f"disk.{format}"
    run("qemu-img", "convert", "-O", format, disk, image)
    program = "import sys; from vfs.cli.main import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program, "ls", image, "/p1"], capture_output=True, text=True, cwd=PROJECT, env=ELSEWHERE
    )
    assert done.stdout.split() == ["data", "etc", "lost+found", "sparse"]
    imported = set(done.stderr.split())
    other = {f"vfs.vd.{name}" for name in ("qcow2", "vdi", "vhd", "vhdx", "vmdk")} - {f"vfs.vd.{format.replace('vpc', 'vhd')}"}
    heavy = {
        "json",
        "hashlib",
        "random",
        "secrets",
        "tempfile",
        "subprocess",
        "ctypes",
        "socket",
        "logging",
        "concurrent.futures",
        "uuid",
    }
    assert not imported & (other | heavy)


# ---------------------------------------------------------------------------------------------------------------- bytes


def test_read(image: Path, disk: Path, tmp_path: Path) -> None:
    content = disk.read_bytes()
    assert output("read", image) == content
    assert output("read", "--partition", "2", image) == content[STARTS[2] : STARTS[2] + SIZES[2]]
    assert output("read", "--offset", "1K", "--length", "2000", "--partition", "3", image) == content[STARTS[3] + 1024 :][:2000]
    assert output("read", "--offset", "20M", image) == b""
    assert output("read", "--offset", str(20 * MIB - 3), "--length", "1G", image) == content[-3:]
    copy = tmp_path / "copy"
    with open(copy, "wb") as out:
        output("read", image, capture_output=False, stdout=out, stderr=subprocess.PIPE)
    assert copy.read_bytes() == content and copy.stat().st_blocks * 512 < 12 * MIB
    with open(copy, "wb") as out:
        out.write(b"before")
        out.flush()
        output("read", "--partition", "2", image, capture_output=False, stdout=out, stderr=subprocess.PIPE)
    assert copy.read_bytes() == b"before" + content[STARTS[2] : STARTS[2] + SIZES[2]]
    assert output("read", f"{image}!/p1/etc/hostname") == b"host1\n"


def test_read_refuses(image: Path, tmp_path: Path) -> None:
    for arguments, said in (
        (["--offset", "21M"], "--offset 22020096 is beyond the end at 20971520"),
        (["--partition", "4"], "no partition 4"),
    ):
        done = vfs("read", *arguments, image)
        assert (done.returncode, done.stdout) == (1, b"") and complaint(done).endswith(said)
    assert vfs("read", "--offset=-1", image).returncode == 2
    assert complaint(vfs("read", tmp_path)).endswith("a directory, not a disk")


# ------------------------------------------------------------------------------------------------------------ new images


@pytest.mark.parametrize("format", ["raw", "qcow2", "vdi", "vhd", "vhdx", "vmdk"])
def test_convert(format: str, disk: Path, tmp_path: Path) -> None:
    target = tmp_path / f"new.{format}"
    target.write_bytes(b"something old")
    assert output("convert", disk, target) == b""
    name = {"vhd": "vpc"}.get(format, format)
    assert "identical" in run("qemu-img", "compare", "-f", "raw", "-F", name, disk, target)
    if format in ("qcow2", "vdi", "vhdx"):
        run("qemu-img", "check", target)
    assert target.stat().st_blocks * 512 < 14 * MIB
    assert output("convert", target, "-")[: 20 * MIB] == disk.read_bytes()
    assert os.listdir(tmp_path) == [target.name]


def test_convert_to_several_files(vdi: Path, disk: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.vmdk"
    for subformat, pieces in (
        ("twoGbMaxExtentSparse", ["new-s001.vmdk"]),
        ("monolithicFlat", ["new-flat.vmdk"]),
        ("streamOptimized", []),
    ):
        output("convert", "-o", f"subformat={subformat}", vdi, target)
        assert "identical" in run("qemu-img", "compare", disk, target)
        assert sorted(os.listdir(tmp_path)) == sorted(["new.vmdk", *pieces])
        for name in os.listdir(tmp_path):
            (tmp_path / name).unlink()
    (tmp_path / "new-flat.vmdk").write_bytes(b"somebody's")
    done = vfs("create", "-o", "subformat=monolithicFlat", target, "1M")
    assert done.returncode == 1 and complaint(done) == f"vfs: {tmp_path}/new-flat.vmdk: File exists"
    assert os.listdir(tmp_path) == ["new-flat.vmdk"]


def test_children_of_other_images(disk: Path, tmp_path: Path) -> None:
    base, child, copy = tmp_path / "base.raw", tmp_path / "child.qcow2", tmp_path / "copy.qcow2"
    base.write_bytes(disk.read_bytes())
    output("create", "-o", "backing_file=base.raw,backing_fmt=raw", child, cwd=tmp_path, env=ELSEWHERE)
    assert child.stat().st_blocks * 512 < MIB
    assert output("cat", child, "/p3/etc/hostname") == b"host3\n"
    (details,) = (row["details"] for row in records("info", "--json", child) if row["type"] == "vd")
    assert details["parent"] == "base.raw" and details["virtual size"] == 20 * MIB
    (tmp_path / "far").mkdir()
    child.rename(tmp_path / "far" / "child.qcow2")
    child = tmp_path / "far" / "child.qcow2"
    done = vfs("ls", child)
    assert done.returncode == 1 and "its parent 'base.raw' is missing" in complaint(done)
    assert output("ls", "-o", f"parent={base}", child, "/p1/etc").split() == [b"alias", b"hostname", b"up"]
    output("convert", "-s", f"parent={base}", child, copy)
    assert "identical" in run("qemu-img", "compare", disk, copy)
    # What is zero in the source and not in the parent is zero in the copy.
    empty = tmp_path / "empty.raw"
    empty.write_bytes(bytes(20 * MIB))
    output("convert", "-o", "backing_file=base.raw,backing_fmt=raw", empty, copy, cwd=tmp_path, env=ELSEWHERE)
    assert "identical" in run("qemu-img", "compare", empty, copy)


def test_convert_a_partition_and_an_inner_file(image: Path, disk: Path, tmp_path: Path) -> None:
    output("convert", "--partition", "1", image, tmp_path / "root.img")
    assert (tmp_path / "root.img").read_bytes() == disk.read_bytes()[STARTS[1] : STARTS[1] + SIZES[1]]
    run("e2fsck", "-fn", tmp_path / "root.img")
    output("convert", "-O", "raw", f"{image}!/p1/sparse", tmp_path / "sparse")
    assert (tmp_path / "sparse").stat().st_size == 3 * MIB and (tmp_path / "sparse").stat().st_blocks < 300


def test_convert_refuses(image: Path, tmp_path: Path) -> None:
    for arguments, said in (
        (["-O", "nonsense", image, tmp_path / "x"], "unknown format 'nonsense' (known: "),
        (["-o", "nonsense=1", image, tmp_path / "x"], f"{tmp_path}/x: unknown option 'nonsense'"),
        (["-O", "vdi", image, "-"], "vdi cannot be written to a pipe"),
        ([image, tmp_path], f"{tmp_path}: is not a file"),
        ([image, tmp_path / "no" / "x"], f"{tmp_path}/no/x: No such file or directory"),
        ([tmp_path / "absent", tmp_path / "x"], "absent: No such file"),
        ([image, image], f"{image}: is in use"),
    ):
        done = vfs("convert", *arguments)
        assert done.returncode == 1 and said in complaint(done), complaint(done)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_interrupted_convert_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    source, target = tmp_path / "source.img", tmp_path / "new.vdi"
    with open(source, "wb") as file:
        for _ in range(64):
            file.write(os.urandom(MIB) * 8)
    target.write_bytes(b"what was there")
    process = subprocess.Popen([*VFS, "convert", source, target], stderr=subprocess.PIPE, cwd=PROJECT)
    deadline = time.monotonic() + 30
    while not leftovers(tmp_path) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(number)
    said = process.communicate(timeout=30)[1]
    # Python ends by the signal itself where that came while a class was being made; a shell sees 130 both times.
    assert process.returncode in ({130, -2} if number == signal.SIGINT else {128 + number}), said
    assert sorted(os.listdir(tmp_path)) == ["new.vdi", "source.img"] and target.read_bytes() == b"what was there"


def test_create(tmp_path: Path) -> None:
    output("create", tmp_path / "new.vdi", "3M")
    assert json.loads(run("qemu-img", "info", "--output=json", tmp_path / "new.vdi"))["virtual-size"] == 3 * MIB
    output("create", tmp_path / "plain", "5000")
    assert (tmp_path / "plain").stat().st_size == 5000
    done = vfs("create", tmp_path / "plain", "1M")
    assert done.returncode == 1 and complaint(done) == f"vfs: {tmp_path}/plain: File exists"
    assert "needs a size" in complaint(vfs("create", tmp_path / "x.img"))
    assert vfs("create", tmp_path / "x.img", "much").returncode == 2
    assert sorted(os.listdir(tmp_path)) == ["new.vdi", "plain"]


def test_check(image: Path, disk: Path, tmp_path: Path) -> None:
    assert b": mbr: nothing wrong\n" in output("check", image)
    assert output("check", "--json", image) == b""
    damaged = tmp_path / "damaged.img"
    content = bytearray(disk.read_bytes())
    content[512 + 16] ^= 255  # the header's checksum
    damaged.write_bytes(content)
    done = vfs("check", "--json", damaged)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows and {row["type"] for row in rows} == {"mbr"} and all(row["source"] == str(damaged) for row in rows)
    assert done.returncode == (1 if any(row["kind"] == "error" for row in rows) else 0)
    plain = tmp_path / "plain"
    plain.write_bytes(bytes(5000))
    assert complaint(vfs("check", plain)) == f"vfs: {plain}: not an image of any known format"


# --------------------------------------------------------------------------------------------------------------- mounts


def test_devices_without_a_source() -> None:
    assert output("ls", "-t", "ramdisk", "-o", "size=1M", "none") == b"disk\n"
    assert output("read", "-t", "ramdisk", "-o", "size=1M", "none") == bytes(MIB)
    assert [row["type"] for row in records("info", "--json", "-t", "null", "none")] == ["null"]
    assert complaint(vfs("read", "-t", "null", "none")) == "vfs: none: null gives no disk"
    assert "a character device (null), no file system" in complaint(vfs("ls", "-t", "null", "none"))
    assert complaint(vfs("partitions", "-t", "ramdisk", "none")) == "vfs: none: has no table of partitions: ramdisk"


@fuse_mounts.needs_fuse()
def test_a_partition_is_mounted(image: Path) -> None:
    with fuse_mounts.mounted(image, "--partition", "3") as place:
        assert (place / "etc/hostname").read_text() == "host3\n"
        shown = run("findmnt", "-n", "-o", "SOURCE,FSTYPE", place).split()
        assert shown == [f"{image}!/p3", "fuse.ext2"]
    with fuse_mounts.mounted(image) as place:
        assert {"disk", "p1", "p2", "p3"} == set(os.listdir(place))
        assert (place / "p2").read_bytes()[: len(LUKS)] == LUKS
