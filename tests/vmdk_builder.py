"""VMDKs of kinds that qemu-img does not make, written by the specification and by nothing of ours."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

SECTOR = 512


def grains_of(content: bytes, grain: int) -> dict[int, bytes]:
    """The grains that are not zeros."""
    found = {}
    for number in range(-(-len(content) // grain)):
        piece = content[number * grain : (number + 1) * grain].ljust(grain, b"\0")
        if piece.strip(b"\0"):
            found[number] = piece
    return found


def descriptor(
    kind: str,
    extents: list[str],
    cid: str = "12345678",
    parent: str = "ffffffff",
    more: str = "",
    end: str = "\n",
    encoding: str = "UTF-8",
) -> bytes:
    lines = ["# Disk DescriptorFile", "version=1", f'encoding="{encoding}"', f"CID={cid}", f"parentCID={parent}"]
    lines += [f'createType="{kind}"', *more.split("\n"), "# Extent description", *extents, "", "# The Disk Data Base", "#DDB", ""]
    lines += ['ddb.adapterType = "lsilogic"', 'ddb.longContentID = "0123456789abcdef0123456712345678"']
    return end.join([*lines, ""]).encode({"UTF-8": "utf-8", "windows-1252": "cp1252", "Shift_JIS": "cp932"}[encoding])


def stream(content: bytes, grain: int = 128, padding: int = 0) -> bytes:
    """As VMware writes it: grains in order, each table behind its grains, the directory, the footer."""
    capacity = len(content) // SECTOR
    text = descriptor("streamOptimized", [f'RDONLY {capacity} SPARSE "generated-stream.vmdk"'])

    def header(directory: int) -> bytes:
        fixed = (b"KDMV", 3, 0x30001, capacity, grain, 1, 20, 512, 0, directory, grain, 0, b"\n \r\n", 1)
        return struct.pack("<4sIIQQQQIQQQB4sH433x", *fixed)

    def marker(sectors: int, kind: int) -> bytes:
        return struct.pack("<QII496x", sectors, 0, kind)

    found = bytearray(header((1 << 64) - 1) + text.ljust(20 * SECTOR, b"\0"))
    found += bytes(grain * SECTOR - len(found))
    stored = grains_of(content, grain * SECTOR)
    directory = []
    for first in range(0, -(-capacity // grain), 512):
        table = [0] * 512
        for index in range(512):
            if first + index in stored:
                table[index] = len(found) // SECTOR
                packed = zlib.compress(stored[first + index])
                found += struct.pack("<QI", (first + index) * grain, len(packed)) + packed
                found += bytes(-len(found) % SECTOR)
        if any(table):
            found += marker(4, 1)
            directory.append(len(found) // SECTOR)
            found += struct.pack("<512I", *table)
        else:
            directory.append(0)
    packed_directory = struct.pack(f"<{len(directory)}I", *directory)
    found += marker(-(-len(packed_directory) // SECTOR), 2)
    at = len(found) // SECTOR
    found += packed_directory + bytes(-len(packed_directory) % SECTOR)
    found += marker(1, 3) + header(at) + marker(0, 0) + bytes(padding)
    return bytes(found)


def cowd(content: bytes, grain: int = 1) -> bytes:
    """An ESX server extent, with its tables between the grains."""
    capacity = len(content) // SECTOR
    tables = -(-capacity // (4096 * grain))
    directory_sectors = -(-tables * 4 // SECTOR)
    found = bytearray(2048 + directory_sectors * SECTOR)
    directory = [0] * tables
    stored = grains_of(content, grain * SECTOR)
    for number in range(tables):
        mine = [index for index in range(4096) if number * 4096 + index in stored]
        if not mine:
            continue
        directory[number] = len(found) // SECTOR
        place = len(found)
        found += bytes(4096 * 4)
        for index in mine:
            struct.pack_into("<I", found, place + 4 * index, len(found) // SECTOR)
            found += stored[number * 4096 + index]
    struct.pack_into("<4s10I", found, 0, b"COWD", 1, 3, capacity, grain, 4, tables, len(found) // SECTOR, 10, 16, 63)
    struct.pack_into(f"<{tables}I", found, 2048, *directory)
    return bytes(found)


def sesparse(content: bytes, shuffled: bool = True) -> bytes:
    """As qemu's reader has it: directory, tables, grains in three regions. Zero grains in their three forms by turns."""
    capacity = len(content) // SECTOR
    tables = -(-capacity // (8 * 4096))
    stored = grains_of(content, 4096)
    directory_at, tables_at = 16, 16 + -(-tables * 8 // SECTOR)
    grains_at = tables_at + 64 * tables
    order = sorted(stored, reverse=shuffled)
    places = {number: place for place, number in enumerate(order)}
    fixed = [0xCAFEBABE, 0x200000001, capacity, 8, 64, 0, 0, 0, 0, 0, 1, 1, 2, 2, 4, 4, directory_at, tables_at - directory_at]
    fixed += [tables_at, 64 * tables, 0, 0, 0, 0, grains_at, 8 * len(order)]
    found = bytearray(struct.pack("<26Q304x", *fixed))
    found += struct.pack("<QQQQ480x", 0xCAFECAFE, 0, 0, 0)
    found += bytes(grains_at * SECTOR - len(found))
    for number in range(tables):
        struct.pack_into("<Q", found, directory_at * SECTOR + 8 * number, 0x1000000000000000 | number)
        for index in range(4096):
            grain = number * 4096 + index
            entry = (0, 1 << 60, 2 << 60)[grain % 3]
            if grain in places:
                place = places[grain]
                entry = 3 << 60 | (place & 0xFFF) << 48 | place >> 12
            struct.pack_into("<Q", found, tables_at * SECTOR + number * 64 * SECTOR + 8 * index, entry)
    for grain in order:
        found += stored[grain]
    return bytes(found)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
