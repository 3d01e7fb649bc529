"""Nodes become a tar archive, written as a stream.

The format is pax (POSIX.1-2017, pax, "pax Interchange Format"): ustar headers, before each an extended header with what
ustar cannot say. tarfile makes the ustar blocks; the records of the extended headers are made here, since names and attribute
values are bytes, which tarfile would announce by `hdrcharset`, a keyword that GNU tar warns about. Beyond POSIX:

* extended attributes as `SCHILY.xattr.NAME` (star, GNU tar, bsdtar, Python);
* sparse files in GNU's format 1.0 (GNU tar manual, "Storing Sparse Files": the map stands before the data).
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile

from vfs.api.devicetree import is_repeated
from vfs.api.errors import damaged, fail
from vfs.api.node import Extent, Handle, Node, Stat
from vfs.api.walk import Found, walk_tree
from vfs.cli.hosttree import ATTRIBUTES, check_name
from vfs.cli.opening import Report
from vfs.cli.progress import Progress
from vfs.cli.transfer import SMALL, extent_to_stream, is_plain, stretches

BLOCK = 512
RECORD = 20 * BLOCK
"""An archive is a multiple of this long, as tar programs write it."""

TYPES = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}

LARGEST_ID = 0o7777777
LARGEST_NUMBER = 0o77777777777
"""What the fields of a ustar header hold: seven octal digits for an owner, eleven for a size or a time."""

GATHER = 256 << 10
"""Gathered bytes are written when there are this many."""


class TarStream:
    """Writes members to the descriptor *out*, which stays the caller's. `finish` ends the archive."""

    def __init__(self, out: int, report: Report, progress: Progress) -> None:
        self.report, self.progress = report, progress
        self._out = out
        self._gathered = bytearray()
        self._position = 0
        self._links: dict[tuple[int, int], tuple[bytes, int]] = {}  # identity -> (first name, further names to come)

    def add(self, source: bytes, node: Node, name: bytes) -> None:
        """*node*, which is at *source* in the image, as *name*, with all below it as `name/…`; b"." for the archive's root."""
        with self.report.about(source):
            found = node.stat()
            self._member(source, node, found, name)
            if found.is_directory:
                self._below(source, node, name)

    def _below(self, source: bytes, start: Node, name: bytes) -> None:
        """All below the directory *start*, which is there as *name*."""
        base = b"" if name == b"." else name + b"/"
        source = source.rstrip(b"/") + b"/"
        entered = False

        def enter(found: Found) -> bool:
            return entered

        for below in walk_tree(start, lambda path, error: self.report.failed(source + path, error), enter):
            origin, entered = source + below.path, False
            if is_repeated(below.node):
                continue
            with self.report.about(origin):
                check_name(below.entry.name)
                self._member(origin, below.node, below.node.stat(), base + below.path)
                entered = True

    def finish(self) -> None:
        """The end of the archive: two empty blocks at least, up to a whole record."""
        self._put(bytes(2 * BLOCK))
        self._put(bytes(-self._position % RECORD))
        self._flush()

    # ------------------------------------------------------------------------------------------------------ members

    def _member(self, source: bytes, node: Node, found: Stat, name: bytes) -> None:
        self.progress.start(source)
        kind = TYPES.get(stat.S_IFMT(found.mode))
        if kind is None:
            if not stat.S_ISSOCK(found.mode):
                raise damaged(f"its type is none ({found.mode:#o})")
            self.report.lose("sockets left out, which tar has no form for")
            return
        info = tarfile.TarInfo()
        info.type, info.mode = kind, stat.S_IMODE(found.mode)
        records = self._attributes(source, node)
        info.uid = _number(b"uid", found.uid, LARGEST_ID, records)
        info.gid = _number(b"gid", found.gid, LARGEST_ID, records)
        info.mtime = _time(b"mtime", found.mtime, records)
        info.name = _name(b"path", name + b"/" if found.is_directory else name, records)
        if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            info.devmajor, info.devminor = os.major(found.rdev), os.minor(found.rdev)
        if kind == tarfile.SYMTYPE:
            info.linkname = _name(b"linkpath", node.readlink(), records)
        start = self._position
        if first := self._first(node.identity, found, name):
            info.type = tarfile.LNKTYPE
            info.linkname = _name(b"linkpath", first, records)
        elif kind == tarfile.REGTYPE:
            try:
                self._regular(source, node, found, name, info, records)
            finally:
                if self._position == start:  # nothing to link to
                    self._links.pop(node.identity, None)
            return
        self._header(info, records)

    def _first(self, identity: tuple[int, int], found: Stat, name: bytes) -> bytes:
        """The name under which this file is in the archive already, empty when it is not."""
        if found.nlink < 2 or found.is_directory:
            return b""
        first, remaining = self._links.pop(identity, (b"", found.nlink))
        if remaining > 1:
            self._links[identity] = (first or name, remaining - 1)
        return first

    def _attributes(self, source: bytes, node: Node) -> Records:
        """The extended attributes as records; what cannot be read is reported."""
        records: Records = {}
        with self.report.about(source):
            for name in node.listxattr():
                if b"\0" in name:  # readers take keywords for text
                    self.report.lose(ATTRIBUTES)
                    continue
                key = name.replace(b"%", b"%25").replace(b"=", b"%3D")  # as GNU tar: a record's key ends at the first "="
                records[b"SCHILY.xattr." + key] = node.getxattr(name)
        return records

    def _regular(self, source: bytes, node: Node, found: Stat, name: bytes, info: tarfile.TarInfo, records: Records) -> None:
        with node.open(os.O_RDONLY) as handle:
            pieces, table = [Extent(0, found.size)] if found.size else [], b""
            if not is_plain(found):
                extents = list(stretches(handle, found.size))
                pieces = [extent for extent in extents if not extent.hole]
                if len(pieces) < len(extents):
                    table = _sparse_table(pieces, found.size)
                    info.name = "GNUSparseFile.0/sparse"
                    records.pop(b"path", None)
                    records[b"GNU.sparse.major"], records[b"GNU.sparse.minor"] = b"1", b"0"
                    records[b"GNU.sparse.name"], records[b"GNU.sparse.realsize"] = name, b"%d" % found.size
            size = len(table) + sum(piece.length for piece in pieces)
            info.size = _number(b"size", size, LARGEST_NUMBER, records)
            self._header(info, records)
            end = self._position + size
            try:
                self._put(table)
                for piece in pieces:
                    self._content(handle, piece)
            except OSError:
                # Its size has been told: what is missing is zeros, so that the next member is where a reader looks for it.
                while self._position < end:
                    self._put(bytes(min(GATHER, end - self._position)))
                raise
            finally:
                self._put(bytes(-self._position % BLOCK))

    def _content(self, handle: Handle, piece: Extent) -> None:
        if piece.length <= SMALL:
            content = handle.read(piece.offset, piece.length)
            self._put(content)
            self.progress.advance(len(content))
            if len(content) != piece.length:
                fail(errno.EIO, f"ends at byte {piece.offset + len(content)}, before its size")
        else:
            self._flush()
            extent_to_stream(handle, piece, self._out, self._advance)

    def _header(self, info: tarfile.TarInfo, records: Records) -> None:
        """The header blocks of a member: an extended header when there are records, then the ustar header."""
        try:
            ustar = info.tobuf(tarfile.USTAR_FORMAT)
        except ValueError as error:
            fail(errno.EOVERFLOW, f"tar cannot hold it: {error}")
        if records:
            body = b"".join(_record(key, value) for key, value in records.items())
            extended = tarfile.TarInfo("././@PaxHeader")
            extended.type, extended.size = tarfile.XHDTYPE, len(body)
            self._put(extended.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % BLOCK))
        self._put(ustar)

    # ------------------------------------------------------------------------------------------------------- output

    def _put(self, content: bytes | bytearray | memoryview) -> None:
        self._gathered += content
        self._position += len(content)
        if len(self._gathered) >= GATHER:
            self._flush()

    def _flush(self) -> None:
        done, self._gathered = memoryview(self._gathered), bytearray()
        while done:
            done = done[os.write(self._out, done) :]

    def _advance(self, count: int) -> None:
        """*count* bytes went past `_put`."""
        self._position += count
        self.progress.advance(count)


