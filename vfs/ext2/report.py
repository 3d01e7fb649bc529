"""What a person and statfs(2) are told of a volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfs.api import StatFs
from vfs.ext2 import layout

if TYPE_CHECKING:
    from vfs.ext2.volume import Ext2Filesystem


def statfs(filesystem: Ext2Filesystem) -> StatFs:
    s = filesystem.superblock
    free = s.free_blocks_lo
    return StatFs(layout.MAGIC, filesystem.block_size, filesystem.blocks_count, free, free, s.inodes_count, s.free_inodes)


def details(filesystem: Ext2Filesystem) -> dict[str, str | int]:
    s, geometry = filesystem.superblock, filesystem.geometry
    return {"label": s.volume_name.rstrip(b"\0").decode("utf-8", "replace")}
