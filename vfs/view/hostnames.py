"""Host names: those of the host that are known to meet no mount. Most calls are about such, and this says so in a microsecond."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic

from vfs.view.afar import Afar
from vfs.view.mounts import MountTable
from vfs.view.tasks import LIFETIME

NO_ENTRIES = frozenset((b"", b".", b".."))
"""What may stand behind a directory's last slash and is not the name of an entry."""


class HostNames:
    """Names of the host that were walked and met no mount.

    *directories*: strings of directories, with the names in them of which more must be known (mount points, `.` and `..`);
    *finals*: whole names whose last component is no link, or one that leads to no mount. The outside may change both, so an entry
    is believed for `LIFETIME` seconds; the view's own renames, links and mounts drop all.
    """

    LIMIT = 4096

    def __init__(self, mounts: MountTable) -> None:
        self.mounts = mounts
        self.directories: dict[bytes, tuple[float, frozenset[bytes]]] = {}
        self.finals: dict[bytes, float] = {}
        self.afar = Afar()
        self.learned: Callable[[bytes, list[bytes]], None] = lambda directory, excepted: None
        """Told of each directory, and of the names in it that are mount points."""
        self.learned_link: Callable[[bytes], None] = lambda path: None
        """Told of each name that was walked to its end, where it may be a link."""
        self.forgotten: Callable[[], None] = lambda: None
        """Told when nothing of that holds any more."""

    def learn_directory(self, directory: bytes, canonical: bytes) -> None:
        if len(self.directories) >= self.LIMIT:
            self.directories.clear()
        within = canonical.rstrip(b"/") + b"/"
        below = [point[len(within) :] for point in self.mounts.points if point.startswith(within)]
        points = [name for name in below if b"/" not in name]
        self.directories[directory] = monotonic() + LIFETIME, NO_ENTRIES.union(points)
        if not self.is_special(canonical):
            self.learned(directory, points)

    def is_special(self, canonical: bytes) -> bool:
        """A directory to which the view adds names is opened by us; so are nodes that may have a device's numbers."""
        return bool(self.mounts.devices) and (canonical in self.mounts.added or (canonical + b"/").startswith(b"/dev/"))

    def learn_final(self, path: bytes, place: bytes | None = None) -> None:
        """*place*: where it leads, if it was walked to its end."""
        if len(self.finals) >= self.LIMIT:
            self.finals.clear()
        self.finals[path] = monotonic() + LIFETIME
        if place is not None and not self.is_special(place) and not self.is_special(place.rpartition(b"/")[0]):
            self.learned_link(path)

    def forget(self) -> None:
        self.directories.clear()
        self.finals.clear()
        self.afar.forget()
        self.forgotten()

    def far(self, path: bytes, follow: bool) -> bool:
        """Whether this absolute name certainly stays on the host. `False` means: walk it."""
        directory, _, name = path.rpartition(b"/")
        entry = self.directories.get(directory)
        if entry is None:
            return False
        deadline, excepted = entry
        now = monotonic()
        if now > deadline:
            del self.directories[directory]
            return False
        if name in excepted:
            return False
        if follow and self.finals.get(path, 0.0) < now:
            try:
                os.readlink(path)
                return False
            except OSError:  # EINVAL: no link. ENOENT and the rest: the kernel will say so
                self.learn_final(path)
        return True
