"""Directories: listing them, and being in them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from vfs.api import fail
from vfs.view import roots
from vfs.view.calls.names import named, redirect, show
from vfs.view.calls.refused import is_capable
from vfs.view.calls.table import CallTable, Handler
from vfs.view.credentials import SYS_CHROOT
from vfs.view.dentry import DIRECTORY, Dentry
from vfs.view.files import READY, host_directory
from vfs.view.kernel import structs
from vfs.view.kernel.abi import AT_FDCWD, CAP_SYS_ADMIN
from vfs.view.kernel.inplace import is_traced
from vfs.view.kernel.loop import let_through
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.kernel.structs import signed
from vfs.view.placeholder import Cookies, Placeholder
from vfs.view.proc.links import is_within, told

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

# The file position of a directory: 0 before ".", 1 before "..", then the module's cookie of the next entry plus FIRST.
DOT, DOT_DOT, FIRST = 0, 1, 2
ADDED = 2 * Cookies.LARGEST
"""From here on come the names that the view adds to the module's: of devices mounted where nothing was."""
LARGEST_READ = 1 << 20

Pack = Callable[[int, int, int, bytes], bytes]
"""Makes a record of an inode number, the position after it, a type (DT_*) and a name."""


def install(table: CallTable, supervisor: Supervisor) -> None:
    calls = Directories(supervisor)
    # Any number: a directory may have been dup2'ed to a low one.
    table.always(lambda call: calls.getdents(call, structs.pack_dirent64), "getdents64")
    table.always(lambda call: calls.getdents(call, structs.pack_dirent), "getdents")
    table.always(calls.moving(named(supervisor, calls.chdir)), "chdir")
    table.always(calls.moving(calls.fchdir), "fchdir")
    table.always(calls.moving(let_through), "setns")
    table.always(calls.getcwd, "getcwd")
    table.always(calls.chroot, "chroot")
    table.always(calls.pivot_root, "pivot_root")


