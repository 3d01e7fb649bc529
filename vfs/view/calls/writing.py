"""Calls that write to a virtual file: the kernel does them, on the memfd; before, it is asked whether there is room.

A file system may be full while memory is not, and what was written into the memfd must fit when it is written back. So each
write through a trapped number takes its size out of the room that `statfs` told last; only when that is used up is it looked at
closely. A low number (`exec 1>file`) is not trapped: what does not fit then is told by fsync, and on standard error.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

from vfs.api import fail
from vfs.api.allocation import KEEP_SIZE
from vfs.view.calls.table import CallTable, Handler
from vfs.view.dentry import REGULAR
from vfs.view.devicefile import DeviceFile
from vfs.view.files import CHUNK, LAZY, READY
from vfs.view.kernel import structs
from vfs.view.kernel.abi import IOV_MAX
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.kernel.structs import signed, signed64
from vfs.view.placeholder import Placeholder

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

UNLIMITED = 1 << 62
ROOM_MOST = 1 << 30
"""So much may be written before the file system is asked again: others may use it up as well."""

LARGEST = (1 << 63) - 4096


def install(table: CallTable, supervisor: Supervisor) -> None:
    calls = Writing(supervisor)
    table.descriptors(calls.write(None), READY, "write")
    table.descriptors(calls.write(3), READY, "pwrite64")
    table.descriptors(calls.writev(None), READY, "writev")
    table.descriptors(calls.writev(3), READY, "pwritev", "pwritev2")
    table.descriptors(calls.fallocate, READY, "fallocate")
    table.descriptors(calls.ftruncate, LAZY, "ftruncate")
    table.descriptors(calls.fsync, READY, "fsync", "fdatasync")
    table.descriptors(calls.syncfs, READY, "syncfs")
    table.always(calls.sync, "sync")


class Writing:
    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor

    def placeholder(self, call: Call, argument: int = 0) -> Placeholder | None:
        return self.supervisor.files.of_descriptor(call.tid, signed(call.args[argument]))

    # ---------------------------------------------------------------- room

    def write(self, offset: int | None) -> Handler:
        def handler(call: Call) -> int:
            placeholder = self.placeholder(call)
            if isinstance(placeholder, DeviceFile):
                return self.to_device(call, placeholder, [(call.args[1], call.args[2])], offset)
            if placeholder is not None and placeholder.written:
                self.demand_room(call, placeholder, call.args[2], offset)
            return CONTINUE

        return handler

    def writev(self, offset: int | None) -> Handler:
        def handler(call: Call) -> int:
            placeholder = self.placeholder(call)
            count = signed(call.args[2])
            if isinstance(placeholder, DeviceFile):
                if not 0 <= count <= IOV_MAX:
                    fail(errno.EINVAL)
                pieces = structs.unpack_iovecs(call.read(call.args[1], 16 * count)) if count else []
                at = None if offset is not None and call.name == "pwritev2" and signed64(call.args[3]) == -1 else offset
                return self.to_device(call, placeholder, pieces, at)
            if placeholder is not None and placeholder.written and 0 < count <= IOV_MAX:
                pieces = structs.unpack_iovecs(call.read(call.args[1], 16 * count))
                self.demand_room(call, placeholder, sum(length for _, length in pieces), offset)
            return CONTINUE

        return handler

    def to_device(self, call: Call, file: DeviceFile, pieces: list[tuple[int, int]], offset: int | None) -> int:
        """Write from the task's memory to a device: *pieces* are (address, length). EBADF, ENOSPC, EROFS, EIO."""
        if not file.writable:
            fail(errno.EBADF)
        if any(length >> 63 for _, length in pieces):
            fail(errno.EINVAL)
        start = signed64(call.args[offset]) if offset is not None else 0
        if start < 0:
            fail(errno.EINVAL)
        file.nodes.dirty = True
        descriptor = call.get_fd(call.args[0]) if offset is None else -1
        try:
            if descriptor >= 0:
                start = os.lseek(descriptor, 0, os.SEEK_CUR)
            total = 0
            for address, length in pieces:
                done = 0
                while done < length:
                    try:
                        content = call.read(address + done, min(CHUNK, length - done))
                        written = file.device_handle.write(start + total, content)
                    except OSError:
                        if total:
                            break
                        raise
                    done += written
                    total += written
                    if written < len(content):
                        break
                if done < length:
                    break
            if descriptor >= 0:
                os.lseek(descriptor, start + total, os.SEEK_SET)
            return total
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def demand_room(self, call: Call, placeholder: Placeholder, length: int, offset: int | None) -> None:
        """ENOSPC: *length* bytes more do not fit. *offset* is the number of the argument that tells where, `None`: at the file
        position."""
        superblock = placeholder.dentry.mount.superblock
        if length <= superblock.room:
            superblock.room -= length
            return
        at = signed64(call.args[offset]) if offset is not None else -1
        if at < 0:
            at = self.position(call, placeholder)
        size = os.fstat(placeholder.holder).st_size
        self.demand_growth(placeholder, max(0, at + length - max(size, at)))

    def demand_growth(self, placeholder: Placeholder, growth: int) -> None:
        """ENOSPC."""
        superblock = placeholder.dentry.mount.superblock
        self.supervisor.files.written.flush(superblock)
        found = superblock.filesystem.statfs()
        room = found.available * found.block_size if found.blocks else UNLIMITED
        for other in self.supervisor.files.written.files.values():
            if other.dentry.mount.superblock is superblock:  # what could not be written back
                room -= max(0, os.fstat(other.holder).st_size - other.dentry.node.stat().size)
        if growth > room:
            superblock.room = 0
            fail(errno.ENOSPC)
        superblock.room = min(ROOM_MOST, room - growth)

    def position(self, call: Call, placeholder: Placeholder) -> int:
        """The file position of the descriptor; the end, where it is open for appending."""
        descriptor = call.get_fd(call.args[0])
        try:
            if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND:
                return os.fstat(placeholder.holder).st_size
            return os.lseek(descriptor, 0, os.SEEK_CUR)
        finally:
            os.close(descriptor)

    def fallocate(self, call: Call) -> int:
        placeholder = self.placeholder(call)
        mode, offset, length = call.args[1] & 0xFFFFFFFF, signed64(call.args[2]), signed64(call.args[3])
        if isinstance(placeholder, DeviceFile):
            if offset < 0 or length <= 0:
                fail(errno.EINVAL)
            placeholder.device_handle.allocate(mode, offset, length)
            return 0
        possible = offset >= 0 and 0 < length <= LARGEST - offset  # else the kernel says what is wrong
        if placeholder is not None and placeholder.written and not mode & ~KEEP_SIZE and possible:
            self.demand_growth(placeholder, max(0, offset + length - os.fstat(placeholder.holder).st_blocks * 512))
        return CONTINUE

    def ftruncate(self, call: Call) -> int:
        """A device has the size that it has. EINVAL."""
        return -errno.EINVAL if isinstance(self.placeholder(call), DeviceFile) else CONTINUE

    # ---------------------------------------------------------------- durable

    def fsync(self, call: Call) -> int:
        placeholder = self.placeholder(call)
        if placeholder is None:
            return CONTINUE
        if isinstance(placeholder, DeviceFile):
            placeholder.device_handle.fsync()
            return 0
        self.supervisor.files.store(placeholder)
        if placeholder.dentry.kind == REGULAR and not placeholder.dentry.mount.read_only:
            placeholder.content().fsync()
        return 0

    def syncfs(self, call: Call) -> int:
        placeholder = self.placeholder(call)
        if placeholder is None:
            return CONTINUE
        superblock = placeholder.dentry.mount.superblock
        self.supervisor.files.written.flush(superblock)
        superblock.filesystem.sync()
        return 0

    def sync(self, call: Call) -> int:
        """All of the view's file systems, then the host's."""
        self.supervisor.files.written.flush()
        for superblock in self.supervisor.superblocks:
            try:
                superblock.filesystem.sync()
            except OSError as error:
                self.supervisor.say(f"sync: {error.strerror}")
        return CONTINUE
