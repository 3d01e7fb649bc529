"""Calls that are refused on virtual places, as root and as an ordinary user."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import PROJECT, reachable, unprivileged

UMVIEW = Path(sys.executable).parent / "umview"
SCRIPT = 'mount -t umfuseext2 -o ro "$1" "$2" && "$3" -B "$4" "$2" big'

COMMON = """\
quotactl file ENOTBLK
quotactl directory ENOTBLK
quotactl none ENOENT
quotactl_fd - ENOSYS
uselib - ENOSYS
io_uring_setup - ENOSYS
io_setup - ENOSYS
landlock_add_rule virtual 0
landlock_add_rule file 0
landlock_add_rule host 0
landlock_add_rule none EBADF
landlock_add_rule no ruleset EBADFD
fetched 3000000 True
"""

ROOT = """\
swapon file EINVAL
swapoff file EINVAL
acct file EIO
swapon directory EINVAL
swapoff directory EINVAL
acct directory EACCES
swapon none ENOENT
swapoff none ENOENT
acct none ENOENT
open_by_handle_at - ESTALE
fanotify_mark name 1 ENOTSUP
fanotify_mark name 5 ENOTSUP
fanotify_mark descriptor ENOTSUP
fanotify_mark none ENOENT
fanotify_mark host 0
bpf pin EPERM
bpf get EACCES
"""

NOBODY = """\
swapon file EPERM
swapoff file EPERM
acct file EPERM
swapon directory EPERM
swapoff directory EPERM
acct directory EPERM
swapon none EPERM
swapoff none EPERM
acct none EPERM
open_by_handle_at - EPERM
bpf pin EPERM
"""


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    with reachable() as place:
        yield make(place)


def make(place: Path) -> Path:
    tree, image = place / "tree", place / "img"
    (tree / "docs").mkdir(parents=True)
    (tree / "README").write_text("text\n")
    (tree / "big").write_bytes(b"\x7fELF" + bytes(2_999_996))
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, image], check=True, timeout=60)
    (place / "mnt").mkdir()
    return image


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_what_each_call_says(image: Path, user: str) -> None:
    if user == "root" and os.geteuid() != 0:
        pytest.skip("needs root")
    prefix = unprivileged() if user == "nobody" else []
    command = [
        *prefix,
        UMVIEW,
        "bash",
        "-c",
        SCRIPT,
        "script",
        image,
        image.parent / "mnt",
        sys.executable,
        PROJECT / "tests/view_refused.py",
    ]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    got = set(done.stdout.splitlines())
    want = set((COMMON + (ROOT if user == "root" else NOBODY)).splitlines())
    without_privilege = {"bpf get EACCES", "bpf get EPERM"} if user == "nobody" else set()  # as the host's sysctl says
    unasked = {line for line in got if line.startswith("fanotify_mark")} if user == "nobody" else set()
    assert got - without_privilege - unasked == want
