"""Structures of qcow2 on disk. All numbers are big-endian. QEMU, docs/interop/qcow2.txt; sections in brackets."""

from __future__ import annotations

import struct
from typing import Final

MAGIC: Final = b"QFI\xfb"

HEADER: Final = struct.Struct(">4sIQIIQIIQQIIQ")
"""[Header] 00 magic, 04 version, 08 backing_file_offset, 10 backing_file_size, 14 cluster_bits, 18 size, 20 crypt_method,
24 l1_size, 28 l1_table_offset, 30 refcount_table_offset, 38 refcount_table_clusters, 3C nb_snapshots, 40 snapshots_offset: all of
version 2."""
HEADER_3: Final = struct.Struct(">QQQII")
"""48 incompatible_features, 50 compatible_features, 58 autoclear_features, 60 refcount_order, 64 header_length: version 3."""
COMPRESSION_AT: Final = 104
"""compression_type, one byte, where header_length is larger."""
INCOMPATIBLE_AT: Final = 72
AUTOCLEAR_AT: Final = 88
REFCOUNT_TABLE_AT: Final = 48
REFCOUNT_TABLE: Final = struct.Struct(">QI")
LONG: Final = struct.Struct(">Q")

DIRTY, CORRUPT, EXTERNAL_DATA, COMPRESSION, EXTENDED_L2 = 1, 2, 4, 8, 16
"""Incompatible features."""
KNOWN_INCOMPATIBLE: Final = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION | EXTENDED_L2
LAZY_REFCOUNTS: Final = 1
"""Compatible features."""
BITMAPS, RAW_DATA = 1, 2
"""Autoclear features."""

ENCRYPTION: Final = {1: "AES", 2: "LUKS"}
DEFLATE, ZSTD = 0, 1

EXTENSION: Final = struct.Struct(">II")
"""[Header extensions] type, length; the data follow, padded to 8 bytes."""
EXTENSION_END, BACKING_FORMAT, BITMAPS_EXTENSION, ENCRYPTION_HEADER, DATA_FILE = 0, 0xE2792ACA, 0x23852875, 0x0537BE77, 0x44415441
BITMAPS_HEADER: Final = struct.Struct(">IIQQ")
"""[Bitmaps extension] nb_bitmaps, reserved, bitmap_directory_size, bitmap_directory_offset."""
ENCRYPTION_POINTER: Final = struct.Struct(">QQ")

OFFSET: Final = 0x00FFFFFFFFFFFE00
"""[Cluster mapping] Bits 9 to 55 of L1 and L2 entries: where in the file."""
COPIED: Final = 1 << 63
"""The refcount is exactly one: to be written in place. Right only in what the active L1 table reaches."""
COMPRESSED: Final = 1 << 62
ZERO: Final = 1
SUB_CLUSTER_BITS: Final = 1 << 32 | 1
"""[Extended L2 Entries] What the bitmap says of sub-cluster 0: reads as zeros, is allocated."""
ALLOCATED_ALL: Final = (1 << 32) - 1
ZERO_ALL: Final = ALLOCATED_ALL << 32
"""All 32 sub-clusters in the bitmap that is an entry's second half."""
SUB_CLUSTERS: Final = 32

REFCOUNT_OFFSET: Final = 0xFFFFFFFFFFFFFE00
"""[Host cluster management] Bits 9 to 63 of refcount table entries."""

SNAPSHOT: Final = struct.Struct(">QIHHIIQII")
"""[Snapshots] 00 l1_table_offset, 08 l1_size, 0C id length, 0E name length, 10 seconds, 14 nanoseconds, 18 guest clock (ns),
20 size of the VM's state, 24 size of extra data; then these, the id, the name, padded to 8 bytes. Extra data: 00 VM state, 08
disk size."""
SNAPSHOT_EXTRA: Final = struct.Struct(">QQ")

BITMAP: Final = struct.Struct(">QIIBBHI")
"""[Bitmap directory] 00 bitmap_table_offset, 08 bitmap_table_size, 0C flags, 10 type, 11 granularity_bits, 12 name_size, 14
extra_data_size; then extra data and name, padded to 8 bytes."""
BITMAP_FLAGS_AT: Final = 12
BITMAP_FLAGS: Final = struct.Struct(">I")
IN_USE, AUTO = 1, 2

MIN_CLUSTER_BITS, MAX_CLUSTER_BITS, MIN_EXTENDED_BITS = 9, 21, 14
MAX_L1_BYTES: Final = 32 << 20
MAX_REFCOUNT_TABLE_BYTES: Final = 8 << 20
MAX_BACKING_NAME: Final = 1023
MAX_SNAPSHOTS: Final = 65536
MAX_SNAPSHOT_TABLE_BYTES: Final = 64 << 20
MAX_SNAPSHOT_EXTRA: Final = 1024
MAX_BITMAPS: Final = 65535
MAX_HOST_OFFSET: Final = 1 << 56
