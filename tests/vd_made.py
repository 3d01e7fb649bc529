"""Images of our making in memory, for the tests of VDI, VHD and VHDX."""

from __future__ import annotations

from typing import Any

from tests import vd_campaign as campaign
from tests.vd_campaign import MemoryFile, Operation

Directory = dict[bytes, bytearray]


def image(format: str, size: int | None, content: bytes = b"", directory: Directory | None = None, **options: Any) -> Directory:
    """A directory with an image `disk`, and *content* at its beginning."""
    directory = {} if directory is None else directory
    add(directory, b"disk", format, size, content, **options)
    return directory


def add(directory: Directory, name: bytes, format: str, size: int | None, content: bytes = b"", **options: Any) -> None:
    """An image more. The option *parent* is a name in the directory."""
    parent = options.pop("parent", None)
    if parent is not None:
        options["backing_file"] = MemoryFile(directory, parent)
    directory[name] = bytearray()
    campaign.MODULE.create(MemoryFile(directory, name, True), format, size, campaign.MODULE.create_options(format)(**options))
    if content:
        with opened(directory, name, True, parent=options.get("backing_file")) as device:
            device.storage(0).write(0, content)


def opened(directory: Directory, name: bytes = b"disk", writable: bool = False, **options: Any) -> campaign.Device:
    return campaign.opened(MemoryFile(directory, name, writable), rw=writable, **options)


def content(directory: Directory, name: bytes = b"disk", **options: Any) -> bytes:
    with opened(directory, name, **options) as device:
        return campaign.read_all(device.storage(0))


def against_model(directory: Directory, name: bytes, flat: bytearray, todo: list[Operation], parent: bytes | None = None) -> None:
    """*parent* where the option has to be given."""

    def open_it() -> campaign.Device:
        return opened(directory, name, True, parent=MemoryFile(directory, parent) if parent else None)

    campaign.against_model(open_it, flat, todo)
    findings = campaign.checked(MemoryFile(directory, name))
    assert findings == [], findings


def refused(directory: Directory, name: bytes = b"disk", writable: bool = False, **options: Any) -> OSError:
    """The error that mounting gives, or writing the first byte."""
    try:
        with opened(directory, name, writable, **options) as device:
            campaign.read_all(device.storage(0))
            if writable:
                device.storage(0).write(0, b"x")
    except OSError as error:
        return error
    raise AssertionError("it was mounted")
