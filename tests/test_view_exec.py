# ruff: noqa: E501 (shell reads best as it is)
"""Executing what lies in a mount, compared with the kernel's own: `#!` lines, ELF files of every kind, descriptors, other users."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import open_to_all
from tests.view_compare import Comparison
from tests.view_tree import can_mount

pytestmark = pytest.mark.skipif(not can_mount(), reason="needs root and loop devices for the kernel's mounts to compare with")
HERE = Path(__file__).resolve().parent

SCRIPTS = r"""
mnt img m; mkdir s
script() { printf "$1" > s/$2; chmod +x s/$2; }
script '#!/bin/echo\n' plain
script '#!/bin/echo  -n  x y \n' spaces
script '#! \t/bin/echo\tq\t r\t\n' tabs
script '#!/bin/echo' no-newline
script '#!\n' nothing
script '#!' two-bytes
script '#!   ' only-spaces
script '#!/bin/echo\r\n' carriage-return
script '#!/nowhere\n' missing
script '#!/tmp\n' directory
script '#!bin/echo\n' relative
script '#!/bin/echo \0 x\n' zero
script '#!/bin/echo %250s\n' long-argument
script '#!%260s/bin/echo\n' long-space
script "#!/bin/$(printf 'e%.0s' $(seq 260))\n" long-name
script 'echo plain $0\n' no-line
script '#!/bin/sh -e\necho $0 $1\n' not-executable; chmod -x s/not-executable
: > s/empty; chmod +x s/empty
script "#!$PWD/m/bin/dyn  o p \n" inside
script "#!$PWD/m/bin/dyn" inside-no-newline
script "#!$PWD/m/bin/none\n" inside-missing
script "#!$PWD/m/deep\n" inside-directory
script "#!$PWD/m/src/main.c\n" inside-not-executable
script "#!$PWD/m/bin/py\n" inside-script
script "#!m/bin/dyn\n" inside-relative
script "#!$PWD/m/bin/script\n" n0
for i in 0 1 2 3 4 5; do script "#!$PWD/s/n$i a$i\n" n$((i+1)); done
script "#!$PWD/s/self\n" self
for f in s/*; do timeout 5 $f 1 2 2>&1; echo $? $f; done
"""

SELF = r"""
mkdir d; gcc -o d/dynamic "$HERE/view_self.c"; gcc -static -o d/static "$HERE/view_self.c"; gcc -static-pie -o d/static-pie "$HERE/view_self.c"
ln -s dynamic d/link; cp d/dynamic d/suid; chmod 4755 d/suid; cp d/dynamic d/closed; chmod -x d/closed; printf '#!/bin/sh\ncat /proc/$$/comm; tr "\\\\0" " " < /proc/$$/cmdline\n' > d/script; chmod +x d/script
truncate -s 20M i; mke2fs -q -t ext4 -d d i; mnt i m
for p in m/dynamic m/static m/static-pie m/link m/suid m/closed ./m/../m/dynamic $PWD/m//dynamic m/script; do $p x; echo $?; done
cd m; ./dynamic; PATH=. dynamic; (exec -a other ./dynamic); echo "#!$PWD/dynamic y" > ../script; chmod +x ../script; ../script z
for i in 1 2 3 4 5 6 7 8; do echo $i; done | xargs -P8 -n1 ./dynamic | sort | uniq -c
setpriv --reuid 65534 --regid 65534 --clear-groups ./dynamic; setpriv --reuid 65534 --regid 65534 --clear-groups bash -c './static; ./link a b'
"""


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comparison]:
    made = Comparison(Path(tmp_path_factory.mktemp("exec")))
    open_to_all(made.directory)
    yield made


def test_scripts(comparison: Comparison) -> None:
    comparison.check(SCRIPTS)


def test_what_a_program_sees_of_itself(comparison: Comparison) -> None:
    comparison.check(f"HERE={HERE}\n{SELF}")


def test_ways_to_execute(comparison: Comparison) -> None:
    comparison.check(f"mnt img m; PYTHONPATH={HERE.parent} {sys.executable} -B {HERE}/view_exec.py $PWD/m")


OWN_LOADER = """
mnt img m; for i in $(seq 60); do echo $i; done | xargs -P16 -n1 m/bin/ownld | sort -n | md5sum; for i in $(seq 20); do m/bin/nested $i; done
setpriv --reuid 65534 --regid 65534 --clear-groups m/bin/ownld nobody; m/bin/ownld y; echo $?
"""


def test_programs_with_a_loader_of_their_own(comparison: Comparison) -> None:
    """Many at once, and of another user than the view's."""
    comparison.check(OWN_LOADER)
