"""bench/run ext: kernel mounts of ext4 images, ours against fuse2fs and fuseext2 on the same images.

Every measurement has a mount of its own, and (as root) empty page, dentry and inode caches. Rounds are interleaved: every
program is measured on a row before the next row comes; the table has medians over the rounds. A peer that takes longer than
LIMIT at something is ended, noted, and not asked again. What each answers is compared too: a fast wrong answer shows.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.table import Figures, Limit, Table
from fixtures.ext import image
from tests.oracle import loop_mount

VFS = [sys.executable, "-m", "vfs.cli.main", "mount", "-o", "ro"]
PEERS = ("fuse2fs", "fuseext2")
LIMIT = 60
"""Seconds that anything may take. fuseext2 never answers statfs(2), and so neither find(1), which begins with it."""

COMPILED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""As for a user: without this, Python compiles anew at each start what has changed since it was last allowed to keep it."""

WORKER = Path(__file__).with_name("ext_worker.py")
SMALL, LARGE, CROWD, BIG = "many_files", "million_inodes", "big_directory", "big_file"
"""10,000 files in many directories; a million inodes on 64 GiB; a directory of 100,000 entries; a file of 1 GiB."""


class TooLong(Exception):
    """A program was ended after LIMIT seconds."""


@dataclass(frozen=True)
class Growth(Limit):
    """A row may be slower than another row of the same program by *ratio* at most."""

    def reached(self, figures: Figures) -> float | None:
        large, small = figures.median(self.row, self.mode), figures.median(str(self.peer), self.mode)
        return large / small if large is not None and small else None


@dataclass(frozen=True)
class Ceiling(Limit):
    """A row may have this value at most."""

    def reached(self, figures: Figures) -> float | None:
        return figures.median(self.row, self.mode)


MEMORY = "MiB resident at most, find -ls of 1M inodes"
LIMITS = [
    Limit("find -ls", "vfs", PEERS, 0.8),
    Limit("stat walk", "vfs", PEERS, 0.8),
    Limit("lstat of names", "vfs", PEERS, 0.8),
    Limit("small files: open, read, close", "vfs", PEERS, 0.8),
    Limit("dd bs=1M of 1 GiB, cold", "vfs", PEERS, 1.0),
    Limit("dd bs=1M of 1 GiB, image cached", "vfs", PEERS, 1.0),
    Limit("cat of 1 GiB, cold", "vfs", PEERS, 1.0),
    Limit("cat of 1 GiB, image cached", "vfs", PEERS, 1.0),
    Limit("ls -laR", "vfs", "fuse2fs", 0.5),
    Limit("ls -laR", "vfs noxattr", "fuseext2", 0.8),
    Growth("mount to first ls, 64 GiB", "vfs", "mount to first ls", 1.25),
    Growth("look-up among 100k", "vfs", "look-up among few", 2.0),
    Ceiling(MEMORY, "vfs", "a fixed limit", 100),
]


def command(mode: str, source: Path, mountpoint: Path) -> list[str]:
    """The command that mounts *source* and returns when it is mounted."""
    if mode in PEERS:
        return [mode, str(source), str(mountpoint), "-o", "ro"]
    return [*VFS, *(["-o", "noxattr"] if "noxattr" in mode else []), str(source), str(mountpoint)]


def drop_caches() -> None:
    if os.geteuid() == 0:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")


