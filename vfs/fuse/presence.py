"""How who unmounts learns that the image has been closed.

The kernel ends a mount before the process that served it has written the last of the image and closed it. For as long as that
process lives it holds a lock (flock) on the directory that the mount covers, which is to be seen again when the mount is gone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

from vfs.api.errors import fail

PATIENCE = 600
"""Seconds that closing an image may take."""

PAUSES = 0.002, 0.1
"""Seconds between two looks: at first, and at most."""


def announce(mountpoint: str) -> int:
    """To be called before mounting: a descriptor to keep until all is closed. -1: the directory cannot be read, or not locked."""
    try:
        directory = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        fcntl.flock(directory, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        os.close(directory)
        return -1
    return directory


def await_end(mountpoint: str) -> None:
    """Return when nobody serves what was mounted here. ETIMEDOUT: he still does."""
    try:
        directory = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        end, pause = time.monotonic() + PATIENCE, PAUSES[0]
        while not _is_free(directory):
            if time.monotonic() > end:
                fail(errno.ETIMEDOUT, "unmounted, but its process has not yet closed the image")
            time.sleep(pause)
            pause = min(pause * 1.5, PAUSES[1])
    finally:
        os.close(directory)


def _is_free(directory: int) -> bool:
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here: nobody could announce himself either
        return True
    return True
