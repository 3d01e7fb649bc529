# ruff: noqa: E501 (shell reads best as it is)
"""Damaged images mounted in a view: the tools come to an end, the supervisor lives on in little memory, and nothing is a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures import mutate
from fixtures.ext import image

UMVIEW = Path(sys.executable).parent / "umview"
SEED = 21
QUICK, MANY = 3, 60
"""Mutations of each image."""
MEMORY = 256 << 20

# $1: directory of images, $2: mount point. `test -f`: an entry may call regular what the inode calls a fifo. Files whose size is a lie are not read: that would be natively endless, too.
SCRIPT = r"""
for image in "$1"/*; do
  echo "$image"
  timeout 5 mount -t umfuseext2 -o ro "$image" "$2" 2>/dev/null || { [ $? = 32 ] || echo "mount: $?"; continue; }
  timeout 5 ls -laR "$2" >/dev/null 2>&1; [ $? = 124 ] && echo "ls hangs"
  timeout 5 find "$2" -type f -size -10M -exec test -f {} ';' -exec cat {} + >/dev/null 2>&1; [ $? = 124 ] && echo "cat hangs"
  [ "$(find "$2" -size +10M 2>/dev/null)" ] || { timeout 5 tar -c --xattrs "$2" 2>/dev/null >/dev/null; [ $? = 124 ] && echo "tar hangs"; }
  timeout 5 df "$2" >/dev/null 2>&1; (cd "$2" && ls .. >/dev/null)
  find "$2" -type f -size -1M -perm /111 -exec test -f {} ';' -print 2>/dev/null | head -2 | while read -r x; do timeout 5 "$x" </dev/null >/dev/null 2>&1; [ $? = 124 ] && echo "exec hangs"; done
  umount "$2" || echo "umount: $?"
done
cat "$3"
"""


MEASURE = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""
MEASURED = [sys.executable, "-c", MEASURE]
"""Before a command: the last line on standard error is the KiB that one of its processes had at most."""


@pytest.mark.parametrize("count", [QUICK, pytest.param(MANY, marks=pytest.mark.slow)])
def test_whatever_is_in_an_image(count: int, tmp_path: Path) -> None:
    images, mountpoint, marker = tmp_path / "images", tmp_path / "mnt", tmp_path / "marker"
    images.mkdir()
    mountpoint.mkdir()
    marker.write_text("alive\n")
    names: list[str] = []
    for name in mutate.IMAGES:
        whole = image(name).read_bytes()
        for mutation in mutate.mutations(image(name), SEED, count):
            changed = bytearray(whole)
            mutation.apply(changed)
            path = images / f"{name}.{mutation.name.split()[0].replace(':', '.')}"
            path.write_bytes(changed)
            names.append(str(path))
    command = [UMVIEW, "bash", "-c", SCRIPT, "damage", images, mountpoint, marker]
    done = subprocess.run([*MEASURED, *command], capture_output=True, text=True, timeout=60 + 2 * len(names))
    lines = done.stdout.splitlines()
    surprises = [(lines[i - 1], line) for i, line in enumerate(lines) if line not in names]
    assert [line for _, line in surprises] == ["alive"], surprises
    assert len(lines) == len(names) + 1
    *errors, most = done.stderr.splitlines()
    told = [line for line in errors if line.startswith("umview[")]
    assert done.returncode == 0 and not told and "Traceback" not in done.stderr
    assert int(most) << 10 < MEMORY


def test_a_directory_in_a_circle(tmp_path: Path) -> None:
    """A directory entry that leads back to an ancestor: ELOOP, as Linux has it, and no endless descent."""
    tree, disk, mountpoint = tmp_path / "tree", tmp_path / "disk", tmp_path / "mnt"
    (tree / "a" / "b").mkdir(parents=True)
    mountpoint.mkdir()
    disk.write_bytes(bytes(4 << 20))
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, disk], check=True, timeout=30)
    subprocess.run(["debugfs", "-w", "-R", "ln /a /a/b/again", disk], check=True, timeout=30, capture_output=True)
    script = 'mount -t umfuseext2 -o ro "$0" "$1"; ls "$1/a/b"; ls "$1/a/b/again"; tar -c "$1" | wc -c'
    done = subprocess.run([UMVIEW, "bash", "-c", script, disk, mountpoint], capture_output=True, text=True, timeout=30)
    assert done.stdout.startswith("again\n") and "Too many levels of symbolic links" in done.stderr
    assert os.path.getsize(disk) == 4 << 20
