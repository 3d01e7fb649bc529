"""Who waits in a file system stalls nobody else: a third party's module that waits until it is told to go on."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.view_gate import CONTENT
from vfs.view.kernel.loop import Postponed
from vfs.view.kernel.machine import current
from vfs.view.kernel.notify import DONE, Call, Listener
from vfs.view.watchdog import Watchdog

UMVIEW = Path(sys.executable).parent / "umview"
HERE = Path(__file__).resolve().parent

PRELUDE = """
cd "$1"; G=$GATE
mount -t gate none mnt || exit 9
until_it_waits() { until [ -e $G/$1.waits ]; do sleep 0.01; done; }
others() { [ "$(cat mnt/plain)" = "it took a while" ] && ls mnt > /dev/null && stat /etc/passwd > /dev/null && echo others "$@"; }
"""


class Place:
    def __init__(self, directory: Path) -> None:
        self.directory, self.gate = directory, directory / "gate"
        self.gate.mkdir()
        (directory / "mnt").mkdir()
        info = directory / "path" / "gate-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "entry_points.txt").write_text("[vfs.filesystems]\ngate = tests.view_gate:GateModule\n")
        self.environment = {
            **os.environ,
            "GATE": str(self.gate),
            "PYTHONPATH": f"{info.parent}:{HERE.parent}",
            "TMPDIR": str(directory),
        }

    def open(self, *names: str) -> None:
        for name in names:
            (self.gate / name).touch()

    def command(self, script: str) -> list[str]:
        return [str(UMVIEW), "bash", "-c", PRELUDE + script, "bash", str(self.directory)]

    def run(self, script: str) -> str:
        done = subprocess.run(
            self.command(script), capture_output=True, text=True, timeout=20, env=self.environment, stdin=subprocess.DEVNULL
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    @contextmanager
    def started(self, script: str) -> Iterator[subprocess.Popen[str]]:
        command = self.command(script)
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environment
        ) as process:
            try:
                yield process
            except BaseException:
                process.kill()
                raise


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


ALL = ("lookup", "open", "read", "entries", "mount", "close")


def test_when_nothing_waits(place: Place) -> None:
    place.open(*ALL)
    out = place.run("cat mnt/file mnt/looked; ls mnt; ls mnt/dir | wc -l; [ -e mnt/none ] || echo none; umount mnt; ls mnt")
    assert out == 2 * CONTENT.decode() + "dir\ndisk\nfile\nlooked\nplain\n1000\nnone\n"


@pytest.mark.parametrize(
    "what, command, result",
    [
        ("lookup", "cat mnt/looked", CONTENT.decode()),
        ("open", "cat mnt/file", CONTENT.decode()),
        ("read", "cat mnt/file", CONTENT.decode()),
        ("entries", "ls mnt/dir | tail -n1", "e999\n"),
        ("lookup", "stat -c %s mnt/looked", f"{len(CONTENT)}\n"),
        ("lookup", "mnt/looked; echo $?", "126\n"),
        ("mount", "mkdir m2; mount -t gate -o wait none m2; ls m2 | head -n1", "dir\n"),
        ("close", "umount mnt; ls mnt | wc -l", "0\n"),
    ],
)
def test_a_call_that_waits_stalls_nobody_else(place: Place, what: str, command: str, result: str) -> None:
    """The gate is opened by a process of the view itself, after others have done their work: it would never be, otherwise."""
    place.open(*(name for name in ALL if name != what))
    inside = "others run" if what != "close" else "stat /etc/passwd > /dev/null; echo others run"
    out = place.run(f"({{ {command}; }} > out 2>/dev/null) & until_it_waits {what}; {inside}; touch $G/{what}; wait; cat out")
    assert out == "others run\n" + result


def test_more_callers_than_workers(place: Place) -> None:
    place.open("read", "open", "close")
    out = place.run(
        "for i in $(seq 100); do cat mnt/looked > out$i & done; until_it_waits lookup; others run; touch $G/lookup; wait;"
        "cat out* | sort | uniq -c | tr -s ' '"
    )
    assert out == f"others run\n 100 {CONTENT.decode()}"


def test_a_killed_caller(place: Place) -> None:
    """It dies at once, though what it waited for goes on; nobody gets its answer."""
    place.open("open", "close", "read")
    out = place.run(
        "cat mnt/looked & pid=$!; until_it_waits lookup; kill -9 $pid; wait $pid 2>/dev/null; echo $?; others run;"
        "touch $G/lookup; cat mnt/looked"
    )
    assert out == f"137\nothers run\n{CONTENT.decode()}"


def test_killed_while_a_file_is_opened(place: Place) -> None:
    place.open("lookup", "close", "read")
    out = place.run(
        "cat mnt/file & pid=$!; until_it_waits open; kill -9 $pid; wait $pid 2>/dev/null; echo $?; touch $G/open; cat mnt/file;"
        "umount mnt && echo free"
    )
    assert out == f"137\n{CONTENT.decode()}free\n"


def test_the_view_ends_while_somebody_waits(place: Place) -> None:
    """kill -9 of all that waits is the end of the view, whatever its module does."""
    place.open("close")
    out = place.run("cat mnt/looked & pid=$!; until_it_waits lookup; kill -9 $pid; echo end")
    assert out == "end\n"


def test_an_image_inside_what_waits_waits_as_well(place: Place) -> None:
    """Only its storage is slow, but every operation may have to read there: the module itself knows nothing of it."""
    place.open("lookup", "open", "close")
    out = place.run(
        "(mount -t umfuseext2 -o ro mnt/disk mnt 2>/dev/null; echo $? > out) & until_it_waits disk; others run; touch $G/disk;"
        "wait; cat out"
    )
    assert out == "others run\n32\n"


def test_a_mistake_in_a_worker_is_eio_and_one_line(place: Place) -> None:
    place.open(*ALL)
    done = subprocess.run(
        place.command("cat mnt/mistake; others run"),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        env=place.environment,
    )
    assert done.stdout == "others run\n"
    lines = done.stderr.splitlines()
    assert any("Input/output error" in line for line in lines)
    assert sum("ZeroDivisionError" in line and line.startswith("umview[") for line in lines) == 1 and len(lines) == 2


# ---------------------------------------------------------------- the watchdog
def test_the_watchdog_tells_of_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """With short times: once, and again; not of who was answered or is gone."""
    lines: list[str] = []
    watchdog = Watchdog(lines.append, first=0.0, again=3600.0)
    name = ctypes.create_string_buffer(b"some name")
    valid = {1, 2, 3}
    monkeypatch.setattr(Call, "valid", lambda call: call.id in valid)

    def call(number: int, kind: str, result: int | type[BaseException]) -> None:
        made = Call()
        made.instruction = 0
        made.id, made.tid, made.nr = number, os.getpid(), current().calls[kind]
        made.listener, made.args = Listener.__new__(Listener), (0, ctypes.addressof(name), 0, 0, 0, 0)

        def handler(_: Call) -> int:
            if isinstance(result, int):
                return result
            raise result

        try:
            watchdog.watched(handler)(made)
        except BaseException as error:
            assert type(error) is result

    call(1, "openat", Postponed)
    call(2, "getcwd", DONE)
    call(3, "openat", 0)
    call(4, "openat", DONE)
    call(5, "openat", Postponed)
    call(6, "openat", FileNotFoundError)
    watchdog.look()
    watchdog.look()
    assert lines == [
        f"process {os.getpid()} waits in openat(b'some name') for 0 s",
        f"process {os.getpid()} waits in getcwd for 0 s",
    ]
    watchdog.again = 0.0
    watchdog.look()
    assert len(lines) == 4
    call(1, "openat", 0)  # the worker has its answer
    valid.remove(2)
    watchdog.look()
    assert len(lines) == 4 and not watchdog.calls


@pytest.mark.slow
def test_ten_seconds_in_a_worker(place: Place) -> None:
    place.open("close")
    command = place.command("cat mnt/looked & until_it_waits lookup; sleep 12; touch $G/lookup $G/open $G/read; wait")
    command[1:1] = ["--debug"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=place.environment)
    assert done.stdout == CONTENT.decode()
    lines = [line for line in done.stderr.splitlines() if "waits" in line]
    assert len(lines) == 1 and re.fullmatch(r"umview\[\d+\]: process \d+ waits in \w+\(b'mnt/looked'\) for 1\d s", lines[0])


# ---------------------------------------------------------------- file systems that the view itself serves
@pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/dev/fuse"), reason="needs root and /dev/fuse")
def test_fuse_served_from_inside_the_view(tmp_path: Path) -> None:
    """Its server makes trapped calls to answer, so nothing there may be looked up by the supervisor."""
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "file").write_text("content\n")
    shutil.copy(shutil.which("true") or "/bin/true", tree / "program")
    for name in ("ram", "fuse"):
        (tmp_path / name).mkdir()
    script = (
        'cd "$1"; mount -t umfuseramfs none ram; vfs mount -t hostfs tree fuse; cat fuse/sub/file; cd fuse/sub; ls ..;'
        'stat -c %s ../sub/file none 2>/dev/null; ../program; echo $?; "$1"/fuse/program; echo $?;'
        'cd /; umount "$1"/fuse; ls "$1"/fuse'
    )
    environment = {**os.environ, "PATH": f"{UMVIEW.parent}:{os.environ['PATH']}"}
    try:
        done = subprocess.run(
            [str(UMVIEW), "bash", "-c", script, "bash", str(tmp_path)],
            capture_output=True, text=True, timeout=60, env=environment, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    finally:
        subprocess.run(["umount", "-l", tmp_path / "fuse"], capture_output=True)
    assert (done.stdout, done.stderr) == ("content\nprogram\nsub\n8\n0\n0\n", "")
