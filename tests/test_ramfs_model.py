"""Sequences of calls against a plain model (`posix_model`): every result and every errno, then the whole tree.

The host first, which tests the model; then ramfs in both forms of content, and hostfs.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from posix_calls import KEEP_SIZE, PUNCH_HOLE, Calls, HostCalls, NodeCalls, RunningListing, Seen
from posix_model import ModelCalls

from vfs.api import HostDirectory
from vfs.api.stack import mount
from vfs.ramfs import content

# ---------------------------------------------------------------------------------------------- the calls

NAMES = st.sampled_from([b"a", b"b", b"c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(b"/".join)
TARGETS = st.one_of(PATHS, st.sampled_from([b"a/../b", b"b/../c", b"a/b", b"x" * 200]))  # never above the root
EDGES = [0, 1, 100, 4095, 4096, 4097, 8192, 20000, 65535, 65536, 65537, 70000, 131072]
OFFSETS = st.sampled_from(EDGES)
PIECES = st.builds(lambda byte, size: bytes([byte]) * size, st.integers(1, 255), st.sampled_from([0, 1, 10, 4096, 5000, 70000]))
ACCESS = st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR])
OPENING = st.sampled_from([0, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_CREAT | os.O_TRUNC, os.O_CREAT | os.O_APPEND, os.O_TRUNC])
FILES = st.integers(0, 4)
XATTRS = st.sampled_from([b"user.a", b"user.b", b"trusted.c"])

OPERATIONS = st.one_of(
    st.tuples(st.just("open"), PATHS, st.builds(lambda access, how: access | how, ACCESS, OPENING)),
    st.tuples(st.just("close"), FILES),
    st.tuples(st.just("pwrite"), FILES, PIECES, OFFSETS),
    st.tuples(st.just("pwrite"), FILES, PIECES, OFFSETS),
    st.tuples(st.just("pread"), FILES, st.sampled_from([0, 10, 5000, 200000]), OFFSETS),
    st.tuples(st.just("ftruncate"), FILES, OFFSETS),
    st.tuples(
        st.just("fallocate"), FILES, st.sampled_from([0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE]), OFFSETS, st.sampled_from(EDGES[1:])
    ),
    st.tuples(st.just("seek"), FILES, OFFSETS, st.sampled_from([os.SEEK_DATA, os.SEEK_HOLE])),
    st.tuples(st.just("truncate"), PATHS, OFFSETS),
    st.tuples(st.just("mkdir"), PATHS, st.sampled_from([0o755, 0o700])),
    st.tuples(st.just("mkdir"), PATHS, st.just(0o777)),
    st.tuples(st.just("rmdir"), PATHS),
    st.tuples(st.just("unlink"), PATHS),
    st.tuples(st.just("symlink"), TARGETS, PATHS),
    st.tuples(st.just("readlink"), PATHS),
    st.tuples(st.just("mknod"), PATHS, st.just(stat.S_IFIFO | 0o600)),
    st.tuples(st.just("link"), PATHS, PATHS),
    st.tuples(st.just("rename"), PATHS, PATHS, st.sampled_from([0, 0, 0, 1, 2, 3, 4])),
    st.tuples(st.just("chmod"), PATHS, st.sampled_from([0o600, 0o4755, 0o1777])),
    st.tuples(st.just("setxattr"), PATHS, XATTRS, st.binary(max_size=10), st.sampled_from([0, 0, 1, 2])),
    st.tuples(st.just("getxattr"), PATHS, XATTRS),
    st.tuples(st.just("removexattr"), PATHS, XATTRS),
    st.tuples(st.just("listdir"), PATHS),
)

KINDS = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFIFO: "p", stat.S_IFCHR: "c"}


def told(found: Seen) -> tuple[object, ...]:
    """As `ModelCalls.told`."""
    kind = KINDS[stat.S_IFMT(found.mode)]
    if kind == "d":
        return kind, found.mode & 0o7777, found.nlink
    return kind, found.mode & 0o7777, found.nlink, found.size, 0 if kind == "l" else found.blocks


class Pair:
    """A front and the model, given the same calls."""

    def __init__(self, calls: Calls) -> None:
        self.calls, self.model = calls, ModelCalls()
        self.files: list[tuple[Any, Any]] = []
        self.seen: Counter[str] = Counter()

    def outcome(self, calls: Any, name: str, arguments: tuple[Any, ...]) -> tuple[str, Any]:
        try:
            return "ok", getattr(calls, name)(*arguments)
        except OSError as error:
            return errno.errorcode[error.errno or 0], None

    def step(self, operation: tuple[Any, ...]) -> None:
        name, *arguments = operation
        if name in ("close", "pwrite", "pread", "ftruncate", "fallocate", "seek"):
            if not self.files:
                return
            index = arguments[0] % len(self.files)
            theirs, ours = self.files[index]
            if name == "ftruncate" and not ours.writes:
                return  # the front end refuses it
            if name == "seek" and ours.thing.reserved:
                return
            if name == "close":
                del self.files[index]
            got = self.outcome(self.calls, name, (theirs, *arguments[1:]))
            expected = self.outcome(self.model, name, (ours, *arguments[1:]))
        elif name == "open":
            path, flags = arguments
            kind = self.kind(path)
            if kind == "p" or (kind == "d" and not flags & (os.O_ACCMODE | os.O_CREAT | os.O_TRUNC)):
                return  # to open a fifo waits, and a directory's open is the front end's affair
            got = self.outcome(self.calls, name, (path, flags))
            expected = self.outcome(self.model, name, (path, flags))
            if got[0] == expected[0] == "ok":
                self.files.append((got[1], expected[1]))
                got = expected = "ok", None
        else:
            got = self.outcome(self.calls, name, tuple(arguments))
            expected = self.outcome(self.model, name, tuple(arguments))
        self.seen[f"{name} {got[0]}"] += 1
        if got != expected:
            note(f"{operation!r}: {got!r}, the model says {expected!r}")
        assert got == expected, f"{operation!r}"

    def kind(self, path: bytes) -> str:
        try:
            return self.model.walk(path, follow=True).kind
        except OSError:
            return ""

    def compare(self) -> None:
        """The whole tree, and the files that are open."""
        todo = [b""]
        while todo:
            path = todo.pop()
            thing = self.model.walk(path, follow=False)
            found = self.calls.lstat(path)
            if path:
                got, expected = told(found), self.model.told(thing)
                assert (got[:5] if thing.kind != "l" else got[:4]) == (expected if thing.kind != "l" else expected[:4]), path
                assert sorted(self.calls.listxattr(path)) == sorted(thing.attributes)
            if thing.kind == "d":
                assert self.calls.listdir(path) == sorted(thing.entries)
                todo += [path + b"/" + name if path else name for name in thing.entries]
            elif thing.kind == "f":
                file = self.calls.open(path, os.O_RDONLY)
                assert self.calls.pread(file, 1 << 20, 0) == thing.content
                self.calls.close(file)
        for theirs, ours in self.files:
            got, expected = told(self.calls.fstat(theirs)), self.model.told(ours.thing)
            assert got == expected

    def close(self) -> None:
        for theirs, _ in self.files:
            self.calls.close(theirs)


# ---------------------------------------------------------------------------------------------- the fronts


@contextmanager
def place() -> Iterator[str]:
    if subprocess.run(["stat", "-fc%T", "/dev/shm"], capture_output=True, text=True).stdout.strip() != "tmpfs":
        pytest.skip("/dev/shm is no tmpfs")
    path = tempfile.mkdtemp(prefix="vfs-model-", dir="/dev/shm")
    before = os.umask(0)
    try:
        yield path
    finally:
        os.umask(before)
        shutil.rmtree(path)


@contextmanager
def host() -> Iterator[Calls]:
    with place() as path:
        yield HostCalls(path)


@contextmanager
def ramfs() -> Iterator[Calls]:
    with mount(None, "ramfs") as filesystem:
        yield NodeCalls(filesystem, RunningListing)  # type: ignore[arg-type]


@contextmanager
def ramfs_pages() -> Iterator[Calls]:
    with patch.object(content, "memory", lambda: None), ramfs() as calls:
        yield calls


@contextmanager
def hostfs() -> Iterator[Calls]:
    with place() as path, mount(HostDirectory(path), "hostfs") as filesystem:
        yield NodeCalls(filesystem)  # type: ignore[arg-type]


FRONTS: dict[str, Callable[[], Any]] = {"host": host, "ramfs": ramfs, "ramfs_pages": ramfs_pages, "hostfs": hostfs}


def campaign(front: str, examples: int, length: int) -> Counter[str]:
    seen: Counter[str] = Counter()

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(OPERATIONS, min_size=length // 4, max_size=length))
    def run(operations: list[tuple[Any, ...]]) -> None:
        with FRONTS[front]() as calls:
            pair = Pair(calls)
            try:
                for operation in operations:
                    pair.step(operation)
                pair.compare()
            finally:
                pair.close()
            seen.update(pair.seen)

    run()
    return seen


@pytest.mark.parametrize("front", FRONTS)
def test_against_the_model(front: str) -> None:
    if os.geteuid() != 0 and front in ("host", "hostfs"):
        pytest.skip("the model knows no permissions: needs root")
    campaign(front, 150, 60)


@pytest.mark.slow
@pytest.mark.parametrize("front", FRONTS)
def test_against_the_model_for_long(front: str) -> None:
    if os.geteuid() != 0 and front in ("host", "hostfs"):
        pytest.skip("the model knows no permissions: needs root")
    seen = campaign(front, 4000, 120)
    wanted = {"rename ok", "rename ENOTEMPTY", "rename EINVAL", "rename EISDIR", "rename ENOTDIR", "rename EEXIST", "link EPERM"}
    wanted |= {"open EISDIR", "open ELOOP", "rmdir ENOTEMPTY", "unlink EISDIR", "seek ENXIO", "seek ok", "fallocate ok"}
    assert wanted <= seen.keys(), f"never reached: {wanted - seen.keys()}"
