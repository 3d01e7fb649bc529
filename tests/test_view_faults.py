"""Faults at random moments: whatever is killed or stopped, nothing hangs and nothing is left. Seeds make runs alike."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.command import killed_at_the_end, open_to_all, unprivileged
from vfs.view.kernel import processes

UMVIEW = Path(sys.executable).parent / "umview"
HERE = Path(__file__).resolve().parent
MOUNT = 'mount -t umfuseext2 -o ro "$0" "$1" || exit 9; shift; exec "$@"'
PATIENCE = 30
"""Seconds after which something counts as hanging; all of it takes a fraction of one."""


class Place:
    """A directory with an image, a mount point and a place for scratch directories; `token` marks all processes of its views."""

    def __init__(self, directory: Path) -> None:
        tree = directory / "tree"
        (tree / "sub").mkdir(parents=True)
        (tree / "file").write_text("content\n")
        shutil.copy(shutil.which("true") or "/bin/true", tree / "program")
        self.image, self.mountpoint, self.scratch = directory / "image", directory / "mnt", directory / "tmp"
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, self.image, "8M"], check=True)
        self.mountpoint.mkdir()
        self.scratch.mkdir()
        self.scratch.chmod(0o1777)
        open_to_all(directory)
        self.messages = directory / "stderr"
        self.token = f"UMVIEW_TEST={directory}"
        self.environment = {**os.environ, "TMPDIR": str(self.scratch), "UMVIEW_TEST": str(directory)}

    def command(self, *command: str) -> list[str]:
        return [str(UMVIEW), "bash", "-c", MOUNT, str(self.image), str(self.mountpoint), *command]

    def processes(self) -> list[int]:
        """All that carry the token, this one not."""
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                with suppress(OSError):
                    if self.token.encode() in Path(f"/proc/{name}/environ").read_bytes():
                        found.append(int(name))
        return found

    def nothing_is_left(self) -> None:
        end = time.monotonic() + PATIENCE
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.01)
        assert [Path(f"/proc/{pid}/status").read_text() for pid in left] == [], self.messages.read_text()
        while (scratch := os.listdir(self.scratch)) and time.monotonic() < end:
            time.sleep(0.01)
        assert scratch == []

    @contextmanager
    def started(self, *command: str, **options: object) -> Iterator[subprocess.Popen[str]]:
        arguments = self.command(*command)
        with self.messages.open("ab") as messages:
            process = subprocess.Popen(
                arguments, stdout=subprocess.PIPE, stderr=messages, text=True, env=self.environment, **options
            )  # type: ignore[call-overload]
        with killed_at_the_end(process):
            yield process


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    for pid in made.processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def zombies() -> set[int]:
    """Children of ours, and what fell to us, that nobody collected."""
    return {pid for pid in processes.descendants(os.getpid()) if processes.stat_fields(pid)[:1] == [b"Z"]}


# ---------------------------------------------------------------- the end
def busy_tree_dies(place: Place, seed: int, victim: str) -> None:
    chance = random.Random(seed)
    busy = [sys.executable, "-S", str(HERE / "view_busy.py"), str(place.mountpoint)]
    with place.started(*busy, start_new_session=True) as process:
        assert process.stdout is not None
        if chance.random() < 0.8:
            assert process.stdout.readline() == "ready\n"
        time.sleep(chance.random() * 0.3)
        pids = {"front": process.pid}
        for name, above in (("supervisor", "front"), ("guardian", "supervisor")):
            below = processes.children(pids[above])
            if not below:
                break
            pids[name] = below[0]
        # So early that one was not yet there: the front.
        wanted = {pids.get(name, process.pid) for name in victim.split(" and ")}
        for pid in wanted:
            os.kill(pid, signal.SIGKILL)
        process.wait(PATIENCE)
    place.nothing_is_left()
    assert zombies() == set()


VICTIMS = ["front", "supervisor", "guardian", "front and supervisor", "supervisor and guardian"]


@pytest.mark.parametrize("victim", VICTIMS)
def test_kill_9_at_a_random_moment(place: Place, victim: str) -> None:
    for seed in range(2):
        busy_tree_dies(place, seed, victim)


@pytest.mark.slow
@pytest.mark.parametrize("victim", VICTIMS)
def test_kill_9_at_many_random_moments(place: Place, victim: str) -> None:
    for seed in range(100, 150):
        busy_tree_dies(place, seed, victim)


# ---------------------------------------------------------------- tasks stopped and killed
WORK = """
import os, subprocess, sys, threading
os.chdir(sys.argv[1])
kind = int(sys.argv[2]) % 4
for number in range(int(sys.argv[3])):
    if kind == 0:
        subprocess.run(["./program"], check=True)  # vfork
    elif kind == 1:
        os.chdir("sub"); os.chdir(".."); open("file").read()
    elif kind == 2:
        both = [threading.Thread(target=lambda: [os.stat("file") for _ in range(20)]) for _ in range(2)]
        for each in both: each.start()
        for each in both: each.join()
    else:
        pid = os.fork()
        if not pid:
            os.execv("./program", ["program"])
        os.waitpid(pid, 0)