def serving(mountpoint: Path) -> int:
    """The process that serves the mount: the one with its path among its arguments."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            words = Path("/proc", name, "cmdline").read_bytes().split(b"\0")
            if os.fsencode(mountpoint) in words and int(name) != os.getpid():
                return int(name)
    return 0


@dataclass(frozen=True)
class Mount:
    """A mount under measurement, and the process that serves it."""

    path: Path
    pid: int

    def output(self, *words: str | Path) -> bytes:
        """What a program prints. When it takes too long the serving process is killed, not only the program: a program that waits
        for an answer that never comes cannot be ended otherwise."""
        process = subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            printed, errors = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            os.kill(self.pid, signal.SIGKILL)
            process.communicate()
            raise TooLong(words[0]) from None
        if process.returncode:
            raise RuntimeError(f"{words[0]}: {errors.decode(errors='replace').strip()[:200]}")
        return printed

    def timed(self, *words: str | Path) -> float:
        """Milliseconds that a program takes, its output thrown away."""
        start = time.perf_counter()
        self.output("sh", "-c", 'exec "$@" >/dev/null', "sh", *words)
        return (time.perf_counter() - start) * 1e3

    def worked(self, task: str, names: Path) -> float:
        """Milliseconds that the worker says its task took, without its own start."""
        return float(self.output(sys.executable, "-S", WORKER, task, self.path, names))

    def described(self) -> dict[str, list[object]]:
        """Every entry with the fields of stat(2) that anybody can compare."""
        printed = self.output(sys.executable, "-S", WORKER, "describe", self.path, os.devnull)
        return {path: fields for path, *fields in json.loads(printed)}


@contextlib.contextmanager
def mounted(mode: str, source: Path) -> Iterator[Mount]:
    """A fresh mount, with caches as they are; ended in any case."""
    with tempfile.TemporaryDirectory(prefix="bench-ext-") as name:
        mountpoint = Path(name).resolve() / "m"
        mountpoint.mkdir()
        done = subprocess.run(command(mode, source, mountpoint), capture_output=True, timeout=LIMIT, check=False, env=COMPILED)
        if done.returncode:
            raise RuntimeError(f"{mode}: {done.stderr.decode(errors='replace').strip()}")
        pid = serving(mountpoint)
        try:
            yield Mount(mountpoint, pid)
        finally:
            unmount = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-u", "-z"]
            subprocess.run([*unmount, mountpoint], capture_output=True, timeout=LIMIT, check=False)
            end = time.monotonic() + 10
            while pid and Path(f"/proc/{pid}").exists() and time.monotonic() < end:
                time.sleep(0.01)


class Bench:
    """The measurements of one run."""

    def __init__(self, quick: bool, work: Path) -> None:
        self.rounds = 1 if quick else 5
        self.quick = quick
        self.work = work
        self.figures = Figures("ms where nothing else is said")
        self.notes: list[str] = []
        self.given_up: set[tuple[str, str]] = set()

    def row(self, name: str, modes: tuple[str, ...], source: Path, task: Callable[[Mount], float], cached: bool = False) -> None:
        """Every mode in turn, round by round, on a fresh mount; *cached*: the image in the page cache."""
        for _ in range(self.rounds):
            for mode in modes:
                if (name, mode) in self.given_up:
                    continue
                drop_caches()
                if cached:
                    with source.open("rb", buffering=0) as file:
                        while file.read(1 << 22):
                            pass
                try:
                    with mounted(mode, source) as mount:
                        self.figures.add(name, mode, task(mount))
                except (TooLong, RuntimeError) as error:
                    self.given_up.add((name, mode))
                    what = f"ended after {LIMIT} s" if isinstance(error, TooLong) else str(error)
                    self.notes.append(f"{name}: {mode}: {what}")
        self.tell(name)

    def tell(self, name: str) -> None:
        medians = {mode: self.figures.median(name, mode) for mode in self.figures.values.get(name, {})}
        print(f"{name}: " + ", ".join(f"{mode} {value:,.1f}" for mode, value in medians.items()), file=sys.stderr)

    def start(self, name: str, source: Path, modes: tuple[str, ...]) -> None:
        """Mounting and the first `ls`, as one time."""
        for _ in range(self.rounds):
            for mode in modes:
                drop_caches()
                start = time.perf_counter()
                with mounted(mode, source) as mount:
                    mount.timed("ls", mount.path)
                    self.figures.add(name, mode, (time.perf_counter() - start) * 1e3)
        self.tell(name)

    def memory(self, source: Path) -> None:
        """The serving process's largest resident size while `find -ls` goes over all of a large image."""
        with mounted("vfs", source) as mount:
            self.notes.append(f"find -ls of 1M inodes: {mount.timed('find', mount.path, '-ls') / 1e3:.1f} s")
            lines = Path(f"/proc/{mount.pid}/status").read_text().splitlines()
            peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
            self.figures.add(MEMORY, "vfs", peak / 1024)

    def names(self, source: Path, count: int) -> Path:
        """A file with the names of *count* regular files, in random order, the same in each run."""
        with mounted("vfs", source) as mount:
            found = []
            for path, below, files in os.walk(mount.path):
                below.sort()
                found += [os.path.relpath(os.path.join(path, name), mount.path) for name in sorted(files)]
        random.Random(1).shuffle(found)
        listed = self.work / f"{source.stem}.{count}.names"
        listed.write_text("\0".join(found[:count]), errors="surrogateescape")
        return listed

    def compare(self, source: Path) -> None:
        """What each program says of every entry, against what the kernel's own mount says (or ours, where we are not root)."""
        answers: dict[str, dict[str, list[object]]] = {}
        for mode in ("vfs", *PEERS):
            try:
                with mounted(mode, source) as mount:
                    answers[mode] = mount.described()
            except (TooLong, RuntimeError, OSError) as error:
                self.notes.append(f"answers: {mode}: {error or 'none'}")
        if os.geteuid() == 0:
            with loop_mount(source) as mountpoint:
                truth = Mount(mountpoint, 0).described()
        else:
            truth = answers["vfs"]
        for mode, answer in answers.items():
            wrong: dict[str, int] = {"missing": len(truth.keys() - answer.keys()), "not there": len(answer.keys() - truth.keys())}
            for path in truth.keys() & answer.keys():
                for field, one, two in zip(FIELDS, truth[path], answer[path], strict=True):
                    wrong[field] = wrong.get(field, 0) + (one != two)
            found = ", ".join(f"{field} of {count}" for field, count in wrong.items() if count)
            self.notes.append(f"answers compared with the kernel's, {len(truth)} entries: {mode}: {found or 'all the same'}")


