"""fallocate(2), all modes, on descriptors of the host: Python has only the plain one."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import cache

from vfs.api.errors import fail

KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 0x01, 0x02, 0x10
"""FALLOC_FL_* of linux/falloc.h"""


@cache
def _call() -> Callable[[int, int, int, int], int]:
    import ctypes  # 5 ms, and only who changes an image needs it

    function = ctypes.CDLL(None, use_errno=True).fallocate64
    function.argtypes, function.restype = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64), ctypes.c_int

    def call(descriptor: int, mode: int, offset: int, length: int) -> int:
        return ctypes.get_errno() if function(descriptor, mode, offset, length) else 0

    return call


def fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    """EOPNOTSUPP: the file system cannot; and as fallocate(2)."""
    call = _call()
    while number := call(descriptor, mode, offset, length):
        if number != errno.EINTR:
            fail(number)


def punch(descriptor: int, offset: int, length: int) -> bool:
    """Make a hole of a range; whether the file system can."""
    try:
        fallocate(descriptor, PUNCH_HOLE | KEEP_SIZE, offset, length)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise
        return False
    return True
