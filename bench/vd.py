"""bench/run vd: virtual disks: converting against qemu-img, reading through the kernel against qemu-storage-daemon, opening large
ones, and devices in a view against proot and a loop device.

Rounds are interleaved: every mode runs once a round; the table has medians over the rounds. What both read is compared too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.ext import Growth, drop_caches, mounted
from bench.table import Figures, Limit, Table

VFS = [sys.executable, "-m", "vfs.cli.main"]
UMVIEW = [sys.executable, "-m", "vfs.view.commands.umview"]
PINNED = ["taskset", "-c", "0"]
LIMIT = 300
"""Seconds that anything may take."""

MIB = 1 << 20
QEMU, DAEMON, PROOT, PROOT_PINNED = "qemu-img", "qemu-storage-daemon", "proot", "proot pinned"
LARGE = {"qcow2": "1 TiB, qcow2", "vdi": "1 TiB, VDI"}
SMALL = {"qcow2": "1 GiB, qcow2", "vdi": "1 GiB, VDI"}
OPEN, RESIDENT = "open and read 4 KiB: ", "KiB resident for that: "
MAKE = "mkfs.ext4, 10 GiB"
RANDOM = "pread of 4 KiB at random, µs"
READ = "dd bs=1M of a partition of 1 GiB in qcow2"

LIMITS: list[Limit] = [
    Limit("convert qcow2 to raw, 2 GiB", "vfs", QEMU, 1.3),
    Limit("convert VDI to raw, 2 GiB", "vfs", QEMU, 1.3),
    Limit(READ, "vfs", DAEMON, 1.0),
    Limit(READ + ", image cached", "vfs", DAEMON, 1.0),
    *(Growth(OPEN + LARGE[kind], "vfs", OPEN + SMALL[kind], 1.25) for kind in LARGE),
    *(Growth(RESIDENT + LARGE[kind], "vfs", RESIDENT + SMALL[kind], 1.1) for kind in LARGE),
    Limit(RANDOM, "vfs", PROOT, 0.3),
    Limit(RANDOM, "vfs", PROOT_PINNED, 1.5),
    Limit(MAKE, "vfs", "loop device", 2.0),
]


def run_quietly(*command: str | Path) -> None:
    """Errors end the benchmark with what the program said."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=LIMIT, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {(done.stderr or done.stdout).strip()[-300:]}")


def milliseconds(*command: str | Path) -> float:
    start = time.perf_counter()
    run_quietly(*command)
    return (time.perf_counter() - start) * 1e3


# ------------------------------------------------------------------------------------------------------------- the disks


