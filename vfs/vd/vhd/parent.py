"""The parent of a differencing disk: which names the child has for it, and whether a file is it."""

from __future__ import annotations

import errno
from typing import Final

from vfs.api import Storage, fail
from vfs.vd.disk import DiskImage
from vfs.vd.opening import Opening
from vfs.vd.vhd import layout
from vfs.vd.vhd.layout import Header

NAME_MAX: Final = 65536
"""Bytes of a locator's path that are read."""


def open_parent(source: Storage, header: Header, opening: Opening) -> tuple[DiskImage, str]:
    """The parent opened, and its name for a person. As `Opening.parent_of`; EINVAL: it is another disk."""
    name = parent_name(source, header)
    parent = opening.parent_of(source, name.encode("utf-8", "surrogateescape"))
    if parent.format != "vhd" or parent.identifier != header.parent_uuid:
        found, shown = parent.identifier, parent.name
        parent.close()
        if isinstance(found, bytes) and parent.format == "vhd":
            fail(errno.EINVAL, f"{source.name}: its parent has UUID {header.parent_uuid.hex()}, but {shown} has {found.hex()}")
        fail(errno.EINVAL, f"{source.name}: {shown} is no VHD image, as its parent must be")
    return parent, name


def parent_name(source: Storage, header: Header) -> str:
    """The file name in the relative locator; else the header's name; else whatever path there is."""
    paths = dict(_paths(source, header))
    if layout.RELATIVE in paths:
        return paths[layout.RELATIVE].rpartition("/")[2]
    return _text(header.parent_name, "utf-16-be") or paths.get(layout.ABSOLUTE) or paths.get(layout.MAC_URL) or "?"


def _paths(source: Storage, header: Header) -> list[tuple[bytes, str]]:
    encodings = {layout.RELATIVE: "utf-16-le", layout.ABSOLUTE: "utf-16-le", layout.MAC_URL: "utf-8"}
    found = []
    for locator in header.parent_locators():
        encoding = encodings.get(locator.platform)
        inside = locator.offset + locator.length <= source.size
        if encoding is not None and 0 < locator.length <= NAME_MAX and inside:
            text = _text(source.read(locator.offset, locator.length), encoding).replace("\\", "/")
            if text.rpartition("/")[2]:
                found.append((locator.platform, text))
    return found


def _text(raw: bytes, encoding: str) -> str:
    return raw.decode(encoding, "replace").partition("\0")[0]
