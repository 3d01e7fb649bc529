"""ptrace(2) requests on a stopped task: what trace.py and follower.py both need."""

from __future__ import annotations

import ctypes
import re

from vfs.view.kernel import abi, libc
from vfs.view.kernel.machine import Words, current

_TRACER = re.compile(rb"^TracerPid:\t(\d+)$", re.MULTILINE)


def ptrace(request: int, tid: int, address: object = None, value: object = None) -> None:
    """ESRCH: not stopped, or not traced by this thread; EPERM, EIO."""
    libc.check(libc.released.ptrace(request, tid, address, value))


def get_registers(tid: int) -> Words:
    machine = current()
    buffer = ctypes.create_string_buffer(8 * machine.word_count)
    _register_set(abi.PTRACE_GETREGSET, tid, buffer)
    return machine.unpack_registers(buffer.raw)


def set_registers(tid: int, words: Words) -> None:
    text = current().pack_registers(words)
    _register_set(abi.PTRACE_SETREGSET, tid, ctypes.create_string_buffer(text, len(text)))


def _register_set(request: int, tid: int, buffer: ctypes.Array[ctypes.c_char]) -> None:
    iovec = (ctypes.c_ulonglong * 2)(ctypes.addressof(buffer), len(buffer))
    ptrace(request, tid, abi.NT_PRSTATUS, iovec)


def tracer_of(tid: int) -> int:
    """The thread that traces a task, 0: nobody. FileNotFoundError: no such task."""
    with open(f"/proc/{tid}/status", "rb") as status:
        match = _TRACER.search(status.read())
    return int(match[1]) if match else 0
