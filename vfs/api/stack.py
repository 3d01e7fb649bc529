"""Opening an image through all its layers: `outer.img!inner/disk.img`.

    with open_image("disk.qcow2") as image:
        print(image.read_bytes("/p1/etc/hostname"))

Each part between `!` is a path: the first on the host, the next ones inside what the one before holds. Formats are detected
where no type is given, from the outside to the inside: a virtual disk is a container, what counts is the disk in it; a disk is
a file system, or a table of partitions, or neither.

Where a table, or a disk with nothing known on it, is the last layer, there are two ways to see it: as the device that it is
(`Image.layers`), or as a directory of `disk`, `p1`, `p2` … (`Image.filesystem`, `vfs.api.devicetree`). A partition's number
chooses what is in that partition, and so does a part that is `/p2`.

A type names the innermost layer. Options are offered to all layers of the innermost part, and each takes those that it knows.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from vfs.api import registry
from vfs.api.closing import Closing
from vfs.api.device import Device
from vfs.api.devicetree import DeviceTree, part_number
from vfs.api.errors import fail, message, unsupported
from vfs.api.filesystem import Filesystem
from vfs.api.module import NO, Module, Source
from vfs.api.node import Node
from vfs.api.options import Offer, Options, open_paths, parse
from vfs.api.storage import FileStorage, HostDirectory, NodeStorage, Storage
from vfs.api.walk import locate, resolve

MAX_LAYERS = 16
"""Containers in one another: an image that contains itself ends here."""

Visitor = Callable[[Module, Source, Any, str], None]
"""Told of each layer before it is mounted: module, source, the module's options, name."""


@dataclass
class Layer:
    """One opened layer: *type* is its module's name, *source* says what it was read from."""

    type: str
    source: str
    mounted: Filesystem | Device


class Image(Closing):
    """An opened stack of layers, the outermost first. Closing it closes all, the innermost first. *front* are the front end's
    own options, one instance of each class that it named. *failure*: what kept the layers after these from being opened, where
    that was to be borne."""

    def __init__(self, layers: list[Layer], undo: ExitStack, front: list[Any], failure: OSError | None = None) -> None:
        self.layers = layers
        self._undo = undo
        self.front = front
        self.failure = failure
        self._tree: DeviceTree | None = None

    @property
    def filesystem(self) -> Filesystem:
        """The innermost file system; where that is a device, the one that shows its parts."""
        mounted = self.layers[-1].mounted
        if isinstance(mounted, Filesystem):
            return mounted
        if mounted.character:
            raise unsupported(f"a character device ({mounted.type}), no file system")
        if self._tree is None:
            self._tree = self._undo.enter_context(DeviceTree(mounted))
        return self._tree

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


class OpenDisk(Closing):
    """The bytes that the layers lead to, as a *storage*; *layers* may be none. Closing it closes all."""

    def __init__(self, storage: Storage, layers: list[Layer], undo: ExitStack) -> None:
        self.storage, self.layers = storage, layers
        self._undo = undo

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
    spec: bytes | str,
    type: str | None = None,
    options: str = "",
    writable: bool = False,
    front: tuple[type[Any], ...] = (),
    partition: int | None = None,
    patient: bool = False,
    visit: Visitor = lambda module, source, options, name: None,
) -> Image:
    """Open *spec* (see above) through all its layers. Errors carry the failing part's path in `filename`. *front*: classes of
    options that the front end takes from the same text. *patient*: where the first layer could be opened, a later one that
    could not is told in `Image.failure`."""
    with ExitStack() as undo:
        pile = _Pile(undo, writable, visit)
        failure = None
        offer = Offer(options)
        chosen = [offer.take(owner) for owner in front]
        try:
            source, name = pile.reach(_parts(spec), type)
            with _named(name):
                pile.stack(source, name, type, offer, partition)
                offer.end()
        except OSError as error:
            if not (patient and pile.layers):
                raise
            failure = error
        return Image(pile.layers, undo.pop_all(), chosen, failure)


def open_disk(
    spec: bytes | str,
    type: str | None = None,
    options: str = "",
    writable: bool = False,
    partition: int | None = None,
) -> OpenDisk:
    """Open the bytes that *spec* leads to: those of the file, or of the disk in it where it is a virtual disk, or of one of its
    partitions. Whether they are a file system is not asked; where no format is known, they are the file's. As `open_image`."""
    with ExitStack() as undo:
        pile = _Pile(undo, writable)
        offer = Offer(options)
        offer.take(Options)  # `ro` may be said of a plain file too
        source, name = pile.reach(_parts(spec), type)
        with _named(name):
            found = pile.stack(source, name, type, offer, partition, content=False)
            offer.end()
            if not isinstance(found, Storage):
                fail(errno.EISDIR, f"{pile.layers[-1].type} gives no disk" if pile.layers else "a directory, not a disk")
        return OpenDisk(found, pile.layers, undo.pop_all())


def open_source(source: Source, name: str, type: str | None = None, options: str = "", partition: int | None = None) -> Image:
    """As `open_image`, for a source that is open already; *name* is for messages. On failure it stays the caller's."""
    with ExitStack() as undo, _named(name):
        pile = _Pile(undo, False)
        offer = Offer(options)
        pile.stack(source, name, type, offer, partition)
        offer.end()
        return Image(pile.layers, undo.pop_all(), [])


