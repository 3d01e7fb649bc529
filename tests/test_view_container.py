"""In a container with a stock seccomp profile (view_container.py): what works there, and what is said of the rest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import open_to_all, unprivileged

UMVIEW = Path(sys.executable).parent / "umview"
HERE = Path(__file__).resolve().parent
CONTAINER = [sys.executable, str(HERE / "view_container.py")]
ROOT = ["setpriv", "--bounding-set=-sys_admin,-sys_ptrace", "--"]
SENTENCE = "mount and umount are forbidden here (a container's rules): nothing can be mounted in this view"


def user(name: str) -> list[str]:
    if name == "nobody":
        return unprivileged()
    if os.geteuid():
        pytest.skip("needs root")
    return ROOT


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    for number in range(300):
        (tree / "sub" / f"f{number}").write_text(f"{number}\n")
    (tree / "big").write_bytes(os.urandom(3 << 20))
    shutil.copy(shutil.which("true") or "/bin/true", tree / "program")
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, tmp_path / "image", "16M"], check=True)
    (tmp_path / "mnt").mkdir()
    open_to_all(tmp_path)
    return tmp_path


def run(prefix: list[str], script: str, place: Path) -> subprocess.CompletedProcess[str]:
    command = [*prefix, str(UMVIEW), "bash", "-c", script, "bash", str(place)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("name", ["root", "nobody"])
def test_the_default_profile_forbids_mounting(place: Path, name: str) -> None:
    """The view is there all the same, and one line says what it lacks."""
    script = "cat $1/tree/sub/f7; mount -t umfuseext2 -o ro $1/image $1/mnt 2>/dev/null; echo $?; ls $1/mnt"
    done = run([*user(name), *CONTAINER], script, place)
    assert (done.returncode, done.stdout) == (0, "7\n32\n")
    assert done.stderr.startswith("umview[") and done.stderr.endswith(f"]: {SENTENCE}\n") and done.stderr.count("\n") == 1


WORK = r"""
cd $1; mount -t umfuseext2 -o ro image mnt || exit
ls mnt mnt/sub | wc -l; find mnt -type f | wc -l
cmp mnt/big tree/big && echo equal
cat mnt/big | cmp - tree/big && echo equal
cmp <(dd if=mnt/big bs=7001 skip=3 count=50 2>/dev/null) <(dd if=tree/big bs=7001 skip=3 count=50 2>/dev/null) && echo equal
cd mnt/sub; pwd; ../program; echo $?; cat f7
{ read -N 2 a; read -N 2 b; head -c 3; } < f123 | xxd -p
exec 5< f299; (read x <&5; echo $x); read y <&5; echo "<$y>"
cd /; umount $1/mnt 2>/dev/null; echo $?; exec 5<&-; umount $1/mnt; ls $1/mnt
"""


@pytest.mark.parametrize("name", ["root", "nobody"])
def test_with_mount_allowed_all_works_without_pidfd_getfd(place: Path, name: str) -> None:
    """`docker run --cap-add SYS_ADMIN`, say: descriptors are lent by their owners."""
    done = run([*user(name), *CONTAINER, "--sys-admin"], WORK, place)
    natural = run([*user(name), "env"], WORK, place)
    assert natural.returncode == done.returncode == 0
    assert natural.stdout.splitlines()[1:5] == ["302", "equal", "equal", "equal"]
    assert done.stdout == natural.stdout
    assert done.stderr == natural.stderr


def test_no_view_inside_a_view(place: Path) -> None:
    """What carries a task's context is forbidden: one clear line."""
    done = run([*user("root"), *CONTAINER, "--sys-admin"], f"{UMVIEW} echo inside; echo $?", place)
    assert done.stdout == "1\n"
    assert "personality(2) is limited here (a container's rules)" in done.stderr and done.stderr.count("\n") == 1
    assert run([*user("root"), "env"], f"{UMVIEW} echo inside", place).stdout == "inside\n"


LISTING = """
import os, sys
def count(): return len(os.listdir("/proc/self/fd"))
for round in range(3):
    for _ in range(8): names = os.listdir(sys.argv[1])
    print(len(names), count())
"""


def test_lent_descriptors_are_closed(place: Path) -> None:
    """Their owner keeps nothing of it."""
    script = f"cd $1; mount -t umfuseext2 -o ro image mnt; {sys.executable} -S -c '{LISTING}' mnt/sub"
    done = run([*user("root"), *CONTAINER, "--sys-admin"], script, place)
    assert done.stderr == ""
    first, *others = done.stdout.splitlines()
    assert first.startswith("300 ") and set(others) == {first}
