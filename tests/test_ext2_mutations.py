"""Damaged images: whatever is in them, an answer or one of our errors, soon and in little memory.

The campaign runs in processes of its own (`python tests/test_ext2_mutations.py IMAGE SEED FIRST COUNT`), whose memory is
measured. A failure names the mutation; `python -m fixtures.mutate IMAGE SEED:NUMBER OUT` writes that image.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT))

from fixtures import mutate  # noqa: E402
from fixtures.ext import image  # noqa: E402
from tests.time_limit import TooLong, time_limit  # noqa: E402
from vfs.api import Node, open_image  # noqa: E402
from vfs.api.walk import walk_tree  # noqa: E402

SECONDS = 5
MEMORY = 256 << 20
SEED = 20
QUICK, MANY = 25, 250
"""Mutations of each image."""


def most_resident() -> int:
    """Bytes that this program had at most. (ru_maxrss has what its parent had, too.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10


def look_at_everything(path: Path) -> int:
    """What `ls -R`, `cat`, `getfattr`, `cp --sparse` and `df` would ask of an image. The number of errors met."""
    errors = 0

    def met(path: bytes, error: OSError) -> None:
        nonlocal errors
        errors += 1
        assert error.errno and error.strerror, "an error without a sentence"

    try:
        opened = open_image(str(path), "ext2")
    except OSError as error:
        met(b"", error)
        return errors
    with opened:
        for ask in (opened.filesystem.statfs, opened.filesystem.details):
            try:
                ask()
            except OSError as error:
                met(b"", error)
        try:
            root = opened.root
            for found in walk_tree(root, met):
                for question in (_attributes, _links, _content, _names):
                    try:
                        question(found.node)
                    except OSError as error:
                        met(found.path, error)
            _names(root)
        except OSError as error:
            met(b"/", error)
    return errors


def _attributes(node: Node) -> None:
    node.stat()
    for name in (b"system.posix_acl_access", *node.listxattr()):
        try:
            node.getxattr(name)
        except OSError as error:
            assert error.strerror


def _links(node: Node) -> None:
    if node.stat().is_symlink:
        assert node.readlink()


def _names(node: Node) -> None:
    if node.stat().is_directory:
        for entry in node.entries():
            assert entry.name and b"/" not in entry.name and b"\0" not in entry.name
            assert entry.next > 0
            with contextlib.suppress(OSError):
                node.lookup(entry.name)
        node.parent()


def _content(node: Node) -> None:
    if not node.stat().is_regular:
        return
    with node.open() as handle:
        size = handle.size()
        buffer = bytearray(1 << 16)
        # A hostile size is no reason to read for ever: the begin, the end, and wherever data is said to be.
        places = {0, 4096, size // 2, max(0, size - 10), size, size + 1, (1 << 63) - 1}
        offset = 0
        for _ in range(64):
            try:
                offset = handle.seek_data(offset)
                places.add(offset)
                offset = handle.seek_hole(offset)
            except OSError:
                break
        problems = []
        for place in sorted(places):
            try:
                count = handle.readinto(place, memoryview(buffer))
                assert count == max(0, min(len(buffer), size - place))
                assert bytes(handle.read(place, 5000)) == buffer[: min(count, 5000)]
                assert sum(extent.length for extent in handle.extents(place, 1 << 20)) == max(0, min(1 << 20, size - place))
            except OSError as error:
                problems.append(error)
        if problems:
            raise problems[0]


def campaign(name: str, seed: int, first: int, count: int) -> dict[str, object]:
    """The worker: mutations *first* to *first + count* of an image; what went wrong, and the memory it took."""
    source = image(name)
    wrong: list[str] = []
    errors = 0
    with tempfile.TemporaryDirectory(prefix="mutations-") as place:
        damaged = Path(place, "damaged.img")
        for mutation in list(mutate.mutations(source, seed, first + count))[first:]:
            mutation.write(source, damaged)
            try:
                with time_limit(SECONDS):
                    errors += look_at_everything(damaged)
            except (Exception, TooLong):
                wrong.append(f"{name} {mutation.name}:\n{traceback.format_exc(limit=-6)}")
    return {"wrong": wrong, "errors": errors, "peak": most_resident()}


def run_campaign(name: str, count: int) -> None:
    image(name)
    command = [sys.executable, "-bb", __file__, name, str(SEED), "0", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + count * SECONDS, env={**os.environ})
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert not said["wrong"], "\n".join(said["wrong"][:5])
    assert said["peak"] < MEMORY
    assert said["errors"] > 0, "the mutations damaged nothing"


@pytest.mark.parametrize("name", mutate.IMAGES)
def test_damage_is_answered(name: str) -> None:
    run_campaign(name, QUICK)


# Larger ones, with what the small ones lack.
OTHERS = ("kernel_fast_commit", "kernel_encrypted", "casefold", "ea_inode", "extents_deep")


@pytest.mark.slow
@pytest.mark.parametrize("name", mutate.IMAGES + OTHERS)
def test_much_damage_is_answered(name: str) -> None:
    run_campaign(name, MANY)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (2 * MEMORY, 2 * MEMORY))
    print(json.dumps(campaign(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
