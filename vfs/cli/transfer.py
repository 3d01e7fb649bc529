"""The bytes of a handle to a descriptor.

Where the handle knows in which file its bytes lie they are moved by the kernel (copy_file_range, sendfile), which may share
the blocks or read ahead; the rest passes through one buffer. Holes stay holes in a file, and become zeros in a stream.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

from vfs.api.errors import fail
from vfs.api.node import Extent, Handle, Stat

WINDOW = 64 << 20
"""The map is asked for in pieces of this size: a file in single blocks of 1 KiB then has 65536 extents at a time."""

PIECE = 1 << 20
"""What passes through the buffer at once, and what one system call is asked to move: progress is shown in between."""

PAGE = 4096

SMALL = 32 << 10
"""Content up to this size is quicker read than mapped."""

ZEROS = bytes(64 << 10)

Advance = Callable[[int], None]
"""Told of each piece's number of bytes."""


def stretches(handle: Handle, size: int) -> Iterator[Extent]:
    """The whole map of a file of *size* bytes, in order, without gaps."""
    offset = 0
    while offset < size:
        window = handle.extents(offset, min(WINDOW, size - offset))
        if not window:
            fail(errno.EIO, f"ends at byte {offset}, before its size")
        end = window[-1].offset + window[-1].length
        if len(window) == 1 and window[0].hole:
            # A hole may be as large as a number from disk says: no walking through it.
            end = _next_data(handle, end, size)
            window = [Extent(offset, end - offset, hole=True)]
        yield from window
        offset = end


def _next_data(handle: Handle, offset: int, size: int) -> int:
    """Where the hole that reaches to *offset* ends."""
    try:
        return min(handle.seek_data(offset), size) if offset < size else size
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size
        raise


def is_plain(found: Stat) -> bool:
    """Whether a file's map is not worth asking for: little content, and blocks enough that there are hardly holes in it."""
    return found.size <= SMALL and found.blocks * 512 >= found.size


def to_file(handle: Handle, found: Stat, out: int, advance: Advance = lambda count: None) -> None:
    """Write the content of a file with these attributes to *out*, an empty regular file, holes as holes."""
    end, size = 0, found.size
    for extent in [Extent(0, size)] if is_plain(found) else stretches(handle, size):
        if extent.hole:
            continue
        end = extent.offset + extent.length
        done = copy_range(extent, out, advance)
        for position, piece in _pieces(handle, extent.offset + done, end):
            _write(out, piece, position)
            advance(len(piece))
    if end < size:
        os.ftruncate(out, size)


def to_stream(handle: Handle, size: int, out: int, advance: Advance = lambda count: None) -> None:
    """Write the file's content to *out*, wherever that leads, holes as zeros."""
    for extent in stretches(handle, size):
        if extent.hole:
            write_zeros(out, extent.length, advance)
        else:
            extent_to_stream(handle, extent, out, advance)


def extent_to_stream(handle: Handle, extent: Extent, out: int, advance: Advance) -> None:
    """Append one extent, which is no hole, to the stream *out*."""
    done = 0
    while extent.fd is not None and done < extent.length:
        try:
            count = os.sendfile(out, extent.fd, extent.fd_offset + done, min(PIECE, extent.length - done))
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            break  # a descriptor that the kernel cannot send to: opened for appending, a terminal
        if not count:
            break  # the image ends early; the handle will say so
        done += count
        advance(count)
    for _, piece in _pieces(handle, extent.offset + done, extent.offset + extent.length):
        _write(out, piece)
        advance(len(piece))


def write_zeros(out: int, count: int, advance: Advance = lambda count: None) -> None:
    while count:
        piece = memoryview(ZEROS)[:count]
        _write(out, piece)
        advance(len(piece))
        count -= len(piece)


def copy_range(extent: Extent, out: int, advance: Advance = lambda count: None) -> int:
    """Copy as much of an extent as the kernel will from file to file, to the offset that it has; the number of bytes."""
    done = 0
    # Where pages do not lie on pages the kernel writes each page in two parts: a buffer between is quicker by half.
    aligned = (extent.fd_offset - extent.offset) % PAGE == 0
    buffer = memoryview(bytearray(0 if aligned else min(PIECE, extent.length)))
    while extent.fd is not None and done < extent.length:
        count = min(PIECE, extent.length - done)
        try:
            if not aligned:
                count = os.preadv(extent.fd, [buffer[:count]], extent.fd_offset + done)
                _write(out, buffer[:count], extent.offset + done)
            else:
                count = os.copy_file_range(extent.fd, out, count, extent.fd_offset + done, extent.offset + done)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
                raise
            break  # between these two files it does not work
        if not count:
            break
        done += count
        advance(count)
    return done


def _pieces(handle: Handle, start: int, end: int) -> Iterator[tuple[int, memoryview]]:
    """The bytes from *start* to *end* with their offsets. EIO: they cannot all be had."""
    if start >= end:
        return
    buffer = memoryview(bytearray(min(PIECE, end - start)))
    while start < end:
        piece = buffer[: end - start]
        count = handle.readinto(start, piece)
        if count != len(piece):
            fail(errno.EIO, f"ends at byte {start + count}, before its size")
        yield start, piece
        start += count


def _write(out: int, piece: memoryview, position: int | None = None) -> None:
    """Write all of *piece*, at *position* or at the end of a stream."""
    done = 0
    while done < len(piece):
        if position is None:
            done += os.write(out, piece[done:])
        else:
            done += os.pwrite(out, piece[done:], position + done)
