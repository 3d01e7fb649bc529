"""`vfs mount` and `vfs umount` as commands; what a mount then does is tested in test_fuse_*.py."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import complaint, output, vfs

from fixtures.ext import image

DISK = image("ext4_4k")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK) or shutil.which("fusermount3") is None:
        pytest.skip("this host has no /dev/fuse for this user, or no fusermount3")
    point = tmp_path / "mnt"
    point.mkdir()
    yield point
    while os.path.ismount(point):
        subprocess.run(["fusermount3", "-uz", point], check=True)


def test_mount_and_umount(place: Path) -> None:
    assert output("mount", DISK, place) == b""
    listed = subprocess.run(["cat", place / "README"], capture_output=True, timeout=60)
    assert listed.stdout == output("cat", DISK, "/README")
    done = vfs("mount", DISK, place)
    assert (done.returncode, complaint(done)) == (1, f"vfs: {place}: already mounted there")
    assert output("umount", place) == b""
    done = vfs("umount", place, place / "none")
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [f"vfs: {place}: not mounted", f"vfs: {place}/none: No such file or directory"]


def test_options_may_come_in_parts(place: Path) -> None:
    output("mount", "-t", "umfuseext2", "-o", "ro", "-o", "noxattr,noexec", DISK, place)
    (line,) = [line for line in Path("/proc/mounts").read_text().splitlines() if str(place) in line]
    assert "noexec" in line.split()[3].split(",")
    output("umount", place)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["{tmp}/none.img", "{tmp}/mnt"], "vfs: {tmp}/none.img: No such file or directory"),
        ([str(DISK), "{tmp}/none"], "vfs: {tmp}/none: No such file or directory"),
        ([str(DISK), "{tmp}/file"], "vfs: {tmp}/file: not a directory"),
        (["{tmp}/file", "{tmp}/mnt"], "vfs: {tmp}/file: not an image of any known format"),
        (["-t", "nonsense", str(DISK), "{tmp}/mnt"], f"vfs: {DISK}: unknown type 'nonsense' (known: "),
        (["-o", "nonsense", str(DISK), "{tmp}/mnt"], f"vfs: {DISK}: unknown option 'nonsense' (known: "),
    ],
)
def test_what_cannot_be_mounted_is_told_in_one_line(arguments: list[str], line: str, place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no image")
    done = vfs("mount", *(each.format(tmp=tmp_path) for each in arguments))
    assert done.returncode == 1 and complaint(done).startswith(line.format(tmp=tmp_path))
    assert not os.path.ismount(place)
