"""DeviceFile: what stands for one open file description of a device.

A memfd as for files (`placeholder`), but one for each open, and always empty: it has the device's size, so that the kernel knows
where its end is, and its file position is the device's. All reading and writing is trapped, at numbers from `LAZY` on, and done
by the handle. Nobody tells us of the last close; that nobody else has the memfd open, a lease tells.
"""

from __future__ import annotations

import fcntl
import os

from vfs.api import Handle
from vfs.view.dentry import Dentry
from vfs.view.devices import DeviceNodes, nodes_of
from vfs.view.memfd import make_memfd
from vfs.view.placeholder import Placeholder, can_lease
from vfs.view.slow import SlowHandle


class DeviceFile(Placeholder):
    """*handle* is the module's, open from the beginning; *device_handle* the same, to be asked in handlers (`vfs.view.slow`);
    *writable*: it was opened for writing."""

    __slots__ = ("device_handle", "writable")

    def __init__(self, number: int, dentry: Dentry, name: bytes, handle: Handle, writable: bool) -> None:
        super().__init__(number, dentry)
        self.handle = handle
        workers = nodes_of(dentry.mount).workers
        self.device_handle = handle if workers is None else SlowHandle(dentry.node, handle, workers)
        self.writable = writable
        self.size = min(handle.size(), (1 << 63) - 4096)

        def fill(writer: int) -> None:
            os.ftruncate(writer, self.size)

        self.holder = make_memfd(name, fill)
        self.nodes.open_files[number] = self
        dentry.mount.superblock.placeholders[self.key] = self

    @property
    def key(self) -> int:
        return -self.number

    @property
    def whole(self) -> bool:
        return False

    @property
    def nodes(self) -> DeviceNodes:
        return nodes_of(self.dentry.mount)

    def content(self) -> Handle:
        return self.device_handle

    def is_open(self) -> bool:
        return self.holder >= 0 and not can_lease(self.holder, fcntl.F_WRLCK)

    def keep_atime(self) -> None:
        """A device's access time is nobody's business."""

    def close_handle(self) -> None:
        """The last descriptor is gone."""
        handle, self.handle = self.handle, None
        if handle is not None:
            self.nodes.open_files.pop(self.number, None)
            self.dentry.mount.superblock.placeholders.pop(self.key, None)
            handle.close()
