"""The module that the registry knows: an empty disk from options alone."""

from __future__ import annotations

import errno
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

from vfs.api import Device, Module, Options, Source, fail, option, registry
from vfs.api.options import flag, number
from vfs.api.options import size as number_of_bytes

SIZE = 16 << 20
"""Where nothing is said."""


def sector_size(text: str) -> int:
    """Bytes of a sector, as disks have them."""
    found = number(text)
    if found not in (512, 4096):
        raise ValueError("wants 512 or 4096")
    return found


@dataclass
class RamdiskOptions(Options):
    """Options of a ramdisk mount."""

    size: int | None = option(number_of_bytes, "bytes (K, M, G, T) of the disk, whole sectors (16M)")
    mbr: bool = option(flag, "the disk has partitions, once a table is written to it")
    sector_size: int | None = option(sector_size, "bytes of a sector: 512 or 4096 (512)")


class RamdiskModule(Module):
    """A disk in memory."""

    name: ClassVar[str] = "ramdisk"
    description: ClassVar[str] = "an empty disk in memory"
    options: ClassVar[type[Options]] = RamdiskOptions
    sourceless: ClassVar[bool] = True

    def mount(self, source: Source, options: RamdiskOptions) -> Device:
        if source is not None:
            fail(errno.EINVAL, "ramdisk: has no source; say none")
        from vfs.ramdisk.device import Ramdisk
        from vfs.ramdisk.storage import Memory

        size = SIZE if options.size is None else options.size
        with ExitStack() as undo:
            memory = undo.enter_context(Memory(size, options.sector_size or 512, options.ro))
            disk: Device
            if options.mbr:
                table = registry.find("mbr")
                mounted = table.mount(memory, table.options())
                assert isinstance(mounted, Device)
                disk = mounted
                disk.type = self.name
            else:
                disk = Ramdisk(memory)
            undo.pop_all()
            return disk