def make_disk(path: Path, size: int, seed: int) -> None:
    """A raw disk, three quarters of it data in runs of 64 KiB to 32 MiB, the rest holes."""
    chance = random.Random(seed)
    with path.open("wb") as file:
        file.truncate(size)
        at = 0
        while at < size:
            length = min(size - at, (64 << 10) << chance.randrange(10))
            if chance.random() < 0.75:
                file.seek(at)
                for _ in range(-(-length // MIB)):
                    file.write(chance.randbytes(min(MIB, size - file.tell(), at + length - file.tell())))
            at += length


def make_partitioned(path: Path, size: int) -> None:
    """A raw disk with one partition, of *size*, all data."""
    chance = random.Random(3)
    with path.open("wb") as file:
        file.truncate(size + 2 * MIB)
        file.seek(MIB)
        for _ in range(size // MIB):
            file.write(chance.randbytes(MIB))
    table = f"label: dos\nstart=2048,size={size // 512}\n"
    subprocess.run(["sfdisk", "-q", path], input=table, text=True, check=True, capture_output=True, timeout=LIMIT)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def warm(path: Path) -> None:
    """Into the page cache."""
    with path.open("rb", buffering=0) as file:
        while file.read(4 * MIB):
            pass


# -------------------------------------------------------------------------------------------------------------- the peers


@contextlib.contextmanager
def exported(image: Path, work: Path, offset: int, size: int) -> Iterator[Path]:
    """A range of a qcow2 image as a file, by qemu-storage-daemon's FUSE export."""
    file, pid = work / "export", work / "export.pid"
    file.touch()
    nodes = [
        f"driver=qcow2,node-name=disk,read-only=on,file.driver=file,file.filename={image}",
        f"driver=raw,node-name=part,read-only=on,file=disk,offset={offset},size={size}",
    ]
    blockdevs = [word for node in nodes for word in ("--blockdev", node)]
    export = f"type=fuse,id=part,node-name=part,mountpoint={file},writable=off"
    run_quietly(DAEMON, *blockdevs, "--export", export, "--daemonize", "--pidfile", pid)
    number = int(pid.read_text())
    try:
        yield file
    finally:
        os.kill(number, 15)
        end = time.monotonic() + 20
        while Path(f"/proc/{number}").exists() and time.monotonic() < end:
            time.sleep(0.01)
        pid.unlink(missing_ok=True)
        subprocess.run(["umount", "-l", file], capture_output=True, check=False, timeout=LIMIT)  # if it has not done so itself


@contextlib.contextmanager
def loop_device(path: Path) -> Iterator[Path]:
    found = subprocess.run(["losetup", "--show", "-f", path], capture_output=True, text=True, check=True, timeout=LIMIT)
    try:
        yield Path(found.stdout.strip())
    finally:
        subprocess.run(["losetup", "-d", found.stdout.strip()], check=False, timeout=LIMIT)


def can_loop(work: Path) -> bool:
    probe = work / "probe"
    probe.write_bytes(bytes(MIB))
    try:
        with loop_device(probe):
            return True
    except (subprocess.CalledProcessError, OSError):
        return False


# ---------------------------------------------------------------------------------------------------------------- the run

Task = Callable[[], float]


@dataclass
class Bench:
    """The measurements of one run."""

    quick: bool
    work: Path
    figures: Figures
    notes: list[str]

    def row(self, name: str, modes: dict[str, Task], before: Callable[[], object] = lambda: None) -> None:
        """Every mode in turn, round by round; *before* is called before each. One that fails is noted and not asked again."""
        failed: set[str] = set()
        for _ in range(1 if self.quick else 5):
            for mode, task in modes.items():
                if mode in failed:
                    continue
                before()
                try:
                    self.figures.add(name, mode, task())
                except (RuntimeError, subprocess.SubprocessError, OSError) as error:
                    failed.add(mode)
                    self.notes.append(f"{name}: {mode}: {error}")
        medians = {mode: self.figures.median(name, mode) for mode in modes if mode not in failed}
        print(f"{name}: " + ", ".join(f"{mode} {value:,.1f}" for mode, value in medians.items()), file=sys.stderr)

    # ---------------------------------------------------------------- converting

    def convert(self, kind: str, title: str, source: Path, truth: str) -> None:
        targets = {mode: self.work / f"{mode}.raw" for mode in ("vfs", QEMU)}

        def fresh() -> None:
            for target in targets.values():
                target.unlink(missing_ok=True)
            os.sync()  # what the last one has left to be written is not the next one's work
            warm(source)

        commands: dict[str, list[str | Path]] = {
            "vfs": [*VFS, "convert", source, targets["vfs"]],
            QEMU: ["qemu-img", "convert", "-f", kind, "-O", "raw", source, targets[QEMU]],
        }
        self.row(title, {mode: lambda words=words: milliseconds(*words) for mode, words in commands.items()}, fresh)  # type: ignore[misc]
        for mode, words in commands.items():
            targets[mode].unlink(missing_ok=True)
            run_quietly(*words)
            occupied = targets[mode].stat().st_blocks // 2048
            same = "the same bytes" if digest(targets[mode]) == truth else "OTHER BYTES"
            self.notes.append(f"{title}: {mode}: {same} as the original, {occupied:,} MiB occupied")
            targets[mode].unlink()

    # ---------------------------------------------------------------- kernel mounts

    def read(self, image: Path, size: int) -> None:
        """Sequential reading of a partition in a virtual disk, on a fresh mount each time."""

        def ours() -> float:
            with mounted("vfs", image) as mount:
                return mount.timed("dd", f"if={mount.path}/p1", "of=/dev/null", "bs=1M")

        def theirs() -> float:
            with exported(image, self.work, MIB, size) as file:
                return milliseconds("dd", f"if={file}", "of=/dev/null", "bs=1M")

        def cached() -> None:
            drop_caches()
            warm(image)

        modes = {"vfs": ours, **({DAEMON: theirs} if shutil.which(DAEMON) else {})}
        self.row(READ, modes, drop_caches)
        self.row(READ + ", image cached", modes, cached)
        if DAEMON in modes:
            with mounted("vfs", image) as mount, exported(image, self.work, MIB, size) as file:
                same = digest(mount.path / "p1") == digest(file)
                self.notes.append(f"{READ}: both read {'the same' if same else 'OTHER BYTES'}")

    # ---------------------------------------------------------------- opening

    def open(self, kind: str) -> None:
        """The same for a small image and a large one with data in many places."""
        for title, size in ((SMALL[kind], 1 << 30), (LARGE[kind], 1 << 40)):
            image = self.work / f"{size}.{kind}"
            run_quietly("qemu-img", "create", "-q", "-f", kind, image, str(size))
            places = [number * (size // 64) // 65536 * 65536 for number in range(64)]
            writes = [word for place in places for word in ("-c", f"write -P 7 {place} 64k")]
            run_quietly("qemu-io", "-f", kind, *writes, image)
            command = [*VFS, "read", "--offset", str(places[-1]), "--length", "4096", str(image)]
            self.row(OPEN + title, {"vfs": lambda command=command: milliseconds(*command)})  # type: ignore[misc]
            self.row(RESIDENT + title, {"vfs": lambda command=command: resident(command)})  # type: ignore[misc]

    # ---------------------------------------------------------------- in a view

    def random_reads(self, raw: Path, image: Path, size: int) -> None:
        """Of a disk in a view, of the raw file under proot, and of that natively."""
        worker = self.work / "worker"
        source = Path(__file__).with_name("vd_worker.c")
        run_quietly("gcc", "-O2", "-o", worker, source)
        warm(raw)
        warm(image)
        seconds = "0.2" if self.quick else "1"
        arguments = [str(size), seconds]

        def timed(prefix: list[str], file: str | Path) -> float:
            command = [*prefix, str(worker), str(file), *arguments]
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
            if done.returncode:
                raise RuntimeError(done.stderr.strip()[-300:])
            return int(done.stdout) / 1e3

        device = f"{self.work}/device"
        mount = f"mount -t umdevvd -o ro {image} {device}"
        view = [*UMVIEW, "sh", "-c", f'{mount} && exec "$@"', "mounted"]
        table = [*UMVIEW, "sh", "-c", f'{mount} && mount -t umdevmbr -o ro {device} {device}2 && exec "$@"', "mounted"]
        modes: dict[str, Task] = {
            "native": lambda: timed([], raw),
            "vfs": lambda: timed(view, device),
            "vfs, vd and mbr": lambda: timed(table, f"{device}2"),
            "vfs pinned": lambda: timed([*PINNED, *view], device),
        }
        if shutil.which("proot"):
            modes[PROOT] = lambda: timed(["proot", "-b", f"{raw}:{self.work}/bound"], self.work / "bound")
            modes[PROOT_PINNED] = lambda: timed([*PINNED, "proot", "-b", f"{raw}:{self.work}/bound"], self.work / "bound")
        self.row(RANDOM, modes)

    def make(self) -> None:
        """mkfs.ext4 timed from inside, so that the view's own start is not its time."""
        inside = 's=$(date +%s%N); mkfs.ext4 -q -F "$1"; e=$(date +%s%N); echo $((e-s))'
        file = self.work / "mkfs.img"

        def timed(prefix: list[str], target: str | Path) -> float:
            command = [*prefix, "sh", "-ec", inside, "timed", str(target)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
            if done.returncode:
                raise RuntimeError(done.stderr.strip()[-300:])
            return int(done.stdout) / 1e6

        def fresh() -> None:
            file.unlink(missing_ok=True)
            with file.open("wb") as made:
                made.truncate(10 << 30)
            os.sync()

        def looped() -> float:
            with loop_device(file) as device:
                return timed([], device)

        mount = f'mount -t umdevramdisk -o size=10G none {self.work}/disk && exec "$@"'
        modes: dict[str, Task] = {
            "vfs": lambda: timed([*UMVIEW, "sh", "-c", mount, "mounted"], self.work / "disk"),
            "regular file": lambda: timed([], file),
        }
        if can_loop(self.work):
            modes["loop device"] = looped
        else:
            self.notes.append(f"{MAKE}: no loop devices here")
        self.row(MAKE, modes, fresh)


def resident(command: list[str]) -> float:
    """KiB that a program takes at most."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]}: exit code {process.returncode}")
    return float(usage.ru_maxrss)


def run(quick: bool) -> Table:
    with tempfile.TemporaryDirectory(prefix="bench-vd-") as name:
        bench = Bench(quick, Path(name), Figures("ms where nothing else is said"), [])
        missing = [program for program in ("qemu-img", DAEMON, "proot") if shutil.which(program) is None]
        bench.notes += [f"{program} is not installed" for program in missing]
        if os.geteuid():
            bench.notes.append("not root: the page cache was not emptied")
        raw = bench.work / "disk.raw"
        make_disk(raw, 2048 * MIB, 1)
        truth = digest(raw)
        for kind, title in (("qcow2", "qcow2"), ("vdi", "VDI")):
            image = bench.work / f"disk.{kind}"
            run_quietly("qemu-img", "convert", "-f", "raw", "-O", kind, raw, image)
            bench.convert(kind, f"convert {title} to raw, 2 GiB", image, truth)
            image.unlink()
        size = 1024 * MIB
        make_partitioned(raw, size)
        image = bench.work / "partitioned.qcow2"
        run_quietly("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image)
        bench.read(image, size)
        bench.random_reads(raw, image, size)
        raw.unlink()
        image.unlink()
        for kind in LARGE:
            bench.open(kind)
        bench.make()
    return Table("Virtual disks and devices", bench.figures, "vfs", LIMITS, bench.notes)
