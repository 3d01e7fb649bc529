"""Damaged disks through all their layers: whatever is in them, an answer or one of our errors, soon."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.devices import MIB, STARTS, partitioned, run
from tests.time_limit import time_limit
from vfs.api import Device, open_image
from vfs.api.stack import open_disk
from vfs.api.walk import walk_tree

KINDS = ["raw", "qcow2", "vdi", "vhdx", "vmdk", "vpc"]
QUICK, MANY = 8, 120
"""Mutations of each kind."""
SECONDS = 5


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return partitioned(tmp_path_factory.mktemp("damage") / "disk.img")


def interesting(size: int, chance: random.Random) -> int:
    """A place where structures are: at the file's start and end, and where the parts of the disk begin in a raw one."""
    near = chance.choice([0, 0, 512, 1024, MIB, STARTS[1] + 1024, STARTS[3] + 1024, size - 4096])
    return min(size - 8, max(0, near + chance.randrange(chance.choice([64, 512, 4096, 65536]))))


def mutated(content: bytes, chance: random.Random) -> bytes:
    result = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 8])):
        at = interesting(len(result), chance)
        width = chance.choice([1, 4, 8])
        changes = [bytes(width), b"\xff" * width, chance.randbytes(width), b"\x7f" + bytes(width - 1)]
        result[at : at + width] = chance.choice(changes)
    if chance.random() < 0.1:
        del result[chance.randrange(len(result)) :]
    return bytes(result)


def look(image: Path) -> None:
    """All that an inspecting user does. OSError is an answer."""

    def shrug(path: bytes, error: OSError) -> None:
        pass

    try:
        with open_image(image, patient=True) as opened:
            for layer in opened.layers:
                layer.mounted.details()
                if isinstance(layer.mounted, Device):
                    layer.mounted.partitions()
            for found in walk_tree(opened.root, shrug):
                try:
                    status = found.node.stat()
                    if status.is_regular and status.size:
                        with found.node.open() as handle:
                            handle.extents(0, MIB)
                            handle.read(0, 65536)
                except OSError:
                    pass
    except OSError:
        pass
    for partition in (None, 1):
        try:
            with open_disk(image, partition=partition) as bytes_of:
                bytes_of.storage.extents(0, 4 * MIB)
                bytes_of.storage.read(0, min(bytes_of.storage.size, MIB))
        except OSError:
            pass


def campaign(kind: str, disk: Path, place: Path, count: int, seed: int) -> None:
    image = place / f"image.{kind}"
    run("qemu-img", "convert", "-O", kind, disk, image)
    content = image.read_bytes()
    for number in range(count):
        image.write_bytes(mutated(content, random.Random(f"{kind} {seed} {number}")))
        try:
            with time_limit(SECONDS):
                look(image)
        except BaseException as error:
            error.add_note(f"{kind}, seed {seed}, mutation {number}")
            raise


@pytest.mark.parametrize("kind", KINDS)
def test_some_mutations(kind: str, disk: Path, tmp_path: Path) -> None:
    campaign(kind, disk, tmp_path, QUICK, 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_mutations(kind: str, disk: Path, tmp_path: Path) -> None:
    campaign(kind, disk, tmp_path, MANY, 2)
