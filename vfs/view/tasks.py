"""Tasks: what is known of a process or thread of the view when one of its calls arrives.

/proc tells each time, for a table would have to learn of every fork and exit, and those run natively. Only current directories
are remembered, and no longer than the names of the host are: whoever changes one is trapped (chdir, fchdir, setns, pivot_root),
and the number of a task that ended is not given to another in that time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from vfs.view.files import OpenFiles
from vfs.view.kernel.abi import AT_FDCWD
from vfs.view.proc.access import demand_access

if TYPE_CHECKING:
    from vfs.view.credentials import Credentials
    from vfs.view.dentry import Dentry, Place


LIFETIME = 1.0
"""Seconds for which we believe that the host is as it was found."""
LIMIT = 4096


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
        self.root_of: Callable[[int], Dentry | None] = lambda tid: None
        """The root directory of a task, by chroot(2); `None`: its view's."""
        self.demand_access: Callable[[int, int], None] = demand_access
        """EACCES: task one may not look into process two (ptrace(2))."""
        self.roots_differ = False
        """Whether a task of another mount namespace ever changed its root: then `has_other_root` must be asked."""
        self.differ: Callable[[], None] = lambda: None
        """Told when that has become so."""
        self.foreign: set[bytes] = set()
        """Mount namespaces in which a task has changed the root for all (pivot_root)."""
        self.cwds: dict[int, tuple[Place, float]] = {}
        """Task -> its current directory, and until when that is believed."""
        self.moving: dict[int, float] = {}
        """Tasks that may be changing theirs just now, and until when that is thought of."""

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
        self.moves(tid)
        try:
            namespace = os.readlink(b"/proc/%d/ns/mnt" % tid)
        except OSError:
            return
        if namespace != os.readlink(b"/proc/self/ns/mnt"):
            self.foreign.add(namespace)
            self.set_roots_differ()

    def set_roots_differ(self) -> None:
        self.roots_differ = True
        self.differ()

    def is_elsewhere(self, tid: int) -> bool:
        """Whether a task is in another mount namespace, whose paths are not ours."""
        try:
            return os.readlink(b"/proc/%d/ns/mnt" % tid) != os.readlink(b"/proc/self/ns/mnt")
        except OSError:
            return False

    def place(self, tid: int, dirfd: int) -> Place | None:
        """The directory (or file) that a task's *dirfd* or AT_FDCWD stands for: a dentry, or the host's path. `None`: no such
        descriptor, or nothing that has a path."""
        if dirfd == AT_FDCWD:
            return self.cwd(tid)
        try:
            text = os.readlink(b"/proc/%d/fd/%d" % (tid, dirfd))
        except OSError:
            return None
        return self.place_of(text)

    def place_of(self, text: bytes) -> Place | None:
        placeholder = self.files.of_link(text)
        if placeholder is not None:
            return placeholder.dentry
        return text if text[:1] == b"/" else None

    def cwd(self, tid: int) -> Place | None:
        """A task's current directory, as `place`."""
        if self.moving:
            self.arrived(tid)
        else:
            entry = self.cwds.get(tid)
            if entry is not None and entry[1] > monotonic():
                return entry[0]
        try:
            place = self.place_of(os.readlink(b"/proc/%d/cwd" % tid))
        except OSError:
            return None
        if place is not None and not self.moving:
            if len(self.cwds) >= LIMIT:
                self.cwds.clear()
            self.cwds[tid] = place, monotonic() + LIFETIME
        return place

    def moves(self, tid: int) -> None:
        """A task is about to change its current directory, and with it that of those who share it, who may be any."""
        self.cwds.clear()
        if len(self.moving) >= LIMIT:
            self.arrived(tid)
        self.moving[tid] = monotonic() + LIFETIME

    def arrived(self, tid: int) -> None:
        """A task makes another call: it has changed its directory, if it was about to. Of those that make none, time tells."""
        self.moving.pop(tid, None)
        now = monotonic()
        for other in [other for other, deadline in self.moving.items() if deadline < now]:
            del self.moving[other]

    def program(self, tid: int) -> bytes:
        """The path of the program that a task runs, empty when it cannot be told."""
        try:
            text = os.readlink(b"/proc/%d/exe" % tid)
        except OSError:
            return b""
        placeholder = self.files.of_link(text)
        return placeholder.dentry.path if placeholder else text

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
