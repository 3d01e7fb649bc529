"""From a file to the extents of its disk: what kind of file it is, its descriptor, the files that this names."""

from __future__ import annotations

import errno
from contextlib import ExitStack
from dataclasses import dataclass, field

from vfs.api import Storage, damaged, fail, unsupported
from vfs.vd.vmdk.descriptor import LIMIT, Descriptor, is_descriptor
from vfs.vd.vmdk.extent import DiskExtent, FlatExtent, ZeroExtent
from vfs.vd.vmdk.layout import (
    COMPRESSED,
    DIRECTORY_AT_END,
    MAGIC_COWD,
    MAGIC_HOSTED,
    MAGIC_SESPARSE,
    SECTOR,
    SparseHeader,
)
from vfs.vd.vmdk.sesparse import SeSparseExtent, read_sesparse
from vfs.vd.vmdk.sparse import CowdExtent, HostedExtent, read_cowd, read_hosted
from vfs.vd.vmdk.stream import StreamExtent, find_footer

RAW_DEVICES = {
    "fulldevice",
    "partitioneddevice",
    "vmfsraw",
    "vmfsrdm",
    "vmfsrdmp",
    "vmfsrawdevicemap",
    "vmfspassthroughrawdevicemap",
}
RAW_KINDS = {"VMFSRAW", "VMFSRDM", "VMFSRDMP"}
SPARSE_KINDS = {"SPARSE", "VMFSSPARSE", "SESPARSE"}
LARGEST = 1 << 63


@dataclass
class Layout:
    """What a disk is made of. *room* is how many bytes the descriptor may have at *descriptor_offset* of the file (0: as many as
    it wants); *descriptor* is `None` for an extent that was opened by itself. *files* are those beside the image."""

    kind: str
    extents: list[DiskExtent]
    descriptor: Descriptor | None = None
    descriptor_offset: int = 0
    room: int = 0
    files: list[Storage] = field(default_factory=list)


def open_layout(source: Storage, writable: bool) -> Layout:
    """The extents of the disk that *source* is, or describes. Files that the descriptor names are opened and belong to the
    layout; *source* stays the caller's on failure. EINVAL, EUCLEAN, EOPNOTSUPP, and the errors of opening those files."""
    head = source.read(0, min(source.size, 4096))
    if head.startswith(MAGIC_HOSTED) and source.size >= SECTOR:
        header = read_hosted(source)
        descriptor, room = _embedded(source, header)
        if header.capacity == 0 and descriptor is not None and descriptor.extents:
            return _described(source, descriptor, header.descriptor_offset * SECTOR, room, writable)
        extent = _hosted(source, header, None)
        if descriptor is not None and len(descriptor.extents) > 1:
            raise unsupported(f"{source.name}: a descriptor inside an extent that names {len(descriptor.extents)} extents")
        kind = descriptor.kind if descriptor is not None else "an extent by itself"
        return Layout(kind, [extent], descriptor, header.descriptor_offset * SECTOR, room)
    if head.startswith(MAGIC_COWD):
        cowd = read_cowd(source)
        return Layout("an extent by itself", [CowdExtent(source, cowd, cowd.capacity * SECTOR)])
    if head.startswith(MAGIC_SESPARSE):
        se = read_sesparse(source)
        _limit(source, se.capacity)
        return Layout("an extent by itself", [SeSparseExtent(source, se, se.capacity * SECTOR)])
    return _described(source, _separate(source, head), 0, 0, writable)


def _separate(source: Storage, head: bytes) -> Descriptor:
    """The descriptor that is a file of its own."""
    if not is_descriptor(head):
        fail(errno.EINVAL, f"{source.name}: not a VMDK")
    if source.size > LIMIT:
        raise damaged(f"{source.name}: a descriptor of {source.size} bytes, at most {LIMIT}")
    return Descriptor(source.read(0, source.size))


def read_descriptor(source: Storage) -> Descriptor | None:
    """The descriptor of a disk, whose extents are not opened; `None` for an extent by itself. As `open_layout`."""
    head = source.read(0, min(source.size, 4096))
    if head.startswith(MAGIC_HOSTED) and source.size >= SECTOR:
        return _embedded(source, read_hosted(source))[0]
    return None if head.startswith((MAGIC_COWD, MAGIC_SESPARSE)) else _separate(source, head)


def _embedded(source: Storage, header: SparseHeader) -> tuple[Descriptor | None, int]:
    """The descriptor inside an extent, and its room in bytes."""
    if not header.descriptor_offset or not header.descriptor_size:
        return None, 0
    start, room = header.descriptor_offset * SECTOR, header.descriptor_size * SECTOR
    if start + room > source.size or room > LIMIT:
        raise damaged(f"{source.name}: the descriptor at byte {start}, {room} bytes long, is outside the file")
    return Descriptor(source.read(start, room)), room


