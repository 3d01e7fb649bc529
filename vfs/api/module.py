"""Module: what is registered: it turns a source into a file system or a device.

A module has no state. Importing it must cost little: `probe` runs on every image that is opened, so the class lives in a
small file and imports its reader inside `mount`.
"""

from __future__ import annotations

import errno
from typing import Any, ClassVar, NamedTuple

from vfs.api.device import Device
from vfs.api.errors import fail, unsupported
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


class Format(NamedTuple):
    """A kind of image that a module creates: its *name* (`qcow2`) is no other module's, *endings* are those of file names that
    suggest it: lower case, with the dot."""

    name: str
    description: str
    endings: tuple[str, ...] = ()


ERROR, LEAK, WARNING = "error", "leak", "warning"
"""What a finding is: content may be wrong or lost; room is lost and nothing else; neither, but it should not be so."""


class Finding(NamedTuple):
    """One thing that `Module.check` has found. *kind* is `ERROR`, `LEAK` or `WARNING`, *sentence* names structure and number."""

    kind: str
    sentence: str


class Module:
    """The contract. Class attributes describe it; `probe` and `mount` do the work, `create` and `check` where there is such."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    description: ClassVar[str]
    options: ClassVar[type[Options]] = Options
    sourceless: ClassVar[bool] = False
    """Mounts nothing: what is named as its source is only shown, not opened (`nodev` in /proc/filesystems)."""
    container: ClassVar[bool] = False
    """Its device is one disk whose bytes lie otherwise in the source: a virtual disk. Who looks for content looks on that disk.
    (What is no container and mounts a device is a table of parts, and the whole is the source itself.)"""
    formats: ClassVar[tuple[Format, ...]] = ()
    """What `create` makes."""

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

    def create_options(self, format: str) -> type[Any]:
        """The options of creating one of `formats`: a dataclass of `option()` fields. A parent is one that `source_path` reads:
        `create` is given it opened, to be closed by the caller."""
        fail(errno.EINVAL, f"{self.name}: creates no images of format '{format}'")

    def create(self, storage: Storage, format: str, size: int | None, options: Any) -> None:
        """Make an empty image of *size* bytes, which reads as zeros (or as the parent that *options* name, whose size it has when
        *size* is `None`), in *storage*: an empty file, writable and resizable, which stays the caller's. More files that the
        format wants are made beside it. *options* is an instance of what `create_options` gives. EINVAL, EFBIG, ENOSPC."""
        fail(errno.EINVAL, f"{self.name}: creates no images")

    def check(self, source: Source, options: Any) -> list[Finding]:
        """What is wrong in *source*, which is only read and stays the caller's; *options* as for `mount`. A bounded list, with
        one last finding that counts the rest. EOPNOTSUPP: nothing of this kind can be checked; EUCLEAN, EINVAL: as `mount`."""
        raise unsupported(f"{self.name}: cannot be checked")
