"""Names, types, times and records, as people and programs see them.

Names are bytes and may hold anything but `/` and NUL. People get them with everything that could move a cursor, hide or
pretend written as an escape, as `ls -b` does; programs get JSON, with bytes that are not UTF-8 as lone surrogates
(Python's `os.fsencode` turns them back).
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vfs.api.node import Node, Stat

TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
ESCAPES = {"\\": "\\\\", "\a": "\\a", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\v": "\\v", "\f": "\\f", "\r": "\\r"}


def text(name: bytes) -> str:
    """A name as Python text, reversibly: bytes that are not UTF-8 become lone surrogates, whatever the locale."""
    return name.decode("utf-8", "surrogateescape")


def shown(name: bytes | str) -> str:
    """A name, target or label for a person: safe on a terminal, one line, and unambiguous."""
    readable = name if isinstance(name, str) else text(name)
    if readable.isprintable() and "\\" not in readable:
        return readable
    return "".join(map(_escape, readable))


def _escape(character: str) -> str:
    if character in ESCAPES:
        return ESCAPES[character]
    code = ord(character)
    if character.isprintable():
        return character
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def complaint(error: OSError) -> str:
    """The line that tells of an error: what failed, and why."""
    from vfs.api.errors import message

    where = f"{shown(os.fsencode(error.filename))}: " if isinstance(error.filename, (str, bytes)) else ""
    return f"vfs: {where}{shown(message(error))}"


def type_name(mode: int) -> str:
    return TYPES.get(stat.S_IFMT(mode), "unknown")


def permissions(mode: int) -> str:
    """The permission bits with set-uid, set-gid and sticky: octal text."""
    return f"{stat.S_IMODE(mode):04o}"


def record(path: bytes, node: Node, found: Stat) -> dict[str, Any]:
    """What `--json` prints of a file; *path* from the root of its file system."""
    fields: dict[str, Any] = {
        "path": text(path),
        "type": type_name(found.mode),
        "mode": permissions(found.mode),
        "uid": found.uid,
        "gid": found.gid,
        "size": found.size,
        "mtime": found.mtime / 10**9,
        "nlink": found.nlink,
        "ino": found.ino,
    }
    if found.is_symlink:
        fields["target"] = text(node.readlink())
    return fields


def print_json(fields: dict[str, Any]) -> None:
    """One object, on one line, in ASCII."""
    import json

    print(json.dumps(fields))


def device(rdev: int) -> str:
    return f"{os.major(rdev)}, {os.minor(rdev)}"


def minutes(nanoseconds: int) -> str:
    """A time to the minute, local."""
    return _moment(nanoseconds // 10**9, "%Y-%m-%d %H:%M")


def exactly(nanoseconds: int) -> str:
    """A time to the nanosecond, local, with its distance to UTC."""
    seconds, fraction = divmod(nanoseconds, 10**9)
    return _moment(seconds, f"%Y-%m-%d %H:%M:%S.{fraction:09d} %z")


def _moment(seconds: int, form: str) -> str:
    try:
        return time.strftime(form, time.localtime(seconds))
    except (OverflowError, ValueError, OSError):  # a year that the C library cannot write
        return f"@{seconds}"


def amount(count: int) -> str:
    """Bytes with a unit, three digits or so: 1.5M."""
    size = float(count)
    for unit in ("", "K", "M", "G", "T", "P"):
        if size < 1024:
            return f"{size:.1f}{unit}" if unit and size < 10 else f"{size:.0f}{unit}"
        size /= 1024
    return f"{size:.0f}E"
