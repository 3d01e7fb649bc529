"""A soak: eight workers do mixed work in one view for twenty minutes, and kill some of it. SOAK_SECONDS makes it shorter."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.command import killed_at_the_end
from tests.view_soak import PATIENCE
from tests.views import ENVIRONMENT, UMVIEW
from vfs.view.kernel import processes

SECONDS = float(os.environ.get("SOAK_SECONDS", "1200"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
PHASES = 6
"""The first is the warm-up."""
GROWTH = 50 << 20
MORE_DESCRIPTORS = 500
"""The supervisor keeps some, of tasks and directories: a few hundred when it has seen many."""
HERE = Path(__file__).resolve().parent
SETUP = """
set -e
mkdir ramfs hostfs real host ro
mount -t ramfs none ramfs; mount -t hostfs real hostfs; mount -t umfuseext2 -o ro ro.img ro
"$@"
umount ro; umount hostfs; umount ramfs
"""


class Held(NamedTuple):
    """What the supervisor has: resident bytes, descriptors."""

    memory: int
    descriptors: int


def held_by(pid: int) -> Held:
    status = Path(f"/proc/{pid}/status").read_text()
    memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return Held(memory << 10, len(os.listdir(f"/proc/{pid}/fd")))


def make_tree(directory: Path) -> Path:
    """A tree of some hundred files, one of them of 3 MiB, and what sha256sum says of it."""
    chance = random.Random(SEED)
    sums = []
    for number in range(240):
        path = directory / f"d{number % 8}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = 3 << 20 if number == 0 else int(chance.paretovariate(0.7) * 100) % 60000
        content = (b"needle" if number < 5 else b"") + chance.randbytes(size).replace(b"needle", b"")
        path.write_bytes(content)
        sums.append(f"{hashlib.sha256(content).hexdigest()}  ./{path.relative_to(directory)}\n")
    found = directory.with_suffix(".sums")
    found.write_text("".join(sums))
    return found


@pytest.mark.slow
def test_soak(tmp_path: Path) -> None:
    """No job fails or hangs, no checksum is wrong, and the supervisor does not grow."""
    tree, log, messages = tmp_path / "tree", tmp_path / "log", tmp_path / "messages"
    sums = make_tree(tree)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, tmp_path / "ro.img", "32M"], check=True)
    places = ":".join(str(tmp_path / name) for name in ("ramfs", "hostfs", "host"))
    work = [sys.executable, HERE / "view_soak.py", "work", places, tmp_path / "ro", sums, log, PHASES, SECONDS, SEED]
    command = [UMVIEW, "--debug", "bash", "-c", SETUP, "soak", *map(str, work)]
    found = []
    with messages.open("w") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=tmp_path, env=ENVIRONMENT
        )
    with killed_at_the_end(process):
        assert process.stdin and process.stdout
        for _ in range(PHASES):
            assert process.stdout.readline() == "quiet\n", messages.read_text()[-4000:]
            found.append(held_by(processes.children(process.pid)[0]))
            print(len(log.read_text().splitlines()), "lines,", found[-1], flush=True)
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.wait(PATIENCE) == 0, messages.read_text()[-4000:]
    wrong = [line for line in log.read_text().splitlines() if not line.startswith("done")]
    assert wrong == []
    first, last = found[0], found[-1]
    assert last.memory - first.memory <= GROWTH, found
    assert last.descriptors - first.descriptors <= MORE_DESCRIPTORS, found