print(f"done {kind}")
"""


def tasks_are_disturbed(place: Place, seed: int, rounds: int, fatal: bool) -> None:
    """While workers work, tasks of the tree are stopped and continued, and with *fatal* killed, one at a time."""
    chance = random.Random(seed)
    script = f'echo ready; for i in 0 1 2 3 4 5 6 7; do "$0" -S -c "$2" "$1" $i {rounds} & done; wait; echo end'
    with place.started("bash", "-c", script, sys.executable, str(place.mountpoint), WORK) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        guardian = processes.children(processes.children(process.pid)[0])[0]
        killed = 0
        end = time.monotonic() + 10 * PATIENCE
        while process.poll() is None and time.monotonic() < end:
            shell = processes.children(guardian)[:1]
            tasks = processes.descendants(shell[0]) if shell else []
            if not tasks:
                if not shell:
                    break
                time.sleep(0.01)
                continue
            pid = chance.choice(tasks)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                time.sleep(chance.random() * 0.004)
                if fatal and killed < 40 and chance.random() < 0.1:
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
                os.kill(pid, signal.SIGCONT)
            time.sleep(chance.random() * 0.004)
        out, _ = process.communicate(timeout=PATIENCE)
    lines = out.splitlines()
    assert lines[-1] == "end"
    if not fatal:
        assert sorted(lines[:-1]) == [f"done {kind}" for kind in range(4) for _ in range(2)]
    place.nothing_is_left()


@pytest.mark.parametrize("fatal", [False, True], ids=["stopped", "killed"])
def test_tasks_disturbed_in_the_middle_of_calls(place: Place, fatal: bool) -> None:
    tasks_are_disturbed(place, 1, 15, fatal)


@pytest.mark.slow
@pytest.mark.parametrize("fatal", [False, True], ids=["stopped", "killed"])
def test_tasks_disturbed_many_times(place: Place, fatal: bool) -> None:
    for seed in range(10, 20):
        tasks_are_disturbed(place, seed, 100, fatal)


# ---------------------------------------------------------------- many, and little room
def view(place: Place, script: str, *arguments: str, prefix: list[str] | None = None, timeout: int = 120) -> str:
    done = subprocess.run(
        [*(prefix or []), *place.command("bash", "-c", script, "bash", str(place.mountpoint), *arguments)],
        capture_output=True, text=True, timeout=timeout, env=place.environment, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


THOUSAND = """
import os, sys
number, started, go = int(sys.argv[2]), os.pipe(), os.pipe()
for index in range(number):
    if not os.fork():
        os.close(go[1])
        os.write(started[1], b"x" if os.stat(sys.argv[1] + "/file").st_size == 8 else b"?")
        os.read(go[0], 1)
        os.write(started[1], b"y" if open(sys.argv[1] + "/file").read() == "content\\n" else b"?")
        os._exit(0)
os.close(go[0])
text = b""
while len(text) < number: text += os.read(started[0], 4096)
os.close(go[1])
while len(text) < 2 * number: text += os.read(started[0], 4096)
while number: number -= bool(os.wait())
print(text.count(b"x"), text.count(b"y"))
"""


@pytest.mark.parametrize("number", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_processes_at_once(place: Place, number: int) -> None:
    out = view(place, f'{sys.executable} -S -c "$2" "$1" {number}', THOUSAND)
    assert out == f"{number} {number}\n"
    place.nothing_is_left()


BOMB = """
import os, signal, sys, time
while True:
    try:
        if os.fork() == 0 and len(sys.argv) > 2:
            sys.argv.pop()
        os.stat(sys.argv[1] + "/file")
    except OSError:
        time.sleep(0.01)
