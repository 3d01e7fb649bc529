"""A directory: names, in an order that survives changes, and the calls that change it.

Each name has a slot with a number, its cookie, that no other name of this directory ever gets. Slots stand in a list in the
order of their cookies, new ones at the end, and a listing runs from the end to the beginning: what is made while a directory is
listed is not seen by that listing, which therefore ends, wherever it pauses and with whatever cookie it goes on (a loop that
renames each file that it meets would never end the other way round). A removed name leaves its slot empty; when half of them
are, the list is made anew. Cookies stay. A name that is replaced keeps its slot, so that a listing meets it, old or new.
"""

from __future__ import annotations

import errno
import stat
import weakref
from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from vfs.api import Entry, Node, clock, fail
from vfs.ramfs.file import RamFile
from vfs.ramfs.node import SHORT_LINK, RamLink, RamNode

if TYPE_CHECKING:
    from vfs.ramfs.filesystem import RamFilesystem

NAME_MAX: Final = 255
TARGET_MAX: Final = 4095
LINK_MAX: Final = 0xFFFFFFFF
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
"""RENAME_* of `include/uapi/linux/fs.h`."""

NAME_SIZE: Final = 20
"""What a name adds to a directory's size (BOGO_DIRENT_SIZE of `mm/shmem.c`); `.` and `..` are counted too."""

FEW: Final = 32
"""So many empty slots are never worth a new list."""

SPECIAL: Final = frozenset({stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK})


class Slot:
    """One name. *node* is `None` when the name is gone."""

    __slots__ = ("cookie", "name", "node")

    def __init__(self, name: bytes, node: RamNode, cookie: int) -> None:
        self.name = name
        self.node: RamNode | None = node
        self.cookie = cookie


def _cookie(slot: Slot) -> int:
    return slot.cookie


