"""Directories: find a name, list the entries. `directory.rst`.

A directory's blocks each hold whole entries, chained by their lengths. An indexed directory's inner blocks look like one empty
entry, so that listing reads every block alike; finding goes through the index (`htree`). What is damaged is told of, but not
at the cost of the rest: listing goes on behind it, and fails at its end.

Cookies are positions: that of the byte behind the entry, counted from the directory's begin. Inline directories count in the
bytes that the inode holds (`inlinedata.rst`, "Inline Directories").
"""

from __future__ import annotations

import errno
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from vfs.api import Entry, damaged, fail
from vfs.ext2 import casefold, features, fscrypt, htree, inline, layout
from vfs.ext2.fastcommit import Names
from vfs.ext2.layout import DirEntry

if TYPE_CHECKING:
    from vfs.ext2.inode import Ext2Node

_HEAD = DirEntry.pick("inode", "rec_len", "name_len", "file_type")
_DOTS = (b".", b"..")
_NO_TYPES = (0,) * 256

SCANNED_BLOCKS = 8
"""Directories up to this size are searched by their bytes even when they have an index: that is quicker than to hash a name."""

NAMED_BLOCKS, ASKED_BEFORE = 2, 8
"""Directories up to this size have all names kept, after so many searches."""

Piece = tuple[int, bytes]
"""Where a piece of a directory begins, and its bytes: a block, or one of the two parts of an inline directory."""


class Decoded(NamedTuple):
    """A piece's entries, and what was wrong with it."""

    entries: list[Entry]
    problem: str


