"""Kernel mounts for tests, which always end: unmounted, their processes gone."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.command import VFS, vfs
from vfs.fuse import mounts

LIMIT = 60
"""Seconds for any one program that a test starts."""

PLACES = Path("/tmp") if os.access("/tmp", os.W_OK) else Path(tempfile.gettempdir())


def needs_fuse() -> pytest.MarkDecorator:
    """A mark that skips where the host has no FUSE, saying what is missing."""
    missing = [package for package in ("pyfuse3", "trio") if importlib.util.find_spec(package) is None]
    if not os.path.exists("/dev/fuse"):
        missing.append("/dev/fuse")
    if os.geteuid() != 0:
        missing += ["fusermount3"] if shutil.which("fusermount3") is None else []
        missing += [] if os.access("/dev/fuse", os.R_OK | os.W_OK) else ["permission to open /dev/fuse"]
    return pytest.mark.skipif(bool(missing), reason=f"missing: {', '.join(missing)}")


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """An empty directory that everybody may enter; what is mounted on it at the end is unmounted, its process ended."""
    directory = Path(tempfile.mkdtemp(prefix="vfs-mount-", dir=PLACES)).resolve()
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        serving = processes(directory)
        while mounts.at(os.fsencode(directory)) is not None:
            command = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-u", "-z"]
            subprocess.run([*command, str(directory)], capture_output=True, timeout=LIMIT, check=True)

        def ended() -> bool:
            return not any(map(alive, serving))

        if not until(ended, 10) and not (held_elsewhere(directory) and until(ended, LIMIT)):
            for pid in filter(alive, serving):
                os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"processes {serving} outlived their mount on {directory}")
        directory.rmdir()


@contextlib.contextmanager
def mounted(source: Path | str, *arguments: str) -> Iterator[Path]:
    """*source* mounted, by `vfs mount` in the background; the mount point."""
    with place() as directory:
        done = vfs("mount", *arguments, source, directory, timeout=LIMIT)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        yield directory


def foreground(source: Path | str, directory: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """`vfs mount -f`, when it is mounted."""
    command = [*VFS, "mount", "-f", *arguments, str(source), str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert until(lambda: process.poll() is not None or is_mounted(directory)), "not mounted"
    if process.poll() is None:
        os.statvfs(directory)
    return process


def is_mounted(directory: Path) -> bool:
    return mounts.at(os.fsencode(directory)) is not None


def processes(directory: Path) -> list[int]:
    """The processes that serve, or are about to serve, a mount on *directory*: those with its path as their last argument."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with contextlib.suppress(OSError):
                words = Path("/proc", name, "cmdline").read_bytes().split(b"\0")[:-1]
                if words[-1:] == [os.fsencode(directory)] and b"mount" in words:
                    found.append(int(name))
    return found


def held_elsewhere(directory: Path) -> bool:
    """Whether a mount namespace still has it mounted that was copied meanwhile, by a test that runs beside this one: the kernel
    keeps a mount until the last namespace has let go of it."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if any(mount.mountpoint == os.fsencode(directory) for mount in mounts.table(f"/proc/{name}/mountinfo")):
                return True
    return False


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether *condition* comes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def run(*command: str | Path, **options: object) -> str:
    """What a program prints on both outputs; it must succeed."""
    done = subprocess.run(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=LIMIT,
        **options,  # type: ignore[call-overload]
    )
    text: str = done.stdout.decode(errors="surrogateescape")
    assert done.returncode == 0, f"{command}: status {done.returncode}: {text}"
    return text
