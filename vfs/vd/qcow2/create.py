"""New images."""

from __future__ import annotations

import errno
import os
from array import array
from dataclasses import dataclass

from vfs.api import Storage, fail, option
from vfs.api.options import number, size, source_path, string
from vfs.vd.disk import MAX_SIZE
from vfs.vd.formats import KINDS, recognise, size_of
from vfs.vd.opening import name_beside
from vfs.vd.qcow2 import layout
from vfs.vd.qcow2.refcounts import TYPES, encode_block
from vfs.vd.qcow2.tables import encode


def compat(text: str) -> int:
    versions = {"0.10": 2, "v2": 2, "1.1": 3, "v3": 3}
    if text not in versions:
        raise ValueError("wants 0.10 (v2) or 1.1 (v3)")
    return versions[text]


def switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise ValueError("wants on or off")
    return text == "on"


def compression(text: str) -> int:
    types = {"zlib": layout.DEFLATE, "zstd": layout.ZSTD}
    if text not in types:
        raise ValueError("wants zlib or zstd")
    return types[text]


def preallocation(text: str) -> str:
    if text != "off":
        raise ValueError("wants off: new images occupy nothing")
    return text


@dataclass
class CreateOptions:
    """As `qemu-img create -o` has them."""

    compat: int | None = option(compat, "the version: 0.10 or 1.1 (the default)")
    cluster_size: int | None = option(size, "bytes of a cluster: 512 to 2M (64K)")
    refcount_bits: int | None = option(number, "bits of a refcount: 1, 2, 4 … 64 (16)")
    lazy_refcounts: bool | None = option(switch, "on: QEMU may write refcounts later")
    extended_l2: bool | None = option(switch, "on: sub-clusters (cluster_size of 16K at least)")
    compression_type: int | None = option(compression, "of clusters that QEMU compresses: zlib or zstd")
    preallocation: str | None = option(preallocation, "off, as it always is")
    backing_file: Storage | None = option(source_path, "the image that the new one continues")  # noqa: RUF009
    backing_fmt: str | None = option(string, "the format of that; detected where it is not said")


QEMU_NAMES = {"vhd": "vpc"}
"""What QEMU calls formats otherwise than we do."""


