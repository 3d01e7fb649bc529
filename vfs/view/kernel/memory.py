"""Another process's memory: process_vm_readv and process_vm_writev.

A read page of the hot path costs about a microsecond, most of it in the kernel: so the two iovecs are packed in place
into a buffer that is ready for use, and there is no errno bookkeeping until something fails.  Buffers come from a pool
(a list: taking and returning are atomic), so that any number of threads may read at the same time.

Addresses are what the process gave as an argument: anything.  A bad one is EFAULT.
"""

import ctypes
import errno
import os
import struct
from typing import Any

from vfs.view.kernel import libc
from vfs.view.kernel.abi import PATH_MAX

_PAGE = 4096  # the smallest page of any machine: reading never goes beyond a page that it has no need of
_FIRST = 256  # most names are shorter
_MAX_POINTERS = 1 << 20  # the kernel refuses bigger argument lists (E2BIG) before
_LONG = 1 << 16  # transfers from this size on let other threads run
_IOVECS = struct.Struct("<4Q")  # local base and length, remote base and length

_one, _none = ctypes.c_ulong(1), ctypes.c_ulong(0)

# Library objects of our own: no argument types and no errno make a call 0.3 us cheaper.
_quick = ctypes.PyDLL(None)
_readv, _writev = _quick.process_vm_readv, _quick.process_vm_writev
_slow = ctypes.CDLL(None)
_readv_long, _writev_long = _slow.process_vm_readv, _slow.process_vm_writev
for _function in (_readv, _writev, _readv_long, _writev_long):
    _function.restype = ctypes.c_ssize_t
libc.held.process_vm_readv.restype = ctypes.c_ssize_t

# Where a bytes object keeps its bytes (CPython); tested.
_BYTES = bytes.__basicsize__ - 1

_Page = ctypes.Array[ctypes.c_char]
_Iovecs = ctypes.Array[ctypes.c_ulonglong]
_Buffer = tuple[_Page, _Iovecs, ctypes.c_void_p, ctypes.c_void_p, memoryview]


class Unreadable(Exception):
    """A process that made itself undumpable (a key daemon, a binary without read permission).

    Without privilege nothing can be read there: let the kernel do its calls.
    """


def _new_buffer() -> _Buffer:
    """(page, local iovec and remote iovec, pointers to the two, the page again).  The local one covers the page."""
    page = (ctypes.c_char * (_PAGE + 1))()
    iovecs = (ctypes.c_ulonglong * 4)(ctypes.addressof(page), _PAGE, 0, 0)
    at = ctypes.addressof(iovecs)
    return page, iovecs, ctypes.c_void_p(at), ctypes.c_void_p(at + 16), memoryview(page).cast("B")


_pool: list[_Buffer] = [_new_buffer()]


def _take() -> _Buffer:
    try:
        return _pool.pop()
    except IndexError:
        return _new_buffer()


def _why(tid: int, address: int) -> Exception:
    """The reason why bytes there can't be had: reading one, for its errno.  What can be read can't be written."""
    byte = ctypes.c_char()
    local = (ctypes.c_ulonglong * 2)(ctypes.addressof(byte), 1)
    remote = (ctypes.c_ulonglong * 2)(address, 1)
    result = libc.held.process_vm_readv(tid, local, _one, remote, _one, _none)
    number = ctypes.get_errno() if result < 0 else errno.EFAULT
    return Unreadable() if number == errno.EPERM else OSError(number, os.strerror(number))


def demand_access(tid: int) -> None:
    """Unreadable, or an OSError, where another process's memory is out of reach."""
    reason = _why(tid, 0)
    if not isinstance(reason, OSError) or reason.errno != errno.EFAULT:
        raise reason


def read_string(tid: int, address: int) -> bytes:
    """A NUL-terminated name, without the NUL.  ENAMETOOLONG from 4096 bytes on, EFAULT."""
    size = _FIRST if address & 4095 <= _PAGE - _FIRST else _PAGE - (address & 4095)
    try:
        buffer = _pool.pop()
    except IndexError:
        buffer = _new_buffer()
    page, iovecs, local, remote, _ = buffer
    iovecs[2] = address
    iovecs[3] = size
    count = _readv(tid, local, _one, remote, _one, _none)
    text: bytes = page.value
    _pool.append(buffer)
    if count == size and len(text) < size:
        return text
    return _read_long_string(tid, address)


