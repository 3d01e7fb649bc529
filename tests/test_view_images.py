"""Every image of the fixtures, mounted in a view with the stock mount(8) and compared whole with the oracle."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import oracle
import pytest

from fixtures.ext import IMAGES, image
from tests.command import reachable, unprivileged

PROJECT = Path(__file__).resolve().parent.parent
UMVIEW = Path(sys.executable).parent / "umview"
READABLE = [name for name, spec in IMAGES.items() if not spec.refused]
TOLD = [name for name in READABLE if IMAGES[name].kernel or IMAGES[name].debugfs or IMAGES[name].same_as]
LIST = 'mount -t umfuseext2 -o "$1" "$2" "$3" && python3 "$4" --known "$5" "$3" && umount "$3"'


@pytest.fixture
def place() -> Iterator[Path]:
    with reachable() as directory:
        yield directory


@pytest.mark.parametrize("user", ["root", "nobody"])
@pytest.mark.parametrize("name", TOLD)
def test_is_as_the_oracle_says(name: str, user: str, place: Path) -> None:
    prefix = unprivileged() if user == "nobody" else []
    spec = IMAGES[name]
    known = oracle.oracle(image(spec.same_as or name), "" if spec.same_as else spec.options)
    (place / "known").write_text(oracle.to_json(known))
    mountpoint = place / "mountpoint"
    mountpoint.mkdir()
    options = ",".join(filter(None, ["ro", spec.options]))
    arguments = [options, image(name), mountpoint, PROJECT / "tests" / "oracle.py", place / "known"]
    done = subprocess.run([*prefix, UMVIEW, "bash", "-c", LIST, "list", *arguments], capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    wrong = oracle.differences(known, oracle.from_json(done.stdout))
    assert not wrong, "\n".join(wrong[:20])


@pytest.mark.parametrize("name", [name for name, spec in IMAGES.items() if spec.refused])
def test_a_refusal_says_why_in_one_line(name: str, tmp_path: Path) -> None:
    command = [UMVIEW, "mount", "-t", "umfuseext2", "-o", "ro", image(name), tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 32
    first = done.stderr.splitlines()[0]
    assert first.startswith(f"umview: {tmp_path}: {image(name)}: ")
