"""The module that the registry knows: recognise an image, mount, create and check it. Imports a format's code when it is used."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Any, ClassVar

from vfs.api import NO, Device, Finding, Format, Module, Options, Source, Storage, fail, option
from vfs.api.options import source_path, string
from vfs.vd.formats import KINDS, Kind, Unowned, open_image, opening, recognise


def format_name(text: str) -> str:
    if text not in KINDS:
        raise ValueError(f"wants one of {', '.join(KINDS)}")
    return text


@dataclass
class VdOptions(Options):
    """Options of a vd mount."""

    format: str | None = option(format_name, "the image's format, where it shall not be detected; raw never is")
    parent: Storage | None = option(source_path, "the image that this one continues, wherever it lies")  # noqa: RUF009
    snapshot: str | None = option(string, "an internal snapshot, by its name or id: read-only")


class VdModule(Module):
    """Virtual disks."""

    name: ClassVar[str] = "vd"
    description: ClassVar[str] = "virtual disks: qcow2, VDI, VHD, VHDX, VMDK, raw"
    options: ClassVar[type[Options]] = VdOptions
    container: ClassVar[bool] = True
    formats: ClassVar[tuple[Format, ...]] = tuple(kind.format for kind in KINDS.values())

    def probe(self, source: Source) -> int:
        if not isinstance(source, Storage):
            return NO
        try:
            return recognise(source)[1]
        except OSError:
            return NO

    def mount(self, source: Source, options: VdOptions) -> Device:
        if not isinstance(source, Storage):
            fail(errno.EINVAL, "vd: wants an image file")
        asked = options.rw or options.rw_plus
        if asked and source.read_only:
            fail(errno.EROFS, f"{source.name}: can only be read")
        from vfs.vd.device import VirtualDisk

        format = options.format or _detected(source).name
        writable = not (source.read_only or options.ro)
        try:
            image = open_image(source, opening(writable, options.parent, options.snapshot), format)
        except OSError as error:
            # Of what can only be read, nobody has asked for more.
            if not writable or asked or error.errno not in (errno.EROFS, errno.EOPNOTSUPP):
                raise
            image = open_image(source, opening(False, options.parent, options.snapshot), format)
        return VirtualDisk(image)

    def create_options(self, format: str) -> type[Any]:
        return self._kind(format).creator().CreateOptions

    def create(self, storage: Storage, format: str, size: int | None, options: Any) -> None:
        self._kind(format).creator().create(storage, size, options)

    def _kind(self, format: str) -> Kind:
        return KINDS.get(format) or fail(errno.EINVAL, f"vd: creates no images of format '{format}' (known: {', '.join(KINDS)})")

    def check(self, source: Source, options: VdOptions) -> list[Finding]:
        if not isinstance(source, Storage):
            fail(errno.EINVAL, "vd: wants an image file")
        kind = KINDS[options.format] if options.format else _detected(source)
        return kind.checker().check(Unowned(source), opening(False, options.parent, options.snapshot))


def _detected(source: Storage) -> Kind:
    """EINVAL: none."""
    kind = recognise(source)[0]
    return kind if kind is not None else fail(errno.EINVAL, f"{source.name}: no known virtual disk; format=raw takes it as it is")
