"""Calls that set attributes: mode, owner, times, size, extended attributes; by name and by descriptor.

A call that takes a whole name finds it first (ENOENT before EROFS).
"""

from __future__ import annotations

import contextlib
import errno
import stat
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from vfs.api import Change, clock, fail
from vfs.api.acl import ACCESS
from vfs.view.calls.names import Action, demand_writable, named, opened, unless
from vfs.view.calls.paths import NAMESPACES
from vfs.view.calls.table import CallTable, Handler
from vfs.view.dentry import DIRECTORY, LINK, REGULAR, Dentry
from vfs.view.kernel.abi import AT_FDCWD, UTIME_NOW, UTIME_OMIT, XATTR_CREATE, XATTR_REPLACE
from vfs.view.kernel.notify import Call
from vfs.view.kernel.structs import signed, signed64
from vfs.view.permissions import WRITE
from vfs.view.writeback import CAPABILITY

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

VALUE_MAX = 1 << 16
"""XATTR_SIZE_MAX"""
KEEP = 0xFFFFFFFF
"""chown(2): this id stays."""


def install(table: CallTable, supervisor: Supervisor) -> None:
    always = table.always
    calls = Attributes(supervisor)
    # Of descriptors at any number: a memfd at a low one would take it, and nobody would know.
    always(named(supervisor, calls.chmod(1)), "chmod")
    always(named(supervisor, calls.chmod(2), 1, 0), "fchmodat")
    always(named(supervisor, calls.chmod(2), 1, 0, flags=3), "fchmodat2")
    always(opened(supervisor, calls.chmod(1)), "fchmod")

    always(named(supervisor, calls.chown(1)), "chown")
    always(named(supervisor, calls.chown(1), follow=False), "lchown")
    always(named(supervisor, calls.chown(2), 1, 0, flags=4), "fchownat")
    always(opened(supervisor, calls.chown(1)), "fchown")

    always(named(supervisor, calls.times(1, seconds)), "utime")
    always(named(supervisor, calls.times(1, timevals)), "utimes")
    always(calls.unnamed(named(supervisor, calls.times(2, timevals), 1, 0), calls.times(2, timevals)), "futimesat")
    always(calls.unnamed(named(supervisor, calls.times(2, timespecs), 1, 0, flags=3), calls.times(2, timespecs)), "utimensat")

    always(unless(lambda call: signed64(call.args[1]) < 0, named(supervisor, calls.truncate)), "truncate")

    always(unless(bad_attribute, named(supervisor, calls.setxattr)), "setxattr")
    always(unless(bad_attribute, named(supervisor, calls.setxattr, follow=False)), "lsetxattr")
    always(unless(bad_attribute, opened(supervisor, calls.setxattr)), "fsetxattr")
    always(named(supervisor, calls.removexattr), "removexattr")
    always(named(supervisor, calls.removexattr, follow=False), "lremovexattr")
    always(opened(supervisor, calls.removexattr), "fremovexattr")


