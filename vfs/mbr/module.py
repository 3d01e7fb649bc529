"""The module that the registry knows: recognise a partition table and mount the disk. Imports its reader only to look closer."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import ClassVar

from vfs.api import CERTAIN, LIKELY, NO, POSSIBLE, Device, Module, Options, Source, Storage, fail, option
from vfs.api.module import Finding
from vfs.api.options import number


def sector_size(text: str) -> int:
    """Bytes: a power of two from 512 to 4096."""
    found = number(text)
    if found not in (512, 1024, 2048, 4096):
        raise ValueError("wants 512, 1024, 2048 or 4096")
    return found


@dataclass
class MbrOptions(Options):
    """Options of an mbr mount."""

    sector_size: int | None = option(sector_size, "bytes of a logical sector, where the image does not tell (512)")


class MbrModule(Module):
    """Disks with an MBR or a GPT."""

    name: ClassVar[str] = "mbr"
    description: ClassVar[str] = "disks with a partition table: MBR, GPT"
    options: ClassVar[type[Options]] = MbrOptions

    def probe(self, source: Source) -> int:
        if not isinstance(source, Storage) or source.size < 1024:
            return NO
        try:
            if source.read(510, 2) != b"\x55\xaa":
                return NO
            from vfs.mbr.signs import is_disc
            from vfs.mbr.table import read_table

            table = read_table(source)
            # A file system that the same bytes hold as well is what is meant: a disc that also boots from a disk, a stick
            # whose boot sector names itself as its partition.
            if table.kind and (table.boot_sector or is_disc(source)):
                return POSSIBLE
        except OSError:
            return NO
        if table.kind == "gpt":
            return CERTAIN
        if not table.kind:
            return NO
        inside = [row for row in table.rows if row.start < source.size]
        return LIKELY if inside else POSSIBLE

    def mount(self, source: Source, options: MbrOptions) -> Device:
        if not isinstance(source, Storage):
            fail(errno.EINVAL, "mbr: wants an image file or a block device")
        if (options.rw or options.rw_plus) and source.read_only:
            fail(errno.EROFS, f"{source.name}: can only be read")
        from vfs.mbr.device import PartitionedDisk

        return PartitionedDisk(source, options.sector_size, options.ro)

    def check(self, source: Source, options: MbrOptions) -> list[Finding]:
        if not isinstance(source, Storage):
            fail(errno.EINVAL, "mbr: wants an image file or a block device")
        from vfs.mbr.check import check

        return check(source, options.sector_size)