def create(storage: Storage, size: int | None, options: CreateOptions) -> None:
    """EINVAL: options that contradict each other, no size; EFBIG."""
    version = options.compat or 3
    cluster_size = options.cluster_size or 1 << 16
    refcount_bits = options.refcount_bits or 16
    extended = bool(options.extended_l2)
    bits, order = cluster_size.bit_length() - 1, refcount_bits.bit_length() - 1
    least = layout.MIN_EXTENDED_BITS if extended else layout.MIN_CLUSTER_BITS
    if cluster_size != 1 << bits or not least <= bits <= layout.MAX_CLUSTER_BITS:
        fail(
            errno.EINVAL,
            f"qcow2: cluster_size={cluster_size}, a power of two from {1 << least} to {1 << layout.MAX_CLUSTER_BITS}",
        )
    if refcount_bits != 1 << order or order > 6:
        fail(errno.EINVAL, f"qcow2: refcount_bits={refcount_bits}, a power of two up to 64")
    if version == 2 and (refcount_bits != 16 or extended or options.lazy_refcounts or options.compression_type):
        fail(errno.EINVAL, "qcow2: compat=0.10 has only refcounts of 16 bits, and no features")
    backing, format = b"", b""
    if options.backing_file is not None:
        backing, format = _backing(storage, options.backing_file, options.backing_fmt)
        if size is None:
            size = size_of(options.backing_file)
    elif options.backing_fmt:
        fail(errno.EINVAL, "qcow2: backing_fmt without backing_file")
    if size is None:
        fail(errno.EINVAL, "qcow2: a new image needs a size, or a backing file")
    size = -(-size // 512) * 512  # QEMU's disks are whole sectors
    entries = cluster_size >> (4 if extended else 3)
    l1_entries = max(1, -(-size // (entries * cluster_size)))
    if size > MAX_SIZE or l1_entries * 8 > layout.MAX_L1_BYTES:
        fail(errno.EFBIG, f"qcow2: {size} bytes are too many for clusters of {cluster_size}")
    places = _Places(bits, order, l1_entries)
    storage.write(places.refcounts, places.tables())
    features = {
        "incompatible": (extended and layout.EXTENDED_L2) | (layout.COMPRESSION if options.compression_type else 0),
        "compatible": layout.LAZY_REFCOUNTS if options.lazy_refcounts else 0,
    }
    header = _header(version, bits, order, size, l1_entries, places, backing, format, options.compression_type or 0, features)
    if len(header) > cluster_size:
        fail(errno.EINVAL, f"qcow2: the backing file's name has no room in a cluster of {cluster_size} bytes")
    if storage.size < places.end:
        storage.resize(places.end)
    storage.flush()
    storage.write(0, header)


class _Places:
    """Where the tables of a new image come: one after the other. Offsets in bytes."""

    def __init__(self, bits: int, order: int, l1_entries: int) -> None:
        self.bits, self.order = bits, order
        cluster_size = 1 << bits
        entries = cluster_size * 8 >> order
        l1 = -(-l1_entries * 8 >> bits)
        blocks = table = 1
        while True:
            clusters = 1 + table + blocks + l1
            new_blocks = -(-clusters // entries)
            new_table = -(-new_blocks * 8 >> bits)
            if (new_blocks, new_table) == (blocks, table):
                break
            blocks, table = new_blocks, new_table
        self.table_clusters, self.blocks, self.clusters, self.entries = table, blocks, clusters, entries
        self.refcounts = cluster_size
        self.l1 = 1 + table + blocks << bits
        self.end = clusters << bits

    def tables(self) -> bytes:
        """The refcount table and its blocks."""
        first = 1 + self.table_clusters
        table = encode(array("Q", [first + number << self.bits for number in range(self.blocks)]))
        counts = array(TYPES.get(self.order, "B"), [1]) * self.clusters
        counts.extend([0] * (self.blocks * self.entries - self.clusters))
        return table.ljust(self.table_clusters << self.bits, b"\0") + encode_block(counts, self.order)


def _backing(storage: Storage, parent: Storage, format: str | None) -> tuple[bytes, bytes]:
    """The name and the format to be stored."""
    name = os.fsencode(name_beside(storage, parent))
    if len(name) > layout.MAX_BACKING_NAME:
        fail(errno.EINVAL, f"qcow2: the backing file's name has {len(name)} bytes, at most {layout.MAX_BACKING_NAME}")
    if format is None:
        found = recognise(parent)[0]
        format = found.name if found is not None else "raw"
    elif format not in KINDS and format not in QEMU_NAMES.values():
        fail(errno.EINVAL, f"qcow2: no format of images is called '{format}' (known: {', '.join(KINDS)})")
    return name, QEMU_NAMES.get(format, format).encode()


def _header(
    version: int,
    bits: int,
    order: int,
    size: int,
    l1_entries: int,
    places: _Places,
    backing: bytes,
    format: bytes,
    compression: int,
    features: dict[str, int],
) -> bytes:
    """The header with its extensions, and the backing file's name behind."""
    tail = b""
    length = layout.HEADER.size
    if version == 3:
        length = layout.COMPRESSION_AT + 8
        tail = layout.HEADER_3.pack(features["incompatible"], features["compatible"], 0, order, length)
        tail += compression.to_bytes(1, "big") + bytes(7)
    if format:
        tail += layout.EXTENSION.pack(layout.BACKING_FORMAT, len(format)) + format.ljust(-(-len(format) // 8) * 8, b"\0")
    tail += layout.EXTENSION.pack(layout.EXTENSION_END, 0)
    at = layout.HEADER.size + len(tail) if backing else 0
    head = layout.HEADER.pack(
        layout.MAGIC,
        version,
        at,
        len(backing),
        bits,
        size,
        0,
        l1_entries,
        places.l1,
        places.refcounts,
        places.table_clusters,
        0,
        0,
    )
    return head + tail + backing
