"""The structures on disk, each declared once, in disk order, with hex offsets and the specification's names.

Plain names leave this file; the specification's name stands beside each. All numbers are little-endian; the journal's, which
are big-endian, are in `journal_layout`.

These are tables over `struct` and not `construct` declarations: importing construct costs 44 ms (measured; 150 ms is all that
`vfs ls` may take), and the hot paths need `struct` anyway. So one declaration gives both: `Superblock.unpack` reads every
field once a mount, `Inode.pick("mode", "flags")` is a precompiled `struct.Struct` of just these fields for the hot path. The
tests hold these tables against an independent declaration in construct.
"""

from __future__ import annotations

import struct
from typing import Any, ClassVar, Self


class _Field:
    """One declared field: its offset and its `struct` format without byte order."""

    __slots__ = ("form", "offset")

    def __init__(self, offset: int, form: str) -> None:
        self.offset = offset
        self.form = form


def at(offset: int, form: str) -> Any:
    """Declare a field: *form* as in `struct`; `16s` is bytes, `4I` is a tuple."""
    return _Field(offset, form)


class Structure:
    """Base of the declarations: collects the fields made by `at`. `SIZE` is where the last field ends."""

    ORDER: ClassVar[str] = "<"
    SIZE: ClassVar[int] = 0
    FIELDS: ClassVar[dict[str, _Field]]
    _all: ClassVar[struct.Struct]

    def __init_subclass__(cls) -> None:
        cls.FIELDS = {name: field for name, field in vars(cls).items() if isinstance(field, _Field)}
        cls._all = cls.pick(*cls.FIELDS)
        cls.SIZE = cls._all.size

    @classmethod
    def pick(cls, *names: str) -> struct.Struct:
        """A precompiled struct of the named fields only; unpacks them in disk order, so *names* must be in it."""
        form, position = cls.ORDER, 0
        for name in names:
            field = cls.FIELDS[name]
            if field.offset < position:
                raise ValueError(f"{cls.__name__}.{name} is not in disk order")
            form += f"{field.offset - position}x{field.form}"
            position = field.offset + struct.calcsize(cls.ORDER + field.form)
        return struct.Struct(form)

    @classmethod
    def unpack(cls, buffer: bytes | memoryview, offset: int = 0) -> Self:
        """All fields, from *offset* of *buffer*, which must hold `SIZE` bytes there."""
        self = cls()
        values = iter(cls._all.unpack_from(buffer, offset))
        for name, field in cls.FIELDS.items():
            count = field.form[:-1]
            if count and field.form[-1] != "s":
                setattr(self, name, tuple(next(values) for _ in range(int(count))))
            else:
                setattr(self, name, next(values))
        return self


SUPERBLOCK_OFFSET = 1024
SUPERBLOCK_SIZE = 1024
MAGIC = 0xEF53


