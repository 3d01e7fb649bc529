"""Device: what a device module mounts: a character or block device with sub-devices (partitions).

A block device is a set of storages by sub-device number; opening one gives a `BlockHandle`, which answers the ioctls of disks by
itself. A character device overrides `open` and returns a handle with a state of its own. Front ends know one more thing: whoever
must be alone with a sub-device (a mount, a program with O_EXCL) claims it first, as the kernel's drivers have it.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator

from vfs.api.closing import Closing
from vfs.api.errors import fail
from vfs.api.node import Extent, Handle
from vfs.api.storage import Storage


class Device(Closing):
    """One mounted device. Sub-device 0 is the whole; 1, 2 … are its parts, numbered as their table numbers them. Attributes set
    by the module:

    * *type*: the module's name; *read_only*: no sub-device can be written;
    * *character*: it is no block device;
    * *blocking*: calls may wait for long: a front end makes them in a worker thread;
    * *sub_devices*: how many minor numbers, from its own on, are its (the option `nsubdev=` of front ends wins);
    * *generation*: grows whenever `storages` has changed: a table was read again;
    * *lock*: held for every change.
    """

    type: str = ""
    read_only: bool = True
    character: bool = False
    blocking: bool = False
    sub_devices: int = 1
    generation: int = 0

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._claims: dict[int, int] = {}

    def storages(self) -> dict[int, Storage]:
        """The storages by sub-device number, as they are now. They belong to the device."""
        raise NotImplementedError

    def storage(self, sub_device: int) -> Storage:
        """One of them. ENXIO: there is none of that number."""
        found = self.storages().get(sub_device)
        return found if found is not None else fail(errno.ENXIO, f"no sub-device {sub_device}")

    def open(self, sub_device: int, flags: int = 0) -> Handle:
        """An open file description of its own. *flags* as open(2): O_EXCL claims the sub-device until the handle is closed.
        ENXIO; EBUSY: claimed by another; EROFS: to be written, and read-only."""
        from vfs.api.blockhandle import BlockHandle  # it knows this class

        return BlockHandle(self, sub_device, flags)

    def reread(self) -> None:
        """BLKRRPART: read the table of parts again. EINVAL: it has none; EBUSY: a part is in use."""
        fail(errno.EINVAL, f"{self.type}: has no partitions")

    def add_part(self, number: int, start: int, size: int) -> None:
        """BLKPG_ADD_PARTITION, bytes: a part that no table names. EINVAL: has no parts, or a range outside the disk; EBUSY:
        number or range is taken."""
        fail(errno.EINVAL, f"{self.type}: has no partitions")

    def remove_part(self, number: int) -> None:
        """BLKPG_DEL_PARTITION. ENXIO: no such part; EBUSY: in use."""
        fail(errno.EINVAL, f"{self.type}: has no partitions")

    def resize_part(self, number: int, start: int, size: int) -> None:
        """BLKPG_RESIZE_PARTITION: *start* stays as it is. ENXIO, EINVAL (start, range), EBUSY (overlaps)."""
        fail(errno.EINVAL, f"{self.type}: has no partitions")

    def details(self) -> dict[str, str | int]:
        """Facts for a person, in the order to show them."""
        return {}

    def partitions(self) -> list[Partition]:
        """What the table says of the parts, in the order of their numbers; empty for a device without."""
        return []

    def flush(self) -> None:
        """Make everything durable. EIO."""
        for storage in self.storages().values():
            storage.flush()

    def close(self) -> None:
        """End the mount. Idempotent."""

    # ---------------------------------------------------------------- claims

    def claim(self, sub_device: int) -> None:
        """Be alone with a sub-device: nobody else can claim it, or the whole where it is a part, until `release`. EBUSY."""
        with self.lock:
            if sub_device in self._claims or (0 in self._claims if sub_device else self._claims):
                fail(errno.EBUSY, "the device is in use")
            self._claims[sub_device] = 1

    def release(self, sub_device: int) -> None:
        """The end of a claim."""
        with self.lock:
            self._claims.pop(sub_device, None)

    def claimed(self, sub_device: int) -> bool:
        return sub_device in self._claims

    def hold(self, sub_device: int) -> Storage:
        """A sub-device as a source: claimed until it is closed. Closing it leaves the device open. EBUSY, ENXIO."""
        storage = self.storage(sub_device)
        self.claim(sub_device)
        return HeldStorage(self, sub_device, storage)


class Partition:
    """One row of a partition table: *number*, *start* and *size* in bytes; *type* as the table has it (`83`, or a GUID in capital
    letters), *type_name* in words (empty: not known), *name* and *uuid* (empty: the table has none); *bootable*; *attributes* of
    a GPT."""

    __slots__ = ("attributes", "bootable", "name", "number", "size", "start", "type", "type_name", "uuid")

    def __init__(
        self,
        number: int,
        start: int,
        size: int,
        type: str,
        type_name: str = "",
        name: str = "",
        uuid: str = "",
        bootable: bool = False,
        attributes: int = 0,
    ) -> None:
        self.number, self.start, self.size, self.type, self.type_name = number, start, size, type, type_name
        self.name, self.uuid, self.bootable, self.attributes = name, uuid, bootable, attributes

    def __iter__(self) -> Iterator[tuple[str, str | int | bool]]:
        return (
            (name, getattr(self, name)) for name in ("number", "start", "size", "type", "type_name", "name", "uuid", "bootable")
        )


def sub_device_name(base: bytes, number: int) -> bytes:
    """The name of a sub-device beside the device's own, as the kernel names partitions: `sda1`, but `nvme0n1p1`."""
    if not number:
        return base
    return b"%s%s%d" % (base, b"p" if base[-1:].isdigit() else b"", number)


