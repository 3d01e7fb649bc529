"""Checking: that tables and grains lie inside their file and nothing lies there twice, that both sets of tables agree, and how
much of the file belongs to nothing. The content of grains is not read."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from heapq import merge
from itertools import chain

from vfs.api import Finding, Storage
from vfs.api.module import ERROR, LEAK, WARNING
from vfs.vd.opening import Opening
from vfs.vd.vmdk.extent import DiskExtent
from vfs.vd.vmdk.layout import (
    COWD_SIZE,
    GRAIN_MARKER,
    LINE_ENDS,
    NEW_LINE_DETECTION,
    SE_ALLOCATED,
    SE_TYPE_SHIFT,
    SE_UNALLOCATED,
    SE_ZERO,
    SECTOR,
    ZEROED,
)
from vfs.vd.vmdk.opening import open_layout
from vfs.vd.vmdk.sesparse import TABLE, SeSparseExtent
from vfs.vd.vmdk.sparse import CowdExtent, HostedExtent, SparseExtent
from vfs.vd.vmdk.stream import StreamExtent
from vfs.vd.vmdk.tables import decode, read_directory

MOST = 1000
"""Findings, after which checking ends."""
BUCKET = 22
"""Grains are sorted in portions of this many bits of their position in sectors: 2 GiB of the file."""

Piece = tuple[int, int, str]
"""First sector, sectors, and what lies there: empty for a grain."""


def check(source: Storage, opening: Opening) -> list[Finding]:
    """What is wrong with the disk in *source*, its parent left aside. As `open_image` where it cannot even be opened."""
    layout = open_layout(source, False)
    found: list[Finding] = []
    try:
        for finding in chain.from_iterable(_check_extent(extent) for extent in layout.extents):
            if len(found) >= MOST:
                # Whatever this file is, to go on may take for ever.
                found.append(Finding(ERROR, f"{source.name}: more is wrong; it was not looked at"))
                break
            found.append(finding)
    finally:
        for file in layout.files:
            file.close()
    return found


def _check_extent(extent: DiskExtent) -> Iterator[Finding]:
    if extent.unclean and extent.source is not None:
        yield Finding(WARNING, f"{extent.source.name}: was not closed by its last writer")
    if isinstance(extent, SparseExtent | SeSparseExtent):
        yield from _Checker(extent.file, extent.grain // SECTOR, extent).check()


class _Checker:
    """One extent. *grains* are the positions of all grains, in buckets; *pieces* is everything else that lies in the file."""

    def __init__(self, file: Storage, grain: int, extent: SparseExtent | SeSparseExtent) -> None:
        self.file, self.grain, self.extent = file, grain, extent
        self.sectors = file.size // SECTOR
        self.grains: dict[int, array[int]] = {}
        self.sizes: dict[int, int] = {}
        """Sectors of compressed grains by position."""
        self.pieces: list[Piece] = []

    def check(self) -> Iterator[Finding]:
        extent = self.extent
        if isinstance(extent, SeSparseExtent):
            yield from self._sesparse(extent)
        else:
            yield from self._sparse(extent)
        yield from self._overlaps()

    def _error(self, sentence: str) -> Finding:
        return Finding(ERROR, f"{self.file.name}: {sentence}")

    # ---------------------------------------------------------------- 32-bit tables

    def _sparse(self, extent: SparseExtent) -> Iterator[Finding]:
        tables, size = extent.tables, 4 * extent.entries
        yield from self._heads(extent)
        directories: list[tuple[str, array[int]]] = []
        for position, prefix in zip(tables.positions, ("", "redundant ")):
            try:
                directory = read_directory(self.file, position, tables.count, "I", f"{prefix}grain directory")
            except OSError as error:
                yield Finding(ERROR, error.strerror or str(error))
                continue
            directories.append((prefix, directory))
            self._piece(position, 4 * tables.count, f"{prefix}grain directory")
        seen: set[int] = set()
        for number, sectors in enumerate(zip(*(directory for _, directory in directories))):
            if not any(sectors):
                continue
            copies = []
            for (prefix, _), sector in zip(directories, sectors):
                content, what = tables.read(sector), f"{prefix}grain table {number}"
                if content is None:
                    yield self._error(f"{what} at sector {sector} is outside the file of {self.sectors} sectors")
                elif sector in seen:
                    yield self._error(f"{what} at sector {sector} is there already for another")
                else:
                    seen.add(sector)
                    copies.append(content)
                    self._piece(sector * SECTOR, size, what)
            if len(copies) == 2 and copies[0] != copies[1]:
                yield Finding(WARNING, f"{self.file.name}: grain table {number} and its redundant copy differ")
            if copies:
                yield from self._table(extent, number, decode(copies[0], "I"))

    def _heads(self, extent: SparseExtent) -> Iterator[Finding]:
        if isinstance(extent, CowdExtent):
            self._piece(0, COWD_SIZE, "header")
            if extent.header.free_sector > self.sectors:
                yield Finding(WARNING, f"{self.file.name}: the free room begins behind the end, at {extent.header.free_sector}")
        elif isinstance(extent, HostedExtent | StreamExtent):
            header = extent.header
            self._piece(0, SECTOR, "header")
            if header.flags & NEW_LINE_DETECTION and header.line_ends != LINE_ENDS:
                yield self._error("its line ends were changed: somebody has transferred the file as text")
            if header.descriptor_offset:
                self._piece(header.descriptor_offset * SECTOR, header.descriptor_size * SECTOR, "descriptor")

    def _table(self, extent: SparseExtent, number: int, table: array[int]) -> Iterator[Finding]:
        last = -(-extent.size // extent.grain) - number * extent.entries
        for index, entry in enumerate(table[: max(0, last)]):
            if not entry or (entry == ZEROED and extent.zeroed):
                continue
            grain = number * extent.entries + index
            visible = min(extent.grain, extent.size - grain * extent.grain)
            if isinstance(extent, StreamExtent):
                yield from self._packed(extent, grain, entry)
            elif entry == ZEROED or entry * SECTOR + visible > self.file.size:
                yield self._error(f"grain {grain} at sector {entry} is outside the file of {self.sectors} sectors")
            else:
                self._grain(entry)

    def _packed(self, extent: StreamExtent, grain: int, entry: int) -> Iterator[Finding]:
        """A compressed grain: its size is in front of it."""
        position = entry * SECTOR
        if position + GRAIN_MARKER.size > self.file.size:
            yield self._error(f"grain {grain} at sector {entry} is outside the file of {self.sectors} sectors")
        elif extent.markers:
            sector, size = GRAIN_MARKER.unpack(self.file.read(position, GRAIN_MARKER.size))
            if sector != grain * self.grain or not size or position + GRAIN_MARKER.size + size > self.file.size:
                yield self._error(f"grain {grain} at sector {entry} is marked as sector {sector} with {size} bytes")
            else:
                self._grain(entry)
                self.sizes[entry] = -(-(GRAIN_MARKER.size + size) // SECTOR)

    # ---------------------------------------------------------------- seSparse

    def _sesparse(self, extent: SeSparseExtent) -> Iterator[Finding]:
        header = extent.header
        directory = read_directory(self.file, header.directory_offset * SECTOR, extent.count, "Q", "grain directory")
        self._piece(header.directory_offset * SECTOR, 8 * extent.count, "grain directory")
        seen: set[int] = set()
        for number, reference in enumerate(directory):
            if not reference:
                continue
            if reference in seen:
                yield self._error(f"entry {number} of the grain directory, {reference:#x}, is there already")
                continue
            seen.add(reference)
            try:
                table = extent.load(number)
            except OSError as error:
                yield Finding(ERROR, error.strerror or str(error))
                continue
            self._piece(
                (header.tables_offset + (reference & 0xFFFFFFFF) * TABLE) * SECTOR, TABLE * SECTOR, f"grain table {number}"
            )
            for index, entry in enumerate(table or ()):
                stored, grain = entry >> SE_TYPE_SHIFT, number * extent.entries + index
                if stored == SE_ALLOCATED and extent.position(entry) + extent.grain <= self.file.size:
                    self._grain(extent.position(entry) // SECTOR)
                elif stored > SE_ZERO or (stored == SE_UNALLOCATED and entry):
                    yield self._error(f"grain {grain} has the entry {entry:#x}, in a file of {self.sectors} sectors")

    # ---------------------------------------------------------------- what lies where

    def _piece(self, position: int, size: int, what: str) -> None:
        self.pieces.append((position // SECTOR, -(-size // SECTOR), what))

    def _grain(self, sector: int) -> None:
        self.grains.setdefault(sector >> BUCKET, array("Q")).append(sector)

    def _sorted_grains(self) -> Iterator[Piece]:
        for bucket in sorted(self.grains):
            for sector in sorted(self.grains[bucket]):
                yield sector, self.sizes.get(sector, self.grain), ""

    def _overlaps(self) -> Iterator[Finding]:
        """What lies on something else, and what belongs to nothing: room between grains that would hold one."""
        extent = self.extent
        begin = extent.header.overhead if isinstance(extent, HostedExtent) else 0
        end, before, lost = 0, "", 0
        for sector, sectors, what in chain(merge(sorted(self.pieces), self._sorted_grains()), [(self.sectors, 0, "end")]):
            name = what or f"the grain at sector {sector}"
            if sector < end and sectors:
                yield self._error(f"{name} lies on {before}")
            elif isinstance(extent, HostedExtent) and sector > max(end, begin):
                lost += (sector - max(end, begin)) // self.grain
            if sector + sectors > end:
                end, before = sector + sectors, name
        if lost:
            yield Finding(LEAK, f"{self.file.name}: room for {lost} grains belongs to nothing")
