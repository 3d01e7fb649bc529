"""New VHD images."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass

from vfs.api import Storage, fail, option
from vfs.api.options import size as size_option
from vfs.api.options import source_path
from vfs.vd.formats import Unowned, opening, subformat
from vfs.vd.opening import name_beside
from vfs.vd.vhd import layout
from vfs.vd.vhd.footer import BLOCK_MAX
from vfs.vd.vhd.image import open_image
from vfs.vd.vhd.layout import SECTOR, Locator


@dataclass
class CreateOptions:
    """Options of `create`."""

    subformat: str | None = option(subformat, "dynamic (it grows) or fixed")
    block_size: int | None = option(size_option, "bytes of a block; some programs read 2M only")
    backing_file: Storage | None = option(source_path, "the VHD image that the new one continues")  # noqa: RUF009


def create(storage: Storage, size: int | None, options: CreateOptions) -> None:
    """An image of *size* bytes, rounded up to a sector. EINVAL, EFBIG."""
    block_size = options.block_size or layout.BLOCK_SIZE
    if not 4096 <= block_size <= BLOCK_MAX or block_size & (block_size - 1):
        fail(errno.EINVAL, f"block_size={block_size}: a power of two from 4K to {BLOCK_MAX >> 20}M is wanted")
    kind = layout.FIXED if options.subformat == "fixed" else layout.DYNAMIC
    parent_uuid = bytes(16)
    if options.backing_file is not None:
        if kind == layout.FIXED:
            fail(errno.EINVAL, "an image with a parent cannot be fixed")
        kind = layout.DIFFERENCING
        parent_uuid, parent_size = _link(options.backing_file)
        size = parent_size if size is None else size
    if size is None:
        fail(errno.EINVAL, "the size of the new image is missing")
    size = -(-size // SECTOR) * SECTOR
    if size > layout.SECTORS_MAX * SECTOR:
        fail(errno.EFBIG, f"{size} bytes are too many for a VHD image, at most {layout.SECTORS_MAX * SECTOR}")
    now = int(time.time()) - layout.EPOCH
    footer = layout.Footer(
        layout.COOKIE, layout.RESERVED_FEATURE, layout.VERSION, layout.NOWHERE if kind == layout.FIXED else SECTOR, now,
        layout.OUR_CREATOR, 0x00010000, b"Wi2k", size, size, *geometry(size), kind, 0, os.urandom(16), 0, b"",
    ).pack()  # fmt: skip
    if kind == layout.FIXED:
        storage.resize(size + SECTOR)
        storage.write(size, footer)
        return
    blocks = -(-size // block_size)
    table = SECTOR + layout.HEADER_SIZE
    end = table + -(-blocks * 4 // SECTOR) * SECTOR
    name, locators, timestamp = b"", b"", 0
    if options.backing_file is not None:
        name, locators, end = _locate(storage, options.backing_file, end)
        timestamp = _changed(options.backing_file)
    header = layout.Header(
        layout.HEADER_COOKIE, layout.NOWHERE, table, layout.VERSION, blocks, block_size, 0, parent_uuid, timestamp, 0,
        name, locators, b"",
    )  # fmt: skip
    for at in range(table, table + -(-blocks * 4 // SECTOR) * SECTOR, 1 << 18):
        count = min(1 << 18, table + -(-blocks * 4 // SECTOR) * SECTOR - at)
        storage.write(at, b"\xff" * count)
    storage.write(SECTOR, header.pack())
    storage.write(end, footer)
    storage.write(0, footer)


def geometry(size: int) -> tuple[int, int, int]:
    """Cylinders, heads, sectors per track, as the specification's appendix "CHS Calculation" chooses them: no more than the disk
    has, and a translation that old BIOSes know."""
    sectors = min(size // SECTOR, layout.LARGEST_GEOMETRY)
    if sectors >= 65535 * 16 * 63:
        per_track, heads = 255, 16
    else:
        per_track = 17
        heads = max(4, -(-(sectors // per_track) // 1024))
        if heads > 16 or sectors // per_track >= heads * 1024:
            per_track, heads = 31, 16
        if per_track == 31 and sectors // per_track >= heads * 1024:
            per_track, heads = 63, 16
    return sectors // per_track // heads, heads, per_track


def _link(parent: Storage) -> tuple[bytes, int]:
    """UUID and size of a parent, which stays open. EINVAL: it is no VHD image."""
    with open_image(Unowned(parent), opening()) as image:
        found = image.identifier
        assert isinstance(found, bytes)
        return found, image.size


def _locate(storage: Storage, parent: Storage, at: int) -> tuple[bytes, bytes, int]:
    """The parent's name for the header, the locators, and where the file goes on; the relative path is written at *at*."""
    base = name_beside(storage, parent)
    name, path = base.encode("utf-16-be", "replace"), f".\\{base}".encode("utf-16-le", "replace")
    if len(name) > 510:
        fail(errno.ENAMETOOLONG, f"{base}: more than 255 characters, which a VHD image cannot name as its parent")
    space = -(-len(path) // SECTOR) * SECTOR
    storage.write(at, path)
    return name, layout.pack_locators([Locator(layout.RELATIVE, space, len(path), 0, at)]), at + space


def _changed(parent: Storage) -> int:
    """When the parent has last been changed, as far as that is known."""
    descriptor = parent.descriptor()
    return max(0, int(os.fstat(descriptor).st_mtime) - layout.EPOCH) if descriptor is not None else 0
