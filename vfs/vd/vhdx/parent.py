"""The parent of a differencing disk: the parent locator (2.6.2.6), and whether a file is the one that it means."""

from __future__ import annotations

import errno

from vfs.api import Storage, damaged, fail, unsupported
from vfs.vd.disk import DiskImage
from vfs.vd.opening import Opening
from vfs.vd.vhdx import layout
from vfs.vd.vhdx.layout import guid_text

LINKS = ("parent_linkage", "parent_linkage2")


def open_parent(source: Storage, locator: bytes, opening: Opening) -> tuple[DiskImage, str]:
    """The parent opened, and its name for a person. As `Opening.parent_of`; EINVAL: it is another disk, or changed since."""
    values = read_locator(source, locator)
    name = parent_name(values)
    parent = opening.parent_of(source, name.encode("utf-8", "replace"))
    found, shown = parent.identifier, parent.name
    wanted = {values[key].lower() for key in LINKS if key in values}
    if parent.format != "vhdx" or not isinstance(found, bytes):
        parent.close()
        fail(errno.EINVAL, f"{source.name}: {shown} is no VHDX image, as its parent must be")
    if guid_text(found) not in wanted:
        parent.close()
        fail(errno.EINVAL, f"{source.name}: {shown} is not its parent, or has been changed since")
    return parent, name


def read_locator(source: Storage, raw: bytes) -> dict[str, str]:
    """Keys and values. EUCLEAN, EOPNOTSUPP."""
    if len(raw) < layout.LOCATOR_HEAD.size:
        raise damaged(f"{source.name}: has a parent, but no parent locator")
    kind, _, count = layout.LOCATOR_HEAD.unpack_from(raw)
    if kind != layout.LOCATOR_TYPE:
        raise unsupported(f"{source.name}: a parent locator of type {guid_text(kind)}")
    found = {}
    for number in range(count):
        at = layout.LOCATOR_HEAD.size + number * layout.LOCATOR_ENTRY.size
        if at + layout.LOCATOR_ENTRY.size > len(raw):
            raise damaged(f"{source.name}: the parent locator's entry {number} is outside it")
        key, value, key_length, value_length = layout.LOCATOR_ENTRY.unpack_from(raw, at)
        if key + key_length > len(raw) or value + value_length > len(raw):
            raise damaged(f"{source.name}: the parent locator's entry {number} is outside it")
        found[raw[key : key + key_length].decode("utf-16-le", "replace")] = raw[value : value + value_length].decode(
            "utf-16-le", "replace"
        )
    return found


def parent_name(values: dict[str, str]) -> str:
    """The file name in the relative path; else whatever path there is."""
    relative = values.get("relative_path", "").replace("\\", "/").rpartition("/")[2]
    other = values.get("absolute_win32_path") or values.get("volume_path") or "?"
    return relative or other.replace("\\", "/")
