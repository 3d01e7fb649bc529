"""open and its family: a virtual file becomes a descriptor of the process."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from vfs.api import fail
from vfs.view.calls.names import redirect, redirect_unwatched
from vfs.view.calls.table import CallTable
from vfs.view.dentry import DIRECTORY, LINK, Dentry
from vfs.view.kernel import structs
from vfs.view.kernel.abi import AT_FDCWD, RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.kernel.structs import signed
from vfs.view.names import Elsewhere
from vfs.view.tables import open_table

if TYPE_CHECKING:
    from vfs.view.view import View

PAGE = 4096
O_TMPFILE = os.O_TMPFILE & ~os.O_DIRECTORY


def install(table: CallTable, view: View) -> None:
    calls = Opening(view)
    table.always(lambda call: calls.open(call, None, 0, call.args[1]), "open")
    table.always(lambda call: calls.open(call, None, 0, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), "creat")
    table.always(lambda call: calls.open(call, 0, 1, call.args[2]), "openat")
    table.always(calls.openat2, "openat2")


class Opening:
    def __init__(self, view: View) -> None:
        self.view = view

    def openat2(self, call: Call) -> int:
        flags, _, resolve = structs.unpack_open_how(call.read(call.args[2], min(call.args[3], PAGE)))
        return self.open(call, 0, 1, flags, resolve)

    def open(self, call: Call, dirfd: int | None, path: int, flags: int, resolve: int = 0) -> int:
        """All of them: *dirfd* and *path* are argument numbers, *flags* and *resolve* as openat2(2) has them."""
        view = self.view
        if not view.mounts.mounts:
            return CONTINUE
        directory = AT_FDCWD if dirfd is None else signed(call.args[dirfd])
        name = call.string(path)
        follow = not (flags & os.O_NOFOLLOW or (flags & os.O_CREAT and flags & os.O_EXCL))
        try:
            place = view.names.search(call, directory, name, follow)
        except Elsewhere as elsewhere:
            send = redirect if opens_at_once(elsewhere.path) else redirect_unwatched
            return send(view, call, path, dirfd, elsewhere.path)
        except OSError as error:
            if error.errno == errno.ENOENT and flags & os.O_CREAT and view.names.parent_of(call, directory, name):
                fail(errno.EROFS)
            raise
        if not isinstance(place, Dentry):
            return open_table(view, call, place, flags) if place else CONTINUE
        if resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV):
            self.check_resolve(call, directory, name, place, resolve)
        self.check(place, flags)
        special = self.special(place) if not flags & os.O_PATH else None
        if special is not None:
            return redirect_unwatched(view, call, path, dirfd, special)
        return view.files.open(call, place, flags)

    def check(self, dentry: Dentry, flags: int) -> None:
        """What open(2) refuses. EEXIST, ELOOP, EISDIR, ENOTDIR, EROFS."""
        if flags & os.O_CREAT and flags & os.O_EXCL:
            fail(errno.EEXIST)
        if dentry.kind == LINK and not flags & os.O_PATH:
            fail(errno.ELOOP)
        if flags & os.O_DIRECTORY and dentry.kind != DIRECTORY:
            fail(errno.ENOTDIR)
        if flags & os.O_PATH:
            return
        writing = flags & (os.O_ACCMODE | os.O_TRUNC)
        if dentry.kind == DIRECTORY:
            if flags & O_TMPFILE:
                fail(errno.EROFS if flags & os.O_ACCMODE else errno.EINVAL)
            if writing or flags & os.O_CREAT:
                fail(errno.EISDIR)
        elif writing and stat.S_ISREG(dentry.kind) and dentry.mount.filesystem.read_only:
            fail(errno.EROFS)

    def check_resolve(self, call: Call, dirfd: int, name: bytes, found: Dentry, resolve: int) -> None:
        """openat2's RESOLVE_* for what ended in a mount. EXDEV, ELOOP."""
        start = self.view.tasks.place(call.tid, dirfd)
        if not isinstance(start, Dentry):
            fail(errno.EXDEV)  # from the host into a mount: a border was crossed
        if resolve & RESOLVE_NO_XDEV and start.mount is not found.mount:
            fail(errno.EXDEV)
        node: Dentry | None = found
        while node is not None and node.path != start.path:
            node = node.parent
        if resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT) and (node is None or name[:1] == b"/"):
            fail(errno.EXDEV)
        if resolve & RESOLVE_NO_SYMLINKS:
            plain = os.path.normpath(name) if b".." not in name.split(b"/") else None
            if plain is None or os.path.normpath(start.path + b"/" + plain) != found.path:
                fail(errno.ELOOP)

    def special(self, dentry: Dentry) -> bytes | None:
        """The host's name to open instead of a fifo or device; `None` for what we serve. ENXIO (a socket, no such device here),
        EACCES (nodev)."""
        if stat.S_ISFIFO(dentry.kind):
            return self.view.files.fifo(dentry)
        if stat.S_ISSOCK(dentry.kind):
            fail(errno.ENXIO)
        if stat.S_ISCHR(dentry.kind) or stat.S_ISBLK(dentry.kind):
            if dentry.mount.options.nodev:
                fail(errno.EACCES)
            return host_device(dentry.kind, dentry.stat().rdev)
        return None


def opens_at_once(path: bytes) -> bool:
    """Whether opening a host path cannot wait for anybody, as a fifo or a terminal may."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def host_device(kind: int, rdev: int) -> bytes:
    """The host's device node with these numbers. ENXIO: it has none."""
    group = "char" if stat.S_ISCHR(kind) else "block"
    try:
        with open(f"/sys/dev/{group}/{os.major(rdev)}:{os.minor(rdev)}/uevent") as lines:
            name = next(line[8:].strip() for line in lines if line.startswith("DEVNAME="))
        found = os.stat("/dev/" + name)
    except (OSError, StopIteration):
        fail(errno.ENXIO)
    if found.st_rdev != rdev or stat.S_IFMT(found.st_mode) != kind:
        fail(errno.ENXIO)
    return b"/dev/" + name.encode()
