"""The module that the registry knows: a directory of the host as it is."""

from __future__ import annotations

import errno
from typing import ClassVar

from vfs.api import LIKELY, NO, Filesystem, HostDirectory, Module, Options, Source, fail


class HostModule(Module):
    """A directory of the host."""

    name: ClassVar[str] = "hostfs"
    description: ClassVar[str] = "a directory of the host"

    def probe(self, source: Source) -> int:
        return LIKELY if isinstance(source, HostDirectory) else NO

    def mount(self, source: Source, options: Options) -> Filesystem:
        if not isinstance(source, HostDirectory):
            fail(errno.EINVAL, "hostfs: wants a directory of the host")
        from vfs.hostfs.filesystem import HostFilesystem

        return HostFilesystem(source, options.ro)
