"""One mount's life: open the image, mount, serve until it ends, undo all of it in reverse."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from vfs.api.device import Device
from vfs.api.filesystem import Filesystem
from vfs.api.options import MountOptions, split
from vfs.api.stack import Image, open_image
from vfs.fuse import mounts, presence
from vfs.fuse.devices import DeviceFiles
from vfs.fuse.library import pyfuse3
from vfs.fuse.loop import Loop
from vfs.fuse.operations import Operations
from vfs.fuse.options import FuseOptions, enforces_permissions, libfuse_options

if TYPE_CHECKING:
    from vfs.fuse.threaded import TrioLoop

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that end a mount as unmounting does."""

READAHEAD = 1024
"""KiB that the kernel reads ahead. Its own 128 makes a request for each 128 KiB of a large file; only root may set it."""

log = logging.getLogger("vfs.fuse")


def serve(
    source: str,
    mountpoint: str,
    type: str | None,
    options: str,
    debug: bool,
    ready: Callable[[], None],
    partition: int | None = None,
) -> None:
    """Mount and serve; returns when the mount has ended. *ready* is called once the kernel may send requests.
    Errors as `open_image` and mount(2) give them."""
    if debug:
        logging.basicConfig(level=logging.DEBUG, format="%(name)s: %(message)s")
    writable = any(name in ("rw", "rw+") for name, _ in split(options))
    with ExitStack() as undo:
        announced = presence.announce(mountpoint)
        if announced >= 0:
            undo.callback(os.close, announced)
        image = undo.enter_context(
            open_image(source, type, options, writable, front=(MountOptions, FuseOptions), partition=partition)
        )
        common, fuse = image.front
        filesystem = _filesystem(image)
        filesystem.noatime = common.noatime

        def usable() -> None:
            _read_ahead(mountpoint)
            ready()

        operations, loop = serving(filesystem, not fuse.noxattr, usable)
        operations.enable_acl = enforces_permissions(fuse) and not fuse.noxattr
        undo.callback(operations.close)
        # A signal in between would leave a mount that nobody serves: it waits until the loop is there to take it.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        undo.callback(signal.pthread_sigmask, signal.SIG_UNBLOCK, ENDING)
        common.debug = common.debug or debug
        shown = mounts.shown_source(source, partition)
        _mount(operations, mountpoint, libfuse_options(common, fuse, filesystem.type, shown, filesystem.read_only))
        undo.callback(pyfuse3.close)
        loop.run()


def serving(filesystem: Filesystem, xattr: bool, usable: Callable[[], object]) -> tuple[Operations, Loop | TrioLoop]:
    """The handlers that suit a file system and the loop that runs them. *usable* is called when the kernel has got our answer to
    INIT."""
    kind = Operations if filesystem.read_only else _changing()
    loop: Loop | TrioLoop
    if not filesystem.blocking:
        loop = Loop(ENDING)
    else:
        from vfs.fuse import threaded  # with it comes trio

        loop, kind = threaded.TrioLoop(ENDING), threaded.in_threads(kind)
    operations = kind(filesystem, xattr, lambda: loop.soon(usable))
    if isinstance(filesystem, DeviceFiles):
        operations.direct_io = filesystem.device.character
        if not filesystem.read_only:
            operations.keep(0)
    return operations, loop


def _changing() -> type[Operations]:
    from vfs.fuse.changing import ChangingOperations

    return ChangingOperations


def _filesystem(image: Image) -> Filesystem:
    mounted = image.layers[-1].mounted
    return DeviceFiles(mounted) if isinstance(mounted, Device) else mounted


def _mount(operations: Operations, mountpoint: str, options: set[str]) -> None:
    """Mount through libfuse, which calls fusermount3 where this process may not mount. Both print the reason of a failure, and
    pyfuse3 has none: catch what they print."""
    with _captured_errors() as printed:
        try:
            pyfuse3.init(operations, mountpoint, options)
        except RuntimeError as error:
            lines = [line.strip() for line in printed().splitlines() if line.strip()]
            raise OSError(errno.EIO, "; ".join(lines) or str(error), mountpoint) from None


@contextmanager
def _captured_errors() -> Iterator[Callable[[], str]]:
    """Standard error, of this process and of programs that it starts, into a file in the block."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as caught:

        def printed() -> str:
            caught.seek(0)
            return caught.read().decode(errors="replace")

        os.dup2(caught.fileno(), 2)
        try:
            yield printed
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _read_ahead(mountpoint: str) -> None:
    """Let the kernel read ahead further on this mount. It sets the limit while it takes the answer to INIT, so not before."""
    mount = mounts.at(os.fsencode(mountpoint))
    if mount is None or os.geteuid() != 0:
        return
    try:
        with open(f"/sys/class/bdi/{mount.device}/read_ahead_kb", "w") as setting:
            setting.write(str(READAHEAD))
    except OSError as error:
        log.debug("read-ahead stays as it is: %s", error)
