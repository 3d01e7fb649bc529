"""Extended attributes: which there may be, what they may hold, and ACLs in step with the mode.

xattr(7); Linux, `fs/xattr.c` and `fs/posix_acl.c`. Whether the caller may is the front end's question.
"""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING, Final

from vfs.api import acl, fail

if TYPE_CHECKING:
    from vfs.ramfs.node import RamNode

NAMESPACES: Final = (b"user.", b"trusted.", b"security.")
NAME_MAX: Final = 255
VALUE_MAX: Final = 65536
LIST_MAX: Final = 65536
"""Bytes of names, each with its NUL, that listxattr(2) can tell."""
CREATE, REPLACE = 1, 2
"""XATTR_CREATE, XATTR_REPLACE."""

ROOM: Final = 4096
"""Bytes of attributes that an inode has for nothing, and the unit in which more of them count as pages."""


def get(node: RamNode, name: bytes) -> bytes:
    """The value. ENODATA; EOPNOTSUPP: no such namespace."""
    held = node.attributes
    if held is not None and name in held:
        return held[name]
    _check(node, name)
    fail(errno.ENODATA)


def put(node: RamNode, name: bytes, value: bytes, flags: int) -> None:
    """Set one attribute. The lock is held."""
    held = node.attributes if node.attributes is not None else {}
    if flags & ~(CREATE | REPLACE):
        fail(errno.EINVAL)
    if len(value) > VALUE_MAX:
        fail(errno.E2BIG)
    _check(node, name)
    _check_user(node, name)
    if name == acl.ACCESS:
        _put_access(node, acl.unpack(value))
        return
    if name == acl.DEFAULT:
        entries = acl.unpack(value)
        if not entries:
            _drop(node, name)
            return
        if not stat.S_ISDIR(node.mode):
            fail(errno.EACCES)
        value = acl.pack(entries)
    elif flags & CREATE and name in held:
        fail(errno.EEXIST)
    elif flags & REPLACE and name not in held:
        fail(errno.ENODATA)
    _store(node, name, value)


def remove(node: RamNode, name: bytes) -> None:
    """Remove one attribute; an ACL that is not there can be removed, as in Linux. ENODATA. The lock is held."""
    _check(node, name)
    _check_user(node, name)
    if not _drop(node, name) and name not in (acl.ACCESS, acl.DEFAULT):
        fail(errno.ENODATA)


def follow_mode(node: RamNode) -> None:
    """The mode was set: take it into the access ACL."""
    if node.attributes and acl.ACCESS in node.attributes:
        entries = acl.unpack(node.attributes[acl.ACCESS])
        node.attributes[acl.ACCESS] = acl.pack(acl.with_permissions(entries, node.mode))


def inherit(node: RamNode, default: bytes) -> None:
    """A node just made in a directory with this default ACL."""
    if stat.S_ISLNK(node.mode):
        return
    entries, node.mode = acl.inherited(acl.unpack(default), node.mode)
    if not acl.is_only_mode(entries):
        _store(node, acl.ACCESS, acl.pack(entries))
    if stat.S_ISDIR(node.mode):
        _store(node, acl.DEFAULT, default)


def _check(node: RamNode, name: bytes) -> None:
    """EOPNOTSUPP: no such namespace, or no ACL of a link; ERANGE: the name is too long; EINVAL: it is only a namespace."""
    if len(name) > NAME_MAX:
        fail(errno.ERANGE)
    if name in (acl.ACCESS, acl.DEFAULT):
        if stat.S_ISLNK(node.mode):
            fail(errno.EOPNOTSUPP)
        return
    for namespace in NAMESPACES:
        if name.startswith(namespace):
            if len(name) == len(namespace):
                fail(errno.EINVAL)
            return
    fail(errno.EOPNOTSUPP)


def _check_user(node: RamNode, name: bytes) -> None:
    """EPERM: only files and directories can be given attributes of users."""
    if name.startswith(b"user.") and not (stat.S_ISREG(node.mode) or stat.S_ISDIR(node.mode)):
        fail(errno.EPERM)


def _put_access(node: RamNode, entries: acl.Acl) -> None:
    """Set the access ACL: the mode follows, and an ACL that says no more than the mode is not kept."""
    if entries:
        node.mode = node.mode & ~0o777 | acl.permissions(entries)
    if not entries or acl.is_only_mode(entries):
        _drop(node, acl.ACCESS)
    else:
        _store(node, acl.ACCESS, acl.pack(entries))


def _store(node: RamNode, name: bytes, value: bytes) -> None:
    """Keep it and account for it. ENOSPC."""
    held = node.attributes or {}
    if name not in held and sum(map(len, held)) + len(held) + len(name) >= LIST_MAX:
        fail(errno.ENOSPC)
    before, after = _pages(held), _pages({**held, name: value})
    if after > before and node.filesystem.free() < after - before:
        fail(errno.ENOSPC)
    node.charge(after - before)
    if node.attributes is None:
        node.attributes = {}
    node.attributes[name] = value


def _drop(node: RamNode, name: bytes) -> bool:
    """Forget it; whether it was there."""
    held = node.attributes
    if held is None or name not in held:
        return False
    before = _pages(held)
    del held[name]
    node.charge(_pages(held) - before)
    if not held:
        node.attributes = None
    return True


def _pages(held: dict[bytes, bytes]) -> int:
    return sum(len(name) + len(value) for name, value in held.items()) // ROOM
