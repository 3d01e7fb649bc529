"""Device: what a device module mounts: a character or block device with sub-devices (partitions)."""

from __future__ import annotations

import errno

from vfs.api.closing import Closing
from vfs.api.errors import fail
from vfs.api.storage import Storage


class Device(Closing):
    """One mounted device. Sub-device 0 is the whole; 1, 2 … are its parts, numbered as their table numbers them."""

    type: str = ""
    read_only: bool = True
    character: bool = False

    def storages(self) -> dict[int, Storage]:
        """The storages by sub-device number."""
        raise NotImplementedError

    def ioctl(self, sub_device: int, request: int, argument: bytes) -> bytes:
        """An ioctl(2) on a sub-device. ENOTTY: not known."""
        fail(errno.ENOTTY)

    def details(self) -> dict[str, str | int]:
        """Facts for a person, in the order to show them."""
        return {}

    def close(self) -> None:
        """End the mount. Idempotent."""
