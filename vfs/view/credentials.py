"""Credentials: whom a task takes itself for, apart from whom the host takes it for (credentials(7), capabilities(7)).

Values, never changed: a change makes new ones. What Linux does at setuid and at exec is done here, and nothing else decides it.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass, replace
from typing import NamedTuple

from vfs.api import fail
from vfs.view.kernel.abi import CAP_DAC_READ_SEARCH, CAP_SYS_ADMIN, CAP_SYS_PTRACE

ALL = (1 << 41) - 1
"""All capabilities (linux/capability.h, CAP_LAST_CAP is CAP_CHECKPOINT_RESTORE, 40)."""
CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID = 0, 1, CAP_DAC_READ_SEARCH, 3, 4
SETGID, SETUID, SETPCAP, LINUX_IMMUTABLE = 6, 7, 8, 9
SYS_CHROOT, SYS_PTRACE, SYS_ADMIN, MKNOD, SETFCAP, MAC_OVERRIDE = 18, CAP_SYS_PTRACE, CAP_SYS_ADMIN, 27, 31, 32
FILESYSTEM = sum(1 << bit for bit in (CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, LINUX_IMMUTABLE, MKNOD, MAC_OVERRIDE))
"""What setfsuid(2) takes and gives."""
KEEP_CAPS, KEEP_CAPS_LOCKED = 1 << 4, 1 << 5
NO_ROOT, NO_SETUID_FIXUP, NO_AMBIENT_RAISE = 1 << 0, 1 << 2, 1 << 6
"""Securebits (linux/securebits.h)."""
SAME = -1
NO_ID = 0xFFFFFFFF
MAX_GROUPS = 65536


class FileCapabilities(NamedTuple):
    """What `security.capability` of a program says: struct vfs_cap_data, linux/capability.h."""

    permitted: int
    inheritable: int
    effective: bool

    @classmethod
    def unpack(cls, text: bytes) -> FileCapabilities | None:
        """`None`: a revision that does not count: unknown, damaged, or of another user namespace's root."""
        if len(text) < 4:
            return None
        magic = int.from_bytes(text[:4], "little")
        words = {0x01000000: 1, 0x02000000: 2, 0x03000000: 2}.get(magic & 0xFF000000)
        owner = text[-4:] if magic & 0xFF000000 == 0x03000000 else b""
        if words is None or len(text) != 4 + 8 * words + len(owner) or any(owner):
            return None
        permitted = inheritable = 0
        for word, (one, two) in enumerate(struct.iter_unpack("<II", text[4 : 4 + 8 * words])):
            permitted |= one << 32 * word
            inheritable |= two << 32 * word
        return cls(permitted & ALL, inheritable & ALL, bool(magic & 1))


@dataclass(frozen=True)
class Ids:
    """Real, effective, saved and file system id."""

    real: int
    effective: int
    saved: int
    fs: int

    @classmethod
    def all(cls, number: int) -> Ids:
        return cls(number, number, number, number)

    def __contains__(self, number: int) -> bool:
        return number in (self.real, self.effective, self.saved)