def _read_long_string(tid: int, address: int) -> bytes:
    """The same without haste: a string of more than one piece, or a failure."""
    text = bytearray()
    while len(text) < PATH_MAX:
        piece = read_memory(tid, address, min(_PAGE - (address & 4095), PATH_MAX - len(text)))
        end = piece.find(0)
        if end >= 0:
            return bytes(text + piece[:end])
        text += piece
        address += len(piece)
    raise OSError(errno.ENAMETOOLONG, "a name has 4096 bytes or more")


def read_memory(tid: int, address: int, size: int) -> bytes:
    """Exactly so many bytes, else EFAULT."""
    if not 0 < size <= _PAGE:
        if not size:
            return b""
        out = bytearray(size)
        if read_into(tid, address, out) != size:
            raise OSError(errno.EFAULT, "bad address")
        return bytes(out)
    buffer = _take()
    _, iovecs, local, remote, page = buffer
    iovecs[2] = address
    iovecs[3] = size
    count = _readv(tid, local, _one, remote, _one, _none)
    data = page[:size].tobytes()
    _pool.append(buffer)
    if count != size:
        raise _why(tid, address) if count < 0 else OSError(errno.EFAULT, "bad address")
    return data


def read_into(tid: int, address: int, buffer: bytearray | memoryview) -> int:
    """Fill a writable buffer; how many bytes could be read, as write(2) counts them.  EFAULT when none."""
    size = len(buffer) if isinstance(buffer, bytearray) else buffer.nbytes
    if not size:
        return 0
    target = ctypes.c_char.from_buffer(buffer)  # holds the buffer where it is
    function = _readv if size < _LONG else _readv_long
    count = _transfer(function, tid, ctypes.addressof(target), address, size)
    if count < 0:
        raise _why(tid, address)
    return count


def _transfer(function: Any, tid: int, here: int, there: int, size: int) -> int:
    iovecs = _IOVECS.pack(here, size, there, size)
    at = id(iovecs) + _BYTES
    count: int = function(tid, ctypes.c_void_p(at), _one, ctypes.c_void_p(at + 16), _one, _none)
    return count


def write_some(tid: int, address: int, data: bytes, start: int = 0, size: int | None = None) -> int:
    """Write data[start:start+size], without a copy; how much fitted, as read(2) counts it.  EFAULT when nothing did.

    A read-only page is EFAULT, as natively: /proc/PID/mem would force its way through a private copy of the page.
    """
    if size is None:
        size = len(data) - start
    if size <= 0:
        return 0
    if start < 0 or start + size > len(data):
        raise ValueError(f"bytes {start} to {start + size} of {len(data)}")
    function = _writev if size < _LONG else _writev_long
    count = _transfer(function, tid, id(data) + _BYTES + start, address, size)
    if count < 0:
        raise _why(tid, address)
    return count


def write_memory(tid: int, address: int, data: bytes) -> None:
    """All of it, else EFAULT."""
    size = len(data)
    if 0 < size <= _PAGE:  # as in read_string
        buffer = _take()
        _, iovecs, local, remote, page = buffer
        page[:size] = data
        iovecs[2] = address
        iovecs[1] = iovecs[3] = size
        count = _writev(tid, local, _one, remote, _one, _none)
        iovecs[1] = _PAGE
        _pool.append(buffer)
        if count < 0:
            raise _why(tid, address)
        if count == size:
            return
        raise OSError(errno.EFAULT, "bad address")
    if write_some(tid, address, data) != len(data):
        raise OSError(errno.EFAULT, "bad address")


def read_pointers(tid: int, address: int) -> list[int]:
    """A NULL-terminated array of pointers (argv), without the NULL.  A NULL address is an empty array, as for exec."""
    out: list[int] = []
    while address:
        count = (_PAGE - (address & 4095)) // 8 or 1
        words = struct.unpack(f"<{count}Q", read_memory(tid, address, 8 * count))
        if 0 in words:
            out += words[: words.index(0)]
            return out
        out += words
        address += 8 * count
        if len(out) > _MAX_POINTERS:
            raise OSError(errno.E2BIG, "the argument list is too long")
    return out
