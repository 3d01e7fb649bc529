"""What the tests of all virtual disk formats share: qemu's tools, content, a flat model, power cuts, kills, damage.

* `content`, `make_raw`, `qemu_img`, `qemu_io`: images of qemu's making.
* `operations` (hypothesis) or `random_operations`, and `against_model`: changes of a disk compared with a bytearray.
* `power_cuts`: the image's files live in memory, where every write is recorded; then, for many moments, the files as a power cut
  would leave them: what was flushed is there, of what came later any part. Reopened: flushed content is there, nothing is wrong
  but leaks.
* `kills`: the same with a process that really writes and really is killed.
* `damage`: mutated images in a process with little memory.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

PROJECT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT))

from hypothesis import strategies  # noqa: E402

from tests.time_limit import time_limit  # noqa: E402
from vfs.api import ERROR, Device, FileStorage, Finding, Storage  # noqa: E402
from vfs.vd.module import VdModule  # noqa: E402

MODULE = VdModule()
SECTOR = 512
SECONDS, MEMORY = 5, 256 << 20
"""What a damaged image may take."""


# -------------------------------------------------------------------------------------------- images


def qemu_img(*arguments: str | Path) -> str:
    """What it prints. Fails the test with its own words."""
    done = subprocess.run(["qemu-img", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, f"qemu-img {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}"
    return done.stdout


def qemu_check(path: Path, format: str, leaks: bool = False) -> None:
    """Fails where `qemu-img check` finds something; with *leaks* these are allowed."""
    done = subprocess.run(["qemu-img", "check", "-f", format, str(path)], capture_output=True, text=True)
    assert done.returncode == 0 or (leaks and done.returncode == 3), f"{done.returncode}: {done.stdout}{done.stderr}"


def qemu_io(path: Path, format: str, *commands: str) -> str:
    """Commands such as `write -P 7 0 64k` or `discard 0 64k`, in one opening."""
    arguments = [word for command in commands for word in ("-c", command)]
    done = subprocess.run(["qemu-io", "-d", "unmap", "-f", format, *arguments, str(path)], capture_output=True, text=True)
    assert done.returncode == 0 and "failed" not in done.stdout, f"{commands}: {done.stdout}{done.stderr}"
    return done.stdout


def content(seed: int, size: int) -> bytes:
    """Data that no compression makes much of, text, zeros and holes, in pieces of odd sizes; the same for the same seed."""
    rng = random.Random(seed)
    found = bytearray()
    while len(found) < size:
        length = rng.choice((1, 512, 4096, 5000, 65536, 70000, 200_000))
        kind = rng.randrange(4)
        if kind == 0:
            found += rng.randbytes(length)
        elif kind == 1:
            found += (b"line %d of a text\n" % length * length)[:length]
        else:
            found += bytes(length * kind)
    return bytes(found[:size])


def make_raw(path: Path, seed: int, size: int) -> bytes:
    """A raw file of such content."""
    found = content(seed, size)
    path.write_bytes(found)
    return found


def as_raw(path: Path, format: str, to: Path) -> bytes:
    """The disk as qemu-img sees it."""
    qemu_img("convert", "-f", format, "-O", "raw", path, to)
    return to.read_bytes()


def opened(storage: Storage, **options: Any) -> Device:
    """The device in a storage, which is closed with it, or at once on failure."""
    try:
        found = MODULE.mount(storage, MODULE.options(**options))
    except BaseException:
        storage.close()
        raise
    return found


def opened_file(path: Path, writable: bool = False, **options: Any) -> Device:
    return opened(FileStorage(str(path), writable), rw=writable, **options)


def checked(storage: Storage, **options: Any) -> list[Finding]:
    """What our own check finds. The storage stays open."""
    return MODULE.check(storage, MODULE.options(**options))


def read_all(disk: Storage, piece: int = 1 << 20) -> bytes:
    return b"".join(disk.read(at, min(piece, disk.size - at)) for at in range(0, disk.size, piece))


def created(path: Path, format: str, size: int | None, **options: Any) -> None:
    """A new image of ours."""
    with FileStorage(str(path), True, True) as storage:
        MODULE.create(storage, format, size, MODULE.create_options(format)(**options))


# -------------------------------------------------------------------------------------------- operations


class Operation(NamedTuple):
    """*kind* is `write`, `zero`, `discard`, `flush` or `reopen`; *seed* makes the content."""

    kind: str
    offset: int = 0
    length: int = 0
    seed: int = 0

    def bytes(self) -> bytes:
        # Pieces of it are zeros, as in life.
        rng = random.Random(self.seed)
        found = bytearray(rng.randbytes(self.length))
        if self.seed % 5 == 0:
            start = rng.randrange(self.length + 1)
            found[start : start + self.length // 2] = bytes(len(found[start : start + self.length // 2]))
        return bytes(found)


def random_operations(rng: random.Random, size: int, count: int, unit: int = 1, longest: int = 300_000) -> list[Operation]:
    """*unit*: offsets and lengths are multiples of it."""
    found = []
    for _ in range(count):
        kind = rng.choices(("write", "zero", "discard", "flush", "reopen"), (10, 2, 2, 3, 1))[0]
        if kind in ("flush", "reopen"):
            found.append(Operation(kind))
            continue
        length = rng.choice((1, 512, 4096, rng.randrange(1, longest), 65536, 131072))
        length = min(max(length // unit, 1), size // unit) * unit
        at = rng.randrange((size - length) // unit + 1)
        if rng.random() < 0.5:  # close to each other and aligned: what programs do
            at = at // (65536 // unit) * (65536 // unit) if unit <= 65536 else at
        found.append(Operation(kind, at * unit, length, rng.randrange(1 << 30)))
    return found


def operations(size: int, unit: int = 1, longest: int = 200_000, most: int = 25) -> strategies.SearchStrategy[list[Operation]]:
    """Lists of operations for hypothesis, which shrink to few and small ones."""

    def build(kind: str, at: int, length: int, seed: int) -> Operation:
        length = min(max(1, length // unit) * unit, size // unit * unit)
        return Operation(kind, min(at // unit * unit, size - length), length, seed)

    change = strategies.builds(
        build,
        strategies.sampled_from(("write", "write", "write", "zero", "discard")),
        strategies.integers(0, size - 1) | strategies.integers(0, size // 65536).map(lambda number: number * 65536),
        strategies.integers(1, min(longest, size)) | strategies.sampled_from((512, 4096, 65536)),
        strategies.integers(0, 1 << 20),
    )
    return strategies.lists(change | strategies.sampled_from((Operation("flush"), Operation("reopen"))), max_size=most)


def perform(disk: Storage, operation: Operation) -> None:
    if operation.kind == "write":
        disk.write(operation.offset, operation.bytes())
    elif operation.kind == "zero":
        disk.zero(operation.offset, operation.length)
    elif operation.kind == "discard":
        disk.discard(operation.offset, operation.length)
    else:
        disk.flush()


def model(flat: bytearray, operation: Operation) -> None:
    """The same to a bytearray. A discard is not done: what it leaves is to be looked at."""
    end = operation.offset + operation.length
    if operation.kind == "write":
        flat[operation.offset : end] = operation.bytes()
    elif operation.kind == "zero":
        flat[operation.offset : end] = bytes(operation.length)


def against_model(open_it: Callable[[], Device], flat: bytearray, todo: Sequence[Operation]) -> None:
    """Perform *todo* on the disk that *open_it* opens anew each time, and compare with *flat*, its content before, which is
    brought up to date. What is discarded must read as zeros or as it was, byte by byte."""
    device = open_it()
    try:
        assert read_all(device.storage(0)) == flat, "before anything was done"
        for operation in todo:
            disk = device.storage(0)
            if operation.kind == "reopen":
                device.close()
                device = open_it()
                assert read_all(device.storage(0)) == flat, "after reopening"
                continue
            perform(disk, operation)
            model(flat, operation)
            if operation.kind in ("flush", "reopen"):
                continue
            first, last = max(0, operation.offset - 70_000), min(disk.size, operation.offset + operation.length + 70_000)
            found = disk.read(first, last - first)
            if operation.kind == "discard":
                start, end = operation.offset, operation.offset + operation.length
                now = found[start - first : end - first]
                assert all(new in (0, old) for new, old in zip(now, flat[start:end], strict=True)), operation
                flat[start:end] = now
            assert found == flat[first:last], operation
        assert read_all(device.storage(0)) == flat, "at the end"
    finally:
        device.close()


# -------------------------------------------------------------------------------------------- files in memory, and power cuts


class Event(NamedTuple):
    """What was done to a file: *content* written at *offset*, or a new *size*; neither: a flush."""

    name: bytes
    offset: int = 0
    content: bytes | None = None
    size: int | None = None


class MemoryFile(Storage):
    """A file of a directory in memory: a dict of names and contents. All changes go to *events*, where there are such. No file
    grows beyond *largest*: these have no holes."""

    largest: int = 1 << 30

    def __init__(
        self, directory: dict[bytes, bytearray], name: bytes, writable: bool = False, events: list[Event] | None = None
    ) -> None:
        self.directory, self.own, self.events = directory, name, events
        self.name, self.read_only = os.fsdecode(name), not writable

    @property
    def size(self) -> int:  # type: ignore[override]
        return len(self.directory[self.own])

    def readinto(self, offset: int, buffer: memoryview) -> int:
        piece = self.directory[self.own][offset : offset + len(buffer)] if offset >= 0 else b""
        buffer[: len(piece)] = piece
        return len(piece)

    def write(self, offset: int, content: bytes | memoryview) -> int:
        if self.read_only:
            super().write(offset, content)
        if offset + len(content) > self.largest:
            raise OSError(errno.EFBIG, f"{self.name}: a file of more than {self.largest} bytes")
        if self.events is not None:
            self.events.append(Event(self.own, offset, bytes(content)))
        apply_event(self.directory, Event(self.own, offset, bytes(content)))
        return len(content)

    def resize(self, size: int) -> None:
        if self.read_only:
            super().write(0, b"")
        if size > self.largest:
            raise OSError(errno.EFBIG, f"{self.name}: a file of more than {self.largest} bytes")
        if self.events is not None:
            self.events.append(Event(self.own, size=size))
        apply_event(self.directory, Event(self.own, size=size))

    def discard(self, offset: int, length: int) -> None:
        length = min(length, self.size - offset)
        if length > 0 and not self.read_only:
            self.write(offset, bytes(length))

    def flush(self) -> None:
        if self.events is not None and not self.read_only:
            self.events.append(Event(self.own))

    def beside(self, name: bytes, writable: bool = False, create: bool = False) -> Storage:
        if b"/" in name or not name:
            raise OSError(errno.EINVAL, "not a plain name")
        if create:
            self.directory[name] = bytearray()
        if name not in self.directory:
            raise OSError(errno.ENOENT, "no such file")
        return MemoryFile(self.directory, name, writable, self.events)

    def identity(self) -> object:
        return id(self.directory), self.own


def apply_event(directory: dict[bytes, bytearray], event: Event) -> None:
    file = directory[event.name]
    if event.size is not None:
        file[event.size :] = bytes(max(0, event.size - len(file)))
    elif event.content is not None:
        if event.offset > len(file):
            file.extend(bytes(event.offset - len(file)))
        file[event.offset : event.offset + len(event.content)] = event.content


def after_power_cut(start: dict[bytes, bytearray], events: list[Event], rng: random.Random) -> dict[bytes, bytearray]:
    """The files as a power cut after *events* may leave them: of what no flush followed, each write is there, or not, or a part
    of its sectors. Sizes are kept or not likewise."""
    left = {name: bytearray(file) for name, file in start.items()}
    durable = {event.name: number for number, event in enumerate(events) if event.content is None and event.size is None}
    often = rng.choice((0.1, 0.5, 0.9))
    for number, event in enumerate(events):
        if number < durable.get(event.name, -1) or rng.random() < often:
            apply_event(left, event)
        elif event.content is not None and len(event.content) > SECTOR and rng.random() < 0.5:
            first, last = sorted(rng.randrange(len(event.content) // SECTOR + 1) * SECTOR for _ in range(2))
            apply_event(left, Event(event.name, event.offset + first, event.content[first:last]))
    return left


class Expected:
    """What a disk may hold after a crash: *stable* what the last completed flush made durable, *later* the sectors that each
    change since has written."""

    def __init__(self, flat: bytes) -> None:
        self.stable = bytearray(flat)
        self.now = bytearray(flat)
        self.later: list[tuple[int, bytes]] = []

    def change(self, operation: Operation) -> None:
        end = operation.offset + operation.length
        if operation.kind == "write":
            new = operation.bytes()
        elif operation.kind in ("zero", "discard"):
            new = bytes(operation.length)
        else:
            return
        self.later.append((operation.offset, new))
        if operation.kind == "discard":  # as it was, or zeros: both stay possible
            self.later.append((operation.offset, bytes(self.now[operation.offset : end])))
        self.now[operation.offset : end] = new

    def look(self, operation: Operation, disk: Storage) -> None:
        """After a discard: what it has left."""
        if operation.kind == "discard":
            self.now[operation.offset : operation.offset + operation.length] = disk.read(operation.offset, operation.length)

    def flushed(self) -> None:
        self.stable[:] = self.now
        self.later.clear()

    def compare(self, found: bytes, where: str) -> None:
        assert len(found) == len(self.stable), where
        if found == self.stable:
            return
        for at in range(0, len(found), SECTOR):
            now = found[at : at + SECTOR]
            if now == self.stable[at : at + SECTOR]:
                continue
            allowed = any(
                offset <= at and at + len(now) <= offset + len(new) and new[at - offset : at - offset + len(now)] == now
                for offset, new in self.later
            )
            assert allowed, f"{where}: sector {at // SECTOR} has content that nobody wrote since the last flush"


def survives(directory: dict[bytes, bytearray], name: bytes, expected: Expected, where: str, rng: random.Random) -> None:
    """That an image left by a crash is as it should be, and can be used further."""
    with opened(MemoryFile(directory, name)) as device:
        expected.compare(found := read_all(device.storage(0)), where)
    findings = checked(MemoryFile(directory, name))
    wrong = [finding for finding in findings if finding.kind == ERROR]
    assert not wrong, f"{where}: {wrong[:5]}"
    flat = bytearray(found)
    more = random_operations(rng, len(flat) // SECTOR * SECTOR, 4, SECTOR)
    against_model(lambda: opened(MemoryFile(directory, name, True), rw=True), flat, more)
    findings = checked(MemoryFile(directory, name))
    wrong = [finding for finding in findings if finding.kind == ERROR]
    assert not wrong, f"{where}, after more work: {wrong[:5]}"


def power_cuts(start: dict[bytes, bytearray], name: bytes, seed: int, steps: int, cuts: int) -> None:
    """Work on the image *name* of a directory, *steps* operations long, and look at *cuts* moments of it as crashes."""
    rng = random.Random(seed)
    directory = {own: bytearray(file) for own, file in start.items()}
    events: list[Event] = []
    with opened(MemoryFile(directory, name)) as device:
        expected = Expected(read_all(device.storage(0)))
        size = device.storage(0).size // SECTOR * SECTOR
    moments = sorted(rng.sample(range(1, steps + 1), min(cuts, steps)))
    device = opened(MemoryFile(directory, name, True, events), rw=True)
    for number, operation in enumerate(random_operations(rng, size, steps, SECTOR), 1):
        disk = device.storage(0)
        before = len(events)
        expected.change(operation)
        if operation.kind == "reopen":
            device.close()
            device = opened(MemoryFile(directory, name, True, events), rw=True)
        else:
            perform(disk, operation)
        if number in moments:
            # In the middle of this operation: nothing of it is promised, and what came before the last flush is.
            upto = rng.randint(before, len(events))
            left = after_power_cut(start, events[:upto], rng)
            survives(left, name, expected, f"seed {seed}, operation {number} {operation.kind}, event {upto}", rng)
        expected.look(operation, device.storage(0))
        if operation.kind in ("flush", "reopen"):
            expected.flushed()
    device.close()


# -------------------------------------------------------------------------------------------- many threads


def threads(path: Path, seed: int, seconds: float) -> None:
    """Read the image at *path* in three threads while one writes, zeroes, discards and flushes: every sector says which one it
    is, or is zeros. The image is empty at first."""
    rng = random.Random(seed)
    wrong: list[str] = []
    done = threading.Event()
    with opened_file(path, True) as device:
        disk = device.storage(0)
        sectors = disk.size // SECTOR

        def tagged(first: int, count: int) -> bytes:
            return b"".join(number.to_bytes(8, "big") * (SECTOR // 8) for number in range(first + 1, first + count + 1))

        def read(own: int) -> None:
            chance = random.Random(own)
            try:
                while not done.is_set():
                    first = chance.randrange(sectors)
                    count = min(chance.randrange(1, 600), sectors - first)
                    found, expected = disk.read(first * SECTOR, count * SECTOR), tagged(first, count)
                    for at in range(0, count * SECTOR, SECTOR):
                        if found[at : at + SECTOR] not in (expected[at : at + SECTOR], bytes(SECTOR)):
                            wrong.append(f"sector {first + at // SECTOR} has {found[at : at + 16]!r}")
                            return
            except BaseException as error:
                wrong.append(repr(error))

        readers = [threading.Thread(target=read, args=(number,)) for number in range(3)]
        for reader in readers:
            reader.start()
        until = time.monotonic() + seconds
        while time.monotonic() < until and not wrong:
            first = rng.randrange(sectors)
            count = min(rng.choice((1, 8, 128, 400)), sectors - first)
            kind = rng.choices((disk.zero, disk.discard, None), (1, 1, 4))[0]
            if kind is None:
                disk.write(first * SECTOR, tagged(first, count))
            else:
                kind(first * SECTOR, count * SECTOR)
            if rng.random() < 0.1:
                device.flush()
        done.set()
        for reader in readers:
            reader.join()
    assert not wrong, wrong


# -------------------------------------------------------------------------------------------- storage that fails


class FailingFile(MemoryFile):
    """Now and then a change fails, before anything of it is done."""

    rng: random.Random | None = None

    def _maybe(self) -> None:
        if self.rng is not None and self.rng.random() < 0.1:
            raise OSError(self.rng.choice((errno.ENOSPC, errno.EIO)), f"{self.name}: so it was to be")

    def write(self, offset: int, content: bytes | memoryview) -> int:
        self._maybe()
        return super().write(offset, content)

    def resize(self, size: int) -> None:
        self._maybe()
        super().resize(size)

    def flush(self) -> None:
        self._maybe()


def faults(start: dict[bytes, bytearray], name: bytes, seed: int, steps: int) -> int:
    """Work on an image (of one file) while a tenth of all changes of its file fail. A change of the disk that fails may have been
    made in part; all else is as it was, and when nothing fails any more the image is right. How many failed."""
    rng = random.Random(seed)
    directory = {own: bytearray(file) for own, file in start.items()}
    file = FailingFile(directory, name, True)
    failed = 0
    with opened(file, rw=True) as device:
        disk = device.storage(0)
        flat = bytearray(read_all(disk))
        file.rng = rng
        for operation in random_operations(rng, len(flat) // SECTOR * SECTOR, steps, SECTOR):
            before = bytes(flat)
            try:
                perform(disk, operation)
            except OSError as error:
                assert error.errno in (errno.ENOSPC, errno.EIO), error
                failed += 1
            model(flat, operation)
            now = read_all(disk)
            for at in range(0, len(flat), SECTOR):
                sector = now[at : at + SECTOR]
                inside = operation.offset <= at < operation.offset + operation.length
                allowed = (flat[at : at + SECTOR], before[at : at + SECTOR], bytes(len(sector)))[: 3 if inside else 1]
                assert sector in allowed, f"seed {seed}, {operation}: sector {at // SECTOR}"
            flat[:] = now
        file.rng = None
    with opened(MemoryFile(directory, name)) as device:
        assert read_all(device.storage(0)) == flat, f"seed {seed}: at the end"
    wrong = [finding for finding in checked(MemoryFile(directory, name)) if finding.kind == ERROR]
    assert not wrong, f"seed {seed}: {wrong[:5]}"
    return failed


# -------------------------------------------------------------------------------------------- kills


def _write_until_killed(path: Path, log: Path, seed: int) -> None:
    """The victim: works on an image, and says in *log* what it begins (`b N`) and which flushes are done (`f N`)."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    device = opened_file(path, True)
    os.write(descriptor, b"open\n")
    for number, operation in enumerate(_work(seed, device.storage(0).size)):
        os.write(descriptor, b"b %d\n" % number)
        perform(device.storage(0), operation)
        if operation.kind == "flush":
            os.write(descriptor, b"f %d\n" % number)


