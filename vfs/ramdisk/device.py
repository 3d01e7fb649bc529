"""The device of a disk without parts."""

from __future__ import annotations

from vfs.api import Device, Storage
from vfs.ramdisk.storage import Memory


class Ramdisk(Device):
    """One disk in memory."""

    type = "ramdisk"

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self._memory = memory
        self.read_only = memory.read_only

    def storages(self) -> dict[int, Storage]:
        return {0: self._memory}

    def details(self) -> dict[str, str | int]:
        return {"size": self._memory.size, "sector size": self._memory.block_size, "occupied": self._memory.occupied()}

    def close(self) -> None:
        self._memory.close()
