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

    __slots__ = ("above", "device", "filesystem", "id", "options", "root", "source", "target", "type", "uses")

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
        self.root: Dentry

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
        """The mount that shows at each target."""

    def add(self, mount: Mount) -> None:
        self.mounts.append(mount)
        self.on[mount.target] = mount

    def remove(self, mount: Mount) -> None:
        """Take a mount out; what it covered shows again. EINVAL: not in the table."""
        if mount not in self.mounts:
            fail(errno.EINVAL, "not mounted")
        self.mounts.remove(mount)
        self.on = {other.target: other for other in self.mounts}

    def dependents(self, mount: Mount) -> list[Mount]:
        """The mounts that lie on or below this one, or whose source lies in it."""
        below = mount.target.rstrip(b"/") + b"/"
        later = self.mounts[self.mounts.index(mount) + 1 :]
        return [m for m in later if m.uses is mount or m.target == mount.target or m.target.startswith(below)]
