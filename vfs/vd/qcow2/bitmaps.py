"""Persistent bitmaps: where they are, and that those which record changes are in use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vfs.api import Storage, damaged
from vfs.vd.qcow2 import layout
from vfs.vd.qcow2.header import Header, check_place


class Bitmap(NamedTuple):
    """*at*: where its entry in the directory lies; *name* as it is there."""

    at: int
    name: bytes
    table_offset: int
    table_entries: int
    flags: int


class Directory(NamedTuple):
    offset: int
    length: int
    bitmaps: list[Bitmap]


def read_bitmaps(source: Storage, header: Header) -> Directory | None:
    """The directory, or `None` where there is none, or one that is not to be trusted. EUCLEAN."""
    extension = header.extensions.get(layout.BITMAPS_EXTENSION)
    if extension is None or not header.autoclear & layout.BITMAPS:
        return None
    if len(extension) < layout.BITMAPS_HEADER.size:
        raise damaged(f"{header.name}: the bitmaps extension has {len(extension)} bytes")
    count, _, length, offset = layout.BITMAPS_HEADER.unpack_from(extension)
    if count > layout.MAX_BITMAPS or length > layout.MAX_SNAPSHOT_TABLE_BYTES:
        raise damaged(f"{header.name}: {count} bitmaps in a directory of {length} bytes")
    check_place(header, source, "bitmap directory", offset, length)
    return Directory(offset, length, list(_entries(header, source.read(offset, length), offset, count)))


def _entries(header: Header, directory: bytes, offset: int, count: int) -> Iterator[Bitmap]:
    at = 0
    for number in range(1, count + 1):
        if at + layout.BITMAP.size > len(directory):
            raise damaged(f"{header.name}: bitmap {number} of {count} is outside the directory")
        table, entries, flags, _, _, name_length, extra = layout.BITMAP.unpack_from(directory, at)
        begin = at + layout.BITMAP.size + extra
        if begin + name_length > len(directory):
            raise damaged(f"{header.name}: the name of bitmap {number} is outside the directory")
        yield Bitmap(offset + at, directory[begin : begin + name_length], table, entries, flags)
        at = (begin + name_length + 7) & ~7


def mark_in_use(file: Storage, directory: Directory) -> None:
    """The bitmaps that record changes are out of date from now on."""
    for bitmap in directory.bitmaps:
        if bitmap.flags & layout.AUTO and not bitmap.flags & layout.IN_USE:
            file.write(bitmap.at + layout.BITMAP_FLAGS_AT, layout.BITMAP_FLAGS.pack(bitmap.flags | layout.IN_USE))
