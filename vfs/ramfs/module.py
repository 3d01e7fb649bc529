"""The module that the registry knows: an empty file system from options alone."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from typing import ClassVar

from vfs.api import Filesystem, Module, Options, Source, fail, option
from vfs.api.options import number, octal
from vfs.api.options import size as number_of_bytes

PAGE = 4096


def memory_pages() -> int:
    """The pages of this machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // PAGE


def pages(text: str) -> int:
    """A size in bytes (K, M, G, T) or in per cent of the memory, in pages, rounded up. 0: no limit."""
    share = re.fullmatch(r"([0-9]+)%", text)
    if share:
        return memory_pages() * int(share[1]) // 100
    return -(-number_of_bytes(text) // PAGE)


@dataclass
class RamOptions(Options):
    """Options of a ramfs mount, those of tmpfs."""

    size: int | None = option(
        pages, "what content may occupy: bytes (K, M, G, T) or N% of the memory; 0: no limit (half of the memory)"
    )
    nr_blocks: int | None = option(number_of_bytes, "the same as size, in pages of 4 KiB")
    nr_inodes: int | None = option(
        number_of_bytes, "how many inodes there may be (K, M, G, T); 0: no limit (one for each 8 KiB of memory)"
    )
    mode: int | None = option(octal, "permission bits of the root (1777)")
    uid: int | None = option(number, "owner of the root (who mounts)")
    gid: int | None = option(number, "group of the root (who mounts)")


class RamModule(Module):
    """A file system in memory."""

    name: ClassVar[str] = "ramfs"
    description: ClassVar[str] = "an empty file system in memory"
    options: ClassVar[type[Options]] = RamOptions
    sourceless: ClassVar[bool] = True

    def mount(self, source: Source, options: RamOptions) -> Filesystem:
        if source is not None:
            fail(errno.EINVAL, "ramfs: has no source; say none")
        from vfs.ramfs.filesystem import RamFilesystem

        limit = options.size if options.size is not None else options.nr_blocks
        return RamFilesystem(
            pages=memory_pages() // 2 if limit is None else limit,
            inodes=memory_pages() // 2 if options.nr_inodes is None else options.nr_inodes,
            mode=0o1777 if options.mode is None else options.mode & 0o7777,
            uid=os.geteuid() if options.uid is None else options.uid,
            gid=os.getegid() if options.gid is None else options.gid,
            read_only=options.ro,
        )
