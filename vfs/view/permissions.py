"""Permissions: what a task may do to a virtual file, in human mode (`umview -s`).

The rules are Linux's own, decided in one place: `may` for reading, writing, executing and searching (generic_permission in
fs/namei.c, posix_acl_permission in fs/posix_acl.c), and the demands of the calls that change something (may_delete in fs/namei.c,
setattr_prepare in fs/attr.c, xattr_permission in fs/xattr.c). In omnipotent mode, and for tasks without virtual credentials,
nothing is demanded.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from vfs.api import Stat, fail
from vfs.api.acl import ACCESS, GROUP, GROUP_OBJ, MASK, OTHER, USER, Acl, unpack
from vfs.view import credentials as capabilities
from vfs.view.credentials import NO_SETUID_FIXUP, Credentials
from vfs.view.dentry import DIRECTORY, Dentry
from vfs.view.kernel.abi import AT_EACCESS
from vfs.view.kernel.loop import Handler
from vfs.view.kernel.notify import Call

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

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
        if who is not None and want and not may(who, dentry.stat(), access_acl(dentry), want):
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

    def demand_attribute(self, dentry: Dentry, name: bytes, writing: bool) -> None:
        """For an extended attribute. EPERM, EACCES; ENODATA where reading is not allowed and nothing shall show."""
        who = self.who
        if who is None:
            return
        if name.startswith(b"trusted."):
            if not who.capable(capabilities.SYS_ADMIN):
                fail(errno.EPERM if writing else errno.ENODATA)
        elif name.startswith(b"user."):
            if writing and dentry.kind == DIRECTORY and dentry.stat().mode & stat.S_ISVTX:
                self.demand_owner(dentry)
            self.demand(dentry, WRITE if writing else READ)
        elif writing and name.startswith(b"security."):
            who.demand(capabilities.SETFCAP if name == b"security.capability" else capabilities.SYS_ADMIN)
        elif writing:
            self.demand_owner(dentry)


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
