"""What a person (`vfs info`) and statfs(2) are told of a volume."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vfs.api import StatFs
from vfs.ext2 import features, layout
from vfs.ext2.layout import GroupDescriptor, GroupDescriptorHigh

if TYPE_CHECKING:
    from vfs.ext2.volume import Ext2Filesystem

RESERVED_CLUSTERS = 4096
"""Linux keeps the smaller of this and a 50th for extents that must be split."""


def statfs(filesystem: Ext2Filesystem) -> StatFs:
    """As `ext4_statfs`: free counts are summed over the groups (those in the superblock are of the last unmount), and what the
    file system itself occupies is not shown."""
    s, geometry = filesystem.superblock, filesystem.geometry
    shift = geometry.log_cluster_ratio
    free_clusters, free_inodes = _free(filesystem)
    free = free_clusters << shift
    reserved = s.reserved_blocks_lo | (s.reserved_blocks_hi << 32 if geometry.incompat & features.BIT64 else 0)
    if geometry.incompat & features.EXTENTS:
        reserved += min((geometry.blocks_count >> shift) // 50, RESERVED_CLUSTERS) << shift
    return StatFs(
        type=layout.MAGIC,
        block_size=geometry.block_size,
        blocks=max(0, geometry.blocks_count - (_overhead(filesystem) << shift)),
        free=free,
        available=max(0, free - reserved),
        files=geometry.inodes_count,
        files_free=free_inodes,
        name_max=layout.NAME_MAX,
        identity=int.from_bytes(s.uuid[:8], "little") ^ int.from_bytes(s.uuid[8:], "little"),
    )


def _free(filesystem: Ext2Filesystem) -> tuple[int, int]:
    """Free clusters and inodes, summed over the groups; where descriptors are cut off, as the superblock says."""
    try:
        return _sum(filesystem)
    except OSError:
        s = filesystem.superblock
        high = s.free_blocks_hi << 32 if filesystem.geometry.incompat & features.BIT64 else 0
        return (s.free_blocks_lo | high) >> filesystem.geometry.log_cluster_ratio, s.free_inodes


def _sum(filesystem: Ext2Filesystem) -> tuple[int, int]:
    geometry = filesystem.geometry
    size = geometry.desc_size
    low = GroupDescriptor.pick("free_blocks_lo", "free_inodes_lo")
    high = GroupDescriptorHigh.pick("free_blocks_hi", "free_inodes_hi")
    clusters = inodes = 0
    group = 0
    while group < geometry.groups_count:
        raw, offset = filesystem.descriptor(group)
        while offset + size <= len(raw) and group < geometry.groups_count:
            free, free_inodes = low.unpack_from(raw, offset)
            if size >= 64:
                free_hi, inodes_hi = high.unpack_from(raw, offset)
                free |= free_hi << 16
                free_inodes |= inodes_hi << 16
            clusters += free
            inodes += free_inodes
            offset += size
            group += 1
    return clusters, inodes


def _overhead(filesystem: Ext2Filesystem) -> int:
    """Clusters that the file system itself occupies: `ext4_calculate_overhead`."""
    s, geometry = filesystem.superblock, filesystem.geometry
    shift = geometry.log_cluster_ratio
    if shift and 0 < s.overhead_clusters <= geometry.blocks_count:
        return s.overhead_clusters
    per_group = geometry.inode_table_blocks + 2  # and the two bitmaps
    overhead = geometry.first_data_block + per_group * geometry.groups_count
    copies = _groups_with_superblock(filesystem)
    descriptor_blocks = -(-geometry.groups_count // (geometry.block_size // geometry.desc_size))
    meta = min(s.first_meta_bg, descriptor_blocks) if geometry.incompat & features.META_BG else descriptor_blocks
    # Before the meta groups begin every copy of the superblock has all descriptors behind it, and room for more.
    overhead += copies * (1 + meta + s.reserved_gdt_blocks)
    # Each meta group has its one block of descriptors three times: in its first, second and last group.
    if meta < descriptor_blocks:
        per_block = geometry.block_size // geometry.desc_size
        first = (descriptor_blocks - 1) * per_block
        last = {group for group in (first, first + 1, first + per_block - 1) if group < geometry.groups_count}
        overhead += 3 * (descriptor_blocks - 1 - meta) + len(last)
    overhead >>= shift
    journal = s.journal_inum if geometry.compat & features.HAS_JOURNAL else 0
    if journal:
        try:
            overhead += -(-filesystem.inode(journal).size // geometry.cluster_size)
        except OSError:  # A damaged journal that is not needed.
            pass
    return overhead


def _groups_with_superblock(filesystem: Ext2Filesystem) -> int:
    """How many groups begin with a copy of the superblock."""
    geometry = filesystem.geometry
    count = geometry.groups_count
    if geometry.compat & features.SPARSE_SUPER2:
        return 1 + len({group for group in filesystem.superblock.backup_bgs if 0 < group < count})
    if not geometry.ro_compat & features.SPARSE_SUPER:
        return count
    powers = {base**exponent for base in (3, 5, 7) for exponent in range(21)}
    return 1 + len([group for group in powers if group < count])


def details(filesystem: Ext2Filesystem) -> dict[str, str | int]:
    """Facts for a person, in the order to show them."""
    s, geometry = filesystem.superblock, filesystem.geometry
    compat = features.names(geometry.compat, features.COMPAT, "compatible")
    incompat = features.names(geometry.incompat, features.INCOMPAT, "incompatible")
    ro_compat = features.names(geometry.ro_compat, features.RO_COMPAT, "read-only compatible")
    told = statfs(filesystem)
    found: dict[str, str | int] = {
        "type": version(filesystem),
        "label": _text(s.volume_name),
        "uuid": layout.uuid_text(s.uuid),
        "state": _state(filesystem),
        "features": " ".join(compat + incompat + ro_compat),
        "block size": geometry.block_size,
        "blocks": geometry.blocks_count,
        "free blocks": told.free,
        "inode size": geometry.inode_size,
        "inodes": geometry.inodes_count,
        "free inodes": told.files_free,
        "groups": geometry.groups_count,
    }
    if geometry.cluster_size != geometry.block_size:
        found["cluster size"] = geometry.cluster_size
    for name, seconds in (
        ("created", s.made_time | s.made_time_hi << 32),
        ("last mounted", s.mounted_time | s.mounted_time_hi << 32),
        ("last written", s.written_time | s.written_time_hi << 32),
    ):
        if seconds:
            found[name] = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
    where = _text(s.last_mounted)
    if where:
        found["last mounted on"] = where
    return found


def version(filesystem: Ext2Filesystem) -> str:
    """`ext2`, `ext3` or `ext4`, by the features: as blkid(8) tells them apart."""
    geometry = filesystem.geometry
    old_incompat = features.FILETYPE | features.RECOVER | features.META_BG
    if geometry.incompat & ~old_incompat or geometry.ro_compat & ~features.RO_COMPAT_OLD:
        return "ext4"
    return "ext3" if geometry.compat & features.HAS_JOURNAL else "ext2"


def _state(filesystem: Ext2Filesystem) -> str:
    """Whether it was unmounted, and what of it cannot be seen."""
    s, geometry = filesystem.superblock, filesystem.geometry
    said = []
    if geometry.incompat & features.RECOVER and not filesystem.loaded:
        said.append("not unmounted; what the journal holds is not shown")
    elif geometry.incompat & features.RECOVER:
        overlay = filesystem.overlay
        fast = filesystem.fast_commits.count if filesystem.fast_commits else 0
        said.append(f"not unmounted; shown with {overlay.transactions} transactions and {fast} fast commits of its journal")
    elif s.state & layout.STATE_CLEAN:
        said.append("clean")
    else:
        said.append("not unmounted")
    if s.state & layout.STATE_ERRORS:
        said.append("errors were found in it")
    there = filesystem.storage.size // geometry.block_size
    if there < geometry.blocks_count:
        said.append(f"cut off: {there} of {geometry.blocks_count} blocks are in the image")
    return "; ".join(said)


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("utf-8", "backslashreplace")
