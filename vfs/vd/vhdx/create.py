"""New VHDX images."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from vfs.api import Storage, fail, option
from vfs.api.options import number, source_path
from vfs.api.options import size as size_option
from vfs.vd.formats import Unowned, opening, subformat
from vfs.vd.opening import name_beside
from vfs.vd.vhdx import layout
from vfs.vd.vhdx.headers import with_checksum
from vfs.vd.vhdx.image import open_image
from vfs.vd.vhdx.layout import MIB
from vfs.vd.vhdx.log import LOG_MAX
from vfs.vd.vhdx.regions import Geometry, Region

BLOCK_SIZE, CHILD_BLOCK_SIZE = 32 * MIB, 2 * MIB
"""What Hyper-V chooses."""
CREATOR = "vfs"


@dataclass
class CreateOptions:
    """Options of `create`."""

    subformat: str | None = option(subformat, "dynamic (it grows) or fixed")
    block_size: int | None = option(size_option, "bytes of a block: 1M to 256M")
    log_size: int | None = option(size_option, "bytes of the log")
    sector_size: int | None = option(number, "bytes of a logical sector: 512 or 4096")
    backing_file: Storage | None = option(source_path, "the VHDX image that the new one continues")  # noqa: RUF009


def create(storage: Storage, size: int | None, options: CreateOptions) -> None:
    """An image of *size* bytes, rounded up to a sector. EINVAL, EFBIG."""
    block = options.block_size or (BLOCK_SIZE if options.backing_file is None else CHILD_BLOCK_SIZE)
    if not layout.BLOCK_MIN <= block <= layout.BLOCK_MAX or block & (block - 1):
        fail(errno.EINVAL, f"block_size={block}: a power of two from 1M to 256M is wanted")
    log_size = options.log_size or MIB
    if log_size % MIB or log_size > LOG_MAX:
        fail(errno.EINVAL, f"log_size={log_size}: whole MiB up to {LOG_MAX >> 20}M are wanted")
    sector = options.sector_size or 512
    if sector not in (512, 4096):
        fail(errno.EINVAL, f"sector_size={sector}: 512 or 4096 is wanted")
    fixed, locator = options.subformat == "fixed", b""
    if options.backing_file is not None:
        if fixed:
            fail(errno.EINVAL, "an image with a parent cannot be fixed")
        locator, parent_size, parent_sector = _link(storage, options.backing_file)
        size = parent_size if size is None else size
        if parent_sector != sector:
            fail(errno.EINVAL, f"sector_size={sector}: the parent's sectors have {parent_sector} bytes")
    if size is None:
        fail(errno.EINVAL, "the size of the new image is missing")
    size = -(-size // sector) * sector
    if size > layout.SIZE_MAX:
        fail(errno.EFBIG, f"{size} bytes are too many for a VHDX image, at most {layout.SIZE_MAX}")

    metadata = Region(MIB + log_size, MIB)
    geometry = Geometry(Region(0, 0), metadata, size, block, sector, 4096, bool(locator), fixed, locator)
    table = Region(metadata.offset + MIB, max(MIB, -(-geometry.entries * 8 // MIB) * MIB))
    geometry.table = table
    data = table.offset + table.length
    storage.resize(data + (geometry.blocks * block if fixed else 0))
    _write_metadata(storage, geometry)
    if fixed:
        _write_full_table(storage, geometry, data)
    regions = layout.REGION_HEAD.pack(layout.REGION_SIGNATURE, 0, 2, 0)
    regions += layout.REGION_ENTRY.pack(layout.BAT_REGION, *table, 1)
    regions += layout.REGION_ENTRY.pack(layout.METADATA_REGION, *metadata, 1)
    for offset in layout.REGION_OFFSETS:
        storage.write(offset, with_checksum(regions.ljust(layout.REGION_TABLE_SIZE, b"\0")))
    guids = os.urandom(16), os.urandom(16), layout.NO_GUID
    for sequence, offset in enumerate(layout.HEADER_OFFSETS):
        header = layout.Header(
            layout.HEADER_SIGNATURE, 0, sequence, *guids, layout.LOG_VERSION, layout.VERSION, log_size, MIB
        )  # fmt: skip
        storage.write(offset, with_checksum(header.pack()))
    storage.write(0, layout.SIGNATURE + CREATOR.encode("utf-16-le").ljust(layout.CREATOR_SIZE, b"\0"))


def _write_metadata(storage: Storage, geometry: Geometry) -> None:
    flags = (layout.HAS_PARENT if geometry.has_parent else 0) | (layout.LEAVE_ALLOCATED if geometry.leaves_allocated else 0)
    items = [
        (layout.FILE_PARAMETERS, layout.PARAMETERS.pack(geometry.block_size, flags), layout.IS_REQUIRED),
        (layout.DISK_SIZE, geometry.size.to_bytes(8, "little"), layout.IS_REQUIRED | layout.IS_DISK),
        (layout.DISK_ID, os.urandom(16), layout.IS_REQUIRED | layout.IS_DISK),
        (layout.LOGICAL_SECTOR, geometry.sector.to_bytes(4, "little"), layout.IS_REQUIRED | layout.IS_DISK),
        (layout.PHYSICAL_SECTOR, geometry.physical_sector.to_bytes(4, "little"), layout.IS_REQUIRED | layout.IS_DISK),
    ]
    if geometry.has_parent:
        items.append((layout.PARENT_LOCATOR, geometry.locator, layout.IS_REQUIRED))
    entries, content = b"", b""
    for item, value, kind in items:
        entries += layout.METADATA_ENTRY.pack(item, layout.METADATA_TABLE_SIZE + len(content), len(value), kind, 0)
        content += value
    head = layout.METADATA_HEAD.pack(layout.METADATA_SIGNATURE, 0, len(items), b"")
    storage.write(geometry.metadata.offset, (head + entries).ljust(layout.METADATA_TABLE_SIZE, b"\0") + content)


def _write_full_table(storage: Storage, geometry: Geometry, data: int) -> None:
    """The table of a fixed disk: all blocks in their order, entries of bitmaps between them."""
    ratio, at = geometry.ratio, geometry.table.offset
    for first in range(0, geometry.blocks, ratio):
        count = min(ratio, geometry.blocks - first)
        places = range(data + first * geometry.block_size, data + (first + count) * geometry.block_size, geometry.block_size)
        storage.write(at, b"".join(layout.ENTRY.pack(place | layout.FULLY_PRESENT) for place in places))
        at += (ratio + 1) * layout.ENTRY.size


def _link(storage: Storage, parent: Storage) -> tuple[bytes, int, int]:
    """The locator of a parent, which stays open; its size and sector size. EINVAL: it is no VHDX image."""
    with open_image(Unowned(parent), opening()) as image:
        guid = layout.guid_text(image.headers.current.data_guid)
        values = {"parent_linkage": guid, "relative_path": f".\\{name_beside(storage, parent)}"}
        entries, content = b"", b""
        start = layout.LOCATOR_HEAD.size + len(values) * layout.LOCATOR_ENTRY.size
        for key, value in values.items():
            raw_key, raw_value = key.encode("utf-16-le"), value.encode("utf-16-le", "replace")
            place = start + len(content)
            entries += layout.LOCATOR_ENTRY.pack(place, place + len(raw_key), len(raw_key), len(raw_value))
            content += raw_key + raw_value
        head = layout.LOCATOR_HEAD.pack(layout.LOCATOR_TYPE, 0, len(values))
        return head + entries + content, image.size, image.block_size
