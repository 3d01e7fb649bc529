"""New disks: the five kinds that qemu-img knows, and the one of ESX servers."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass

from vfs.api import Storage, fail, option
from vfs.api.options import source_path
from vfs.vd.formats import size_of
from vfs.vd.opening import name_beside
from vfs.vd.vmdk.descriptor import Descriptor, compose, new_content_id
from vfs.vd.vmdk.layout import (
    COWD_TABLE_ENTRIES,
    LINE_ENDS,
    MAGIC_COWD,
    MAGIC_HOSTED,
    NEW_LINE_DETECTION,
    REDUNDANT_TABLES,
    SECTOR,
    ZEROED_GRAINS,
    CowdHeader,
    SparseHeader,
)
from vfs.vd.vmdk.opening import read_descriptor
from vfs.vd.vmdk.stream import empty_stream

SUBFORMATS = (
    "monolithicSparse",
    "monolithicFlat",
    "twoGbMaxExtentSparse",
    "twoGbMaxExtentFlat",
    "streamOptimized",
    "vmfsSparse",
)
ADAPTERS = ("ide", "buslogic", "lsilogic", "legacyESX")
GRAIN = 128
"""Sectors: what VMware makes."""
TABLE_ENTRIES = 512
DESCRIPTOR_ROOM = 20
"""Sectors for a descriptor inside an extent."""
SPLIT = 2047 << 20
"""Bytes of each extent of a split disk: with its tables it stays below 2 GiB, the largest file of old file systems."""
SPARSE_LIMIT = 2 << 40
"""Bytes: positions in a sparse extent are sectors of 32 bits."""
DISK_LIMIT = 64 << 40


def choice(*names: str) -> Callable[[str], str]:
    """A reader of one of these words, whatever the case."""

    def read(text: str) -> str:
        for name in names:
            if name.lower() == text.lower():
                return name
        raise ValueError(f"wants one of {', '.join(names)}")

    return read


def switch(text: str) -> bool:
    """`on` or `off`, as qemu-img takes them; the name alone is `on`."""
    if text.lower() in ("", "on", "yes", "true"):
        return True
    if text.lower() in ("off", "no", "false"):
        return False
    raise ValueError("wants on or off")


def version(text: str) -> str:
    if not text.isascii() or not text.isdigit():
        raise ValueError("wants a whole number")
    return text


@dataclass
class CreateOptions:
    """The options of a new VMDK, named as qemu-img names them."""

    subformat: str | None = option(choice(*SUBFORMATS), f"kind of disk: {', '.join(SUBFORMATS)}")
    adapter_type: str | None = option(choice(*ADAPTERS), f"adapter: {', '.join(ADAPTERS)}")
    hwversion: str | None = option(version, "version of the virtual hardware")
    zeroed_grain: bool | None = option(switch, "grains of zeros are marked in the tables: on or off")
    backing_file: Storage | None = option(source_path, "the parent of a delta disk, which lies beside it")  # noqa: RUF009


def create(storage: Storage, size: int | None, options: CreateOptions) -> None:
    """A new disk of *size* bytes, rounded up to a sector, or as large as its parent. EINVAL, EFBIG, EEXIST."""
    kind = options.subformat or "monolithicSparse"
    if size is None:
        if options.backing_file is None:
            fail(errno.EINVAL, "vmdk: a new image needs a size")
        size = size_of(options.backing_file)
    if size > DISK_LIMIT:
        fail(errno.EFBIG, f"a VMDK has at most 64 TiB, not {size} bytes")
    parent = options.backing_file
    if parent is not None and (kind.endswith("Flat") or kind == "streamOptimized"):
        fail(errno.EINVAL, f"a disk of kind {kind} has no parent")
    if options.zeroed_grain and kind not in ("monolithicSparse", "twoGbMaxExtentSparse"):
        fail(errno.EINVAL, f"a disk of kind {kind} has no marks for grains of zeros")
    sectors = -(-size // SECTOR)
    if kind in ("monolithicSparse", "streamOptimized", "vmfsSparse") and sectors * SECTOR > SPARSE_LIMIT:
        fail(errno.EFBIG, f"a disk of kind {kind} has at most 2 TiB: subformat=twoGbMaxExtentSparse has more")
    name = os.path.basename(storage.name)
    lines, files = _plan(kind, name, sectors)
    above = (_content_id(parent), _checked(name_beside(storage, parent))) if parent is not None else None
    text = compose(kind, lines, _fields(options, sectors), new_content_id(), above)
    if kind in ("monolithicSparse", "streamOptimized"):
        if len(text) > DESCRIPTOR_ROOM * SECTOR:
            fail(errno.EINVAL, "the names are too long for the descriptor")
        if kind == "streamOptimized":
            storage.write(0, empty_stream(sectors, GRAIN, text, DESCRIPTOR_ROOM))
        else:
            _hosted(storage, sectors, bool(options.zeroed_grain), text)
        storage.flush()
        return
    for file, count in files:
        with storage.beside(os.fsencode(file), writable=True, create=True) as extent:
            if kind.endswith("Flat"):
                extent.resize(count * SECTOR)
            elif kind == "vmfsSparse":
                _cowd(extent, count)
            else:
                _hosted(extent, count, bool(options.zeroed_grain), b"")
            extent.flush()
    storage.write(0, text)
    storage.flush()


def _checked(name: str) -> str:
    if any(character in name for character in '"\r\n'):
        fail(errno.EINVAL, f"'{name}': a descriptor cannot hold this name")
    return name


def _plan(kind: str, name: str, sectors: int) -> tuple[list[str], list[tuple[str, int]]]:
    """The lines of the extents, and their files with the sectors of each."""
    base = _checked(name)
    base = base[:-5] if base.lower().endswith(".vmdk") else base
    if kind in ("monolithicSparse", "streamOptimized"):
        return [f'RW {sectors} SPARSE "{name}"'], []
    if kind == "monolithicFlat":
        files = [(f"{base}-flat.vmdk", sectors)]
    elif kind == "vmfsSparse":
        files = [(f"{base}-delta.vmdk", sectors)]
    else:
        letter, step = ("f" if kind.endswith("Flat") else "s"), SPLIT // SECTOR
        counts = [min(step, sectors - start) for start in range(0, sectors, step)] or [0]
        files = [(f"{base}-{letter}{number:03}.vmdk", count) for number, count in enumerate(counts, 1)]
    word = "FLAT" if kind.endswith("Flat") else "VMFSSPARSE" if kind == "vmfsSparse" else "SPARSE"
    return [f'RW {count} {word} "{file}"' + (" 0" if word == "FLAT" else "") for file, count in files], files


def _fields(options: CreateOptions, sectors: int) -> dict[str, str]:
    adapter = options.adapter_type or "ide"
    heads, most = (16, 16383) if adapter == "ide" else (255, 0xFFFFFFFF)
    return {
        "ddb.virtualHWVersion": options.hwversion or "4",
        "ddb.geometry.cylinders": str(min(sectors // (heads * 63), most)),
        "ddb.geometry.heads": str(heads),
        "ddb.geometry.sectors": "63",
        "ddb.adapterType": adapter,
    }


def _hosted(file: Storage, capacity: int, zeroed: bool, descriptor: bytes) -> None:
    """An empty hosted extent: header, descriptor, redundant directory and its tables, directory and its tables, grains. All
    tables have their place from the beginning; they are zeros, so the file is a hole there."""
    tables = -(-capacity // (GRAIN * TABLE_ENTRIES))
    directory_size, table_size = -(-max(tables, 1) * 4 // SECTOR), TABLE_ENTRIES * 4 // SECTOR
    redundant = 1 + DESCRIPTOR_ROOM
    directory = redundant + directory_size + tables * table_size
    end = directory + directory_size + tables * table_size
    overhead = end + -end % GRAIN
    header = SparseHeader(
        MAGIC_HOSTED,
        2 if zeroed else 1,
        NEW_LINE_DETECTION | REDUNDANT_TABLES | (ZEROED_GRAINS if zeroed else 0),
        capacity,
        GRAIN,
        1 if descriptor else 0,
        DESCRIPTOR_ROOM if descriptor else 0,
        TABLE_ENTRIES,
        redundant,
        directory,
        overhead,
        0,
        LINE_ENDS,
        0,
    )
    file.resize(overhead * SECTOR)
    file.write(0, header.pack() + descriptor)
    for start in (redundant, directory):
        first = start + directory_size
        entries = b"".join((first + number * table_size).to_bytes(4, "little") for number in range(tables))
        file.write(start * SECTOR, entries)


def _cowd(file: Storage, capacity: int) -> None:
    """An empty extent of an ESX server: header and directory; grains of one sector, as ESX makes them."""
    tables = -(-capacity // COWD_TABLE_ENTRIES)
    end = 4 + -(-max(tables, 1) * 4 // SECTOR)
    header = CowdHeader(MAGIC_COWD, 1, 3, capacity, 1, 4, tables, end, b"", 0, 0, b"", b"", 0, 0)
    file.resize(end * SECTOR)
    file.write(0, header.pack())


def _content_id(parent: Storage) -> int:
    """The CID of a parent. EINVAL: it is no VMDK, or has none."""
    descriptor: Descriptor | None = read_descriptor(parent)
    content_id = descriptor.content_id("CID") if descriptor is not None else None
    if content_id is None:
        fail(errno.EINVAL, f"{parent.name}: the parent of a VMDK must be a VMDK with a descriptor")
    return content_id