@dataclass(frozen=True)
class Credentials:
    uid: Ids
    gid: Ids
    groups: tuple[int, ...] = ()
    permitted: int = 0
    effective: int = 0
    inheritable: int = 0
    bounding: int = ALL
    ambient: int = 0
    securebits: int = 0

    def capable(self, capability: int) -> bool:
        return bool(self.effective >> capability & 1)

    def demand(self, capability: int) -> None:
        """EPERM."""
        if not self.capable(capability):
            fail(errno.EPERM)

    @property
    def unrestricted(self) -> bool:
        """No permission of a file is in its way."""
        return self.effective & FILESYSTEM == FILESYSTEM

    def in_group(self, gid: int) -> bool:
        """Whether the group's permission bits are meant for it."""
        return gid == self.gid.fs or gid in self.groups

    # ---------------------------------------------------------------- set*id

    def with_uid(self, uid: Ids) -> Credentials:
        """After a change of user ids: capabilities follow (capabilities(7), "Effect of user ID changes on capabilities")."""
        old, new = self.uid, replace(self, uid=uid)
        if self.securebits & NO_SETUID_FIXUP:
            return new
        permitted, effective, ambient = self.permitted, self.effective, self.ambient
        if 0 in old and 0 not in uid:
            if not self.securebits & KEEP_CAPS:
                permitted = effective = 0
            ambient = 0
        if old.effective == 0 and uid.effective != 0:
            effective = 0
        if old.effective != 0 and uid.effective == 0:
            effective = permitted
        return replace(new, permitted=permitted, effective=effective, ambient=ambient)

    def setuid(self, number: int) -> Credentials:
        if self.capable(SETUID):
            return self.with_uid(Ids.all(number))
        if number not in (self.uid.real, self.uid.saved):
            fail(errno.EPERM)
        return self.with_uid(Ids(self.uid.real, number, self.uid.saved, number))

    def setgid(self, number: int) -> Credentials:
        if self.capable(SETGID):
            return replace(self, gid=Ids.all(number))
        if number not in (self.gid.real, self.gid.saved):
            fail(errno.EPERM)
        return replace(self, gid=Ids(self.gid.real, number, self.gid.saved, number))

    def setreuid(self, real: int, effective: int) -> Credentials:
        return self.with_uid(self._both(self.uid, real, effective, self.capable(SETUID)))

    def setregid(self, real: int, effective: int) -> Credentials:
        return replace(self, gid=self._both(self.gid, real, effective, self.capable(SETGID)))

    @staticmethod
    def _both(old: Ids, real: int, effective: int, capable: bool) -> Ids:
        """setreuid(2)."""
        if not capable and (
            (real != SAME and real not in (old.real, old.effective)) or (effective != SAME and effective not in old)
        ):
            fail(errno.EPERM)
        new_real = old.real if real == SAME else real
        new = old.effective if effective == SAME else effective
        saved = new if real != SAME or (effective != SAME and effective != old.real) else old.saved
        return Ids(new_real, new, saved, new)

    def setresuid(self, real: int, effective: int, saved: int) -> Credentials:
        return self.with_uid(self._three(self.uid, real, effective, saved, self.capable(SETUID)))

    def setresgid(self, real: int, effective: int, saved: int) -> Credentials:
        return replace(self, gid=self._three(self.gid, real, effective, saved, self.capable(SETGID)))

    @staticmethod
    def _three(old: Ids, real: int, effective: int, saved: int, capable: bool) -> Ids:
        if not capable and any(number != SAME and number not in old for number in (real, effective, saved)):
            fail(errno.EPERM)
        new = old.effective if effective == SAME else effective
        return Ids(old.real if real == SAME else real, new, old.saved if saved == SAME else saved, new)

    def setfsuid(self, number: int) -> Credentials:
        """Never fails; what is not allowed changes nothing."""
        if number == NO_ID or not (self.capable(SETUID) or number in self.uid or number == self.uid.fs):
            return self
        effective = self.effective
        if not self.securebits & NO_SETUID_FIXUP:
            if self.uid.fs == 0 and number != 0:
                effective &= ~FILESYSTEM
            elif self.uid.fs != 0 and number == 0:
                effective |= self.permitted & FILESYSTEM
        return replace(self, uid=replace(self.uid, fs=number), effective=effective)

    def setfsgid(self, number: int) -> Credentials:
        if number == NO_ID or not (self.capable(SETGID) or number in self.gid or number == self.gid.fs):
            return self
        return replace(self, gid=replace(self.gid, fs=number))

    def setgroups(self, groups: tuple[int, ...]) -> Credentials:
        self.demand(SETGID)
        return replace(self, groups=tuple(sorted(groups)))  # as the kernel shows them

    # ---------------------------------------------------------------- capabilities

    def capset(self, effective: int, permitted: int, inheritable: int) -> Credentials:
        """capset(2), as cap_capset in security/commoncap.c has it."""
        if not self.capable(SETPCAP) and inheritable & ~(self.inheritable | self.permitted):
            fail(errno.EPERM)
        if inheritable & ~(self.inheritable | self.bounding) or permitted & ~self.permitted or effective & ~permitted:
            fail(errno.EPERM)
        ambient = self.ambient & permitted & inheritable
        return replace(self, effective=effective, permitted=permitted, inheritable=inheritable, ambient=ambient)

    def after_exec(
        self, set_uid: int | None = None, set_gid: int | None = None, program: FileCapabilities | None = None
    ) -> Credentials:
        """What execve makes of them: *set_uid* and *set_gid* are owner and group of a program with those bits, *program* are its
        capabilities (cap_bprm_creds_from_file in security/commoncap.c). EPERM: the program must have more than it may get."""
        uid, gid = self.uid, self.gid
        if set_uid is not None:
            uid = replace(uid, effective=set_uid)
        if set_gid is not None:
            gid = replace(gid, effective=set_gid)
        changed = uid != self.uid or gid != self.gid
        uid = replace(uid, saved=uid.effective, fs=uid.effective)
        gid = replace(gid, saved=gid.effective, fs=gid.effective)
        ambient = 0 if changed or program is not None else self.ambient
        permitted, whole = 0, False
        if program is not None:
            permitted = self.bounding & program.permitted | self.inheritable & program.inheritable
            whole = program.effective
            if whole and program.permitted & ~permitted:
                fail(errno.EPERM)
        by_set_uid = uid.real != 0 and uid.effective == 0
        if not self.securebits & NO_ROOT and not (program is not None and by_set_uid):
            if 0 in (uid.effective, uid.real):
                permitted = (self.inheritable | self.bounding) & ALL
            whole = whole or uid.effective == 0
        permitted |= ambient
        effective = permitted if whole else ambient
        return replace(
            self,
            uid=uid,
            gid=gid,
            permitted=permitted,
            effective=effective,
            ambient=ambient,
            securebits=self.securebits & ~KEEP_CAPS,
        )


def root() -> Credentials:
    """The virtual root."""
    return Credentials(Ids.all(0), Ids.all(0), (0,), ALL, ALL)


def user(uid: int, gid: int, groups: tuple[int, ...]) -> Credentials:
    """A user after login."""
    capabilities = ALL if uid == 0 else 0
    return Credentials(Ids.all(uid), Ids.all(gid), tuple(sorted(groups)), capabilities, capabilities)
