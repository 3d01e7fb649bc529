"""Every image of the fixtures, listed by `vfs ls -R --json` and compared whole with the oracle."""

from __future__ import annotations

import json
import os

import oracle
import pytest

from fixtures.ext import IMAGES, image
from tests.command import vfs

TOLD = [name for name, spec in IMAGES.items() if not spec.refused and (spec.kernel or spec.debugfs or spec.same_as)]
TYPES = {
    "file": "file",
    "dir": "directory",
    "symlink": "symlink",
    "char": "character",
    "block": "block",
    "fifo": "fifo",
    "socket": "socket",
}


@pytest.mark.parametrize("name", TOLD)
def test_is_as_the_oracle_says(name: str) -> None:
    spec = IMAGES[name]
    known = oracle.oracle(image(spec.same_as or name), "" if spec.same_as else spec.options)
    options = ["-t", "ext2", "-o", spec.options] if spec.options else []  # with sb= nothing tells the format
    done = vfs("ls", "-R", "-a", "--json", *options, image(name))
    assert (done.returncode, done.stderr) == (0, b"")
    found = {}
    for line in done.stdout.splitlines():
        row = json.loads(line)
        path = os.fsencode(row["path"])
        assert path not in found, path
        found[path] = (TYPES[row["type"]], int(row["mode"], 8), row["uid"], row["gid"], row["nlink"], row["ino"], row["size"])
        assert abs(row["mtime"] - known[path].mtime / 1e9) < 1e-3, path
    wanted = {
        path: (entry.type, entry.mode, entry.uid, entry.gid, entry.nlink, entry.ino, entry.size)
        for path, entry in known.items()
        if path != b"/"
    }
    found.pop(b"/", None)
    assert found == wanted
