# ruff: noqa: E501 (shell reads best as it is)
"""Programs under the user's strace and gdb inside a view, compared with the same on the kernel's own mounts."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import unprivileged
from tests.view_compare import KERNEL, VIEW, Comparison
from tests.view_tree import can_mount

HERE = Path(__file__).resolve().parent
NOBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups"
PROGRAM = f"PYTHONPATH={HERE.parent} {sys.executable} -B {HERE}/view_traced.py $PWD/m"
SHELL = r"""cd m/deep; echo $PWD; cd ../bin; echo $PWD; for i in 1 2 3; do ./script $i; (cd ../pkg; pwd; cd sub; pwd -P; cd /; pwd); done; echo $OLDPWD; cd -; ls | wc -l; x=$(./dyn a; echo $?); echo $x; ./static b | cat; cd $W; cat < m/deep/out | head -c 4; m/bin/nested; ls -i m/deep/f1 | wc -w; m/bin/none; echo $?"""

pytestmark = [
    pytest.mark.skipif(not can_mount(), reason="needs root and loop devices for the kernel's mounts to compare with"),
    pytest.mark.skipif(shutil.which("strace") is None or shutil.which("gdb") is None, reason="strace and gdb are not installed"),
]


@pytest.fixture(scope="module")
def comparison() -> Iterator[Comparison]:
    """In a directory that other users reach, whatever other runs of pytest do to theirs."""
    with tempfile.TemporaryDirectory(prefix="view-") as place:
        yield Comparison(Path(place))


@pytest.mark.parametrize(
    "way", ["", "strace -f -o /dev/null", "strace -f -e trace=none -o /dev/null", "strace -ff --seccomp-bpf -o /dev/null"]
)
def test_a_program(comparison: Comparison, way: str) -> None:
    comparison.check(f"mnt img m; chmod 777 .; {way} env {PROGRAM}; echo $?")


def test_a_program_of_another_user(comparison: Comparison) -> None:
    comparison.check(f"mnt img m; chmod 777 .; {NOBODY} strace -f -o /dev/null env {PROGRAM}; echo $?")


def test_a_view_of_an_ordinary_user(comparison: Comparison) -> None:
    script = f"mnt img m; strace -f -o /dev/null bash -c 'W=$PWD; {SHELL}' 2>&1"
    want, got = comparison.outcome(KERNEL, script), comparison.outcome([*unprivileged(), *VIEW], script)
    assert got == want


def test_a_shell(comparison: Comparison) -> None:
    comparison.check(f"mnt img m; strace -f -o /dev/null bash -c 'W=$PWD; {SHELL}' 2>&1")


def test_programs_of_the_host_by_way_of_a_mount(comparison: Comparison) -> None:
    """A directory of the host shown elsewhere, executed with fork and with vfork; and a link out of the mount."""
    program = "import os, subprocess, sys\nfor vfork in (0, 1):\n subprocess._USE_VFORK = bool(vfork)\n for p in sys.argv[1:]: subprocess.run([p, 'hello', 'world'])"
    comparison.check(
        f"""mkdir d; cp $(command -v echo) d/echo; printf '#!/bin/sh\necho $0 $*; cat /proc/$$/comm\n' > d/script; chmod +x d/script
        ${{HOSTFS:-mount --bind}} $PWD/d $PWD/m; mkdir o; mount -t ${{RAM:-tmpfs}} none o; ln -s $PWD/d/echo o/echo; ln -s $PWD/d/script o/script
        for i in 1 2 3; do strace -f -o /dev/null {sys.executable} -c "{program}" m/echo ./m/script o/echo $PWD/o/script; done; cd m; strace -f -o /dev/null bash -c './echo 1; ./script 2; ../o/script 3; ../o/echo 4'""",
        ["env", "RAM=umfuseramfs", "HOSTFS=mount -t umfusehostfs", *VIEW],
    )


def test_without_access_times(comparison: Comparison, tmp_path: Path) -> None:
    """Nothing tells that a link was followed."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "noatime", "none", tmp_path], check=True, timeout=30)
    try:
        tmp_path.chmod(0o1777)
        comparison.check(
            f"mnt img m; strace -f -o /dev/null bash -c 'W=$PWD; {SHELL}' 2>&1", ["env", f"TMPDIR={tmp_path}", *VIEW]
        )
    finally:
        subprocess.run(["umount", tmp_path], check=True, timeout=30)


