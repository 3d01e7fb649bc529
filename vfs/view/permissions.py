"""Permissions: what a task may do to a virtual file, in human mode (`umview -s`).

The rules are Linux's own, decided in one place: `may` for reading, writing, executing and searching (generic_permission in
fs/namei.c, posix_acl_permission in fs/posix_acl.c), and the demands of the calls that change something (may_delete in fs/namei.c,
setattr_prepare in fs/attr.c, xattr_permission in fs/xattr.c). In omnipotent mode, and for tasks without virtual credentials,
nothing is demanded.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from vfs.api import Node, Stat, fail
from vfs.api.acl import ACCESS, GROUP, GROUP_OBJ, MASK, OTHER, USER, Acl, unpack
from vfs.view import credentials as capabilities
from vfs.view.credentials import NO_SETUID_FIXUP, Credentials
from vfs.view.dentry import DIRECTORY, REGULAR, Dentry
from vfs.view.kernel.abi import AT_EACCESS
from vfs.view.kernel.loop import Handler
from vfs.view.kernel.notify import Call
from vfs.view.kernel.processes import group_of
from vfs.view.names import proc_path
from vfs.view.proc.access import demand_access

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

OF_PROCESS = re.compile(rb"/proc/(\d+)(?:/|$)")
READ, WRITE, EXECUTE = 4, 2, 1
"""As access(2) has them. To execute a directory is to search it."""


def may(who: Credentials, what: Stat, acl: Acl | None, want: int) -> bool:
    """Whether *who* may do all of *want* (a sum of the three) with a file that has these attributes and this access ACL."""
    mode = what.mode
    if granted(who, what, acl, want):
        return True
    if stat.S_ISDIR(mode):
        return who.capable(capabilities.DAC_OVERRIDE) or (not want & WRITE and who.capable(capabilities.DAC_READ_SEARCH))
    if want == READ and who.capable(capabilities.DAC_READ_SEARCH):
        return True
    return (not want & EXECUTE or bool(mode & 0o111)) and who.capable(capabilities.DAC_OVERRIDE)


def granted(who: Credentials, what: Stat, acl: Acl | None, want: int) -> bool:
    """Whether the permission bits, or the ACL, give it without any capability."""
    mode = what.mode
    if who.uid.fs == what.uid:
        return mode >> 6 & want == want
    if acl and mode & 0o070:
        return by_acl(who, what, acl, want)
    return (mode >> 3 if who.in_group(what.gid) else mode) & want == want


def by_acl(who: Credentials, what: Stat, acl: Acl, want: int) -> bool:
    """What an ACL gives to somebody who is not the owner: his own entry decides, else those of his groups, one of which has
    to have all that he wants, else the last."""
    mask = next((entry.permissions for entry in acl if entry.tag == MASK), 7)
    for entry in acl:
        if entry.tag == USER and entry.id == who.uid.fs:
            return entry.permissions & mask & want == want
    groups = [
        entry.permissions & mask
        for entry in acl
        if (entry.tag == GROUP_OBJ and who.in_group(what.gid)) or (entry.tag == GROUP and who.in_group(entry.id))
    ]
    if groups:
        return any(permissions & want == want for permissions in groups)
    return any(entry.tag == OTHER and entry.permissions & want == want for entry in acl)


def for_access(who: Credentials) -> Credentials:
    """With whom access(2) asks: the real ids, and the capabilities that go with them."""
    who = replace(who, uid=replace(who.uid, fs=who.uid.real), gid=replace(who.gid, fs=who.gid.real))
    if who.securebits & NO_SETUID_FIXUP:
        return who
    return replace(who, effective=who.permitted if who.uid.real == 0 else 0)


STICKY_FOR_ALL = stat.S_ISVTX | stat.S_IWOTH


def protected(what: str) -> int:
    """The host's fs.protected_*: 0 is off."""
    try:
        with open(f"/proc/sys/fs/protected_{what}") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


