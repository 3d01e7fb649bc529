"""Calls that ask about a name: stat and its family, access, readlink, statfs, extended attributes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from vfs.api import fail
from vfs.view.calls.names import Action, named, opened, redirect, refuse, unless
from vfs.view.calls.table import CallTable, Handler
from vfs.view.dentry import DIRECTORY, LINK, REGULAR, Dentry
from vfs.view.files import READY
from vfs.view.kernel import abi, structs
from vfs.view.kernel.abi import AT_FDCWD
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.kernel.structs import signed
from vfs.view.names import Elsewhere
from vfs.view.proc.links import link_text

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

STATX_ATTRIBUTES = (
    abi.STATX_ATTR_COMPRESSED
    | abi.STATX_ATTR_IMMUTABLE
    | abi.STATX_ATTR_APPEND
    | abi.STATX_ATTR_NODUMP
    | abi.STATX_ATTR_ENCRYPTED
    | abi.STATX_ATTR_MOUNT_ROOT
)
"""The attributes that a module may tell of."""

STAT_FLAGS = abi.AT_SYMLINK_NOFOLLOW | abi.AT_NO_AUTOMOUNT | abi.AT_EMPTY_PATH | abi.AT_STATX_FORCE_SYNC | abi.AT_STATX_DONT_SYNC
ACCESS_FLAGS = abi.AT_EACCESS | abi.AT_SYMLINK_NOFOLLOW | abi.AT_EMPTY_PATH
HANDLE_FLAGS = abi.AT_SYMLINK_FOLLOW | abi.AT_HANDLE_FID | abi.AT_EMPTY_PATH

STANDARD = (0, 1, 2)
"""Descriptors that are virtual when a shell redirects; stdio asks fstat once of each."""


def install(table: CallTable, supervisor: Supervisor) -> None:
    always, filter = table.always, table.filter
    always(named(supervisor, stat_to(1)), "stat")
    always(named(supervisor, stat_to(1), follow=False), "lstat")
    table.handle(named(supervisor, stat_to(2), 1, 0, flags=3, known=STAT_FLAGS), "newfstatat")
    filter.trap_empty_path("newfstatat", 3, READY, STANDARD)
    table.handle(unless(bad_statx, named(supervisor, statx, 1, 0, flags=2, known=STAT_FLAGS)), "statx")
    filter.trap_empty_path("statx", 2, READY, STANDARD)
    table.descriptors(opened(supervisor, stat_to(1)), READY, "fstat", also=STANDARD)

    really = supervisor.permissions.really
    always(unless(bad_mode(1), really(named(supervisor, access(supervisor, 1)))), "access")
    always(unless(bad_mode(2), really(named(supervisor, access(supervisor, 2), 1, 0))), "faccessat")
    accessible = named(supervisor, access(supervisor, 2), 1, 0, flags=3, known=ACCESS_FLAGS)
    always(unless(bad_mode(2), really(accessible, 3)), "faccessat2")
    always(readlink(supervisor, 0, None), "readlink")
    always(readlink(supervisor, 1, 0), "readlinkat")

    always(named(supervisor, statfs_by_name(supervisor)), "statfs")
    always(opened(supervisor, statfs_to(supervisor)), "fstatfs")

    get = getxattr(supervisor)
    always(named(supervisor, get), "getxattr")
    always(named(supervisor, get, follow=False), "lgetxattr")
    table.descriptors(opened(supervisor, get), READY, "fgetxattr")
    always(named(supervisor, listxattr), "listxattr")
    always(named(supervisor, listxattr, follow=False), "llistxattr")
    always(opened(supervisor, listxattr), "flistxattr")
    always(named(supervisor, refuse(errno.EOPNOTSUPP), 1, 0, flags=4, known=HANDLE_FLAGS), "name_to_handle_at")


def bad_mode(argument: int) -> Callable[[Call], bool]:
    return lambda call: bool(call.args[argument] & 0xFFFFFFF8)


def bad_statx(call: Call) -> bool:
    both = abi.AT_STATX_FORCE_SYNC | abi.AT_STATX_DONT_SYNC
    return bool(call.args[3] & abi.STATX_RESERVED) or call.args[2] & both == both


# -------------------------------------------------------------------- stat


def packed_stat(dentry: Dentry) -> bytes:
    """struct stat of a dentry, as this machine has it."""
    packed = dentry.packed_stat
    if packed is None:
        s = dentry.stat()
        packed = structs.pack_stat(
            *(s.real or (dentry.mount.device, s.ino)),
            s.mode,
            s.nlink,
            s.uid,
            s.gid,
            s.rdev,
            s.size,
            s.blksize,
            s.blocks,
            s.atime,
            s.mtime,
            s.ctime,
        )
        if dentry.mount.constant:
            dentry.packed_stat = packed
    return packed


def stat_to(argument: int) -> Action:
    """The stat family; *argument* is the number of the buffer's."""

    def action(call: Call, dentry: Dentry) -> int:
        call.write(call.args[argument], packed_stat(dentry))
        return 0

    return action


def statx(call: Call, dentry: Dentry) -> int:
    packed = dentry.packed_statx
    if packed is None:
        s = dentry.stat()
        packed = structs.pack_statx(
            abi.STATX_BASIC_STATS
            | (0 if dentry.mount.hidden else abi.STATX_MNT_ID)
            | (abi.STATX_BTIME if s.btime is not None else 0),
            *(s.real or (dentry.mount.device, s.ino)),
            s.mode,
            s.nlink,
            s.uid,
            s.gid,
            s.rdev,
            s.size,
            s.blksize,
            s.blocks,
            s.atime,
            s.mtime,
            s.ctime,
            s.btime or 0,
            s.attributes | (abi.STATX_ATTR_MOUNT_ROOT if dentry.parent is None and not dentry.mount.hidden else 0),
            STATX_ATTRIBUTES,
            dentry.mount.id,
        )
        if dentry.mount.constant:
            dentry.packed_statx = packed
    call.write(call.args[4], packed)
    return 0