def _limit(source: Storage, sectors: int) -> None:
    if sectors * SECTOR >= LARGEST:
        raise damaged(f"{source.name}: {sectors} sectors are more than a disk can have")


def _hosted(source: Storage, header: SparseHeader, sectors: int | None) -> DiskExtent:
    """A hosted extent; *sectors*: what the disk uses of it."""
    end = 0
    if header.directory == DIRECTORY_AT_END:
        front, (header, end) = header, find_footer(source)
        if (front.capacity, front.grain_size, front.table_entries) != (header.capacity, header.grain_size, header.table_entries):
            raise damaged(f"{source.name}: the header and the end of the stream contradict each other")
    size = _used(source, header.capacity, sectors)
    if header.flags & COMPRESSED or header.compression:
        return StreamExtent(source, header, size, end)
    return HostedExtent(source, header, size)


def _used(source: Storage, capacity: int, sectors: int | None) -> int:
    if sectors is not None and sectors > capacity:
        raise damaged(f"{source.name}: the descriptor wants {sectors} sectors of an extent that has {capacity}")
    return (capacity if sectors is None else sectors) * SECTOR


def _sparse(source: Storage, sectors: int) -> DiskExtent:
    """The file of an extent that a descriptor calls sparse; which kind it is the file itself says."""
    magic = source.read(0, min(8, source.size))
    if magic.startswith(MAGIC_HOSTED):
        return _hosted(source, read_hosted(source), sectors)
    if magic.startswith(MAGIC_COWD):
        cowd = read_cowd(source)
        return CowdExtent(source, cowd, _used(source, cowd.capacity, sectors))
    if magic.startswith(MAGIC_SESPARSE):
        se = read_sesparse(source)
        return SeSparseExtent(source, se, _used(source, se.capacity, sectors))
    raise damaged(f"{source.name}: not a sparse extent, although the descriptor says so")


def _described(source: Storage, descriptor: Descriptor, offset: int, room: int, writable: bool) -> Layout:
    if descriptor.kind.lower() in RAW_DEVICES:
        raise unsupported(f"{source.name}: a disk of kind {descriptor.kind}: devices that an image names are never opened")
    if not descriptor.extents:
        raise damaged(f"{source.name}: the descriptor names no extents")
    _limit(source, sum(line.sectors for line in descriptor.extents))
    layout = Layout(descriptor.kind, [], descriptor, offset, room)
    opened: dict[bytes, tuple[Storage, str]] = {}
    with ExitStack() as undo:
        for line in descriptor.extents:
            if line.access == "NOACCESS" or line.kind in RAW_KINDS:
                raise unsupported(f"{source.name}: an extent of kind {line.access} {line.kind}")
            if line.kind == "ZERO":
                layout.extents.append(ZeroExtent(line.sectors * SECTOR))
                continue
            if line.kind not in SPARSE_KINDS and line.kind not in ("FLAT", "VMFS"):
                raise unsupported(f"{source.name}: an extent of kind {line.kind}")
            if not line.name:
                raise damaged(f"{source.name}: an extent of kind {line.kind} without the name of a file")
            found = opened.get(line.name)
            if found is not None and (line.kind in SPARSE_KINDS or found[1] in SPARSE_KINDS):
                raise damaged(f"{source.name}: extent {line.name.decode(errors='replace')} is named twice")
            if found is None:
                file = open_beside(source, descriptor, line.name, writable and line.access == "RW")
                undo.callback(file.close)
                opened[line.name] = file, line.kind
            else:
                file = found[0]
            if line.kind in SPARSE_KINDS:
                layout.extents.append(_sparse(file, line.sectors))
                continue
            start, size = line.offset * SECTOR, line.sectors * SECTOR
            if start + size > file.size:
                raise damaged(f"{file.name}: has {file.size} bytes, the descriptor wants {size} from byte {start} on")
            layout.extents.append(FlatExtent(file, size, start))
        layout.files = [file for file, _ in opened.values()]
        undo.pop_all()
    return layout


def local_name(name: bytes) -> bytes:
    """A relative name without the dot that says so."""
    return name[2:] if name.startswith((b"./", b".\\")) else name


def open_beside(source: Storage, descriptor: Descriptor, name: bytes, writable: bool) -> Storage:
    """The file that a descriptor names, which must lie beside it. EINVAL: it would not; ENOENT and others, naming it."""
    missing: OSError | None = None
    for candidate in descriptor.names(local_name(name)):
        try:
            return source.beside(candidate, writable)
        except FileNotFoundError as error:
            missing = missing or error
    fail(errno.ENOENT, f"{source.name}: its extent '{name.decode(errors='replace')}' is missing: {missing}")
