"""/proc/PID/mounts, mountinfo and mountstats: the host's lines, then the view's."""

from __future__ import annotations

import os
import re

from vfs.view.dentry import Dentry
from vfs.view.mounts import Mount, MountTable
from vfs.view.proc.links import is_within, told


def escape(path: bytes, more: bytes = b"") -> bytes:
    """Space, tab, newline, backslash, and one *more*, as the kernel writes them in mount tables."""
    return re.sub(rb"[ \t\n\\" + more + rb"]", lambda match: b"\\%03o" % match[0][0], path)


def unescape(path: bytes) -> bytes:
    return re.sub(rb"\\(\d{3})", lambda match: bytes([int(match[1], 8)]), path)


def escape_source(source: bytes) -> bytes:
    return escape(source, b"#")


def mounts_line(mount: Mount, target: bytes) -> bytes:
    """One line of /proc/PID/mounts (fstab(5))."""
    fields = (escape_source(mount.source), escape(target), mount.type.encode(), mount.shown_options().encode())
    return b"%s %s %s %s 0 0\n" % fields


def mountinfo_line(mount: Mount, target: bytes, parent: int) -> bytes:
    """One line of /proc/PID/mountinfo (proc(5))."""
    access = b"ro" if mount.filesystem.read_only else b"rw"
    device = b"%d:%d" % (os.major(mount.device), os.minor(mount.device))
    where = (escape(target), mount.shown_options().encode())
    return b"%d %d %s / %s %s - " % (mount.id, parent, device, *where) + b"%s %s %s\n" % (
        mount.type.encode(),
        escape_source(mount.source),
        access,
    )


def mountstats_line(mount: Mount, target: bytes) -> bytes:
    """One line of /proc/PID/mountstats."""
    return b"device %s mounted on %s with fstype %s\n" % (escape_source(mount.source), escape(target), mount.type.encode())


COLUMN = {b"mounts": 1, b"mountinfo": 4, b"mountstats": 4}
"""Where the mount point stands in a line."""


def below(top: Dentry, kind: bytes, text: bytes) -> bytes:
    """The lines of the host's table about what lies below the root *top*, with the names that they have there."""
    column, lines = COLUMN[kind], []
    for line in re.findall(rb"[^\n]*\n", text):
        words = line.split(b" ")
        if len(words) > column and is_within(unescape(words[column]), top):
            words[column] = escape(told(unescape(words[column]), top))
            lines.append(b" ".join(words))
    return b"".join(lines)


def table_text(mounts: MountTable, kind: bytes, text: bytes, top: Dentry | None = None) -> bytes:
    """The whole table: *text* is the host's, *kind* `mounts`, `mountinfo` or `mountstats`; *top* is the root of the process that
    it is of."""
    shown = [mount for mount in mounts.mounts if mount.main is None]
    if top is not None:
        text = below(top, kind, text)
        shown = [mount for mount in shown if is_within(mount.target, top)]
    targets = [told(mount.target, top) for mount in shown]
    if kind == b"mounts":
        return text + b"".join(map(mounts_line, shown, targets))
    if kind == b"mountstats":
        return text + b"".join(map(mountstats_line, shown, targets))
    at = {b"/": 0}  # mount point -> id, the last line of a mount point counting
    for line in text.splitlines():
        number, _, _, _, where, *_ = line.split(b" ")
        at[unescape(where)] = int(number)
    for mount, target in zip(shown, targets, strict=True):
        above = target
        while above not in at:
            above = above.rpartition(b"/")[0] or b"/"
        text += mountinfo_line(mount, target, at[above])
        at[target] = mount.id
    return text
