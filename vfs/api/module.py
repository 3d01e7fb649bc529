"""Module: what is registered: it turns a source into a file system or a device.

A module has no state. Importing it must cost little: `probe` runs on every image that is opened, so the class lives in a
small file and imports its reader inside `mount`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from vfs.api.device import Device
from vfs.api.errors import unsupported
from vfs.api.filesystem import Filesystem
from vfs.api.node import Node
from vfs.api.options import Options
from vfs.api.storage import HostDirectory, Storage

Source = Storage | Node | HostDirectory | None
"""What a module mounts: bytes, a directory of a mounted file system, one of the host, or nothing (`ramfs`).

Only a module that shows host directories takes one as it is. To all others a host directory comes as a `Node`, the root of
what that module makes of it (`vfs.api.stack.fit`)."""

CERTAIN, LIKELY, POSSIBLE, NO = 100, 60, 20, 0
"""Confidence of `Module.probe`: a checked structure, a magic number, a weak hint."""


class Module:
    """The contract. Class attributes describe it; the two methods do the work."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    description: ClassVar[str]
    options: ClassVar[type[Options]] = Options
    sourceless: ClassVar[bool] = False
    """Mounts nothing: what is named as its source is only shown, not opened (`nodev` in /proc/filesystems)."""

    def probe(self, source: Source) -> int:
        """How surely *source* is of this format, `NO` to `CERTAIN`. Reads a few sectors at most; never raises for what it
        finds there."""
        return NO

    def mount(self, source: Source, options: Any) -> Filesystem | Device:
        """The file system or device in *source*, which then belongs to it: its `close` closes the source. When the call fails the
        source stays the caller's. *options* is an instance of `self.options`.

        EUCLEAN: damaged; EOPNOTSUPP: a feature that we lack, named; EINVAL: not this format at all, or an option's value;
        EROFS: writing asked of what can only be read."""
        raise unsupported(f"{self.name}: cannot be mounted")
