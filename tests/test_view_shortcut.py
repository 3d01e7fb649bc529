"""Calls that processes make past the supervisor: that they are few that it hears of, and that nobody is told anything wrong."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.views import both, shown, view
from vfs.view.kernel.machine import current
from vfs.view.shortcut import layout, library, make
from vfs.view.shortcut.code_x86_64 import MADE_OF

pytestmark = pytest.mark.skipif(
    os.uname().machine != "x86_64" or not os.path.exists("/lib64/ld-linux-x86-64.so.2"), reason="x86_64 and glibc only"
)

LIBRARY = Path("/lib/x86_64-linux-gnu/libc.so.6")
COUNT = """
import collections, sys
from vfs.view.kernel import loop
made, counted = loop.table, collections.Counter()
def table(handlers):
    return [lambda call, handler=handler: (counted.update([call.name]), handler(call))[1] for handler in made(handlers)]
loop.table = table
from vfs.view.commands.umview import main
sys.argv[0] = "umview"
out = open(sys.argv.pop(1), "w")
main()
print(sum(counted.values()), file=out, flush=True)
"""
MANY = "import os\nfor i in range(1000):\n for name in (@): os.path.lexists(name); os.path.exists(name)\n"


def heard(script: str, *options: str) -> int:
    """How many calls the supervisor hears of."""
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run([sys.executable, "-c", COUNT, out.name, *options, "bash", "-c", script], timeout=60, check=True)
        return int(out.read())


def many(*names: str) -> str:
    return f'{sys.executable} -S -c "{MANY.replace("@", ", ".join(map(repr, names)) + ",")}"'


def test_code_is_that_of_its_source() -> None:
    assert make.digest() == MADE_OF, "stale: python -m vfs.view.shortcut.make"


def test_numbers_are_those_of_the_machine() -> None:
    names = "open stat lstat access readlink openat newfstatat readlinkat faccessat statx faccessat2"
    assert sorted(layout.CALLS) == sorted(current().calls[name] for name in names.split())


@pytest.mark.parametrize("mounted", [":", "mount -t ramfs none $D/m"], ids=["no mount", "a mount"])
def test_the_supervisor_hears_of_few_calls(tmp_path: Path, mounted: str) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "into").symlink_to("m/file")
    before = f"D={tmp_path}; {mounted}; cd $D; exec 5<$D; "
    names = (
        f"{tmp_path}/file",
        f"{tmp_path}/none",
        "file",
        "none",
        f"{tmp_path}/none/x",
        f"{tmp_path}/",
        "/etc/passwd",
        "link",
        f"{tmp_path}/link",
    )
    assert heard(before + many(*names)) < 1000
    for name in (f"{tmp_path}/m/file", "m/file", "into", f"{tmp_path}/into"):
        assert (heard(before + many(name)) >= 1000) == (mounted != ":")
    assert heard(before + many("file"), "-s") > 2000


@both
def test_names_beside_and_in_mounts(user: str) -> None:
    """Far names and near ones in turn, while mounts come and go, by one process that has learned all about them."""
    script = r"""
import os, subprocess, sys
os.chdir(sys.argv[1])
names = ("m/host", "m/in", os.getcwd() + "/m/host", os.getcwd() + "/m/in", "l/in", "l/host", "k/m/in")
def seen(): return [os.path.exists(name) for name in names]
def run(line): subprocess.run(["sh", "-c", line], check=True)
for _ in range(3): run("ln -sfn m l; ln -sfn . k"); [seen() for _ in range(50)]; print(*seen())
for _ in range(3):
    run("mount -t ramfs none m; touch m/in"); [seen() for _ in range(50)]
    print(*map(int, seen()), len(os.listdir("m")), len(os.listdir("l")))
    run("umount m"); [seen() for _ in range(50)]; print(*map(int, seen()), len(os.listdir("m")))
run("mount -t ramfs none m; touch m/in; rm l; mkdir l"); print(*map(int, seen()))
run("rmdir l; ln -s m l"); print(*map(int, seen()))
d = os.open(".", os.O_RDONLY); e = os.open("m", os.O_RDONLY)
for _ in range(50): found = [os.access(n, 0, dir_fd=f) for f in (d, e) for n in ("m/in", "in", "../m/in")]
print(*map(int, found)); os.chdir("m")
for _ in range(50): found = [os.path.exists(n) for n in ("in", "./in", "../m/in", "host")]
print(*map(int, found))
"""
    with tempfile.TemporaryDirectory() as name:  # where everybody comes
        os.chmod(name, 0o777)
        (Path(name) / "m").mkdir()
        (Path(name) / "m" / "host").touch()
        (Path(name) / "script.py").write_text(script)
        out = shown(f"{sys.executable} $1/script.py $1", name, user=user).split("\n")
    native = "True False True False False True False"
    assert out[:3] == [native] * 3
    assert out[3:9] == ["0 1 0 1 1 0 1 1 1", "1 0 1 0 0 1 0 1"] * 3
    assert out[9:11] == ["0 1 0 1 0 0 1", "0 1 0 1 1 0 1"]
    assert out[11:13] == ["1 0 0 0 1 1", "1 1 1 0"]


def test_bad_addresses_are_errors(tmp_path: Path) -> None:
    script = """
