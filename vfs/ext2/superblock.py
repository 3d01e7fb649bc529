"""The superblock: read it, check every number in it, derive the geometry. The checks follow Linux's `ext4_fill_super`.

What is wrong is named: EINVAL when this is no ext file system at all, EUCLEAN when a number contradicts another, EOPNOTSUPP for
a feature that we cannot read.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from vfs.api import Storage, damaged, fail, unsupported
from vfs.api.crc32c import crc32c
from vfs.ext2 import features, layout
from vfs.ext2.layout import Superblock

MAX_LOG_BLOCK_SIZE = 6
"""64 KiB."""
MAX_LOG_CLUSTER_SIZE = 20
"""1 GiB; as Linux, a cluster's blocks are counted in an int."""


@dataclass(slots=True)
class Geometry:
    """What the rest of the reader wants to know of the superblock. Sizes in bytes, `blocks_*` in file system blocks."""

    block_size: int
    cluster_size: int
    blocks_count: int
    first_data_block: int
    blocks_per_group: int
    groups_count: int
    inodes_count: int
    inodes_per_group: int
    inode_size: int
    inode_table_blocks: int  # a group's share
    first_ino: int
    desc_size: int
    superblock_block: int  # which block the superblock was read from: the descriptors follow it
    compat: int
    incompat: int
    ro_compat: int
    checksum_seed: int  # of metadata_csum: crc32c of the UUID

    @property
    def log_cluster_ratio(self) -> int:
        """Blocks in a cluster, as a power of 2."""
        return (self.cluster_size // self.block_size).bit_length() - 1


def read_superblock(storage: Storage, position: int | None) -> Superblock:
    """The superblock at *position* KiB (`sb=`), by default the first. EINVAL: not one."""
    offset = layout.SUPERBLOCK_OFFSET if position is None else position * 1024
    where = f"{storage.name}: no ext2 superblock" + (f" at {position} KiB" if position is not None else "")
    if offset + layout.SUPERBLOCK_SIZE > storage.size:
        fail(errno.EINVAL, f"{where}: only {storage.size} bytes")
    raw = storage.read(offset, layout.SUPERBLOCK_SIZE)
    superblock = Superblock.unpack(raw)
    if superblock.magic != layout.MAGIC:
        fail(errno.EINVAL, where)
    # Features first: what is unknown may have moved the rest.
    _check_features(superblock)
    if superblock.rev_level and superblock.feature_ro_compat & features.METADATA_CSUM:
        if superblock.checksum_type != layout.CHECKSUM_CRC32C:
            raise unsupported(f"superblock: checksum type {superblock.checksum_type}, known is 1 (crc32c)")
        computed = crc32c(0xFFFFFFFF, raw[:-4])
        if computed != superblock.checksum:
            raise damaged(f"superblock: checksum {superblock.checksum:#010x} is wrong, its content gives {computed:#010x}")
    return superblock


def _check_features(superblock: Superblock) -> None:
    if superblock.rev_level == 0:  # Has no feature words.
        return
    incompat = superblock.feature_incompat
    if incompat & features.JOURNAL_DEV:
        raise unsupported("this is an external journal, not a file system")
    unknown = incompat & ~features.INCOMPAT_READ
    if unknown:
        listed = features.names(unknown, features.INCOMPAT, "unknown incompatible feature")
        raise unsupported(f"feature that is not supported: {', '.join(listed)}")
    if incompat & features.CASEFOLD and superblock.encoding != layout.ENCODING_UTF8_12_1:
        raise unsupported(f"casefold with name encoding {superblock.encoding}, known is 1 (utf8-12.1)")


def derive(superblock: Superblock, position: int | None) -> Geometry:
    """The checked geometry. EUCLEAN, naming the field and its limit."""
    s = superblock
    if s.log_block_size > MAX_LOG_BLOCK_SIZE:
        raise damaged(f"superblock: log_block_size {s.log_block_size}, at most {MAX_LOG_BLOCK_SIZE}")
    block_size = 1024 << s.log_block_size
    dynamic = s.rev_level > 0
    compat = s.feature_compat if dynamic else 0
    incompat = s.feature_incompat if dynamic else 0
    ro_compat = s.feature_ro_compat if dynamic else 0

    inode_size = s.inode_size if dynamic else layout.OLD_INODE_SIZE
    if inode_size < layout.OLD_INODE_SIZE or inode_size > block_size or inode_size & inode_size - 1:
        raise damaged(f"superblock: inode_size {inode_size}, not a power of 2 from 128 to the block size {block_size}")
    first_ino = s.first_ino if dynamic else layout.OLD_FIRST_INO
    if first_ino < layout.OLD_FIRST_INO:
        raise damaged(f"superblock: first_ino {first_ino}, at least {layout.OLD_FIRST_INO}")
    desc_size = 32
    if incompat & features.BIT64:
        desc_size = s.desc_size
        if not 64 <= desc_size <= 1024 or desc_size & desc_size - 1:
            raise damaged(f"superblock: desc_size {desc_size}, not a power of 2 from 64 to 1024")

    cluster_size = _cluster_size(s, block_size, ro_compat)
    if not 0 < s.inodes_per_group <= block_size * 8 or s.inodes_per_group < block_size // inode_size:
        raise damaged(f"superblock: inodes_per_group {s.inodes_per_group}, at least a block of them, at most {block_size * 8}")
    wide = incompat & features.BIT64
    blocks_count = s.blocks_count_lo | (s.blocks_count_hi << 32 if wide else 0)
    if s.first_data_block >= blocks_count:
        raise damaged(f"superblock: first_data_block {s.first_data_block} is not below blocks_count {blocks_count}")
    if s.first_data_block != (1 if cluster_size == 1024 else 0):
        raise damaged(f"superblock: first_data_block {s.first_data_block} with blocks of {block_size} bytes")
    if blocks_count > 1 << 48:
        raise damaged(f"superblock: blocks_count {blocks_count}, at most 2^48")
    groups_count = -(-(blocks_count - s.first_data_block) // s.blocks_per_group)
    if groups_count > 0xFFFFFFFF:
        raise damaged(f"superblock: {groups_count} groups, at most 2^32 - 1")
    if groups_count * s.inodes_per_group != s.inodes_count:
        raise damaged(
            f"superblock: inodes_count {s.inodes_count} is not that of {groups_count} groups of {s.inodes_per_group} inodes"
        )
    if incompat & features.META_BG and s.first_meta_bg > -(-groups_count // (block_size // desc_size)):
        raise damaged(f"superblock: first_meta_bg {s.first_meta_bg} is beyond the descriptors of {groups_count} groups")
    if incompat & features.CSUM_SEED:
        seed = s.checksum_seed
    else:
        seed = crc32c(0xFFFFFFFF, s.uuid) if ro_compat & features.METADATA_CSUM else 0
    return Geometry(
        block_size=block_size,
        cluster_size=cluster_size,
        blocks_count=blocks_count,
        first_data_block=s.first_data_block,
        blocks_per_group=s.blocks_per_group,
        groups_count=groups_count,
        inodes_count=s.inodes_count,
        inodes_per_group=s.inodes_per_group,
        inode_size=inode_size,
        inode_table_blocks=-(-s.inodes_per_group * inode_size // block_size),
        first_ino=first_ino,
        desc_size=desc_size,
        superblock_block=(1024 if position is None else position * 1024) // block_size,
        compat=compat,
        incompat=incompat,
        ro_compat=ro_compat,
        checksum_seed=seed,
    )


def _cluster_size(s: Superblock, block_size: int, ro_compat: int) -> int:
    """The cluster size in bytes; checks blocks and clusters of a group against each other."""
    if not ro_compat & features.BIGALLOC:
        if not 0 < s.blocks_per_group <= block_size * 8:
            raise damaged(f"superblock: blocks_per_group {s.blocks_per_group}, from 1 to {block_size * 8}")
        return block_size
    if not s.log_block_size <= s.log_cluster_size <= MAX_LOG_CLUSTER_SIZE:
        raise damaged(f"superblock: log_cluster_size {s.log_cluster_size}, from {s.log_block_size} to {MAX_LOG_CLUSTER_SIZE}")
    if not 0 < s.clusters_per_group <= block_size * 8:
        raise damaged(f"superblock: clusters_per_group {s.clusters_per_group}, from 1 to {block_size * 8}")
    ratio = 1 << s.log_cluster_size - s.log_block_size
    if s.blocks_per_group != s.clusters_per_group * ratio:
        raise damaged(
            f"superblock: blocks_per_group {s.blocks_per_group} is not clusters_per_group {s.clusters_per_group} times {ratio}"
        )
    return 1024 << s.log_cluster_size
