"""Placeholders: what is written to when a virtual file is filled."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import cast

from fixtures.ext import image
from vfs.api import Filesystem, open_image
from vfs.view.dentry import Dentry
from vfs.view.files import OpenFiles
from vfs.view.kernel.notify import Call
from vfs.view.mounts import Mount, Superblock, ViewOptions


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
        mount = Mount(Superblock(filesystem), filesystem.root, "ext2", b"image", b"/mnt", b"/mnt", b"/", ViewOptions())
        dentry = Dentry(mount, None, b"README", opened.resolve("/README"))
        files.fill_descriptor(cast(Call, Swapped(host)), 7, files.placeholder(dentry))
    after = host.stat()
    assert (after.st_size, after.st_mode, after.st_mtime_ns) == (before.st_size, before.st_mode, before.st_mtime_ns)
