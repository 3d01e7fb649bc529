"""Disks with partitions and file systems for the tests of what stacks on them, made at test time without privilege."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

MIB = 1 << 20
SYSTEM = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}

STARTS = {1: 1 * MIB, 2: 9 * MIB, 3: 11 * MIB}
SIZES = {1: 8 * MIB, 2: 2 * MIB, 3: 8 * MIB}
"""The parts of `partitioned`: file systems in 1 and 3, bytes in 2."""

LUKS = b"LUKS\xba\xbe\x00\x02" + bytes(range(256)) * 16


def run(*command: str | Path, text: str = "") -> str:
    """Run a program of the host; what it printed."""
    return subprocess.run(command, input=text, check=True, capture_output=True, text=True, timeout=120, env=SYSTEM).stdout


def tree(place: Path, name: str) -> Path:
    """A directory to fill a file system with: text, links within it, a sparse file."""
    (place / "etc").mkdir(parents=True)
    (place / "etc" / "hostname").write_text(f"{name}\n")
    (place / "etc" / "alias").symlink_to("/etc/hostname")
    (place / "etc" / "up").symlink_to("../../../etc/hostname")
    (place / "data").write_bytes(b"".join(b"%s block %d\n" % (name.encode(), number) * 40 for number in range(2000)))
    with open(place / "sparse", "wb") as file:
        file.truncate(3 * MIB)
        file.seek(2 * MIB)
        file.write(b"in the middle")
    return place


def ext4(image: Path, content: Path, size: int, offset: int = 0) -> None:
    """A file system with this content in a range of the image."""
    run("mke2fs", "-q", "-F", "-t", "ext4", "-d", content, "-E", f"offset={offset}", image, f"{size >> 10}K")


def partitioned(image: Path, label: str = "gpt") -> Path:
    """A disk of 20 MiB with the three parts."""
    with open(image, "wb") as file:
        file.truncate(20 * MIB)
    rows = [f"start={STARTS[number] >> 9},size={SIZES[number] >> 9}" for number in STARTS]
    if label == "gpt":
        rows[0] += ",name=root"
    run("sfdisk", "-q", image, text=f"label: {label}\n" + "\n".join(rows) + "\n")
    for number in (1, 3):
        ext4(image, tree(image.parent / f"{image.name}.tree{number}", f"host{number}"), SIZES[number], STARTS[number])
    with open(image, "r+b") as file:
        file.seek(STARTS[2])
        file.write(LUKS)
    return image