class Superblock(Structure):
    """`super.rst`, "Super Block". The times have 8 more bits far behind them, the counts 32 more."""

    inodes_count: int = at(0x000, "I")
    blocks_count_lo: int = at(0x004, "I")
    reserved_blocks_lo: int = at(0x008, "I")  # s_r_blocks_count_lo
    free_blocks_lo: int = at(0x00C, "I")
    free_inodes: int = at(0x010, "I")
    first_data_block: int = at(0x014, "I")  # 1 where blocks are 1 KiB, else 0
    log_block_size: int = at(0x018, "I")  # 1024 << this
    log_cluster_size: int = at(0x01C, "I")
    blocks_per_group: int = at(0x020, "I")
    clusters_per_group: int = at(0x024, "I")
    inodes_per_group: int = at(0x028, "I")
    mounted_time: int = at(0x02C, "I")  # s_mtime
    written_time: int = at(0x030, "I")  # s_wtime
    mount_count: int = at(0x034, "H")
    max_mount_count: int = at(0x036, "H")
    magic: int = at(0x038, "H")
    state: int = at(0x03A, "H")
    errors: int = at(0x03C, "H")
    minor_rev_level: int = at(0x03E, "H")
    lastcheck: int = at(0x040, "I")
    checkinterval: int = at(0x044, "I")
    creator_os: int = at(0x048, "I")
    rev_level: int = at(0x04C, "I")
    reserved_uid: int = at(0x050, "H")  # s_def_resuid
    reserved_gid: int = at(0x052, "H")
    # From here on only where rev_level is 1.
    first_ino: int = at(0x054, "I")
    inode_size: int = at(0x058, "H")
    block_group_nr: int = at(0x05A, "H")
    feature_compat: int = at(0x05C, "I")
    feature_incompat: int = at(0x060, "I")
    feature_ro_compat: int = at(0x064, "I")
    uuid: bytes = at(0x068, "16s")
    volume_name: bytes = at(0x078, "16s")
    last_mounted: bytes = at(0x088, "64s")
    reserved_gdt_blocks: int = at(0x0CE, "H")
    journal_uuid: bytes = at(0x0D0, "16s")
    journal_inum: int = at(0x0E0, "I")
    journal_dev: int = at(0x0E4, "I")
    last_orphan: int = at(0x0E8, "I")
    hash_seed: tuple[int, ...] = at(0x0EC, "4I")
    def_hash_version: int = at(0x0FC, "B")
    desc_size: int = at(0x0FE, "H")
    default_mount_opts: int = at(0x100, "I")
    first_meta_bg: int = at(0x104, "I")
    made_time: int = at(0x108, "I")  # s_mkfs_time
    blocks_count_hi: int = at(0x150, "I")
    reserved_blocks_hi: int = at(0x154, "I")
    free_blocks_hi: int = at(0x158, "I")
    min_extra_isize: int = at(0x15C, "H")
    want_extra_isize: int = at(0x15E, "H")
    flags: int = at(0x160, "I")
    log_groups_per_flex: int = at(0x174, "B")
    checksum_type: int = at(0x175, "B")
    error_count: int = at(0x194, "I")
    usr_quota_inum: int = at(0x240, "I")
    grp_quota_inum: int = at(0x244, "I")
    overhead_clusters: int = at(0x248, "I")
    backup_bgs: tuple[int, ...] = at(0x24C, "2I")
    prj_quota_inum: int = at(0x26C, "I")
    checksum_seed: int = at(0x270, "I")
    written_time_hi: int = at(0x274, "B")
    mounted_time_hi: int = at(0x275, "B")
    made_time_hi: int = at(0x276, "B")
    encoding: int = at(0x27C, "H")
    encoding_flags: int = at(0x27E, "H")
    orphan_file_inum: int = at(0x280, "I")
    checksum: int = at(0x3FC, "I")


def uuid_text(raw: bytes) -> str:
    """A UUID as it is written. The library's `uuid` costs 2 ms to import."""
    digits = raw.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


# Superblock.state
STATE_CLEAN, STATE_ERRORS, STATE_ORPHANS = 1, 2, 4
# Superblock.flags: which way `char` went when names were hashed.
FLAG_SIGNED_HASH, FLAG_UNSIGNED_HASH = 1, 2
CREATOR_HURD = 1
CHECKSUM_CRC32C = 1
ENCODING_UTF8_12_1 = 1
ENCODING_STRICT = 1


class GroupDescriptor(Structure):
    """`group_descr.rst`, "Block Group Descriptors": 32 bytes, 64 and more with the feature 64bit."""

    block_bitmap_lo: int = at(0x00, "I")
    inode_bitmap_lo: int = at(0x04, "I")
    inode_table_lo: int = at(0x08, "I")
    free_blocks_lo: int = at(0x0C, "H")  # clusters, with bigalloc
    free_inodes_lo: int = at(0x0E, "H")
    used_dirs_lo: int = at(0x10, "H")
    flags: int = at(0x12, "H")
    itable_unused_lo: int = at(0x1C, "H")
    checksum: int = at(0x1E, "H")


class GroupDescriptorHigh(Structure):
    """The second half, where descriptors have 64 bytes: the high bits of the first."""

    block_bitmap_hi: int = at(0x20, "I")
    inode_bitmap_hi: int = at(0x24, "I")
    inode_table_hi: int = at(0x28, "I")
    free_blocks_hi: int = at(0x2C, "H")
    free_inodes_hi: int = at(0x2E, "H")
    used_dirs_hi: int = at(0x30, "H")
    itable_unused_hi: int = at(0x32, "H")


OLD_INODE_SIZE = 128


class Inode(Structure):
    """`inodes.rst`, "Inode Table". From 0x80 on only as far as `extra_isize` reaches."""

    mode: int = at(0x00, "H")
    uid_lo: int = at(0x02, "H")
    size_lo: int = at(0x04, "I")
    atime: int = at(0x08, "i")  # signed; 2 more bits in atime_extra
    ctime: int = at(0x0C, "i")
    mtime: int = at(0x10, "i")
    dtime: int = at(0x14, "I")
    gid_lo: int = at(0x18, "H")
    links_count: int = at(0x1A, "H")
    blocks_lo: int = at(0x1C, "I")
    flags: int = at(0x20, "I")
    block: bytes = at(0x28, "60s")  # block map, extent root, short link, device or inline data
    generation: int = at(0x64, "I")
    file_acl_lo: int = at(0x68, "I")
    size_high: int = at(0x6C, "I")
    blocks_high: int = at(0x74, "H")
    file_acl_high: int = at(0x76, "H")
    uid_high: int = at(0x78, "H")
    gid_high: int = at(0x7A, "H")
    checksum_lo: int = at(0x7C, "H")
    extra_isize: int = at(0x80, "H")
    checksum_hi: int = at(0x82, "H")
    ctime_extra: int = at(0x84, "I")
    mtime_extra: int = at(0x88, "I")
    atime_extra: int = at(0x8C, "I")
    crtime: int = at(0x90, "i")
    crtime_extra: int = at(0x94, "I")
    version_hi: int = at(0x98, "I")
    project: int = at(0x9C, "I")