class Attributes:
    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.permissions = supervisor.permissions

    def chmod(self, argument: int) -> Action:
        def action(call: Call, dentry: Dentry) -> int:
            if dentry.kind == LINK:
                fail(errno.EOPNOTSUPP)
            demand_writable(dentry)
            self.permissions.demand_owner(dentry)
            mode = self.permissions.allowed_mode(dentry, call.args[argument] & 0o7777)
            if mode & (stat.S_ISUID | stat.S_ISGID):
                self.supervisor.files.demand_stored(dentry)  # what was written before takes no bits away any more
            dentry.node.set(Change(mode=dentry.kind | mode))
            self.supervisor.files.refresh(dentry)
            return 0

        return action

    def chown(self, argument: int) -> Action:
        """As Linux, it takes set-user-ID bits of files away."""

        def action(call: Call, dentry: Dentry) -> int:
            demand_writable(dentry)
            uid, gid = call.args[argument] & KEEP, call.args[argument + 1] & KEEP
            change = Change(uid=None if uid == KEEP else uid, gid=None if gid == KEEP else gid)
            self.permissions.demand_chown(dentry, change.uid, change.gid)
            mode = dentry.stat().mode
            if dentry.kind == REGULAR and mode & (stat.S_ISUID | stat.S_ISGID):
                change.mode = self.permissions.allowed_mode(dentry, mode & ~stat.S_ISUID)
                if mode & stat.S_IXGRP:
                    change.mode &= ~stat.S_ISGID
            dentry.node.set(change)
            if dentry.kind == REGULAR:
                with contextlib.suppress(OSError):
                    dentry.node.removexattr(CAPABILITY)
            self.supervisor.files.refresh(dentry)
            return 0

        return action

    def times(self, argument: int, read: Callable[[Call, int], tuple[int | None, int | None]]) -> Action:
        """The utime family: *read* gets the new times from the address in *argument*."""

        def action(call: Call, dentry: Dentry) -> int:
            address = call.args[argument]
            if address:
                atime, mtime = read(call, address)
            else:
                atime = mtime = clock.now()
            if atime is None and mtime is None:
                return 0
            demand_writable(dentry)
            if address:
                self.permissions.demand_owner(dentry)
            else:
                self.permissions.demand_touch(dentry)
            dentry.node.set(Change(atime=atime, mtime=mtime))
            self.supervisor.files.refresh(dentry, times=True)
            return 0

        return action

    def unnamed(self, handler: Handler, action: Action) -> Handler:
        """utimensat and futimesat change the descriptor itself where the name is null."""
        by_descriptor = opened(self.supervisor, action)
        return lambda call: handler(call) if call.args[1] or signed(call.args[0]) == AT_FDCWD else by_descriptor(call)

    def truncate(self, call: Call, dentry: Dentry) -> int:
        if dentry.kind != REGULAR:
            return -(errno.EISDIR if dentry.kind == DIRECTORY else errno.EINVAL)
        self.permissions.demand(dentry, WRITE)
        demand_writable(dentry)
        self.supervisor.files.change_size(dentry, signed64(call.args[1]))
        return 0

    def setxattr(self, call: Call, dentry: Dentry) -> int:
        size = call.args[3]
        if size > VALUE_MAX:
            fail(errno.E2BIG)
        value = call.read(call.args[2], size) if size else b""
        demand_writable(dentry)
        name = attribute(call)
        self.permissions.demand_attribute(dentry, name, writing=True)
        if name == CAPABILITY:
            self.supervisor.files.demand_stored(dentry)
        dentry.node.setxattr(name, value, call.args[4] & 0xFFFFFFFF)
        if name == ACCESS:  # an ACL sets the mode
            mode = dentry.stat().mode
            allowed = self.permissions.allowed_mode(dentry, mode)
            if allowed != mode:
                dentry.node.set(Change(mode=allowed))
        return 0

    def removexattr(self, call: Call, dentry: Dentry) -> int:
        name = call.string(1)
        if not 0 < len(name) < 256:
            fail(errno.ERANGE)
        demand_writable(dentry)
        self.permissions.demand_attribute(dentry, attribute(call), writing=True)
        dentry.node.removexattr(name)
        return 0


# -------------------------------------------------------------------- times: struct utimbuf, timeval[2], timespec[2]


def seconds(call: Call, address: int) -> tuple[int, int]:
    atime, mtime = struct.unpack("=qq", call.read(address, 16))
    return atime * 1_000_000_000, mtime * 1_000_000_000


def timevals(call: Call, address: int) -> tuple[int, int]:
    atime, atime_us, mtime, mtime_us = struct.unpack("=qqqq", call.read(address, 32))
    if not (0 <= atime_us < 1_000_000 and 0 <= mtime_us < 1_000_000):
        fail(errno.EINVAL)
    return atime * 1_000_000_000 + atime_us * 1000, mtime * 1_000_000_000 + mtime_us * 1000


def timespecs(call: Call, address: int) -> tuple[int | None, int | None]:
    atime, atime_ns, mtime, mtime_ns = struct.unpack("=qqqq", call.read(address, 32))
    return timespec(atime, atime_ns), timespec(mtime, mtime_ns)


def timespec(time: int, nanoseconds: int) -> int | None:
    if nanoseconds == UTIME_OMIT:
        return None
    if nanoseconds == UTIME_NOW:
        return clock.now()
    if not 0 <= nanoseconds < 1_000_000_000:
        fail(errno.EINVAL)
    return time * 1_000_000_000 + nanoseconds


# -------------------------------------------------------------------- extended attributes


def bad_attribute(call: Call) -> bool:
    """Whether setxattr's flags or its name's length are impossible."""
    return bool(call.args[4] & 0xFFFFFFFF & ~(XATTR_CREATE | XATTR_REPLACE)) or not 0 < len(call.string(1)) < 256


def attribute(call: Call) -> bytes:
    """The name of an extended attribute. EOPNOTSUPP: in no namespace."""
    name = call.string(1)
    return name if name.startswith(NAMESPACES) else fail(errno.EOPNOTSUPP)
