"""The mounted device: one sub-device, the disk."""

from __future__ import annotations

from vfs.api import Device, Storage
from vfs.vd.disk import DiskImage


class VirtualDisk(Device):
    """Owns the image that it shows."""

    type = "vd"

    def __init__(self, image: DiskImage) -> None:
        super().__init__()
        self.image = image
        self.read_only = image.read_only

    def storages(self) -> dict[int, Storage]:
        return {0: self.image}

    def details(self) -> dict[str, str | int]:
        return self.image.details()

    def close(self) -> None:
        self.image.close()
