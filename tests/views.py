"""Views to test with: the commands of a view, run as a user does, as root and as an ordinary user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import unprivileged

BIN = Path(sys.executable).parent
UMVIEW = BIN / "umview"
ENVIRONMENT = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": "/nonexistent"}


def view(
    script: str, *arguments: object, options: list[str] | None = None, user: str = "", **others: object
) -> subprocess.CompletedProcess[str]:
    """Run a bash script in a view; $1, $2 … are the arguments. *user*: `root`, or `nobody`."""
    prefix = unprivileged() if user == "nobody" else []
    command = [*prefix, UMVIEW, *(options or []), "bash", "-c", script, "script", *map(str, arguments)]
    settings = {"capture_output": True, "text": True, "timeout": 60, "cwd": "/", "env": ENVIRONMENT} | others
    return subprocess.run(command, **settings)  # type: ignore[call-overload,no-any-return]


def shown(script: str, *arguments: object, options: list[str] | None = None, user: str = "") -> str:
    """What a script prints when all is well."""
    done = view(script, *arguments, options=options, user=user)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


both = pytest.mark.parametrize("user", ["root", "nobody"])
