"""Who am I: user and group ids, capabilities; and the two calls that contexts need for themselves, prctl and personality.

Where a task has virtual credentials (`viewsu`, `umview -s`), all of this is answered from them; they change with its context.
Where it has none the kernel answers, with one exception: mount(8) and umount(8) ask for uid 0 before they try. On the host they
are set-user-ID programs. Without privilege (no_new_privs) they would refuse at once what the view allows everybody, so these two,
and only these, are told that they are root.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from vfs.api import fail
from vfs.view import control, credentials
from vfs.view.calls.table import CallTable
from vfs.view.contexts import BITS, QUERY
from vfs.view.credentials import SAME, Credentials, FileCapabilities
from vfs.view.dentry import Dentry
from vfs.view.kernel.abi import SECCOMP_SET_MODE_FILTER, SECCOMP_SET_MODE_STRICT
from vfs.view.kernel.filter import NOTIFY, Among, Rule, When
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.kernel.structs import signed
from vfs.view.kernel.trace import Stopped
from vfs.view.protocol import MAGIC
from vfs.view.writeback import CAPABILITY

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

BELIEVERS = (b"mount", b"umount")

# linux/prctl.h
SET_SECCOMP = 22
GET_KEEPCAPS, SET_KEEPCAPS, CAPBSET_READ, CAPBSET_DROP, GET_SECUREBITS, SET_SECUREBITS, CAP_AMBIENT = 7, 8, 23, 24, 27, 28, 47
AMBIENT_IS_SET, AMBIENT_RAISE, AMBIENT_LOWER, AMBIENT_CLEAR_ALL = 1, 2, 3, 4
OPTIONS = (GET_KEEPCAPS, SET_KEEPCAPS, CAPBSET_READ, CAPBSET_DROP, GET_SECUREBITS, SET_SECUREBITS, CAP_AMBIENT, MAGIC)
LAST_CAPABILITY = 40

# linux/capability.h: version -> 32-bit words of each set
VERSIONS = {0x19980330: 1, 0x20071026: 2, 0x20080522: 2}
NEWEST = 0x20080522


def install(table: CallTable, supervisor: Supervisor) -> None:
    calls = supervisor.identity
    told = calls.told
    table.always(told(lambda c: c.uid.real), "getuid")
    table.always(told(lambda c: c.uid.effective), "geteuid")
    table.always(told(lambda c: c.gid.real), "getgid")
    table.always(told(lambda c: c.gid.effective), "getegid")
    table.always(calls.virtual(lambda call, c: calls.write_ids(call, c.uid)), "getresuid")
    table.always(calls.virtual(lambda call, c: calls.write_ids(call, c.gid)), "getresgid")
    table.always(calls.virtual(calls.getgroups), "getgroups")
    table.always(calls.virtual(calls.setgroups), "setgroups")
    table.always(calls.setting(lambda c, ids: c.setuid(*demand_ids(ids)), 1), "setuid")
    table.always(calls.setting(lambda c, ids: c.setgid(*demand_ids(ids)), 1), "setgid")
    table.always(calls.setting(lambda c, ids: c.setreuid(*ids), 2), "setreuid")
    table.always(calls.setting(lambda c, ids: c.setregid(*ids), 2), "setregid")
    table.always(calls.setting(lambda c, ids: c.setresuid(*ids), 3), "setresuid")
    table.always(calls.setting(lambda c, ids: c.setresgid(*ids), 3), "setresgid")
    table.always(calls.virtual(calls.setfsuid), "setfsuid")
    table.always(calls.virtual(calls.setfsgid), "setfsgid")
    table.always(calls.capget, "capget")
    table.always(calls.virtual(calls.capset), "capset")
    table.always(calls.personality, "personality")
    table.handle(calls.prctl, "prctl")
    table.handle(supervisor.shortcut.restrict, "seccomp")
    table.filter.set_rule("seccomp", Rule([When(Among(0, (SECCOMP_SET_MODE_STRICT, SECCOMP_SET_MODE_FILTER)), NOTIFY)]))
    table.filter.set_rule("prctl", Rule([When(Among(0, (*OPTIONS, SET_SECCOMP)), NOTIFY)]))


def read_id(word: int) -> int:
    """A uid_t or gid_t; `SAME` is -1."""
    return SAME if word & 0xFFFFFFFF == credentials.NO_ID else word & 0xFFFFFFFF


def demand_ids(ids: list[int]) -> list[int]:
    """EINVAL: -1 is nobody's."""
    if SAME in ids:
        fail(errno.EINVAL)
    return ids


def file_capabilities(program: Dentry) -> FileCapabilities | None:
    """Those that a program has; `None`: none."""
    try:
        return FileCapabilities.unpack(program.node.getxattr(CAPABILITY))
    except OSError:
        return None


