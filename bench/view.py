"""bench/run view: what a system call costs in a view, against proot doing the same on a host copy, and natively.

proot is measured as it starts and pinned to one CPU: its time depends on whether tracer and tracee share one (pinned is its best
case). Rounds are interleaved: every mode runs once a round; the table has medians over the rounds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.table import Figures, Limit, Table

HERE = Path(__file__).resolve().parent
UMVIEW = Path(sys.executable).parent / "umview"
MOUNT = 'mount -t umfuseext2 -o ro "$1" "$2" && shift 2 && exec "$@"'
PINNED = ["taskset", "-c", "0"]

PROGRAMS = {
    "find -ls, 1000 files": "find . -ls",
    "grep -r, 1000 files": "grep -rc needle many",
    "tar c, 1000 files": "tar -c many | cat",
    "sha256sum 24 MiB": "sha256sum big",
    # The image has other inode numbers and change times than the tree it was made of: git must not take that for changes.
    "git status, 5000 files": "git -C repository -c core.checkStat=minimal -c core.trustctime=false status",
}

LIMITS = [
    Limit("stat", "view, outside", "proot", 0.2),
    Limit("stat", "view, outside", "proot pinned", 0.8),
    Limit("stat, no such file", "view, outside", "proot", 0.2),
    Limit("stat, no such file", "view, outside", "proot pinned", 0.8),
    Limit("stat", "view, inside", "proot", 0.3),
    Limit("stat", "view, inside", "proot pinned", 1.2),
    Limit("stat, no such file", "view, inside", "proot", 0.3),
    Limit("stat, no such file", "view, inside", "proot pinned", 1.2),
    Limit("open + read 4K + close", "view, inside", "proot", 0.3),
    Limit("open + read 4K + close", "view, inside", "proot pinned", 1.2),
    Limit("git status, 5000 files", "view, outside", "proot", 0.5),
]


def make_tree(tree: Path) -> None:
    """The files that are worked on: few for single calls, 1000 for programs, a repository of 5000."""
    (tree / "many").mkdir(parents=True)
    for index in range(1000):
        directory = tree / "many" / f"d{index // 50}"
        directory.mkdir(exist_ok=True)
        (directory / f"f{index}").write_text(f"needle {index}\n" * (index % 300))
    (tree / "small").write_bytes(os.urandom(4096))
    (tree / "big").write_bytes(os.urandom(24 << 20))
    repository = tree / "repository"
    for index in range(5000):
        directory = repository / f"d{index // 100}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{index}").write_text(f"content {index}\n")
        # Older than the index: else git, not trusting times, reads every file each time where it cannot write the index anew.
        os.utime(directory / f"f{index}", (10**9, 10**9))
    git = ["git", "-C", str(repository), "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"], ["update-index", "-q", "--refresh"]):
        subprocess.run([*git, *command], check=True)


@contextmanager
def prepared() -> Iterator[tuple[Path, Path, Path, Path]]:
    """(host tree, image of it, mount point, worker)."""
    with tempfile.TemporaryDirectory(prefix="bench-view-") as name:
        work = Path(name)
        tree, image, mountpoint, worker = work / "tree", work / "tree.img", work / "mnt", work / "worker"
        make_tree(tree)
        mountpoint.mkdir()
        with image.open("wb") as file:
            file.truncate(256 << 20)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, image], check=True)
        subprocess.run(["gcc", "-O2", "-o", worker, HERE / "view_worker.c"], check=True)
        yield tree, image, mountpoint, worker


def measure(figures: Figures, mode: str, prefix: list[str], tree: Path, worker: Path, seconds: float) -> None:
    """One turn of one mode: the worker's calls, then the programs."""
    calls = subprocess.run(
        [*prefix, str(worker), str(tree), str(seconds)], check=True, capture_output=True, text=True, timeout=120
    ).stdout
    for line in calls.splitlines():
        row, _, nanoseconds = line.partition("\t")
        figures.add(row, mode, float(nanoseconds) / 1e3)
    # The programs are timed inside the mode: its own start is not their time.
    script = 'cd $1; shift; for c in "$@"; do s=$(date +%s%N); eval "$c" >/dev/null; e=$(date +%s%N); echo $((e-s)); done'
    command = [*prefix, "bash", "-c", script, "programs", str(tree), *PROGRAMS.values()]
    times = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout.split()
    for row, taken in zip(PROGRAMS, times, strict=True):
        figures.add(row, mode, int(taken) / 1e3)


def run(quick: bool) -> Table:
    rounds, seconds = (2, 0.05) if quick else (7, 0.2)
    figures = Figures("µs")
    with prepared() as (tree, image, mountpoint, worker):
        view = [str(UMVIEW), "bash", "-c", MOUNT, "mounted", str(image), str(mountpoint)]
        modes: dict[str, tuple[list[str], Path]] = {
            "native": ([], tree),
            "view, no mount": ([str(UMVIEW)], tree),
            "view, outside": (view, tree),
            "view, inside": (view, mountpoint),
            "view, inside, pinned": ([*PINNED, *view], mountpoint),
        }
        if shutil.which("proot"):
            modes["proot"] = (["proot", "-b", f"{tree}:{mountpoint}"], mountpoint)
            modes["proot pinned"] = ([*PINNED, *modes["proot"][0]], mountpoint)
        for number in range(rounds):
            for mode, (prefix, place) in modes.items():
                started = time.monotonic()
                measure(figures, mode, prefix, place, worker, seconds)
                print(f"round {number + 1} of {rounds}: {mode}: {time.monotonic() - started:.1f} s", file=sys.stderr)
    return Table("System calls and programs in a view", figures, "native", LIMITS)
