"""Sockets: descriptors that are passed over them, and AF_UNIX names.

A socket in a virtual directory is a node there, and a real socket that is bound in the scratch directory under a name made of the
node's number. Who binds, connects or sends to the virtual name is given that one; getsockname and getpeername give it back.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from typing import TYPE_CHECKING

from vfs.api import fail
from vfs.view.calls.changes import left_by_umask
from vfs.view.calls.names import demand_writable
from vfs.view.calls.opening import key_of
from vfs.view.calls.table import CallTable, Handler
from vfs.view.dentry import DIRECTORY, REGULAR, Dentry
from vfs.view.kernel import structs
from vfs.view.kernel.abi import AT_FDCWD
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.names import Elsewhere, Missing, join
from vfs.view.permissions import WRITE
from vfs.view.proc.links import told

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

ADDRESS_MAX = 110
"""sizeof(struct sockaddr_un)"""
FAMILY = struct.Struct("=H")
MSG_NAME = struct.Struct("=QI")
"""The beginning of struct msghdr: msg_name, msg_namelen."""


def install(table: CallTable, supervisor: Supervisor) -> None:
    calls = Sockets(supervisor)
    table.always(calls.send, "sendmsg", "sendmmsg")
    table.always(calls.bind, "bind")
    table.always(calls.connect, "connect")
    table.handle(calls.sendto, "sendto")
    table.filter.trap_pointer("sendto", 4)
    table.always(calls.name(peer=False), "getsockname")
    table.always(calls.name(peer=True), "getpeername")


class Sockets:
    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.bound: dict[bytes, bytes] = {}
        """Where the real socket of a virtual one is bound -> the name that bind(2) was given."""

    # ---------------------------------------------------------------- names

    def bind(self, call: Call) -> int:
        """EADDRINUSE, EROFS."""
        try:
            place = self.named(call, call.args[1], call.args[2], follow=False)
            return -errno.EADDRINUSE if isinstance(place, Dentry) else CONTINUE
        except Missing as missing:
            given = call.read(call.args[1], call.args[2])[2:].split(b"\0")[0]
            return self.bind_virtual(call, missing.directory, missing.name, given)
        except Elsewhere as elsewhere:
            return self.to(call, 1, address_of(elsewhere.path))

    def bind_virtual(self, call: Call, directory: Dentry, name: bytes, given: bytes) -> int:
        """Make a socket in a virtual directory. It was *given* as its name."""
        demand_writable(directory)
        if directory.removed:
            fail(errno.ENOENT)
        self.supervisor.permissions.demand_entry(directory)
        names = self.supervisor.view.names
        if directory.real:  # the host's own directory: the kernel makes the node
            path = directory.node.host_path() or fail(errno.ENOENT)
            names.appeared(directory, name)
            self.bound[join(path, name)] = given
            if names.base is None:
                return self.to(call, 1, address_of(join(path, name)))
            return self.bind_for_another(call, directory, name, join(path, name))
        uid, gid, umask = self.supervisor.tasks.creator(call.tid)
        node = directory.node.create(name, stat.S_IFSOCK | left_by_umask(directory, 0o777, umask), 0, uid, gid)
        names.appeared(directory, name)
        dentry = directory.child(name, node)
        path = self.supervisor.files.scratch.socket(key_of(dentry))
        address = address_of(path)
        try:
            with call.stop() as stopped:
                at, size = stopped.scratch(lambda _: address)
                result = stopped.syscall(call.name, call.args[0], at, len(address), 0, 0, self.supervisor.table.filter.cookie)
                stopped.syscall("munmap", at, size)
                if result >= 0:
                    os.chmod(path, 0o777)  # the node's mode is what counts
                    self.bound[path] = given
                else:
                    directory.node.unlink(name)
                    names.vanished(directory, name)
                return stopped.finish(result)
        except OSError:
            if path not in self.bound:
                directory.node.unlink(name)
                names.vanished(directory, name)
            raise

    def bind_for_another(self, call: Call, directory: Dentry, name: bytes, path: bytes) -> int:
        """A task makes a socket of the host's, at *path*, and its virtual user shall own it."""
        address = address_of(path)
        if len(address) > ADDRESS_MAX:
            fail(errno.ENAMETOOLONG)
        uid, gid, _ = self.supervisor.tasks.creator(call.tid)
        with call.stop() as stopped:
            at, size = stopped.scratch(lambda _: address)
            result = stopped.syscall(call.name, call.args[0], at, len(address), 0, 0, self.supervisor.table.filter.cookie)
            stopped.syscall("munmap", at, size)
            if result >= 0:
                if os.geteuid() == 0:
                    os.chown(path, uid, gid, follow_symlinks=False)
                self.supervisor.permissions.own(directory, directory.node.lookup(name), uid, gid)
            return stopped.finish(result)

    def connect(self, call: Call) -> int:
        """ECONNREFUSED: nobody listens there."""
        return self.reach(call, 1, call.args[1], call.args[2])

    def sendto(self, call: Call) -> int:
        """A datagram to a name."""
        return self.reach(call, 4, call.args[4], call.args[5])

    def reach(self, call: Call, argument: int, address: int, size: int) -> int:
        """Give a call the real socket's address; *argument* is the number of the address's."""
        try:
            place = self.named(call, address, size, follow=True)
        except Elsewhere as elsewhere:
            return self.to(call, argument, address_of(elsewhere.path))
        if not isinstance(place, Dentry):
            return CONTINUE
        return self.to(call, argument, address_of(self.real_path(place)))

    def real_path(self, dentry: Dentry) -> bytes:
        """Where the real socket of a virtual one is. ECONNREFUSED; EROFS: connecting asks to write first."""
        if not stat.S_ISSOCK(dentry.kind):
            fail(errno.EROFS if dentry.mount.read_only and dentry.kind in (REGULAR, DIRECTORY) else errno.ECONNREFUSED)
        self.supervisor.permissions.demand(dentry, WRITE)
        if dentry.real:
            return dentry.node.host_path() or fail(errno.ECONNREFUSED)
        path = self.supervisor.files.scratch.socket(key_of(dentry))
        return path if path in self.bound else fail(errno.ECONNREFUSED)

    def named(self, call: Call, address: int, size: int, follow: bool) -> Dentry | bytes | None:
        """What an AF_UNIX name leads to; `None`: another family, no name, or the host's affair."""
        size &= 0xFFFFFFFF
        if self.supervisor.view.mounts.idle or not 2 < size <= ADDRESS_MAX:
            return None
        text = call.read(address, size)
        family = FAMILY.unpack_from(text)[0]
        name = text[2:].split(b"\0")[0]
        if family != socket.AF_UNIX or not name or name in self.bound:
            return None  # our own name for a socket, that sendto comes again with or recvfrom told; a mount may hide it
        found = self.supervisor.view.names.locate(call, AT_FDCWD, name, follow)
        if found and found.crossed and isinstance(found.place, bytes):
            raise Elsewhere(found.place)
        return found.place if found else None

    def to(self, call: Call, argument: int, address: bytes) -> int:
        """Make the call with another address."""
        if len(address) > ADDRESS_MAX:
            fail(errno.ENAMETOOLONG)
        with call.stop() as stopped:
            at, _ = stopped.scratch(lambda _: address)
            arguments = list(call.args)
            arguments[argument : argument + 2] = [at, len(address)]
            if argument == 1:  # sendto's six are all its own: it comes again, with a name of the host's
                arguments[3:] = [0, 0, self.supervisor.table.filter.cookie]
            return stopped.again(call.nr, arguments)

    def name(self, peer: bool) -> Handler:
        """getsockname and getpeername: the virtual name, where the kernel would tell the real one."""

        def handler(call: Call) -> int:
            top = self.supervisor.context.root
            if not self.bound and top is None:
                return CONTINUE
            descriptor = call.get_fd(call.args[0])
            try:
                with socket.socket(fileno=descriptor) as found:
                    if found.family != socket.AF_UNIX:
                        return CONTINUE
                    path = found.getpeername() if peer else found.getsockname()
            except OSError:
                return CONTINUE
            real = os.fsencode(path)
            given = self.bound.get(real, told(real, top))
            if given == real:
                return CONTINUE
            address = address_of(given)
            room = struct.unpack("=i", call.read(call.args[2], 4))[0]
            if room < 0:
                fail(errno.EINVAL)
            call.write(call.args[1], address[: min(room, len(address))])
            call.write(call.args[2], struct.pack("=i", len(address)))
            return 0

        return handler

    # ---------------------------------------------------------------- descriptors

    def send(self, call: Call) -> int:
        """SCM_RIGHTS gives the receiver a low number, where reads are not trapped: the content must be there."""
        files = self.supervisor.files
        if files.held:
            for number in call.passed():
                placeholder = files.of_descriptor(call.tid, number)
                if placeholder is not None:
                    files.low_directories = files.low_directories or placeholder.dentry.kind == DIRECTORY
                    files.fill_descriptor(call, number, placeholder)
        return self.send_to_name(call) if call.name == "sendmsg" and not self.supervisor.view.mounts.idle else CONTINUE

    def send_to_name(self, call: Call) -> int:
        """sendmsg with a name in its header."""
        header = call.read(call.args[1], structs.MSGHDR_SIZE)
        name, size = MSG_NAME.unpack_from(header)
        if not name:
            return CONTINUE
        try:
            place = self.named(call, name, size, follow=True)
        except Elsewhere as elsewhere:
            place, address = elsewhere.path, address_of(elsewhere.path)
        else:
            if not isinstance(place, Dentry):
                return CONTINUE
            address = address_of(self.real_path(place))
        with call.stop() as stopped:
            at, _ = stopped.scratch(lambda at: MSG_NAME.pack(at + len(header), len(address)) + header[MSG_NAME.size :] + address)
            cookie = self.supervisor.table.filter.cookie
            return stopped.again(call.nr, [call.args[0], at, call.args[2], 0, 0, cookie])


def address_of(path: bytes) -> bytes:
    """A struct sockaddr_un."""
    return FAMILY.pack(socket.AF_UNIX) + path + b"\0"
