"""Directories of the host that a process serves, perhaps one of this very view (FUSE), or that lie behind a network.

Who serves them may have to wait for us: so in them nothing is looked up by us. The kernel looks names up there for the task
itself, which may wait. A link there that leads into a mount of the view is therefore followed past it; where the view has a mount
point in such a directory, we do look.
"""

from __future__ import annotations

import os
import re
import select
from collections.abc import Iterable, Iterator

TYPES = ("fuse", "nfs", "cifs", "smb", "9p", "ceph", "afs", "virtiofs")
"""How the types of such file systems begin."""


def mounts() -> Iterator[tuple[bytes, bytes]]:
    """Device (major:minor) and mount point of every such file system of the host."""
    with open("/proc/self/mountinfo", "rb") as lines:
        for line in lines:
            fields = line.split()
            kind = fields[fields.index(b"-") + 1].decode(errors="replace")
            if kind != "fuseblk" and kind.startswith(TYPES):
                yield fields[2], re.sub(rb"\\(\d{3})", lambda match: bytes([int(match[1], 8)]), fields[4])


def comes_from_afar(path: bytes) -> bool:
    """Whether reading a file of the host may wait for somebody else."""
    try:
        device = os.stat(path).st_dev
        return b"%d:%d" % (os.major(device), os.minor(device)) in {found for found, _ in mounts()}
    except (OSError, ValueError):
        return False


class Afar:
    """What begins with one of the *prefixes* lies in such a directory."""

    def __init__(self) -> None:
        self.prefixes: tuple[bytes, ...] = ()
        self.known = False
        self.changes = select.poll()
        """Tells, once, when the host's table has changed (proc_pid_mountinfo(5), POLLERR)."""
        self.table = -1

    def look(self, points: Iterable[bytes]) -> None:
        """Before a walk. *points*: where the view has mounts."""
        if self.table < 0:
            self.table = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
            self.changes.register(self.table, select.POLLPRI)
        if not self.changes.poll(0) and self.known:
            return
        try:
            found = {point.rstrip(b"/") + b"/" for _, point in mounts()}
        except (OSError, ValueError):
            found = set()
        self.prefixes = tuple(prefix for prefix in found if not any(point.startswith(prefix) for point in points))
        self.known = True

    def forget(self) -> None:
        """The view's mount points are others now."""
        self.known = False

    def holds(self, path: bytes) -> bool:
        """Whether a host path lies in such a directory."""
        return path.startswith(self.prefixes)