"""


def test_a_fork_bomb_in_bounds_dies_with_the_view(place: Place) -> None:
    """As an ordinary user of whom there are no other processes: bounded by ulimit -u."""
    prefix = [*unprivileged(), *([] if os.geteuid() else ["bash", "-c", 'ulimit -u 120; exec "$@"', "bash"])]
    if os.geteuid():
        pytest.skip("needs root, to become a user without other processes")
    arguments = [*prefix, *place.command(sys.executable, "-S", "-c", BOMB, str(place.mountpoint))]
    with subprocess.Popen(arguments, env=place.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + PATIENCE
            while len(place.processes()) < 100 and time.monotonic() < end:
                time.sleep(0.05)
            assert len(place.processes()) >= 100
            process.send_signal(signal.SIGKILL)
            place.nothing_is_left()
        finally:
            process.kill()


def test_few_descriptors(place: Place) -> None:
    """RLIMIT_NOFILE of 20: files, directories, execution; as many as there is room for, then EMFILE."""
    program = """
import errno, os, sys
os.chdir(sys.argv[1])
opened = []
try:
    while True: opened.append(os.open("file", os.O_RDONLY))
except OSError as error:
    print(errno.errorcode[error.errno], len(opened) > 12, len(opened) + 3)
print({os.read(fd, 100) for fd in opened})
for fd in opened: os.close(fd)
print(os.listdir("sub"), os.read(os.open("file", 0), 3))
print(os.waitstatus_to_exitcode(os.spawnv(os.P_WAIT, "./program", ["program"]) << 8))
"""
    for limit in ("ulimit -n 20", "ulimit -Sn 20"):
        out = view(place, f'{limit}; {sys.executable} -S -c "$2" "$1"', program)
        first, _, rest = out.partition("\n")
        assert first.startswith("EMFILE True ") and rest == "{b'content\\n'}\n[] b'con'\n0\n", limit
        if "S" not in limit:
            assert int(first.split()[2]) <= 20


def test_numbers_that_programs_choose(place: Place) -> None:
    """dup2 onto low numbers, close_range over all, orphans that read on."""
    program = """
import ctypes, os, sys
os.chdir(sys.argv[1])
fd = os.open("file", os.O_RDONLY)
for number in (0, 5, 19, 100, 255): os.dup2(fd, number)
os.close(fd)
print([os.pread(number, 3, number % 3) for number in (0, 5, 19, 100, 255)], os.fstat(5).st_size)
directory = os.open("sub", os.O_RDONLY)
os.dup2(directory, 6); print(os.listdir(6))
libc = ctypes.CDLL(None)
print(libc.close_range(3, 0xFFFFFFFF, 0), sorted(map(int, os.listdir("/proc/self/fd")))[:3])
again = os.open("file", os.O_RDONLY); print(os.read(again, 7))
sys.stdout.flush()
pid = os.fork()
if pid: os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.lseek(again, 0, 0); os.write(1, b"orphan " + os.read(again, 7) + b"\\n")
"""
    out = view(place, f'{sys.executable} -S -c "$2" "$1"; sleep 0.1', program)
    lines = out.splitlines()
    assert lines[:2] == ["[b'con', b'nte', b'ont', b'ont', b'con'] 8", "[]"]
    assert lines[2:] == ["0 [0, 1, 2]", "b'content'", "orphan content"]


def lasting(pid: int, number: str) -> bool:
    """Whether a descriptor is none of those that are kept for tasks: their number is bounded, and they go by and by."""
    try:
        target = os.readlink(f"/proc/{pid}/fd/{number}")
    except OSError:
        return False
    return target != "anon_inode:[pidfd]" and not target.startswith("/proc/")


def test_killed_callers_leak_nothing(place: Place) -> None:
    """The supervisor has as many descriptors after two hundred callers were killed in the middle of opens as before."""
    script = """
cd "$1"
for round in 1 2; do
    for i in $(seq 100); do
        bash -c 'while :; do read x < file; read x < sub/../file; ./program; done' 2>/dev/null & pids="$pids $!"
        [ $((i % 10)) = 0 ] && { sleep 0.05; kill -9 $pids; wait $pids 2>/dev/null; pids=; }
    done
    echo $round; read go
done
"""
    with place.started("bash", "-c", script, "bash", str(place.mountpoint), stdin=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        counts = []
        for number in (1, 2):
            assert process.stdout.readline() == f"{number}\n"
            supervisor = processes.children(process.pid)[0]
            counts.append(sum(lasting(supervisor, number) for number in os.listdir(f"/proc/{supervisor}/fd")))
            process.stdin.write("go\n")
            process.stdin.flush()
        assert process.wait(PATIENCE) == 0
    assert abs(counts[1] - counts[0]) <= 4, counts
