"""Calls that somebody else's filter refuses, a container's: its refusal comes before ours are asked (seccomp(2), precedence)."""

import errno

from vfs.view.kernel import libc
from vfs.view.kernel.machine import current

_BAD = 1  # an address that nobody has: Linux looks at it before it asks who may


def mounting_is_refused() -> bool:
    """Whether mount(2) never reaches us. Linux itself would say EFAULT, privileged or not."""
    try:
        libc.syscall(current().calls["mount"], _BAD, _BAD, _BAD, 0, 0)
    except OSError as error:
        return error.errno != errno.EFAULT
    return False
