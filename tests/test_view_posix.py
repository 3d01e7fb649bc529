"""Writing in a view: the cases of `posix_cases`, answered by ramfs and hostfs through system calls."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import posix_cases
import pytest

TESTS = Path(__file__).parent
UMVIEW = Path(sys.executable).with_name("umview")

EXEMPT = {
    "ramfs": set(posix_cases.EXEMPT["tmpfs"]),  # an open file is a memfd
    "hostfs": set(posix_cases.EXEMPT["ext4"]) | set(posix_cases.EXEMPT["hostfs on tmpfs"]),
}


@pytest.mark.parametrize("type", ["ramfs", "hostfs"])
def test_a_file_system_of_linux(type: str, tmp_path: Path) -> None:
    source, place = tmp_path / "source", tmp_path / "mnt"
    source.mkdir()
    place.mkdir()
    script = 'mount -t "$1" "$2" "$3" && exec "$4" "$5"/posix_cases.py "$3"'
    command = [UMVIEW, "bash", "-c", script, "x", type, source, place, sys.executable, TESTS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    count, failed = posix_cases.outcomes(done.stdout)
    assert count == len(posix_cases.CASES), done.stderr
    assert not set(failed) - EXEMPT[type], failed
    assert not list(place.iterdir())
