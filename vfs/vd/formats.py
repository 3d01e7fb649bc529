"""The formats: their names, how each is recognised, and where its code lies. Importing this costs nothing."""

from __future__ import annotations

import errno
import importlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, cast

from vfs.api import CERTAIN, NO, POSSIBLE, Finding, Format, Storage, fail
from vfs.vd.disk import DiskImage
from vfs.vd.opening import Opening

HEAD = 4096
"""Bytes from an image's start that `Kind.probe` gets."""
TAIL = 512
"""And from its end."""


class Reader(Protocol):
    """`vfs.vd.<format>.image`: on failure the source stays the caller's."""

    def open_image(self, source: Storage, opening: Opening) -> DiskImage: ...


class Creator(Protocol):
    """`vfs.vd.<format>.create`: *CreateOptions* is a dataclass of `option()` fields."""

    CreateOptions: type[Any]

    def create(self, storage: Storage, size: int | None, options: Any) -> None: ...


class Checker(Protocol):
    """`vfs.vd.<format>.check`: raises where the image cannot even be opened."""

    def check(self, source: Storage, opening: Opening) -> list[Finding]: ...


class Kind(NamedTuple):
    """*probe* gets the first `HEAD` and the last `TAIL` bytes of a file, or what there is of them."""

    format: Format
    probe: Callable[[bytes, bytes], int]

    @property
    def name(self) -> str:
        return self.format.name

    def reader(self) -> Reader:
        return cast(Reader, importlib.import_module(f"vfs.vd.{self.name}.image"))

    def creator(self) -> Creator:
        return cast(Creator, importlib.import_module(f"vfs.vd.{self.name}.create"))

    def checker(self) -> Checker:
        return cast(Checker, importlib.import_module(f"vfs.vd.{self.name}.check"))


def _raw(head: bytes, tail: bytes) -> int:
    return NO  # any file is; only by name


def _qcow2(head: bytes, tail: bytes) -> int:
    return CERTAIN if head[:8] in (b"QFI\xfb\0\0\0\2", b"QFI\xfb\0\0\0\3") else NO


def _vdi(head: bytes, tail: bytes) -> int:
    return CERTAIN if head[64:68] == b"\x7f\x10\xda\xbe" else NO


def _vhd(head: bytes, tail: bytes) -> int:
    if head[:8] == b"conectix":
        return CERTAIN
    # A fixed one has only its footer, of 511 bytes when it comes from very old versions. Its checksum counts: a disk whose last
    # file is a VHD is none, and one with partitions at its start still is.
    for footer in (tail, tail[1:]):
        if footer[:8] == b"conectix" and len(footer) >= 84:
            found = ~(sum(footer) - sum(footer[64:68])) & 0xFFFFFFFF
            return CERTAIN if found == int.from_bytes(footer[64:68], "big") else POSSIBLE
    return NO


def _vhdx(head: bytes, tail: bytes) -> int:
    return CERTAIN if head[:8] == b"vhdxfile" else NO


def _vmdk(head: bytes, tail: bytes) -> int:
    if head[:4] in (b"KDMV", b"COWD") or head[:8] == b"\xbe\xba\xfe\xca\0\0\0\0":
        return CERTAIN
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if re.match(rb"#\s*disk\s+descriptor\s*file", text, re.IGNORECASE):
        return CERTAIN
    return POSSIBLE if b"\ncreateType" in head[:2048] and text.startswith((b"#", b"version")) else NO


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(Format("raw", "the bytes of the disk as they are", (".raw", ".img")), _raw),
        Kind(Format("qcow2", "QEMU copy-on-write, versions 2 and 3", (".qcow2",)), _qcow2),
        Kind(Format("vdi", "VirtualBox disk image", (".vdi",)), _vdi),
        Kind(Format("vhd", "Microsoft virtual hard disk (Virtual PC)", (".vhd", ".vpc")), _vhd),
        Kind(Format("vhdx", "Microsoft virtual hard disk, version 2 (Hyper-V)", (".vhdx",)), _vhdx),
        Kind(Format("vmdk", "VMware virtual disk", (".vmdk",)), _vmdk),
    )
}


def recognise(source: Storage) -> tuple[Kind | None, int]:
    """The likeliest format of a file, and how sure that is (`NO`: none). EIO."""
    head = source.read(0, min(HEAD, source.size))
    tail = source.read(max(0, source.size - TAIL), min(TAIL, source.size))
    best, sure = None, NO
    for kind in KINDS.values():
        found = kind.probe(head, tail)
        if found > sure:
            best, sure = kind, found
    return best, sure


def open_image(source: Storage, opening: Opening, format: str | None = None) -> DiskImage:
    """The disk in *source*, which it then owns: in *format*, or in the one detected, or raw. On failure the source stays the
    caller's. EINVAL: no such format; EUCLEAN, EOPNOTSUPP, EROFS (asked to be writable), and what `Opening.parent_of` gives."""
    if format is None:
        kind = recognise(source)[0] or KINDS["raw"]
    elif format in KINDS:
        kind = KINDS[format]
    else:
        fail(errno.EINVAL, f"{source.name}: no format of images is called '{format}' (known: {', '.join(KINDS)})")
    return kind.reader().open_image(source, opening)


def opening(writable: bool = False, parent: Storage | None = None, snapshot: str | None = None) -> Opening:
    """How the first image of a chain is opened."""
    return Opening(writable, parent, snapshot, open_image)


def subformat(text: str) -> str:
    """Reads the option of that name, of formats that have two."""
    if text not in ("dynamic", "fixed"):
        raise ValueError("wants dynamic or fixed")
    return text


def size_of(source: Storage) -> int:
    """Bytes of the disk in *source*, which stays the caller's: what a child without a size of its own gets. As `open_image`."""
    image = open_image(Unowned(source), opening())
    try:
        return image.size
    finally:
        image.close()


class Unowned(Storage):
    """A storage whose owner is somebody else: closing this one leaves it open."""

    def __init__(self, below: Storage) -> None:
        self.below = below
        self.name, self.size, self.read_only, self.block_size = below.name, below.size, True, below.block_size
        self.readinto, self.read, self.advise = below.readinto, below.read, below.advise  # type: ignore[method-assign]
        self.extents, self.identity, self.descriptor = below.extents, below.identity, below.descriptor  # type: ignore[method-assign]

    def beside(self, name: bytes, writable: bool = False, create: bool = False) -> Storage:
        return self.below.beside(name) if not (writable or create) else super().beside(name)
