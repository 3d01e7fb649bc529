"""Compressed clusters: where they lie, and unpacking them."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING

from vfs.api import Storage, damaged, fail
from vfs.vd.qcow2 import layout
from vfs.vd.qcow2.header import Header

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

WINDOW_BITS = -15
"""Raw deflate; QEMU writes with a window of 4 KiB, a larger one reads that too."""
MANY, MOST = 4, 64
"""Clusters that are worth waking other threads for, and that are given to them at once."""
KEPT = 4
"""Unpacked clusters: what is read in small pieces is not unpacked again for each."""


def place(descriptor: int, cluster_bits: int) -> tuple[int, int]:
    """Offset and length in the file of a compressed cluster, whose L2 entry without its two flags is *descriptor*."""
    width = 62 - (cluster_bits - 8)
    offset = descriptor & (1 << width) - 1
    return offset, ((descriptor >> width) + 1) * 512 - offset % 512


def _inflate(content: bytes, size: int) -> bytes:
    return zlib.decompressobj(WINDOW_BITS).decompress(content, size)


def _zstd(content: bytes, size: int) -> bytes:
    import zstandard  # 10 ms, and few images need it

    try:
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(content, read_across_frames=True) as reader:
            return reader.read(size)
    except zstandard.ZstdError as error:
        raise zlib.error(str(error)) from error


@cache
def _workers(process: int) -> ThreadPoolExecutor:
    """The threads of a process: a fork leaves them behind."""
    from concurrent.futures import ThreadPoolExecutor  # 17 ms, and only large reads need it

    return ThreadPoolExecutor(min(8, os.cpu_count() or 1), "unpacking")


class Unpacker:
    """Unpacked clusters of one image, the last few of which it keeps."""

    def __init__(self, file: Storage, header: Header) -> None:
        self.file, self.header = file, header
        self._unpack: Callable[[bytes, int], bytes] = _zstd if header.compression == layout.ZSTD else _inflate
        self._kept: dict[int, bytes] = {}

    def forget(self) -> None:
        """The places of compressed clusters are given back: others may come there."""
        self._kept.clear()

    def cluster(self, descriptor: int) -> bytes:
        """The whole cluster. EUCLEAN."""
        found = self._kept.pop(descriptor, None)
        if found is None:
            found = self._read(descriptor)
        self._kept[descriptor] = found  # the latest is the last
        if len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        return found

    def clusters(self, descriptors: Iterable[int]) -> Iterator[bytes]:
        """Many whole clusters, by all processors. EUCLEAN."""
        descriptors = list(descriptors)
        try:
            return _workers(os.getpid()).map(self._read, descriptors)
        except RuntimeError:  # no thread can be had: too many, or the program is ending
            return map(self._read, descriptors)

    def _read(self, descriptor: int) -> bytes:
        header = self.header
        if header.external:
            raise damaged(f"{header.name}: a compressed cluster, though its data are in a file of their own")
        offset, length = place(descriptor, header.cluster_bits)
        if offset >= self.file.size:
            raise damaged(f"{header.name}: a compressed cluster at {offset}, outside the file of {self.file.size}")
        content = self.file.read(offset, min(length, self.file.size - offset))
        try:
            found = self._unpack(content, header.cluster_size)
        except zlib.error as error:
            raise damaged(f"{header.name}: the compressed cluster at {offset}: {error}") from error
        except MemoryError:
            fail(errno.ENOMEM, f"{header.name}: the compressed cluster at {offset} needs too much memory")
        if len(found) != header.cluster_size:
            raise damaged(f"{header.name}: the compressed cluster at {offset} gives {len(found)} bytes of {header.cluster_size}")
        return found
