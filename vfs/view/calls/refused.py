"""Calls that are refused, all of them in one place: for everybody, or where they mean something virtual.

Two more are not refused but belong to the same kind, calls that hand a file to the kernel or to somebody else by its descriptor:
`pidfd_getfd`, and the two that load a kernel or a module.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from vfs.view.calls.descriptors import Descriptors
from vfs.view.calls.names import Action, named, opened, refuse, unless, with_descriptor
from vfs.view.calls.table import CallTable, Handler
from vfs.view.dentry import DIRECTORY, Dentry
from vfs.view.files import LAZY, READY
from vfs.view.kernel.abi import (
    AT_FDCWD,
    BPF_F_PATH_FD,
    BPF_OBJ_GET,
    BPF_OBJ_PIN,
    CAP_DAC_READ_SEARCH,
    CAP_SYS_ADMIN,
    CAP_SYS_PACCT,
    FAN_MARK_DONT_FOLLOW,
    FAN_MARK_FLUSH,
    LANDLOCK_RULE_PATH_BENEATH,
)
from vfs.view.kernel.filter import ALLOW, NOTIFY, Among, Not, Rule, When
from vfs.view.kernel.memory import read_string
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.kernel.structs import signed
from vfs.view.names import Elsewhere
from vfs.view.proc.access import credentials

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

NEVER = {
    "the kernel would read virtual descriptors past us; libraries fall back to read and write": """
        io_uring_setup io_uring_enter io_uring_register io_setup io_submit""",
    "mount(8) falls back to mount and umount2": """
        open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr open_tree_attr""",
    "programs fall back to /proc/self/mountinfo, which tells of the view": "statmount listmount",
    "programs fall back to the older calls": """
        getxattrat setxattrat listxattrat removexattrat file_getattr file_setattr""",
    "loads a library by name past every check; no program of today knows it": "uselib",
}
"""Refused with ENOSYS whatever they are asked: the reason, and the calls."""

REASONS = {name: reason for reason, names in NEVER.items() for name in names.split()}


def install(table: CallTable, supervisor: Supervisor) -> None:
    """To be installed before the other subjects: who serves one of these calls after all, replaces the refusal."""
    table.filter.refuse(errno.ENOSYS, *REASONS)
    calls = Refused(supervisor)

    # The administrator's calls. The kernel asks for the capability before it looks at the name, so without it it may do so.
    table.always(calls.with_capability(CAP_SYS_ADMIN, named(supervisor, refuse(errno.EINVAL))), "swapon", "swapoff")
    table.always(
        calls.with_capability(CAP_SYS_PACCT, unless(no_name(0), named(supervisor, regular(errno.EIO, errno.EACCES)))), "acct"
    )
    table.always(unless(no_name(1), named(supervisor, no_quota, path=1)), "quotactl")
    table.descriptors(opened(supervisor, refuse(errno.ENOSYS)), READY, "quotactl_fd")
    stale = calls.with_capability(CAP_DAC_READ_SEARCH, opened(supervisor, refuse(errno.ESTALE)))
    table.descriptors(stale, READY, "open_by_handle_at")
    table.always(calls.mark, "fanotify_mark")
    table.handle(calls.bpf, "bpf")
    table.filter.set_rule("bpf", Rule([When(Not(Among(0, (BPF_OBJ_PIN, BPF_OBJ_GET))), ALLOW)], NOTIFY))

    table.always(calls.add_rule, "landlock_add_rule")
    table.descriptors(calls.fetch, READY, "pidfd_getfd", argument=1)
    table.descriptors(Descriptors(supervisor).show(0), LAZY, "finit_module")
    table.descriptors(calls.kernel, LAZY, "kexec_file_load")
    table.filter.trap_fd("kexec_file_load", 1, LAZY)


def no_name(argument: int) -> Callable[[Call], bool]:
    """Whether a call gives no name: it means something else then."""
    return lambda call: not call.args[argument]


def regular(number: int, others: int) -> Action:
    """Refuse regular files with one errno, others with another."""
    return lambda call, dentry: -(number if stat.S_ISREG(dentry.kind) else others)


def no_quota(call: Call, dentry: Dentry) -> int:
    """quotactl names a block device. None of the view's carries a file system of the kernel's."""
    return -(errno.ENODEV if stat.S_ISBLK(dentry.kind) else errno.ENOTBLK)


class Refused:
    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        refusal = refuse(errno.EOPNOTSUPP)
        self.mark_link = named(supervisor, refusal, 4, 3, follow=False)
        self.mark_target = named(supervisor, refusal, 4, 3)

    def with_capability(self, capability: int, handler: Handler) -> Handler:
        """A handler for callers that have a capability (capabilities(7)); to others the kernel says EPERM."""
        return lambda call: handler(call) if is_capable(call.tid, capability) else CONTINUE

    def mark(self, call: Call) -> int:
        """fanotify_mark: events of virtual files do not exist. EOPNOTSUPP, as of a file system without file handles."""
        flags = call.args[1]
        if flags & FAN_MARK_FLUSH:
            return CONTINUE
        if not call.args[4]:
            return with_descriptor(self.supervisor, call, signed(call.args[3]), refuse(errno.EOPNOTSUPP))
        return self.mark_link(call) if flags & FAN_MARK_DONT_FOLLOW else self.mark_target(call)

    def bpf(self, call: Call) -> int:
        """BPF_OBJ_PIN and BPF_OBJ_GET name a file of a bpf file system, of which the view has none: EPERM, EACCES."""
        view = self.supervisor.view
        size = call.args[2] & 0xFFFFFFFF
        if view.mounts.idle or not 8 <= size <= 4096:
            return CONTINUE
        # union bpf_attr (linux/bpf.h): pathname, bpf_fd, file_flags, path_fd
        text = call.read(call.args[1], min(size, 20)).ljust(20, b"\0")
        address, _, flags, path_fd = struct.unpack("<QIIi", text)
        if not address:
            return CONTINUE
        dirfd = path_fd if flags & BPF_F_PATH_FD else AT_FDCWD
        name = read_string(call.tid, address)
        if call.args[0] & 0xFFFFFFFF == BPF_OBJ_PIN:
            parent = view.names.parent(call, dirfd, name)
            return -errno.EPERM if parent is not None and (parent.crossed or view.names.entry(parent)) else CONTINUE
        try:
            return CONTINUE if view.names.find(call, dirfd, name) is None else -errno.EACCES
        except Elsewhere:
            return -errno.EACCES

    def add_rule(self, call: Call) -> int:
        """landlock_add_rule below a virtual place: accepted, and without effect, for what is virtual a ruleset does not restrict.
        (Refused, it would keep sandboxes from starting.)"""
        if self.supervisor.view.mounts.idle or call.args[1] & 0xFFFFFFFF != LANDLOCK_RULE_PATH_BENEATH or call.args[3]:
            return CONTINUE
        _, parent = struct.unpack("<Qi", call.read(call.args[2], 12))  # struct landlock_path_beneath_attr
        if self.supervisor.files.of_descriptor(call.tid, parent) is None:
            return CONTINUE
        try:
            ruleset = os.readlink(b"/proc/%d/fd/%d" % (call.tid, signed(call.args[0])))
        except OSError:
            return CONTINUE
        return 0 if ruleset == b"anon_inode:[landlock-ruleset]" else CONTINUE

    def fetch(self, call: Call) -> int:
        """pidfd_getfd: the descriptor arrives at a low number, where nothing is trapped. The content must be there."""
        files, number = self.supervisor.files, signed(call.args[1])
        pid = process_of(call.tid, signed(call.args[0]))
        placeholder = files.of_descriptor(pid, number) if pid else None
        if placeholder is not None:
            files.low_directories = files.low_directories or placeholder.dentry.kind == DIRECTORY
            owner = call.copy()
            owner.tid = pid
            files.fill_descriptor(owner, number, placeholder)
        return CONTINUE

    def kernel(self, call: Call) -> int:
        """kexec_file_load reads two files."""
        for argument in (0, 1):
            Descriptors(self.supervisor).show(argument)(call)
        return CONTINUE


def is_capable(tid: int, capability: int) -> bool:
    """Whether a task has a capability in its user namespace (CapEff, proc(5))."""
    try:
        return bool(credentials(tid)[3] >> capability & 1)
    except OSError:
        return False


def process_of(tid: int, pidfd: int) -> int:
    """The process that a task's pidfd stands for, 0 where it is none or the process is gone."""
    try:
        with open(f"/proc/{tid}/fdinfo/{pidfd}", "rb") as text:
            found = re.search(rb"^Pid:\s*(\d+)$", text.read(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0
