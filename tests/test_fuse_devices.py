"""Devices as kernel mounts: files that fdisk, mkfs and fsck take for disks, and that follow what is written."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import vfs
from tests.fuse_mounts import LIMIT, alive, foreground, is_mounted, mounted, needs_fuse, place, processes, run, until
from tests.test_fuse_operations import served
from vfs.api import Device, FileStorage, Storage, ioctls, open_image
from vfs.api.blockhandle import RANGE
from vfs.fuse.devices import DeviceFiles

MIB = 1 << 20
SEARCH = f"{os.environ['PATH']}:/usr/sbin:/sbin"

pytestmark = [
    needs_fuse(),
    pytest.mark.skipif(
        any(shutil.which(name, path=SEARCH) is None for name in ("sfdisk", "fdisk", "sgdisk", "mkfs.ext4", "e2fsck")),
        reason="fdisk, sfdisk, sgdisk, mkfs.ext4 or e2fsck (packages fdisk, gdisk, e2fsprogs) is not installed",
    ),
]


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", SEARCH)


def disk(path: Path, size: int = 64 * MIB) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def table(path: Path, script: str) -> None:
    subprocess.run(["sfdisk", "-q", path], input=script, text=True, check=True, timeout=LIMIT, capture_output=True)


def sizes(root: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in root.iterdir()}


def test_disk_is_partitioned_formatted_and_filled_in_place(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk.img")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(os.urandom(3 * MIB))
    with mounted(image, "-t", "mbr", "-o", "rw") as root:
        assert sizes(root) == {"disk": 64 * MIB}
        table(root / "disk", "size=16M\nsize=30M, type=5\n5: size=8M\n")
        assert sizes(root) == {"disk": 64 * MIB, "p1": 16 * MIB, "p2": 1024, "p5": 8 * MIB}
        run("mkfs.ext4", "-q", "-d", tmp_path / "tree", root / "p1")
        run("e2fsck", "-fn", root / "p1")
        subprocess.run(["fdisk", root / "disk"], input=b"d\n2\nw\n", check=True, timeout=LIMIT, capture_output=True)
        assert sizes(root) == {"disk": 64 * MIB, "p1": 16 * MIB}
        content = (root / "p1").read_bytes()
        assert (root / "disk").read_bytes()[MIB : 17 * MIB] == content
    assert image.read_bytes()[MIB : 17 * MIB] == content
    with open_image(image, "mbr") as opened:
        device = opened.layers[0].mounted
        assert isinstance(device, Device)
        part = tmp_path / "part.img"
        part.write_bytes(device.storages()[1].read(0, 16 * MIB))
    run("e2fsck", "-fn", part)
    with open_image(part) as filesystem:
        assert filesystem.read_bytes("/file") == (tmp_path / "tree" / "file").read_bytes()


def test_gpt_by_sgdisk_and_parted(tmp_path: Path) -> None:
    with mounted("none", "-t", "ramdisk", "-o", "mbr,size=64M") as root:
        run("sgdisk", "-n", "1:0:+8M", "-n", "7:0:0", root / "disk")
        assert sorted(sizes(root)) == ["disk", "p1", "p7"]
        assert sizes(root)["p1"] == 8 * MIB
        run("sgdisk", "-v", root / "disk")
        if shutil.which("parted"):
            run("parted", "-s", root / "disk", "rm", "1")
            assert sorted(sizes(root)) == ["disk", "p7"]
        if shutil.which("mkfs.vfat"):
            run("mkfs.vfat", root / "p7")
            run("fsck.vfat", "-n", root / "p7")


def test_what_is_written_to_one_file_is_read_in_the_other(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk.img")
    table(image, "size=16M\n")
    with mounted(image, "-o", "rw") as root, (root / "p1").open("r+b", buffering=0) as part:
        assert part.read(4) == b"\0\0\0\0"
        with (root / "disk").open("r+b", buffering=0) as whole:
            whole.seek(MIB)
            whole.write(b"here")
        assert (root / "p1").read_bytes()[:4] == b"here"
        part.seek(16 * MIB - 2)
        assert part.write(b"abcd") == 2
        with pytest.raises(OSError) as caught:
            part.write(b"x")
        assert caught.value.errno == errno.ENOSPC
        os.fsync(part.fileno())
        assert (root / "disk").read_bytes()[17 * MIB - 2 : 17 * MIB] == b"ab"
        # Devices take no notice of O_TRUNC, and are never another size.
        (root / "p1").write_bytes(b"HERE")
        assert (root / "p1").stat().st_size == 16 * MIB
        for call in (lambda: os.truncate(root / "p1", MIB), lambda: os.truncate(root / "p1", 17 * MIB)):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == errno.EINVAL
        with pytest.raises(PermissionError):
            (root / "p1").chmod(0o777)
        os.utime(root / "p1")
    assert image.read_bytes()[MIB : MIB + 4] == b"HERE"


@pytest.mark.parametrize("kind", ["vdi", "vmdk"])
def test_virtual_disk_is_partitioned_and_formatted_in_place(kind: str, tmp_path: Path) -> None:
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu-img (package qemu-utils) is not installed")
    image, raw = tmp_path / f"disk.{kind}", tmp_path / "disk.raw"
    run("qemu-img", "create", "-q", "-f", kind, image, "64M")
    with mounted(image, "-t", "mbr", "-o", "rw") as root:
        assert sizes(root) == {"disk": 64 * MIB}
        table(root / "disk", "label: gpt\nsize=20M\nsize=10M\n")
        run("mkfs.ext4", "-q", root / "p1")
        run("e2fsck", "-fn", root / "p1")
        (root / "p2").write_bytes(b"second")
        assert vfs("umount", root).returncode == 0
    run("qemu-img", "check", image)
    run("qemu-img", "convert", "-O", "raw", image, raw)
    assert raw.read_bytes()[21 * MIB : 21 * MIB + 6] == b"second"
    with mounted(image) as root:  # what it is, is found out
        assert sizes(root) == {"disk": 64 * MIB, "p1": 20 * MIB, "p2": 10 * MIB}
        assert filecmp.cmp(raw, root / "disk", shallow=False)
        run("e2fsck", "-fn", root / "p1")


def test_several_writers_at_once(tmp_path: Path) -> None:
    """Four processes, each on a partition of its own, write and read it back; then the image holds what all of them wrote."""
    image = disk(tmp_path / "disk.img", 40 * MIB)
    table(image, "size=8M\n" * 4)
    program = """
