"""/proc/PID/mounts, mountinfo and mountstats: the host's lines, then the view's."""

from __future__ import annotations

import os
import re

from vfs.view.mounts import Mount, MountTable


def escape(path: bytes, more: bytes = b"") -> bytes:
    """Space, tab, newline, backslash, and one *more*, as the kernel writes them in mount tables."""
    return re.sub(rb"[ \t\n\\" + more + rb"]", lambda match: b"\\%03o" % match[0][0], path)


def escape_source(source: bytes) -> bytes:
    return escape(source, b"#")


def mounts_line(mount: Mount) -> bytes:
    """One line of /proc/PID/mounts (fstab(5))."""
    fields = (escape_source(mount.source), escape(mount.target), mount.type.encode(), mount.shown_options().encode())
    return b"%s %s %s %s 0 0\n" % fields


def mountinfo_line(mount: Mount, parent: int) -> bytes:
    """One line of /proc/PID/mountinfo (proc(5))."""
    access = b"ro" if mount.filesystem.read_only else b"rw"
    device = b"%d:%d" % (os.major(mount.device), os.minor(mount.device))
    where = (escape(mount.target), mount.shown_options().encode())
    return b"%d %d %s / %s %s - " % (mount.id, parent, device, *where) + b"%s %s %s\n" % (
        mount.type.encode(),
        escape_source(mount.source),
        access,
    )


def mountstats_line(mount: Mount) -> bytes:
    """One line of /proc/PID/mountstats."""
    return b"device %s mounted on %s with fstype %s\n" % (escape_source(mount.source), escape(mount.target), mount.type.encode())


def table_text(mounts: MountTable, kind: bytes, text: bytes) -> bytes:
    """The whole table: *text* is the host's, *kind* `mounts`, `mountinfo` or `mountstats`."""
    if kind == b"mounts":
        return text + b"".join(map(mounts_line, mounts.mounts))
    if kind == b"mountstats":
        return text + b"".join(map(mountstats_line, mounts.mounts))
    at = {b"/": 0}  # mount point -> id, the last line of a mount point counting
    for line in text.splitlines():
        number, _, _, _, where, *_ = line.split(b" ")
        at[re.sub(rb"\\(\d{3})", lambda match: bytes([int(match[1], 8)]), where)] = int(number)
    for mount in mounts.mounts:
        above = mount.target
        while above not in at:
            above = above.rpartition(b"/")[0] or b"/"
        text += mountinfo_line(mount, at[above])
        at[mount.target] = mount.id
    return text
