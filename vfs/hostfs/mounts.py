"""Mounts below the directory that are not entered.

A FUSE mount that comes after ours may be served by this very process: `vfs mount -t hostfs / /mnt` shows /mnt in /mnt. To
ask it anything would be to wait for ourselves. So FUSE mounts made later than this one are refused (EDEADLK). The kernel tells
through poll(2) that the table of mounts has changed (proc_pid_mountinfo(5)); it is asked at most every 10 ms, and at the first
call.
"""

from __future__ import annotations

import os
import re
import select
import threading
from time import monotonic_ns
from typing import Final

TABLE: Final = "/proc/self/mountinfo"
INTERVAL: Final = 10_000_000
"""Nanoseconds."""


class LaterMounts:
    """The FUSE mounts made below the directory open at *root* since this object was made."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._asked = 0
        self._asking = threading.Lock()
        self.refused: frozenset[bytes] = frozenset()
        """Paths from the root, with a leading `/`."""
        try:
            self._table = os.open(TABLE, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # no /proc: nothing can be known
            self._table = -1
            return
        self._poll = select.poll()
        self._poll.register(self._table, select.POLLPRI)
        self._before = set(self._read())
        self._poll.poll(0)

    def look(self) -> frozenset[bytes]:
        """The paths, as they are now."""
        now = monotonic_ns()
        # A poll object is for one thread at a time: whoever comes while another asks, goes by what is known.
        if now - self._asked > INTERVAL and self._table >= 0 and self._asking.acquire(blocking=False):
            try:
                self._asked = now
                if self._poll.poll(0):
                    self._refresh()
            finally:
                self._asking.release()
        return self.refused

    def _refresh(self) -> None:
        mounts = self._read()
        root = os.readlink(b"/proc/self/fd/%d" % self._root).rstrip(b"/")
        self.refused = frozenset(
            path[len(root) :]
            for (number, path), kind in mounts.items()
            if (number, path) not in self._before and kind.startswith(b"fuse") and path.startswith(root + b"/")
        )

    def _read(self) -> dict[tuple[bytes, bytes], bytes]:
        """The table now: (mount id, mount point) -> type."""
        found = {}
        with open(TABLE, "rb") as table:  # another open file: several threads may be here
            for line in table:
                fields, _, rest = line.partition(b" - ")
                number, _, _, _, path, *_ = fields.split()
                path = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), path)
                found[number, path] = rest.split()[0]
        return found

    def close(self) -> None:
        """Idempotent."""
        table, self._table = self._table, -1
        if table >= 0:
            os.close(table)