def test_what_strace_tells(comparison: Comparison) -> None:
    """The names that it prints are the program's, not ours. (A script is executed in two steps, the second of them ours.)"""
    comparison.check(
        "mnt img m; W=$PWD; strace -f -o log -e trace=chdir,execve bash -c 'cd m/bin; ./script 1; cd ../deep; cd /etc; $0/m/bin/dyn' $W > /dev/null;"
        r"""sed -E '/umview-/d; s/^[0-9]+ +//; s/0x[0-9a-f]+/P/g; s|/\* [0-9]+ vars \*/||; /^(\+\+\+|---)/d' log"""
    )


REAL = r"""
mnt img m; W=$PWD; mkdir o; exec 2>&1; traced() { strace -f -o log "$@"; }
traced git -c safe.directory='*' -C m/repo log --format=%s; (cd m/repo; traced git -c safe.directory='*' status --short)
traced make -C m/src O=$W/o; o/prog x; (cd m/src; traced make O=$W/o --always-make -j3 | sort)
traced tar cf - m/deep m/pkg | tar tf - | sort | md5sum; (cd m; traced find . | sort | md5sum; traced cp -r pkg ../o/pkg; traced rsync -a src/ ../o/src); diff -r m/pkg o/pkg; diff -r m/src o/src
cd m/pkg; PYTHONPATH=.. traced python3 -B -c 'import pkg, os; print(pkg.value); os.chdir("sub"); print(os.listdir("."))'
PATH=$W/m/bin:$PATH; traced bash -c 'script 1; cd /; script 2; dyn; py z'; /proc/self/fd/../exe --version 2>&1 | head -1
exec 7<$W/m/big; strace -y -e trace=fstat,newfstatat,statx,read -o log cat <&7 > /dev/null; grep -c "<$W/m/big>" log | grep -v '^0$' > /dev/null && echo the name of a descriptor
"""


def test_real_programs(comparison: Comparison) -> None:
    comparison.check(REAL)


def test_gdb(comparison: Comparison) -> None:
    comparison.check(
        r"""mnt img m; run() { gdb -q -batch -nx -iex 'set debuginfod enabled off' -ex 'set confirm off' "$@" 2>&1 | grep -v -e libthread_db -e '^Using host' -e '^warning: ' | sed -E 's/process [0-9]+/process N/; s/LWP [0-9]+/LWP N/; s/0x[0-9a-f]+/P/g'; }
        run -ex 'break main' -ex run -ex 'info sharedlibrary' -ex 'info program' -ex continue --args m/bin/dyn one two
        run -ex run --args m/bin/static x; cd m/bin; run -ex run --args ./dyn y; run -ex 'catch syscall chdir' -ex run -ex continue -ex continue -ex continue --args /bin/bash -c 'cd ../deep; echo $PWD; ls | wc -l'
        m=$PWD; cd /; run -ex 'set cwd '$m -ex run --args $m/dyn z; run -ex run --args $(readlink -f /bin/bash) -c 'cd '$m'/../pkg; pwd; exec '$m'/static q'"""
    )


def test_attach(comparison: Comparison) -> None:
    """A running program of the mount is attached to; its file and its mappings are found."""
    comparison.check(
        r"""mkdir d; cp $(command -v sleep) d/sleep; truncate -s 20M i; mke2fs -q -t ext4 -d d i; mnt i m; m/sleep 60 & P=$!; sleep 0.3
        gdb -q -batch -nx -iex 'set debuginfod enabled off' -p $P -ex 'info proc' -ex 'info inferiors' 2>&1 | sed -E "s/$P/N/g" | grep -e exe -e cwd -e cmdline -e m/sleep
        timeout 1 strace -qq -p $P -o log; grep -c . log; kill $P; wait"""
    )
