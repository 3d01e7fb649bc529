"""Opening an image through all its layers: `outer.img!inner/disk.img`.

    with open_image("disk.img") as image:
        print(image.read_bytes("/etc/hostname"))

Each part between `!` is a path: the first on the host, the next ones inside what the one before holds. Formats are detected
where no type is given; the type and the options are those of the innermost layer. A directory is as good a source as a file.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from vfs.api import registry
from vfs.api.closing import Closing
from vfs.api.device import Device
from vfs.api.errors import fail, message, unsupported
from vfs.api.filesystem import Filesystem
from vfs.api.module import NO, Module, Source
from vfs.api.node import Node
from vfs.api.options import parse, parse_all
from vfs.api.storage import FileStorage, HostDirectory, NodeStorage
from vfs.api.walk import resolve


@dataclass
class Layer:
    """One opened layer: *type* is its module's name, *source* says what it was read from."""

    type: str
    source: str
    mounted: Filesystem | Device


class Image(Closing):
    """An opened stack of layers, the outermost first. Closing it closes all, the innermost first. *front* are the front end's
    own options, one instance of each class that it named."""

    def __init__(self, layers: list[Layer], undo: ExitStack, front: list[Any]) -> None:
        self.layers = layers
        self._undo = undo
        self.front = front

    @property
    def filesystem(self) -> Filesystem:
        """The innermost file system."""
        mounted = self.layers[-1].mounted
        if isinstance(mounted, Filesystem):
            return mounted
        raise unsupported(f"{self.layers[-1].source}: a device ({mounted.type}), choose a partition")

    @property
    def root(self) -> Node:
        return self.filesystem.root

    def resolve(self, path: bytes | str, follow: bool = True) -> Node:
        """The node at *path* in the innermost file system. ENOENT, ENOTDIR, ELOOP."""
        return resolve(self.root, os.fsencode(path), follow)

    def read_bytes(self, path: bytes | str) -> bytes:
        """The whole content of a file. ENOENT, EISDIR, and what else `Node.open` and reading give."""
        with self.resolve(path).open(os.O_RDONLY) as handle:
            return bytes(handle.read(0, handle.size()))

    def listdir(self, path: bytes | str = "/") -> list[str]:
        """The names in a directory, sorted; `os.fsencode` gives their bytes. ENOENT, ENOTDIR."""
        return sorted(os.fsdecode(entry.name) for entry in self.resolve(path).entries())

    def close(self) -> None:
        self._undo.close()


def mount(source: Source, type: str | None = None, options: str = "") -> Filesystem | Device:
    """Mount one source. ENODEV: unknown type; EINVAL: unknown format or option; else the module's.
    On failure the source stays the caller's."""
    module = registry.find(type) if type else registry.detect(source)
    return module.mount(source, parse(options, module.options))


def host_source(path: bytes | str, writable: bool = False) -> FileStorage | HostDirectory:
    """What lies at a path of the host: a directory, or a file or block device, to be written if *writable*. As open(2), and
    what `FileStorage` gives."""
    return HostDirectory(path) if os.path.isdir(path) else FileStorage(path, writable)


def fit(source: Source, module: Module | None, undo: ExitStack) -> tuple[Module, Source]:
    """The module for *source*, detected where it is `None`, and the source as that module takes it.

    Only modules that show host directories take a `HostDirectory`; for others such a module mounts it, which *undo* then ends,
    and they get the root. Of a directory that no other module claims, the one that shows it is the module. EINVAL: nobody
    knows it."""
    if not isinstance(source, HostDirectory):
        return module or registry.detect(source), source
    if module is not None and module.probe(source) > NO:
        return module, source
    showing = registry.detect(source)
    tree = showing.mount(source.again(), showing.options())
    if not isinstance(tree, Filesystem):
        tree.close()
        raise unsupported(f"{source.name}: {tree.type} makes no directory of it")
    with ExitStack() as attempt:
        attempt.enter_context(tree)
        try:
            chosen = module or registry.detect(tree.root)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return showing, source
        undo.enter_context(attempt.pop_all())
        return chosen, tree.root


def open_image(
    spec: bytes | str, type: str | None = None, options: str = "", writable: bool = False, front: tuple[type[Any], ...] = ()
) -> Image:
    """Open *spec* (see above) through all its layers. Errors carry the failing part's path in `filename`. *front*: classes of
    options that the front end takes from the same text."""
    parts = os.fsencode(spec).split(b"!")
    # A host file whose own name has a `!` is taken as it is.
    if len(parts) > 1 and os.path.lexists(spec):
        parts = [os.fsencode(spec)]
    layers: list[Layer] = []
    chosen: list[Any] = []
    with ExitStack() as undo:
        for depth, part in enumerate(parts):
            name = os.fsdecode(b"!".join(parts[: depth + 1]))
            innermost = depth == len(parts) - 1
            try:
                module = registry.find(type) if type and innermost else None
                source: Source
                if depth:
                    source = undo.enter_context(NodeStorage(_inside(layers[-1], part), name, writable))
                elif module is not None and module.sourceless:
                    source = None
                else:
                    source = host_source(part, writable)
                    undo.enter_context(source)
                module, source = fit(source, module, undo)
                own, *chosen = parse_all(options if innermost else "", module.options, *front)
                mounted = module.mount(source, own)
            except OSError as error:
                if error.filename is None:
                    raise OSError(error.errno or errno.EIO, message(error), name) from error
                raise
            undo.enter_context(mounted)
            layers.append(Layer(mounted.type, name, mounted))
        return Image(layers, undo.pop_all(), chosen)


def _inside(layer: Layer, path: bytes) -> Node:
    if isinstance(layer.mounted, Device):
        fail(errno.EOPNOTSUPP, f"{layer.source}: a device ({layer.type}), choose a partition")
    return resolve(layer.mounted.root, path)
