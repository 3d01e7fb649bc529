"""The current directory: relative names follow it at once, whoever changes it and however."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import open_to_all, unprivileged

UMVIEW = Path(sys.executable).parent / "umview"

PROGRAM = """
import os, random, sys, threading
places = sys.argv[1:]
descriptors = [os.open(place, os.O_RDONLY | os.O_DIRECTORY) for place in places]
here = 0
os.chdir(places[here])
random.seed(5)
wrong = 0

def look(expected):
    global wrong
    wrong += os.stat("which").st_size != expected + 1 or os.path.exists("only") != (expected == 0)

def change(number, way):
    if way == 0:
        os.chdir(places[number])
    elif way == 1:
        os.fchdir(descriptors[number])
    else:
        os.chdir(os.path.relpath(places[number], places[here]))

def turn(number, way, threaded):
    # Another thread, which shares the directory, looks and changes it; or this one does.
    def other():
        look(here)
        change(number, way)
    if threaded:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    else:
        other()

for _ in range(300):
    look(here)
    number = random.randrange(len(places))
    # For a while after a thread that makes no further call, nothing is remembered at all: so most turns are without one.
    turn(number, random.randrange(3), _ >= 200 and _ % 10 == 0)
    here = number
    look(here)
    if _ >= 200 and _ % 20 == 0:  # a child changes its own, not ours
        pid = os.fork()
        if not pid:
            os.chdir(places[(here + 1) % len(places)])
            look((here + 1) % len(places))
            os._exit(wrong > 0)
        wrong += os.waitpid(pid, 0)[1] != 0
        look(here)
print("wrong:", wrong)
"""


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_relative_names_follow_the_directory(tmp_path: Path, user: str) -> None:
    places = [tmp_path / name for name in ("host", "other", "mnt", "mnt2")]
    for number, place in enumerate(places):
        place.mkdir()
        place.chmod(0o777)
        (place / "which").write_bytes(bytes(number + 1))
    (places[0] / "only").touch()
    open_to_all(tmp_path)
    script = """
        for n in 3 4; do mount -t ramfs none "${!n}"; head -c $n /dev/zero >"${!n}/which"; done
        exec "$5" -c "$6" "$1" "$2" "$3" "$4"
    """
    prefix = unprivileged() if user == "nobody" else []
    command = [*prefix, UMVIEW, "bash", "-c", script, "script", *places, sys.executable, PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd="/", env={**os.environ, "HOME": "/"})
    assert done.stdout == "wrong: 0\n", done.stdout + done.stderr
