"""Requests of the kernel: each becomes one call of a node or a handle, its errors an errno. No file system logic.

Requests that only the kernel's caches save:

* names, also absent ones, attributes and page cache stay valid for a day: nobody changes a read-only mount;
* READDIRPLUS brings the attributes with the names: a walk asks once a directory, not once a file;
* FLUSH is refused once (ENOSYS), ACCESS and FSYNC too: the kernel then answers these itself, always with success;
* the content of a small file is put into the page cache while it is opened (`_fill`), which saves the READ;
* with `noxattr`, GETXATTR and LISTXATTR are refused once.

The same answer to OPEN and OPENDIR would save those (FUSE_NO_OPEN_SUPPORT), but a READ then comes without a handle, and
pyfuse3 passes nothing else that says which file is meant.

The methods never wait: they are coroutines because pyfuse3 wants them. `vfs.fuse.threaded` runs them in worker threads for file
systems that may wait long.
"""

from __future__ import annotations

import errno
import itertools
import logging
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

from vfs.api.filesystem import Filesystem
from vfs.api.node import Entry, Handle, Node
from vfs.fuse.attributes import FOREVER, OUTSIDE, absent, attributes, name_only_of, statfs
from vfs.fuse.library import pyfuse3
from vfs.fuse.nodes import Recent, nodes_of

if TYPE_CHECKING:
    from pyfuse3 import EntryAttributes, FileHandleT, FileInfo, FileNameT, FlagT, InodeT, ReaddirToken, RequestContext


log = logging.getLogger("vfs.fuse")

FILLED_SIZE = 65536
"""Files up to this size are put into the page cache when they are opened."""

FILLED_KEPT = 8192
"""How many files are remembered to have been put there."""

AHEAD = 256
"""Entries of a directory that are read together: about as many as one answer holds."""

DOTS = 2
"""Our cookies are the module's plus this: 1 comes after `.`, 2 after `..`."""


def failure(error: Exception) -> pyfuse3.FUSEError:
    """What the kernel is told of *error*. Anything but an OSError is a mistake in a module: EIO, and into the log with it."""
    if isinstance(error, OSError) and error.errno:
        return pyfuse3.FUSEError(error.errno)
    log.error("a request failed", exc_info=error)
    return pyfuse3.FUSEError(errno.EIO)


class OpenDirectory:
    """One open directory: the listing as far as it was read, so that the next request goes on where this one ended."""

    __slots__ = ("broken", "node", "position", "rest", "waiting")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.position = -1
        """The cookie at which `rest` goes on; -1: nowhere."""
        self.rest: Iterator[Entry] = iter(())
        self.waiting: tuple[Entry, EntryAttributes, Node | None] | None = None
        """An entry that had no room in the last answer."""
        self.broken: Exception | None = None
        """What ended the listing, to be told when what came before it has been delivered."""

    def seek(self, position: int) -> None:
        """Go on at *position*: the iterator if it is there already, otherwise a new one."""
        if position != self.position:
            self.rest = _listed(self.node, position)
            self.position = position
            self.waiting = self.broken = None


def _listed(node: Node, position: int) -> Iterator[Entry]:
    """The entries from *position* on, read some ahead, so that the inodes of all of them can be fetched at once."""
    rest = iter(node.entries(position))
    broken: Exception | None = None
    while broken is None:
        batch: list[Entry] = []
        try:
            for entry in itertools.islice(rest, AHEAD):
                batch.append(entry)  # one by one: what came before an error is good
        except Exception as error:
            broken = error
        if not batch:
            break
        node.expect(batch)
        yield from batch
    if broken is not None:
        raise broken


