# ruff: noqa: E501 (shell reads best as it is)
"""Descriptors of virtual files: standard ones, closed ones, very many, passed on; with limits so small that all is evicted soon."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import open_to_all
from tests.view_compare import UMVIEW, VIEW, Comparison
from tests.view_tree import can_mount

pytestmark = pytest.mark.skipif(not can_mount(), reason="needs root and loop devices for the kernel's mounts to compare with")
HERE = Path(__file__).resolve().parent
SMALL = [sys.executable, str(HERE / "view_small.py"), *VIEW[1:]]

CASES = {
    "standard ones": 'mnt img m; cat <&-; cat <m/deep/f1 | wc -l; (exec <m/deep/f1; exec 3<m/big; stat -L -c "%i %s" /dev/stdin; wc -c <&3; md5sum <&3; cat | wc -l); (exec 0<&- 1>o 2>&1; cat m/deep/f1; exec 2<m/big; wc -c <&2); cat o | wc -l; (exec 0<&-; head -1 m/deep/f1; wc -c m/big); (exec <&- >&- 2>&-; cat m/deep/f1; m/bin/dyn); bash -c "exec 0<m/deep; ls /proc/self/fd/0 | wc -l; cd /proc/self/fd/0; /bin/pwd"; find m -maxdepth 1 -type f -exec bash -c "wc -c <{}" ";" | sort',
    "seldom ones": f"mnt img m; PYTHONPATH={HERE.parent} /usr/bin/python3 -B {HERE}/view_descriptors.py m",
    "processes at once": "mnt img m; for i in $(seq 300); do (read x < m/deep/f1; echo $x) & done | sort | uniq -c; wait; for i in $(seq 200); do m/bin/static & done | wc -l; wait; echo",
    "stopped and killed": 'mnt img m; bash -c "while :; do cat m/deep/* m/big > /dev/null 2>&1; done" & p=$!; disown $p; for i in 1 2 3 4 5; do kill -STOP $p; sleep 0.02; kill -CONT $p; sleep 0.02; done; kill -9 $p; cat m/deep/f1 | wc -l',
    "no longer dumpable": r"""mnt img m; setpriv --reuid 65534 --regid 65534 --clear-groups /usr/bin/python3 -c "
import ctypes, hashlib; f, g = open('m/big', 'rb', buffering=0), open('m/deep/f1'); ctypes.CDLL(None).prctl(4, 0); print(hashlib.md5(f.read()).hexdigest(), len(g.read()))" """,
}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comparison]:
    made = Comparison(Path(tmp_path_factory.mktemp("descriptors")))
    open_to_all(made.directory)
    yield made


@pytest.mark.parametrize("name", CASES)
def test_as_the_kernel_has_it(comparison: Comparison, name: str) -> None:
    comparison.check(CASES[name])


@pytest.mark.parametrize("name", ["standard ones", "processes at once"])
def test_when_all_is_evicted_at_once(comparison: Comparison, name: str) -> None:
    comparison.check(CASES[name], SMALL)


CALLS = f"mnt img m; /usr/bin/python3 -B {HERE}/view_calls.py $PWD/m"


def test_calls_when_all_is_evicted_at_once(comparison: Comparison) -> None:
    comparison.check(CALLS, SMALL)


def test_a_small_hard_limit(comparison: Comparison) -> None:
    """umview's numbers for virtual files lie within it; the tools that compare fstat with stat are content."""
    script = "mnt img m; find m -ls | wc -l; find m -type f -exec md5sum {} + | sort | md5sum; du -s m >/dev/null; cp -r m/deep n/ && diff -r --no-dereference m/deep n/deep; tar c m/deep | wc -c; git -c safe.directory='*' -C m/repo log --oneline | wc -l"
    limited = ["bash", "-c", 'ulimit -n 100; exec "$@"', "limited", *VIEW]
    comparison.check(script, limited)


def test_many_files_are_forgotten(comparison: Comparison) -> None:
    """What nobody has open is not remembered, and what somebody has still reads right."""
    script = "mnt img m; exec 5<m/big 6<m/deep/f1 7<m/deep; for i in 1 2 3; do cat m/deep/f* >/dev/null; done; md5sum <&5; cat <&6 | wc -l; ls /proc/self/fd/7 | wc -l; umount m 2>/dev/null; echo $?; exec 5<&- 6<&- 7<&-; umount m; echo $?"
    comparison.check(script, SMALL)


def test_as_nobody_undumpable(comparison: Comparison) -> None:
    """A big file that was opened before cannot be served any more: an error, never zeros."""
    program = "import ctypes; f = open('m/big', 'rb', buffering=0); ctypes.CDLL(None).prctl(4, 0)\ntry: print(sum(f.read(1000)) > 0)\nexcept OSError as e: print('refused')"
    comparison.outcome(VIEW, "true")
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", UMVIEW, "bash", "-c"]
    script = 'mount -t umfuseext2 -o ro img m; exec /usr/bin/python3 -c "$0"'
    done = subprocess.run([*command, script, program], cwd=comparison.work, capture_output=True, text=True, timeout=30)
    assert done.stdout in ("refused\n", "True\n"), done
