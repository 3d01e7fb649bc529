"""The mount: descriptors of directories, kept within bounds; numbers; the nodes that somebody holds."""

from __future__ import annotations

import errno
import functools
import os
import weakref
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

from vfs.api import Filesystem, HostDirectory, StatFs
from vfs.hostfs import linux
from vfs.hostfs.mounts import LaterMounts

KEPT: Final = 128
"""Descriptors of directories kept: between this many and twice as many."""

DEVICE_SHIFT: Final = 48

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def unnamed(call: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Errors of the host name its files, or ours in /proc: take the names out, the caller knows what it asked for."""

    @functools.wraps(call)
    def wrapped(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        try:
            return call(*arguments, **named)
        except OSError as error:
            if error.filename is None:
                raise
            raise OSError(error.errno, os.strerror(error.errno or errno.EIO)) from None

    return wrapped


class Descriptor:
    """A descriptor of ours, closed when nobody has this object any more. Whoever uses *fd* or *path* holds the object in a
    variable meanwhile: then no other thread that drops it closes anything under his hands."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self, close: Any = os.close) -> None:
        close(self.fd)

    @property
    def path(self) -> bytes:
        """A name for what is open here, which calls that want a name follow to it and to nothing else."""
        return b"/proc/self/fd/%d" % self.fd


class HostFilesystem(Filesystem):
    """A directory of the host."""

    type = "hostfs"
    stable_numbers = False
    changes_outside = True

    def __init__(self, source: HostDirectory, read_only: bool) -> None:
        super().__init__()
        from vfs.hostfs.directory import DirectoryNode

        self.read_only = read_only
        self.top = Descriptor(os.dup(source.fd))
        found = linux.statx(self.top.fd, linux.NOWHERE)
        self.device = found[0]
        self._devices: dict[int, int] = {}
        self._young: dict[tuple[int, int], Descriptor] = {}
        self._old: dict[tuple[int, int], Descriptor] = {}
        self.nodes: weakref.WeakValueDictionary[tuple[int, int], Any] = weakref.WeakValueDictionary()
        """By device and number: what somebody holds. One object an inode, so that a rename moves it for all who hold it."""
        self.owner = os.geteuid()
        """Whom belongs what we create."""
        self.mounts = LaterMounts(self.top.fd)
        self._root = DirectoryNode(self, found, None, b"")
        self.nodes[self._root.key] = self._root
        self._source = source

    @property
    def root(self) -> Any:
        return self._root

    # ---------------------------------------------------------------- numbers

    def number(self, device: int, ino: int) -> int:
        """What we call an inode of the host."""
        if device == self.device:
            return ino
        index = self._devices.get(device)
        if index is None:
            index = self._devices.setdefault(device, len(self._devices) + 1)
        return (ino ^ index << DEVICE_SHIFT) & (1 << 64) - 1

    # ---------------------------------------------------------------- descriptors of directories

    def kept(self, key: tuple[int, int]) -> Descriptor | None:
        """The descriptor kept of a directory, if it is."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.keep(key, found)
        return found

    def keep(self, key: tuple[int, int], descriptor: Descriptor) -> None:
        """Keep a descriptor; the oldest half goes where they become too many."""
        if len(self._young) >= KEPT:
            self._old, self._young = self._young, {}
        self._young[key] = descriptor

    # ---------------------------------------------------------------- the whole

    @unnamed
    def statfs(self) -> StatFs:
        return linux.fstatfs(self.top.fd)

    def details(self) -> dict[str, str | int]:
        return {"directory": self._source.name, "descriptors kept": len(self._young) + len(self._old)}

    @unnamed
    def sync(self) -> None:
        descriptor = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.top.fd)
        try:
            linux.syncfs(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        self._young, self._old = {}, {}
        self.mounts.close()
        self._source.close()
