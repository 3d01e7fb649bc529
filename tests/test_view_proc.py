# ruff: noqa: E501 (shell reads best as it is)
"""/proc in a view, compared with what it says of the kernel's own mounts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import reachable, unprivileged
from tests.view_compare import UMVIEW, VIEW, Comparison
from tests.view_tree import can_mount

HERE = Path(__file__).resolve().parent
pytestmark = pytest.mark.skipif(not can_mount(), reason="needs root and loop devices for the kernel's mounts to compare with")

PROGRAMS = r"""
mkdir d; cp $(command -v sleep) d/sleep; printf '#!/bin/bash\nsleep 30 & echo $!; wait\n' > d/script; chmod +x d/script; cp d/sleep "d/a b"
truncate -s 20M i; mke2fs -q -t ext4 -d d i; mnt i m; cd m
look() {
  for i in $(seq 100); do test -s /proc/$1/cmdline && break; sleep 0.02; done; sleep 0.1
  readlink /proc/$1/exe /proc/$1/cwd /proc/$1/root; tr '\0' ' ' < /proc/$1/cmdline; echo; cat /proc/$1/comm; tr '\0' '\n' < /proc/$1/environ | grep MARK
  grep -a "$PWD" /proc/$1/maps | while read -r range mode offset device inode name; do echo "$mode $offset $(stat -c %i "$name") $inode $name"; test $((0x${device#*:})) = $(stat -c %Ld "$name") && echo same device; done
  grep -ac "$PWD" /proc/$1/smaps; for l in /proc/$1/map_files/*; do readlink "$l"; done | grep -v ^/SYSV | sort -u
  cmp /proc/$1/exe "$(readlink /proc/$1/exe)" && echo same program; stat -L -c '%i %s %A' /proc/$1/exe; stat -c %A /proc/$1/exe
  wc -c < /proc/$1/auxv; wc -l < /proc/$1/stat
}
export MARK=1; ./sleep 30 & look $!; kill $!; wait; "$PWD/a b" 30 & look $!; kill $!; wait
(exec -a other ./sleep 30) & look $!; kill $!; wait
./script > ../out & P=$!; look $P; for i in $(seq 100); do test -s ../out && break; sleep 0.02; done; look $(cat ../out); kill $(cat ../out); wait
"""

OTHERS = r"""
mnt img m; chmod 755 .; sleep 30 < m/big & P=$!; until grep -q ^sleep /proc/$P/comm; do sleep 0.02; done
nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@" 2>&1 | sed s/$P/N/g; }
for f in maps smaps fdinfo/0 fd/0; do nobody head -c 3 /proc/$P/$f; echo; done; nobody readlink /proc/$P/fd/0; nobody readlink /proc/$P/exe; nobody grep -c " $PWD/m " /proc/$P/mountinfo
kill $P; nobody bash -c 'cd m/deep; sleep 30 < ../big & until grep -q ^sleep /proc/$!/comm; do sleep 0.02; done; readlink /proc/$!/cwd /proc/$!/fd/0; grep -c mnt_id /proc/$!/fdinfo/0; kill $!'
"""


WRITTEN = r"""
mount -t ${RAM:-tmpfs} none m; cd m; echo text > f; cp $(command -v sleep) p; mkdir d d/e; ln f g
exec 7<>f 8>>new 9<d/e; readlink /proc/$$/fd/7 /proc/$$/fd/8 /proc/$$/fd/9; mv f h; mv new newer; mv d c; readlink /proc/$$/fd/7 /proc/$$/fd/8 /proc/$$/fd/9
for n in 7 8 9; do stat -c %A /proc/$$/fd/$n; grep -e flags -e pos /proc/$$/fdinfo/$n; done
rm h newer; rmdir c/e; readlink /proc/$$/fd/7 /proc/$$/fd/8 /proc/$$/fd/9; cat /proc/$$/fd/7; echo more >&7; cat g; echo over > /proc/$$/fd/7; cat g; echo x >&8; cat /proc/$$/fd/8; stat -L -c '%h %s' /proc/$$/fd/7 /proc/$$/fd/8
./p 30 & P=$!; until grep -q ^p$ /proc/$P/comm; do sleep 0.02; done; rm p; readlink /proc/$P/exe; grep -c "$PWD/p (deleted)\$" /proc/$P/maps; for l in /proc/$P/map_files/*; do readlink "$l"; done | grep -a $PWD | sort -u; cp /proc/$P/exe q; cmp q $(command -v sleep) && echo same; /proc/$P/exe 0; echo $?; kill $P; wait
mkdir w; cd w; rmdir ../w; readlink /proc/self/cwd /proc/$$/cwd; ls /proc/self/cwd/ | wc -l; cat /proc/self/cwd/none; cd ..; readlink /proc/self/cwd
exec 7<>g; flock -x 7; ino=$(stat -c %i g); grep -c ":$ino " /proc/locks; grep -c ":$ino " /proc/$$/fdinfo/7; (flock -n -x 6 && echo got || echo busy) 6<g; lslocks -n -p $$ -o MODE,TYPE,PATH | head -1
cp $(command -v bash) b; cat > s <<< 'readlink /proc/self/exe; readlink -f /proc/$$/exe; exec /proc/self/exe --version'; ./b s 2>&1 | head -1; ./b -c 'readlink /proc/$$/exe; cat /proc/$$/comm; exec /proc/$$/exe -c "cat /proc/\$\$/comm"'
"""


@pytest.fixture(scope="module")
def comparison() -> Iterator[Comparison]:
    """In a directory that other users reach, whatever other runs of pytest do to theirs."""
    with tempfile.TemporaryDirectory(prefix="view-") as place:
        yield Comparison(Path(place))


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_what_proc_says_of_a_process(comparison: Comparison, user: str) -> None:
    prefix = "" if user == "root" else "setpriv --reuid 65534 --regid 65534 --clear-groups "
    comparison.check(f"mnt img m; PYTHONPATH={HERE.parent} {prefix}{sys.executable} -B {HERE}/view_proc.py $PWD/m")


def test_programs_of_a_mount(comparison: Comparison) -> None:
    comparison.check(PROGRAMS)


def test_what_is_written_and_removed(comparison: Comparison) -> None:
    """In memory on both sides."""
    comparison.check(WRITTEN, ["env", "RAM=umfuseramfs", *VIEW])


def test_others(comparison: Comparison) -> None:
    comparison.check(OTHERS)


def test_a_view_of_an_ordinary_user(comparison: Comparison, tmp_path: Path) -> None:
    """The whole view unprivileged: the same as it is in root's view."""
    command = f"PYTHONPATH={HERE.parent} {sys.executable} -B {HERE}/view_proc.py $PWD/m"
    want = comparison.outcome(VIEW, f"mnt img m; setpriv --reuid 65534 --regid 65534 --clear-groups bash -c '{command}'")
    got = comparison.outcome([*unprivileged(), *VIEW], f"mnt img m; {command}")
    assert got == want
    assert len(got) > 100


def test_the_modules_are_file_systems_of_the_view(comparison: Comparison) -> None:
    got = comparison.outcome(VIEW, "mnt img m; grep umfuse /proc/filesystems; grep -c . /proc/filesystems")
    assert "\tumfuseext2" in got
    assert "nodev\tumfuseramfs" in got
    host = Path("/proc/filesystems").read_text().count("\n")
    assert int(got[-2]) > host


def test_outside_the_view_the_host_is_told(comparison: Comparison) -> None:
    """Processes outside are seen from inside, with their own tables."""
    outside = os.getpid()
    done = subprocess.run(
        [UMVIEW, "bash", "-c", f'mount -t umfuseext2 -o ro {comparison.image} /mnt; grep -c umfuse /proc/{outside}/mounts; grep -c umfuse /proc/self/mounts'],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "0\n1\n"


PATH = f"{UMVIEW.parent}:/usr/bin:/bin:/usr/sbin:/sbin"
NESTED = r"""
mount -t umfuseramfs none $1/a; cat /proc/self/personality; grep -c "$1/a" /proc/$PPID/mounts
umview bash -c 'mount -t umfuseramfs none $0/b; grep -c " $0/[ab] " /proc/self/mounts /proc/'$$'/mounts /proc/'$$'/task/'$$'/mountinfo | sed "s/.*://"; cat /proc/self/personality /proc/'$$'/personality; setarch -R cat /proc/self/personality' $1
grep -c " $1/[ab] " /proc/self/mounts; um_fsalias mine umfuseramfs; um_add_service umfuse 2>/dev/null; grep -c -e mine -e umfuse /proc/filesystems
umount $1/a; um_del_service umfuse; mount -t umfuseramfs none $1/a 2>/dev/null; grep -c -e mine -e umfuse /proc/filesystems
viewsu -c 'grep -e ^Uid -e ^CapEff /proc/self/status; cat /proc/self/personality'
"""


def test_views_inside_views() -> None:
    """Each process's tables are those of its own view; what carries its context does not show."""
    with reachable() as place:
        for name in "ab":
            (place / name).mkdir()
        command = [*unprivileged(), UMVIEW, "bash", "-c", NESTED, "script", place]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/", env={**os.environ, "PATH": PATH})
    lines = done.stdout.splitlines()
    assert lines[:2] == ["00000000", "0"]
    assert lines[2:5] == ["2", "1", "1"]
    assert lines[5:8] == ["00000000", "00000000", "00040000"]
    assert lines[8] == "1"
    assert int(lines[9]) >= 3
    assert lines[10] == "0"
    assert [line.split() for line in lines[11:]] == [["Uid:", *["0"] * 4], ["CapEff:", f"{(1 << 41) - 1:016x}"], ["00000000"]]
