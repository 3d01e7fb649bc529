"""What can be wrong in a VHD image: footer against its copy, the block table against the file and itself."""

from __future__ import annotations

from vfs.api import ERROR, LEAK, WARNING, Finding, Storage
from vfs.vd.findings import Findings
from vfs.vd.opening import Opening
from vfs.vd.pages import Pages, Table
from vfs.vd.vhd import layout
from vfs.vd.vhd.footer import find_footer, read_header, valid_footer
from vfs.vd.vhd.layout import SECTOR, UNUSED


def check(source: Storage, opening: Opening) -> list[Finding]:
    """The parent is not looked at."""
    found = Findings()
    footer = find_footer(source)
    if not footer.at_end:
        found.add(WARNING, "footer: missing at the end of the file, the copy at its beginning is used")
    if footer.footer.type == layout.FIXED:
        return found.all()
    copy = source.read(0, SECTOR)
    if not valid_footer(copy):
        found.add(ERROR, "footer: the copy at the beginning of the file is damaged")
    elif layout.Footer.unpack(copy) != footer.footer:
        found.add(WARNING, "footer: the copy at the beginning of the file is another")
    header = read_header(source, footer)
    stride = layout.bitmap_size(header.block_size) + header.block_size
    table_end = header.table_offset + -(-header.entries * 4 // SECTOR) * SECTOR
    taken = [(0, SECTOR, "the footer's copy"), (header.table_offset, table_end - header.table_offset, "the block table")]
    taken.append((footer.footer.header_offset, layout.HEADER_SIZE, "the header"))
    for locator in header.parent_locators():
        if locator.platform != bytes(4) and locator.length:
            taken.append((locator.offset, -(-locator.length // SECTOR) * SECTOR, "a parent locator"))
    for block, entry in enumerate(Table(Pages(source), header.table_offset, header.entries, layout.ENTRY)):
        if entry == UNUSED:
            continue
        if entry * SECTOR + stride - header.block_size >= footer.room:
            found.add(ERROR, f"block {block}: at sector {entry}, outside the file")
        else:
            taken.append((entry * SECTOR, stride, f"block {block}"))
    _overlaps(taken, footer.room, found)
    return found.all()


def _overlaps(taken: list[tuple[int, int, str]], room: int, found: Findings) -> None:
    taken.sort()
    end, owner, unused = 0, "", 0
    for start, length, name in taken:
        if start < end:
            found.add(ERROR, f"{name}: at byte {start}, where {owner} is too")
        unused += max(0, start - end)
        if start + length > end:
            end, owner = start + length, name
    unused += max(0, room - end)
    if unused:
        found.add(LEAK, f"file: {unused} bytes are in use by nobody")
