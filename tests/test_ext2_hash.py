"""Hashes of names and names without case, against debugfs's `dx_hash`."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import uuid
from pathlib import Path

import pytest

from fixtures.ext import image
from fixtures.ext_images.build import HASH_SEED
from vfs.ext2.casefold import fold
from vfs.ext2.dirhash import SIPHASH, dirhash

SEEDS = {HASH_SEED: struct.unpack("<4I", uuid.UUID(HASH_SEED).bytes), "": (0, 0, 0, 0)}
NAMES = [
    *(b"x" * length for length in (1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 254, 255)),
    *(bytes(97 + index % 26 for index in range(length)) for length in (7, 20, 40, 100, 255)),
    b"lost+found",
    b"Makefile",
    "größe-ÿ-日本語".encode(),
    b"\xff\xfe\xfd\xfc",
    b"\x80" * 37,
    b"mixed-\xe9-latin-\xfc",
]


def dx_hash(names: list[bytes], tmp_path: Path, *options: str, img: str = "ext4_4k") -> list[tuple[int, int]]:
    """(major, minor) of each name as debugfs computes them."""
    script = tmp_path / "script"
    script.write_bytes(b"".join(b'dx_hash %s "%s"\n' % (" ".join(options).encode(), name) for name in names))
    environment = {**os.environ, "LC_ALL": "C", "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
    done = subprocess.run(["debugfs", "-f", script, image(img)], env=environment, capture_output=True, timeout=60, check=True)
    found = re.findall(rb" is 0x([0-9a-f]+) \(minor 0x([0-9a-f]+)\)", done.stdout)
    assert len(found) == len(names), done
    return [(int(major, 16), int(minor, 16)) for major, minor in found]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("version", range(6))
def test_hashes_are_those_of_debugfs(version: int, seed: str, tmp_path: Path) -> None:
    options = ["-h", f"HASHALG_{version}", *(["-s", seed] if seed else [])]
    assert [dirhash(version, name, SEEDS[seed]) for name in NAMES] == dx_hash(NAMES, tmp_path, *options)


def test_signed_and_unsigned_differ() -> None:
    assert all(dirhash(version, b"\xe9", (0, 0, 0, 0)) != dirhash(version + 3, b"\xe9", (0, 0, 0, 0)) for version in range(3))


def test_a_hash_that_wants_a_key_is_not_computed() -> None:
    assert dirhash(SIPHASH, b"name", (0, 0, 0, 0)) is None and dirhash(7, b"name", (0, 0, 0, 0)) is None


FOLDED = [
    "README.TXT",
    "Größe",
    "GRÖSSE",
    "straße",
    "ΣΊΣΥΦΟΣ",
    "Ǆ ǅ ǆ",
    "İstanbul",
    "ﬁﬂ ﬀ",
    "Å A\u030a \u212b",
    "한글 \u1112\u1161\u11ab",
    "soft\u00adhyphen",
    "zero\u200bwidth\ufeff",
    "ignored\u034f\u180e\u2060",
    "ТЕКСТ",
    "\u1e9e \u017f \u2126",
    "\U00010400\U00010428",
    "ự \u01b0\u0323 u\u0323\u031b",
    "漢字",
]


def test_names_are_folded_as_linux_does(tmp_path: Path) -> None:
    """`dx_hash -c` hashes the folded name by the tables that Linux has too: equal hashes mean equal names."""
    names = [name.encode() for name in FOLDED]
    folded = [fold(name) or b"" for name in names]
    told = dx_hash(names, tmp_path, "-c", "-e", "utf8-12.1", "-h", "half_md4", img="casefold")
    for name, ours, hashes in zip(FOLDED, folded, told, strict=True):
        assert dirhash(1, ours, (0, 0, 0, 0)) == hashes, name
    assert fold("GRÖSSE".encode()) == fold("größe".encode()) == fold(b"GRO\xcc\x88SSE") != fold(b"grosse")


def test_what_is_not_utf8_has_no_folded_form() -> None:
    assert fold(b"\xff") is None and fold(b"a\xc3") is None and fold(b"\xed\xa0\x80") is None and fold(b"ABC") == b"abc"
