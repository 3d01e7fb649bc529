"""The module that the registry knows."""

from __future__ import annotations

import errno
from typing import ClassVar

from vfs.api import Device, Module, Options, Source, fail


class NullModule(Module):
    """A null device that logs."""

    name: ClassVar[str] = "null"
    description: ClassVar[str] = "a null device that logs each request"
    sourceless: ClassVar[bool] = True

    def mount(self, source: Source, options: Options) -> Device:
        if source is not None:
            fail(errno.EINVAL, "null: has no source; say none")
        from vfs.null.device import NullDevice

        return NullDevice(read_only=options.ro)
