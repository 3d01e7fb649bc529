"""`import vfs`: what a Python program sees first."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

import vfs
import vfs.api
from fixtures.ext import image


def test_import_costs_nothing() -> None:
    program = "import sys; before = set(sys.modules); import vfs; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "['vfs']\n", done.stderr


def test_everything_of_the_api_is_here() -> None:
    for name in vfs.api.__all__:
        assert getattr(vfs, name) is getattr(vfs.api, name)
    assert set(vfs.api.__all__) <= set(dir(vfs))
    with pytest.raises(AttributeError, match="'vfs' has no attribute 'nonsense'"):
        _ = vfs.nonsense  # type: ignore[attr-defined]


def test_the_first_lines_that_anybody_writes() -> None:
    with vfs.open_image(str(image("ext4_4k"))) as opened:
        assert opened.read_bytes("/README").startswith(b"This image is a test fixture.\n")
        assert opened.read_bytes(b"links/absolute") == opened.read_bytes("README")
        assert opened.listdir("/docs") == [f"chapter-{number}.txt" for number in range(6)]
        assert opened.listdir() == opened.listdir(b"/") and "lost+found" in opened.listdir()
        assert opened.resolve("/script.sh").stat().mode == 0o100755
        assert opened.filesystem.type == "ext2"


@pytest.mark.parametrize(
    ("call", "number"),
    [
        (lambda opened: opened.read_bytes("/nothing"), errno.ENOENT),
        (lambda opened: opened.read_bytes("/docs"), errno.EISDIR),
        (lambda opened: opened.read_bytes("/dev/fifo"), errno.ENXIO),
        (lambda opened: opened.listdir("/README"), errno.ENOTDIR),
        (lambda opened: opened.listdir("/nothing"), errno.ENOENT),
    ],
)
def test_errors_are_those_of_the_os(call: object, number: int) -> None:
    with vfs.open_image(str(image("ext4_4k"))) as opened, pytest.raises(OSError) as caught:
        call(opened)  # type: ignore[operator]
    assert caught.value.errno == number


def test_names_that_are_not_text() -> None:
    with vfs.open_image(str(image("ext4_4k"))) as opened:
        assert "caf\udce9" in opened.listdir("/names")
        assert opened.read_bytes("/names/caf\udce9") == opened.read_bytes(b"/names/caf\xe9") == b"caf\xe9"


def test_two_images_at_once_and_one_twice(tmp_path: Path) -> None:
    one, two = str(image("ext2_1k")), str(image("ext4_4k"))
    with vfs.open_image(one) as a, vfs.open_image(two) as b, vfs.open_image(one) as c:
        assert a.read_bytes("/README") == b.read_bytes("/README") == c.read_bytes("/README")
        assert a.filesystem.statfs().block_size == 1024 and b.filesystem.statfs().block_size == 4096


def test_closing_closes_everything() -> None:
    before = set(Path("/proc/self/fd").iterdir())
    opened = vfs.open_image(str(image("ext4_4k")))
    opened.read_bytes("/README")
    opened.close()
    opened.close()
    assert len(set(Path("/proc/self/fd").iterdir()) - before) == 0
