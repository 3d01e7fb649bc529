"""The magic links of /proc: cwd, root, exe, fd/N and map_files/A-B of any process or thread say the view's names."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from vfs.view.dentry import Dentry, Place

if TYPE_CHECKING:
    from vfs.view.files import OpenFiles
    from vfs.view.names import Names

MAGIC = re.compile(rb"/proc/(\d+)(?:/task/(\d+))?/(?:cwd|root|exe|fd/\d+|map_files/[0-9a-f]+-[0-9a-f]+)")
"""Links that lead to an open file rather than to a name."""

TEXT = b"text:"
"""Follows what the names of all memfds of a supervisor begin with, where one holds a text of ours; then comes its path."""
LONGEST_NAME = 249  # MFD_NAME_MAX_LEN, mm/memfd.c


def text_name(files: OpenFiles, path: bytes) -> bytes:
    """The name of the memfd that holds our text of a file of /proc."""
    return (files.name + TEXT + path)[:LONGEST_NAME]


def path_of_text(files: OpenFiles, text: bytes) -> bytes | None:
    """The file of /proc that the target of a magic link means, `None`: it is no text of ours."""
    start, end = b"/memfd:" + files.name + TEXT, b" (deleted)"
    return text[len(start) : -len(end)] if text.startswith(start) and text.endswith(end) else None


def place_of(files: OpenFiles, text: bytes) -> Place | None:
    """The place in the view that the target of a magic link means, `None`: it is the host's, as it says."""
    placeholder = files.of_link(text)
    return placeholder.dentry if placeholder else path_of_text(files, text)


def is_within(path: bytes, top: Dentry) -> bool:
    """Whether a path lies below the root *top*, or is it."""
    return path == top.path or path.startswith(top.path.rstrip(b"/") + b"/")


def told(path: bytes, top: Dentry | None) -> bytes:
    """A path of the view as a task with the root *top* is told it: from its root, if it lies below that."""
    if top is None:
        return path
    base = top.path.rstrip(b"/")
    if path.removesuffix(b" (deleted)") == base:
        return b"/" + path[len(base) :]
    return path[len(base) :] if path.startswith(base + b"/") else path


def link_text(names: Names, tid: int, path: bytes) -> bytes | None:
    """What the magic link *path* says to task *tid*; `None`: what the kernel says. EACCES."""
    match = MAGIC.fullmatch(path)
    if match is None:
        return None
    pid = int(match[2] or match[1])
    if names.base is not None:  # the kernel would ask for the real user
        names.tasks.demand_access(tid, pid)
    place: Place | None = names.tasks.root_of(pid) if path.endswith(b"/root") else None
    if place is None:
        try:
            text = os.readlink(path)
        except OSError:
            return None
        place = place_of(names.tasks.files, text)
        if place is None and names.top is not None and text[:1] == b"/":
            place = text
    if place is None:
        return None
    names.tasks.demand_access(tid, pid)
    return told(place if isinstance(place, bytes) else place.shown_path, names.top)