BLOCK_OFFSET = 0x28
"""Where `Inode.block` stands."""

BLOCK_SIZE = 60

# Inode.flags
FL_COMPRESSED = 0x4
FL_IMMUTABLE = 0x10
FL_APPEND = 0x20
FL_NODUMP = 0x40
FL_ENCRYPTED = 0x800
FL_INDEX = 0x1000
FL_HUGE_FILE = 0x40000
FL_EXTENTS = 0x80000
FL_VERITY = 0x100000
FL_EA_INODE = 0x200000
FL_INLINE_DATA = 0x10000000
FL_CASEFOLD = 0x40000000

ROOT_INO = 2
BOOT_LOADER_INO = 5
JOURNAL_INO = 8
OLD_FIRST_INO = 11


class DirEntry(Structure):
    """`directory.rst`, "Linear (Classic) Directories". Without the feature filetype the last byte is name_len's high one."""

    inode: int = at(0, "I")
    rec_len: int = at(4, "H")
    name_len: int = at(6, "B")
    file_type: int = at(7, "B")


NAME_MAX = 255
DIRENT_MIN = 12
"""The smallest rec_len: a head of 8 bytes and a name padded to 4."""

# DirEntry.file_type -> the type bits of st_mode, shifted right by 12; anything else is unknown.
DIRENT_TYPES = (0, 8, 4, 2, 6, 1, 12, 10) + (0,) * 248


class HashRoot(Structure):
    """`directory.rst`, "Hash Tree Directories", struct dx_root: block 0, which begins with `.` and `..`."""

    reserved: int = at(0x18, "I")
    hash_version: int = at(0x1C, "B")
    info_length: int = at(0x1D, "B")
    indirect_levels: int = at(0x1E, "B")
    unused_flags: int = at(0x1F, "B")


HASH_ROOT_HEAD = 0x18
"""Where the root's info begins; its entries follow `info_length` bytes later."""
HASH_NODE_HEAD = 8
"""Where an inner block's entries begin: after one empty directory entry."""
HASH_INFO_LENGTH = 8


class ExtentHeader(Structure):
    """`ifork.rst`, "Extent Tree", struct ext4_extent_header."""

    magic: int = at(0x0, "H")
    entries: int = at(0x2, "H")
    max: int = at(0x4, "H")
    depth: int = at(0x6, "H")
    generation: int = at(0x8, "I")


EXTENT_MAGIC = 0xF30A
EXTENT_MAX_DEPTH = 5
EXTENT_MAX_LENGTH = 32768
"""Longer means unwritten, by the excess: reads as zeros."""


class Extent(Structure):
    """`ifork.rst`, struct ext4_extent: a leaf entry."""

    file_block: int = at(0x0, "I")
    length: int = at(0x4, "H")
    start_hi: int = at(0x6, "H")
    start_lo: int = at(0x8, "I")


class ExtentIndex(Structure):
    """`ifork.rst`, struct ext4_extent_idx: an inner entry."""

    file_block: int = at(0x0, "I")
    leaf_lo: int = at(0x4, "I")
    leaf_hi: int = at(0x8, "H")


XATTR_MAGIC = 0xEA020000


class XattrHeader(Structure):
    """`attributes.rst`, struct ext4_xattr_header: heads an attribute block; in an inode only the magic."""

    magic: int = at(0x0, "I")
    refcount: int = at(0x4, "I")
    blocks: int = at(0x8, "I")
    hash: int = at(0xC, "I")
    checksum: int = at(0x10, "I")


XATTR_BLOCK_HEAD = 32
XATTR_INODE_HEAD = 4


class XattrEntry(Structure):
    """`attributes.rst`, struct ext4_xattr_entry; the name follows, padded to 4. Four zero bytes end the list."""

    name_len: int = at(0x0, "B")
    name_index: int = at(0x1, "B")
    value_offs: int = at(0x2, "H")
    value_inum: int = at(0x4, "I")  # the value is the content of this inode
    value_size: int = at(0x8, "I")
    hash: int = at(0xC, "I")