import os, random, sys
path, seed = sys.argv[1], int(sys.argv[2])
chance, model = random.Random(seed), bytearray(8 << 20)
fd = os.open(path, os.O_RDWR)
for _ in range(150):
    offset = chance.randrange(len(model))
    size = min(chance.choice((1, 512, 5000, 70000, 300000)), len(model) - offset)
    if chance.random() < 0.6:
        content = chance.randbytes(size)
        assert os.pwrite(fd, content, offset) == size
        model[offset : offset + size] = content
    else:
        assert os.pread(fd, size, offset) == model[offset : offset + size]
os.fsync(fd)
os.close(fd)
open(sys.argv[3], "wb").write(model)
"""
    with mounted(image, "-o", "rw") as root:
        running = [
            subprocess.Popen([sys.executable, "-c", program, root / f"p{number}", str(number), tmp_path / f"model{number}"])
            for number in range(1, 5)
        ]
        assert [process.wait(LIMIT) for process in running] == [0] * 4
    content = image.read_bytes()
    for number in range(1, 5):
        start = MIB + (number - 1) * 8 * MIB
        assert content[start : start + 8 * MIB] == (tmp_path / f"model{number}").read_bytes()


def test_unmounting_returns_when_the_image_is_closed(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk.img", 8 * MIB)
    with place() as root:
        for number in range(4):
            assert vfs("mount", "-t", "mbr", "-o", "rw", image, root).returncode == 0
            (serving,) = processes(root)
            (root / "disk").write_bytes(bytes([number]) * MIB)
            assert vfs("umount", root).returncode == 0
            with FileStorage(image, writable=True) as storage:  # EBUSY as long as somebody else writes it
                assert storage.read(MIB - 1, 1) == bytes([number])
            assert until(lambda pid=serving: not alive(pid))  # type: ignore[misc]


class Full(Storage):
    """A disk that takes everything and can save nothing."""

    name, size, read_only = "full", MIB, False

    def readinto(self, offset: int, buffer: memoryview) -> int:
        return len(buffer)

    def write(self, offset: int, content: bytes | memoryview) -> int:
        return len(content)

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "no room for the table")


class FullDevice(Device):
    type = "full"
    read_only = False

    def storages(self) -> dict[int, Storage]:
        return {0: Full()}


def test_what_cannot_be_saved_is_told_before_unmounting() -> None:
    with DeviceFiles(FullDevice()) as files, served(files) as root:
        (root / "disk").write_bytes(b"lost")
        done = vfs("umount", root)
        assert (done.returncode, b"cannot be saved: No space left on device" in done.stderr) == (1, True)
        assert is_mounted(root)
        with (root / "disk").open("r+b") as file, pytest.raises(OSError) as caught:
            os.fsync(file.fileno())
        assert caught.value.errno == errno.ENOSPC


def test_busy_mount_is_not_unmounted(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk.img", 8 * MIB)
    table(image, "size=4M\n")
    with mounted(image, "-o", "rw") as root, (root / "p1").open("rb"):
        done = vfs("umount", root)
        assert (done.returncode, b"in use" in done.stderr) == (1, True)


def test_read_only_is_read_only(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk.img", 8 * MIB)
    table(image, "size=4M\n")
    with mounted(image) as root:
        assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in root.iterdir()} == {"disk": 0o400, "p1": 0o400}
        assert filecmp.cmp(image, root / "disk", shallow=False)
        with pytest.raises(OSError) as caught:
            (root / "p1").open("r+b")
        assert caught.value.errno == errno.EROFS


def test_image_in_use_is_refused(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk.img", 8 * MIB)
    table(image, "size=4M\n")
    with mounted(image, "-o", "rw"), place() as other:
        done = vfs("mount", "-o", "rw", image, other)
        assert (done.returncode, b"in use by another mount" in done.stderr) == (1, True)


def test_table_is_read_again_only_when_it_may_have_changed() -> None:
    class Disk(Device):
        type = "disk"
        read_only = False
        count = 0

        def __init__(self) -> None:
            super().__init__()
            self.memory = Memory()

        def storages(self) -> dict[int, Storage]:
            return {0: self.memory}

        def reread(self) -> None:
            self.count += 1
            raise OSError(errno.EBUSY, "in use")

    class Memory(Storage):
        size, read_only = 4096, False

        def readinto(self, offset: int, buffer: memoryview) -> int:
            return len(buffer)

        def write(self, offset: int, content: bytes | memoryview) -> int:
            return len(content)

    disk = Disk()
    node = DeviceFiles(disk).root.lookup(b"disk")
    with node.open(os.O_RDONLY) as handle:
        handle.flush()
    with node.open(os.O_RDWR) as handle:
        handle.flush()
        assert disk.count == 0
        handle.write(0, b"x")
        handle.flush()
        handle.flush()
    assert disk.count == 1
    with node.open(os.O_RDWR) as handle:
        handle.ioctl(ioctls.BLKZEROOUT, RANGE.pack(0, 512))
    assert disk.count == 2


def test_character_device_is_a_file_without_a_size() -> None:
    with mounted("none", "-t", "trivhd") as root:
        device = root / "device"
        assert (os.listdir(root), device.stat().st_size) == (["device"], 0)
        assert device.read_bytes() == bytes(65536)
        with device.open("r+b", buffering=0) as one, device.open("rb", buffering=0) as other:
            one.write(b"shared")
            assert other.read(6) == b"shared"
            one.seek(65534)
            assert one.write(b"abcd") == 2
            with pytest.raises(OSError) as caught:
                one.write(b"x")
            assert caught.value.errno == errno.ENOSPC
        assert device.read_bytes()[65534:] == b"ab"


def test_null_tells_of_each_request() -> None:
    with place() as root:
        process = foreground("none", root, "-t", "null")
        try:
            assert (root / "device").read_bytes() == b""
            assert (root / "device").write_bytes(b"gone") == 4
        finally:
            run("umount", root) if os.geteuid() == 0 else run("fusermount3", "-u", root)
            _, said = process.communicate(timeout=LIMIT)
    lines = said.decode().splitlines()
    assert "null: write 4 bytes at 0" in lines
    assert lines.count("null: close") == 2
