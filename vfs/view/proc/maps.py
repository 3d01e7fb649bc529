"""/proc/PID/maps, smaps and numa_maps: mapped virtual files under their names, with the device and inode that stat tells.

Source: show_map_vma and show_numa_map in the kernel's fs/proc/task_mmu.c; seq_file's escapes in fs/seq_file.c.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from vfs.view.proc.links import path_of_text, told
from vfs.view.shortcut.layout import BASE

if TYPE_CHECKING:
    from vfs.view.dentry import Dentry
    from vfs.view.files import OpenFiles

LINE = re.compile(rb"^([0-9a-f]+-[0-9a-f]+ \S{4} [0-9a-f]+ )[0-9a-f]+:[0-9a-f]+ \d+ +(/memfd:[^\n]*)$", re.MULTILINE)
NAMED = re.compile(rb"^([0-9a-f]+-[0-9a-f]+ \S{4} [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ \d+ +)(/[^\n]*)$", re.MULTILINE)
NAME_COLUMN = 72  # 25 + 6 * sizeof(void *) - 1, padded with spaces; one more follows
FILE = re.compile(rb" file=(/memfd:\S*)")
PAGE = re.compile(rb"^%x[- ][^\n]*\n(?:[A-Z][^\n]*\n)*" % BASE, re.MULTILINE)
"""The shortcut's own mapping, which nobody is told of; smaps has lines of its own behind each."""


def device_and_inode(device: int, ino: int) -> bytes:
    """`MAJOR:MINOR INODE`, as maps has them."""
    return b"%02x:%02x %d" % (os.major(device), os.minor(device), ino)


def maps_text(files: OpenFiles, text: bytes, top: Dentry | None = None) -> bytes:
    """A maps or smaps with the view's names in it, as they are below the root *top*."""

    def line(match: re.Match[bytes]) -> bytes:
        placeholder = files.of_link(match[2])
        if placeholder is None:
            path = path_of_text(files, match[2])
            return match[0] if path is None else match[0].replace(match[2], path)
        dentry = placeholder.dentry
        head = match[1] + device_and_inode(dentry.mount.device, dentry.node.ino) + b" "
        return head.ljust(NAME_COLUMN) + b" " + dentry.shown_path.replace(b"\n", b"\\012")

    text = LINE.sub(line, PAGE.sub(b"", text))
    return text if top is None else NAMED.sub(lambda match: match[1] + told(match[2], top), text)


def numa_text(files: OpenFiles, text: bytes) -> bytes:
    """A numa_maps with the view's names in it."""

    def name(match: re.Match[bytes]) -> bytes:
        link = match[1].replace(b"\\040", b" ")
        placeholder = files.of_link(link)
        path = placeholder.dentry.shown_path if placeholder else path_of_text(files, link)
        return match[0] if path is None else b" file=" + escape_all(path)

    return FILE.sub(name, PAGE.sub(b"", text))


def escape_all(path: bytes) -> bytes:
    return re.sub(rb"[\n\t= ]", lambda match: b"\\%03o" % match[0][0], path)