def real_credentials(tid: int) -> Credentials:
    """The host's, of a task (proc_pid_status(5))."""
    found = {}
    with open(b"/proc/%d/status" % tid, "rb") as lines:
        for line in lines:
            name, _, words = line.partition(b":")
            found[name] = words.split()
    uid, gid = (credentials.Ids(*map(int, found[name])) for name in (b"Uid", b"Gid"))
    sets = [int(found[name][0], 16) for name in (b"CapPrm", b"CapEff", b"CapInh", b"CapBnd", b"CapAmb")]
    return Credentials(uid, gid, tuple(map(int, found[b"Groups"])), *sets)


class Identity:
    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor

    # ---------------------------------------------------------------- exec

    def changes_at_exec(self) -> bool:
        """Whether the caller's virtual credentials are others after an execve of any program."""
        found = self.supervisor.context.credentials
        return found is not None and found.after_exec() != found

    def executed(self, call: Call, stopped: Stopped, program: Dentry | None) -> None:
        """The stopped task is about to execute; *program* is virtual, or `None`: one of the host's. Its credentials change as
        execve(2) says: set-user-ID and set-group-ID count where the mount allows them."""
        contexts, old = self.supervisor.contexts, self.supervisor.context.credentials
        owner = group = None
        own: FileCapabilities | None = None
        if program is not None and not program.mount.options.nosuid and not program.mount.hidden:
            found = program.stat()
            owner = found.uid if found.mode & stat.S_ISUID else None
            group = found.gid if found.mode & stat.S_ISGID and found.mode & stat.S_IXGRP else None
            own = file_capabilities(program)
        if old is None:
            if owner is None and group is None:
                return
            old = real_credentials(call.tid)
        new = old.after_exec(owner, group, own)
        if new != old:
            contexts.change(call, stopped, contexts.intern(self.supervisor.view, new, self.supervisor.context.root))

    # ---------------------------------------------------------------- how

    def virtual(self, handler: Callable[[Call, Credentials], int]) -> Callable[[Call], int]:
        """A handler for tasks that have virtual credentials."""
        supervisor = self.supervisor

        def handle(call: Call) -> int:
            found = supervisor.context.credentials
            return CONTINUE if found is None else handler(call, found)

        return handle

    def told(self, which: Callable[[Credentials], int]) -> Callable[[Call], int]:
        """One of the four calls whose result is an id."""
        supervisor = self.supervisor
        privileged = os.geteuid() == 0

        def handle(call: Call) -> int:
            found = supervisor.context.credentials
            answer = CONTINUE if found is None else which(found)
            if answer == 0 or (found is None and privileged) or supervisor.view.human:
                return answer
            return 0 if os.path.basename(supervisor.tasks.program(call.tid)) in BELIEVERS else answer

        return handle

    def setting(self, change: Callable[[Credentials, list[int]], Credentials], count: int) -> Callable[[Call], int]:
        """A call whose *count* arguments are ids."""
        return self.virtual(lambda call, old: self.become(call, old, change(old, [read_id(word) for word in call.args[:count]])))

    def become(self, call: Call, old: Credentials, new: Credentials, result: int = 0) -> int:
        """The task has new credentials, and its call this result."""
        if new == old:
            return result
        contexts = self.supervisor.contexts
        context = contexts.intern(self.supervisor.view, new, self.supervisor.context.root)
        with call.stop() as stopped:
            contexts.change(call, stopped, context)
            return stopped.finish(result)

    # ---------------------------------------------------------------- ids

    def write_ids(self, call: Call, ids: credentials.Ids) -> int:
        for address, number in zip(call.args[:3], (ids.real, ids.effective, ids.saved), strict=True):
            call.write(address, struct.pack("=I", number))
        return 0

    def getgroups(self, call: Call, found: Credentials) -> int:
        room = signed(call.args[0])
        if room < 0 or 0 < room < len(found.groups):
            fail(errno.EINVAL)
        if room and found.groups:
            call.write(call.args[1], struct.pack(f"={len(found.groups)}I", *found.groups))
        return len(found.groups)

    def setgroups(self, call: Call, old: Credentials) -> int:
        old.demand(credentials.SETGID)
        count = call.args[0] & 0xFFFFFFFF
        if count > credentials.MAX_GROUPS:
            fail(errno.EINVAL)
        return self.become(call, old, old.setgroups(struct.unpack(f"={count}I", call.read(call.args[1], 4 * count))))

    def setfsuid(self, call: Call, old: Credentials) -> int:
        return self.become(call, old, old.setfsuid(call.args[0] & 0xFFFFFFFF), old.uid.fs)

    def setfsgid(self, call: Call, old: Credentials) -> int:
        return self.become(call, old, old.setfsgid(call.args[0] & 0xFFFFFFFF), old.gid.fs)

    # ---------------------------------------------------------------- capabilities

    def capget(self, call: Call) -> int:
        if self.supervisor.contexts.only and self.supervisor.context.credentials is None:
            return CONTINUE
        version, pid = struct.unpack("=Ii", call.read(call.args[0], 8))  # struct __user_cap_header_struct
        words = VERSIONS.get(version)
        if words is None or pid < 0:
            return CONTINUE  # the kernel refuses it
        found = self.supervisor.contexts.of(pid or call.tid).credentials
        if found is None or not call.args[1]:
            return CONTINUE
        if pid and not os.path.exists(b"/proc/%d" % pid):
            fail(errno.ESRCH)
        sets = (found.effective, found.permitted, found.inheritable)
        text = b"".join(struct.pack("=3I", *(each >> 32 * word & 0xFFFFFFFF for each in sets)) for word in range(words))
        call.write(call.args[1], text)
        return 0

    def capset(self, call: Call, old: Credentials) -> int:
        version, pid = struct.unpack("=Ii", call.read(call.args[0], 8))
        words = VERSIONS.get(version)
        if words is None:
            call.write(call.args[0], struct.pack("=I", NEWEST))
            fail(errno.EINVAL)
        if pid not in (0, call.tid):
            fail(errno.EPERM)
        text = call.read(call.args[1], 12 * words)
        sets = [0, 0, 0]
        for word, three in enumerate(struct.iter_unpack("=3I", text)):
            sets = [each | bits << 32 * word for each, bits in zip(sets, three, strict=True)]
        effective, permitted, inheritable = (each & credentials.ALL for each in sets)
        return self.become(call, old, old.capset(effective, permitted, inheritable))

    # ---------------------------------------------------------------- prctl, personality

    def prctl(self, call: Call) -> int:
        option = call.args[0] & 0xFFFFFFFF
        if option == MAGIC:
            return control.answer(self.supervisor, call)
        if option == SET_SECCOMP:
            return self.supervisor.shortcut.restrict(call)
        found = self.supervisor.context.credentials
        return CONTINUE if found is None else self.capability_option(call, option, found)

    def capability_option(self, call: Call, option: int, old: Credentials) -> int:
        """prctl(2), as cap_task_prctl in security/commoncap.c has it."""
        value, bits = call.args[1], old.securebits
        if option == GET_KEEPCAPS:
            return int(bool(bits & credentials.KEEP_CAPS))
        if option == GET_SECUREBITS:
            return bits
        if option == SET_KEEPCAPS:
            if value > 1:
                fail(errno.EINVAL)
            if bits & credentials.KEEP_CAPS_LOCKED:
                fail(errno.EPERM)
            new = bits | credentials.KEEP_CAPS if value else bits & ~credentials.KEEP_CAPS
            return self.become(call, old, replace(old, securebits=new))
        if option == SET_SECUREBITS:
            locked = bits >> 1 & 0x55
            if value & ~0xFF or (bits ^ value) & locked or bits & 0xAA & ~value or not old.capable(credentials.SETPCAP):
                fail(errno.EPERM)
            return self.become(call, old, replace(old, securebits=value))
        if option == CAP_AMBIENT:
            return self.ambient(call, old)
        if option == CAPBSET_DROP:
            old.demand(credentials.SETPCAP)
        if value > LAST_CAPABILITY:
            fail(errno.EINVAL)
        if option == CAPBSET_READ:
            return old.bounding >> value & 1
        return self.become(call, old, replace(old, bounding=old.bounding & ~(1 << value)))

    def ambient(self, call: Call, old: Credentials) -> int:
        action, capability, *rest = call.args[1:5]
        if action == AMBIENT_CLEAR_ALL:
            if capability or any(rest):
                fail(errno.EINVAL)
            return self.become(call, old, replace(old, ambient=0))
        if any(rest) or capability > LAST_CAPABILITY or action not in (AMBIENT_IS_SET, AMBIENT_RAISE, AMBIENT_LOWER):
            fail(errno.EINVAL)
        bit = 1 << capability
        if action == AMBIENT_IS_SET:
            return int(bool(old.ambient & bit))
        if action == AMBIENT_LOWER:
            return self.become(call, old, replace(old, ambient=old.ambient & ~bit))
        if not old.permitted & old.inheritable & bit or old.securebits & credentials.NO_AMBIENT_RAISE:
            fail(errno.EPERM)
        return self.become(call, old, replace(old, ambient=old.ambient | bit))

    def personality(self, call: Call) -> int:
        """Nobody sees or changes the bits that are ours."""
        wanted = call.args[0] & 0xFFFFFFFF
        contexts = self.supervisor.contexts
        if contexts.only and (wanted == QUERY or not wanted & BITS):
            return CONTINUE
        old = contexts.personality(call.tid)
        if wanted == QUERY:
            return old & ~BITS
        new = wanted & ~BITS | old & BITS
        if new == wanted and not old & BITS:
            return CONTINUE
        if new == old:
            return old & ~BITS
        with call.stop() as stopped:
            result = stopped.syscall("personality", new, 0, 0, 0, 0, call.listener.cookie)
            return stopped.finish(result & ~BITS if result >= 0 else result)
