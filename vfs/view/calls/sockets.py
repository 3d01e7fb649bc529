"""Sockets: descriptors that are passed over them, and AF_UNIX names."""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

from vfs.api import fail
from vfs.view.calls.table import CallTable
from vfs.view.dentry import DIRECTORY, REGULAR, Dentry
from vfs.view.kernel.abi import AT_FDCWD
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.names import Elsewhere, Missing

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

ADDRESS_MAX = 110  # sizeof(struct sockaddr_un)


def install(table: CallTable, supervisor: Supervisor) -> None:
    calls = Sockets(supervisor)
    table.always(calls.send, "sendmsg", "sendmmsg")
    table.always(calls.bind, "bind")
    table.always(calls.connect, "connect")


class Sockets:
    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor

    def send(self, call: Call) -> int:
        """SCM_RIGHTS gives the receiver a low number, where reads are not trapped: the content must be there."""
        files = self.supervisor.files
        if files.held:
            for number in call.passed():
                placeholder = files.of_descriptor(call.tid, number)
                if placeholder is not None:
                    files.low_directories = files.low_directories or placeholder.dentry.kind == DIRECTORY
                    files.fill_descriptor(call, number, placeholder)
        return CONTINUE

    def bind(self, call: Call) -> int:
        """A name below a mount cannot be made. EROFS, EADDRINUSE."""
        try:
            return -errno.EADDRINUSE if isinstance(self.named(call, follow=False), Dentry) else CONTINUE
        except Missing:
            return -errno.EROFS
        except Elsewhere as elsewhere:
            return self.elsewhere(call, elsewhere.path)

    def connect(self, call: Call) -> int:
        """Nobody listens at a name below a mount. ECONNREFUSED; EROFS: it is no socket, and connecting asks to write first."""
        try:
            place = self.named(call, follow=True)
            if not isinstance(place, Dentry):
                return CONTINUE
            return -(errno.EROFS if place.kind in (REGULAR, DIRECTORY) else errno.ECONNREFUSED)
        except Elsewhere as elsewhere:
            return self.elsewhere(call, elsewhere.path)

    def named(self, call: Call, follow: bool) -> Dentry | bytes | None:
        """What the AF_UNIX name in the second argument leads to; `None`: another family, no name, or the host's affair."""
        size = call.args[2] & 0xFFFFFFFF
        if self.supervisor.view.mounts.idle or not 2 < size <= ADDRESS_MAX:
            return None
        text = call.read(call.args[1], size)
        family = struct.unpack_from("=H", text)[0]
        name = text[2:].split(b"\0")[0]
        if family != socket.AF_UNIX or not name:
            return None
        found = self.supervisor.view.names.locate(call, AT_FDCWD, name, follow)
        if found and found.crossed and isinstance(found.place, bytes):
            raise Elsewhere(found.place)
        return found.place if found else None

    def elsewhere(self, call: Call, path: bytes) -> int:
        """A name that leads through a mount to the host."""
        address = struct.pack("=H", socket.AF_UNIX) + path + b"\0"
        if len(address) > ADDRESS_MAX:
            fail(errno.ENAMETOOLONG)
        with call.stop() as stopped:
            at, _ = stopped.scratch(lambda _: address)
            arguments = [call.args[0], at, len(address), 0, 0, self.supervisor.table.filter.cookie]
            return stopped.again(call.nr, arguments)
