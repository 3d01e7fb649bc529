"""All bytes of a disk to another: holes and blocks of zeros are left out, reading and writing go on at once.

A target with a layout of its own gets its bytes in ascending order, so that they lie in order in its file: one thread reads, the
other writes. Where the bytes go to their own place anyhow, several threads copy; what lies in a file as it is, is moved by the
kernel, which takes half the time of reading and writing it, or shares the blocks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import NamedTuple

from vfs.api.device import StorageHandle
from vfs.api.errors import fail
from vfs.api.node import Extent
from vfs.api.storage import Storage, is_zero
from vfs.cli.progress import Progress
from vfs.cli.transfer import copy_range, stretches

PIECE = 256 << 10
"""Bytes read and written at once: what stays in a processor's cache between the two."""

AHEAD = 16
"""Pieces that may be read before they are written."""

STRIPE = 4 << 20
"""Bytes that a thread copies at a time."""

THREADS = 4

BLOCK = 64 << 10
"""Blocks of zeros of this size, at multiples of it, are left out. What most formats allocate is not smaller."""


GLANCE = 512
"""Bytes that are enough to see that most blocks are not zeros."""


class Part(NamedTuple):
    """A range of the disk, where it lies; *buffer* has its bytes at the start, where they were read."""

    extent: Extent
    buffer: bytearray | None = None


def copy(handle: StorageHandle, out: Storage, zeros: bool, progress: Progress) -> None:
    """Copy a disk to another, which is as large. *zeros*: what is zero must be made zero there; else it is already."""
    if out.descriptor() is not None:
        _copy_at_once(handle, out, zeros, progress)
    else:
        _copy_in_order(handle, out, zeros, progress)


def _parts(handle: StorageHandle, most: int) -> Iterator[Extent]:
    """All of the disk in ascending order, data in parts of at most *most* bytes, which end where blocks end."""
    for extent in stretches(handle, handle.size()):
        at, end = extent.offset, extent.offset + extent.length
        while not extent.hole and at < end:
            length = min(end, at // BLOCK * BLOCK + most) - at
            yield Extent(at, length, extent.fd, extent.fd_offset + at - extent.offset)
            at += length
        if extent.hole:
            yield extent


def _fill(handle: StorageHandle, at: int, piece: memoryview) -> None:
    if handle.readinto(at, piece) != len(piece):
        fail(errno.EIO, f"{handle.storage.name}: ends before its size, at {at}")


def _put(out: Storage, at: int, piece: memoryview, zeros: bool) -> None:
    """Write a piece to its place, but blocks of zeros."""
    begun, state, place = 0, False, 0
    while place < len(piece):
        stop = min(len(piece), place + BLOCK - (at + place) % BLOCK)
        nothing = is_zero(piece[place:stop])
        if nothing != state:
            _put_run(out, at + begun, piece[begun:place], state, zeros)
            begun = place
        state, place = nothing, stop
    _put_run(out, at + begun, piece[begun:], state, zeros)


def _put_run(out: Storage, at: int, run: memoryview, nothing: bool, zeros: bool) -> None:
    if not nothing and run:
        out.write(at, run)
    elif zeros and run:
        out.zero(at, len(run))


# ------------------------------------------------------------------------------------------------------------ in order


def _copy_in_order(handle: StorageHandle, out: Storage, zeros: bool, progress: Progress) -> None:
    free: SimpleQueue[bytearray | None] = SimpleQueue()
    ready: SimpleQueue[Part | BaseException | None] = SimpleQueue()
    for _ in range(AHEAD):
        free.put(bytearray(PIECE))

    def read() -> None:
        try:
            for extent in _parts(handle, PIECE):
                buffer = None
                if not extent.hole:
                    buffer = free.get()
                    if buffer is None:
                        return
                    _fill(handle, extent.offset, memoryview(buffer)[: extent.length])
                ready.put(Part(extent, buffer))
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while (part := ready.get()) is not None:
            if isinstance(part, BaseException):
                raise part
            at, length = part.extent.offset, part.extent.length
            if part.buffer is not None:
                _put(out, at, memoryview(part.buffer)[:length], zeros)
                free.put(part.buffer)
            elif zeros:
                out.zero(at, length)
            progress.advance(length)
    finally:
        free.put(None)
        reader.join()


# ------------------------------------------------------------------------------------------------------------- at once


def _copy_at_once(handle: StorageHandle, out: Storage, zeros: bool, progress: Progress) -> None:
    done: SimpleQueue[int | BaseException | None] = SimpleQueue()
    parts, lock, stop = _parts(handle, STRIPE), threading.Lock(), threading.Event()

    def work() -> None:
        try:
            view = memoryview(bytearray(PIECE))
            while not stop.is_set():
                with lock:
                    extent = next(parts, None)
                if extent is None:
                    break
                if extent.hole:
                    if zeros:
                        out.zero(extent.offset, extent.length)
                elif extent.fd is not None:
                    _move(handle, extent, out, view, zeros)
                else:
                    _read_and_write(handle, extent, out, view, zeros)
                done.put(extent.length)
            done.put(None)
        except BaseException as error:
            done.put(error)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(THREADS, os.cpu_count() or 1))]
    for worker in workers:
        worker.start()
    try:
        ended = 0
        while ended < len(workers):
            told = done.get()
            if isinstance(told, BaseException):
                raise told
            ended += told is None
            progress.advance(told or 0)
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def _read_and_write(handle: StorageHandle, extent: Extent, out: Storage, view: memoryview, zeros: bool) -> None:
    end = extent.offset + extent.length
    for at in range(extent.offset, end, PIECE):
        piece = view[: end - at]
        _fill(handle, at, piece)
        _put(out, at, piece, zeros)


def _move(handle: StorageHandle, extent: Extent, out: Storage, view: memoryview, zeros: bool) -> None:
    """Let the kernel move what is in a file as it is, but blocks of zeros."""
    fd, target, shift = extent.fd, out.descriptor(), extent.fd_offset - extent.offset
    assert fd is not None and target is not None
    with contextlib.suppress(OSError):  # a pipe or the like takes no advice
        os.posix_fadvise(fd, extent.fd_offset, extent.length, os.POSIX_FADV_WILLNEED)
    for at, length, nothing in _blocks(handle, extent, fd, view):
        if not nothing:
            done = copy_range(Extent(at, length, fd, at + shift), target)
            if done < length:
                _read_and_write(handle, Extent(at + done, length - done), out, view, zeros)
        elif zeros:
            out.zero(at, length)


def _blocks(handle: StorageHandle, extent: Extent, fd: int, view: memoryview) -> Iterator[tuple[int, int, bool]]:
    """The runs of an extent: offset, length, whether it is whole blocks of zeros."""
    end, begun, state, at = extent.offset + extent.length, extent.offset, False, extent.offset
    while at < end:
        length = min(end, (at // BLOCK + 1) * BLOCK) - at
        glance = view[: min(GLANCE, length)]
        read = os.preadv(fd, [glance], extent.fd_offset + at - extent.offset)
        nothing = read == len(glance) and is_zero(glance)
        if nothing:
            _fill(handle, at, view[:length])
            nothing = is_zero(view[:length])
        if nothing != state:
            if at > begun:
                yield begun, at - begun, state
            begun, state = at, nothing
        at += length
    yield begun, end - begun, state
