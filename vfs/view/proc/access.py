"""Who may look at whom: what the kernel asks before it opens /proc/PID/maps and its kin, asked for somebody else.

The supervisor reads these files with its own rights, which may be more than the caller's."""

from __future__ import annotations

import errno
import os
import re

from vfs.api import fail
from vfs.view.kernel.abi import CAP_SYS_PTRACE
from vfs.view.kernel.processes import group_of, is_below, parent_of

_STATUS = re.compile(rb"^Tgid:\t(\d+)\n.*^Uid:\t([\d\t]+)\nGid:\t([\d\t]+)\n.*^CapEff:\t([0-9a-f]+)\n", re.MULTILINE | re.DOTALL)


def is_ours(tid: int, pid: int) -> bool:
    """Whether *pid*, a process or thread, is in the view of task *tid*, and not only visible from it."""
    us = os.getpid()
    return pid == tid or (parent_of(pid) != us and is_below(pid, us))  # our only child is no part of it


def demand_access(tid: int, pid: int) -> None:
    """EACCES when task *tid* may not look into *pid*: ptrace_may_access(PTRACE_MODE_READ_FSCREDS), ptrace(2)."""
    if pid == tid or group_of(pid) == group_of(tid):
        return
    _, uids, gids, capabilities = credentials(tid)
    if capabilities >> CAP_SYS_PTRACE & 1:
        return
    _, others, their_gids, _ = credentials(pid)
    undumpable = os.stat(b"/proc/%d" % pid).st_uid != others[1]
    # real, effective, saved, file system
    if undumpable or {*others[:3]} != {uids[3]} or {*their_gids[:3]} != {gids[3]}:
        fail(errno.EACCES)


def credentials(tid: int) -> tuple[int, list[int], list[int], int]:
    """Process, the four uids, the four gids and the effective capabilities of a task. ESRCH."""
    try:
        with open(b"/proc/%d/status" % tid, "rb") as status:
            found = _STATUS.search(status.read())
    except OSError:
        found = None
    if found is None:
        fail(errno.ESRCH)
    return int(found[1]), [*map(int, found[2].split())], [*map(int, found[3].split())], int(found[4], 16)
