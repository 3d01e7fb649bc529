"""The structures on disk: `vfs.ext2.layout` against a second declaration in construct, against dumpe2fs, and its sizes.

The declarations here are written from the kernel's documentation on their own, in disk order with paddings, so that a wrong
offset on either side shows.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess

import construct
import pytest
from construct import Array, Bytes, Const, Int8ul, Int16ub, Int16ul, Int32sb, Int32sl, Int32ub, Int32ul, Int64ub, Padding

from fixtures.anatomy import Anatomy
from fixtures.ext import image
from vfs.ext2 import journal_layout, layout
from vfs.ext2.layout import Structure

SUPERBLOCK = construct.Struct(
    "inodes_count" / Int32ul,
    "blocks_count_lo" / Int32ul,
    "reserved_blocks_lo" / Int32ul,
    "free_blocks_lo" / Int32ul,
    "free_inodes" / Int32ul,
    "first_data_block" / Int32ul,
    "log_block_size" / Int32ul,
    "log_cluster_size" / Int32ul,
    "blocks_per_group" / Int32ul,
    "clusters_per_group" / Int32ul,
    "inodes_per_group" / Int32ul,
    "mounted_time" / Int32ul,
    "written_time" / Int32ul,
    "mount_count" / Int16ul,
    "max_mount_count" / Int16ul,
    "magic" / Const(0xEF53, Int16ul),
    "state" / Int16ul,
    "errors" / Int16ul,
    "minor_rev_level" / Int16ul,
    "lastcheck" / Int32ul,
    "checkinterval" / Int32ul,
    "creator_os" / Int32ul,
    "rev_level" / Int32ul,
    "reserved_uid" / Int16ul,
    "reserved_gid" / Int16ul,
    "first_ino" / Int32ul,
    "inode_size" / Int16ul,
    "block_group_nr" / Int16ul,
    "feature_compat" / Int32ul,
    "feature_incompat" / Int32ul,
    "feature_ro_compat" / Int32ul,
    "uuid" / Bytes(16),
    "volume_name" / Bytes(16),
    "last_mounted" / Bytes(64),
    Padding(4),  # s_algorithm_usage_bitmap
    Padding(2),  # s_prealloc_blocks, s_prealloc_dir_blocks
    "reserved_gdt_blocks" / Int16ul,
    "journal_uuid" / Bytes(16),
    "journal_inum" / Int32ul,
    "journal_dev" / Int32ul,
    "last_orphan" / Int32ul,
    "hash_seed" / Array(4, Int32ul),
    "def_hash_version" / Int8ul,
    Padding(1),  # s_jnl_backup_type
    "desc_size" / Int16ul,
    "default_mount_opts" / Int32ul,
    "first_meta_bg" / Int32ul,
    "made_time" / Int32ul,
    Padding(17 * 4),  # s_jnl_blocks
    "blocks_count_hi" / Int32ul,
    "reserved_blocks_hi" / Int32ul,
    "free_blocks_hi" / Int32ul,
    "min_extra_isize" / Int16ul,
    "want_extra_isize" / Int16ul,
    "flags" / Int32ul,
    Padding(2 + 2 + 8 + 4),  # raid_stride, mmp_interval, mmp_block, raid_stripe_width
    "log_groups_per_flex" / Int8ul,
    "checksum_type" / Int8ul,
    Padding(2),
    Padding(8 + 4 + 4 + 8 + 4),  # kbytes_written, four of snapshots
    "error_count" / Int32ul,
    Padding(4 + 4 + 8 + 32 + 4),  # the first error
    Padding(4 + 4 + 4 + 8 + 32),  # the last error
    Padding(64),  # s_mount_opts
    "usr_quota_inum" / Int32ul,
    "grp_quota_inum" / Int32ul,
    "overhead_clusters" / Int32ul,
    "backup_bgs" / Array(2, Int32ul),
    Padding(4 + 16 + 4),  # encrypt_algos, encrypt_pw_salt, lpf_ino
    "prj_quota_inum" / Int32ul,
    "checksum_seed" / Int32ul,
    "written_time_hi" / Int8ul,
    "mounted_time_hi" / Int8ul,
    "made_time_hi" / Int8ul,
    Padding(1 + 1 + 1 + 2),
    "encoding" / Int16ul,
    "encoding_flags" / Int16ul,
    "orphan_file_inum" / Int32ul,
    Padding(94 * 4),
    "checksum" / Int32ul,
)

DESCRIPTOR = construct.Struct(
    "block_bitmap_lo" / Int32ul,
    "inode_bitmap_lo" / Int32ul,
    "inode_table_lo" / Int32ul,
    "free_blocks_lo" / Int16ul,
    "free_inodes_lo" / Int16ul,
    "used_dirs_lo" / Int16ul,
    "flags" / Int16ul,
    Padding(4 + 2 + 2),  # exclude_bitmap_lo, the bitmaps' checksums
    "itable_unused_lo" / Int16ul,
    "checksum" / Int16ul,
)
DESCRIPTOR_HIGH = construct.Struct(
    Padding(32),
    "block_bitmap_hi" / Int32ul,
    "inode_bitmap_hi" / Int32ul,
    "inode_table_hi" / Int32ul,
    "free_blocks_hi" / Int16ul,
    "free_inodes_hi" / Int16ul,
    "used_dirs_hi" / Int16ul,
    "itable_unused_hi" / Int16ul,
)

INODE = construct.Struct(
    "mode" / Int16ul,
    "uid_lo" / Int16ul,
    "size_lo" / Int32ul,
    "atime" / Int32sl,
    "ctime" / Int32sl,
    "mtime" / Int32sl,
    "dtime" / Int32ul,
    "gid_lo" / Int16ul,
    "links_count" / Int16ul,
    "blocks_lo" / Int32ul,
    "flags" / Int32ul,
    Padding(4),  # osd1
    "block" / Bytes(60),
    "generation" / Int32ul,
    "file_acl_lo" / Int32ul,
    "size_high" / Int32ul,
    Padding(4),  # i_obso_faddr
    "blocks_high" / Int16ul,
    "file_acl_high" / Int16ul,
    "uid_high" / Int16ul,
    "gid_high" / Int16ul,
    "checksum_lo" / Int16ul,
    Padding(2),
    "extra_isize" / Int16ul,
    "checksum_hi" / Int16ul,
    "ctime_extra" / Int32ul,
    "mtime_extra" / Int32ul,
    "atime_extra" / Int32ul,
    "crtime" / Int32sl,
    "crtime_extra" / Int32ul,
    "version_hi" / Int32ul,
    "project" / Int32ul,
)

SMALL = {
    "DirEntry": construct.Struct("inode" / Int32ul, "rec_len" / Int16ul, "name_len" / Int8ul, "file_type" / Int8ul),
    "ExtentHeader": construct.Struct(
        "magic" / Int16ul, "entries" / Int16ul, "max" / Int16ul, "depth" / Int16ul, "generation" / Int32ul
    ),
    "Extent": construct.Struct("file_block" / Int32ul, "length" / Int16ul, "start_hi" / Int16ul, "start_lo" / Int32ul),
    "ExtentIndex": construct.Struct("file_block" / Int32ul, "leaf_lo" / Int32ul, "leaf_hi" / Int16ul),
    "XattrHeader": construct.Struct(
        "magic" / Int32ul, "refcount" / Int32ul, "blocks" / Int32ul, "hash" / Int32ul, "checksum" / Int32ul
    ),
    "XattrEntry": construct.Struct(
        "name_len" / Int8ul,
        "name_index" / Int8ul,
        "value_offs" / Int16ul,
        "value_inum" / Int32ul,
        "value_size" / Int32ul,
        "hash" / Int32ul,
    ),
    "HashRoot": construct.Struct(
        Padding(12 + 12),  # . and .. with their names
        "reserved" / Int32ul,
        "hash_version" / Int8ul,
        "info_length" / Int8ul,
        "indirect_levels" / Int8ul,
        "unused_flags" / Int8ul,
    ),
    "JournalHeader": construct.Struct("magic" / Int32ub, "blocktype" / Int32ub, "sequence" / Int32ub),
    "JournalSuperblock": construct.Struct(
        "magic" / Int32ub,
        "blocktype" / Int32ub,
        Padding(4),
        "blocksize" / Int32ub,
        "maxlen" / Int32ub,
        "first" / Int32ub,
        "sequence" / Int32ub,
        "start" / Int32ub,
        "errno" / Int32sb,
        "feature_compat" / Int32ub,
        "feature_incompat" / Int32ub,
        "feature_ro_compat" / Int32ub,
        "uuid" / Bytes(16),
        "nr_users" / Int32ub,
        Padding(4 + 4 + 4),  # dynsuper, max_transaction, max_trans_data
        "checksum_type" / construct.Int8ub,
        Padding(3),
        "num_fc_blocks" / Int32ub,
        "head" / Int32ub,
        Padding(40 * 4),
        "checksum" / Int32ub,
    ),
    "BlockTag": construct.Struct("blocknr" / Int32ub, "checksum" / Int16ub, "flags" / Int16ub, "blocknr_high" / Int32ub),
    "BlockTag3": construct.Struct("blocknr" / Int32ub, "flags" / Int32ub, "blocknr_high" / Int32ub, "checksum" / Int32ub),
    "RevokeHeader": construct.Struct(Padding(12), "count" / Int32ub),
    "CommitBlock": construct.Struct(
        Padding(12),
        "checksum_type" / construct.Int8ub,
        "checksum_size" / construct.Int8ub,
        Padding(2),
        "checksum" / Int32ub,
        Padding(7 * 4),
        "seconds" / Int64ub,
        "nanoseconds" / Int32ub,
    ),
}


def agree(ours: type[Structure], theirs: construct.Struct, raw: bytes) -> None:
    assert theirs.sizeof() == ours.SIZE
    one, two = ours.unpack(raw), theirs.parse(raw)
    names = [field.name for field in theirs.subcons if field.name]
    assert names == list(ours.FIELDS)
    for name in names:
        expected = two[name]
        assert getattr(one, name) == (tuple(expected) if isinstance(expected, list) else expected), name


@pytest.mark.parametrize("name", ["rev0", "ext4_4k", "bigalloc", "csum_seed", "quota_project", "sparse_super2", "casefold"])
def test_superblock_inode_and_descriptor_agree_with_construct(name: str) -> None:
    raw = image(name).read_bytes()
    agree(layout.Superblock, SUPERBLOCK, raw[1024:2048])
    anatomy = Anatomy(raw)
    for offset in anatomy.descriptors:
        agree(layout.GroupDescriptor, DESCRIPTOR, raw[offset : offset + 64])
        agree(layout.GroupDescriptorHigh, DESCRIPTOR_HIGH, raw[offset : offset + 64])
    for inode in anatomy.inodes.values():
        agree(layout.Inode, INODE, raw[inode.offset : inode.offset + 160])


@pytest.mark.parametrize("name", SMALL)
def test_every_structure_agrees_with_construct(name: str) -> None:
    ours = getattr(layout, name, None) or getattr(journal_layout, name)
    # Bytes that are all different: a field in the wrong place cannot have the right value.
    agree(ours, SMALL[name], bytes(range(256)))


def test_every_structure_is_tested() -> None:
    declared = {cls.__name__ for cls in Structure.__subclasses__()}
    assert declared == {*SMALL, "Superblock", "GroupDescriptor", "GroupDescriptorHigh", "Inode"}


def test_a_pick_has_the_fields_it_names() -> None:
    raw = bytes(range(1, 161))
    whole = layout.Inode.unpack(raw)
    assert layout.Inode.pick("uid_lo", "flags", "block", "crtime").unpack_from(raw) == (
        whole.uid_lo,
        whole.flags,
        whole.block,
        whole.crtime,
    )
    with pytest.raises(ValueError, match="disk order"):
        layout.Inode.pick("flags", "mode")


def test_the_superblock_is_what_dumpe2fs_says() -> None:
    environment = {**os.environ, "LC_ALL": "C", "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
    said = subprocess.run(
        ["dumpe2fs", "-h", image("ext4_4k")], env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    told = dict(re.findall(r"^([^:]+):\s+(.*)$", said, re.MULTILINE))
    ours = layout.Superblock.unpack(image("ext4_4k").read_bytes(), 1024)
    assert layout.uuid_text(ours.uuid) == told["Filesystem UUID"]
    assert ours.inodes_count == int(told["Inode count"])
    assert ours.reserved_blocks_lo == int(told["Reserved block count"])
    assert ours.free_inodes == int(told["Free inodes"])
    assert ours.first_ino == int(told["First inode"])
    assert ours.inode_size == int(told["Inode size"])
    assert ours.reserved_gdt_blocks == int(told["Reserved GDT blocks"])
    assert ours.desc_size == int(told["Group descriptor size"])
    assert ours.journal_inum == int(told["Journal inode"])
    assert layout.uuid_text(struct.pack("<4I", *ours.hash_seed)) == told["Directory Hash Seed"]
    assert ours.checksum == int(told["Checksum"], 16)