class Permissions:
    """What handlers demand for the task whose call they answer. EACCES where bits or ACL forbid it, EPERM where ownership or a
    capability is wanting."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.others: Credentials | None = None

    @property
    def who(self) -> Credentials | None:
        """Whose permissions count; `None`: nobody's."""
        if not self.supervisor.view.human:
            return None
        return self.others or self.supervisor.context.credentials

    def really(self, handler: Handler, flags: int | None = None) -> Handler:
        """access(2): the name is looked up, and the answer given, for the real ids; not with AT_EACCESS in *flags*."""

        def handle(call: Call) -> int:
            who = self.who
            if who is None or (flags is not None and call.args[flags] & AT_EACCESS):
                return handler(call)
            self.others = for_access(who)
            try:
                return handler(call)
            finally:
                self.others = None

        return handle

    def demand(self, dentry: Dentry, want: int) -> None:
        """To read, write, execute or search. EACCES."""
        who = self.who
        if (
            who is None
            or not want
            or (who.capable(capabilities.DAC_OVERRIDE) and (dentry.kind == DIRECTORY or not want & EXECUTE))
        ):
            return
        if dentry.proc and self.demand_process(dentry, who, want):
            return
        found = dentry.stat()
        acl = access_acl(dentry) if found.mode & 0o070 and who.uid.fs != found.uid else None
        if not may(who, found, acl, want):
            fail(errno.EACCES)

    def demand_process(self, dentry: Dentry, who: Credentials, want: int) -> bool:
        """What belongs to a process in /proc belongs to its virtual user, and what not all may read or write is for those who may
        look into it (ptrace(2)). `False`: it belongs to no process. EACCES."""
        path = proc_path(dentry) or b""
        match = OF_PROCESS.match(path)
        if match is None:
            return False
        if dentry.stat().mode & want != want:
            self.demand_look(who, int(match[1]))
        return True

    def demand_access(self, tid: int, pid: int) -> None:
        """Task *tid* wants to look into a process: by its real user, and by its virtual one. EACCES, ESRCH."""
        demand_access(tid, pid)
        if self.who is not None and group_of(tid) != group_of(pid):
            self.demand_look(self.who, pid)

    def demand_look(self, who: Credentials, pid: int) -> None:
        """EACCES."""
        other = self.supervisor.contexts.of(pid).credentials
        if other is not None and not may_look(who, other):
            fail(errno.EACCES)

    def demand_search(self, directory: Dentry) -> None:
        """To look for a name in it. EACCES."""
        self.demand(directory, EXECUTE)

    def demand_open(self, dentry: Dentry, flags: int) -> None:
        """What open(2) wants by its *flags*. EACCES, EPERM (O_NOATIME)."""
        if self.who is None or flags & os.O_PATH:
            return
        mode = flags & os.O_ACCMODE
        want = (READ if mode != os.O_WRONLY else 0) | (WRITE if mode != os.O_RDONLY or flags & os.O_TRUNC else 0)
        self.demand(dentry, want)
        if flags & os.O_NOATIME:
            self.demand_owner(dentry)

    def demand_entry(self, directory: Dentry) -> None:
        """To make an entry. EACCES."""
        self.demand(directory, WRITE | EXECUTE)

    def demand_removal(self, directory: Dentry, dentry: Dentry) -> None:
        """To take an entry away: in a sticky directory only one's own. EACCES, EPERM."""
        who = self.who
        if who is None:
            return
        self.demand(directory, WRITE | EXECUTE)
        above = directory.stat()
        if above.mode & stat.S_ISVTX and who.uid.fs not in (above.uid, dentry.stat().uid):
            who.demand(capabilities.FOWNER)

    def demand_move(self, old: Dentry, moved: Dentry, new: Dentry, replaced: Dentry | None, exchanged: bool) -> None:
        """rename(2) of *moved* from one directory to another. A directory that gets another parent is written (its `..`). What
        else is wrong comes in Linux's order: EINVAL, ENOTEMPTY before; ENOTDIR, EISDIR between."""
        if self.who is None:
            return
        if is_within(new, moved):
            fail(errno.EINVAL)
        if replaced is not None and is_within(old, replaced):
            fail(errno.EINVAL if exchanged else errno.ENOTEMPTY)
        self.demand_removal(old, moved)
        if replaced is None:
            self.demand_entry(new)
        else:
            self.demand_removal(new, replaced)
            if not exchanged and (moved.kind == DIRECTORY) != (replaced.kind == DIRECTORY):
                fail(errno.ENOTDIR if moved.kind == DIRECTORY else errno.EISDIR)
        if old is not new:
            for each in (moved, replaced if exchanged else None):
                if each is not None and each.kind == DIRECTORY:
                    self.demand(each, WRITE)

    def own(self, directory: Dentry, node: Node, uid: int, gid: int) -> None:
        """A task has made a file. Where the host gives it to the real user, the view remembers whose it is."""
        owners = directory.mount.owners
        if owners is not None:
            found = node.stat()
            if found.uid != uid:
                owners.give(found, uid, found.gid if directory.stat().mode & stat.S_ISGID else gid)

    # ---------------------------------------------------------------- fs.protected_* (proc_sys_fs(5))

    def demand_following(self, directory: Dentry, link: Dentry) -> None:
        """To follow a link at the end of a name: in a sticky directory that all may write, only one's own and the directory's
        owner's (may_follow_link in the kernel's fs/namei.c). EACCES."""
        who = self.who
        if who is None or not protected("symlinks"):
            return
        above = directory.stat()
        if above.mode & STICKY_FOR_ALL == STICKY_FOR_ALL and link.stat().uid not in (who.uid.fs, above.uid):
            fail(errno.EACCES)

    def demand_link(self, dentry: Dentry) -> None:
        """To give it another name: its owner may, and who may read and write it, if it is no program with privileges
        (may_linkat). EPERM."""
        who = self.who
        if who is None or not protected("hardlinks"):
            return
        found = dentry.stat()
        privileged = found.mode & stat.S_ISUID or (found.mode & stat.S_ISGID and found.mode & stat.S_IXGRP)
        safe = stat.S_ISREG(found.mode) and not privileged and may(who, found, access_acl(dentry), READ | WRITE)
        if not safe and who.uid.fs != found.uid:
            who.demand(capabilities.FOWNER)

    def demand_making(self, dentry: Dentry) -> None:
        """To open with O_CREAT what is there already, in a sticky directory: somebody may have put it there for us
        (may_create_in_sticky). EACCES."""
        who = self.who
        level = {stat.S_IFREG: "regular", stat.S_IFIFO: "fifos"}.get(dentry.kind)
        if who is None or level is None or dentry.parent is None or not protected(level):
            return
        above = dentry.parent.stat()
        if not above.mode & stat.S_ISVTX or dentry.stat().uid in (who.uid.fs, above.uid):
            return
        if above.mode & stat.S_IWOTH or (above.mode & stat.S_IWGRP and protected(level) > 1):
            fail(errno.EACCES)

    # ---------------------------------------------------------------- what changes a file

    def demand_owner(self, dentry: Dentry) -> None:
        """To change mode, times or ACLs. EPERM."""
        who = self.who
        if who is not None and who.uid.fs != dentry.stat().uid:
            who.demand(capabilities.FOWNER)

    def demand_touch(self, dentry: Dentry) -> None:
        """To set both times to now: who owns it, or may write it. EACCES."""
        who = self.who
        if who is not None and who.uid.fs != dentry.stat().uid and not who.capable(capabilities.FOWNER):
            self.demand(dentry, WRITE)

    def demand_chown(self, dentry: Dentry, uid: int | None, gid: int | None) -> None:
        """To give it away: an owner may choose among his groups. EPERM."""
        who = self.who
        if who is None or who.capable(capabilities.CHOWN):
            return
        found = dentry.stat()
        owner = who.uid.fs == found.uid
        if uid is not None and not (owner and uid == found.uid):
            fail(errno.EPERM)
        if gid is not None and not (owner and (gid == found.gid or who.in_group(gid))):
            fail(errno.EPERM)

    def allowed_mode(self, dentry: Dentry, mode: int) -> int:
        """What chmod(2) sets: no set-group-ID bit for a group that one is not in."""
        who = self.who
        if who is not None and not who.capable(capabilities.FSETID) and not who.in_group(dentry.stat().gid):
            mode &= ~stat.S_ISGID
        return mode

    def lost_by_writing(self, dentry: Dentry) -> int:
        """The mode bits that a file loses when the task writes it: `Placeholder.losing`. In omnipotent mode, too: others may
        trust the file."""
        who = self.supervisor.context.credentials
        if who is None:
            return 0 if dentry.real or os.geteuid() == 0 else stat.S_ISUID  # of real files the kernel knows
        if who.capable(capabilities.FSETID):
            return 0
        return stat.S_ISUID | (0 if who.in_group(dentry.stat().gid) else stat.S_ISGID)

    def demand_attribute(self, dentry: Dentry, name: bytes, writing: bool) -> None:
        """For an extended attribute. EPERM, EACCES; ENODATA where reading is not allowed and nothing shall show."""
        who = self.who
        if who is None:
            return
        if name.startswith(b"trusted."):
            if not who.capable(capabilities.SYS_ADMIN):
                fail(errno.EPERM if writing else errno.ENODATA)
        elif name.startswith(b"user."):
            if dentry.kind not in (DIRECTORY, REGULAR):
                fail(errno.EPERM if writing else errno.ENODATA)
            if writing and dentry.kind == DIRECTORY and dentry.stat().mode & stat.S_ISVTX:
                self.demand_owner(dentry)
            self.demand(dentry, WRITE if writing else READ)
        elif writing and name.startswith(b"security."):
            who.demand(capabilities.SETFCAP if name == b"security.capability" else capabilities.SYS_ADMIN)
        elif writing:
            self.demand_owner(dentry)


def may_look(who: Credentials, other: Credentials) -> bool:
    """Whether *who* may look into a process that *other* runs: PTRACE_MODE_READ_FSCREDS, ptrace(2)."""
    if who.capable(capabilities.SYS_PTRACE):
        return True
    uid, gid = other.uid, other.gid
    return {uid.real, uid.effective, uid.saved} == {who.uid.fs} and {gid.real, gid.effective, gid.saved} == {who.gid.fs}


def is_within(dentry: Dentry, above: Dentry) -> bool:
    """Whether a directory is *above*, or lies below it."""
    here: Dentry | None = dentry
    while here is not None and here is not above:
        here = here.parent
    return here is not None


def access_acl(dentry: Dentry) -> Acl | None:
    """The access ACL of a file, `None` where it has none."""
    try:
        return unpack(dentry.node.getxattr(ACCESS))
    except OSError:
        return None
