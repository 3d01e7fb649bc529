"""The feature bits of the superblock, by the names that mke2fs and dumpe2fs use.

`super.rst`, "super_compat", "super_incompat", "super_rocompat". *Incompatible* bits that are not here refuse the mount, as in
Linux; the other two kinds do not matter to a reader.
"""

from __future__ import annotations

HAS_JOURNAL = 0x4
DIR_INDEX = 0x20
SPARSE_SUPER2 = 0x200
FAST_COMMIT = 0x400
ORPHAN_FILE = 0x1000

COMPAT = {
    0x1: "dir_prealloc",
    0x2: "imagic_inodes",
    HAS_JOURNAL: "has_journal",
    0x8: "ext_attr",
    0x10: "resize_inode",
    DIR_INDEX: "dir_index",
    0x40: "lazy_bg",
    0x80: "snapshot_exclude_inode",
    0x100: "snapshot_exclude_bitmap",
    SPARSE_SUPER2: "sparse_super2",
    FAST_COMMIT: "fast_commit",
    0x800: "stable_inodes",
    ORPHAN_FILE: "orphan_file",
}

COMPRESSION = 0x1
FILETYPE = 0x2
RECOVER = 0x4
JOURNAL_DEV = 0x8
META_BG = 0x10
EXTENTS = 0x40
BIT64 = 0x80
MMP = 0x100
FLEX_BG = 0x200
EA_INODE = 0x400
CSUM_SEED = 0x2000
LARGE_DIR = 0x4000
INLINE_DATA = 0x8000
ENCRYPT = 0x10000
CASEFOLD = 0x20000

INCOMPAT = {
    COMPRESSION: "compression",
    FILETYPE: "filetype",
    RECOVER: "needs_recovery",
    JOURNAL_DEV: "journal_dev",
    META_BG: "meta_bg",
    EXTENTS: "extent",
    BIT64: "64bit",
    MMP: "mmp",
    FLEX_BG: "flex_bg",
    EA_INODE: "ea_inode",
    0x1000: "dirdata",
    CSUM_SEED: "metadata_csum_seed",
    LARGE_DIR: "large_dir",
    INLINE_DATA: "inline_data",
    ENCRYPT: "encrypt",
    CASEFOLD: "casefold",
}

INCOMPAT_READ = (
    FILETYPE
    | RECOVER
    | META_BG
    | EXTENTS
    | BIT64
    | MMP
    | FLEX_BG
    | EA_INODE
    | CSUM_SEED
    | LARGE_DIR
    | INLINE_DATA
    | ENCRYPT
    | CASEFOLD
)

SPARSE_SUPER = 0x1
HUGE_FILE = 0x8
GDT_CSUM = 0x10
BIGALLOC = 0x200
METADATA_CSUM = 0x400
SHARED_BLOCKS = 0x4000

RO_COMPAT = {
    SPARSE_SUPER: "sparse_super",
    0x2: "large_file",
    0x4: "btree_dir",
    HUGE_FILE: "huge_file",
    GDT_CSUM: "uninit_bg",
    0x20: "dir_nlink",
    0x40: "extra_isize",
    0x80: "has_snapshot",
    0x100: "quota",
    BIGALLOC: "bigalloc",
    METADATA_CSUM: "metadata_csum",
    0x800: "replica",
    0x1000: "read-only",
    0x2000: "project",
    SHARED_BLOCKS: "shared_blocks",
    0x8000: "verity",
    0x10000: "orphan_present",
}


# What ext2 and ext3 had: sparse_super, large_file, btree_dir.
RO_COMPAT_OLD = 0x7


def names(bits: int, table: dict[int, str], unknown: str) -> list[str]:
    """The names of the bits that are set, lowest first; one without a name is *unknown* and its number."""
    singles = [1 << bit for bit in range(32) if bits >> bit & 1]
    return [table.get(bit) or f"{unknown} {bit:#x}" for bit in singles]