def statfs_to(supervisor: Supervisor) -> Action:
    """statfs(2): what was written counts."""

    def action(call: Call, dentry: Dentry) -> int:
        supervisor.files.written.flush(dentry.mount.superblock)
        return statfs(call, dentry)

    return action


def statfs_by_name(supervisor: Supervisor) -> Action:
    """The same for a name."""
    action = statfs_to(supervisor)

    def by_name(call: Call, dentry: Dentry) -> int:
        if dentry.mount.hidden:  # it shows many file systems
            return redirect(supervisor, call, 0, None, dentry.node.host_path() or fail(errno.ENOENT))
        return action(call, dentry)

    return by_name


def statfs(call: Call, dentry: Dentry) -> int:
    f, options = dentry.mount.filesystem.statfs(), dentry.mount.options
    flags = abi.ST_VALID
    for given, bit in (
        (dentry.mount.read_only, abi.ST_RDONLY),
        (options.nosuid, abi.ST_NOSUID),
        (options.nodev, abi.ST_NODEV),
        (options.noexec, abi.ST_NOEXEC),
        (options.noatime, abi.ST_NOATIME),
    ):
        flags |= bit if given else 0
    identity = f.identity & 0xFFFFFFFF, f.identity >> 32
    size = f.block_size
    packed = structs.pack_statfs(
        f.type, size, f.blocks, f.free, f.available, f.files, f.files_free, identity, f.name_max, size, flags
    )
    call.write(call.args[1], packed)
    return 0


# -------------------------------------------------------------------- access


def access(supervisor: Supervisor, argument: int) -> Action:
    def action(call: Call, dentry: Dentry) -> int:
        want = call.args[argument] & 7
        permit(dentry, want)
        supervisor.permissions.demand(dentry, want)
        return 0

    return action


def permit(dentry: Dentry, want: int) -> None:
    """access(2) in omnipotent mode: the view's own permission bits are not enforced, so all may be done that the mount can do.
    EROFS; EACCES: no one may execute it."""
    if want & os.W_OK and dentry.mount.read_only and dentry.kind in (REGULAR, DIRECTORY, LINK):
        fail(errno.EROFS)
    path = dentry.node.host_path() if dentry.real and want else None
    if path is not None and not os.access(path, want, follow_symlinks=False):
        fail(errno.EACCES)  # what belongs to the host is opened by the host's permissions
    if want & os.X_OK and dentry.kind != DIRECTORY and (dentry.mount.options.noexec or not dentry.stat().mode & 0o111):
        fail(errno.EACCES)


# -------------------------------------------------------------------- readlink


def readlink(supervisor: Supervisor, path: int, dirfd: int | None) -> Handler:
    def handler(call: Call) -> int:
        if supervisor.view.mounts.idle:
            return CONTINUE
        size = signed(call.args[path + 2])
        if size <= 0:
            fail(errno.EINVAL)
        directory = AT_FDCWD if dirfd is None else signed(call.args[dirfd])
        name = call.string(path)
        if not name and dirfd is not None:  # the link that an O_PATH descriptor stands for
            placeholder = supervisor.files.of_descriptor(call.tid, directory)
            if placeholder is not None and placeholder.dentry.kind != LINK:
                fail(errno.ENOENT)
            place: Dentry | bytes | None = placeholder.dentry if placeholder else None
        else:
            try:
                place = supervisor.view.names.search(call, directory, name, follow=False)
            except Elsewhere as elsewhere:
                place = elsewhere.path
                if link_text(supervisor.view.names, call.tid, place) is None:
                    return redirect(supervisor, call, path, dirfd, place)
        text = target(supervisor, call.tid, place)
        if text is None:
            return CONTINUE
        text = text[:size]
        call.write(call.args[path + 1], text)
        return len(text)

    return handler


def target(supervisor: Supervisor, tid: int, place: Dentry | bytes | None) -> bytes | None:
    """What a link says; `None`: the kernel knows. EINVAL: it is none."""
    if isinstance(place, Dentry):
        return place.node.readlink() if place.kind == LINK else fail(errno.EINVAL)
    return link_text(supervisor.view.names, tid, place) if place is not None else None


# -------------------------------------------------------------------- extended attributes


NAMESPACES = (b"user.", b"trusted.", b"security.", b"system.")
"""Extended attributes are in one of these (xattr(7))."""


def answer_sized(call: Call, value: bytes, address: int, size: int) -> int:
    """The convention of getxattr and listxattr: size 0 asks for the length. ERANGE."""
    if size:
        if len(value) > size:
            fail(errno.ERANGE)
        call.write(address, value)
    return len(value)


def getxattr(supervisor: Supervisor) -> Action:
    def action(call: Call, dentry: Dentry) -> int:
        name = call.string(1)
        if not 0 < len(name) < 256:
            fail(errno.ERANGE)
        if not name.startswith(NAMESPACES):
            fail(errno.EOPNOTSUPP)
        supervisor.permissions.demand_attribute(dentry, name, writing=False)
        return answer_sized(call, dentry.node.getxattr(name), call.args[2], call.args[3])

    return action


def listxattr(call: Call, dentry: Dentry) -> int:
    names = b"".join(name + b"\0" for name in dentry.node.listxattr())
    return answer_sized(call, names, call.args[1], call.args[2])
