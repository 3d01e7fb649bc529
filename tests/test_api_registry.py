"""The registry: names, detection, and that nothing is imported before it is wanted."""

from __future__ import annotations

import errno
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from fixtures.ext import image
from vfs.api import FileStorage, Module, registry
from vfs.api.registry import GROUPS


@pytest.mark.parametrize("name", ["ext2", "umfuseext2"])
def test_both_names_work(name: str) -> None:
    assert registry.is_known(name)
    assert registry.canonical(name) == "ext2"
    assert registry.find(name).name == "ext2"


@pytest.mark.parametrize("name", ["", "ext", "umfuse", "umdevext2", "ummiscext2", "umfuseumfuseext2", "EXT2", "ext2 "])
def test_other_names_do_not(name: str) -> None:
    assert not registry.is_known(name)
    with pytest.raises(OSError) as caught:
        registry.find(name)
    assert caught.value.errno == errno.ENODEV
    assert f"'{name}'" in caught.value.strerror and "ext2" in caught.value.strerror


def test_entry_points_are_those_of_importlib() -> None:
    """They are read without it, for speed: the answer must be the same."""
    standard = {(point.group, point.name, point.value) for group in GROUPS.values() for point in entry_points(group=group)}
    assert {each for each in registry._entry_points() if each[0] in GROUPS.values()} == standard
    assert {module.name for module in registry.modules().values()} == {name for _, name, _ in standard}


def test_a_third_party_module_is_found(tmp_path: Path) -> None:
    (tmp_path / "their_module.py").write_text(
        "from vfs.api import *\n"
        "class Their(Module):\n"
        "    name = 'theirs'; description = 'a module of somebody else'\n"
        "    def probe(self, source): return 100 if source.read(0, 5) == b'THEIR' else 0\n"
    )
    (tmp_path / "their_module-1.0.dist-info").mkdir()
    (tmp_path / "their_module-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: their-module\nVersion: 1.0\n")
    (tmp_path / "their_module-1.0.dist-info" / "entry_points.txt").write_text(
        "# comment\n[vfs.filesystems]\ntheirs = their_module:Their\nbroken = no_such_module:Broken\n\n[other]\nx = y:z\n"
    )
    (tmp_path / "disk").write_bytes(b"THEIR" + bytes(4096))
    program = (
        "import sys; from vfs.api import *; from vfs.api import registry\n"
        "print(sorted({'broken', 'ext2', 'theirs'} & set(registry.modules())))\n"
        "print(registry.find('umfusetheirs').description)\n"
        "print(registry.detect(FileStorage('disk')).name)\n"
        "try: registry.find('broken')\n"
        "except OSError as error: print(error)\n"
    )
    environment = {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    lines = done.stdout.splitlines()
    assert lines[:3] == ["['broken', 'ext2', 'theirs']", "a module of somebody else", "theirs"], done.stderr
    assert f"[Errno {errno.EOPNOTSUPP}] module 'broken' cannot be loaded" in lines[3]


def test_a_zip_file_on_the_path_leaves_it_to_importlib(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
        packed.writestr("their_module-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: their-module\nVersion: 1.0\n")
        packed.writestr("their_module-1.0.dist-info/entry_points.txt", "[vfs.filesystems]\ntheirs = their_module:Their\n")
    program = "from vfs.api import registry; print(sorted({'ext2', 'theirs'} & set(registry.modules())))"
    environment = {"PYTHONPATH": str(tmp_path / "packed.zip")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "['ext2', 'theirs']\n", done.stderr


def test_detect(tmp_path: Path) -> None:
    with FileStorage(image("ext4_4k")) as storage:
        assert registry.detect(storage).name == "ext2"


@pytest.mark.parametrize("content", [b"", b"x", bytes(1 << 20), b"\xff" * 4096], ids=["empty", "a byte", "zeros", "ones"])
def test_detect_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "disk"
    path.write_bytes(content)
    with FileStorage(path) as storage, pytest.raises(OSError) as caught:
        registry.detect(storage)
    assert caught.value.errno == errno.EINVAL


def test_no_module_is_imported_before_it_is_wanted() -> None:
    program = (
        "import sys; from vfs.api import registry; registry.modules()\n"
        "print(sorted(name for name in sys.modules if name.startswith('vfs.') and not name.startswith('vfs.api')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("name", sorted(registry.modules()))
def test_every_module_describes_itself(name: str) -> None:
    module = registry.find(name)
    assert isinstance(module, Module) and module.name == name and module.description
