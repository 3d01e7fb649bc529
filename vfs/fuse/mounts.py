"""The kernel's table of mounts (proc(5), /proc/pid/mountinfo)."""

from __future__ import annotations

import re
from typing import NamedTuple


class Mount(NamedTuple):
    """One line of the table. *device* is `major:minor`, *type* as mount tables show it (`fuse.ext2`), *options* those of the
    mount point, *super_options* those of the file system."""

    mountpoint: bytes
    device: str
    type: str
    source: bytes
    options: list[str]
    super_options: list[str]


def table(path: str = "/proc/self/mountinfo") -> list[Mount]:
    """All mounts that this process sees, in the order in which they were made."""
    with open(path, "rb") as lines:
        return [_parse(line) for line in lines]


def _parse(line: bytes) -> Mount:
    # 36 35 98:0 /root /mountpoint rw,noatime optional… - type source superoptions
    before, _, after = line.rstrip(b"\n").partition(b" - ")
    fields, tail = before.split(b" "), after.split(b" ")
    return Mount(
        _plain(fields[4]),
        fields[2].decode(),
        _plain(tail[0]).decode(errors="replace"),
        _plain(tail[1]),
        fields[5].decode(errors="replace").split(","),
        tail[2].decode(errors="replace").split(","),
    )


def _plain(name: bytes) -> bytes:
    r"""Spaces, tabs, newlines and backslashes are written as \ooo."""
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8) & 255]), name)


def at(mountpoint: bytes) -> Mount | None:
    """What is mounted on exactly this (absolute, link-free) path: the topmost one."""
    return next((mount for mount in reversed(table()) if mount.mountpoint == mountpoint), None)


def shown_source(source: str, partition: int | None) -> str:
    """What mount tables show as the source of a mount of an image, or of its partition of a number."""
    return source if partition is None else f"{source}!/p{partition}"