import ctypes, mmap
c = ctypes.CDLL(None, use_errno=True)
def access(address): return c.access(ctypes.c_void_p(address), 0) and ctypes.get_errno()
hole = mmap.mmap(-1, 8192); at = ctypes.addressof(ctypes.c_char.from_buffer(hole)); c.munmap(ctypes.c_void_p(at + 4096), 4096)
ctypes.memmove(at + 4096 - 5, b"/etc/", 5)
for address in (0, 8, 1 << 40, at + 4096, at + 4096 - 5, (1 << 64) - 1, 1 << 47, 0x551000000000 + (1 << 20)):
    print(access(address))
print(c.access(b"/" * 5000, 0) and ctypes.get_errno(), c.access(b"/etc/" + b"x" * 300, 0) and ctypes.get_errno())
ctypes.memmove(at + 4096 - 5, b"/etc\\0", 5); print(access(at + 4096 - 5))
"""
    (tmp_path / "script.py").write_text(script)
    for mounted in (":", "mount -t ramfs none $1"):
        out = shown(f'P=$(cat $1/script.py); {mounted}; {sys.executable} -c "$P"', tmp_path).split()
        assert out == ["14"] * 8 + ["36", "36", "0"]


def test_a_program_that_limits_its_own_calls(tmp_path: Path) -> None:
    """One that may do nothing but what it asks for (here: no getcwd, no readlink) is not made to do more."""
    script = """
import ctypes, os, struct
names = ["/etc/passwd", "passwd"]
os.chdir("/etc"); [os.path.exists(n) for n in names * 50]
code = [(0x20, 0, 0, 0), (0x15, 2, 0, 79), (0x15, 1, 0, 89), (0x15, 0, 1, 267), (6, 0, 0, 0x80000000), (6, 0, 0, 0x7FFF0000)]
text = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in code))
c = ctypes.CDLL(None, use_errno=True)
c.prctl(38, 1, 0, 0, 0)
header = struct.pack("<H6xQ", len(code), ctypes.addressof(text))
print(c.prctl(22, 2, header) if OPTION else c.syscall(317, 1, 0, header), *[os.path.exists(n) for n in names * 50][-2:])
"""
    for option in "01":
        (tmp_path / "script.py").write_text(script.replace("OPTION", option))
        out = shown(f"mkdir -p $1/m; mount -t ramfs none $1/m; {sys.executable} $1/script.py", tmp_path)
        assert out == "0 True True\n"


def test_the_library_is_called_what_it_is() -> None:
    for mounted in (":", "mount -t ramfs none /mnt"):
        out = shown(f"{mounted}; cat /proc/self/maps; cmp {LIBRARY} {LIBRARY.resolve()}; sha256sum {LIBRARY}")
        assert "memfd" not in out and "SYSV" not in out
        assert str(LIBRARY.resolve()) in out
        assert subprocess.run(["sha256sum", LIBRARY], capture_output=True, text=True, check=True).stdout in out


def test_no_memory_is_left_behind() -> None:
    """Each segment ends with the last process that has it, however that ends."""
    assert f" {layout.SIZE} " in shown("cat /proc/sysvipc/shm")
    view("kill -9 $PPID; sleep 1")
    for line in Path("/proc/sysvipc/shm").read_text().split("\n")[1:-1]:
        _, _, mode, size, _, _, users, *_ = line.split()
        assert int(size) != layout.SIZE or (int(mode, 8) & 0o1000 and int(users))


def test_damaged_libraries() -> None:
    """A library that is none, or is cut off or damaged anywhere in its headers, is left alone or patched; nothing is raised."""
    image = LIBRARY.read_bytes()
    assert library.patched(image, 1) is not None
    for size in (0, 1, 63, 64, 100, 64 + 56 * 5, 5000):
        assert library.patched(image[:size], 1) is None
    chance = random.Random(5)
    for _ in range(150):
        damaged = bytearray(image[:0x40000])
        for _ in range(3):
            damaged[chance.randrange(64 + 56 * 16)] = chance.randrange(256)
        library.patched(bytes(damaged), 1)


def test_hashes_are_those_of_the_page() -> None:
    assert layout.hash_of(b"") == 0
    assert layout.hash_of(b"/usr/lib") != layout.hash_of(b"/usr/lib\0")
