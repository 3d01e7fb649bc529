"""Placeholder: what stands for one inode in the processes that have it open."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from typing import Final

from vfs.api import Change, Handle, Stat
from vfs.view.dentry import REGULAR, Dentry

PERMISSIONS: Final = 0o777
MIN_TIME: Final = -(1 << 63)
DAY: Final = 86_400_000_000_000


class Placeholder:
    """*holder* is our own descriptor of it, read-only, -1 when dropped; one open for writing would make execve fail with ETXTBSY.

    The content of a regular file is in one of three states: not there (the memfd is a hole of *size* bytes, reads are answered
    from the module); *filled* bytes, the same as the module's; or *written*: processes may write it, and until it is written
    back, the memfd is the truth, of content, size and times."""

    __slots__ = (
        "cookies",
        "copy",
        "copy_interpreter",
        "dentry",
        "error",
        "filled",
        "handle",
        "holder",
        "known",
        "known_atime",
        "losing",
        "number",
        "read_at",
        "size",
        "unstored",
        "untracked",
        "written",
    )

    def __init__(self, number: int, dentry: Dentry) -> None:
        self.number, self.dentry = number, dentry
        self.holder = -1
        self.size = 0
        self.filled = 0
        self.written = False
        self.known = (0, 0)
        """Size and mtime of the memfd when it was the same as the module's content."""
        self.read_at = MIN_TIME
        """The access time that was told last."""
        self.known_atime = 0
        """The memfd's atime when it was given the module's: a later one is of a process that read."""
        self.unstored = False
        """It was changed, and then got times that do not tell so."""
        self.untracked = False
        """It may be changed without a new mtime: it is mapped."""
        self.losing = 0
        """Mode bits (S_ISUID, S_ISGID) that it loses when it is changed: somebody without CAP_FSETID may write it."""
        self.error = 0
        """Why it could not be written back, for fsync."""
        self.handle: Handle | None = None
        self.copy = -1
        self.copy_interpreter = b""
        """For exec: our descriptor of a copy with another interpreter, and the name of that."""
        self.cookies: Cookies | None = None

    @property
    def key(self) -> int:
        """What the superblock knows it by: one inode has one."""
        return self.dentry.node.ino

    @property
    def whole(self) -> bool:
        """The kernel may read the memfd."""
        return self.written or self.filled > 0 or not self.size or self.dentry.kind != REGULAR

    def content(self) -> Handle:
        """The module's handle, opened when first needed."""
        if self.handle is None:
            self.handle = self.dentry.node.open(os.O_RDONLY)
        return self.handle

    def close_handle(self) -> None:
        handle, self.handle = self.handle, None
        if handle is not None:
            handle.close()

    def close_copy(self) -> None:
        if self.copy >= 0:
            os.close(self.copy)
            self.copy = -1

    # ---------------------------------------------------------------- the memfd

    def dress(self, descriptor: int, found: Stat | None = None) -> None:
        """Give the memfd the file's mode and times: for where a low number's fstat is not trapped, and so that a new time is one
        that writing has set."""
        found = found or self.dentry.node.stat()
        mode = found.mode & PERMISSIONS
        # Who may execute the file at all, as root may by any x bit, must be able to execute its memfd; we must fill it.
        ours = 0o400 if self.dentry.mount.constant else 0o600
        os.fchmod(descriptor, mode | (0o100 if mode & 0o111 else 0) | ours)
        os.utime(descriptor, ns=(max(found.atime, self.read_at), found.mtime))
        self.known_atime = os.fstat(descriptor).st_atime_ns

    def redress(self, times: bool) -> None:
        """As `dress`, when the module's mode or *times* were set: what is written and not yet stored stays so."""
        found = self.dentry.node.stat()
        changed = self.written and self.is_changed()
        before = os.fstat(self.holder)
        if times:
            self.read_at = MIN_TIME
        self.dress(self.holder, found)
        if changed and not times:
            os.utime(self.holder, ns=(before.st_atime_ns, before.st_mtime_ns))
        elif changed:
            self.unstored = True
            self.known = self.known[0], os.fstat(self.holder).st_mtime_ns
        else:
            self.note()

    def note(self, found: os.stat_result | None = None) -> None:
        """The memfd, as it is now or was when it was *found*, and the module agree."""
        found = found or os.fstat(self.holder)
        self.known = found.st_size, found.st_mtime_ns
        self.size = found.st_size

    def is_changed(self) -> bool:
        found = os.fstat(self.holder)
        return (found.st_size, found.st_mtime_ns) != self.known

    def overlay(self, told: Stat) -> Stat:
        """What the file is, the memfd told: of what is *written* it is the truth, of others it knows when they were read."""
        found = os.fstat(self.holder)
        if self.written:
            told.size, told.blocks = found.st_size, found.st_blocks
            if self.unstored or (found.st_size, found.st_mtime_ns) != self.known:
                told.mode = left_by_writing(told.mode, self.losing)
            if (found.st_size, found.st_mtime_ns) != self.known:
                told.mtime = found.st_mtime_ns
                told.ctime = max(told.ctime, found.st_mtime_ns)
        # As the option relatime has it. (The memfd notes every read.)
        atime = found.st_atime_ns
        told.atime = max(told.atime, self.read_at)
        if atime != self.known_atime and (told.atime <= max(told.mtime, told.ctime) or atime - told.atime > DAY):
            told.atime = self.read_at = max(told.atime, atime)
        return told

    def keep_atime(self) -> None:
        """The memfd is about to go: the module gets to know when it was read last."""
        node = self.dentry.node
        if self.holder < 0 or node.filesystem.read_only or node.filesystem.noatime or self.dentry.kind != REGULAR:
            return
        if os.fstat(self.holder).st_atime_ns == self.known_atime:
            return
        found = node.stat()
        before = found.atime
        if found.nlink and self.overlay(found).atime != before:
            node.set(Change(atime=found.atime, ctime=found.ctime))

    def is_open_for_writing(self) -> bool:
        """Whether a process may write the memfd, through a descriptor or a mapping."""
        return not can_lease(self.holder, fcntl.F_RDLCK)

    def is_wanted(self) -> bool:
        """Whether anybody may still read what was written: the file has a name, or is open."""
        return self.dentry.node.stat().nlink > 0 or self.is_open()

    def is_open(self) -> bool:
        """Whether anybody besides us has the memfd open or mapped."""
        return self.dentry.kind == REGULAR and not can_lease(self.holder, fcntl.F_WRLCK)