def _work(seed: int, size: int) -> list[Operation]:
    """No discards: what one has left could not be asked of a process that is dead. More than anybody lives to do."""
    done = random_operations(random.Random(seed), size // SECTOR * SECTOR, 2000, SECTOR)
    return [Operation("flush") if found.kind in ("reopen", "discard") else found for found in done]


def kills(path: Path, count: int, seed: int, longest: float = 0.25, after: Callable[[Path], None] | None = None) -> None:
    """Kill *count* processes that write to the image at *path*, one after the other, each at a random moment. After each: what
    was flushed is there, our check finds nothing but leaks, and *after* (qemu's check) is content."""
    rng = random.Random(seed)
    with opened_file(path) as device:
        expected = Expected(read_all(device.storage(0)))
    for round in range(count):
        log = path.with_name(path.name + f".log{round}")
        own = rng.randrange(1 << 30)
        child = subprocess.Popen([sys.executable, __file__, "write", str(path), str(log), str(own)], cwd=PROJECT)
        try:
            until = time.monotonic() + 30
            while not (log.exists() and log.stat().st_size) and time.monotonic() < until and child.poll() is None:
                time.sleep(0.005)
            time.sleep(rng.random() * longest)
        finally:
            child.send_signal(signal.SIGKILL)
            assert child.wait() == -signal.SIGKILL, f"round {round}: the writer ended by itself"
        lines = log.read_text().split("\n")
        log.unlink()
        begun = [int(line[2:]) for line in lines if line.startswith("b ")]
        done = {int(line[2:]) for line in lines if line.startswith("f ")}
        work = _work(own, len(expected.now))
        for number in begun:
            expected.change(work[number])
            if number in done:
                expected.flushed()
        where = f"round {round} of seed {seed}"
        with FileStorage(str(path)) as storage:
            wrong = [finding for finding in checked(storage) if finding.kind == ERROR]
        assert not wrong, f"{where}: {wrong[:5]}"
        if after is not None:
            after(path)
        with opened_file(path) as device:
            found = read_all(device.storage(0))
        expected.compare(found, where)
        expected = Expected(found)


# -------------------------------------------------------------------------------------------- damage


def mutated(file: bytes, rng: random.Random, places: Sequence[tuple[int, int]]) -> bytes:
    """A few changes in *places* (offset, length): where the structures are. Numbers like to be extreme, or nearly right."""
    changed = bytearray(file)
    for _ in range(rng.choice((1, 1, 2, 5))):
        start, length = rng.choice(list(places))
        width = rng.choice((1, 2, 4, 8))
        at = start + rng.randrange(max(1, length - width + 1))
        at -= at % width if rng.random() < 0.7 else 0
        old = int.from_bytes(changed[at : at + width], "little")
        new = rng.choice(
            (
                rng.getrandbits(8 * width),
                0,
                (1 << 8 * width) - 1,
                1 << 8 * width - 1,
                old ^ 1 << rng.randrange(8 * width),
                old + rng.choice((1, -1, 512, 65536)),
                old << 8,
                int.from_bytes(rng.choice((len(file), len(file) - 512, 1 << 62, 65536)).to_bytes(8, "big")[-width:], "little"),
            )
        )
        changed[at : at + width] = (new % (1 << 8 * width)).to_bytes(width, "little")[: max(0, len(changed) - at)]
    if rng.random() < 0.1:
        del changed[rng.randrange(len(changed)) :]
    return bytes(changed)


def look_at_everything(directory: dict[bytes, bytearray], name: bytes) -> list[OSError]:
    """What front ends would do with an image, whatever is in it: the errors met."""
    errors: list[OSError] = []

    def attempt(action: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return action(*arguments)
        except OSError as error:
            assert error.errno and error.strerror, repr(error)
            errors.append(error)
            return None

    def mounted(writable: bool) -> Device:
        return opened(MemoryFile(directory, name, writable), rw=writable)

    assert 0 <= MODULE.probe(MemoryFile(directory, name)) <= 100
    attempt(checked, MemoryFile(directory, name))
    for writable in (False, True):
        device = attempt(mounted, writable)
        if device is None:
            continue
        disk = device.storage(0)
        attempt(device.details)
        step = max(65536, disk.size // 64 // 512 * 512)
        for at in range(0, disk.size, step):
            length = min(65536, disk.size - at)
            attempt(disk.read, at, length)
            attempt(disk.extents, at, step)
            if writable:
                attempt(disk.write, at, b"\1" * min(length, 5000))
                attempt(disk.zero, at, length)
                attempt(disk.discard, at, length)
        attempt(disk.extents, 0, disk.size)
        attempt(device.flush)
        attempt(device.close)
    return errors


def _damage(path: Path, places: Sequence[tuple[int, int]], seed: int, count: int) -> list[str]:
    """In the process with little memory: what went wrong."""
    # What Python and the modules take themselves is not counted.
    with opened_file(path) as device:
        device.storage(0).read(0, 512)
    files = {os.fsencode(file.name): file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    name = os.fsencode(path.name)
    MemoryFile.largest = max(map(len, files.values())) + (16 << 20)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    wrong = []
    for number in range(count):
        gc.collect()  # errors keep what they have seen, in circles
        directory = {own: bytearray(file) for own, file in files.items()}
        directory[name] = bytearray(mutated(files[name], random.Random(f"{seed}:{number}"), places))
        try:
            with time_limit(SECONDS):
                look_at_everything(directory, name)
        except BaseException:
            wrong.append(f"{path.name}, mutation {seed}:{number}: {traceback.format_exc()}")
    return wrong


def damage(path: Path, places: Sequence[tuple[int, int]], seed: int, count: int) -> None:
    """*count* mutations of the image at *path*, in *places*; only the files in its directory belong to it (small ones, please).
    Fails where one gives anything but an OSError with a sentence, takes more than `SECONDS`, or more memory than `MEMORY`."""
    arguments = ["damage", str(path), json.dumps(list(places)), str(seed), str(count)]
    done = subprocess.run([sys.executable, "-bb", __file__, *arguments], capture_output=True, text=True, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    wrong = json.loads(done.stdout)
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:3])


def copied(path: Path, to: Path) -> Path:
    """A copy that keeps holes."""
    shutil.copyfile(path, to)
    return to


if __name__ == "__main__":
    if sys.argv[1] == "write":
        _write_until_killed(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    else:
        print(json.dumps(_damage(Path(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))))
