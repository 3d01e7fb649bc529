"""Runs the command `vfs` as a process, as a user does: its exit code and what it printed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parent.parent
VFS = [sys.executable, "-bb", "-W", "error", "-m", "vfs.cli.main"]
NOBODY = 65534


def unprivileged() -> list[str]:
    """What to put before a command so that an ordinary user runs it; skips where that cannot be had."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv (util-linux) is not installed")
    prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    if subprocess.run([*prefix, sys.executable, "-c", "import vfs.api"], cwd=PROJECT, capture_output=True).returncode:
        pytest.skip("an ordinary user cannot run this Python, which lies below somebody's home")
    return prefix


@contextlib.contextmanager
def reachable() -> Iterator[Path]:
    """A new directory that other users reach, whatever other runs of pytest do to theirs."""
    with tempfile.TemporaryDirectory(prefix="view-") as name:
        place = Path(name)
        place.chmod(0o755)
        yield place


@contextlib.contextmanager
def killed_at_the_end(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Nothing of a process is left when the test fails."""
    try:
        with process:
            try:
                yield process
            except BaseException:
                process.kill()
                raise
    finally:
        process.kill()


def open_to_all(directory: Path) -> None:
    """Let other users reach a directory of pytest's, which are for their owner alone."""
    for each in (directory, *directory.parents):
        mode = each.stat().st_mode & 0o7777
        if each.stat().st_uid == os.geteuid() and mode & 0o055 != 0o055:
            each.chmod(mode | 0o055)


def vfs(*arguments: str | bytes | Path, prefix: list[str] | None = None, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run `vfs` with these arguments; output as bytes."""
    options = {"capture_output": True, "timeout": 120, "cwd": PROJECT} | options
    return subprocess.run([*(prefix or []), *VFS, *arguments], **options)


def output(*arguments: str | bytes | Path, **options: Any) -> bytes:
    """What `vfs` prints when all is well: exit code 0, nothing on standard error."""
    done = vfs(*arguments, **options)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def records(*arguments: str | bytes | Path) -> list[dict[str, Any]]:
    """What `vfs … --json` prints, an object a line, all of it ASCII."""
    return [json.loads(line) for line in output(*arguments).decode("ascii").splitlines()]


def complaint(done: subprocess.CompletedProcess[bytes]) -> str:
    """The one line on standard error of a command that failed."""
    line = done.stderr.decode()
    assert line.endswith("\n") and line.count("\n") == 1, f"not one line: {line!r}"
    return line[:-1]
