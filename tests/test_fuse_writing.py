# ruff: noqa: E501 (a script reads best on one line)
"""Kernel mounts that can be written: ramfs and hostfs, answered through FUSE."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import posix_cases
import pytest

from tests.fuse_mounts import mounted, needs_fuse

pytestmark = needs_fuse()
TESTS = Path(__file__).parent

NOT_IN_PYFUSE3 = {
    "seek_data_and_holes": "no lseek",
    "fallocate": "no fallocate",
    "punch_hole": "no fallocate",
    "zero_range": "no fallocate",
    "fallocate_beyond_what_there_is": "no fallocate",
    "writing_sets_times": "no fallocate",
    "files_without_a_name": "no tmpfile",
}
"""Requests that pyfuse3 does not pass on."""

EXEMPT = {
    "ramfs": set(NOT_IN_PYFUSE3),
    "hostfs": {*NOT_IN_PYFUSE3, *posix_cases.EXEMPT["ext4"], *posix_cases.EXEMPT["hostfs on tmpfs"]},
}


@pytest.fixture(params=["ramfs", "hostfs"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A mount of the type."""
    source = tmp_path / "source"
    source.mkdir()
    options = "rw,suid,dev" + (",size=4M" if request.param == "ramfs" else "")
    with mounted(source, "-t", request.param, "-o", options) as directory:
        yield directory


def test_a_file_system_of_linux(place: Path, request: pytest.FixtureRequest) -> None:
    type = request.node.callspec.params["place"]
    command = [sys.executable, TESTS / "posix_cases.py", place]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    count, failed = posix_cases.outcomes(done.stdout)
    assert count == len(posix_cases.CASES), done.stderr
    assert not set(failed) - EXEMPT[type], failed


def test_what_is_removed_lives_until_it_is_closed(place: Path) -> None:
    program = """
import os, sys
os.chdir(sys.argv[1])
fd = os.open("t", os.O_RDWR | os.O_CREAT); os.unlink("t"); os.write(fd, b"temporary")
for n in range(50): open(f"f{n}", "w").write(str(n))
print(os.pread(fd, 20, 0), os.fstat(fd).st_nlink)
os.mkdir("d"); os.chdir("d"); os.rmdir("../d"); print(os.listdir("."), os.stat(".").st_nlink)
"""
    done = subprocess.run([sys.executable, "-c", program, place], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["b'temporary' 0", "[] 0"], done.stderr


def test_programs(place: Path) -> None:
    script = """
set -e; cd "$1"; export HOME=$PWD GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a
git init -q g; cd g; for i in $(seq 50); do echo $i > f$i; done; git add .; git commit -qm one; git gc -q; git fsck --no-progress; git status --short
cd ..; tar cf g.tar g; mkdir t; tar xf g.tar -C t; diff -r g t/g; rsync -aHAX g/ r/; diff -r g r
python3 -c 'import mmap; f = open("m", "w+b"); f.truncate(9000); m = mmap.mmap(f.fileno(), 0); m[8000:8003] = b"abc"; m.flush(); print(open("m", "rb").read()[7999:8004])'
rm -r g t r; ls -A
"""
    done = subprocess.run(["bash", "-c", script, "x", place], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["b'\\x00abc\\x00'", "g.tar", "m"], done.stderr


def test_no_room(place: Path, request: pytest.FixtureRequest) -> None:
    if request.node.callspec.params["place"] == "hostfs":
        return  # the host has room
    with open(place / "f", "wb", buffering=0) as file, pytest.raises(OSError) as caught:
        while True:
            file.write(b"x" * 65536)
    assert caught.value.errno == errno.ENOSPC
    assert os.stat(place / "f").st_size == 4 << 20
    (place / "f").unlink()
    (place / "g").write_bytes(b"y" * 1000)
