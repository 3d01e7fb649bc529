"""The module that the registry knows: recognise an image and mount it. Imports its reader only to mount."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import ClassVar

from vfs.api import CERTAIN, LIKELY, NO, Filesystem, Module, Options, Source, Storage, fail, option
from vfs.api.options import flag, number


@dataclass
class ExtOptions(Options):
    """Options of an ext2 mount."""

    sb: int | None = option(number, "position of the superblock to use, in units of 1 KiB, as mount(8) counts")
    noload: bool = option(flag, "do not show what the journal holds")
    norecovery: bool = option(flag, "the same as noload")


class Ext2Module(Module):
    """ext2, ext3 and ext4 images."""

    name: ClassVar[str] = "ext2"
    aliases: ClassVar[tuple[str, ...]] = ("ext3", "ext4")
    description: ClassVar[str] = "ext2, ext3 and ext4 file systems (read-only)"
    options: ClassVar[type[Options]] = ExtOptions

    def probe(self, source: Source) -> int:
        if not isinstance(source, Storage) or source.size < 2048:
            return NO
        try:
            head = source.read(1024, 96)
        except OSError:
            return NO
        # s_magic, then s_log_block_size and s_rev_level as they can only be.
        if head[0x38:0x3A] != b"\x53\xef":
            return NO
        sane = head[0x18] <= 6 and head[0x19:0x1C] == bytes(3) and head[0x4C:0x50] in (bytes(4), b"\1\0\0\0")
        return CERTAIN if sane else LIKELY

    def mount(self, source: Source, options: ExtOptions) -> Filesystem:
        if options.rw:
            fail(errno.EROFS, "ext2: rw is too easily said; writing is asked for as rw+")
        if options.rw_plus:
            fail(errno.EROFS, "ext2: this version only reads; mount it with ro")
        if not isinstance(source, Storage):
            fail(errno.EINVAL, "ext2: wants an image file or a block device")
        from vfs.ext2.volume import Ext2Filesystem

        return Ext2Filesystem(source, options.sb, load=not (options.noload or options.norecovery))
