"""The descriptor: the text that says what a disk is made of, in a file of its own or inside its only extent.

Lines are `name=value`, `name = "value"`, an extent (`RW 4192256 SPARSE "disk-s001.vmdk"`), comments and empty ones; they end
with LF or CRLF, and NULs fill the room that an embedded one does not need. The text is kept as the bytes that it is, so that a
change of one value leaves everything else alone.

Specification: VMware, "Virtual Disk Format 5.0", "The Descriptor File".
"""

from __future__ import annotations

import errno
import os
import re
from typing import NamedTuple

from vfs.api import damaged, fail

LIMIT = 4 << 20
"""Bytes. A disk of 64 TiB in extents of 2 GiB, the largest that there can be, has 2 MiB."""
NO_PARENT = 0xFFFFFFFF
"""parentCID of a disk that has none."""

_HEADING = re.compile(rb"\s*#\s*disk\s+descriptor\s*file\b", re.IGNORECASE)
_VALUE = re.compile(rb"""^[ \t]*([A-Za-z][\w.]*)[ \t]*=[ \t]*(?:"([^"\r\n]*)"|([^"\s]*))[ \t]*\r?$""", re.MULTILINE)
_EXTENT = re.compile(
    rb"""^[ \t]*(RW|RDONLY|NOACCESS)[ \t]+(\d{1,20})[ \t]+(\w+)(?:[ \t]+"([^"\r\n]*)"(?:[ \t]+(\d{1,20}))?)?(?=[ \t\r\n]|$)""",
    re.MULTILINE | re.IGNORECASE,
)

# What VMware's products and those that imitate them write, and Python's name for it.
_ENCODINGS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "ascii",
    "ascii": "ascii",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "windows-31j": "cp932",
    "windows-932": "cp932",
    "gbk": "gbk",
    "gb2312": "gb2312",
    "gb18030": "gb18030",
    "windows-936": "gbk",
    "big5": "cp950",
    "windows-950": "cp950",
    "euc-kr": "euc_kr",
    "windows-949": "cp949",
    "euc-jp": "euc_jp",
    "koi8-r": "koi8_r",
    "windows-874": "cp874",
    **{f"windows-{page}": f"cp{page}" for page in range(1250, 1259)},
    **{f"iso-8859-{part}": f"iso8859-{part}" for part in range(1, 17) if part != 12},
}


class ExtentLine(NamedTuple):
    """One extent: *access* is `RW`, `RDONLY` or `NOACCESS`, *kind* as `SPARSE`, both in capitals; *sectors* long; *name* of the
    file as the descriptor spells it, `None` where there is none; *offset* in the file, sectors."""

    access: str
    sectors: int
    kind: str
    name: bytes | None
    offset: int


def is_descriptor(head: bytes) -> bool:
    """Whether a file that begins like this is a descriptor: comments and empty lines, then `version=` or the usual heading."""
    head = head.removeprefix(b"\xef\xbb\xbf")
    if _HEADING.match(head):
        return True
    for line in head.split(b"\n")[:64]:
        text = line.strip()
        if text and not text.startswith(b"#"):
            return re.match(rb"version[ \t]*=[ \t]*[123]$", text, re.IGNORECASE) is not None
    return False


class Descriptor:
    """A parsed descriptor. *text* is what is on disk, without the NULs that fill it up."""

    def __init__(self, text: bytes) -> None:
        self.text = text.partition(b"\0")[0]
        self._spans: dict[bytes, tuple[int, int]] = {}
        for match in _VALUE.finditer(self.text):
            group = 2 if match[2] is not None else 3
            self._spans.setdefault(match[1].lower(), match.span(group))
        found = []
        for match in _EXTENT.finditer(self.text):
            access, sectors, kind, name, offset = match.groups()
            found.append(ExtentLine(access.decode().upper(), int(sectors), kind.decode().upper(), name, int(offset or 0)))
        self.extents = found

    def value(self, name: str) -> bytes | None:
        """The value of the first line of that name, whatever its case."""
        span = self._spans.get(name.lower().encode())
        return self.text[span[0] : span[1]] if span else None

    def content_id(self, name: str) -> int | None:
        """`CID` or `parentCID`. EUCLEAN: no hexadecimal number of 32 bits."""
        value = self.value(name)
        if value is None:
            return None
        if not re.fullmatch(rb"(0[xX])?[0-9a-fA-F]{1,8}", value):
            raise damaged(f"descriptor: {name} is '{value[:40].decode(errors='replace')}', no hexadecimal number of 32 bits")
        return int(value, 16)

    @property
    def kind(self) -> str:
        """createType."""
        return (self.value("createType") or b"").decode(errors="replace")

    def parent_name(self) -> bytes | None:
        """parentFileNameHint as it is spelled, `None` for a disk without a parent."""
        if self.content_id("parentCID") in (None, NO_PARENT):
            return None
        return self.value("parentFileNameHint") or b""

    def names(self, name: bytes) -> list[bytes]:
        """What a name in this text may be called on this host: decoded as the text says and encoded as Linux has it, else as it
        is. EINVAL: an encoding that nobody knows, for a name that needs one."""
        if name.isascii():
            return [name]
        encoding = (self.value("encoding") or b"utf-8").decode(errors="replace")
        codec = _ENCODINGS.get(encoding.lower())
        if codec is None:
            fail(errno.EINVAL, f"descriptor: encoding '{encoding[:40]}' is not known, and the name of a file needs it")
        try:
            decoded = name.decode(codec).encode()
        except UnicodeError:
            return [name]
        return [decoded] if decoded == name else [decoded, name]

    def renewed(self, content_id: int) -> bytes:
        """The text with another CID, and a `ddb.longContentID` that ends with it where there is one."""
        text = self.text
        changes = {"cid": b"%08x" % content_id, "ddb.longcontentid": os.urandom(12).hex().encode() + b"%08x" % content_id}
        spans = sorted(((self._spans[name.encode()], value) for name, value in changes.items() if name.encode() in self._spans))
        for (start, end), value in reversed(spans):
            text = text[:start] + value + text[end:]
        return text


def new_content_id() -> int:
    """A CID: any but the two that have a meaning."""
    return 1 + int.from_bytes(os.urandom(8)) % (NO_PARENT - 2)


def compose(
    kind: str, extents: list[str], fields: dict[str, str], content_id: int, parent: tuple[int, str] | None = None
) -> bytes:
    """The text of a new descriptor. *extents* are its lines, *fields* those of the disk data base, *parent* its CID and name."""
    lines = [
        "# Disk DescriptorFile",
        "version=1",
        'encoding="UTF-8"',
        f"CID={content_id:08x}",
        f"parentCID={parent[0] if parent else NO_PARENT:08x}",
        f'createType="{kind}"',
        *([f'parentFileNameHint="{parent[1]}"'] if parent else []),
        "",
        "# Extent description",
        *extents,
        "",
        "# The Disk Data Base",
        "#DDB",
        "",
        *(f'{name} = "{value}"' for name, value in fields.items()),
    ]
    return "\n".join(lines).encode(errors="surrogateescape") + b"\n"
