"""The mount table of a view: what is mounted where, the latest on top.

Targets are canonical absolute paths in the view: no links, no `..`, no doubled slashes. A path may carry several mounts; the last
one shows. The table knows no names below its targets: `names` walks them.
"""

from __future__ import annotations

import errno
import itertools
import os
from typing import TYPE_CHECKING

from vfs.api import Filesystem, MountOptions, fail

if TYPE_CHECKING:
    from vfs.view.dentry import Dentry, Place

FIRST_MINOR = 1 << 19
"""st_dev of a mount is 0:minor, as the kernel numbers file systems without a device. The host's count up from small numbers."""

FIRST_ID = 1 << 20
"""Mount ids of the view in mountinfo, above all that the host gives."""

_serial = itertools.count()


class Mount:
    """One mount. *type* and *source* are shown as the user gave them; *above* is the directory that holds the mount point;
    *uses* is the mount that its source lies in, which must stay as long as this one."""

    __slots__ = ("above", "detached", "device", "filesystem", "id", "options", "root", "source", "target", "type", "uses")

    def __init__(
        self,
        filesystem: Filesystem,
        type: str,
        source: bytes,
        target: bytes,
        above: Place,
        options: MountOptions,
        uses: Mount | None,
    ) -> None:
        serial = next(_serial)
        self.id = FIRST_ID + serial
        self.device = os.makedev(0, FIRST_MINOR + serial)
        self.filesystem, self.type, self.source, self.target = filesystem, type, source, target
        self.above, self.options, self.uses = above, options, uses
        self.detached = False
        self.root: Dentry

    @property
    def inside(self) -> Mount | None:
        """The mount that holds the mount point, `None`: the host."""
        return None if isinstance(self.above, bytes) else self.above.mount

    def shown_options(self) -> str:
        """The options as /proc/mounts shows them."""
        words = ["ro" if self.filesystem.read_only else "rw"]
        words += [name for name in ("nosuid", "nodev", "noexec", "noatime") if getattr(self.options, name)]
        return ",".join(words)


class MountTable:
    """The mounts of one view, in the order they were made."""

    def __init__(self) -> None:
        self.mounts: list[Mount] = []
        self.on: dict[bytes, Mount] = {}
        """The latest mount on each target. `over` tells whether it is what shows."""
        self.private: dict[bytes, bytes] = {}
        """Directories of the host in whose place the view has its own."""
        self.points: set[bytes] = set()
        """Where the view differs from the host: the keys of both."""
        self.detached: list[Mount] = []
        """Taken out by `umount -l` while somebody used them."""
        self.idle = True
        """There was no mount yet: every call is the kernel's."""

    def replace(self, directory: bytes, private: bytes) -> None:
        """Show a directory of our own in place of one of the host."""
        self.private[directory] = private
        self.points.add(directory)

    def add(self, mount: Mount) -> None:
        self.mounts.append(mount)
        self.on[mount.target] = mount
        self.points.add(mount.target)
        self.idle = False

    def remove(self, mount: Mount, used: bool = False) -> None:
        """Take a mount out; what it covered shows again. *used*: it is detached. EINVAL: not in the table."""
        if mount not in self.mounts:
            fail(errno.EINVAL, "not mounted")
        self.mounts.remove(mount)
        mount.detached = True
        if used:
            self.detached.append(mount)
        self.on = {other.target: other for other in self.mounts}
        self.points = set(self.on) | set(self.private)

    def over(self, path: bytes, owner: Mount | None) -> Mount | None:
        """The mount that shows at *path* of *owner* (`None`: of the host)."""
        if path not in self.on:
            return None
        return next((m for m in reversed(self.mounts) if m.target == path and m.inside is owner), None)

    def owner(self, path: bytes) -> Mount | None:
        """Whose directory a canonical path leads to; `None`: the host's."""
        owner = self.over(b"/", None)
        at = path.find(b"/", 1)
        while at > 0:
            owner = self.over(path[:at], owner) or owner
            at = path.find(b"/", at + 1)
        return self.over(path, owner) or owner

    def dependents(self, mount: Mount) -> list[Mount]:
        """The mounts that lie on or below this one, or whose source lies in it."""
        below = mount.target.rstrip(b"/") + b"/"
        later = self.mounts[self.mounts.index(mount) + 1 :]
        return [m for m in later if m.uses is mount or m.target == mount.target or m.target.startswith(below)]

    def below(self, path: bytes) -> bool:
        """Whether a mount point lies on or below a host path."""
        prefix = path.rstrip(b"/") + b"/"
        return any(m.inside is None and (m.target == path or m.target.startswith(prefix)) for m in self.mounts)
