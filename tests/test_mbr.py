"""Partition tables as sfdisk, sgdisk and parted make them: what we read is what `sfdisk -J` reads."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vfs.api import CERTAIN, LIKELY, NO, POSSIBLE, Device, Extent, FileStorage, Storage, SubStorage, ioctls, open_image, registry
from vfs.api.blockhandle import BLKPG_ARGUMENT, BLKPG_PARTITION

MIB = 1 << 20
needs_tools = pytest.mark.skipif(
    any(shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None for name in ("sfdisk", "sgdisk", "parted")),
    reason="sfdisk, sgdisk and parted (packages fdisk, gdisk, parted) are not installed",
)
pytestmark = needs_tools
ENVIRONMENT = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}


def run(*command: str | Path, given: str = "", accept: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(list(map(str, command)), input=given, capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    assert done.returncode in accept, f"{command}: {done.stderr}{done.stdout}"
    return done.stdout


def disk(path: Path, size: int = 64 * MIB) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def sfdisk(path: Path, script: str) -> None:
    run("sfdisk", "-q", "--no-reread", "--no-tell-kernel", path, given=script)


def overwrite(path: Path, offset: int, content: bytes) -> None:
    """A negative offset counts from the end."""
    with path.open("r+b") as file:
        file.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
        file.write(content)


@contextmanager
def mounted(path: Path, options: str = "", writable: bool = False) -> Iterator[Device]:
    with open_image(path, "mbr", options, writable) as image:
        device = image.layers[0].mounted
        assert isinstance(device, Device)
        yield device


def oracle(path: Path) -> dict[str, Any]:
    """What sfdisk says; of sectors of 4 KiB fdisk, which can be told to take an image's for such, in the script that it saves."""
    if "4k" not in path.name:
        table: dict[str, Any] = json.loads(run("sfdisk", "-J", path))["partitiontable"]
        return table
    script = path.with_suffix(".script")
    script.unlink(missing_ok=True)
    run("fdisk", "-b", "4096", path, given=f"O\n{script}\nq\n")
    head, _, body = script.read_text().partition("\n\n")
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    rows = []
    for line in body.splitlines():
        node, _, rest = line.partition(" : ")
        values = {name: value.strip('"') for name, value in re.findall(r'([a-z]+)= *("[^"]*"|[^,]+)', rest)}
        start, size = int(values.pop("start")), int(values.pop("size"))
        rows.append({"node": node, "start": start, "size": size, "bootable": rest.endswith("bootable"), **values})
    return {"label": fields["label"], "id": fields["label-id"], "sectorsize": 4096, "partitions": rows}


def compare(path: Path, options: str = "") -> Device:
    """Our table is sfdisk's, and the storages are where it says."""
    table = oracle(path)
    sector = table["sectorsize"]
    with mounted(path, options) as device:
        ours = [
            {
                "number": row.number,
                "start": row.start // sector,
                "size": row.size // sector,
                "type": row.type,
                "uuid": row.uuid,
                "name": row.name,
                "bootable": row.bootable,
            }
            for row in device.partitions()
        ]
        theirs = [
            {
                "number": int(row["node"].removeprefix(str(path))),
                "start": row["start"],
                "size": row["size"],
                "type": row["type"].upper() if table["label"] == "gpt" else row["type"],
                "uuid": row.get("uuid", ""),
                "name": row.get("name", ""),
                "bootable": row.get("bootable", False) or "LegacyBIOSBootable" in row.get("attrs", ""),
            }
            for row in table.get("partitions", [])
        ]
        assert ours == sorted(theirs, key=lambda row: row["number"])
        details = device.details()
        assert details["table"] == {"dos": "MBR", "gpt": "GPT"}[table["label"]]
        assert details["disk identifier"] == table["id"]
        assert details["sector size"] == sector
        storages = device.storages()
        assert storages[0].size == path.stat().st_size
        assert all(storage.block_size == sector for storage in storages.values())
        for row in device.partitions():
            if row.start + row.size <= storages[0].size:
                part = storages[row.number]
                assert isinstance(part, SubStorage)
                extended = table["label"] == "dos" and row.number < 5 and row.type in ("5", "f", "85")
                assert (part.start, part.size) == (row.start, min(row.size, max(sector, 1024)) if extended else row.size)
        return device


# ---------------------------------------------------------------------------------------------------------------- tables


def scripted(script: str, size: int = 64 * MIB) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        disk(path, size)
        sfdisk(path, script)

    return make


