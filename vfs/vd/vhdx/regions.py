"""The region table, which says where the block table and the metadata are, and what the metadata says of the disk."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, NoReturn

from vfs.api import Storage, damaged, unsupported
from vfs.vd.vhdx import layout
from vfs.vd.vhdx.headers import checksum_holds
from vfs.vd.vhdx.layout import MIB, Header, guid_text


class Region(NamedTuple):
    """Bytes."""

    offset: int
    length: int


@dataclass
class Geometry:
    """What an image is, before its tables are read."""

    table: Region
    metadata: Region
    size: int = 0
    block_size: int = 0
    sector: int = 0
    physical_sector: int = 0
    has_parent: bool = False
    leaves_allocated: bool = False
    locator: bytes = b""

    @property
    def blocks(self) -> int:
        return -(-self.size // self.block_size)

    @property
    def ratio(self) -> int:
        """Blocks of a chunk: so many entries of the table stand before one of a bitmap."""
        return layout.CHUNK_SECTORS * self.sector // self.block_size

    @property
    def entries(self) -> int:
        """Of the table: 2.5, "BAT": after the last chunk's blocks a bitmap's entry only where there is a parent."""
        if self.has_parent:
            return -(-self.blocks // self.ratio) * (self.ratio + 1)
        return self.blocks + max(0, self.blocks - 1) // self.ratio


def region_table(source: Storage, offset: int) -> dict[bytes, Region] | None:
    """One of the two tables; `None` if it is not valid. EUCLEAN, EOPNOTSUPP."""
    raw = source.read(offset, layout.REGION_TABLE_SIZE)
    signature, _, count, _ = layout.REGION_HEAD.unpack_from(raw)
    if signature != layout.REGION_SIGNATURE or count > layout.ENTRIES_MAX or not checksum_holds(raw):
        return None
    found = {}
    for number in range(count):
        item, start, length, required = layout.REGION_ENTRY.unpack_from(
            raw, layout.REGION_HEAD.size + number * layout.REGION_ENTRY.size
        )
        if start % MIB or length % MIB or start < MIB or start + length > source.size:
            raise damaged(f"{source.name}: region {number}: {length} bytes at {start} of {source.size} bytes")
        if item not in (layout.BAT_REGION, layout.METADATA_REGION) and required & 1:
            raise unsupported(f"{source.name}: needs region {guid_text(item)}, which is unknown")
        found[item] = Region(start, length)
    return found


def read_geometry(source: Storage, header: Header) -> Geometry:
    """EUCLEAN, EOPNOTSUPP."""
    name = source.name
    regions = region_table(source, layout.REGION_OFFSETS[0]) or region_table(source, layout.REGION_OFFSETS[1])
    if regions is None:
        raise damaged(f"{name}: both region tables are damaged")
    if layout.BAT_REGION not in regions or layout.METADATA_REGION not in regions:
        raise damaged(f"{name}: no region for the block table or the metadata")
    geometry = Geometry(regions[layout.BAT_REGION], regions[layout.METADATA_REGION])
    ranges = sorted([*regions.values(), Region(header.log_offset, header.log_length)])
    for one, other in pairwise(ranges):
        if one.offset + one.length > other.offset and other.length:
            raise damaged(f"{name}: regions at {one.offset} and {other.offset} overlap")
    _read_items(source, geometry, _metadata_table(source, geometry.metadata))
    return geometry


def _metadata_table(source: Storage, region: Region) -> dict[bytes, tuple[int, int]]:
    """Place in the file and length of each item."""
    name = source.name
    if region.length < layout.METADATA_TABLE_SIZE:
        raise damaged(f"{name}: a metadata region of {region.length} bytes")
    raw = source.read(region.offset, layout.METADATA_TABLE_SIZE)
    signature, _, count, _ = layout.METADATA_HEAD.unpack_from(raw)
    if signature != layout.METADATA_SIGNATURE or count > layout.ENTRIES_MAX:
        raise damaged(f"{name}: the metadata table is damaged")
    known = (layout.FILE_PARAMETERS, layout.DISK_SIZE, layout.DISK_ID, layout.LOGICAL_SECTOR, layout.PHYSICAL_SECTOR)
    found = {}
    for number in range(count):
        item, offset, length, flags, _ = layout.METADATA_ENTRY.unpack_from(
            raw, layout.METADATA_HEAD.size + number * layout.METADATA_ENTRY.size
        )
        if length > layout.ITEM_MAX or (length and not layout.METADATA_TABLE_SIZE <= offset <= region.length - length):
            raise damaged(f"{name}: metadata item {number}: {length} bytes at {offset} of {region.length}")
        if item in known or (item == layout.PARENT_LOCATOR and not flags & layout.IS_USER):
            found[item] = region.offset + offset, length
        elif flags & layout.IS_REQUIRED:
            raise unsupported(f"{name}: needs metadata {guid_text(item)}, which is unknown")
    return found


def _read_items(source: Storage, geometry: Geometry, items: dict[bytes, tuple[int, int]]) -> None:
    def wrong(sentence: str) -> NoReturn:
        raise damaged(f"{source.name}: {sentence}")

    def number(item: bytes, size: int, what: str) -> int:
        offset, length = items.get(item, (0, 0))
        if length < size:
            wrong(f"no metadata that says the {what}")
        return int.from_bytes(source.read(offset, size), "little")

    parameters = number(layout.FILE_PARAMETERS, 8, "block size")
    geometry.block_size, flags = parameters & 0xFFFFFFFF, parameters >> 32
    geometry.has_parent, geometry.leaves_allocated = bool(flags & layout.HAS_PARENT), bool(flags & layout.LEAVE_ALLOCATED)
    block = geometry.block_size
    if not layout.BLOCK_MIN <= block <= layout.BLOCK_MAX or block & (block - 1):
        wrong(f"blocks of {block} bytes; powers of two from 1 to 256 MiB are allowed")
    geometry.sector = number(layout.LOGICAL_SECTOR, 4, "logical sector size")
    geometry.physical_sector = number(layout.PHYSICAL_SECTOR, 4, "physical sector size")
    if geometry.sector not in (512, 4096) or geometry.physical_sector not in (512, 4096):
        wrong(f"sectors of {geometry.sector} and {geometry.physical_sector} bytes; 512 and 4096 are allowed")
    geometry.size = number(layout.DISK_SIZE, 8, "disk size")
    if geometry.size > layout.SIZE_MAX or geometry.size % geometry.sector:
        wrong(f"a disk of {geometry.size} bytes; whole sectors up to {layout.SIZE_MAX} are allowed")
    if geometry.entries * 8 > geometry.table.length:
        wrong(f"a block table of {geometry.table.length} bytes, too small for {geometry.entries} entries")
    if geometry.has_parent:
        offset, length = items.get(layout.PARENT_LOCATOR, (0, 0))
        geometry.locator = source.read(offset, length)
