"""Placeholders: what is written to when a virtual file is filled."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from pathlib import Path
from typing import cast

from fixtures.ext import image
from tests.views import shown
from vfs.api import Filesystem, Handle, open_image
from vfs.api.stack import mount
from vfs.view.dentry import Dentry
from vfs.view.files import OpenFiles
from vfs.view.kernel.notify import Call
from vfs.view.mounts import Mount, Superblock, ViewOptions
from vfs.view.placeholder import Placeholder
from vfs.view.workers import Workers
from vfs.view.writeback import INTERVAL, Flusher


class Swapped:
    """A task of which another thread has put *path* at the number since we looked."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get_fd(self, number: int) -> int:
        return os.open(self.path, os.O_RDONLY)


def test_a_descriptor_that_became_another_file_is_left_alone(tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.touch(0o644)  # no blocks, as a placeholder that was not filled
    before = host.stat()
    with open_image(image("ext4_4k")) as opened, contextlib.closing(OpenFiles(fill_at_open=0)) as files:
        filesystem = cast(Filesystem, opened.filesystem)
        shown = Mount(Superblock(filesystem), filesystem.root, "ext2", b"image", b"/mnt", b"/mnt", b"/", ViewOptions())
        dentry = Dentry(shown, None, b"README", opened.resolve("/README"))
        files.fill_descriptor(cast(Call, Swapped(host)), 7, files.placeholder(dentry))
    after = host.stat()
    assert (after.st_size, after.st_mode, after.st_mtime_ns) == (before.st_size, before.st_mode, before.st_mtime_ns)


def written_file(files: OpenFiles) -> tuple[Dentry, Placeholder, int]:
    """A file of a ramfs, opened for writing; a process's descriptor of it."""
    filesystem = cast(Filesystem, mount(None, "ramfs"))
    shown = Mount(Superblock(filesystem), filesystem.root, "ramfs", b"none", b"/mnt", b"/mnt", b"/", ViewOptions())
    dentry = shown.root.child(b"f", filesystem.root.create(b"f", 0o600))
    placeholder = files.placeholder(dentry)
    files.begin_writing(placeholder, False)
    return dentry, placeholder, os.open(f"/proc/self/fd/{placeholder.holder}", os.O_RDWR)


def content(dentry: Dentry) -> bytes:
    """What the module has."""
    with dentry.node.open() as handle:
        return bytes(handle.read(0, 1 << 20))


def test_what_is_closed_is_written_back_before_long() -> None:
    with contextlib.closing(OpenFiles()) as files:
        workers = Workers(lambda: None, lambda _: None)
        Flusher(files.written, workers)
        dentry, placeholder, descriptor = written_file(files)
        os.write(descriptor, b"written")
        time.sleep(3 * INTERVAL)
        assert (placeholder.written, content(dentry)) == (True, b"")
        os.close(descriptor)
        deadline = time.monotonic() + 20
        while placeholder.written and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (placeholder.written, content(dentry)) == (False, b"written")


def test_only_what_differs_is_written_back() -> None:
    """A hole stays a hole, and becomes one; a piece that is the same is not written again."""
    with contextlib.closing(OpenFiles()) as files:
        dentry, placeholder, descriptor = written_file(files)
        os.pwrite(descriptor, b"x" * (3 << 20), 0)
        os.ftruncate(descriptor, 9 << 20)
        files.store(placeholder)
        assert (dentry.node.stat().size, dentry.node.stat().blocks) == (9 << 20, (3 << 20) // 512)
        pieces: list[tuple[int, int]] = []
        handle = placeholder.content()
        placeholder.handle = cast(Handle, Noted(handle, pieces))
        os.pwrite(descriptor, b"y", 1 << 20)
        files.store(placeholder)
        assert pieces == [(1 << 20, 1 << 20)]
        fcntl_punch(descriptor, 0, 1 << 20)
        files.store(placeholder)
        assert dentry.node.stat().blocks == (2 << 20) // 512
        os.close(descriptor)


class Noted:
    """A handle whose writes are noted."""

    def __init__(self, handle: Handle, pieces: list[tuple[int, int]]) -> None:
        self.handle, self.pieces = handle, pieces

    def write(self, offset: int, content: bytes) -> int:
        self.pieces.append((offset, len(content)))
        return self.handle.write(offset, content)

    def __getattr__(self, name: str) -> object:
        return getattr(self.handle, name)


def fcntl_punch(descriptor: int, offset: int, length: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.fallocate(descriptor, 3, ctypes.c_long(offset), ctypes.c_long(length)) == 0


INHERITED = r"""
import os, resource, subprocess, sys
high = sorted(os.dup(0) for _ in range(40))
for number in high[:14]: os.close(number)
for number in high[14:]: os.set_inheritable(number, True)
resource.setrlimit(resource.RLIMIT_NOFILE, (29, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
print(subprocess.run([sys.executable, "-c", "import os; print(os.listdir('.'))"], close_fds=False).returncode)
"""


def test_descriptors_above_a_limit_lowered_since() -> None:
    """They do not count against it: those below are free."""
    assert shown('mount -t umfuseramfs none /mnt; cd /mnt; >f; python3 -uc "$1"', INHERITED) == "['f']\n0\n"