COPY = ("of=/dev/null", "bs=1M")
FIELDS = ("mode and type", "uid", "gid", "size", "blocks", "links", "inode", "rdev", "time", "target")


def run(quick: bool) -> Table:
    modes = ("vfs", *(peer for peer in PEERS if shutil.which(peer)))
    with tempfile.TemporaryDirectory(prefix="bench-ext-") as name:
        bench = Bench(quick, Path(name))
        bench.notes += [f"{peer} is not installed" for peer in PEERS if peer not in modes]
        if os.geteuid():
            bench.notes.append("not root: the page cache was not emptied, so nothing is cold but the mount")
        many, crowd, big = image(SMALL), image(CROWD), image(BIG)
        bench.compare(many)
        names = bench.names(many, 10000)
        bench.row("find -ls", modes, many, lambda m: m.timed("find", m.path, "-ls"))
        bench.row("stat walk", modes, many, lambda m: m.worked("walk", names))
        bench.row("lstat of names", modes, many, lambda m: m.worked("lstat", names))
        bench.row("small files: open, read, close", modes, many, lambda m: m.worked("read", names))
        bench.row("ls -laR", (*modes, "vfs noxattr"), many, lambda m: m.timed("ls", "-laR", m.path))
        for cached in (False, True):
            how = "image cached" if cached else "cold"
            bench.row(f"dd bs=1M of 1 GiB, {how}", modes, big, lambda m: m.timed("dd", f"if={_largest(m)}", *COPY), cached)
            bench.row(f"cat of 1 GiB, {how}", modes, big, lambda m: m.timed("cat", _largest(m)), cached)
        few, hundred_thousand = bench.names(many, 1000), bench.names(crowd, 1000)
        bench.row("look-up among few", modes, many, lambda m: m.worked("lstat", few))
        bench.row("look-up among 100k", modes, crowd, lambda m: m.worked("lstat", hundred_thousand))
        bench.start("mount to first ls", many, modes)
        million = image(LARGE)
        bench.start("mount to first ls, 64 GiB", million, modes)
        bench.memory(million)
    return Table("Kernel mounts of ext4 images", bench.figures, "vfs", LIMITS, bench.notes)


def _largest(mount: Mount) -> Path:
    return max((path for path in mount.path.iterdir() if path.is_file()), key=lambda path: path.stat().st_size)
