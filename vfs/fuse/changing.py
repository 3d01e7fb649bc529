"""Requests that change a mount which can be written.

Every change goes through to the module at once: what has no room is refused by write(2), not later. So there is no writeback
cache. Names and attributes stay as long as for reading (see `operations`): all changes come this way, and the kernel knows what
it asked for; where others change the file system too (`Filesystem.changes_outside`), it asks again after a second.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from vfs.api.node import Change, Node, opened_wide
from vfs.fuse.operations import Operations, failure

if TYPE_CHECKING:
    from pyfuse3 import EntryAttributes, FileHandleT, FileInfo, FileNameT, FlagT, InodeT, ModeT, RequestContext, SetattrFields

MADE_BY_US = os.O_CREAT | os.O_EXCL
"""Flags of open(2) that were done by making the file."""


class ChangingOperations(Operations):
    """The handlers of a mount that can be written."""

    # ---------------------------------------------------------------- making

    async def mknod(self, parent_inode: InodeT, name: FileNameT, mode: ModeT, rdev: int, ctx: RequestContext) -> EntryAttributes:
        try:
            return self._known(self._nodes.get(parent_inode).create(name, mode, rdev, ctx.uid, ctx.gid))
        except Exception as error:
            raise failure(error) from None

    async def mkdir(self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: RequestContext) -> EntryAttributes:
        try:
            return self._known(self._nodes.get(parent_inode).mkdir(name, mode, ctx.uid, ctx.gid))
        except Exception as error:
            raise failure(error) from None

    async def symlink(self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext) -> EntryAttributes:
        try:
            return self._known(self._nodes.get(parent_inode).symlink(name, target, ctx.uid, ctx.gid))
        except Exception as error:
            raise failure(error) from None

    async def link(self, inode: InodeT, new_parent_inode: InodeT, new_name: FileNameT, ctx: RequestContext) -> EntryAttributes:
        try:
            node = self._nodes.get(inode)
            self._nodes.get(new_parent_inode).link(new_name, node)
            return self._known(node)
        except Exception as error:
            raise failure(error) from None

    async def create(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, flags: FlagT, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        try:
            directory = self._nodes.get(parent_inode)
            try:
                node = directory.create(name, mode, 0, ctx.uid, ctx.gid)
            except FileExistsError:
                if flags & os.O_EXCL:
                    raise
                node = directory.lookup(name)  # made from outside, since the kernel looked
            entry = self._known(node)
            return self._open_new(entry.st_ino, node, flags & ~MADE_BY_US), entry
        except Exception as error:
            raise failure(error) from None

    def _open_new(self, inode: InodeT, node: Node, flags: int) -> FileInfo:
        """Open what was just made: as it is asked for, whatever its mode."""
        try:
            return self._opened_file(inode, node.open(flags))
        except PermissionError:
            with opened_wide(node):
                return self._opened_file(inode, node.open(flags))

    # ---------------------------------------------------------------- removing and moving

    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        self._remove(parent_inode, name, lambda directory: directory.unlink(name))

    async def rmdir(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        self._remove(parent_inode, name, lambda directory: directory.rmdir(name))

    def _remove(self, parent_inode: InodeT, name: FileNameT, remove: Callable[[Node], None]) -> None:
        try:
            directory = self._nodes.get(parent_inode)
            node = directory.lookup(name)
            remove(directory)
            self._nodes.pin(node)
        except Exception as error:
            raise failure(error) from None

    async def rename(
        self,
        parent_inode_old: InodeT,
        name_old: FileNameT,
        parent_inode_new: InodeT,
        name_new: FileNameT,
        flags: FlagT,
        ctx: RequestContext,
    ) -> None:
        try:
            old, new = self._nodes.get(parent_inode_old), self._nodes.get(parent_inode_new)
            try:
                replaced: Node | None = new.lookup(name_new)
            except FileNotFoundError:
                replaced = None
            old.rename(name_old, new, name_new, flags)
            if replaced is not None:
                self._nodes.pin(replaced)
        except Exception as error:
            raise failure(error) from None

    # ---------------------------------------------------------------- attributes

    async def setattr(
        self, inode: InodeT, attr: EntryAttributes, fields: SetattrFields, fh: FileHandleT | None, ctx: RequestContext
    ) -> EntryAttributes:
        try:
            node = self._nodes.get(inode)
            change = Change()
            if fields.update_mode:
                change.mode = attr.st_mode
            if fields.update_uid:
                change.uid = attr.st_uid
            if fields.update_gid:
                change.gid = attr.st_gid
            if fields.update_size:
                change.size = attr.st_size
            if fields.update_atime:
                change.atime = attr.st_atime_ns
            if fields.update_mtime:
                change.mtime = attr.st_mtime_ns
            if change != Change():
                node.set(change)
            return self._attributes(node, inode)
        except Exception as error:
            raise failure(error) from None

    async def setxattr(self, inode: InodeT, name: FileNameT, value: bytes, ctx: RequestContext) -> None:
        try:
            self._nodes.get(inode).setxattr(name, value)
        except Exception as error:
            raise failure(error) from None

    async def removexattr(self, inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        try:
            self._nodes.get(inode).removexattr(name)
        except Exception as error:
            raise failure(error) from None

    # ---------------------------------------------------------------- content

    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        try:
            return self._handles[fh].write(off, buf)
        except Exception as error:
            raise failure(error) from None

    async def flush(self, fh: FileHandleT) -> None:
        try:
            self._handles[fh].flush()
        except Exception as error:
            raise failure(error) from None

    async def fsync(self, fh: FileHandleT, datasync: bool) -> None:
        try:
            self._handles[fh].fsync()
        except Exception as error:
            raise failure(error) from None

    async def fsyncdir(self, fh: FileHandleT, datasync: bool) -> None:
        try:
            self._filesystem.sync()
        except Exception as error:
            raise failure(error) from None
