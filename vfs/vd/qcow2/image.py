"""Opening a qcow2 image, and its map. What changes it is in `writer`."""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from vfs.api import Storage, damaged, fail, unsupported
from vfs.vd.disk import DATA, HOLE, PACKED, ZERO, DiskImage, Run
from vfs.vd.opening import Opening
from vfs.vd.qcow2 import layout
from vfs.vd.qcow2.bitmaps import Directory, read_bitmaps
from vfs.vd.qcow2.header import Header, read_header
from vfs.vd.qcow2.packed import MANY, MOST, Unpacker
from vfs.vd.qcow2.snapshots import Snapshot, check_snapshot, find_snapshot, read_snapshots
from vfs.vd.qcow2.tables import Tables, follow, read_table

if TYPE_CHECKING:
    from vfs.vd.qcow2.writer import Writer

BACKING_FORMATS = {"vpc": "vhd", "file": "raw", "host_device": "raw"}
"""QEMU's names of what we call otherwise."""


class Qcow2Image(DiskImage):
    """One state of the disk: the active one, or a snapshot. *data*: the file that has the data clusters."""

    format = "qcow2"

    def __init__(
        self,
        file: Storage,
        header: Header,
        l1: array[int],
        size: int,
        data: Storage | None,
        parent: DiskImage | None,
        writable: bool,
    ) -> None:
        super().__init__(file, size, writable=writable, parent=parent)
        self.header = header
        self.parent_name = os.fsdecode(header.backing)
        self.data = file if data is None else data
        if data is not None:
            self.files.append(data)
        self.cluster_size, self.cluster_bits = header.cluster_size, header.cluster_bits
        self.span = header.l2_entries << header.cluster_bits
        """Bytes of the disk that an L2 table maps."""
        self.tables = Tables(file, header, l1)
        self.packed = Unpacker(file, header)
        self.snapshots: list[Snapshot] = []
        self.bitmaps: Directory | None = None
        self.shown: Snapshot | None = None
        self.writer: Writer | None = None

    # ---------------------------------------------------------------- the map

    def runs(self, offset: int, length: int) -> Iterator[Run]:
        end = offset + length
        l1, span = self.tables.l1, self.span
        within = self._extended if self.header.extended else self._standard
        while offset < end:
            l1_index = offset // span
            stop = min(end, (l1_index + 1) * span)
            table = self.tables.l2(l1_index)
            if table is not None:
                yield from within(table, offset % span >> self.cluster_bits, offset, stop)
            else:
                while stop < end and not l1[stop // span] & layout.OFFSET:
                    stop = min(end, stop + span)
                yield Run(offset, stop - offset, HOLE)
            offset = stop

    def _standard(self, table: array[int], index: int, offset: int, stop: int) -> Iterator[Run]:
        """The part up to *stop* of what a table maps, *offset* in the cluster of its entry *index*."""
        size = self.cluster_size
        while offset < stop:
            entry = table[index]
            kind, host = self._kind(entry, offset)
            inside = offset % size
            begin, offset = offset, offset - inside + size
            index += 1
            if kind == PACKED:
                yield Run(begin, min(offset, stop) - begin, PACKED, None, host)
                continue
            if offset < stop:
                last = index + (stop - offset + size - 1 >> self.cluster_bits)
                follows = follow(table, index, last, entry, size if kind == DATA else 0)
                offset += follows - index << self.cluster_bits
                index = follows
            if kind == DATA:
                yield Run(begin, min(offset, stop) - begin, DATA, self.data, host + inside)
            else:
                yield Run(begin, min(offset, stop) - begin, kind)

    def _kind(self, entry: int, offset: int) -> tuple[int, int]:
        """What an entry says of the cluster at *offset*, and where: its place in the file, or what `place` wants. EUCLEAN."""
        if entry & layout.COMPRESSED:
            return PACKED, entry & (layout.COMPRESSED - 1)
        if entry & layout.ZERO and not self.header.extended:
            if self.header.version < 3:
                raise damaged(f"{self.name}: a zero cluster at {offset} of the disk, in an image of version 2")
            return ZERO, 0
        host = entry & layout.OFFSET
        if self.header.external:
            if not host and not entry & layout.COPIED:
                return HOLE, 0
            if host != offset - offset % self.cluster_size:
                raise damaged(f"{self.name}: the cluster at {offset} of the disk is at {host} of the data file")
        elif not host:
            return HOLE, 0
        if host % self.cluster_size:
            raise damaged(f"{self.name}: the cluster at {offset} of the disk is at {host}, which begins no cluster")
        return DATA, host

    def _extended(self, table: array[int], index: int, offset: int, stop: int) -> Iterator[Run]:
        """The same for extended entries: sub-clusters have states of their own."""
        size = self.cluster_size
        while offset < stop:
            entry, bitmap = table[2 * index], table[2 * index + 1]
            kind, host = self._kind(entry, offset)
            inside = offset % size
            begin, offset = offset, offset - inside + size
            index += 1
            if kind == PACKED:
                yield Run(begin, min(offset, stop) - begin, PACKED, None, host)
                continue
            if kind == DATA and bitmap == layout.ALLOCATED_ALL:
                expected = entry + size
                while offset < stop and table[2 * index] == expected and table[2 * index + 1] == bitmap:
                    expected += size
                    index += 1
                    offset += size
                yield Run(begin, min(offset, stop) - begin, DATA, self.data, host + inside)
                continue
            yield from self._sub_clusters(bitmap, kind, host, begin, min(offset, stop))

    def _sub_clusters(self, bitmap: int, kind: int, host: int, offset: int, stop: int) -> Iterator[Run]:
        """The part of one cluster, whose data are at *host*, from *offset* up to *stop*."""
        width = self.cluster_size // layout.SUB_CLUSTERS
        if bitmap & bitmap >> 32 & layout.ALLOCATED_ALL or (bitmap & layout.ALLOCATED_ALL and kind != DATA):
            raise damaged(f"{self.name}: the sub-clusters at {offset} of the disk are {bitmap:#018x}, which contradicts itself")
        while offset < stop:
            inside = offset % self.cluster_size
            begin, offset = offset, offset - inside % width + width
            number = inside // width
            state = bitmap >> number & layout.SUB_CLUSTER_BITS
            while offset < stop and bitmap >> number + 1 & layout.SUB_CLUSTER_BITS == state:
                offset += width
                number += 1
            length = min(offset, stop) - begin
            if state == 1:
                yield Run(begin, length, DATA, self.data, host + inside)
            else:
                yield Run(begin, length, ZERO if state else HOLE)

    def unpack(self, run: Run) -> memoryview:
        inside = run.offset % self.cluster_size
        return memoryview(self.packed.cluster(run.source_offset))[inside : inside + run.length]

    def unpack_all(self, runs: list[tuple[Run, memoryview]]) -> None:
        if len(runs) < MANY:
            super().unpack_all(runs)
            return
        # Without the lock: as long as `reading` counts us, what lies there stays there.
        for first in range(0, len(runs), MOST):
            some = runs[first : first + MOST]
            for (run, buffer), content in zip(some, self.packed.clusters(run.source_offset for run, _ in some), strict=True):
                inside = run.offset % self.cluster_size
                buffer[:] = memoryview(content)[inside : inside + run.length]

    # ---------------------------------------------------------------- changing

    def _writer(self) -> Writer:
        return self.writer if self.writer is not None else fail(errno.EROFS, f"{self.name}: opened read-only")

    def write_range(self, offset: int, content: memoryview) -> None:
        self._writer().write(offset, content)

    def zero_range(self, offset: int, length: int) -> None:
        self._writer().zero(offset, length)

    def discard_range(self, offset: int, length: int) -> None:
        self._writer().discard(offset, length)

    def sync(self) -> None:
        self._writer().sync()

    # ---------------------------------------------------------------- of the whole

    def facts(self) -> dict[str, str | int]:
        header = self.header
        found: dict[str, str | int] = {"version": header.version, "cluster size": self.cluster_size}
        if header.refcount_order != 4:
            found["refcount bits"] = 1 << header.refcount_order
        if header.compression:
            found["compression"] = "zstd"
        if header.extended:
            found["sub-clusters"] = layout.SUB_CLUSTERS
        if self.data is not self.file:
            found["data file"] = os.path.basename(self.data.name)
        if self.snapshots:
            found["snapshots"] = ", ".join(f"{snapshot.id} ({snapshot.name})" for snapshot in self.snapshots[:100])
        if self.shown is not None:
            found["snapshot"] = f"{self.shown.id} ({self.shown.name})"
        if self.bitmaps is not None:
            found["bitmaps"] = ", ".join(os.fsdecode(bitmap.name) for bitmap in self.bitmaps.bitmaps[:100])
        flags = {"dirty": layout.DIRTY, "corrupt": layout.CORRUPT}
        return found | {name: "yes" for name, bit in flags.items() if header.incompatible & bit}


def open_image(source: Storage, opening: Opening) -> Qcow2Image:
    """See `vfs.vd.formats.Reader`. A dirty image that is opened for writing has its refcounts rebuilt."""
    header = read_header(source)
    if opening.writable and opening.snapshot is not None:
        fail(errno.EROFS, f"{header.name}: a snapshot can only be read")
    if opening.writable and header.incompatible & layout.CORRUPT:
        fail(errno.EROFS, f"{header.name}: is marked corrupt, and can only be read; 'qemu-img check -r all' repairs it")
    snapshots, _ = read_snapshots(source, header)
    shown = None if opening.snapshot is None else find_snapshot(header, snapshots, opening.snapshot)
    if shown is not None:
        check_snapshot(source, header, shown)
        l1, size = read_table(source, shown.l1_offset, shown.l1_entries), shown.size
    else:
        l1, size = read_table(source, header.l1_offset, header.l1_entries), header.size
    bitmaps = read_bitmaps(source, header)
    with ExitStack() as undo:
        parent = _parent(source, header, opening)
        if parent is not None:
            undo.callback(parent.close)
        data = _data_file(source, header, opening)
        if data is not None:
            undo.callback(data.close)
        image = Qcow2Image(source, header, l1, size, data, parent, opening.writable)
        image.snapshots, image.bitmaps, image.shown = snapshots, bitmaps, shown
        if opening.writable:
            from vfs.vd.qcow2.subclusters import SubClusterWriter
            from vfs.vd.qcow2.writer import Writer

            image.writer = SubClusterWriter(image) if header.extended else Writer(image)
        undo.pop_all()
        return image


def _parent(source: Storage, header: Header, opening: Opening) -> DiskImage | None:
    if not header.backing:
        if opening.parent is not None:
            fail(errno.EINVAL, f"{header.name}: has no backing file, and parent= names one")
        return None
    format = os.fsdecode(header.extensions.get(layout.BACKING_FORMAT, b"")) or None
    return opening.parent_of(source, header.backing, BACKING_FORMATS.get(format, format) if format else None)


def _data_file(source: Storage, header: Header, opening: Opening) -> Storage | None:
    if not header.external:
        return None
    name = header.extensions.get(layout.DATA_FILE, b"")
    if not name:
        raise unsupported(f"{header.name}: its data are in another file, which it does not name")
    try:
        data = source.beside(name, opening.writable)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):
            fail(error.errno, f"{header.name}: its data file '{os.fsdecode(name)}' does not lie beside it")
        raise
    if data.identity() == source.identity():
        data.close()
        fail(errno.EINVAL, f"{header.name}: says that its data file is itself")
    return data
