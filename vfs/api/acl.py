"""POSIX access control lists, as getxattr(2) shows them in `system.posix_acl_access` and `system.posix_acl_default`.

For file systems that keep them. Linux, `include/uapi/linux/posix_acl_xattr.h` and `fs/posix_acl.c`; the rules are those of
POSIX 1003.1e draft 17 (acl(5)): a header of 4 bytes, the version 2, then 8 bytes an entry: tag, permissions, id.
"""

from __future__ import annotations

import errno
import struct
from typing import Final, NamedTuple

from vfs.api.errors import fail

ACCESS: Final = b"system.posix_acl_access"
DEFAULT: Final = b"system.posix_acl_default"

VERSION: Final = 2
NO_ID: Final = 0xFFFFFFFF
"""The id of entries that name nobody."""

USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_ORDER: Final = (USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER)
_NAMED: Final = (USER, GROUP)

_HEADER = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")


class AclEntry(NamedTuple):
    """*tag* is one of the constants above, *permissions* 0 to 7, *id* of a user or group where the tag names one."""

    tag: int
    permissions: int
    id: int = NO_ID


Acl = list[AclEntry]


def unpack(value: bytes) -> Acl:
    """The entries of an attribute's value, empty when it holds none. EOPNOTSUPP: another version; EINVAL: not an ACL."""
    if len(value) < _HEADER.size or (len(value) - _HEADER.size) % _ENTRY.size:
        fail(errno.EINVAL)
    if _HEADER.unpack_from(value)[0] != VERSION:
        fail(errno.EOPNOTSUPP)
    acl = [AclEntry(*fields) for fields in _ENTRY.iter_unpack(value[_HEADER.size :])]
    if acl and not _is_valid(acl):
        fail(errno.EINVAL)
    return [entry if entry.tag in _NAMED else entry._replace(id=NO_ID) for entry in acl]


def _is_valid(acl: Acl) -> bool:
    """Whether the entries are complete and in order: each of the unnamed once, a mask where somebody is named."""
    tags = [entry.tag for entry in acl]
    if any(tag not in _ORDER for tag in tags) or tags != sorted(tags, key=_ORDER.index):
        return False
    if any(entry.permissions > 7 or (entry.tag in _NAMED and entry.id == NO_ID) for entry in acl):
        return False
    named = USER in tags or GROUP in tags
    return all(tags.count(tag) == 1 for tag in (USER_OBJ, GROUP_OBJ, OTHER)) and named <= tags.count(MASK) <= 1


def pack(acl: Acl) -> bytes:
    """The attribute's value."""
    return _HEADER.pack(VERSION) + b"".join(_ENTRY.pack(*entry) for entry in acl)


def is_only_mode(acl: Acl) -> bool:
    """Whether the permission bits say all that the ACL says, so that it need not be kept."""
    return all(entry.tag in (USER_OBJ, GROUP_OBJ, OTHER) for entry in acl)


def permissions(acl: Acl) -> int:
    """The nine permission bits that a file with this access ACL shows: the group's are the mask's where there is one."""
    of = {entry.tag: entry.permissions for entry in acl if entry.tag not in _NAMED}
    return of[USER_OBJ] << 6 | of.get(MASK, of[GROUP_OBJ]) << 3 | of[OTHER]


def with_permissions(acl: Acl, mode: int) -> Acl:
    """The access ACL after chmod(2) to *mode*."""
    group = MASK if any(entry.tag == MASK for entry in acl) else GROUP_OBJ
    new = {USER_OBJ: mode >> 6 & 7, group: mode >> 3 & 7, OTHER: mode & 7}
    return [entry._replace(permissions=new.get(entry.tag, entry.permissions)) for entry in acl]


def inherited(default: Acl, mode: int) -> tuple[Acl, int]:
    """What is made with *mode* in a directory with this default ACL: its access ACL, and its mode (type bits stay)."""
    group = MASK if any(entry.tag == MASK for entry in default) else GROUP_OBJ
    limit = {USER_OBJ: mode >> 6 & 7, group: mode >> 3 & 7, OTHER: mode & 7}
    acl = [entry._replace(permissions=entry.permissions & limit.get(entry.tag, 7)) for entry in default]
    return acl, mode & ~0o777 | permissions(acl)
