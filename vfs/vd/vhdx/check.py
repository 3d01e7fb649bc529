"""What can be wrong in a VHDX image: headers, region tables, the block table against the file and itself."""

from __future__ import annotations

from vfs.api import ERROR, LEAK, WARNING, Finding, Storage
from vfs.vd.findings import Findings
from vfs.vd.opening import Opening
from vfs.vd.pages import Pages, Table
from vfs.vd.vhdx import layout
from vfs.vd.vhdx.headers import Headers, read_headers
from vfs.vd.vhdx.layout import MIB, OFFSET_MASK, STATE_MASK
from vfs.vd.vhdx.log import Log, Replayed
from vfs.vd.vhdx.regions import Geometry, read_geometry, region_table

Taken = list[tuple[int, int, str]]


def check(source: Storage, opening: Opening) -> list[Finding]:
    """As the image is when its log has been replayed. The parent is not looked at."""
    found = Findings()
    headers = Headers(source)
    for number, header in enumerate(read_headers(source), 1):
        if header is None:
            found.add(WARNING, f"header {number}: damaged, the other one counts")
    log = Log(source, headers.current)
    if log.changes:
        found.add(WARNING, f"log: {len(log.changes)} changes have not been put into their places; opening it for writing does")
        source = Replayed(source, log)
    geometry = read_geometry(source, headers.current)
    for number, offset in enumerate(layout.REGION_OFFSETS, 1):
        if region_table(source, offset) is None:
            found.add(WARNING, f"region table {number}: damaged, the other one counts")
    taken: Taken = [
        (0, layout.HEADER_SECTION, "the header section"),
        (headers.current.log_offset, headers.current.log_length, "the log"),
        (*geometry.table, "the block table"),
        (*geometry.metadata, "the metadata"),
    ]
    blocks: Taken = []
    _check_table(source, geometry, blocks, found)
    # Makers leave room before the first block as they like.
    _check_overlaps(taken + blocks, min(blocks, default=(source.size, 0, ""))[0], source.size, found)
    return found.all()


def _check_table(source: Storage, geometry: Geometry, taken: Taken, found: Findings) -> None:
    ratio, partial = geometry.ratio, -1
    table = Table(Pages(source), geometry.table.offset, geometry.entries, layout.ENTRY)
    for index, entry in enumerate(table):
        chunk, number = divmod(index, ratio + 1)
        state, place, length = entry & STATE_MASK, entry & OFFSET_MASK, geometry.block_size
        name = f"block {chunk * ratio + number}"
        if number == ratio:
            name, length = f"bitmap {chunk}", layout.BITMAP_BLOCK
            if state not in (layout.NOT_PRESENT, layout.FULLY_PRESENT):
                found.add(ERROR, f"{name}: state {state}, which it cannot be in")
                continue
            if state == layout.NOT_PRESENT and partial >= 0:
                found.add(ERROR, f"block {partial}: partially present, but has no bitmap")
            partial = -1
        elif state == layout.PARTIALLY_PRESENT:
            partial = chunk * ratio + number
        if state in (4, 5) or (state == layout.PARTIALLY_PRESENT and not geometry.has_parent):
            found.add(ERROR, f"{name}: state {state}, which it cannot be in")
        elif state in (layout.FULLY_PRESENT, layout.PARTIALLY_PRESENT):
            if place < MIB or place >= source.size:
                found.add(ERROR, f"{name}: at {place}, outside the file")
            else:
                taken.append((place, length, name))


def _check_overlaps(taken: Taken, first: int, size: int, found: Findings) -> None:
    """*first*: where the blocks begin."""
    taken.sort()
    end, owner, unused = 0, "", 0
    for start, length, name in taken:
        if length and start < end:
            found.add(ERROR, f"{name}: at byte {start}, where {owner} is too")
        unused += max(0, start - max(end, first))
        if start + length > end:
            end, owner = start + length, name
    unused += max(0, size - max(end, first))
    if unused:
        found.add(LEAK, f"file: {unused} bytes are in use by nobody")
