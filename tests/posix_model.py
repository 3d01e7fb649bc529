"""A file system as plainly as it can be said, to compare others with: the same calls as `posix_calls`, dictionaries behind them.

It shares no code with what it checks: its own path walk, its own rules for every errno, and a set of pages for each file.
Times are not modelled, nor who the caller is.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from typing import NoReturn

from posix_calls import KEEP_SIZE, PUNCH_HOLE, RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT

PAGE = 4096


def no(number: int) -> NoReturn:
    raise OSError(number, os.strerror(number))


@dataclass
class Thing:
    """An inode: *kind* is `f`, `d`, `l` or `p` (a fifo) or `c` (a whiteout)."""

    kind: str
    mode: int
    names: int = 0
    content: bytearray = field(default_factory=bytearray)
    pages: set[int] = field(default_factory=set)
    reserved: set[int] = field(default_factory=set)
    """Pages that fallocate made and nobody wrote: seeking may take them for data or for a hole."""
    target: bytes = b""
    entries: dict[bytes, Thing] = field(default_factory=dict)
    attributes: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def links(self) -> int:
        if self.kind == "d":
            return 2 + sum(1 for each in self.entries.values() if each.kind == "d")
        return self.names


@dataclass
class Opened:
    thing: Thing
    reads: bool
    writes: bool
    appends: bool


class ModelCalls:
    def __init__(self) -> None:
        self.top = Thing("d", 0o777)

    # ------------------------------------------------------------------ paths

    def walk(self, path: bytes, follow: bool) -> Thing:
        directory, name = self.split(path, follow)
        if not name:
            return directory
        return directory.entries.get(name) or no(errno.ENOENT)

    def split(self, path: bytes, follow: bool = False, depth: int = 0, start: list[Thing] | None = None) -> tuple[Thing, bytes]:
        """The directory and name to which a path comes; the name is empty where it ends in the directory itself."""
        chain = list(start or [self.top])
        names = [name for name in path.split(b"/") if name]
        if path.startswith(b"/"):
            chain = [self.top]
        while names:
            name = names.pop(0)
            if chain[-1].kind != "d":
                no(errno.ENOTDIR)
            if name == b"..":
                if len(chain) > 1:
                    chain.pop()
                continue
            found = chain[-1].entries.get(name)
            if found is not None and found.kind == "l" and (names or follow):
                depth += 1
                if depth > 40:
                    no(errno.ELOOP)
                rest = b"/".join(names)
                return self.split(found.target + (b"/" + rest if rest else b""), follow, depth, chain)
            if not names:
                return chain[-1], name
            if found is None:
                no(errno.ENOENT)
            chain.append(found)
        return chain[-1], b""

    def place(self, path: bytes) -> tuple[Thing, bytes]:
        above, _, name = path.rpartition(b"/")
        directory = self.walk(above, follow=True)
        if directory.kind != "d":
            no(errno.ENOTDIR)
        return directory, name

    def add(self, path: bytes, thing: Thing) -> None:
        directory, name = self.place(path)
        if name in directory.entries:
            no(errno.EEXIST)
        directory.entries[name] = thing
        thing.names += 1

    # ------------------------------------------------------------------ files

    def open(self, path: bytes, flags: int, mode: int = 0o666) -> Opened:
        exclusive = flags & os.O_CREAT and flags & os.O_EXCL
        try:
            thing = self.walk(path, follow=not exclusive)
            if exclusive:
                no(errno.EEXIST)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
            thing = Thing("f", mode)
            directory, name = self.split(path, follow=not exclusive)
            if directory.kind != "d":
                no(errno.ENOTDIR)
            directory.entries[name] = thing
            thing.names = 1
        access = flags & os.O_ACCMODE
        if thing.kind == "d":
            no(errno.EISDIR)
        if thing.kind != "f":
            no(errno.ENXIO)
        if flags & os.O_TRUNC:
            self.resize(thing, 0)
        return Opened(thing, access != os.O_WRONLY, access != os.O_RDONLY, bool(flags & os.O_APPEND))

    def close(self, file: Opened) -> None:
        pass

    def pread(self, file: Opened, size: int, offset: int) -> bytes:
        if not file.reads:
            no(errno.EBADF)
        return bytes(file.thing.content[offset : offset + size])

    def pwrite(self, file: Opened, content: bytes, offset: int) -> int:
        if not file.writes:
            no(errno.EBADF)
        thing = file.thing
        if not content:
            return 0
        if file.appends:
            offset = len(thing.content)
        if offset > len(thing.content):
            thing.content += bytes(offset - len(thing.content))
        thing.content[offset : offset + len(content)] = content
        written = set(range(offset // PAGE, (offset + len(content) - 1) // PAGE + 1))
        thing.pages |= written
        thing.reserved -= written
        return len(content)

    def resize(self, thing: Thing, size: int) -> None:
        if size <= len(thing.content):
            del thing.content[size:]
            thing.pages -= {page for page in thing.pages if page * PAGE >= size}
            thing.reserved &= thing.pages
        thing.content += bytes(size - len(thing.content))

    def ftruncate(self, file: Opened, size: int) -> None:
        self.resize(file.thing, size) if file.writes else no(errno.EINVAL)

    def fallocate(self, file: Opened, mode: int, offset: int, length: int) -> None:
        if not file.writes:
            no(errno.EBADF)
        thing, end = file.thing, offset + length
        if mode & PUNCH_HOLE:
            stop = min(end, len(thing.content))
            if stop > offset:
                thing.content[offset:stop] = bytes(stop - offset)
            thing.pages -= set(range(-(-offset // PAGE), end // PAGE))
            thing.reserved &= thing.pages
            return
        wanted = set(range(offset // PAGE, -(-end // PAGE)))
        thing.reserved |= wanted - thing.pages
        thing.pages |= wanted
        if not mode & KEEP_SIZE and end > len(thing.content):
            thing.content += bytes(end - len(thing.content))

    def seek(self, file: Opened, offset: int, whence: int) -> int:
        thing, size = file.thing, len(file.thing.content)
        if offset >= size:
            no(errno.ENXIO)
        wanted = whence == os.SEEK_DATA
        for page in range(offset // PAGE, -(-size // PAGE)):
            if (page in thing.pages) == wanted:
                return max(offset, page * PAGE)
        return no(errno.ENXIO) if wanted else size

    # ------------------------------------------------------------------ names

    def mkdir(self, path: bytes, mode: int = 0o777) -> None:
        self.add(path, Thing("d", mode))

    def mknod(self, path: bytes, mode: int, rdev: int = 0) -> None:
        self.add(path, Thing("p", stat.S_IMODE(mode)))

    def symlink(self, target: bytes, path: bytes) -> None:
        self.add(path, Thing("l", 0o777, target=target))

    def readlink(self, path: bytes) -> bytes:
        thing = self.walk(path, follow=False)
        return thing.target if thing.kind == "l" else no(errno.EINVAL)

    def link(self, old: bytes, new: bytes) -> None:
        thing = self.walk(old, follow=False)
        directory, name = self.place(new)
        if name in directory.entries:
            no(errno.EEXIST)
        if thing.kind == "d":
            no(errno.EPERM)
        directory.entries[name] = thing
        thing.names += 1

    def unlink(self, path: bytes) -> None:
        directory, name = self.place(path)
        thing = directory.entries.get(name) or no(errno.ENOENT)
        if thing.kind == "d":
            no(errno.EISDIR)
        del directory.entries[name]
        thing.names -= 1

    def rmdir(self, path: bytes) -> None:
        directory, name = self.place(path)
        thing = directory.entries.get(name) or no(errno.ENOENT)
        if thing.kind != "d":
            no(errno.ENOTDIR)
        if thing.entries:
            no(errno.ENOTEMPTY)
        del directory.entries[name]

    def holds(self, above: Thing, below: Thing) -> bool:
        """Whether directory *above* is *below* or has it somewhere in it."""
        return above is below or any(self.holds(each, below) for each in above.entries.values() if each.kind == "d")

    def rename(self, old: bytes, new: bytes, flags: int = 0) -> None:
        if flags & RENAME_EXCHANGE and flags & (RENAME_NOREPLACE | RENAME_WHITEOUT):
            no(errno.EINVAL)
        origin, name = self.place(old)
        directory, new_name = self.place(new)
        thing = origin.entries.get(name) or no(errno.ENOENT)
        replaced = directory.entries.get(new_name)
        if replaced and flags & RENAME_NOREPLACE:
            no(errno.EEXIST)
        if not replaced and flags & RENAME_EXCHANGE:
            no(errno.ENOENT)
        if thing.kind == "d" and self.holds(thing, directory):
            no(errno.EINVAL)
        if replaced and replaced.kind == "d" and self.holds(replaced, origin):
            no(errno.EINVAL if flags & RENAME_EXCHANGE else errno.ENOTEMPTY)
        if thing is replaced:
            return
        if flags & RENAME_EXCHANGE:
            assert replaced
            origin.entries[name], directory.entries[new_name] = replaced, thing
            return
        if replaced:
            if thing.kind == "d" and replaced.kind != "d":
                no(errno.ENOTDIR)
            if thing.kind != "d" and replaced.kind == "d":
                no(errno.EISDIR)
            if replaced.entries:
                no(errno.ENOTEMPTY)
            replaced.names -= 1
        del origin.entries[name]
        directory.entries[new_name] = thing
        if flags & RENAME_WHITEOUT:
            origin.entries[name] = Thing("c", 0, names=1)

    # ------------------------------------------------------------------ attributes

    def told(self, thing: Thing) -> tuple[object, ...]:
        """What of a stat can be compared: type and mode, links, size and blocks of what is no directory."""
        if thing.kind == "d":
            return "d", thing.mode, thing.links
        size = len(thing.target) if thing.kind == "l" else len(thing.content)
        return thing.kind, thing.mode, thing.links, size, len(thing.pages) * 8

    def chmod(self, path: bytes, mode: int) -> None:
        self.walk(path, follow=True).mode = mode

    def truncate(self, path: bytes, size: int) -> None:
        thing = self.walk(path, follow=True)
        if thing.kind != "f":
            no(errno.EISDIR if thing.kind == "d" else errno.EINVAL)
        self.resize(thing, size)

    def setxattr(self, path: bytes, name: bytes, value: bytes, flags: int = 0) -> None:
        thing = self.walk(path, follow=False)
        if name.startswith(b"user.") and thing.kind not in "fd":
            no(errno.EPERM)
        if flags & os.XATTR_CREATE and name in thing.attributes:
            no(errno.EEXIST)
        if flags & os.XATTR_REPLACE and name not in thing.attributes:
            no(errno.ENODATA)
        thing.attributes[name] = value

    def getxattr(self, path: bytes, name: bytes) -> bytes:
        thing = self.walk(path, follow=False)
        value = thing.attributes.get(name)
        return value if value is not None else no(errno.ENODATA)

    def removexattr(self, path: bytes, name: bytes) -> None:
        thing = self.walk(path, follow=False)
        if name.startswith(b"user.") and thing.kind not in "fd":
            no(errno.EPERM)
        if name not in thing.attributes:
            no(errno.ENODATA)
        del thing.attributes[name]

    def listxattr(self, path: bytes) -> list[bytes]:
        return list(self.walk(path, follow=False).attributes)

    def listdir(self, path: bytes) -> list[bytes]:
        thing = self.walk(path, follow=True)
        return sorted(thing.entries) if thing.kind == "d" else no(errno.ENOTDIR)
