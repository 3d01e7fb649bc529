"""The C library through ctypes: calls that Python has no function for.

Two library objects, because releasing Python's lock costs more than a short call: `held` keeps it (only for calls that
never block), `released` gives it up for the time of the call.
"""

import ctypes
import os
from typing import Any

held = ctypes.PyDLL(None, use_errno=True)
released = ctypes.CDLL(None, use_errno=True)

for _library in (held, released):
    _library.ptrace.argtypes = [ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_void_p]
    _library.ptrace.restype = ctypes.c_long
    _library.syscall.restype = ctypes.c_long


def check(result: int) -> int:
    """The result of a C function, or its errno as an OSError."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def syscall(number: int, *arguments: Any) -> int:
    """A raw system call that does not block.  Integers are passed as 64-bit words."""
    words = [ctypes.c_ulong(a & 0xFFFFFFFFFFFFFFFF) if isinstance(a, int) else a for a in arguments]
    return check(held.syscall(ctypes.c_long(number), *words))


def prctl(option: int, value: Any, *rest: int) -> int:
    arguments = [value, *rest, 0, 0, 0][:4]
    words = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    return check(held.prctl(ctypes.c_int(option), *words))
