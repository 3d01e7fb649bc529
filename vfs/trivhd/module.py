"""The module that the registry knows."""

from __future__ import annotations

import errno
from typing import ClassVar

from vfs.api import Device, Module, Options, Source, fail


class TrivhdModule(Module):
    """A character device with content."""

    name: ClassVar[str] = "trivhd"
    description: ClassVar[str] = "a character device with 64 KiB of content"
    sourceless: ClassVar[bool] = True

    def mount(self, source: Source, options: Options) -> Device:
        if source is not None:
            fail(errno.EINVAL, "trivhd: has no source; say none")
        from vfs.trivhd.device import Trivhd

        return Trivhd(read_only=options.ro)
