"""New VDI images."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from vfs.api import Storage, fail, option
from vfs.api.options import size as size_option
from vfs.api.options import source_path
from vfs.vd.formats import subformat
from vfs.vd.vdi import layout
from vfs.vd.vdi.image import BLOCK_MAX, read_header

SIZE_MAX = 1 << 52


@dataclass
class CreateOptions:
    """Options of `create`."""

    subformat: str | None = option(subformat, "dynamic (it grows) or fixed")
    block_size: int | None = option(size_option, "bytes of a block; other programs read 1M only")
    backing_file: Storage | None = option(source_path, "the VDI image that the new one continues")  # noqa: RUF009


def create(storage: Storage, size: int | None, options: CreateOptions) -> None:
    """An image of *size* bytes, rounded up to a sector. EINVAL, EFBIG."""
    block_size = options.block_size or layout.BLOCK_SIZE
    if not 4096 <= block_size <= BLOCK_MAX or block_size & (block_size - 1):
        fail(errno.EINVAL, f"block_size={block_size}: a power of two from 4K to {BLOCK_MAX >> 20}M is wanted")
    kind = layout.FIXED if options.subformat == "fixed" else layout.DYNAMIC
    linked = linked_modified = layout.NO_UUID
    if options.backing_file is not None:
        if kind == layout.FIXED:
            fail(errno.EINVAL, "an image with a parent cannot be fixed")
        kind = layout.DIFFERENCING
        parent = read_header(options.backing_file)
        linked, linked_modified = parent.uuid, parent.modified
        size = parent.disk_size if size is None else size
    if size is None:
        fail(errno.EINVAL, "the size of the new image is missing")
    size = -(-size // 512) * 512
    blocks = -(-size // block_size)
    if size > SIZE_MAX or blocks > layout.ZERO // 4:
        fail(errno.EFBIG, f"{size} bytes are too many for a VDI image with blocks of {block_size}")
    data = -(-(layout.MAP_OFFSET + blocks * 4) // layout.ALIGNMENT) * layout.ALIGNMENT
    fixed = kind == layout.FIXED
    uuids = os.urandom(16), os.urandom(16), linked, linked_modified
    cylinders = min(size // (512 * 63 * 16), 16383)
    header = layout.Header(
        layout.TEXT, layout.SIGNATURE, layout.VERSION, layout.HEADER_LENGTH, kind, 0, b"", layout.MAP_OFFSET, data,
        *(cylinders, 16, 63, 512), 0, size, block_size, 0, blocks, blocks if fixed else 0, *uuids, *(0, 0, 0, 512),
    )  # fmt: skip
    storage.resize(data + (blocks * block_size if fixed else 0))
    for first in range(0, blocks, 1 << 16):
        count = min(1 << 16, blocks - first)
        entries = b"".join(map(layout.ENTRY.pack, range(first, first + count))) if fixed else b"\xff" * (4 * count)
        storage.write(layout.MAP_OFFSET + first * 4, entries)
    # The header last: before, it is no image.
    storage.write(0, header.pack())
