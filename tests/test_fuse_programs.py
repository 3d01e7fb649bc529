"""Stock programs on a kernel mount of ours, against the same programs on the kernel's own mount of the same image."""

from __future__ import annotations

import concurrent.futures
import hashlib
import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.ext import image
from tests.fuse_mounts import LIMIT, mounted, needs_fuse, place, run
from tests.oracle import loop_mount
from tests.view_tree import make_image

pytestmark = [needs_fuse(), pytest.mark.skipif(os.geteuid() != 0, reason="needs root for the kernel's mount to compare with")]

# name -> command of bash, in the mounted tree; $O is an empty directory for output.
CASES = {
    "ls -laR": "ls -laRi --time-style=full-iso 2>&1 | grep -av ' \\.\\.$' | tr -s ' '",
    "find -ls": 'find . -mindepth 1 -ls | tr -s " " | sort',
    "find -printf": 'find . -mindepth 1 -printf "%P %y %m %U %G %s %b %T@ %n %l %i\\n" | sort',
    "stat": "find . -mindepth 1 -print0 | sort -z | xargs -0 stat -c '%n %F %s %b %B %o %a %h %i %u %g %t %T %x %y %z'",
    "stat -f, df": "stat -f -c '%s %S %b %f %a %c %d %l' .; df --output=itotal,iused,iavail,size,used,avail,pcent . ",
    "du": "du -al . | sort -k2; du -abl . | sort -k2; du -s --inodes .",
    "cp -a": "cp -a . $O/copy; cd $O/copy; find . -mindepth 1 -printf '%P %y %m %U %G %s %T@ %n %l\\n' | sort; du -sb .",
    # Its warnings after the listing: at both ends of a pipe their order is anybody's.
    "tar": "tar --sort=name --xattrs --acls -c . 2>$O/said | tar -tv | tr -s ' '; cat $O/said;"
    " tar --sort=name --xattrs -c . 2>$O/said | sha256sum; cat $O/said",
    "sha256sum": "find . -type f -print0 | sort -z | xargs -0 sha256sum",
    "sha256sum, 8 at once": "find . -type f -print0 | sort -z | xargs -0 -P8 -n4 sha256sum | sort -k2",
    "getfattr": "find . -print0 | sort -z | xargs -0 getfattr -h -d -m - 2>&1",
    "getfacl": "find . -not -type l -print0 | sort -z | xargs -0 getfacl -n -P 2>&1",
    "globs": "shopt -s dotglob nullglob; echo *; for d in */; do (cd $d; pwd; ls ..; ls | wc -l); done; test -e none; echo $?",
    "grep -r": "grep -rc e . -D skip | sort",
    "cat": "find . -type f -print0 | sort -z | xargs -0 cat | sha256sum; cat none; cat .",
    "head, tail, dd": "for f in $(find . -type f -size +8k | sort | head -20); do head -c 100 $f | md5sum; "
    "tail -c 5000 $f | md5sum; dd if=$f bs=1001 skip=3 count=5 2>/dev/null | md5sum; done",
    "readlink": "find . -type l -print0 | sort -z | xargs -0 readlink; find . -type l -print0 | sort -z | xargs -0 ls -L",
    "cmp with holes": "for f in $(find . -type f -size +16k | sort); do cp --sparse=always $f $O/f; cmp $f $O/f; done",
    "special files": "find . -type p -o -type s -o -type c -o -type b | sort | xargs stat -c '%n %F %t:%T'",
    "flock": "f=$(find $PWD -type f -size +0 | sort | head -1); flock -s $f flock -n -s $f echo both; "
    "flock -s $f flock -n -x $f echo no; echo $?",
    "python": 'python3 -c "import os; print(sorted((d, sorted(s), sorted(f)) for d, s, f in os.walk(b\\".\\")))"',
}
PROGRAMS = {
    "dynamic": "bin/dyn one; cd bin; ./dyn two; readlink -f ./dyn | tail -c 8",
    "static": "bin/static; exec bin/static e",
    "scripts": "bin/script 1 '2 3'; bin/py a b; cd deep; ../bin/py; PATH=$PWD/../bin:$PATH script p",
    "python import": "PYTHONPATH=$PWD python3 -B -c 'import pkg; print(pkg.value)'; cd /; ",
    "git": "cp -a repo $O/r; git -c safe.directory='*' -C repo log --stat --format=%s; git -c safe.directory='*' -C repo fsck; "
    "git -c safe.directory='*' -C repo status; git -c safe.directory='*' clone -q --no-hardlinks repo $O/clone && ls $O/clone",
    "gcc": "gcc -o $O/p src/main.c lib/priv.c && $O/p; gcc src/main.c -o $O/q -Llib -lpriv -Wl,-rpath,$PWD/lib && $O/q",
    "make": "make -s -C src O=$O; ls $O",
    "noise": "cmp big deep/link; diff -r --no-dereference deep pkg --exclude=fifo | head -20",
}


def outcome(directory: Path, command: str) -> str:
    """What a command printed in *directory*, with the names of temporary places taken out, and its status."""
    with place() as output:
        work = output / "work"
        work.mkdir()
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT,
            env={**os.environ, "O": str(work), "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        )
        shutil.rmtree(work)
    text = done.stdout.decode(errors="backslashreplace")
    for path, name in ((work, "$O"), (directory, "$T")):
        text = text.replace(str(path), name)
    return f"{text}status {done.returncode}\n"


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Path, Path]]:
    """The kernel's mount and ours of one image with everything in it."""
    path = image("ext4_xattrs")
    with loop_mount(path) as theirs, mounted(path, "-o", "suid,dev") as ours:
        yield theirs, ours


