"""Calls on descriptors of virtual files: read and its family, seeks for holes, dup, and what lets the kernel see the content."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
from typing import TYPE_CHECKING

from vfs.api import Handle, fail
from vfs.view.calls.table import CallTable, Handler
from vfs.view.dentry import DIRECTORY
from vfs.view.devicefile import DeviceFile
from vfs.view.files import CHUNK, LAZY, READY
from vfs.view.kernel import structs
from vfs.view.kernel.abi import IOV_MAX, MAP_ANONYMOUS, SEEK_DATA, SEEK_HOLE
from vfs.view.kernel.memory import write_some
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.kernel.structs import signed, signed64
from vfs.view.placeholder import Placeholder

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor


def install(table: CallTable, supervisor: Supervisor) -> None:
    calls = Descriptors(supervisor)
    table.descriptors(calls.read, LAZY, "read")
    table.descriptors(calls.pread64, LAZY, "pread64")
    table.descriptors(calls.readv, LAZY, "readv")
    table.descriptors(calls.preadv, LAZY, "preadv")
    table.descriptors(calls.preadv2, LAZY, "preadv2")
    table.handle(calls.lseek, "lseek")
    table.filter.trap_lseek(LAZY)

    table.descriptors(calls.duplicate, READY, "dup")
    table.handle(calls.fcntl, "fcntl")
    table.filter.trap_fcntl((fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC, F_ADD_SEALS, F_GET_SEALS), READY)
    table.descriptors(calls.duplicate_to, READY, "dup2", "dup3")

    largest = supervisor.files.cache_bytes
    table.handle(calls.show(0, largest, into=2), "splice")
    table.handle(calls.show(1, largest, into=0), "sendfile")
    table.handle(calls.copy_range, "copy_file_range")
    for argument, name in (
        (0, "splice"),
        (2, "splice"),
        (1, "sendfile"),
        (0, "sendfile"),
        (0, "copy_file_range"),
        (2, "copy_file_range"),
    ):
        table.filter.trap_fd(name, argument, LAZY)
    table.handle(calls.show(4), "mmap")
    table.filter.trap_mmap(LAZY, READY)


F_ADD_SEALS, F_GET_SEALS = 1033, 1034


class Descriptors:
    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor

    def placeholder(self, call: Call, argument: int = 0) -> Placeholder | None:
        return self.supervisor.files.of_descriptor(call.tid, signed(call.args[argument]))

    # ---------------------------------------------------------------- reading

    def deliver(self, call: Call, pieces: list[tuple[int, int]], offset: int | None) -> int:
        """Read into the task's memory: *pieces* are (address, length); *offset* `None` uses and moves the file position."""
        placeholder = self.placeholder(call)
        if placeholder is None:
            # A process that is no longer dumpable hides its descriptors: this one may be a hole, of which the kernel reads zeros.
            return -errno.EIO if self.supervisor.files.is_hidden(call.tid) else CONTINUE
        if placeholder.dentry.kind == DIRECTORY:
            fail(errno.EISDIR)
        if placeholder.written:
            return CONTINUE  # all is in the memfd
        if any(length >> 63 for _, length in pieces):
            fail(errno.EINVAL)
        content = placeholder.content()
        descriptor = call.get_fd(call.args[0]) if offset is None else -1
        try:
            start = os.lseek(descriptor, 0, os.SEEK_CUR) if offset is None else offset
            total = 0
            for address, length in pieces:
                done = self.copy_out(call, content, address, length, start + total, bool(total))
                total += done
                if done < length:
                    break
            if offset is None:
                os.lseek(descriptor, start + total, os.SEEK_SET)
            return total
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def copy_out(self, call: Call, content: Handle, address: int, length: int, offset: int, partly: bool) -> int:
        """Copy *length* bytes of the file to *address*, in chunks; short at the end of the file, or where memory ends. EFAULT
        when nothing at all could be written."""
        done = 0
        while done < length:
            piece = content.read(offset + done, min(CHUNK, length - done))
            if not len(piece):
                break
            try:
                written = write_some(call.tid, address + done, bytes(piece))
            except OSError:
                if done or partly:
                    break
                raise
            done += written
            if written < len(piece):
                break
        return done

    def vector(self, call: Call) -> list[tuple[int, int]]:
        count = call.args[2]
        if count > IOV_MAX:
            fail(errno.EINVAL)
        return structs.unpack_iovecs(call.read(call.args[1], 16 * count)) if count else []

    def offset(self, call: Call) -> int:
        value = signed64(call.args[3])
        return value if value >= 0 else fail(errno.EINVAL)

    def read(self, call: Call) -> int:
        return self.deliver(call, [(call.args[1], call.args[2])], None)

    def pread64(self, call: Call) -> int:
        return self.deliver(call, [(call.args[1], call.args[2])], self.offset(call))

    def readv(self, call: Call) -> int:
        return self.deliver(call, self.vector(call), None)

    def preadv(self, call: Call) -> int:
        return self.deliver(call, self.vector(call), self.offset(call))

    def preadv2(self, call: Call) -> int:
        """Offset -1 means the file position. The flags (RWF_NOWAIT and so on) ask for nothing that matters here."""
        return self.deliver(call, self.vector(call), None if signed64(call.args[3]) == -1 else self.offset(call))

    def lseek(self, call: Call) -> int:
        """SEEK_DATA and SEEK_HOLE: the kernel would see the placeholder's one big hole."""
        placeholder = self.placeholder(call)
        if placeholder is None or placeholder.dentry.kind == DIRECTORY or call.args[2] not in (SEEK_DATA, SEEK_HOLE):
            return CONTINUE
        if placeholder.written:
            return CONTINUE
        content = placeholder.content()
        seek = content.seek_data if call.args[2] == SEEK_DATA else content.seek_hole
        found = seek(signed64(call.args[1]))
        descriptor = call.get_fd(call.args[0])
        try:
            return os.lseek(descriptor, found, os.SEEK_SET)
        finally:
            os.close(descriptor)

    # ---------------------------------------------------------------- duplicates

    def duplicate(self, call: Call) -> int:
        return self.duplicate_from(call, 0, False)

    def fcntl(self, call: Call) -> int:
        command = call.args[1]
        if command in (F_ADD_SEALS, F_GET_SEALS):  # files have none, memfds have
            return CONTINUE if self.placeholder(call) is None else -errno.EINVAL
        return self.duplicate_from(call, signed(call.args[2]), command == fcntl.F_DUPFD_CLOEXEC)

    def duplicate_from(self, call: Call, least: int, cloexec: bool) -> int:
        """dup and F_DUPFD: the duplicate stays in the range of trapped numbers."""
        placeholder = self.placeholder(call)
        if (
            placeholder is None
            or least < 0
            or (least >= READY and least >= resource.prlimit(call.tid, resource.RLIMIT_NOFILE)[0])
        ):
            return CONTINUE  # EINVAL, says the kernel of such a number
        descriptor = call.get_fd(call.args[0])
        try:
            return self.supervisor.files.give(call, placeholder, descriptor, cloexec, least=least)
        finally:
            os.close(descriptor)

    def duplicate_to(self, call: Call) -> int:
        """dup2 and dup3 choose a number that is not trapped: the content must be there."""
        placeholder = self.placeholder(call)
        if placeholder is None:
            return CONTINUE
        if isinstance(placeholder, DeviceFile):
            if call.args[1] & 0xFFFFFFFF < LAZY:
                descriptor = call.get_fd(call.args[0])
                try:
                    self.supervisor.files.low_devices.add(call, descriptor, call.args[1] & 0xFFFFFFFF)
                finally:
                    os.close(descriptor)
            return CONTINUE
        if placeholder.dentry.kind == DIRECTORY:
            self.supervisor.files.low_directories = True
        self.supervisor.files.fill_descriptor(call, call.args[0], placeholder)
        return CONTINUE

    # ---------------------------------------------------------------- the kernel reads

    def copy_range(self, call: Call) -> int:
        """copy_file_range from a file that is not there yet: everybody goes on with read and write then."""
        placeholder = self.placeholder(call)
        if placeholder is not None and not placeholder.written:
            return -errno.EXDEV
        return -errno.EINVAL if isinstance(self.placeholder(call, 2), DeviceFile) else CONTINUE

    def show(self, argument: int, most: int = 0, into: int | None = None) -> Handler:
        """A handler for calls by which the kernel itself reads the descriptor in *argument*: fill it, then go on. Files larger
        than *most* are refused with EINVAL, for which callers are prepared; so are devices, also as what is written to, in the
        argument *into*."""

        def handler(call: Call) -> int:
            if argument == 4 and call.args[3] & MAP_ANONYMOUS:
                return CONTINUE
            placeholder = self.placeholder(call, argument)
            if isinstance(placeholder, DeviceFile):
                return -(errno.ENODEV if argument == 4 else errno.EINVAL)
            if into is not None and isinstance(self.placeholder(call, into), DeviceFile):
                return -errno.EINVAL
            if placeholder is not None:
                if most and placeholder.size > most and not placeholder.written:
                    return -errno.EINVAL
                self.supervisor.files.fill_descriptor(call, signed(call.args[argument]), placeholder)
            return CONTINUE

        return handler