def _parts(spec: bytes | str) -> list[bytes]:
    # A host file whose own name has a `!` is taken as it is.
    return [os.fsencode(spec)] if os.path.lexists(spec) else os.fsencode(spec).split(b"!")


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Errors in the block name what could not be opened."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise OSError(error.errno or errno.EIO, message(error).removeprefix(f"{name}: "), name) from error
        raise


class _Pile:
    """Layers that are being opened. *undo* closes them, whatever comes."""

    def __init__(self, undo: ExitStack, writable: bool, visit: Visitor = lambda module, source, options, name: None) -> None:
        self.layers: list[Layer] = []
        self._undo, self._writable, self._visit = undo, writable, visit

    def reach(self, parts: list[bytes], type: str | None) -> tuple[Source, str]:
        """Open all parts but the last with all that is in them: the last one as a source, and its name."""
        name, outer = os.fsdecode(parts[0]), parts[1:]
        with _named(name):
            if type and not outer and registry.find(type).sourceless:
                return None, name
            here = host_source(name, self._writable)
            self._undo.enter_context(here)
            source: Source = here
        for path in outer:
            with _named(name):
                self.stack(source, name, None, Offer("rw+" if self._writable else ""), None)
            name += "!" + os.fsdecode(path)
            with _named(name):
                source = self._inside(self.layers[-1], path, name)
        return source, name

    def _inside(self, layer: Layer, path: bytes, name: str) -> Source:
        """The source at *path* in the last layer: a file's content, or a part of a device."""
        while isinstance(layer.mounted, Device):
            device = layer.mounted
            first, _, path = path.strip(b"/").partition(b"/")
            number = part_number(first, device)
            source = self._undo.enter_context(device.hold(number))
            if not path.strip(b"/"):
                return source
            part = f"{layer.source}!/{os.fsdecode(first)}"
            count = len(self.layers)
            # The whole of a device is what it is: only parts have something in them.
            with _named(part):
                if number:
                    self.stack(source, part, None, Offer("rw+" if self._writable else ""), None)
                if len(self.layers) == count:
                    fail(errno.ENOTDIR)
            layer = self.layers[-1]
        found, node = locate(layer.mounted.root, path)
        directory = resolve(layer.mounted.root, os.path.dirname(found))
        return self._undo.enter_context(NodeStorage(node, name, self._writable, directory))

    def stack(
        self, source: Source, name: str, type: str | None, offer: Offer, partition: int | None, content: bool = True
    ) -> Source:
        """Open the layers in *source*; what is left when no further one is known: `None` when the last one took it. *content*:
        the content of a disk is wanted, otherwise the disk. EINVAL: nothing is known, and content was wanted."""
        wanted = registry.find(type) if type else None
        first = len(self.layers)
        empty = True  # nothing is known yet of what is to be shown
        while True:
            with _named(name):
                module = self._choose(source, wanted, partition, content)
                if module is None and (isinstance(source, Storage) or not content):
                    if content and empty:
                        fail(errno.EINVAL, "not an image of any known format")
                    return source
                if len(self.layers) >= first + MAX_LAYERS:
                    fail(errno.ELOOP, f"more than {MAX_LAYERS} layers")
                asked, empty = module is wanted, False
                module, mounted = self._mount(module, source, name, offer)
            if isinstance(mounted, Filesystem) or mounted.character:
                return None
            if asked:
                wanted = None
            if partition is not None and not module.container:
                name += f"!/p{partition}"
                source = self._undo.enter_context(mounted.hold(partition))
                partition, empty = None, True
            elif content and (not module.container or (asked and partition is None)):
                return None
            else:
                source = self._undo.enter_context(mounted.hold(0))
                if asked and partition is None:
                    return source

    def _choose(self, source: Source, wanted: Module | None, partition: int | None, content: bool) -> Module | None:
        """The module of the next layer, `None` where there is none, or none is wanted, or `fit` finds it. EINVAL: a partition is
        wanted and there is no table."""
        ready = wanted is not None and (partition is None or registry.kind(wanted.name) == "device")
        if not isinstance(source, Storage):
            return wanted
        if wanted is not None and ready and wanted.probe(source) > NO:
            return wanted
        try:
            found = registry.detect(source)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            found = None
        if found is not None and found.container:
            return found
        if ready:
            return wanted
        if partition is not None:
            if found is None or registry.kind(found.name) != "device":
                fail(errno.EINVAL, f"has no partitions{f': its content is {found.name}' if found else ''}")
            return found
        return found if content else None

    def _mount(self, module: Module | None, source: Source, name: str, offer: Offer) -> tuple[Module, Filesystem | Device]:
        """One more layer."""
        module, source = fit(source, module, self._undo)
        own = offer.take(module.options)
        if registry.kind(module.name) == "device":
            own.rw = own.rw or (self._writable and not own.ro)
        else:
            offer.end()
        open_paths(own, self._beyond)
        self._visit(module, source, own, name)
        mounted = module.mount(source, own)
        self._undo.enter_context(mounted)
        self.layers.append(Layer(mounted.type, name, mounted))
        return module, mounted

    def _beyond(self, path: str) -> Storage:
        """What an option names: a file of the host, or one in an image."""
        source, name = _Pile(self._undo, False).reach(_parts(os.path.abspath(path)), None)
        return source if isinstance(source, Storage) else fail(errno.EISDIR, f"{name}: a directory, not a file")
