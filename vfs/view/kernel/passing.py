"""Descriptors sent through sockets (SCM_RIGHTS, unix(7)), by raw calls: the filter lets them pass by its cookie."""

import ctypes
import os
import struct
from typing import Final

from vfs.view.kernel import libc
from vfs.view.kernel.machine import current

_AF_UNIX, _SOCK_SEQPACKET, _SOL_SOCKET, _SCM_RIGHTS = 1, 5, 1, 1
_MSG_DONTWAIT: Final = 0x40
_MSG_CMSG_CLOEXEC = 0x40000000
# struct msghdr: name, its size, iovecs, their number, control, its size, flags; then one iovec, its byte, and
# struct cmsghdr: length, level, type, with one descriptor
_MESSAGE = struct.Struct("<QQQQQQQ QQ Q QiiiI")
_IOVEC_AT, _BYTE_AT, _CONTROL_AT = 56, 72, 80
_CONTROL_SIZE = 20


def pair() -> tuple[int, int]:
    """Two connected sockets, close-on-exec."""
    both = (ctypes.c_int * 2)()
    libc.syscall(current().calls["socketpair"], _AF_UNIX, _SOCK_SEQPACKET | os.O_CLOEXEC, 0, ctypes.byref(both))
    return both[0], both[1]


def message(at: int, descriptor: int) -> bytes:
    """What sendmsg sends to pass a descriptor, as it lies at an address."""
    return _MESSAGE.pack(
        0, 0, at + _IOVEC_AT, 1, at + _CONTROL_AT, _CONTROL_SIZE, 0, at + _BYTE_AT, 1, 0x2E,
        _CONTROL_SIZE, _SOL_SOCKET, _SCM_RIGHTS, descriptor, 0,
    )  # fmt: skip


def send(socket: int, descriptor: int, cookie: int) -> None:
    """From under a filter whose cookie is given."""
    room = ctypes.create_string_buffer(_MESSAGE.size)
    room.raw = message(ctypes.addressof(room), descriptor)
    libc.syscall(current().calls["sendmsg"], socket, ctypes.addressof(room), 0, 0, 0, cookie)


def receive(socket: int, flags: int = 0) -> int:
    """The descriptor that was sent; EBADF: none came (the other side has ended)."""
    room = ctypes.create_string_buffer(_MESSAGE.size)
    room.raw = message(ctypes.addressof(room), -1)
    libc.syscall(current().calls["recvmsg"], socket, ctypes.addressof(room), flags | _MSG_CMSG_CLOEXEC)
    fields = _MESSAGE.unpack(room.raw)
    if fields[5] < _CONTROL_SIZE or fields[13] < 0:
        raise OSError(9, "no descriptor was sent")
    return int(fields[13])


def arrived(socket: int) -> int:
    """As `receive`, of what must be there already: EAGAIN."""
    return receive(socket, _MSG_DONTWAIT)
