"""Commands under the small supervisor of view_kernel_supervisor.py, for test_view_kernel_*.py."""

import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from tests.command import killed_at_the_end

SUPERVISOR = Path(__file__).with_name("view_kernel_supervisor.py")
# Python without site: it starts in a fifth of the time.
QUICK = [sys.executable, "-S"]
VIEW = [shutil.which("env") or "env", f"PYTHONPATH={SUPERVISOR.parent.parent}", *QUICK, str(SUPERVISOR)]
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]


def view(*command, timeout=30, **options):
    """Run a command under the supervisor below."""
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([*VIEW, *map(str, command)], capture_output=True, text=True, timeout=timeout, check=False, **options)


@contextmanager
def started(*command, **options):
    """The same, while the test goes on.  Nothing of it is left when the test fails."""
    options = {"stdout": subprocess.PIPE, "text": True, **options}
    with killed_at_the_end(subprocess.Popen([*VIEW, *map(str, command)], **options)) as process:
        yield process


def shell(script, *arguments, **options):
    return view("sh", "-c", script, "sh", *arguments, **options)


def python(code, *arguments, **options):
    """A Python program in the view; it must print nothing to standard error."""
    done = view(*QUICK, "-c", PRELUDE + code, *arguments, **options)
    assert done.stderr == "", done.stderr
    return done


PRELUDE = """
import errno, fcntl, os, resource, signal, socket, subprocess, sys, threading, time
def tried(function, *arguments):
    try:
        return function(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
"""