class Operations(pyfuse3.Operations):
    """The handlers of one mount. *started* is called once, while the kernel is told that we are ready."""

    enable_acl = False
    """With `default_permissions` the kernel evaluates ACLs too, and caches them (FUSE_POSIX_ACL)."""

    direct_io = False
    """Reads and writes come as programs make them, past the page cache and whatever the size."""

    def __init__(self, filesystem: Filesystem, xattr: bool = True, started: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._filesystem = filesystem
        self._xattr = xattr
        self._started = started
        self._nodes = nodes_of(filesystem)
        self._handles: dict[int, Handle] = {}
        self._numbers: dict[int, int] = {}
        """The kernel's number of each handle's file."""
        self._opened: dict[int, int] = {}
        """How often a number is open now."""
        self._directories: dict[int, OpenDirectory] = {}
        self._next = itertools.count(1)
        self._filled: Recent[bool] = Recent(FILLED_KEPT)
        self.keep(OUTSIDE if filesystem.changes_outside else FOREVER)
        # open_by_handle_at(2) and the NFS server ask for inodes that the kernel has forgotten.
        self.supports_dot_lookup = filesystem.stable_numbers

    def keep(self, seconds: float) -> None:
        """How long the kernel may keep names, absent ones too, and attributes."""
        self._timeout = seconds
        self._absent = absent(seconds)

    def init(self) -> None:
        self._started()

    def close(self) -> None:
        """Close what the kernel left open: it sends no RELEASE when a mount is torn down."""
        while self._handles:
            _, handle = self._handles.popitem()
            try:
                handle.close()
            except OSError as error:
                log.warning("closing a file: %s", error)
        self._directories.clear()

    # ---------------------------------------------------------------- names and attributes

    async def lookup(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> EntryAttributes:
        try:
            directory = self._nodes.get(parent_inode)
            if name == b".":
                node: Node | None = directory
            elif name == b"..":
                node = directory.parent()
            else:
                node = directory.lookup(name)
            if node is None:
                raise pyfuse3.FUSEError(errno.ESTALE)
            return self._known(node)
        except FileNotFoundError:
            return self._absent
        except pyfuse3.FUSEError:
            raise
        except Exception as error:
            raise failure(error) from None

    def _known(self, node: Node) -> EntryAttributes:
        """The kernel is told of *node*: its number and attributes."""
        number = self._nodes.number(node.ino)
        entry = self._attributes(node, number)
        self._nodes.enter(number, node)
        return entry

    def _attributes(self, node: Node, number: int) -> EntryAttributes:
        # A number that is not the inode's own shows as st_ino: let the kernel ask for it.
        return attributes(node.stat(), number, self._timeout if number == node.ino else 0)

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        self._nodes.forget(inode_list)

    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        try:
            found = self._nodes.get(inode).stat()
            return attributes(found, found.ino, self._timeout)
        except Exception as error:
            raise failure(error) from None

    async def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        try:
            return self._nodes.get(inode).readlink()
        except Exception as error:
            raise failure(error) from None

    # ---------------------------------------------------------------- directories

    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        try:
            number = next(self._next)
            self._directories[number] = OpenDirectory(self._nodes.get(inode))
            return number
        except Exception as error:
            raise failure(error) from None

    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        try:
            directory = self._directories[fh]
            if start_id < DOTS and not self._dots(directory.node, start_id, token):
                return
            directory.seek(max(0, start_id - DOTS))
            self._list(directory, token)
        except Exception as error:
            raise failure(error) from None

    def _dots(self, node: Node, start: int, token: ReaddirToken) -> bool:
        """`.` and `..`, of which the kernel takes number and type only. Whether both had room."""
        above = node.parent() or node
        for position, name, ino in ((0, b".", node.ino), (1, b"..", above.ino)):
            if start <= position:
                entry = name_only_of(Entry(name, ino, stat.S_IFDIR >> 12, 0), ino)
                if not pyfuse3.readdir_reply(token, name, entry, position + 1):
                    return False
        return True

    def _list(self, directory: OpenDirectory, token: ReaddirToken) -> None:
        """Fill one answer. What fails in the middle is told in the next one, as the entries before it are good."""
        if directory.broken is not None:
            raise directory.broken
        reply, number_of, enter = pyfuse3.readdir_reply, self._nodes.number, self._nodes.enter
        delivered = 0
        try:
            while True:
                if directory.waiting is not None:
                    entry, answer, node = directory.waiting
                else:
                    following = next(directory.rest, None)
                    if following is None:
                        return
                    entry = following
                    answer, node = self._entry(directory.node, entry)
                if not reply(token, entry.name, answer, entry.next + DOTS):
                    directory.waiting = entry, answer, node
                    return
                directory.waiting = None
                directory.position = entry.next
                delivered += 1
                if node is not None:
                    enter(number_of(node.ino), node)
        except Exception as error:
            if not delivered:
                raise
            directory.broken = error

    def _entry(self, directory: Node, entry: Entry) -> tuple[EntryAttributes, Node | None]:
        """The attributes of an entry and its node. An inode that cannot be read does not end the listing: its name is told,
        and whoever looks at it learns the reason."""
        try:
            node = directory.child(entry)
            return self._attributes(node, self._nodes.number(node.ino)), node
        except Exception as error:
            failure(error)
            return name_only_of(entry, max(entry.ino, 0)), None

    async def releasedir(self, fh: FileHandleT) -> None:
        self._directories.pop(fh, None)

    # ---------------------------------------------------------------- files

    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:
        try:
            node = self._nodes.get(inode)
            return self._opened_file(inode, node.open(flags))
        except Exception as error:
            raise failure(error) from None

    def _opened_file(self, inode: InodeT, handle: Handle) -> FileInfo:
        number = next(self._next)
        self._handles[number] = handle
        self._numbers[number] = inode
        if inode not in self._opened and self._filled.get(inode) is None:
            self._fill(inode, handle)
        self._opened[inode] = self._opened.get(inode, 0) + 1
        return pyfuse3.FileInfo(fh=number, keep_cache=not self._filesystem.changes_outside, direct_io=self.direct_io)

    def _fill(self, inode: InodeT, handle: Handle) -> None:
        """Put a small file's content into the kernel's page cache, which saves the READ that nearly always follows.

        The kernel locks the pages meanwhile. A READ under way holds such locks and waits for us: so this is done only while
        nobody has the file open (no READ can be under way without an open file), by the one thread that serves."""
        if self._filesystem.blocking or not self._filesystem.read_only or self.direct_io:
            return
        self._filled.put(inode, True)
        try:
            if 0 < handle.size() <= FILLED_SIZE:
                pyfuse3.notify_store(inode, 0, cast(bytes, handle.read(0, FILLED_SIZE)))
        except OSError as error:
            # The READ will tell the reason, if it is one that concerns the reader.
            log.debug("filling the page cache of %d: %s", inode, error)

    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        try:
            return cast(bytes, self._handles[fh].read(off, size))
        except Exception as error:
            raise failure(error) from None

    async def flush(self, fh: FileHandleT) -> None:
        raise pyfuse3.FUSEError(errno.ENOSYS)

    async def release(self, fh: FileHandleT) -> None:
        handle = self._handles.pop(fh, None)
        if handle is None:
            return
        inode = self._numbers.pop(fh)
        left = self._opened[inode] - 1
        if left:
            self._opened[inode] = left
        else:
            del self._opened[inode]
        try:
            handle.close()
        except Exception as error:
            raise failure(error) from None

    # ---------------------------------------------------------------- the rest

    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        try:
            return statfs(self._filesystem.statfs())
        except Exception as error:
            raise failure(error) from None

    async def getxattr(self, inode: InodeT, name: FileNameT, ctx: RequestContext) -> bytes:
        if not self._xattr:
            raise pyfuse3.FUSEError(errno.ENOSYS)
        try:
            return self._nodes.get(inode).getxattr(name)
        except OSError as error:  # the usual answer, so without a detour
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None
        except Exception as error:
            raise failure(error) from None

    async def listxattr(self, inode: InodeT, ctx: RequestContext) -> Sequence[pyfuse3.XAttrNameT]:
        if not self._xattr:
            raise pyfuse3.FUSEError(errno.ENOSYS)
        try:
            names = self._nodes.get(inode).listxattr()
        except Exception as error:
            raise failure(error) from None
        if ctx.uid:
            # As on a disk: who may not read them (the kernel sees to that) is not shown them.
            names = [name for name in names if not name.startswith(b"trusted.")]
        return names
