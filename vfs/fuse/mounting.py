"""`mount` and `unmount`: what the command line calls."""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import os
import shutil
import stat
import subprocess
from collections.abc import Callable

from vfs.api.errors import fail, message
from vfs.fuse import background, mounts, presence

MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

PATIENCE = 60
"""Seconds that fusermount3 may take: it has hardly anything to do."""


def mount(
    source: str, mountpoint: str, type: str | None, options: str, foreground: bool, debug: bool, partition: int | None = None
) -> int:
    """Mount *source*, or one *partition* of it, on *mountpoint*. In the background it returns when the mount is usable, otherwise
    when it has ended; 0.

    Errors name the source or the mount point in `filename`: ENOENT, ENOTDIR, EACCES; EBUSY: *source* is mounted there already;
    ENOTCONN: a mount there has lost its process; EOPNOTSUPP: this host has no FUSE; EINVAL: not an image, an option; what the
    module raises."""
    _check_host()
    place = _check_mountpoint(mountpoint)
    _check_busy(place, source, partition)

    def serve(ready: Callable[[], None]) -> None:
        from vfs.fuse import session  # only here: unmounting needs none of it

        session.serve(_absolute(source), place, type, options, debug, ready, partition)

    if foreground or debug:
        serve(lambda: None)
        return 0
    background.launch(serve)
    _confirm(place)
    return 0


def _check_host() -> None:
    missing = [name for name in ("pyfuse3", "trio") if importlib.util.find_spec(name) is None]
    if missing:
        fail(errno.EOPNOTSUPP, f"kernel mounts need {' and '.join(missing)}: pip install 'vfs[fuse]'")
    try:
        # Others than root need not be able to open it: fusermount3 does it for them.
        if os.geteuid() == 0:
            os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
        else:
            os.stat("/dev/fuse")
    except OSError as error:
        absent = error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO)
        what = "no FUSE in this kernel or container" if absent else message(error)
        raise OSError(error.errno, what, "/dev/fuse") from None
    if os.geteuid() != 0:
        _program()


def _check_mountpoint(mountpoint: str) -> str:
    """The absolute path without links. ENOENT, ENOTDIR, ENOTCONN."""
    try:
        found = os.stat(mountpoint)
    except OSError as error:
        sentence = message(error)
        if error.errno == errno.ENOTCONN:
            sentence = f"a mount there lost its process, end it first: vfs umount {mountpoint}"
        raise OSError(error.errno, sentence, mountpoint) from None
    if not stat.S_ISDIR(found.st_mode):
        raise OSError(errno.ENOTDIR, "not a directory", mountpoint)
    return os.path.realpath(mountpoint)


def _check_busy(place: str, source: str, partition: int | None) -> None:
    """The same source twice on one place is a mistake, as mount(2) says; other mounts may be stacked on one another."""
    there = mounts.at(os.fsencode(place))
    if (
        there is not None
        and there.type.startswith("fuse.")
        and there.source == os.fsencode(mounts.shown_source(_absolute(source), partition))
    ):
        raise OSError(errno.EBUSY, "already mounted there", place)


def _absolute(source: str) -> str:
    """*source* with its first part, the host's file, absolute: the process that serves leaves the working directory."""
    outer, mark, inner = source.partition("!")
    if mark and os.path.lexists(source):
        return os.path.abspath(source)
    return os.path.abspath(outer) + mark + inner


def _confirm(place: str) -> None:
    """The mount answers. It is the parent that asks: a process that waits for its own mount could never be ended."""
    try:
        os.statvfs(place)
    except OSError as error:
        raise OSError(error.errno, f"mounted, but does not answer: {message(error)}", place) from None


def unmount(mountpoint: str, lazy: bool = False) -> None:
    """End the mount on *mountpoint*, also one whose process is gone, and return when its image is closed; *lazy*: detach it now,
    let it end when nobody uses it.

    EINVAL: nothing of ours is mounted there; EBUSY: in use; EPERM: another user's; EIO, ENOSPC: what was written cannot be made
    durable, it stays mounted; ETIMEDOUT: unmounted, but the image is not yet closed."""
    # Not os.stat: a mount whose process is gone answers nothing.
    place = os.path.realpath(mountpoint)
    there = mounts.at(os.fsencode(place))
    if there is None:
        raise OSError(errno.EINVAL if os.path.lexists(mountpoint) else errno.ENOENT, _unmounted(mountpoint), mountpoint)
    if there.type != "fuse" and not there.type.startswith("fuse."):
        raise OSError(errno.EINVAL, f"a mount of type {there.type}, not one of vfs", mountpoint)
    if not lazy and "rw" in there.super_options:
        _write_out(place, mountpoint)
    try:
        if os.geteuid() == 0:
            _umount2(place, UMOUNT_NOFOLLOW | (MNT_DETACH if lazy else 0))
        else:
            _fusermount(place, lazy)
    except OSError as error:
        busy = "in use (-l detaches it now and ends it when it is no longer used)"
        raise OSError(error.errno, busy if error.errno == errno.EBUSY else message(error), mountpoint) from None
    if not lazy:
        presence.await_end(place)


def _write_out(place: str, mountpoint: str) -> None:
    """Have all that was written made durable while somebody can still be told that it cannot: once it is unmounted, the process
    that serves has nobody to complain to."""
    try:
        directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:  # its process is gone, or it is another user's
        return
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno in (errno.ENOTCONN, errno.ECONNABORTED, errno.EINVAL, errno.EROFS):
            return
        sentence = f"not unmounted, what was written cannot be saved: {message(error)} (-l detaches it all the same)"
        raise OSError(error.errno, sentence, mountpoint) from None
    finally:
        os.close(directory)


def _unmounted(mountpoint: str) -> str:
    return "not mounted" if os.path.lexists(mountpoint) else os.strerror(errno.ENOENT)


def _umount2(place: str, flags: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.umount2(os.fsencode(place), flags) != 0:
        fail(ctypes.get_errno())


def _program() -> str:
    """fusermount3, the set-user-ID program that lets anybody use FUSE. EOPNOTSUPP: not installed."""
    found = shutil.which("fusermount3") or shutil.which("fusermount")
    return found or fail(errno.EOPNOTSUPP, "fusermount3 is not installed (package fuse3): only root can do without it")


def _fusermount(place: str, lazy: bool) -> None:
    command = [_program(), "-u", *(["-z"] if lazy else []), "--", place]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"fusermount3 ended with status {done.returncode}"]
        raise OSError(errno.EBUSY if os.strerror(errno.EBUSY) in said[-1] else errno.EPERM, said[-1])
