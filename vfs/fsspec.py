"""The fsspec interface: `fsspec.filesystem("vfs", image="disk.img")`, and URLs that chain.

    fs = fsspec.filesystem("vfs", image="disk.img")
    fs.ls("/etc"); fs.find("/"); fs.cat("/etc/hostname")

    fsspec.open("vfs://etc/hostname::disk.img")               a file in a local image
    fsspec.open("vfs://etc/hostname::https://HOST/disk.img")  an image wherever fsspec reaches; `::simplecache::` keeps it

Read-only. Names are absolute paths in the image, text with surrogates for bytes that are not UTF-8. A symbolic link is shown
as what it leads to, except in listings when that is a directory or nothing: then its type is `link`, so that a walk ends.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import threading
import weakref
from typing import Any, BinaryIO

import fsspec
from fsspec.spec import AbstractFileSystem

from vfs.api.errors import fail
from vfs.api.node import Handle, Node, Stat
from vfs.api.stack import open_image, open_source
from vfs.api.storage import Storage
from vfs.api.walk import resolve


class VfsFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """The innermost file system of an image.

    *image*: as `vfs.open_image` takes it (`disk.img`, `backup.img!/disk.img`); *type*, *options* and *partition* too. *fo* and
    the two after it are what fsspec itself passes for a chained URL. The image stays open, and locked against writers, until
    `close`.
    """

    protocol = "vfs"
    root_marker = "/"
    cachable = False  # an instance holds an open image

    def __init__(
        self,
        image: str = "",
        type: str | None = None,
        options: str = "",
        partition: int | None = None,
        fo: str = "",
        target_protocol: str | None = None,
        target_options: dict[str, Any] | None = None,
        **storage_options: Any,
    ) -> None:
        super().__init__(**storage_options)
        if not (image or fo):
            raise ValueError("name an image: fsspec.filesystem('vfs', image='disk.img')")
        with contextlib.ExitStack() as undo:
            if image or target_protocol in (None, "file", "local"):
                self._filesystem = undo.enter_context(open_image(image or fo, type, options, partition=partition)).filesystem
            else:
                file = fsspec.open(fo, "rb", protocol=target_protocol, **(target_options or {}))
                storage = undo.enter_context(_RemoteStorage(file, fo))
                self._filesystem = undo.enter_context(open_source(storage, fo, type, options, partition)).filesystem
            self.close = weakref.finalize(self, undo.pop_all().close)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        return "/" + os.fspath(path).removeprefix("vfs://").strip("/")

    def _node(self, path: str) -> Node:
        return resolve(self._filesystem.root, os.fsencode(self._strip_protocol(path)))

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        node = resolve(self._filesystem.root, os.fsencode(path), follow=False)
        found = node.stat()
        if not found.is_symlink:
            return _info(path, found)
        return _info(path, self._node(path).stat()) | {"islink": True, "destination": os.fsdecode(node.readlink())}

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        path = self._strip_protocol(path)
        node = self._node(path)
        if not node.stat().is_directory:
            return [self.info(path)] if detail else [path]
        base = path.rstrip("/") + "/"
        names = sorted((entry.name, entry) for entry in node.entries())
        if not detail:
            return [base + os.fsdecode(name) for name, _ in names]
        return [self._listed(base + os.fsdecode(name), node.child(entry)) for name, entry in names]

    def _listed(self, path: str, node: Node) -> dict[str, Any]:
        """What a listing tells of *node*, which is at *path*."""
        found = node.stat()
        if not found.is_symlink:
            return _info(path, found)
        link = {"islink": True, "destination": os.fsdecode(node.readlink())}
        with contextlib.suppress(OSError):
            target = self._node(path).stat()
            if not target.is_directory:
                return _info(path, target) | link
        return _info(path, found) | link

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> BinaryIO:
        if mode != "rb":
            fail(errno.EROFS, "images are opened for reading only")
        handle = self._node(path).open(os.O_RDONLY)
        return _Reader(_RawReader(handle))

    def created(self, path: str) -> Any:
        return _moment(self._node(path).stat().btime)

    def modified(self, path: str) -> Any:
        return _moment(self._node(path).stat().mtime)


def _info(path: str, found: Stat) -> dict[str, Any]:
    kinds = {0o040000: "directory", 0o100000: "file", 0o120000: "link"}
    return {
        "name": path,
        "type": kinds.get(found.mode & 0o170000, "other"),
        "size": found.size,
        "mode": found.mode,
        "uid": found.uid,
        "gid": found.gid,
        "mtime": found.mtime / 10**9,
        "created": None if found.btime is None else found.btime / 10**9,
        "ino": found.ino,
        "nlink": found.nlink,
        "islink": False,
    }


def _moment(nanoseconds: int | None) -> Any:
    from datetime import UTC, datetime, timedelta

    if nanoseconds is None:
        fail(errno.EOPNOTSUPP, "the file system does not record it")
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=nanoseconds // 1000)


class _RawReader(io.RawIOBase):
    """A handle with a position."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._position = 0
        self.size = handle.size()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if start + offset < 0:
            fail(errno.EINVAL)
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = self._handle.readinto(self._position, view[: max(0, self.size - self._position)])
        self._position += count
        return count

    def close(self) -> None:
        self._handle.close()
        super().close()


class _Reader(io.BufferedReader):
    """What `open` gives: a buffered reader that knows its size, as fsspec expects of a file."""

    def __init__(self, raw: _RawReader) -> None:
        super().__init__(raw, 256 << 10)
        self.size = raw.size


class _RemoteStorage(Storage):
    """A file (an `OpenFile`) of another fsspec file system, opened here; it has one position for all."""

    def __init__(self, file: Any, name: str) -> None:
        self.name = name
        self._owner = file  # with it goes its file system, which would close what it has open
        self._file = file.open()
        self._lock = threading.Lock()
        self.size = self._file.seek(0, os.SEEK_END)

    def readinto(self, offset: int, buffer: memoryview) -> int:
        done = 0
        with self._lock:
            self._file.seek(offset)
            while done < len(buffer):
                count = self._file.readinto(buffer[done:])
                if not count:
                    break
                done += count
        return done

    def close(self) -> None:
        self._file.close()
