"""/proc/PID/fdinfo/N and /proc/locks: virtual files have the mount, device and inode that statx and mountinfo tell."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vfs.view.files import OpenFiles
from vfs.view.placeholder import Placeholder

INODE = re.compile(rb"\b[0-9a-f]{2,}:[0-9a-f]{2,}:(\d+)\b")  # MAJOR:MINOR:INODE, fs/locks.c


def lock_inode(placeholder: Placeholder) -> bytes:
    """MAJOR:MINOR:INODE as lines about locks have them."""
    device = placeholder.dentry.mount.device
    return b"%02x:%02x:%d" % (os.major(device), os.minor(device), placeholder.dentry.node.ino)


def fdinfo_text(files: OpenFiles, tid: int, number: int, text: bytes) -> bytes:
    """The fdinfo of a task's descriptor."""
    placeholder = files.of_descriptor(tid, number)
    if placeholder is None:
        return text
    dentry = placeholder.dentry
    text = re.sub(rb"^mnt_id:\t\d+$", b"mnt_id:\t%d" % dentry.mount.id, text, flags=re.MULTILINE)
    text = re.sub(rb"^ino:\t\d+$", b"ino:\t%d" % dentry.node.ino, text, flags=re.MULTILINE)
    return re.sub(rb"^lock:.*$", lambda line: INODE.sub(lock_inode(placeholder), line[0]), text, flags=re.MULTILINE)


def locks_text(files: OpenFiles, text: bytes) -> bytes:
    """/proc/locks."""
    virtual = {b"%d" % os.fstat(held.holder).st_ino: held for held in files.held.values() if held.holder >= 0}
    memory = b":%02x:" % os.minor(memory_device())

    def inode(match: re.Match[bytes]) -> bytes:
        found = virtual.get(match[1])
        return lock_inode(found) if found is not None and memory in match[0] else match[0]

    return INODE.sub(inode, text)


def memory_device() -> int:
    """The device number of all memfds."""
    descriptor = os.memfd_create("device")
    try:
        return os.fstat(descriptor).st_dev
    finally:
        os.close(descriptor)
