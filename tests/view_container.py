"""Execute a command as a container of a stock runtime would: `python view_container.py [--sys-admin] COMMAND ARGUMENT…`.

A seccomp filter refuses what Docker's default profile refuses to who has neither CAP_SYS_ADMIN nor CAP_SYS_PTRACE (nor the other
capabilities that it does not give): EPERM, and ENOSYS for clone3. With --sys-admin: what it refuses to who has that one.
"""

import ctypes
import errno
import os
import struct
import sys

from vfs.view.kernel import abi, libc
from vfs.view.kernel.filter import ALLOW, Among, AnyBit, Filter, Rule, When, refusal

_SYS_ADMIN = """
bpf fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount open_tree perf_event_open quotactl
quotactl_fd setdomainname sethostname setns syslog umount2 unshare"""
_ALWAYS = """
kcmp pidfd_getfd process_madvise open_by_handle_at reboot delete_module init_module finit_module acct iopl ioperm settimeofday
clock_settime vhangup get_mempolicy mbind set_mempolicy set_mempolicy_home_node add_key keyctl request_key kexec_load
kexec_file_load move_pages migrate_pages pivot_root swapon swapoff sysfs uselib userfaultfd ustat io_uring_setup io_uring_enter
io_uring_register"""
NAMESPACES = 0x7E020000
PERSONALITIES = (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)


def profile(sys_admin: bool) -> Filter:
    made = Filter()
    made.refuse(errno.EPERM, *_ALWAYS.split())
    made.set_rule("personality", Rule([When(Among(0, PERSONALITIES), ALLOW)], refusal(errno.EPERM)))
    if not sys_admin:
        made.refuse(errno.EPERM, *_SYS_ADMIN.split())
        made.refuse(errno.ENOSYS, "clone3")
        made.set_rule("clone", Rule([When(AnyBit(0, NAMESPACES), refusal(errno.EPERM))]))
    return made


def main() -> None:
    command = sys.argv[1:]
    sys_admin = command[0] == "--sys-admin"
    text = profile(sys_admin).program()
    body = ctypes.create_string_buffer(text, len(text))
    header = struct.pack("<H6xQ", len(text) // 8, ctypes.addressof(body))
    libc.prctl(abi.PR_SET_NO_NEW_PRIVS, 1)
    libc.syscall(profile(sys_admin).machine.calls["seccomp"], abi.SECCOMP_SET_MODE_FILTER, 0, header)
    command = command[sys_admin:]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
