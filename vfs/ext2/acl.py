"""POSIX ACLs: the form on disk, and the form that getxattr(2) gives. `attributes.rst`, "POSIX ACLs".

On disk (version 1) only entries for a named user or group have an id; to a program (version 2) all do, -1 for none.
"""

from __future__ import annotations

import struct

from vfs.api import acl, damaged

_VERSION = struct.Struct("<I")
_SHORT = struct.Struct("<HH")  # tag, permissions
_LONG = struct.Struct("<HHI")  # with an id
_STORED = 1
_NAMED = (acl.USER, acl.GROUP)
_UNNAMED = (acl.USER_OBJ, acl.GROUP_OBJ, acl.MASK, acl.OTHER)


def as_xattr(stored: bytes, where: str) -> bytes:
    """The form for a program. EUCLEAN; *where* names the ACL."""
    if len(stored) < _VERSION.size or _VERSION.unpack_from(stored)[0] != _STORED:
        raise damaged(f"{where}: not of version {_STORED}")
    shown = [_VERSION.pack(acl.VERSION)]
    position = _VERSION.size
    while position < len(stored):
        if position + _SHORT.size > len(stored):
            raise damaged(f"{where}: ends inside an entry")
        tag, permissions = _SHORT.unpack_from(stored, position)
        if tag in _NAMED:
            if position + _LONG.size > len(stored):
                raise damaged(f"{where}: ends inside an entry")
            shown.append(stored[position : position + _LONG.size])
            position += _LONG.size
        elif tag in _UNNAMED:
            shown.append(_LONG.pack(tag, permissions, acl.NO_ID))
            position += _SHORT.size
        else:
            raise damaged(f"{where}: entry with tag {tag:#x}")
    return b"".join(shown)
