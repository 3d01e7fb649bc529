# ruff: noqa: E501 (shell reads best as it is)
"""ioctl on virtual files: attributes are told; nothing reaches the host's file systems."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import reachable, unprivileged

UMVIEW = Path(sys.executable).parent / "umview"

PROGRAM = r"""
import errno, fcntl, os, struct, sys
requests = {
    "GETFLAGS": (0x80086601, 8), "SETFLAGS": (0x40086602, 8), "FSGETXATTR": (0x801C581F, 28), "FSSETXATTR": (0x401C5820, 28),
    "FIEMAP": (0xC020660B, 32), "FICLONE": (0x40049409, 0), "FIFREEZE": (0xC0045877, 4), "FITHAW": (0xC0045878, 4), "FITRIM": (0xC0185879, 24),
    "FIGETBSZ": (2, 4), "FIONREAD": (0x541B, 4), "TCGETS": (0x5401, 64), "GETFSUUID": (0x80111500, 17), "EXT4_SHUTDOWN": (0x8004587D, 4),
}
for name in sys.argv[1:]:
    descriptor = os.open(name, os.O_RDONLY)
    for request, (number, size) in requests.items():
        try:
            answer = fcntl.ioctl(descriptor, number, bytes(size) if size else descriptor)
            print(os.path.basename(name), request, struct.unpack_from("i", answer)[0] if size else answer)
        except OSError as error:
            print(os.path.basename(name), request, errno.errorcode[error.errno])
"""


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    with reachable() as place:
        yield make(place)


def make(place: Path) -> Path:
    tree, image = place / "tree", place / "img"
    (tree / "directory").mkdir(parents=True)
    (tree / "file").write_bytes(b"x" * 5000)
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-b", "1024", "-d", tree, image], check=True, timeout=60)
    # Immutable and nodump, beside extents.
    subprocess.run(["debugfs", "-w", "-R", "sif file flags 0x80050", image], check=True, timeout=30, capture_output=True)
    (place / "mnt").mkdir()
    return image


def answers(prefix: list[str], image: Path, mount: str) -> dict[str, str]:
    """What each request says, by file and request."""
    mnt = image.parent / "mnt"
    script = f'mount {mount} "$2" && "$3" -c "$4" "$2/file" "$2/directory"; lsattr "$2" 2>&1 | sed "s/^/lsattr /"'
    command = [*prefix, UMVIEW, "bash", "-c", script, "script", image, mnt, sys.executable, PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/")
    assert (done.returncode, done.stderr) == (0, "")
    found = {}
    for line in done.stdout.splitlines():
        key, _, value = line.rpartition(" ")
        found[key] = value
    return found


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_requests(image: Path, user: str) -> None:
    if user == "root" and os.geteuid() != 0:
        pytest.skip("needs root")
    found = answers(unprivileged() if user == "nobody" else [], image, "-t umfuseext2 -o ro $1")
    assert found["file GETFLAGS"] == str(0x50)
    assert found["file FSGETXATTR"] == str(0x88)
    assert found["directory GETFLAGS"] == "0"
    assert found["file FIONREAD"] == "5000"
    for name in ("file", "directory"):
        assert {found[f"{name} SETFLAGS"], found[f"{name} FSSETXATTR"]} == {"EROFS"}
        assert {
            found[f"{name} {request}"] for request in ("FIFREEZE", "FITHAW", "FITRIM", "TCGETS", "GETFSUUID", "EXT4_SHUTDOWN")
        } == {"ENOTTY"}
        assert {found[f"{name} FIEMAP"], found[f"{name} FICLONE"]} == {"ENOTSUP"}
        assert found[f"{name} FIGETBSZ"] == "1024"
    (line,) = [key for key, value in found.items() if key.startswith("lsattr") and value.endswith("/file")]
    assert "i" in line and "d" in line


def test_attributes_cannot_be_set(image: Path) -> None:
    """Nor are they set on what stands for the file."""
    mnt = image.parent / "mnt"
    script = 'mount -t umfuseramfs none "$1"; cd "$1"; echo a > f; chattr +i f 2>/dev/null; echo $?; echo b >> f; cat f; lsattr f | cut -c5,7; mkdir d; chattr +i d 2>/dev/null; rmdir d && echo removed'
    done = subprocess.run([UMVIEW, "bash", "-c", script, "script", mnt], capture_output=True, text=True, timeout=60, cwd="/")
    assert done.stdout == "1\na\nb\n--\nremoved\n"
