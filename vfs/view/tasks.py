"""Tasks: what is known of a process or thread of the view when one of its calls arrives.

Nothing is kept: /proc tells each time. A table would have to learn of every fork, chdir and exit, and those run natively.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from vfs.view.files import OpenFiles
from vfs.view.kernel.abi import AT_FDCWD

if TYPE_CHECKING:
    from vfs.view.credentials import Credentials
    from vfs.view.dentry import Place


class Creator(NamedTuple):
    """For what a task creates: owner, group, umask."""

    uid: int
    gid: int
    umask: int


class Tasks:
    """Looks at the tasks of a view."""

    def __init__(self, files: OpenFiles) -> None:
        self.files = files
        self.credentials: Callable[[], Credentials | None] = lambda: None
        """The virtual credentials of the task whose call is being answered."""
        self.roots_differ = False
        """Whether a task ever changed its root: then `has_other_root` must be asked."""
        self.foreign: set[bytes] = set()
        """Mount namespaces in which a task has changed the root for all (pivot_root)."""

    def has_other_root(self, tid: int) -> bool:
        """Whether a task lives below another root directory (chroot, pivot_root), where the view's paths mean nothing."""
        try:
            if os.readlink(b"/proc/%d/root" % tid) != b"/":
                return True
            return bool(self.foreign) and os.readlink(b"/proc/%d/ns/mnt" % tid) in self.foreign
        except OSError:
            return False

    def pivots(self, tid: int) -> None:
        """A task is about to change the root of its mount namespace. In ours that cannot be: it is the host's."""
        try:
            namespace = os.readlink(b"/proc/%d/ns/mnt" % tid)
        except OSError:
            return
        if namespace != os.readlink(b"/proc/self/ns/mnt"):
            self.foreign.add(namespace)
            self.roots_differ = True

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

    def creator(self, tid: int) -> Creator:
        """Whose will be what a task creates, and what its umask is (proc_pid_status(5))."""
        uid, gid, umask = os.geteuid(), os.getegid(), 0o022
        try:
            with open(b"/proc/%d/status" % tid, "rb", buffering=0) as status:
                for line in status.read(1024).split(b"\n"):
                    if line.startswith(b"Umask:"):
                        umask = int(line[6:], 8)
                    elif line.startswith(b"Uid:"):
                        uid = int(line.split()[4])
                    elif line.startswith(b"Gid:"):
                        gid = int(line.split()[4])
                        break
        except OSError:
            pass  # it hides from us: what is its parent's is its own
        virtual = self.credentials()
        if virtual is not None:
            uid, gid = virtual.uid.fs, virtual.gid.fs
        return Creator(uid, gid, umask)
