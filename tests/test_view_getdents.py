"""The call that listed directories before getdents64: only old programs make it, and only on machines that have it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

from tests.view_compare import Comparison
from tests.view_tree import can_mount
from vfs.view.kernel.machine import current

HERE = Path(__file__).resolve().parent
pytestmark = [
    pytest.mark.skipif(not can_mount(), reason="needs root and loop devices for the kernel's mounts to compare with"),
    pytest.mark.skipif("getdents" not in current().calls, reason="this machine has no getdents"),
]


def test_both_calls_list_the_same() -> None:
    with tempfile.TemporaryDirectory(prefix="view-") as place:
        comparison = Comparison(Path(place))
        comparison.check(f"mnt img m; PYTHONPATH={HERE.parent} {sys.executable} -B {HERE}/view_getdents.py $PWD/m")