def scripted_4k(script: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        disk(path)
        written = path.with_suffix(".given")
        written.write_text(script)
        run("fdisk", "-b", "4096", path, given=f"I\n{written}\nw\n")

    return make


def by_sgdisk(*options: str, size: int = 64 * MIB) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        disk(path, size)
        run("sgdisk", "-a", "8", *options, path)

    return make


def by_parted(*commands: str, size: int = 64 * MIB) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        disk(path, size)
        run("parted", "-s", "-a", "none", path, *" ".join(commands).split())

    return make


def then(make: Callable[[Path], None], change: Callable[[Path], object]) -> Callable[[Path], None]:
    def both(path: Path) -> None:
        make(path)
        change(path)

    return both


def without_logicals(path: Path) -> None:
    """Delete the second of four logical partitions: a gap, and those after it move down."""
    run("sfdisk", "-q", "--no-reread", "--no-tell-kernel", "--delete", path, "6")


LOGICALS = "label: dos\nstart=2048, size=4M, type=83\nstart=12288, size=50M, type=5\n" + "\n".join(["size=2M"] * 4) + "\n"
GPT = 'label: gpt\nsize=4M, type=uefi, name="EFI system"\nsize=8M, name="root"\nsize=4M, type=swap\n'
MANY = "label: gpt\n" + "\n".join(f'size=64K, name="part {number}"' for number in range(1, 129)) + "\n"

TABLES: dict[str, Callable[[Path], None]] = {
    "mbr-empty": scripted("label: dos\n"),
    "mbr-one": scripted("label: dos\nsize=8M, type=c, bootable\n"),
    "mbr-four": scripted("label: dos\n" + "size=4M\nsize=4M, type=82\nsize=4M, type=8e\nsize=4M, type=fd, bootable\n"),
    "mbr-id": scripted("label: dos\nlabel-id: 0xdeadbeef\nsize=4M, type=7\n"),
    "mbr-empty-slots": scripted("label: dos\n2: size=4M, type=83\n4: size=4M, type=7\n"),
    "mbr-out-of-order": scripted("label: dos\nstart=40960, size=4M\nstart=2048, size=4M\nstart=20480, size=1M\n"),
    "mbr-sector-1": scripted("label: dos\nstart=1, size=7\nstart=9, size=1\n"),
    "mbr-to-the-end": scripted("label: dos\nsize=+\n"),
    "mbr-odd-size": scripted("label: dos\nsize=+\n", size=10 * MIB + 512 * 3),
    "mbr-type-ee": scripted("label: dos\nstart=8, size=4M, type=ee\n"),
    "logical-four": scripted(LOGICALS),
    "logical-0f": scripted(LOGICALS.replace("type=5\n", "type=f\n")),
    "logical-85": scripted(LOGICALS.replace("type=5\n", "type=85\n")),
    "logical-deleted": then(scripted(LOGICALS), without_logicals),
    "logical-none": scripted("label: dos\nsize=4M\nsize=+, type=f\n"),
    "logical-first": scripted("label: dos\nsize=40M, type=5\nsize=4M\n5: size=1M, type=82\n6: size=1M\n"),
    "logical-out-of-order": scripted(
        "label: dos\nstart=2048, size=60M, type=5\n5: start=61440, size=1M\n6: start=20480, size=1M\n7: start=4096, size=2M\n"
    ),
    "logical-gaps": scripted(
        "label: dos\n4: start=2048, size=60M, type=f\n"
        "5: start=8192, size=1M\n6: start=20480, size=1M, type=7\n7: start=90112, size=1M\n"
    ),
    "logical-many": scripted("label: dos\nsize=+, type=5\n" + "\n".join(["size=64K"] * 50) + "\n", size=120 * MIB),
    "logical-parted": by_parted(
        "mklabel msdos mkpart primary ext4 2048s 8191s mkpart extended 8192s 120000s",
        "mkpart logical fat32 9000s 10000s mkpart logical linux-swap 12001s 20000s mkpart logical 50000s 50100s set 5 lba on",
    ),
    "mbr-parted": by_parted("mklabel msdos mkpart primary fat32 63s 9999s mkpart primary ntfs 10000s 20000s set 2 boot on"),
    "mbr-4k": scripted_4k("label: dos\nsize=4M\nsize=30M, type=5\nsize=2M\nsize=2M, type=82\n"),
    "gpt-empty": scripted("label: gpt\n"),
    "gpt-three": scripted(GPT),
    "gpt-128": scripted(MANY, size=140 * MIB),
    "gpt-slots": scripted("label: gpt\n3: size=4M\n77: size=1M\n128: size=1M\n"),
    "gpt-attributes": scripted(
        'label: gpt\nsize=4M, attrs="RequiredPartition LegacyBIOSBootable GUID:60"\nsize=4M, attrs="GUID:63"\n'
    ),
    "gpt-names": scripted(
        'label: gpt\nsize=1M, name="Öffentlich ✓"\nsize=1M, name="📀 disc"\nsize=1M, name="' + "n" * 36 + '"\n'
    ),
    "gpt-ids": scripted(
        "label: gpt\nlabel-id: 00112233-4455-6677-8899-AABBCCDDEEFF\nsize=1M, uuid=FFEEDDCC-BBAA-9988-7766-554433221100\n"
    ),
    "gpt-56-entries": scripted("label: gpt\ntable-length: 56\nsize=4M\n"),
    "gpt-4k": scripted_4k(GPT),
    "gpt-sgdisk": by_sgdisk("-n", "1:0:+4M", "-t", "1:ef00", "-c", "1:boot", "-n", "5:0:0", "-A", "5:set:2"),
    "gpt-256-entries": by_sgdisk("-S", "256", "-n", "200:0:+4M", "-n", "256:0:+1M"),
    "gpt-shifted-entries": by_sgdisk("-j", "40", "-n", "1:0:+4M"),
    "gpt-hybrid": by_sgdisk("-n", "1:0:+4M", "-n", "2:0:+4M", "-n", "3:0:+4M", "-h", "1:3"),
    "gpt-hybrid-ee-last": by_sgdisk("-n", "1:0:+4M", "-n", "2:0:+4M", "-h", "2:EE"),
    "gpt-parted": by_parted("mklabel gpt mkpart first ext4 34s 4095s mkpart second 8192s 100000s set 2 esp on name 1 Fünf"),
    "gpt-no-primary": then(scripted(GPT), lambda path: overwrite(path, 512, bytes(512))),
    "gpt-primary-header-bit": then(scripted(GPT), lambda path: overwrite(path, 512 + 72, b"\x40")),
    "gpt-primary-entry-bit": then(scripted(GPT), lambda path: overwrite(path, 1024 + 40, b"\x01")),
    "gpt-no-backup": then(scripted(GPT), lambda path: overwrite(path, -512, bytes(512))),
    "gpt-grown": then(scripted(GPT), lambda path: os.truncate(path, 80 * MIB)),
    "gpt-4k-no-primary": then(scripted_4k(GPT), lambda path: overwrite(path, 4096, bytes(4096))),
    "gpt-protective-only": then(
        scripted(GPT), lambda path: (overwrite(path, 512, bytes(33 * 512)), overwrite(path, -33 * 512, bytes(33 * 512)))
    ),
    "gpt-unprotected": then(scripted(GPT), lambda path: overwrite(path, 446 + 4, b"\x83")),
}


@pytest.mark.parametrize("name", TABLES)
def test_table_is_as_sfdisk_reads_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"disk-{name}-"
    TABLES[name](path)
    # Of a GPT the place of its header tells the size of sectors.
    options = "sector_size=4096" if name == "mbr-4k" else ""
    compare(path, options)
    if name not in ("mbr-type-ee", "gpt-protective-only"):  # of which libblkid wants to know nothing
        sectors = ["--sector-size", "4096"] if "4k" in name else []
        listed = run("partx", "-s", "-g", "-o", "NR,START,SECTORS", *sectors, path, accept=(0, 1))
        with mounted(path, options) as device:
            ours = [(row.number, row.start // 512, row.size // 512) for row in device.partitions()]
        assert ours == [tuple(map(int, line.split())) for line in listed.splitlines()]


# ---------------------------------------------------------------------------------------------------------------- what is told


def warnings(path: Path, options: str = "") -> str:
    with mounted(path, options) as device:
        return str(device.details().get("warnings", ""))


def test_warnings(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    TABLES["gpt-three"](path)
    assert warnings(path) == ""
    TABLES["gpt-no-primary"](path)
    assert warnings(path) == "GPT: the primary header is damaged (no signature), the backup at sector 131071 is used"
    TABLES["gpt-primary-entry-bit"](path)
    assert "wrong checksum of the entries" in warnings(path)
    TABLES["gpt-no-backup"](path)
    assert warnings(path) == "GPT: the backup header at sector 131071 is damaged (no signature)"
    TABLES["gpt-grown"](path)
    assert warnings(path) == "GPT: the backup header is at sector 131071, the disk's last is 163839"
    TABLES["gpt-protective-only"](path)
    assert warnings(path) == "MBR: protects a GPT, of which no header is good"
    TABLES["gpt-unprotected"](path)
    assert "no protective partition" in warnings(path)
    TABLES["gpt-hybrid"](path)
    with mounted(path) as device:
        assert device.details()["hybrid MBR"] == "2: Linux filesystem, 3: Linux filesystem"


@pytest.mark.parametrize("damage", [b"", b"\xff" * 512])
def test_grown_disk_without_primary_is_found_by_its_protective_partition(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "disk"
    TABLES["gpt-three"](path)
    with mounted(path) as device:
        before = [dict(row) for row in device.partitions()]
    os.truncate(path, 80 * MIB)
    overwrite(path, 512, damage or bytes(512))
    with mounted(path) as device:
        assert [dict(row) for row in device.partitions()] == before
        assert "the backup at sector 131071 is used" in str(device.details()["warnings"])


def test_types_have_names(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    TABLES["gpt-three"](path)
    with mounted(path) as device:
        assert [row.type_name for row in device.partitions()] == ["EFI System", "Linux filesystem", "Linux swap"]
    TABLES["mbr-four"](path)
    with mounted(path) as device:
        assert [row.type_name for row in device.partitions()] == ["Linux filesystem", "Linux swap", "Linux LVM", "Linux RAID"]


def test_every_type_that_sfdisk_names_for_mbr_has_a_name() -> None:
    from vfs.mbr.types import mbr_type_name

    types = [int(line.split()[0], 16) for line in run("sfdisk", "-X", "dos", "-T").splitlines()[2:] if line.strip()]
    assert [number for number in types if number and not mbr_type_name(number)] == []


# ---------------------------------------------------------------------------------------------------------------- checking


def findings(path: Path) -> list[tuple[str, str]]:
    module = registry.find("mbr")
    with FileStorage(path) as storage:
        return [tuple(finding) for finding in module.check(storage, module.options())]


@pytest.mark.parametrize(
    "name", ["mbr-empty", "mbr-four", "logical-deleted", "gpt-128", "gpt-4k", "gpt-hybrid", "gpt-256-entries"]
)
def test_check_finds_nothing_in_good_tables(name: str, tmp_path: Path) -> None:
    path = tmp_path / "disk"
    TABLES[name](path)
    assert findings(path) == []


def test_check_names_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    TABLES["gpt-grown"](path)
    assert findings(path) == [
        ("warning", "GPT: the backup header is at sector 131071, the disk's last is 163839"),
        ("warning", "MBR: the protective partition has 131071 sectors, the disk 163840"),
    ]
    TABLES["gpt-primary-header-bit"](path)
    ((kind, sentence),) = findings(path)
    assert (kind, "wrong checksum of the header" in sentence) == ("error", True)
    assert "Problem:" in run("sgdisk", "-v", path, accept=(0, 2))
    TABLES["gpt-three"](path)
    same = "0FC63DAF-8483-4772-8E79-3D69D8477DE5"
    run("sgdisk", "-u", f"1:{same}", "-u", f"3:{same}", path)
    assert findings(path) == [("error", "partitions with the same GUID: 1, 3")]
    refused(errno.EINVAL, findings, disk(path))


# ---------------------------------------------------------------------------------------------------------------- probing


def probed(path: Path) -> int:
    with FileStorage(path) as storage:
        return registry.find("umdevmbr").probe(storage)


def test_probe(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    for name, sure in (("gpt-three", CERTAIN), ("gpt-no-primary", CERTAIN), ("gpt-4k", CERTAIN), ("mbr-one", LIKELY)):
        (TABLES[name])(path)
        assert probed(path) == sure, name
    TABLES["mbr-empty"](path)
    assert probed(path) == POSSIBLE
    assert probed(disk(path)) == NO
    assert probed(disk(path, 0)) == NO


def test_boot_sector_of_a_file_system_is_no_table(tmp_path: Path) -> None:
    path = disk(tmp_path / "disk", 16 * MIB)
    for make in (("mkfs.vfat", "-F", "16"), ("mkfs.vfat", "-F", "12", "-s", "16"), ("mkfs.ntfs", "-q", "-F", "-s", "512")):
        if shutil.which(make[0], path=ENVIRONMENT["PATH"]) is None:
            pytest.skip(f"{make[0]} is not installed")
        disk(path, 16 * MIB)
        run(*make, path)
        assert probed(path) == NO, make
        with mounted(path) as device:
            assert (device.partitions(), list(device.storages())) == ([], [0])
    disk(path, 16 * MIB)
    run("mkfs.vfat", "--mbr=yes", path)
    assert probed(path) == POSSIBLE  # a table that says "all of me": the file system is what is meant
    compare(path)
    overwrite(path, 0, b"\xeb\x76\x90EXFAT   " + bytes(435))
    assert probed(path) == POSSIBLE
    overwrite(path, 446, b"Remove disks or other media.")
    assert probed(path) == NO


def test_file_system_wins_over_a_table_that_is_left_before_it(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    TABLES["mbr-one"](path)
    head = path.read_bytes()[:512]
    run("mkfs.ext4", "-q", path)
    overwrite(path, 0, head)
    with open_image(path) as image:
        assert image.layers[0].type == "ext2"


def test_disc_that_boots_from_a_disk_is_a_disc(tmp_path: Path) -> None:
    if shutil.which("xorriso") is None:
        pytest.skip("xorriso is not installed")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("content")
    path = tmp_path / "disc.iso"
    part = disk(tmp_path / "efi", MIB)
    appended = ["-append_partition", "2", "0xef", part, "-partition_offset", "16"]
    run("xorriso", "-as", "mkisofs", "-quiet", "-o", path, *appended, tmp_path / "tree")
    assert probed(path) == POSSIBLE
    compare(path)
    run("xorriso", "-as", "mkisofs", "-quiet", "-o", path, *appended, "-appended_part_as_gpt", tmp_path / "tree")
    assert probed(path) == POSSIBLE
    compare(path)


# ---------------------------------------------------------------------------------------------------------------- the device


def blkpg(operation: int, number: int, start: int = 0, size: int = 0) -> bytes:
    return BLKPG_ARGUMENT.pack(operation, 0, BLKPG_PARTITION.size, 0) + BLKPG_PARTITION.pack(start, size, number, b"", b"")


def refused(number: int, call: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(OSError) as caught:
        call(*arguments)
    assert caught.value.errno == number
    return str(caught.value.strerror)


def test_parts_are_read_and_written_through(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    TABLES["logical-four"](path)
    with mounted(path, "rw", writable=True) as device:
        storages = device.storages()
        part = storages[6]
        assert isinstance(part, SubStorage)
        part.write(512, b"here")
        assert storages[0].read(part.start + 512, 4) == b"here"
        with device.open(6, os.O_RDWR) as handle:
            assert bytes(handle.read(510, 8)) == b"\0\0here\0\0"
            assert handle.write(part.size - 2, b"abcd") == 2
            refused(errno.ENOSPC, handle.write, part.size, b"x")
        device.flush()
    assert path.read_bytes()[part.start + 512 :][:4] == b"here"
    with mounted(path) as device:
        assert device.read_only
        refused(errno.EROFS, device.open, 6, os.O_RDWR)
        refused(errno.EROFS, device.storages()[6].write, 0, b"x")
        refused(errno.ENXIO, device.open, 9)
    with open_image(path, "mbr", "ro", True) as image:
        locked = image.layers[0].mounted
        assert isinstance(locked, Device)
        refused(errno.EROFS, locked.storages()[0].write, 0, b"x")
        refused(errno.EROFS, locked.storages()[1].write, 0, b"x")


def test_table_is_read_again(tmp_path: Path) -> None:
    path = disk(tmp_path / "disk")
    with mounted(path, "rw", writable=True) as device, device.open(0, os.O_RDWR) as whole:
        assert (device.partitions(), list(device.storages()), device.generation) == ([], [0], 0)

        def write_table(script: str) -> None:
            made = disk(tmp_path / "made")
            sfdisk(made, script)
            with FileStorage(made) as new:
                whole.write(0, new.read(0, MIB))
                whole.write(63 * MIB, new.read(63 * MIB, MIB))
            whole.ioctl(ioctls.BLKRRPART, b"")

        write_table("label: dos\nsize=8M\nsize=8M\n")
        assert (list(device.storages()), device.generation) == ([0, 1, 2], 1)
        first, second = device.storages()[1], device.storages()[2]
        whole.ioctl(ioctls.BLKRRPART, b"")
        assert device.generation == 1
        with device.hold(1) as held:
            write_table("label: dos\nsize=8M\nsize=16M\nsize=1M\n")
            assert (list(device.storages()), device.generation) == ([0, 1, 2, 3], 2)
            assert device.storages()[1] is first and device.storages()[2] is not second
            with pytest.raises(OSError, match="partition 1 is in use"):
                write_table("label: gpt\nsize=4M\n")
            assert (list(device.storages()), device.generation, len(device.partitions())) == ([0, 1, 2, 3], 2, 3)
            assert held.size == 8 * MIB
        whole.ioctl(ioctls.BLKRRPART, b"")
        assert (list(device.storages()), device.generation, device.details()["table"]) == ([0, 1], 3, "GPT")
        whole.write(510, b"\0\0")
        whole.ioctl(ioctls.BLKRRPART, b"")
        assert (list(device.storages()), device.generation, device.details()["table"]) == ([0], 4, "none")


def test_parts_by_blkpg(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    TABLES["mbr-four"](path)
    with mounted(path, "rw", writable=True) as device, device.open(0, os.O_RDWR) as whole:
        add, remove, resize = ioctls.BLKPG_ADD_PARTITION, ioctls.BLKPG_DEL_PARTITION, ioctls.BLKPG_RESIZE_PARTITION

        def ask(operation: int, number: int, start: int = 0, size: int = 0) -> None:
            whole.ioctl(ioctls.BLKPG, blkpg(operation, number, start, size))

        refused(errno.EBUSY, ask, add, 4, 40 * MIB, MIB)
        refused(errno.EBUSY, ask, add, 5, 2 * MIB, MIB)
        refused(errno.EINVAL, ask, add, 5, 63 * MIB, 2 * MIB)
        refused(errno.EINVAL, ask, add, 256, 40 * MIB, MIB)
        refused(errno.EINVAL, ask, add, 5, 40 * MIB, 100)
        ask(add, 5, 40 * MIB, MIB)
        assert device.storages()[5].size == MIB
        refused(errno.ENXIO, ask, resize, 9, 40 * MIB, MIB)
        refused(errno.EINVAL, ask, resize, 5, 41 * MIB, MIB)
        refused(errno.EINVAL, ask, resize, 5, 40 * MIB, 25 * MIB)
        refused(errno.EBUSY, ask, resize, 1, MIB, 5 * MIB)
        with device.hold(5) as held:
            ask(resize, 5, 40 * MIB, 2 * MIB)
            assert held.size == 2 * MIB
            refused(errno.EBUSY, ask, remove, 5)
        ask(remove, 5)
        refused(errno.ENXIO, ask, remove, 5)
        assert (list(device.storages()), device.generation) == ([0, 1, 2, 3, 4], 3)
        with device.open(1, os.O_RDWR) as part:
            refused(errno.EINVAL, part.ioctl, ioctls.BLKPG, blkpg(remove, 2))


def test_device_passes_extents_and_descriptor_down(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    TABLES["mbr-four"](path)
    overwrite(path, 5 * MIB, b"x" * 65536)
    with mounted(path) as device:
        whole, part = device.storages()[0], device.storages()[2]
        (extent,) = part.extents(100, 1000)
        assert (extent.offset, extent.length, extent.fd, extent.fd_offset) == (100, 1000, whole.descriptor(), 5 * MIB + 100)
        assert part.extents(65536, MIB) == [Extent(65536, MIB, hole=True)]
        assert (part.descriptor(), whole.identity()) == (None, device.storages()[0].identity())
    with open_image(path, "mbr", "ro", True) as image:
        locked = image.layers[0].mounted
        assert isinstance(locked, Device)
        assert locked.storages()[0].descriptor() is None  # it could be written


def test_sector_size_comes_from_the_source(tmp_path: Path) -> None:
    class Large(FileStorage):
        block_size = 4096

    path = tmp_path / "disk-4k-"
    TABLES["mbr-4k"](path)
    module = registry.find("mbr")
    storage: Storage = Large(path)
    device = module.mount(storage, module.options())
    assert isinstance(device, Device)
    with device:
        assert [row.start for row in device.partitions()] == [row["start"] * 4096 for row in oracle(path)["partitions"]]
        assert device.storages()[1].block_size == 4096
    refused(errno.EINVAL, lambda: open_image(path, "mbr", "sector_size=1000"))
