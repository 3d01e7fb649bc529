"""Calls that somebody else's filter refuses, a container's: its refusal comes before ours are asked (seccomp(2), precedence)."""

import errno
import functools

from vfs.view.kernel import libc
from vfs.view.kernel.machine import current

_QUERY = 0xFFFFFFFF
_BAD = 1  # an address that nobody has: Linux looks at it before it asks who may


def mounting_is_refused() -> bool:
    """Whether mount(2) never reaches us. Linux itself would say EFAULT, privileged or not."""
    try:
        libc.syscall(current().calls["mount"], _BAD, _BAD, _BAD, 0, 0)
    except OSError as error:
        return error.errno != errno.EFAULT
    return False


@functools.cache
def personalities_are_refused(bits: int) -> bool:
    """Whether personality(2) is limited to well-known values. Linux itself lets everybody set any bit."""
    number = current().calls["personality"]
    now = libc.syscall(number, _QUERY)
    try:
        libc.syscall(number, now | bits)
        libc.syscall(number, now)
    except OSError:
        return True
    return False
