"""What differs between machines: system call numbers, registers, struct stat.

`current()` gives the machine this process runs on.  A table lists *all* calls of its machine, so that a test can say
what is done about each.  Numbers from 424 on (Linux 5.1) are the same everywhere.
"""

import functools
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Words = list[int]  # the general registers, in the order of the machine's ptrace register set; unsigned
MASK64 = (1 << 64) - 1


def numbered(text: str) -> dict[str, int]:
    """A call table from lines of `first-number name name ...`: the names count on from the number."""
    table: dict[str, int] = {}
    for line in text.split("\n"):
        first, *names = line.split() or ["0"]
        for number, name in enumerate(names, int(first)):
            table[name] = number
    return table


# scripts/syscall.tbl of the kernel, up to Linux 6.19
COMMON = numbered("""
 424 pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount
 430 fsopen fsconfig fsmount fspick pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2
 440 process_madvise epoll_pwait2 mount_setattr quotactl_fd landlock_create_ruleset landlock_add_rule
 446 landlock_restrict_self memfd_secret process_mrelease futex_waitv
 450 set_mempolicy_home_node cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount
 458 listmount lsm_get_self_attr
 460 lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat removexattrat open_tree_attr
 468 file_getattr file_setattr
 470 listns
""")


@dataclass(frozen=True)
class Machine:
    """One machine's binary interface.

    A thread stopped by ptrace in the middle of a call (see trace.py) is moved by changing a copy of its registers:
    `set_call` makes it execute its system call instruction (again), `set_result` makes the call return.
    """

    name: str
    audit_arch: int  # AUDIT_ARCH_*, linux/audit.h
    calls: Mapping[str, int]  # every system call: name -> number
    word_count: int  # of the NT_PRSTATUS register set
    number: int  # index of the call's number, as the kernel keeps it for a call that is under way
    arguments: Sequence[int]  # indices of the six arguments
    result: int
    instruction: int  # index of the instruction pointer
    stack: int
    o_largefile: int  # the kernel's value; the C library hides it

    def set_call(self, words: Words, number: int, arguments: Sequence[int]) -> None:
        raise NotImplementedError

    def set_result(self, words: Words, value: int) -> None:
        raise NotImplementedError

    def pack_stat(
        self,
        dev: int,
        ino: int,
        mode: int,
        nlink: int,
        uid: int,
        gid: int,
        rdev: int,
        size: int,
        blksize: int,
        blocks: int,
        atime_ns: int,
        mtime_ns: int,
        ctime_ns: int,
    ) -> bytes:
        """struct stat, as stat, fstat, newfstatat write it."""
        raise NotImplementedError

    def unpack_registers(self, data: bytes) -> Words:
        return list(struct.unpack(f"<{self.word_count}Q", data[: 8 * self.word_count]))

    def pack_registers(self, words: Words) -> bytes:
        return struct.pack(f"<{self.word_count}Q", *words)

    @functools.cached_property
    def names(self) -> dict[int, str]:
        """number -> name"""
        return {number: name for name, number in self.calls.items()}


class Unsupported(OSError):
    """This machine has no table."""


@functools.cache
def current() -> Machine:
    """The machine we run on."""
    name = os.uname().machine
    if name == "x86_64":
        from vfs.view.kernel.x86_64 import X86_64

        return X86_64
    if name == "aarch64":
        from vfs.view.kernel.arm64 import ARM64

        return ARM64
    raise Unsupported(f"a view needs an x86_64 or an arm64 machine, and this one is {name}")


def every_name() -> frozenset[str]:
    """The names of all calls that any known machine has."""
    from vfs.view.kernel.arm64 import ARM64
    from vfs.view.kernel.x86_64 import X86_64

    return frozenset(X86_64.calls) | frozenset(ARM64.calls)
