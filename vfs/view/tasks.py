"""Tasks: what is known of a process or thread of the view when one of its calls arrives.

Nothing is kept: /proc tells each time. A table would have to learn of every fork, chdir and exit, and those run natively.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vfs.view.files import OpenFiles
from vfs.view.kernel.abi import AT_FDCWD

if TYPE_CHECKING:
    from vfs.view.dentry import Place


class Tasks:
    """Looks at the tasks of a view."""

    def __init__(self, files: OpenFiles) -> None:
        self.files = files

    def place(self, tid: int, dirfd: int) -> Place | None:
        """The directory (or file) that a task's *dirfd* or AT_FDCWD stands for: a dentry, or the host's path. `None`: no such
        descriptor, or nothing that has a path."""
        try:
            text = os.readlink(b"/proc/%d/cwd" % tid if dirfd == AT_FDCWD else b"/proc/%d/fd/%d" % (tid, dirfd))
        except OSError:
            return None
        placeholder = self.files.of_link(text)
        if placeholder is not None:
            return placeholder.dentry
        return text if text[:1] == b"/" else None

    def program(self, tid: int) -> bytes:
        """The path of the program that a task runs, empty when it cannot be told."""
        try:
            return os.readlink(b"/proc/%d/exe" % tid)
        except OSError:
            return b""
