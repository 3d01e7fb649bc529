"""Mirrors: real directories in which the changes of watched virtual ones are repeated, for inotify.

Who watches a virtual directory watches a directory of ours with the same names in it, all empty. What happens to the virtual
entries is done to these as well: the kernel makes the events. Files are watched by what stands for them (`calls/watches`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from vfs.api import fail
from vfs.view.scratch import Scratch

if TYPE_CHECKING:
    from vfs.view.dentry import Dentry
    from vfs.view.mounts import Superblock

MOST: Final = 1024
"""Directories. They stay until the view ends: nobody tells when a watch is gone."""

Key = tuple["Superblock", int]


def key_of(directory: Dentry) -> Key:
    return directory.mount.superblock, directory.node.ino


class Mirrors:
    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch
        self.paths: dict[Key, bytes] = {}
        self.count = 0

    def watched(self, directory: Dentry) -> bytes:
        """The path of a directory's mirror. ENOSPC: too many."""
        path = self.paths.get(key_of(directory))
        if path is None:
            if self.count >= MOST:
                fail(errno.ENOSPC)
            path = self.scratch.private_directory(b"watch.%d" % self.count)
            os.chmod(path, 0o755)
            self.count += 1
            for entry in directory.node.entries():
                make(path + b"/" + entry.name, entry.type == stat.S_IFDIR >> 12)
            self.paths[key_of(directory)] = path
        return path

    def forget_filesystem(self, superblock: Superblock) -> None:
        """It is closed: who watches its directories hears that they are gone."""
        for key in [key for key in self.paths if key[0] is superblock]:
            self.end(self.paths.pop(key))

    # ---------------------------------------------------------------- what happened to an entry

    def appeared(self, directory: Dentry, name: bytes) -> None:
        path = self.paths.get(key_of(directory))
        if path is not None:
            with contextlib.suppress(OSError):
                make(path + b"/" + name, directory.node.lookup(name).stat().is_directory)

    def vanished(self, directory: Dentry, name: bytes, removed: Dentry | None) -> None:
        """*removed*: its dentry, where somebody holds it (who watches it does)."""
        if removed is not None and key_of(removed) in self.paths:
            self.end(self.paths.pop(key_of(removed)))
        path = self.paths.get(key_of(directory))
        if path is not None:
            unmake(path + b"/" + name)

    def moved(self, directory: Dentry, name: bytes, new: Dentry, new_name: bytes, exchanged: bool) -> None:
        path, new_path = self.paths.get(key_of(directory)), self.paths.get(key_of(new))
        if path is None and new_path is None:
            return
        elsewhere = self.scratch.path + b"/moved"
        source = path + b"/" + name if path is not None else elsewhere
        target = new_path + b"/" + new_name if new_path is not None else elsewhere
        with contextlib.suppress(OSError):
            if path is None:  # it comes from where nobody looks
                make(elsewhere, new.node.lookup(new_name).stat().is_directory)
            if exchanged:
                os.rename(target, elsewhere + b".2")
            elif new_path is not None and os.path.isdir(target) != os.path.isdir(source):
                unmake(target)
            os.rename(source, target)
            if exchanged:
                os.rename(elsewhere + b".2", source)
        unmake(elsewhere)

    def written(self, dentry: Dentry) -> None:
        """A file was written, and closed."""
        path = self.paths.get(key_of(dentry.parent)) if dentry.parent is not None and not dentry.removed else None
        if path is not None:
            with contextlib.suppress(OSError), open(path + b"/" + dentry.name, "r+b", buffering=0) as file:
                file.write(b".")

    def end(self, path: bytes) -> None:
        for name in os.listdir(path):
            unmake(path + b"/" + name)
        unmake(path)


def make(path: bytes, is_directory: bool) -> None:
    if is_directory:
        os.mkdir(path)
    else:
        os.mknod(path)


def unmake(path: bytes) -> None:
    try:
        os.unlink(path)
    except IsADirectoryError:
        os.rmdir(path)
    except OSError:
        pass
