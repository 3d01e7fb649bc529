"""Writing back: from the memfd that processes wrote to the module.

While anybody has a file open for writing, its memfd is the truth; who asks for size or times gets the memfd's (`Dentry.stat`).
It is written back when nobody has it open for writing any more, at fsync and sync, before its file system is used by other
means or closed, and at the end. Nobody tells us of a close; a lease does, which can be had only when there is no writer. So the
oldest few files are looked at whenever another is opened for writing, some twice a second (`Flusher`), and all where it matters.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from vfs.api import Change, Handle
from vfs.api.allocation import KEEP_SIZE, PUNCH_HOLE
from vfs.view.placeholder import Placeholder, left_by_writing

if TYPE_CHECKING:
    from vfs.view.mounts import Superblock
    from vfs.view.workers import Workers

PIECE: Final = 1 << 20
LOOKED_AT: Final = 4
"""How many files are looked at when another is opened for writing."""
LOOKED_AT_IN_PASSING: Final = 256
INTERVAL: Final = 0.5
"""Seconds."""

CAPABILITY: Final = b"security.capability"
"""A program that is changed loses its capabilities (capabilities(7))."""


class WriteBack:
    """The files that processes may have written. *say* takes a line for the user: an error that no call is there to return."""

    def __init__(self, settled: Callable[[Placeholder], None]) -> None:
        self.files: OrderedDict[int, Placeholder] = OrderedDict()
        self.settled = settled
        """Called when a file is no longer written: it is an ordinary cached one then."""
        self.say: Callable[[str], None] = lambda line: None
        self.begun: Callable[[], None] = lambda: None
        """Called when there is a file where there was none."""
        self.in_loop: Callable[[], bool] = lambda: False
        """Whether we are asked in the loop, which may not wait for a slow file system (`vfs.view.workers`)."""

    def add(self, placeholder: Placeholder) -> None:
        placeholder.written = True
        self.files[placeholder.number] = placeholder
        if len(self.files) == 1:
            self.begun()

    def look(self, most: int = LOOKED_AT) -> None:
        """Write back the oldest files, if nobody writes them any more."""
        for placeholder in list(itertools.islice(self.files.values(), most)):
            if placeholder.is_open_for_writing() or self.not_here(placeholder):
                self.files.move_to_end(placeholder.number)
            else:
                self.settle(placeholder)

    def not_here(self, placeholder: Placeholder) -> bool:
        """Whether it is to be written back by the worker: who comes by in the loop has other business."""
        return placeholder.dentry.node.filesystem.blocking and self.in_loop()

    def flush(self, superblock: Superblock | None = None) -> None:
        """Write back all, of one file system; those still open for writing stay here."""
        for placeholder in list(self.files.values()):
            if superblock is None or placeholder.dentry.mount.superblock is superblock:
                self.settle(placeholder)

    def settle(self, placeholder: Placeholder) -> None:
        """Write one back, and when nobody writes it any more be done with it. What goes wrong is told once, and by fsync."""
        writers = placeholder.is_open_for_writing()  # asked before: what comes later comes again
        try:
            if writers or placeholder.is_wanted():
                self.store(placeholder)
        except OSError as error:
            if placeholder.error != error.errno:
                self.say(f"{os.fsdecode(placeholder.dentry.path)}: not written back: {os.strerror(error.errno or errno.EIO)}")
            placeholder.error = error.errno or errno.EIO
            self.files.move_to_end(placeholder.number)
            return
        if not writers:
            self.files.pop(placeholder.number, None)
            placeholder.written = placeholder.untracked = False
            placeholder.losing = 0
            self.settled(placeholder)

    def store(self, placeholder: Placeholder) -> None:
        """Make the module's content the memfd's, if it is not. ENOSPC, EIO."""
        found = os.fstat(placeholder.holder)
        stamped = placeholder.unstored or (found.st_size, found.st_mtime_ns) != placeholder.known
        if not stamped and not placeholder.untracked:
            return
        node, handle = placeholder.dentry.node, placeholder.content()
        with node.filesystem.lock:
            changed = copy_changes(handle, placeholder.holder, found.st_size)
            change = Change(size=found.st_size if handle.size() != found.st_size else None)
            if stamped:
                change.mtime = found.st_mtime_ns
                mode = node.stat().mode if placeholder.losing else 0
                left = left_by_writing(mode, placeholder.losing)
                change.mode = left if left != mode else None
                with contextlib.suppress(OSError):
                    node.removexattr(CAPABILITY)
            if stamped or change.size is not None:
                node.set(change)
        placeholder.error, placeholder.unstored = 0, False
        if changed and not stamped:
            placeholder.dress(placeholder.holder)  # a mapping was written: the module's time is the time
            placeholder.note()
        else:
            placeholder.note(found)  # what was written while we copied is not yet stored


class Flusher:
    """A worker that writes back what processes have closed, a while later. It lives while there are such files."""

    def __init__(self, written: WriteBack, workers: Workers) -> None:
        self.written, self.workers = written, workers
        self.running = False
        written.begun = self.begin
        written.in_loop = lambda: workers.in_loop

    def begin(self) -> None:
        """The turn is held."""
        if not self.running:
            self.running = True
            self.workers.start(self.run)

    def run(self) -> None:
        while self.running:
            time.sleep(INTERVAL)
            with self.workers.turn:
                self.written.look(LOOKED_AT_IN_PASSING)
                self.running = bool(self.written.files)


def copy_changes(handle: Handle, source: int, size: int) -> bool:
    """Write to *handle* what differs in the first *size* bytes of *source*, holes as holes; whether anything did."""
    old = min(handle.size(), size)
    changed = False
    # A position of its own: the holder's is nobody's.
    offset = 0
    while offset < size:
        start = _seek(source, offset, os.SEEK_DATA, size)
        if offset < min(start, old):
            changed |= clear(handle, offset, min(start, old))
        end = _seek(source, start, os.SEEK_HOLE, size)
        while start < end:
            piece = os.pread(source, min(PIECE, end - start), start)
            if not piece:
                return changed
            if start >= old or handle.read(start, len(piece)) != piece:
                write_all(handle, start, piece)
                changed = True
            start += len(piece)
        offset = end
    return changed


def write_all(handle: Handle, offset: int, piece: bytes) -> None:
    done = 0
    while done < len(piece):
        count = handle.write(offset + done, piece[done:] if done else piece)
        if count <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done += count


def clear(handle: Handle, start: int, end: int) -> bool:
    """The range is a hole now. Whether it held anything."""
    try:
        data = handle.seek_data(start)
    except OSError:
        return False
    if data >= end:
        return False
    try:
        handle.allocate(PUNCH_HOLE | KEEP_SIZE, start, end - start)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EROFS, errno.ENOSYS):
            raise
        while data < end:
            length = min(PIECE, end - data)
            write_all(handle, data, bytes(length))
            data += length
    return True


def _seek(descriptor: int, offset: int, whence: int, end: int) -> int:
    try:
        return min(end, os.lseek(descriptor, offset, whence))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return end
