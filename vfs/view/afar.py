"""Directories of the host that a process serves, perhaps one of this very view (FUSE), or that lie behind a network.

Who serves them may have to wait for us: so in them nothing is looked up by us. The kernel looks names up there for the task
itself, which may wait. A link there that leads into a mount of the view is therefore followed past it; where the view has a mount
point in such a directory, we do look.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator

TYPES = ("fuse", "nfs", "cifs", "smb", "9p", "ceph", "afs", "virtiofs")
"""How the types of such file systems begin."""
BELIEVED = 1.0
SUSPECTED = 5.0
"""Seconds: how long the table of mounts is believed; for how long after a call that may change it, it is not at all."""


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
        self.deadline = self.suspicion = 0.0

    def look(self, points: Iterable[bytes]) -> None:
        """Before a walk. *points*: where the view has mounts."""
        now = time.monotonic()
        if now < self.deadline:
            return
        try:
            found = {point.rstrip(b"/") + b"/" for _, point in mounts()}
        except (OSError, ValueError):
            found = set()
        self.prefixes = tuple(prefix for prefix in found if not any(point.startswith(prefix) for point in points))
        self.deadline = now + BELIEVED if now > self.suspicion else 0.0

    def holds(self, path: bytes) -> bool:
        """Whether a host path lies in such a directory."""
        return path.startswith(self.prefixes)

    def suspect(self) -> None:
        """The host's table is about to change."""
        self.deadline, self.suspicion = 0.0, time.monotonic() + SUSPECTED