class HeldStorage(Storage):
    """A sub-device that somebody mounts."""

    def __init__(self, device: Device, sub_device: int, below: Storage) -> None:
        self.device, self.sub_device, self.below = device, sub_device, below
        self.name, self.read_only = below.name, below.read_only
        self.block_size, self.physical_block_size = below.block_size, below.physical_block_size
        self.readinto, self.read, self.write = below.readinto, below.read, below.write  # type: ignore[method-assign]
        self.advise, self.extents = below.advise, below.extents  # type: ignore[method-assign]
        self._held = True

    @property
    def size(self) -> int:  # type: ignore[override]
        return self.below.size

    def discard(self, offset: int, length: int) -> None:
        self.below.discard(offset, length)

    def zero(self, offset: int, length: int) -> None:
        self.below.zero(offset, length)

    def flush(self) -> None:
        self.below.flush()

    def identity(self) -> object:
        return self.below.identity()

    def descriptor(self) -> int | None:
        return self.below.descriptor()

    def close(self) -> None:
        if self._held:
            self._held = False
            self.device.release(self.sub_device)


class StorageHandle(Handle):
    """A storage read and written as a file: the position-less handle that front ends want."""

    __slots__ = ("storage", "writable")

    def __init__(self, storage: Storage, flags: int = 0) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self.storage = storage
        self.writable = flags & os.O_ACCMODE != os.O_RDONLY
        if self.writable and storage.read_only:
            fail(errno.EROFS, f"{storage.name}: read-only")

    def size(self) -> int:
        return self.storage.size

    def readinto(self, offset: int, buffer: memoryview) -> int:
        return self.storage.readinto(offset, buffer)

    def read(self, offset: int, size: int) -> bytes:
        size = min(size, self.storage.size - offset)
        return self.storage.read(offset, size) if size > 0 else b""

    def write(self, offset: int, content: bytes | memoryview) -> int:
        if not self.writable:
            fail(errno.EBADF)
        room = self.storage.size - offset
        if room <= 0:
            return fail(errno.ENOSPC) if len(content) else 0
        return self.storage.write(offset, memoryview(content)[:room])

    def fsync(self) -> None:
        self.storage.flush()

    def extents(self, offset: int, length: int) -> list[Extent]:
        return self.storage.extents(offset, length)

    def descriptor(self) -> int | None:
        return self.storage.descriptor() if self.storage.size else None
