"""Encrypted names, as Linux shows them without the key. `Documentation/filesystems/fscrypt.rst`, "Without the key".

A shown name is base64url of struct fscrypt_nokey_name: the directory's hash of the stored name (two numbers), then the stored
name, cut after 149 bytes and followed by the SHA-256 of the rest where it is longer. From a shown name the stored one can be
found again.
"""

from __future__ import annotations

import struct
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from vfs.api import Entry, damaged
from vfs.ext2 import features, htree, layout
from vfs.ext2.dirhash import dirhash
from vfs.ext2.layout import DirEntry

if TYPE_CHECKING:
    from vfs.ext2.inode import Ext2Node


def _sha256(content: bytes) -> bytes:
    # Imported here: it loads OpenSSL, 7 ms that only long encrypted names are worth.
    import hashlib

    return hashlib.sha256(content).digest()


_HASHES = struct.Struct("<II")
_HEAD = DirEntry.pick("inode", "rec_len", "name_len", "file_type")
KEPT = 149
"""Bytes of a stored name that are shown as they are."""
_TO_URL, _FROM_URL = bytes.maketrans(b"+/", b"-_"), bytes.maketrans(b"-_", b"+/")
MINIMUM = 16
"""Stored names are padded to the cipher's block."""


def shown(name: bytes, major: int, minor: int) -> bytes:
    """The name to show for a stored one of these hashes."""
    content = _HASHES.pack(major, minor) + name[:KEPT]
    if len(name) > KEPT:
        content += _sha256(name[KEPT:])
    return _encode(content)


def _encode(content: bytes) -> bytes:
    return b2a_base64(content, newline=False).rstrip(b"=").translate(_TO_URL)


class Stored(NamedTuple):
    """What a shown name tells of the stored one: all of it or, with the *digest* of the rest, its first bytes."""

    hash: int | None
    prefix: bytes
    digest: bytes

    def among(self, raw: bytes) -> int:
        """The inode number of the entry meant, in a piece of a directory; 0: none."""
        position, end = 0, len(raw)
        while position + layout.DIRENT_MIN <= end:
            ino, rec_len, name_len, _ = _HEAD.unpack_from(raw, position)
            name = raw[position + 8 : position + 8 + name_len]
            if ino and name.startswith(self.prefix) and _sha256(name[KEPT:]) == self.digest:
                return int(ino)
            if rec_len < layout.DIRENT_MIN:
                return 0
            position += rec_len
        return 0


def stored(name: bytes) -> Stored | None:
    """What to look for when a shown name is looked up; `None`: no name is shown so."""
    try:
        content = a2b_base64(name.translate(_FROM_URL) + b"=" * (-len(name) % 4))
    except ValueError:
        return None
    if not _HASHES.size < len(content) <= _HASHES.size + KEPT + 32 or _encode(content) != name:
        return None
    kept = content[_HASHES.size : _HASHES.size + KEPT]
    return Stored(_HASHES.unpack_from(content)[0], kept, content[_HASHES.size + KEPT :])


Shower = Callable[[Iterator[Entry], bytes, int], Iterator[Entry]]


def shower(node: Ext2Node) -> Shower:
    """What turns stored entries of this directory, of a piece and its position, into those to show.

    Linux tells the hash where it lists a directory in the order of hashes: indexed ones, and those of one block. With casefold
    the hash wants a key and so stands in the entry, behind the name.
    """
    filesystem = node.filesystem
    in_entry = bool(node.flags & layout.FL_CASEFOLD)
    hashed = bool(filesystem.geometry.compat & features.DIR_INDEX) and (
        bool(node.flags & (layout.FL_INDEX | layout.FL_INLINE_DATA)) or node.size // filesystem.block_size == 1
    )
    version = -1
    if hashed and not in_entry:
        try:
            version = htree.hash_version(node)
        except OSError:  # A damaged index is not used for finding either.
            hashed = False
    seed = filesystem.superblock.hash_seed

    def show(listed: Iterator[Entry], raw: bytes, base: int) -> Iterator[Entry]:
        position = 0
        for entry in listed:
            if len(entry.name) < MINIMUM:
                raise damaged(f"inode {node.ino}: encrypted name of {len(entry.name)} bytes, at least {MINIMUM}")
            major, minor = 0, 0
            if in_entry:
                # Behind the name, padded to 4.
                position = raw.index(entry.name, position)
                place = position + (len(entry.name) + 3 & ~3)
                if place + _HASHES.size <= entry.next - base:
                    major, minor = _HASHES.unpack_from(raw, place)
            elif hashed:
                major, minor = dirhash(version, entry.name, seed) or (0, 0)
            yield entry._replace(name=shown(entry.name, major, minor))

    return show


def shown_target(content: bytes, ino: int) -> bytes:
    """The target to show for an encrypted link, stored with its length before it. EUCLEAN."""
    length = int.from_bytes(content[:2], "little")
    if length < MINIMUM or length + 2 > len(content):
        raise damaged(f"inode {ino}: encrypted target of {length} bytes in a link of {len(content)}")
    return shown(content[2 : 2 + length], 0, 0)
