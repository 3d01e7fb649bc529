"""Node and Handle: one inode, and one open file description. The contract every file system module fulfils.

A front end (kernel FUSE, a view, the command line, a library user) only ever walks nodes and reads handles. The rules:

* Names are `bytes`, one component, never empty, never with `/` or NUL; `.` and `..` are the front end's affair.
* Errors are `OSError` with the errno that Linux gives for the same condition. The base classes here refuse everything that a
  module leaves out: `ENOTDIR` for directory operations, `EROFS` for changes, `ENODATA` for attributes, `ENOTTY` for ioctl.
* Reading is safe from several threads. Changing is serialised by the mount's one lock (`Filesystem.lock`, re-entrant), which
  the methods here take themselves; a front end takes it too where several calls must be one (look, then change).
* Nodes are cheap to make and to drop. A front end holds numbers (`ino`) and asks `Filesystem.node` again; it may hold nodes
  that are open. Two node objects of one inode may exist; `ino` tells.
* No call opens anything that needs closing, but `Node.open`.
* Who the caller is, the front end knows, the module does not: permissions, sticky directories, the umask, set-user-ID bits and
  capabilities that a write or chown takes away, `O_CREAT` and `O_EXCL`, `nosuid` and the like are the front end's. The module
  does what it is told, and refuses what the file system cannot be (`ENOTEMPTY`, `ENOSPC`).
* A removed file lives on: its node works, `Filesystem.node` included, for as long as anybody holds the node or a handle of it.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from vfs.api.closing import Closing
from vfs.api.errors import fail

if TYPE_CHECKING:
    from vfs.api.filesystem import Filesystem


class Entry(NamedTuple):
    """One directory entry. *type* is the file type as in `st_mode` shifted right by 12 (Linux's DT_*), 0 when unknown.
    *next* is the cookie from which `Node.entries` goes on after this entry; cookies are positive and stable."""

    name: bytes
    ino: int
    type: int
    next: int


class Extent(NamedTuple):
    """Where a range of a file or storage lies. *fd* is a descriptor that belongs to the bottom storage or to the handle that was
    asked, valid while it is open: the bytes are at *fd_offset* of it. `None` means that no descriptor has them as they are: use
    `readinto`; with *hole* they are zeros and occupy nothing. Offsets and lengths are bytes."""

    offset: int
    length: int
    fd: int | None = None
    fd_offset: int = 0
    hole: bool = False


@dataclass(slots=True)
class Stat:
    """What stat(2) and statx(2) tell. Times are nanoseconds since 1970 (may be negative); *btime* `None` when unknown; *blocks*
    are 512-byte units; *mode* includes the type; *rdev* as `os.makedev`; *attributes* are STATX_ATTR_* bits."""

    ino: int
    mode: int
    nlink: int = 1
    uid: int = 0
    gid: int = 0
    rdev: int = 0
    size: int = 0
    blocks: int = 0
    blksize: int = 4096
    atime: int = 0
    mtime: int = 0
    ctime: int = 0
    btime: int | None = None
    attributes: int = 0
    real: tuple[int, int] | None = None
    """`st_dev` and `st_ino` of the host's own file that this is, where a module shows such: what a process sees of the descriptor
    that it was handed (`Handle.descriptor`)."""

    def copy(self) -> Stat:
        """One that the caller may change. (`dataclasses.replace` takes five times as long.)"""
        return Stat(
            self.ino,
            self.mode,
            self.nlink,
            self.uid,
            self.gid,
            self.rdev,
            self.size,
            self.blocks,
            self.blksize,
            self.atime,
            self.mtime,
            self.ctime,
            self.btime,
            self.attributes,
            self.real,
        )

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_regular(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def is_symlink(self) -> bool:
        return stat.S_ISLNK(self.mode)


@dataclass(slots=True)
class Change:
    """Attributes to set at once (chmod, chown, truncate, utimensat): `None` leaves one as it is."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime: int | None = None
    mtime: int | None = None
    ctime: int | None = None


class Node:
    """One inode of a mounted file system."""

    __slots__ = ("filesystem", "ino")

    def __init__(self, filesystem: Filesystem, ino: int) -> None:
        self.filesystem = filesystem
        self.ino = ino

    @property
    def identity(self) -> tuple[int, int]:
        """Equal for two nodes of one inode, also in a tree of several file systems."""
        return id(self.filesystem), self.ino

    # ---------------------------------------------------------------- reading

    def stat(self) -> Stat:
        """The attributes. Never opens anything."""
        raise NotImplementedError

    def lookup(self, name: bytes) -> Node:
        """The child called *name*. ENOENT: no such entry; ENOTDIR: not a directory; ENAMETOOLONG: above 255 bytes."""
        fail(errno.ENOTDIR)

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """The entries from cookie *start* on, without `.` and `..`. Lazy: a caller may stop at any point. ENOTDIR."""
        fail(errno.ENOTDIR)

    def child(self, entry: Entry) -> Node:
        """The node of an entry just listed; modules whose numbers are stable need no look-up for it."""
        return self.lookup(entry.name)

    def expect(self, entries: Sequence[Entry]) -> None:
        """`child` will be asked of these entries next: whoever fetches their inodes from afar may begin. A hint; never fails."""

    def parent(self) -> Node | None:
        """The directory that holds this *directory*, `None` when the file system does not record it (the root's is the root)."""
        return None

    def readlink(self) -> bytes:
        """The target of a symbolic link. EINVAL: not a link."""
        fail(errno.EINVAL)

    def open(self, flags: int = 0) -> Handle:
        """An open file description. *flags* as open(2), without O_CREAT and O_EXCL. O_TRUNC empties the file, whatever the access
        mode; with O_APPEND every write goes to the end (a front end that settles the offset itself, as the kernel's writeback
        cache does, leaves it out); O_NOATIME as in open(2). EISDIR, ELOOP (a link), ENXIO (fifos, devices, sockets), EROFS."""
        fail(errno.EISDIR if self.stat().is_directory else errno.ENXIO)

    def host_path(self) -> bytes | None:
        """A path of the host that leads to this very inode, for what only the kernel can do with it (execute it, open a fifo).
        `None`: there is none."""
        return None

    def getxattr(self, name: bytes) -> bytes:
        """The value of an extended attribute, in the form that getxattr(2) returns. ENODATA: none of that name."""
        fail(errno.ENODATA)

    def listxattr(self) -> list[bytes]:
        """The names of the extended attributes, in stored order."""
        return []

    # ---------------------------------------------------------------- changing

    def create(self, name: bytes, mode: int, rdev: int = 0, uid: int = 0, gid: int = 0) -> Node:
        """A new file, fifo, socket or device (*mode* with its type; no type is a regular file). EEXIST, ENOENT (this directory is
        removed), ENAMETOOLONG, ENOSPC, EROFS; so too the methods that follow.

        *mode* is what the umask has left of it, but where this directory has a default ACL (`system.posix_acl_default`), which
        takes the umask's place. Everything new in a set-group-ID directory has its group, directories its bit too. A module
        that keeps no owners, or may not give them, goes on without."""
        fail(errno.EROFS)

    def temporary(self, mode: int, uid: int = 0, gid: int = 0) -> Node:
        """A new regular file in this directory with no name (O_TMPFILE); `link` may give it one. EOPNOTSUPP, and as `create`."""
        fail(errno.EOPNOTSUPP)

    def mkdir(self, name: bytes, mode: int, uid: int = 0, gid: int = 0) -> Node:
        """A new directory. EEXIST, EMLINK, ENOSPC, EROFS."""
        fail(errno.EROFS)

    def symlink(self, name: bytes, target: bytes, uid: int = 0, gid: int = 0) -> Node:
        """A new symbolic link. EEXIST, ENAMETOOLONG, EROFS."""
        fail(errno.EROFS)

    def link(self, name: bytes, node: Node) -> None:
        """One more name for *node*. EEXIST, EMLINK, EPERM (directories), ENOENT (*node* is removed), EXDEV, EROFS."""
        fail(errno.EROFS)

    def unlink(self, name: bytes) -> None:
        """Remove a name that is no directory. ENOENT, EISDIR, EROFS."""
        fail(errno.EROFS)

    def rmdir(self, name: bytes) -> None:
        """Remove an empty directory. ENOENT, ENOTDIR, ENOTEMPTY, EROFS."""
        fail(errno.EROFS)

    def rename(self, name: bytes, directory: Node, new_name: bytes, flags: int = 0) -> None:
        """Move an entry; *flags* as renameat2(2): RENAME_NOREPLACE 1, RENAME_EXCHANGE 2, RENAME_WHITEOUT 4. ENOENT, EEXIST,
        ENOTEMPTY, EISDIR, ENOTDIR, EINVAL (flags; a directory below itself), EXDEV, EROFS."""
        fail(errno.EROFS)

    def set(self, change: Change) -> None:
        """Set attributes, exactly these. A new size sets mtime too, and everything sets ctime, where *change* names none itself.
        A new mode is taken into the access ACL. EISDIR and EINVAL (size of what is no file), EFBIG, ENOSPC, EPERM, EROFS."""
        fail(errno.EROFS)

    def setxattr(self, name: bytes, value: bytes, flags: int = 0) -> None:
        """Set an extended attribute; *flags* as setxattr(2). EEXIST, ENODATA, EOPNOTSUPP (no such namespace), EPERM (user.* of
        what is neither file nor directory), EINVAL (not an ACL), E2BIG, ERANGE, ENOSPC, EROFS."""
        fail(errno.EROFS)

    def removexattr(self, name: bytes) -> None:
        """Remove an extended attribute. ENODATA, EROFS."""
        fail(errno.EROFS)


@contextmanager
def opened_wide(node: Node) -> Iterator[None]:
    """In the block the owner may read and write a file, whatever its mode: who makes one, opens it as he asks for. Modules that
    show the host's own files are bound by their modes."""
    mode = node.stat().mode
    node.set(Change(mode=mode | stat.S_IRUSR | stat.S_IWUSR))
    try:
        yield
    finally:
        node.set(Change(mode=mode))


class Handle(Closing):
    """One open file description. Offsets are the caller's: a handle has no position."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    def size(self) -> int:
        """The file's size in bytes now."""
        return self.node.stat().size

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill *buffer* (writable, bytes) from *offset*; the number of bytes read, short only at end of file. EIO, EUCLEAN."""
        raise NotImplementedError

    def read(self, offset: int, size: int) -> bytes | bytearray | memoryview:
        """At most *size* bytes from *offset*; empty at end of file. A module overrides it where it can hand out bytes without
        a copy."""
        size = max(0, min(size, self.size() - offset))
        buffer = bytearray(size)
        count = self.readinto(offset, memoryview(buffer)) if size else 0
        return buffer if count == size else memoryview(buffer)[:count]

    def write(self, offset: int, content: bytes | memoryview) -> int:
        """Write at *offset* (at the end, opened with O_APPEND); the number of bytes written, fewer where there is no room for
        more. EBADF (not opened for writing), EROFS, ENOSPC, EFBIG."""
        fail(errno.EROFS)

    def allocate(self, mode: int, offset: int, length: int) -> None:
        """fallocate(2): reserve, punch, zero; *mode* is its FALLOC_FL_* bits. EBADF, EINVAL, EFBIG, EOPNOTSUPP, EROFS, ENOSPC."""
        fail(errno.EROFS)

    def flush(self) -> None:
        """A descriptor is being closed: report delayed errors. Nothing need become durable."""

    def fsync(self) -> None:
        """Make this file durable. EIO."""

    def close(self) -> None:
        """The last descriptor is gone. Idempotent."""

    def extents(self, offset: int, length: int) -> list[Extent]:
        """Where the range lies: sorted, without gaps, clipped to the file's size. The base class knows only `readinto`."""
        length = max(0, min(length, self.size() - offset))
        return [Extent(offset, length)] if length else []

    def descriptor(self) -> int | None:
        """A descriptor of the host that *is* this file, with an open file description of its own, the access mode and O_APPEND
        of this handle; it is the handle's, and open as long as that. Who has it (or a duplicate, after the handle is closed,
        too) reads, writes, maps and resizes the file itself, and everybody sees it. `None`: there is no such descriptor.

        What the host tells of it beyond content and size (owner, mode, number) is not the file's."""
        return None

    def seek_data(self, offset: int) -> int:
        """The first offset from *offset* on that is not in a hole. ENXIO: none before the end of the file."""
        found = self._seek(offset, hole=False)
        return found if found is not None else fail(errno.ENXIO)

    def seek_hole(self, offset: int) -> int:
        """The first offset from *offset* on that is in a hole; the end of the file counts as one. ENXIO: beyond it."""
        found = self._seek(offset, hole=True)
        return found if found is not None else self.size()

    def _seek(self, offset: int, hole: bool) -> int | None:
        size = self.size()
        if not 0 <= offset < size:
            fail(errno.ENXIO)
        window = SEEK_WINDOW
        while offset < size:
            for extent in self.extents(offset, min(window, size - offset)):
                if extent.hole == hole:
                    return max(offset, extent.offset)
            offset += window
            window *= 2  # a hole of 2^62 bytes, as hostile images have them, is passed in few steps
        return None

    def ioctl(self, request: int, argument: bytes) -> bytes:
        """An ioctl(2) on the file. ENOTTY: not known."""
        fail(errno.ENOTTY)

    def poll(self, events: int) -> int:
        """The poll(2) events that are ready now; a file is always ready."""
        return events


# How much of a map is asked for at once by the generic seeks: bounds the list of extents of a fragmented file.
SEEK_WINDOW = 1 << 30