class RamDirectory(RamNode):
    """A directory. *above* is the one that holds it; the root's is the root."""

    __slots__ = ("above", "empty", "last", "names", "slots")

    above: RamDirectory

    def __init__(self, filesystem: RamFilesystem, mode: int, uid: int, gid: int) -> None:
        super().__init__(filesystem, stat.S_IFDIR | mode & 0o7777, uid, gid)
        self.nlink = 2
        self.names: dict[bytes, Slot] = {}
        self.slots: list[Slot] = []
        """By cookie. Only ever appended to, or replaced by another list: listings run over it without the lock."""
        self.last = 0
        """The last cookie given."""
        self.empty = 0
        """Slots that are empty."""

    def forget(self) -> None:
        """The mount is gone."""
        self.names, self.slots, self.above = {}, [], self

    # ---------------------------------------------------------------- reading

    def length(self) -> int:
        return (len(self.names) + 2) * NAME_SIZE

    def lookup(self, name: bytes) -> RamNode:
        slot = self.names.get(name)
        node = slot.node if slot is not None else None
        if node is None:
            fail(errno.ENAMETOOLONG if len(name) > NAME_MAX else errno.ENOENT)
        return node

    def entries(self, start: int = 0) -> Iterator[Entry]:
        self.accessed()
        return self._entries(start)

    def _entries(self, cookie: int) -> Iterator[Entry]:
        slots = self.slots
        position = len(slots) if cookie <= 0 else bisect_left(slots, cookie, key=_cookie)
        while position:
            position -= 1
            slot = slots[position]
            node = slot.node
            if node is None:
                continue
            yield Entry(slot.name, node.ino, node.mode >> 12, slot.cookie)

    def parent(self) -> RamDirectory:
        return self.above

    # ---------------------------------------------------------------- names

    def _add(self, name: bytes, node: RamNode) -> None:
        """A new name. The lock is held, all has been checked."""
        self.last = cookie = self.last + 1
        slot = Slot(name, node, cookie)
        self.names[name] = slot
        self.slots.append(slot)
        self.mtime = self.ctime = clock.now()

    def _take(self, slot: Slot) -> None:
        """A name goes."""
        del self.names[slot.name]
        slot.node = None
        self.empty += 1
        if self.empty > FEW and self.empty * 2 > len(self.slots):
            self.slots = [each for each in self.slots if each.node is not None]
            self.empty = 0
        self.mtime = self.ctime = clock.now()

    def _check_new(self, name: bytes) -> None:
        """*name* may be added, and an inode with it. EEXIST, ENAMETOOLONG, EROFS, ENOENT, ENOSPC."""
        if name in self.names:
            fail(errno.EEXIST)
        if len(name) > NAME_MAX:
            fail(errno.ENAMETOOLONG)
        filesystem = self.filesystem
        if filesystem.read_only:
            fail(errno.EROFS)
        if not self.nlink:
            fail(errno.ENOENT)
        filesystem.check_inodes()

    def _enter(self, name: bytes, node: RamNode) -> None:
        """A new inode with its first name."""
        if self.mode & stat.S_ISGID or self.attributes:
            node.inherit(self)
        self.filesystem.nodes[node.ino] = node
        self._add(name, node)

    def _slot(self, name: bytes) -> Slot:
        """The slot of a name that must be there. ENOENT, ENAMETOOLONG."""
        slot = self.names.get(name)
        if slot is None:
            fail(errno.ENAMETOOLONG if len(name) > NAME_MAX else errno.ENOENT)
        return slot

    def _check_writable(self) -> None:
        if self.filesystem.read_only:
            fail(errno.EROFS)

    # ---------------------------------------------------------------- making

    def create(self, name: bytes, mode: int, rdev: int = 0, uid: int = 0, gid: int = 0) -> RamNode:
        filesystem = self.filesystem
        with filesystem.lock:
            self._check_new(name)
            kind = stat.S_IFMT(mode)
            node: RamNode
            if kind == stat.S_IFREG or not kind:
                node = RamFile(filesystem, mode, uid, gid)
            elif kind in SPECIAL:
                is_device = kind in (stat.S_IFCHR, stat.S_IFBLK)
                node = RamNode(filesystem, kind | mode & 0o7777, uid, gid, rdev if is_device else 0)
            else:
                fail(errno.EPERM if kind == stat.S_IFDIR else errno.EINVAL)
            self._enter(name, node)
            return node

    def mkdir(self, name: bytes, mode: int, uid: int = 0, gid: int = 0) -> RamDirectory:
        filesystem = self.filesystem
        with filesystem.lock:
            self._check_new(name)
            node = RamDirectory(filesystem, mode, uid, gid)
            node.above = self
            self._enter(name, node)
            self.nlink += 1
            return node

    def symlink(self, name: bytes, target: bytes, uid: int = 0, gid: int = 0) -> RamLink:
        if not target:
            fail(errno.ENOENT)
        if len(target) > TARGET_MAX:
            fail(errno.ENAMETOOLONG)
        filesystem = self.filesystem
        with filesystem.lock:
            self._check_new(name)
            if len(target) > SHORT_LINK and filesystem.free() < 1:
                fail(errno.ENOSPC)
            node = RamLink(filesystem, target, uid, gid)
            self._enter(name, node)
            return node

    def temporary(self, mode: int, uid: int = 0, gid: int = 0) -> RamFile:
        filesystem = self.filesystem
        with filesystem.lock:
            self._check_writable()
            if not self.nlink:
                fail(errno.ENOENT)
            filesystem.check_inodes()
            node = RamFile(filesystem, mode, uid, gid)
            node.inherit(self)
            node.nlink, node.linkable = 0, True
            filesystem.removed[node.ino] = weakref.ref(node)
            return node

    def link(self, name: bytes, node: Node) -> None:
        filesystem = self.filesystem
        if node.filesystem is not filesystem or not isinstance(node, RamNode):
            fail(errno.EXDEV)
        with filesystem.lock:
            if name in self.names:
                fail(errno.EEXIST)
            if len(name) > NAME_MAX:
                fail(errno.ENAMETOOLONG)
            self._check_writable()
            if not self.nlink:
                fail(errno.ENOENT)
            if isinstance(node, RamDirectory):
                fail(errno.EPERM)
            if not node.nlink:
                if not (isinstance(node, RamFile) and node.linkable):
                    fail(errno.ENOENT)
                filesystem.removed.pop(node.ino, None)
                filesystem.nodes[node.ino] = node
                node.linkable = False
            elif node.nlink >= LINK_MAX:
                fail(errno.EMLINK)
            node.nlink += 1
            self._add(name, node)
            node.ctime = self.ctime

    # ---------------------------------------------------------------- removing

    def unlink(self, name: bytes) -> None:
        with self.filesystem.lock:
            self._check_writable()
            slot = self._slot(name)
            node = slot.node
            assert node is not None
            if isinstance(node, RamDirectory):
                fail(errno.EISDIR)
            self._take(slot)
            self._drop(node)

    def rmdir(self, name: bytes) -> None:
        with self.filesystem.lock:
            self._check_writable()
            slot = self._slot(name)
            node = slot.node
            if not isinstance(node, RamDirectory):
                fail(errno.ENOTDIR)
            if node.names:
                fail(errno.ENOTEMPTY)
            self._take(slot)
            self._drop(node)

    def _drop(self, node: RamNode) -> None:
        """*node* has lost the name that it had in this directory."""
        if isinstance(node, RamDirectory):
            node.nlink = 0
            self.nlink -= 1
        else:
            node.nlink -= 1
        node.ctime = self.ctime
        if not node.nlink:
            filesystem = self.filesystem
            # After `close` nobody has a number any more.
            if filesystem.nodes.pop(node.ino, None) is not None:
                filesystem.removed[node.ino] = weakref.ref(node)

    # ---------------------------------------------------------------- renaming

    def rename(self, name: bytes, directory: Node, new_name: bytes, flags: int = 0) -> None:
        if flags & ~(NOREPLACE | EXCHANGE | WHITEOUT) or (flags & EXCHANGE and flags & (NOREPLACE | WHITEOUT)):
            fail(errno.EINVAL)
        filesystem = self.filesystem
        if directory.filesystem is not filesystem:
            fail(errno.EXDEV)
        if not isinstance(directory, RamDirectory):
            fail(errno.ENOTDIR)
        with filesystem.lock:
            self._check_writable()
            source = self._slot(name)
            target = directory.names.get(new_name)
            if len(new_name) > NAME_MAX:
                fail(errno.ENAMETOOLONG)
            moved = source.node
            replaced = target.node if target is not None else None
            assert moved is not None
            directory._check_rename(self, moved, replaced, flags)
            if moved is replaced:
                return
            if flags & EXCHANGE:
                assert target is not None and replaced is not None
                source.node, target.node = replaced, moved
                self._moved(moved, directory)
                directory._moved(replaced, self)
            else:
                if flags & WHITEOUT:
                    filesystem.check_inodes()
                    whiteout = RamNode(filesystem, stat.S_IFCHR, 0, 0)
                    filesystem.nodes[whiteout.ino] = whiteout
                    source.node = whiteout
                else:
                    self._take(source)
                if target is not None and replaced is not None:
                    target.node = moved
                    directory._drop(replaced)
                else:
                    directory._add(new_name, moved)
                self._moved(moved, directory)
            now = clock.now()
            self.mtime = self.ctime = directory.mtime = directory.ctime = moved.ctime = now
            if replaced is not None:
                replaced.ctime = now

    def _check_rename(self, origin: RamDirectory, moved: RamNode, replaced: RamNode | None, flags: int) -> None:
        """Whether *moved*, of the directory *origin*, may come here in place of *replaced*; in the order of do_renameat2 of
        `fs/namei.c`. EEXIST, ENOENT, EINVAL, ENOTEMPTY, ENOTDIR, EISDIR."""
        if replaced is not None and flags & NOREPLACE:
            fail(errno.EEXIST)
        if replaced is None and flags & EXCHANGE:
            fail(errno.ENOENT)
        if isinstance(moved, RamDirectory) and self._is_below(moved):
            fail(errno.EINVAL)
        if isinstance(replaced, RamDirectory) and origin._is_below(replaced):
            fail(errno.EINVAL if flags & EXCHANGE else errno.ENOTEMPTY)
        if not self.nlink:
            fail(errno.ENOENT)
        if replaced is None or replaced is moved or flags & EXCHANGE:
            return
        if isinstance(moved, RamDirectory):
            if not isinstance(replaced, RamDirectory):
                fail(errno.ENOTDIR)
            if replaced.names:
                fail(errno.ENOTEMPTY)
        elif isinstance(replaced, RamDirectory):
            fail(errno.EISDIR)

    def _is_below(self, other: RamDirectory) -> bool:
        """Whether this directory is *other* or lies below it."""
        each = self
        while each is not other:
            if each.above is each:
                return False
            each = each.above
        return True

    def _moved(self, node: RamNode, directory: RamDirectory) -> None:
        """*node* has moved from here to *directory*."""
        if isinstance(node, RamDirectory):
            node.above = directory
            self.nlink -= 1
            directory.nlink += 1
