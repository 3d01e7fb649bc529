"""The journal's structures, big-endian. `journal.rst`; Linux, `include/linux/jbd2.h`."""

from __future__ import annotations

import struct

from vfs.ext2.layout import Structure, at

MAGIC = 0xC03B3998

DESCRIPTOR, COMMIT, SUPERBLOCK_V1, SUPERBLOCK_V2, REVOKE = 1, 2, 3, 4, 5


class JournalHeader(Structure):
    """`journal.rst`, "Block Header"."""

    ORDER = ">"
    magic: int = at(0x0, "I")
    blocktype: int = at(0x4, "I")
    sequence: int = at(0x8, "I")


class JournalSuperblock(Structure):
    """`journal.rst`, "Super Block". From 0x24 on only in version 2."""

    ORDER = ">"
    magic: int = at(0x00, "I")
    blocktype: int = at(0x04, "I")
    blocksize: int = at(0x0C, "I")
    maxlen: int = at(0x10, "I")
    first: int = at(0x14, "I")
    sequence: int = at(0x18, "I")
    start: int = at(0x1C, "I")
    errno: int = at(0x20, "i")
    feature_compat: int = at(0x24, "I")
    feature_incompat: int = at(0x28, "I")
    feature_ro_compat: int = at(0x2C, "I")
    uuid: bytes = at(0x30, "16s")
    nr_users: int = at(0x40, "I")
    checksum_type: int = at(0x50, "B")
    num_fc_blocks: int = at(0x54, "I")
    head: int = at(0x58, "I")
    checksum: int = at(0xFC, "I")


SUPERBLOCK_SIZE = 1024

COMPAT_CHECKSUM = 0x1
INCOMPAT_REVOKE = 0x1
INCOMPAT_64BIT = 0x2
INCOMPAT_ASYNC_COMMIT = 0x4
INCOMPAT_CSUM_V2 = 0x8
INCOMPAT_CSUM_V3 = 0x10
INCOMPAT_FAST_COMMIT = 0x20

INCOMPAT = {
    INCOMPAT_REVOKE: "journal_incompat_revoke",
    INCOMPAT_64BIT: "journal_64bit",
    INCOMPAT_ASYNC_COMMIT: "journal_async_commit",
    INCOMPAT_CSUM_V2: "journal_checksum_v2",
    INCOMPAT_CSUM_V3: "journal_checksum_v3",
    INCOMPAT_FAST_COMMIT: "fast_commit",
}

DEFAULT_FAST_COMMIT_BLOCKS = 256


class BlockTag3(Structure):
    """`journal.rst`, struct journal_block_tag3_s: with checksum v3."""

    ORDER = ">"
    blocknr: int = at(0x0, "I")
    flags: int = at(0x4, "I")
    blocknr_high: int = at(0x8, "I")
    checksum: int = at(0xC, "I")


class BlockTag(Structure):
    """`journal.rst`, struct journal_block_tag_s: else; the last field only with 64bit, 2 bytes more with checksum v2."""

    ORDER = ">"
    blocknr: int = at(0x0, "I")
    checksum: int = at(0x4, "H")
    flags: int = at(0x6, "H")
    blocknr_high: int = at(0x8, "I")


TAG_ESCAPED, TAG_SAME_UUID, TAG_DELETED, TAG_LAST = 1, 2, 4, 8
UUID_SIZE = 16

HEADER_SIZE = 12
TAIL_SIZE = 4
"""A checksum ends descriptor and revoke blocks, with checksum v2 and v3."""


class RevokeHeader(Structure):
    """`journal.rst`, "Revocation Block". *count*: bytes in use, head included."""

    ORDER = ">"
    count: int = at(0xC, "I")


REVOKE_HEAD = 16


class CommitBlock(Structure):
    """`journal.rst`, "Commit Block"."""

    ORDER = ">"
    checksum_type: int = at(0x0C, "B")
    checksum_size: int = at(0x0D, "B")
    checksum: int = at(0x10, "I")
    seconds: int = at(0x30, "Q")
    nanoseconds: int = at(0x38, "I")


COMMIT_CHECKSUM = 0x10
CHECKSUM_CRC32 = 1

BLOCK_32 = struct.Struct(">I")
BLOCK_64 = struct.Struct(">Q")
