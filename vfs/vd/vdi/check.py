"""What can be wrong in a VDI image: the map against the file, and against itself."""

from __future__ import annotations

from vfs.api import ERROR, LEAK, WARNING, Finding, Storage
from vfs.vd.findings import Findings
from vfs.vd.opening import Opening
from vfs.vd.vdi import layout
from vfs.vd.vdi.image import read_header


def check(source: Storage, opening: Opening) -> list[Finding]:
    """The parent is not looked at."""
    header = read_header(source)
    found = Findings()
    from vfs.vd.pages import Pages, Table

    stride = header.block_size + header.block_extra
    seen: dict[int, int] = {}
    for block, entry in enumerate(Table(Pages(source), header.map_offset, header.blocks, layout.ENTRY)):
        if entry >= layout.ZERO:
            continue
        if header.data_offset + entry * stride + header.block_extra >= source.size:
            found.add(ERROR, f"block {block}: at {entry} of the file, which has no such block")
            continue
        if entry >= header.blocks:
            found.add(WARNING, f"block {block}: at {entry} of the file, of {header.blocks} at most; the next writer moves it")
        if entry in seen:
            found.add(ERROR, f"block {block}: at {entry} of the file, where block {seen[entry]} is too")
        else:
            seen[entry] = block
    last = max(seen, default=-1) + 1
    if header.allocated < last:
        found.add(ERROR, f"header: {header.allocated} blocks in the file, but block {last - 1} of it is in use")
    unused = max(header.allocated, last) - len(seen)
    if unused > 0:
        found.add(LEAK, f"header: {unused} blocks of the file are in use by nobody")
    return found.all()