class Directories:
    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor

    def getdents(self, call: Call, pack: Pack) -> int:
        number = signed(call.args[0])
        files = self.supervisor.files
        if number < READY and not files.low_directories:
            return CONTINUE
        placeholder = files.of_descriptor(call.tid, number)
        if placeholder is None:
            return CONTINUE
        if placeholder.dentry.kind != DIRECTORY:
            fail(errno.ENOTDIR)
        show(self.supervisor, call, placeholder.dentry)
        descriptor = call.get_fd(number)
        try:
            position = os.lseek(descriptor, 0, os.SEEK_CUR)
            text, after = self.records(placeholder, position, min(call.args[2] & 0xFFFFFFFF, LARGEST_READ), pack)
            call.write(call.args[1], text)
            os.lseek(descriptor, after, os.SEEK_SET)
            return len(text)
        finally:
            os.close(descriptor)

    def records(self, placeholder: Placeholder, position: int, room: int, pack: Pack) -> tuple[bytes, int]:
        """Directory records from *position* that fit into *room* bytes, and the position after them. EINVAL: not even one."""
        dentry = placeholder.dentry
        if dentry.removed:
            return b"", position
        cookies = placeholder.cookies
        if cookies is None:
            cookies = placeholder.cookies = Cookies()
        parts: list[bytes] = []
        used = 0
        for name, ino, kind, after in self.listing(dentry, cookies, position):
            record = pack(ino, after, kind, name)
            if used + len(record) > room:
                if not parts:
                    fail(errno.EINVAL)
                break
            parts.append(record)
            used += len(record)
            position = after
        return b"".join(parts), position

    def listing(self, dentry: Dentry, cookies: Cookies, position: int) -> Iterator[tuple[bytes, int, int, int]]:
        """What a directory has from *position* on: name, inode number, type (DT_*), and the position after it."""
        if position <= DOT:
            yield b".", dentry.node.ino, DIRECTORY >> 12, DOT_DOT
        if position <= DOT_DOT:
            above = self.supervisor.view.names.up(dentry)
            ino = above.node.ino if isinstance(above, Dentry) else os.lstat(above).st_ino
            yield b"..", ino, DIRECTORY >> 12, FIRST
            position = FIRST
        if position < ADDED:
            for name, ino, kind, following in dentry.node.entries(cookies.cookie(position - FIRST)):
                if following >= Cookies.LARGEST:
                    following = cookies.number(following)
                yield name, ino, kind, following + FIRST
            position = ADDED
        added = self.supervisor.view.mounts.added
        if added:
            mounts = added.get(dentry.path, ())
            for index in range(position - ADDED, len(mounts)):
                root = mounts[index].root
                yield root.name, root.node.ino, root.kind >> 12, ADDED + index + 1

    def moving(self, handler: Handler) -> Handler:
        """A handler of a call that changes the current directory. It looks names up in the old one: so this comes last."""
        moves = self.supervisor.tasks.moves

        def handle(call: Call) -> int:
            try:
                return handler(call)
            finally:
                moves(call.tid)

        return handle

    def chdir(self, call: Call, dentry: Dentry) -> int:
        """The kernel's idea of the cwd becomes the placeholder: what fchdir does with its descriptor."""
        if dentry.kind != DIRECTORY:
            fail(errno.ENOTDIR)
        self.supervisor.permissions.demand_search(dentry)
        if self.supervisor.view.names.is_hosts(dentry):
            return self.chdir_on_host(call, dentry)
        files = self.supervisor.files
        placeholder = files.placeholder(dentry)
        if is_traced(call.tid):
            return self.supervisor.traced.chdir(call, placeholder.holder)
        return self.change_into(call, files.give(call, placeholder, placeholder.holder, True, answer=False))

    def fchdir(self, call: Call) -> int:
        """The kernel does it: what stands for a virtual directory is a real one. EACCES: who could open it need not be allowed to
        search it."""
        supervisor = self.supervisor
        if supervisor.permissions.who is not None:
            place = supervisor.tasks.place(call.tid, signed(call.args[0]))
            if isinstance(place, bytes) and supervisor.view.names.base is not None:
                place = supervisor.view.names.inward(place, supervisor.view.names.base)
            if isinstance(place, Dentry) and place.kind == DIRECTORY:
                supervisor.permissions.demand_search(place)
        return CONTINUE

    def chdir_on_host(self, call: Call, dentry: Dentry) -> int:
        try:
            with host_directory(dentry) as descriptor:
                if is_traced(call.tid):
                    return self.supervisor.traced.chdir(call, descriptor)
                return self.change_into(call, call.add_fd(descriptor, None, True, answer=False))
        except PermissionError:  # the real user may search it, and not read it
            return redirect(self.supervisor, call, 0, None, dentry.node.host_path() or fail(errno.ENOENT))

    def change_into(self, call: Call, number: int) -> int:
        """fchdir with the task's new descriptor, which goes."""
        with call.stop() as stopped:
            result = stopped.syscall("fchdir", number, 0, 0, 0, 0, call.listener.cookie)
            stopped.syscall("close", number)
            return stopped.finish(result)

    def getcwd(self, call: Call) -> int:
        place = None if self.supervisor.view.mounts.idle else self.supervisor.tasks.place(call.tid, AT_FDCWD)
        top = self.supervisor.context.root
        if place is None or (isinstance(place, bytes) and top is None):
            return CONTINUE
        if place.removed if isinstance(place, Dentry) else place.endswith(b" (deleted)"):
            fail(errno.ENOENT)
        path = place.path if isinstance(place, Dentry) else place
        if top is not None:
            path = told(path, top) if is_within(path, top) else b"(unreachable)" + path
        if len(path) >= call.args[1]:
            fail(errno.ERANGE)
        call.write(call.args[0], path + b"\0")
        return len(path) + 1

    def chroot(self, call: Call) -> int:
        """The task's context has another root (`roots`). In another mount namespace it is the kernel's affair."""
        supervisor = self.supervisor
        contexts, old = supervisor.contexts, supervisor.context
        if old.root is None and supervisor.tasks.is_elsewhere(call.tid):
            supervisor.tasks.set_roots_differ()
            return CONTINUE
        found = supervisor.view.names.locate(call, AT_FDCWD, call.string(0))
        if found is None:
            return CONTINUE
        place = found.place
        if not (place.kind == DIRECTORY if isinstance(place, Dentry) else stat.S_ISDIR(os.stat(place).st_mode)):
            fail(errno.ENOTDIR)
        if isinstance(place, Dentry):
            supervisor.permissions.demand_search(place)
        supervisor.demand(SYS_CHROOT)
        context = contexts.intern(old.view, old.credentials, roots.root_at(supervisor, place))
        if context is old:
            return 0
        with call.stop() as stopped:
            contexts.change(call, stopped, context)
            return stopped.finish(0)

    def pivot_root(self, call: Call) -> int:
        """EINVAL: nothing virtual can be the root of a mount namespace. What else is asked for the kernel decides."""
        supervisor = self.supervisor
        if not supervisor.view.mounts.idle and (supervisor.permissions.who is None or not supervisor.context.confined):
            for argument in (0, 1):
                try:
                    found = supervisor.view.names.locate(call, AT_FDCWD, call.string(argument))
                except OSError:
                    continue  # the kernel will say so
                if found is not None and found.crossed:
                    return -(errno.EINVAL if is_capable(call.tid, CAP_SYS_ADMIN) else errno.EPERM)
        supervisor.tasks.pivots(call.tid)
        return CONTINUE