def left_by_writing(mode: int, losing: int) -> int:
    """What a change of a regular file's content leaves of its mode; *losing*: `Placeholder.losing`
    (setattr_should_drop_suidgid in the kernel's fs/attr.c)."""
    if not losing or not stat.S_ISREG(mode):
        return mode
    return mode & ~losing & ~(stat.S_ISGID if mode & stat.S_IXGRP else 0)


def can_lease(descriptor: int, kind: int) -> bool:
    """Whether a lease could be had on our read-only descriptor: F_RDLCK when nobody has the file open for writing, F_WRLCK when
    nobody else has it open at all (fcntl(2), "Leases"). It is given back at once."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, kind)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        if error.errno != errno.EAGAIN:
            raise
        return False
    return True


class Cookies:
    """Directory positions that are too large for the placeholder's file position: each gets a small number."""

    LARGEST: Final = 1 << 40
    """Real positions are below this, numbers given in place of larger ones above."""

    def __init__(self) -> None:
        self.by_number: list[int] = []
        self.numbers: dict[int, int] = {}

    def number(self, cookie: int) -> int:
        if cookie < self.LARGEST:
            return cookie
        found = self.numbers.get(cookie)
        if found is None:
            found = self.numbers[cookie] = self.LARGEST + len(self.by_number)
            self.by_number.append(cookie)
        return found

    def cookie(self, number: int) -> int:
        """The module's cookie, 0 for a number never given."""
        if number < self.LARGEST:
            return number
        index = number - self.LARGEST
        return self.by_number[index] if index < len(self.by_number) else 0