Records = dict[bytes, bytes]
"""The records of an extended header, by keyword."""


def _record(key: bytes, value: bytes) -> bytes:
    """One record: its own length in decimal, a space, keyword=value, a newline."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) > len(str(rest)):
        length += 1
    return b"%d %s=%s\n" % (length, key, value)


def _name(key: bytes, name: bytes, records: Records) -> str:
    """A name as the ustar header has it; what it cannot hold becomes a record."""
    if len(name) < 100 and name.isascii():
        return name.decode("ascii")
    records[key] = name
    return name.decode("ascii", "replace").replace("\ufffd", "?")[:99]


def _number(key: bytes, number: int, largest: int, records: Records) -> int:
    if 0 <= number <= largest:
        return number
    records[key] = b"%d" % number
    return 0


def _time(key: bytes, nanoseconds: int, records: Records) -> int:
    seconds, fraction = divmod(nanoseconds, 10**9)
    if fraction or not 0 <= seconds <= LARGEST_NUMBER:
        whole, rest = divmod(abs(nanoseconds), 10**9)
        records[key] = b"%s%d.%09d" % (b"-" if nanoseconds < 0 else b"", whole, rest)
    return min(max(seconds, 0), LARGEST_NUMBER)


def _sparse_table(pieces: list[Extent], size: int) -> bytes:
    """The map of a sparse file: the number of pieces, then offset and length of each, one a line, up to a whole block."""
    runs: list[list[int]] = []
    for piece in pieces:
        if runs and runs[-1][0] + runs[-1][1] == piece.offset:
            runs[-1][1] += piece.length
        else:
            runs.append([piece.offset, piece.length])
    if not runs or runs[-1][0] + runs[-1][1] < size:
        runs.append([size, 0])
    table = b"%d\n" % len(runs) + b"".join(b"%d\n%d\n" % (offset, length) for offset, length in runs)
    return table + bytes(-len(table) % BLOCK)
