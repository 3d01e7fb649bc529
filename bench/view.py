"""bench/run view: what a system call costs in a view, against proot doing the same on a host copy, and natively.

proot is measured as it starts and pinned to one CPU: its time depends on whether tracer and tracee share one (pinned is its best
case). Rounds are interleaved: every mode runs once a round; the table has medians over the rounds.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.table import Bound, Figures, Limit, Table
from bench.view_work import PROGRAMS, make_image, make_tree, make_worker

UMVIEW = [sys.executable, "-m", "vfs.view.commands.umview"]
PINNED = ["taskset", "-c", "0"]
PROOT, PROOT_PINNED = "proot", "proot pinned"

OUTSIDE, INSIDE, HOSTFS, RAMFS = "view, outside", "view, in ext2", "view, in hostfs", "view, in ramfs"


@dataclass(frozen=True)
class Mode:
    """A way to run a command: *prefix* goes before it, *place* is the tree it finds. *writable*: it may be written there;
    *repository*: the tree is whole."""

    prefix: list[str]
    place: Path
    writable: bool = True
    repository: bool = True

    @property
    def is_peer(self) -> bool:
        return "proot" in self.prefix


def against_proot(row: str, mode: str, most: float, most_pinned: float) -> list[Limit | Bound]:
    return [Limit(row, mode, PROOT, most), Limit(row, mode, PROOT_PINNED, most_pinned)]


LIMITS: list[Limit | Bound] = [
    *against_proot("stat", OUTSIDE, 0.15, 0.7),
    *against_proot("stat, no such file", OUTSIDE, 0.15, 0.7),
    *against_proot("stat, relative name", OUTSIDE, 0.15, 0.7),
    *against_proot("open + close", OUTSIDE, 0.15, 0.7),
    *against_proot("stat", INSIDE, 0.2, 1.0),
    *against_proot("stat, no such file", INSIDE, 0.2, 1.0),
    *against_proot("stat, relative name", INSIDE, 0.2, 1.0),
    *against_proot("open + close", INSIDE, 0.2, 1.0),
    *against_proot("open + read 4K + close", INSIDE, 0.2, 1.0),
    *against_proot("pread 4K", INSIDE, 0.2, 1.0),
    *against_proot("pread 4K of 24 MiB", INSIDE, 0.2, 1.0),
    Limit("git status, 5000 files", OUTSIDE, PROOT, 0.4),
    Limit("git status, 5000 files", OUTSIDE, "native", 5),
    Limit("make -j2, 50 C files", OUTSIDE, "native", 1.5),
    Limit("pread 4K", OUTSIDE, "native", 1.1),
    Limit("pwrite 4K", OUTSIDE, "native", 1.1),
    Limit("fstat", OUTSIDE, "native", 1.1),
    Limit("lseek", OUTSIDE, "native", 1.1),
    Bound("pread 128K of 1 MiB", INSIDE, 131072 / 1.5e3, "1.5 GB/s"),
    Bound("pread 128K of 24 MiB", INSIDE, 131072 / 1.5e3, "1.5 GB/s"),
    Limit("pread 128K of 24 MiB", HOSTFS, "native", 1 / 0.9),
    Limit("pwrite 128K", HOSTFS, "native", 1 / 0.9),
    Bound("start of true", "view, no mount", 250e3, "250 ms"),
]


@contextmanager
def prepared() -> Iterator[tuple[dict[str, Mode], Path]]:
    """The modes, and the worker."""
    with tempfile.TemporaryDirectory(prefix="bench-view-") as name:
        work = Path(name)
        tree, image, mountpoint, worker = work / "tree", work / "tree.img", work / "mnt", work / "worker"
        make_tree(tree)
        mountpoint.mkdir()
        make_image(tree, image)
        make_worker(worker)

        def view(*command: str) -> list[str]:
            mount = " && ".join([*command, 'exec "$@"'])
            return [*UMVIEW, "bash", "-c", f"M={mountpoint} T={tree}; {mount}", "mounted"]

        ext2 = view(f"mount -t umfuseext2 -o ro {image} $M")
        copied = "cd $T && cp -r small medium big many many.tar out project $M"
        modes = {
            "native": Mode([], tree),
            "view, no mount": Mode(UMVIEW, tree),
            OUTSIDE: Mode(ext2, tree),
            INSIDE: Mode(ext2, mountpoint, writable=False),
            "view, in ext2, pinned": Mode([*PINNED, *ext2], mountpoint, writable=False),
            HOSTFS: Mode(view("mount -t hostfs $T $M"), mountpoint),
            RAMFS: Mode(view("mount -t ramfs none $M", copied), mountpoint, repository=False),
        }
        if shutil.which("proot"):
            proot = ["proot", "-b", f"{tree}:{mountpoint}"]
            modes[PROOT] = Mode(proot, mountpoint)
            modes[PROOT_PINNED] = Mode([*PINNED, *proot], mountpoint)
        yield modes, worker


def measure(figures: Figures, name: str, mode: Mode, worker: Path, seconds: float) -> None:
    """One turn of one mode: its start, the worker's calls, then the programs."""
    started = time.monotonic()
    subprocess.run([*mode.prefix, "true"], check=True, timeout=60)
    figures.add("start of true", name, (time.monotonic() - started) * 1e6)
    command = [*mode.prefix, str(worker), str(mode.place), str(seconds), *(["write"] if mode.writable else [])]
    calls = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=120).stdout
    for line in calls.splitlines():
        row, _, nanoseconds = line.partition("\t")
        figures.add(row, name, float(nanoseconds) / 1e3)
    # The programs are timed inside the mode: its own start is not their time.
    programs = {
        row: program
        for row, program in PROGRAMS.items()
        if (mode.writable or not program.writes)
        and (mode.repository or "repository" not in program.command)
        and (program.peers or not mode.is_peer)
    }
    script = (
        'cd $1; shift; while [ $# -gt 0 ]; do s=$(date +%s%N); (eval "$1") >/dev/null || exit; e=$(date +%s%N); echo $((e-s)); '
        'eval "$2" >/dev/null; shift 2; done'
    )
    words = [word for program in programs.values() for word in (program.command, program.clean)]
    command = [*mode.prefix, "bash", "-c", script, "programs", str(mode.place), *words]
    times = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=300).stdout.split()
    for row, taken in zip(programs, times, strict=True):
        figures.add(row, name, int(taken) / 1e3)


def run(quick: bool) -> Table:
    rounds, seconds = (2, 0.03) if quick else (7, 0.1)
    figures = Figures("µs")
    with prepared() as (modes, worker):
        for number in range(rounds):
            for name, mode in modes.items():
                started = time.monotonic()
                measure(figures, name, mode, worker, seconds)
                print(f"round {number + 1} of {rounds}: {name}: {time.monotonic() - started:.1f} s", file=sys.stderr)
    return Table("System calls and programs in a view", figures, "native", LIMITS)
