"""The header: decoded and checked."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field

from vfs.api import Storage, damaged, fail, unsupported
from vfs.vd.disk import MAX_SIZE
from vfs.vd.qcow2 import layout


@dataclass
class Header:
    """Sizes and offsets in bytes, `l1_entries` a number. *extensions*: type to data, of those that we know."""

    name: str
    version: int
    cluster_bits: int
    size: int
    l1_entries: int
    l1_offset: int
    refcount_offset: int
    refcount_clusters: int
    snapshot_count: int
    snapshot_offset: int
    incompatible: int = 0
    compatible: int = 0
    autoclear: int = 0
    refcount_order: int = 4
    compression: int = layout.DEFLATE
    backing: bytes = b""
    encryption: int = 0
    extensions: dict[int, bytes] = field(default_factory=dict)

    @property
    def cluster_size(self) -> int:
        return 1 << self.cluster_bits

    @property
    def extended(self) -> bool:
        return bool(self.incompatible & layout.EXTENDED_L2)

    @property
    def external(self) -> bool:
        return bool(self.incompatible & layout.EXTERNAL_DATA)

    @property
    def l2_entries(self) -> int:
        return self.cluster_size >> (4 if self.extended else 3)

    @property
    def refcount_entries(self) -> int:
        """Refcounts in one block."""
        return self.cluster_size * 8 >> self.refcount_order


def read_header(source: Storage) -> Header:
    """EINVAL: no qcow2; EUCLEAN; EOPNOTSUPP: a feature that we lack, named."""
    name = source.name
    if source.size < layout.HEADER.size:
        fail(errno.EINVAL, f"{name}: too small for a qcow2 image")
    raw = layout.HEADER.unpack(source.read(0, layout.HEADER.size))
    magic, version, backing_offset, backing_size, bits, size, encryption = raw[:7]
    if magic != layout.MAGIC:
        fail(errno.EINVAL, f"{name}: no qcow2 image")
    if version not in (2, 3):
        raise unsupported(f"{name}: qcow2 version {version}, only 2 and 3 are known")
    header = Header(name, version, bits, size, *raw[7:])
    header.encryption = encryption
    length = layout.HEADER.size
    if version == 3:
        if source.size < length + layout.HEADER_3.size:
            raise damaged(f"{name}: the header is cut off")
        three = layout.HEADER_3.unpack(source.read(length, layout.HEADER_3.size))
        header.incompatible, header.compatible, header.autoclear, header.refcount_order, length = three
    _check(header, length)
    if length > layout.COMPRESSION_AT:
        header.compression = source.read(layout.COMPRESSION_AT, 1)[0]
    _check_compression(header)
    head = source.read(0, min(header.cluster_size, source.size, 1 << 16))
    if backing_offset:
        if backing_size > layout.MAX_BACKING_NAME or backing_offset + backing_size > len(head):
            raise damaged(
                f"{name}: the backing file's name, {backing_size} bytes at {backing_offset}, is not in the header's cluster"
            )
        header.backing = head[backing_offset : backing_offset + backing_size]
    header.extensions = _extensions(header, head, length, backing_offset or len(head))
    _check_places(header, source)
    return header


def _check(header: Header, length: int) -> None:
    name, bits = header.name, header.cluster_bits
    unknown = header.incompatible & ~layout.KNOWN_INCOMPATIBLE
    if unknown:
        raise unsupported(f"{name}: incompatible features {unknown:#x} are not known")
    least = layout.MIN_EXTENDED_BITS if header.extended else layout.MIN_CLUSTER_BITS
    if not least <= bits <= layout.MAX_CLUSTER_BITS:
        raise damaged(f"{name}: clusters of 2^{bits} bytes, from 2^{least} to 2^{layout.MAX_CLUSTER_BITS}")
    if header.version == 3 and (length < 104 or length % 8 or length > header.cluster_size):
        raise damaged(f"{name}: a header of {length} bytes")
    if header.refcount_order > 6:
        raise damaged(f"{name}: refcounts of 2^{header.refcount_order} bits, at most 64")
    if header.encryption:
        kind = layout.ENCRYPTION.get(header.encryption, f"method {header.encryption}")
        raise unsupported(f"{name}: is encrypted ({kind})")
    if header.size > MAX_SIZE:
        raise damaged(f"{name}: a disk of {header.size} bytes, at most {MAX_SIZE}")


def _check_compression(header: Header) -> None:
    if header.compression not in (layout.DEFLATE, layout.ZSTD):
        raise unsupported(f"{header.name}: compression type {header.compression} is not known")
    if bool(header.compression) != bool(header.incompatible & layout.COMPRESSION):
        raise damaged(f"{header.name}: compression type {header.compression} contradicts the incompatible features")


def _extensions(header: Header, head: bytes, at: int, end: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    end = min(end, len(head))
    while at + layout.EXTENSION.size <= end:
        kind, length = layout.EXTENSION.unpack_from(head, at)
        at += layout.EXTENSION.size
        if kind == layout.EXTENSION_END:
            break
        if length > end - at:
            raise damaged(f"{header.name}: header extension {kind:#x} of {length} bytes, there is room for {end - at}")
        found[kind] = head[at : at + length]
        at += (length + 7) & ~7
    return found


def _check_places(header: Header, source: Storage) -> None:
    size = header.cluster_size
    covered = header.l2_entries * size
    needed = -(-header.size // covered)
    if header.l1_entries * 8 > layout.MAX_L1_BYTES or needed * 8 > layout.MAX_L1_BYTES:
        raise damaged(
            f"{header.name}: an L1 table of {max(header.l1_entries, needed)} entries, at most {layout.MAX_L1_BYTES // 8}"
        )
    if header.l1_entries < needed:
        raise damaged(f"{header.name}: an L1 table of {header.l1_entries} entries, {needed} are needed")
    check_place(header, source, "L1 table", header.l1_offset, header.l1_entries * 8)
    if header.refcount_clusters * size > layout.MAX_REFCOUNT_TABLE_BYTES + size:
        raise damaged(f"{header.name}: a refcount table of {header.refcount_clusters} clusters")
    check_place(header, source, "refcount table", header.refcount_offset, header.refcount_clusters * size)
    if header.snapshot_count > layout.MAX_SNAPSHOTS:
        raise damaged(f"{header.name}: {header.snapshot_count} snapshots, at most {layout.MAX_SNAPSHOTS}")
    if header.snapshot_count:
        check_place(header, source, "snapshot table", header.snapshot_offset, layout.SNAPSHOT.size * header.snapshot_count)


def check_place(header: Header, source: Storage, what: str, offset: int, length: int) -> None:
    """A structure that begins a cluster lies in the file. EUCLEAN."""
    if offset % header.cluster_size:
        raise damaged(f"{header.name}: the {what} at {offset} does not begin a cluster")
    if offset + length > source.size:
        raise damaged(f"{header.name}: the {what}, {length} bytes at {offset}, lies outside the file of {source.size}")