def pieces(node: Ext2Node, start: int = 0) -> Iterator[Piece]:
    """A directory's pieces from the one that holds position *start* on; holes are left out, as Linux does."""
    filesystem = node.filesystem
    if node.flags & layout.FL_INLINE_DATA:
        # The parent's number, then entries to the end of i_block; more of them in the attribute.
        yield 4, node.block[4:]
        rest = inline.rest(node)
        if rest:
            yield layout.BLOCK_SIZE, rest
        return
    size = filesystem.block_size
    first = start // size
    for file_block, fs_block, length in node.map.runs(first, -(-node.size // size) - first):
        if fs_block is not None:
            for index in range(length):
                yield (file_block + index) * size, filesystem.block(fs_block + index, length - index)


def entries(node: Ext2Node, start: int) -> Iterator[Entry]:
    """The entries behind cookie *start*. EUCLEAN, after all that can be read: the first thing that is wrong."""
    start = max(0, start)
    changes = _changes(node)
    return _stored(node, start) if changes is None else changes.listed(node, _stored(node, start), start)


def _changes(node: Ext2Node) -> Names | None:
    """What the journal's fast commits changed in this directory."""
    fast = node.filesystem.fast_commits
    return fast.names.get(node.ino) if fast is not None else None


def _stored(node: Ext2Node, start: int) -> Iterator[Entry]:
    """The entries that the directory's own blocks hold."""
    shown = fscrypt.shower(node) if node.flags & layout.FL_ENCRYPTED else None
    known = node.filesystem.decoded
    problem = ""
    for base, raw in pieces(node, start):
        key = (node.ino, base)
        found = known.get(key)
        if found is None:
            found = decode(raw, base, node.filesystem.has_filetype, opaque=shown is not None)
            known.put(key, found)
        problem = problem or found.problem
        listed: Iterator[Entry] = iter(found.entries)
        if base < start:
            listed = (entry for entry in listed if entry.next > start)
        if shown is not None:
            listed = shown(listed, raw, base)
        yield from listed
    if problem:
        raise damaged(f"inode {node.ino}: directory {problem}")


def decode(raw: bytes, base: int, has_filetype: bool, opaque: bool = False) -> Decoded:
    """The entries of a piece that begins at *base*, without `.` and `..`. A chain that breaks hides what is behind it. Names that
    cannot be are left out, unless they are *opaque*: encrypted, of any bytes."""
    unpack, types, make = _HEAD.unpack_from, layout.DIRENT_TYPES if has_filetype else _NO_TYPES, tuple.__new__
    found: list[Entry] = []
    problem = ""
    position, end = 0, len(raw)
    last = end - layout.DIRENT_MIN
    while position <= last:
        ino, rec_len, name_len, kind = unpack(raw, position)
        if rec_len & 3 or not rec_len:
            rec_len = wide_rec_len(rec_len, end)
        following = position + rec_len
        if rec_len < layout.DIRENT_MIN or rec_len < 8 + name_len or following > end:
            problem = f"entry at {base + position}: rec_len {rec_len}, name_len {name_len}"
            break
        if ino:
            name = raw[position + 8 : position + 8 + name_len]
            if name_len > 2 or name not in _DOTS:
                found.append(make(Entry, (name, ino, types[kind], base + following)))
        position = following
    else:
        if position != end:
            problem = f"entry at {base + position}: too near to the block's end"
    if opaque:
        return Decoded(found, problem)
    # One look for all names: no name may have these bytes, or be empty.
    joined = b"".join([entry[0] for entry in found])
    if b"/" in joined or b"\0" in joined or not all(entry[0] for entry in found):
        bad = [entry for entry in found if not entry.name or b"/" in entry.name or b"\0" in entry.name]
        problem = problem or f"entry before {bad[0].next}: name {bad[0].name!r}"
        found = [entry for entry in found if entry not in bad]
    return Decoded(found, problem)


def wide_rec_len(rec_len: int, end: int) -> int:
    """The length that a stored rec_len means where blocks are 64 KiB: it has 16 bits, and the low 2 are bits 16 and 17. Elsewhere
    the number stays as wrong as it is: 0 or odd."""
    if end < 1 << 16:
        return rec_len if rec_len & 3 == 0 else 1
    return end if rec_len in (0, 0xFFFF) else rec_len & 0xFFFC | (rec_len & 3) << 16


# ---------------------------------------------------------------- finding


def find(node: Ext2Node, name: bytes) -> int:
    """The inode number of the entry called *name*. ENOENT; EUCLEAN: it may be in a part that is damaged."""
    changes = _changes(node)
    if changes is not None and (changes.parent or name in changes.changed):
        return changes.changed.get(name) or fail(errno.ENOENT)
    if node.flags & layout.FL_ENCRYPTED:
        wanted = fscrypt.stored(name)
        if wanted is None:
            fail(errno.ENOENT)
        return _find(node, wanted.prefix, lambda: wanted.hash, wanted.among if wanted.digest else None)
    known = _names(node)
    if known is not None and name in known:
        return known[name]
    if node.flags & layout.FL_CASEFOLD and node.filesystem.geometry.incompat & features.CASEFOLD:
        return _find_folded(node, name)
    if known is not None:
        fail(errno.ENOENT)
    return _find(node, name, lambda: htree.hash_name(node, name))


def _names(node: Ext2Node) -> dict[bytes, int] | None:
    """All names of a small directory that is asked often, or `None`. To decode a block costs as much as some ten searches of it,
    so a directory must have been asked a few times before; and it must be whole, since names cannot tell what was not read."""
    if node.size > NAMED_BLOCKS * node.filesystem.block_size:
        return None
    cache = node.filesystem.names
    known = cache.get(node.ino) or 0
    if isinstance(known, dict):
        return known
    cache.put(node.ino, known + 1)
    if known != ASKED_BEFORE:
        return None
    try:
        # The first of two equal names counts, as in a search.
        names = {entry.name: entry.ino for entry in reversed(list(entries(node, 0)))}
    except OSError:
        return None
    cache.put(node.ino, names)
    return names


Among = Callable[[bytes], int]
"""Finds an entry in a piece by something else than its exact name: the inode number, 0 for none."""


def _find(node: Ext2Node, name: bytes, name_hash: Callable[[], int | None], among: Among | None = None) -> int:
    """*name_hash* is asked only where there is an index worth using."""
    if node.flags & layout.FL_INDEX and node.size > SCANNED_BLOCKS * node.filesystem.block_size:
        try:
            for raw in htree.leaves(node, name_hash()):
                ino = among(raw) if among else search(raw, name)
                if ino > 0:
                    return ino
                if ino < 0:
                    raise damaged(f"inode {node.ino}: a damaged block may hold {name!r}")
            fail(errno.ENOENT)
        except OSError as error:
            # A damaged index: the entries are there all the same.
            if error.errno == errno.ENOENT:
                raise
    uncertain = False
    for _, raw in pieces(node):
        ino = among(raw) if among else search(raw, name)
        if ino > 0:
            return ino
        uncertain = uncertain or ino < 0
    if uncertain:
        raise damaged(f"inode {node.ino}: a damaged block may hold {name!r}")
    fail(errno.ENOENT)


def search(raw: bytes, name: bytes) -> int:
    """The inode number of an entry of this exact name in one piece; 0: none; -1: perhaps, behind a break of the chain.

    The bytes are searched for the name, which the interpreter does at memory speed; where they are found, the chain is walked
    to see whether an entry begins 8 bytes before: it may be part of a longer name, or a deleted entry.
    """
    position = raw.find(name, 8)
    if position < 0:
        return 0
    length = len(name)
    end = len(raw)
    words = _words(raw)
    chain = 0  # in words of 16 bits: where the last entry walked to begins
    while position >= 0:
        head = position - 8
        if raw[position - 2] == length and not head & 3:
            target = head >> 1
            while chain < target:
                step = words[chain + 2] >> 1
                if step < layout.DIRENT_MIN >> 1:
                    if step or end < 1 << 16:
                        return -1
                    step = end >> 1  # 0 is 64 KiB
                chain += step
            if chain == target:
                ino: int = _HEAD.unpack_from(raw, head)[0]
                if ino and position + length <= end:
                    return ino
        position = raw.find(name, position + 1)
    return 0


def _words(raw: bytes) -> Sequence[int]:
    """A piece as numbers of 16 bits: the rec_len of an entry is the third from its begin."""
    if sys.byteorder == "little":
        return memoryview(raw)[: len(raw) & ~1].cast("H")
    return struct.unpack(f"<{len(raw) // 2}H", raw[: len(raw) & ~1])


def _find_folded(node: Ext2Node, name: bytes) -> int:
    """Find regardless of case: by the exact name, which is what most ask for, then by the folded one."""
    folded = casefold.fold(name)
    if folded is None:
        # Not UTF-8: bytes like any others, unless the file system allows none such.
        if node.filesystem.superblock.encoding_flags & layout.ENCODING_STRICT:
            fail(errno.EINVAL, f"name {name!r} is not UTF-8, and this directory wants it")
        return _find(node, name, lambda: htree.hash_name(node, name))

    def among(raw: bytes) -> int:
        ino = search(raw, name)
        if ino:
            return ino
        for entry in decode(raw, 0, False).entries:
            if casefold.fold(entry.name) == folded:
                return entry.ino
        return 0

    try:
        return _find(node, name, lambda: htree.hash_name(node, folded), among)
    except OSError as error:
        # Where our Unicode tables and those of the writer disagree the hash leads to another place.
        if error.errno != errno.ENOENT or folded.isascii():
            raise
    return _find(node, name, lambda: None, among)


def parent(node: Ext2Node) -> int:
    """The number of the directory above, as the second entry tells. EUCLEAN."""
    changes = _changes(node)
    if changes is not None and changes.parent:
        return changes.parent
    if node.flags & layout.FL_INLINE_DATA:
        return int.from_bytes(node.block[:4], "little")
    for base, raw in pieces(node):
        if base == 0:
            first_len = raw[4] | raw[5] << 8
            if first_len == layout.DIRENT_MIN and raw[first_len + 6] == 2 and raw[first_len + 8 : first_len + 10] == b"..":
                ino: int = _HEAD.unpack_from(raw, first_len)[0]
                return ino
        break
    raise damaged(f"inode {node.ino}: a directory that does not begin with . and ..")