@pytest.mark.parametrize("name", CASES)
def test_program(both: tuple[Path, Path], name: str) -> None:
    expected, found = (outcome(directory, CASES[name]) for directory in both)
    assert found == expected


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The same with programs, a repository and sources in it."""
    path = make_image(tmp_path_factory.mktemp("tree"), Path("/nowhere"))
    with loop_mount(path) as theirs, mounted(path) as ours:
        yield theirs, ours


@pytest.mark.parametrize("name", PROGRAMS)
def test_work(trees: tuple[Path, Path], name: str) -> None:
    expected, found = (outcome(directory, PROGRAMS[name]) for directory in trees)
    assert found == expected


# ---------------------------------------------------------------- system calls that programs rarely make


@pytest.fixture(scope="module")
def tree(trees: tuple[Path, Path]) -> Path:
    return trees[1]


def test_mmap(trees: tuple[Path, Path]) -> None:
    content = (trees[0] / "big").read_bytes()
    with (trees[1] / "big").open("rb") as file:
        for access in (mmap.ACCESS_READ, mmap.ACCESS_COPY):
            with mmap.mmap(file.fileno(), 0, access=access) as mapped:
                assert mapped[2_000_000:2_000_100] == content[2_000_000:2_000_100]
                assert hashlib.sha256(mapped).digest() == hashlib.sha256(content).digest()


def test_sendfile_and_splice(trees: tuple[Path, Path], tmp_path: Path) -> None:
    content = (trees[0] / "big").read_bytes()
    with (trees[1] / "big").open("rb") as source, (tmp_path / "copy").open("wb") as target:
        position = 0
        while sent := os.sendfile(target.fileno(), source.fileno(), position, 1 << 20):
            position += sent
    assert (tmp_path / "copy").read_bytes() == content
    with (trees[1] / "big").open("rb") as source:
        read, write = os.pipe()
        moved = os.splice(source.fileno(), write, 65536, offset_src=12345)
        assert os.read(read, moved) == content[12345 : 12345 + moved]
        os.close(read)
        os.close(write)


def test_o_direct(trees: tuple[Path, Path]) -> None:
    content = (trees[0] / "big").read_bytes()
    descriptor = os.open(trees[1] / "big", os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, 1 << 20)
    try:
        for offset in (0, 4096, len(content) // 4096 * 4096):
            count = os.preadv(descriptor, [buffer], offset)
            assert buffer[:count] == content[offset : offset + (1 << 20)]
    finally:
        os.close(descriptor)
        buffer.close()


def test_positions_of_reads(trees: tuple[Path, Path]) -> None:
    """Any order of reads, before and after what the page cache has, and beyond the end."""
    content = (trees[0] / "big").read_bytes()
    with (trees[1] / "big").open("rb", buffering=0) as file:
        for offset in (2_999_990, 5, 1 << 20, 0, len(content) - 1, len(content), len(content) + 10**9, 777_777):
            assert os.pread(file.fileno(), 50_000, offset) == content[offset : offset + 50_000]


def test_handles_of_forgotten_inodes(tree: Path) -> None:
    """open_by_handle_at(2), as the NFS server does, works when the kernel has dropped the inode."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    class FileHandle(ctypes.Structure):
        _fields_ = (("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("handle", ctypes.c_ubyte * 128))

    handle, mount = FileHandle(128), ctypes.c_int()
    path = tree / "deep" / "f7"
    assert libc.name_to_handle_at(-100, os.fsencode(path), ctypes.byref(handle), ctypes.byref(mount), 0) == 0
    Path("/proc/sys/vm/drop_caches").write_text("2")
    root = os.open(tree, os.O_RDONLY)
    descriptor = libc.open_by_handle_at(root, ctypes.byref(handle), os.O_RDONLY)
    try:
        assert descriptor >= 0, os.strerror(ctypes.get_errno())
        assert os.read(descriptor, 100) == path.read_bytes()
    finally:
        os.close(root)
        if descriptor >= 0:
            os.close(descriptor)


def test_many_readers_at_once(trees: tuple[Path, Path]) -> None:
    theirs, ours = trees
    names = sorted(path.relative_to(theirs) for path in theirs.rglob("*") if path.is_file() and not path.is_symlink())
    expected = {name: hashlib.sha256((theirs / name).read_bytes()).digest() for name in names}
    Path("/proc/sys/vm/drop_caches").write_text("3")

    def read(name: Path) -> bool:
        return hashlib.sha256((ours / name).read_bytes()).digest() == expected[name]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, names * 4))


def test_the_same_file_opened_by_many_at_once(trees: tuple[Path, Path]) -> None:
    """Opening fills the page cache of small files; that must not meet a read of the same pages."""
    theirs, ours = trees
    work = (
        "import os, sys\n"
        "for n in range(300):\n"
        "    fd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)\n"
        "    assert len(os.pread(fd, 1 << 20, 0)) == int(sys.argv[2])\n"
        "    os.close(fd)\n"
    )
    path = ours / "deep" / "f3"
    command = [sys.executable, "-c", work, str(path), str((theirs / "deep" / "f3").stat().st_size)]
    running = [subprocess.Popen(command) for _ in range(6)]
    assert [process.wait(LIMIT) for process in running] == [0] * 6


def test_caches_dropped_in_the_middle(tree: Path) -> None:
    before = run("find", tree, "-ls")
    for _ in range(3):
        Path("/proc/sys/vm/drop_caches").write_text("3")
        assert run("find", tree, "-ls") == before
