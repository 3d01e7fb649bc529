"""BlockHandle: an open block device: reads, writes, and the ioctls that disks answer.

What depends on the disk alone is answered from its `Storage`; what concerns partitions goes to the `Device`. Requests that a disk
without zones or discs refuses, are refused as the kernel's drivers do it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import struct
from collections.abc import Callable

from vfs.api import ioctls
from vfs.api.allocation import KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE
from vfs.api.device import Device, StorageHandle
from vfs.api.errors import fail
from vfs.api.storage import Storage

SECTOR = 512
HEADS, SECTORS_PER_TRACK = 255, 63
"""The geometry that everybody assumes of a disk that has none."""
READ_AHEAD = 256
"""Sectors: what Linux sets for a new disk."""

_INT, _LONG, _SHORT = struct.Struct("=i"), struct.Struct("=Q"), struct.Struct("=H")
RANGE = struct.Struct("=QQ")  # offset and length, bytes
BLKPG_ARGUMENT = struct.Struct("=iii4xQ")  # struct blkpg_ioctl_arg: op, flags, datalen, data
BLKPG_PARTITION = struct.Struct("=qqi64s64s4x")  # struct blkpg_partition: start, length (bytes), pno, devname, volname
GEOMETRY = struct.Struct("=BBH4xQ")  # struct hd_geometry: heads, sectors, cylinders, start (sectors)

_sequence = itertools.count(1)


class BlockHandle(StorageHandle):
    """One open file description of a sub-device. Whoever has written to the whole device and closes it may have written another
    table of parts: it is read again, as udev does it. Errors of that are not his: parts in use stay as they were."""

    __slots__ = ("_changed", "_exclusive", "_read_ahead", "device", "sub_device")

    def __init__(self, device: Device, sub_device: int, flags: int = 0) -> None:
        super().__init__(device.storage(sub_device), flags)
        self.device, self.sub_device = device, sub_device
        self._read_ahead = READ_AHEAD
        self._changed = False
        self._exclusive = bool(flags & os.O_EXCL)
        if self._exclusive:
            device.claim(sub_device)

    def write(self, offset: int, content: bytes | memoryview) -> int:
        self._changed = True
        return super().write(offset, content)

    def descriptor(self) -> int | None:
        found = super().descriptor()
        # Who writes past us does so unseen.
        self._changed = self._changed or (found is not None and self.writable)
        return found

    def flush(self) -> None:
        if self._changed and not self.sub_device:
            self._changed = False
            with contextlib.suppress(OSError):
                self.device.reread()

    def close(self) -> None:
        self.flush()
        if self._exclusive:
            self._exclusive = False
            self.device.release(self.sub_device)

    def allocate(self, mode: int, offset: int, length: int) -> None:
        """As Linux has it for block devices: ranges of whole sectors are zeroed, and given back where the disk can."""
        if not self.writable:
            fail(errno.EBADF)
        if mode not in (ZERO_RANGE, ZERO_RANGE | KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE):
            fail(errno.EOPNOTSUPP)
        room = self.storage.size - offset
        if room <= 0 or (length > room and not mode & KEEP_SIZE):
            fail(errno.EINVAL)
        length = min(length, room)
        if (offset | length) % self.storage.block_size:
            fail(errno.EINVAL)
        self._changed = True
        self.storage.zero(offset, length)

    def ioctl(self, request: int, argument: bytes) -> bytes:
        """EFAULT and the sizes of arguments are the front end's (`ioctls.TAKES`). EINVAL, EBADF (not opened for writing),
        EROFS, EBUSY, ENOTTY."""
        answer = _ANSWERS.get(request)
        return answer(self, argument) if answer is not None else fail(errno.ENOTTY)

    # ---------------------------------------------------------------- answers

    def _range(self, argument: bytes) -> tuple[int, int]:
        """The range that a discard or a zeroing names. EINVAL: not whole blocks, or beyond the end."""
        offset, length = RANGE.unpack(argument)
        if not self.writable:
            fail(errno.EBADF)
        if (offset | length) % self.storage.block_size or offset + length > self.storage.size:
            fail(errno.EINVAL)
        self._changed = True
        return offset, length

    def _discard(self, argument: bytes) -> bytes:
        self.storage.discard(*self._range(argument))
        return b""

    def _zero(self, argument: bytes) -> bytes:
        self.storage.zero(*self._range(argument))
        return b""

    def _flush(self, argument: bytes) -> bytes:
        self.storage.flush()
        return b""

    def _geometry(self, argument: bytes) -> bytes:
        cylinders = self.storage.size // SECTOR // (HEADS * SECTORS_PER_TRACK)
        start = getattr(self.storage, "start", 0) if self.sub_device else 0
        return GEOMETRY.pack(HEADS, SECTORS_PER_TRACK, min(cylinders, 0xFFFF), start // SECTOR)

    def _set_read_only(self, argument: bytes) -> bytes:
        wanted = bool(_INT.unpack(argument)[0])
        if not wanted and self.device.read_only:
            fail(errno.EACCES)
        self.storage.read_only = wanted
        return b""

    def _set_read_ahead(self, argument: bytes) -> bytes:
        self._read_ahead = _LONG.unpack(argument)[0]
        return b""

    def _set_block_size(self, argument: bytes) -> bytes:
        size = _INT.unpack(argument)[0]
        if size & (size - 1) or not self.storage.block_size <= size <= 4096:
            fail(errno.EINVAL)
        return b""

    def _whole(self) -> None:
        if self.sub_device:
            fail(errno.EINVAL)

    def _reread(self, argument: bytes) -> bytes:
        self._whole()
        self.device.reread()
        return b""

    def _partition(self, argument: bytes) -> bytes:
        self._whole()
        operation, _, size, _ = BLKPG_ARGUMENT.unpack_from(argument)
        if size < BLKPG_PARTITION.size:
            fail(errno.EINVAL)
        start, length, number, _, _ = BLKPG_PARTITION.unpack_from(argument, BLKPG_ARGUMENT.size)
        if number <= 0 or start < 0 or length < 0 or (start | length) % self.storage.block_size:
            fail(errno.EINVAL)
        if operation == ioctls.BLKPG_ADD_PARTITION:
            self.device.add_part(number, start, length)
        elif operation == ioctls.BLKPG_DEL_PARTITION:
            self.device.remove_part(number)
        elif operation == ioctls.BLKPG_RESIZE_PARTITION:
            self.device.resize_part(number, start, length)
        else:
            fail(errno.EINVAL)
        return b""


def _refuse(number: int) -> Callable[[BlockHandle, bytes], bytes]:
    def answer(handle: BlockHandle, argument: bytes) -> bytes:
        fail(number)

    return answer


def _number(packed: struct.Struct, value: Callable[[Storage], int]) -> Callable[[BlockHandle, bytes], bytes]:
    return lambda handle, argument: packed.pack(value(handle.storage))


def disk_sequence(storage: Storage) -> int:
    """A number that no other disk of this process has had (BLKGETDISKSEQ)."""
    found: int = storage.__dict__.setdefault("_disk_sequence", 0) or next(_sequence)
    storage.__dict__["_disk_sequence"] = found
    return found


_ANSWERS: dict[int, Callable[[BlockHandle, bytes], bytes]] = {
    ioctls.BLKROSET: BlockHandle._set_read_only,
    ioctls.BLKROGET: _number(_INT, lambda storage: storage.read_only),
    ioctls.BLKRRPART: BlockHandle._reread,
    ioctls.BLKGETSIZE: _number(_LONG, lambda storage: storage.size // SECTOR),
    ioctls.BLKGETSIZE64: _number(_LONG, lambda storage: storage.size),
    ioctls.BLKFLSBUF: BlockHandle._flush,
    ioctls.BLKRASET: BlockHandle._set_read_ahead,
    ioctls.BLKFRASET: BlockHandle._set_read_ahead,
    ioctls.BLKRAGET: lambda handle, argument: _LONG.pack(handle._read_ahead),
    ioctls.BLKFRAGET: lambda handle, argument: _LONG.pack(handle._read_ahead),
    ioctls.BLKSECTGET: _number(_SHORT, lambda storage: 2560),
    ioctls.BLKSSZGET: _number(_INT, lambda storage: storage.block_size),
    ioctls.BLKPBSZGET: _number(_INT, lambda storage: storage.physical_block_size or storage.block_size),
    ioctls.BLKIOMIN: _number(_INT, lambda storage: storage.physical_block_size or storage.block_size),
    ioctls.BLKIOOPT: _number(_INT, lambda storage: 0),
    ioctls.BLKALIGNOFF: _number(_INT, lambda storage: 0),
    ioctls.BLKBSZGET: _number(_INT, lambda storage: 4096),
    ioctls.BLKBSZSET: BlockHandle._set_block_size,
    ioctls.BLKPG: BlockHandle._partition,
    ioctls.BLKDISCARD: BlockHandle._discard,
    ioctls.BLKSECDISCARD: _refuse(errno.EOPNOTSUPP),
    ioctls.BLKDISCARDZEROES: _number(_INT, lambda storage: 0),
    ioctls.BLKZEROOUT: BlockHandle._zero,
    ioctls.BLKROTATIONAL: _number(_SHORT, lambda storage: 0),
    ioctls.BLKGETDISKSEQ: _number(_LONG, disk_sequence),
    ioctls.BLKREPORTZONE: _refuse(errno.ENOTTY),
    ioctls.BLKRESETZONE: _refuse(errno.ENOTTY),
    ioctls.BLKGETZONESZ: _number(_INT, lambda storage: 0),
    ioctls.BLKGETNRZONES: _number(_INT, lambda storage: 0),
    ioctls.HDIO_GETGEO: BlockHandle._geometry,
    ioctls.CDROM_DRIVE_STATUS: _refuse(errno.ENOTTY),
    ioctls.CDROM_DISC_STATUS: _refuse(errno.ENOTTY),
    ioctls.CDROM_GET_CAPABILITY: _refuse(errno.ENOTTY),
}
