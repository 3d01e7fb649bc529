"""The half of the oracle that asks debugfs: whole listings of an image in a few runs of it, parsed.

debugfs is asked by inode number, so that no name has to be quoted; what a file contains is read from the image where debugfs
says that it lies.
"""

from __future__ import annotations

import bisect
import errno
import os
import re
import stat
import struct
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from oracle import Entry, Listing, Run, content_digest, superblock_of

from fixtures.debugfs import environment

INLINE_DATA = 0x1000_0000
HUGE_FILE = 0x4_0000
ENCRYPT = 0x800


class DebugfsListing:
    def __init__(self, image: Path, place: Path, options: str) -> None:
        self.image = image
        self.place = place
        self.options: list[str] = []
        superblock = superblock_of(image, options)
        self.block_size = 1024 << struct.unpack_from("<I", superblock, 24)[0] % 64
        for option in filter(None, options.split(",")):
            name, _, value = option.partition("=")
            if name == "sb":
                self.options = ["-b", str(self.block_size), "-s", str(int(value) * 1024 // self.block_size)]
            elif name != "noload":
                raise ValueError(f"debugfs has no equivalent of the mount option {option}")

    def ask(self, commands: list[bytes]) -> list[bytes]:
        """The answers to commands, one process for all: debugfs repeats each command in front of its answer."""
        script = self.place / "script"
        script.write_bytes(b"\n".join(commands) + b"\n")
        command = ["debugfs", *self.options, "-f", str(script), str(self.image)]
        done = subprocess.run(command, env=environment(), capture_output=True, timeout=300, check=True)
        answers, position = [], 0
        marks = [b"debugfs: " + command + b"\n" for command in commands]
        for mark, following in zip(marks, [*marks[1:], None], strict=True):
            start = done.stdout.index(mark, position) + len(mark)
            position = done.stdout.index(following, start) if following is not None else len(done.stdout)
            answers.append(done.stdout[start:position])
        return answers

    def entries(self) -> Listing:
        if b"Inode: 2 " not in self.ask([b"stat <2>"])[0]:
            raise OSError(errno.EINVAL, f"debugfs does not open {self.image}")
        names = self.names()
        inodes = sorted(set(names.values()))
        described = dict(zip(inodes, self.ask([b"stat <%d>" % ino for ino in inodes]), strict=True))
        attributes = self.attributes(inodes)
        self.dump_inline(described)
        made = {ino: self.entry(ino, described[ino], attributes.get(ino, {})) for ino in inodes}
        return {path: made[ino] for path, ino in names.items()}

    LINE = re.compile(rb"^/(\d+)/(\d{6})/-?\d+/-?\d+/([^/]*)/\d*/$", re.DOTALL | re.MULTILINE)

    def names(self) -> dict[bytes, int]:
        found = {b"/": 2}
        level = [(b"/", 2)]
        while level:
            following = []
            for (path, _), answer in zip(level, self.ask([b"ls -p <%d>" % ino for _, ino in level]), strict=True):
                prefix = path if path == b"/" else path + b"/"
                for ino, mode, name in self.LINE.findall(answer):
                    if name in (b".", b"..") or ino == b"0":
                        continue
                    found[prefix + name] = int(ino)
                    if stat.S_ISDIR(int(mode, 8)):
                        following.append((prefix + name, int(ino)))
            level = following
        return found

    # A name with unprintable bytes is shown in hex.
    ATTRIBUTE = re.compile(rb"^  (?:((?:user|trusted|security|system)\..*?)|((?:[0-9a-f]{2} )+)) ?\(\d+\)(?: = .*)?$")

    def attributes(self, inodes: list[int]) -> dict[int, dict[bytes, bytes]]:
        commands: list[bytes] = []
        wanted: list[tuple[int, bytes, Path]] = []
        for ino, answer in zip(inodes, self.ask([b"ea_list <%d>" % ino for ino in inodes]), strict=True):
            for line in answer.split(b"\n"):
                match = self.ATTRIBUTE.match(line)
                if match is None or match[1] == b"system.data":
                    continue
                name = match[1] or bytes.fromhex(match[2].decode())
                outfile = self.place / f"attribute-{len(wanted)}"
                commands.append(b'ea_get -f %s <%d> "%s"' % (os.fsencode(outfile), ino, name.replace(b'"', b'""')))
                wanted.append((ino, name, outfile))
        found: dict[int, dict[bytes, bytes]] = {}
        if commands:
            self.ask(commands)
        for ino, name, outfile in wanted:
            value = outfile.read_bytes()
            found.setdefault(ino, {})[name] = self.acl(value) if name.startswith(b"system.posix_acl_") else value
        return found

    @staticmethod
    def acl(value: bytes) -> bytes:
        """debugfs says 0 for the id of an entry that has none, where getxattr says 2**32 - 1."""
        entries = list(struct.iter_unpack("<HHI", value[4:]))
        named = (2, 8)
        return value[:4] + b"".join(
            struct.pack("<HHI", tag, bits, ident if tag in named else 0xFFFFFFFF) for tag, bits, ident in entries
        )

    FLAGS = re.compile(rb"Flags: 0x([0-9a-f]+)")

    def dump_inline(self, described: Mapping[int, bytes]) -> None:
        """Put the content of inodes with inline data where `content` finds it, with one process for all."""
        inline = [ino for ino, text in described.items() if int(self.FLAGS.search(text)[1], 16) & INLINE_DATA]  # type: ignore[index]
        if inline:
            self.ask([b"dump <%d> %s" % (ino, os.fsencode(self.place / f"inline-{ino}")) for ino in inline])

    def entry(self, ino: int, text: bytes, xattrs: dict[bytes, bytes]) -> Entry:
        head = text.split(b"\nExtended attributes:")[0]

        def number(pattern: bytes, base: int = 10) -> int:
            match = re.search(pattern, head)
            if match is None:
                raise ValueError(f"inode {ino}: no {pattern!r} in what debugfs says: {text!r}")
            return int(match[1], base)

        kind = self.KINDS[re.search(rb"Type: (.+?) +Mode:", head)[1]]  # type: ignore[index]
        flags = number(rb"Flags: 0x([0-9a-f]+)", 16)
        size = number(rb"Size: (\d+)\n")
        blocks = number(rb"Blockcount: (\d+)")
        if flags & HUGE_FILE:
            blocks *= self.block_size // 512
        if flags & INLINE_DATA and kind == "file":
            # Linux, ext4_file_getattr: lest a program takes such a file for a hole.
            blocks += (size + 511) // 512
        target, digest, runs, error, rdev = None, None, None, None, 0
        if kind in ("character", "block"):
            major, minor = re.search(rb"number: (\d+):(\d+)", text).groups()  # type: ignore[union-attr]
            rdev = os.makedev(int(major), int(minor))
        elif kind == "symlink":
            fast = re.search(rb'\nFast link dest: "(.*)"\n', text, re.DOTALL)
            target = fast[1] if fast else self.content(ino, size, flags, text)(0, size)
        elif kind == "file" and flags & ENCRYPT:
            error = errno.ENOKEY
        elif kind == "file":
            read = self.content(ino, size, flags, text)
            try:
                digest, runs = content_digest(read, size, getattr(read, "seek_data", None))
            except OSError as problem:
                error = problem.errno
        return Entry(
            type=kind,
            mode=number(rb"Mode: +(\d+)", 8),
            uid=number(rb"User: +(-?\d+)") % 2**32,
            gid=number(rb"Group: +(-?\d+)") % 2**32,
            nlink=number(rb"Links: (\d+)"),
            size=size,
            rdev=rdev,
            ino=ino,
            blocks=blocks,
            atime=self.time(head, b"atime") or 0,
            mtime=self.time(head, b"mtime") or 0,
            ctime=self.time(head, b"ctime") or 0,
            btime=self.time(head, b"crtime"),
            xattrs=xattrs,
            target=target,
            digest=digest,
            runs=runs,
            error=error,
        )

    KINDS: Mapping[bytes, str] = {
        b"regular": "file",
        b"directory": "directory",
        b"symlink": "symlink",
        b"character special": "character",
        b"block special": "block",
        b"FIFO": "fifo",
        b"socket": "socket",
    }

    @staticmethod
    def time(head: bytes, name: bytes) -> int | None:
        match = re.search(rb"\n *" + name + rb": 0x([0-9a-f]{8})(?::([0-9a-f]{8}))?", head)
        if match is None:
            return None
        low, extra = int(match[1], 16), int(match[2] or b"0", 16)
        signed = low - (1 << 32) if low & 0x8000_0000 else low
        return (signed + ((extra & 3) << 32)) * 1_000_000_000 + (extra >> 2)

    MAPPED = re.compile(rb"\((\d+)(?:-(\d+))?(\[u\])?\):(\d+)")

    def content(self, ino: int, size: int, flags: int, text: bytes) -> Callable[[int, int], bytes]:
        """A function that reads an inode's content where debugfs says it lies."""
        if flags & INLINE_DATA:
            # A file may be longer than its inline bytes (made by truncate): the rest reads as zeros.
            whole = (self.place / f"inline-{ino}").read_bytes().ljust(size, b"\0")
            return lambda offset, count: whole[offset : offset + count]
        _, _, table = text.rpartition(b"\nEXTENTS:\n" if b"\nEXTENTS:\n" in text else b"\nBLOCKS:\n")
        pieces = [
            (int(first) * self.block_size, (int(last or first) - int(first) + 1) * self.block_size, int(block) * self.block_size)
            for first, last, unwritten, block in self.MAPPED.findall(table)
            if not unwritten
        ]
        return _Mapped(self.image, size, sorted(pieces))


class _Mapped:
    """Reads a file through (offset, length, offset in the image) pieces."""

    def __init__(self, image: Path, size: int, pieces: list[tuple[int, int, int]]) -> None:
        self.image, self.size, self.pieces = image, size, pieces
        self.ends = [start + length for start, length, _ in pieces]

    def __call__(self, offset: int, count: int) -> bytes:
        count = max(0, min(count, self.size - offset))
        result = bytearray(count)
        with open(self.image, "rb") as opened:
            for start, length, place in self.pieces[bisect.bisect_right(self.ends, offset) :]:
                low, high = max(start, offset), min(start + length, offset + count)
                if low >= high:
                    break
                opened.seek(place + low - start)
                piece = opened.read(high - low)
                if len(piece) != high - low:
                    raise OSError(errno.EUCLEAN, f"block outside of the image at {place}")
                result[low - offset : high - offset] = piece
        return bytes(result)

    def seek_data(self, offset: int) -> Run | None:
        index = bisect.bisect_right(self.ends, offset)
        return self.pieces[index][:2] if index < len(self.pieces) else None
