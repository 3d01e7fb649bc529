"""The registry: which modules there are, by entry points and by nothing else.

Groups `vfs.filesystems`, `vfs.devices`, `vfs.misc`; an entry point's name is the module's name, its object a `Module` class.
The book's names are taken as well: `umfuseext2`, `umdevmbr`, `ummiscuname` are `ext2`, `mbr`, `uname`. No module is imported
before it is wanted.
"""

from __future__ import annotations

import errno
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import NamedTuple

from vfs.api.errors import fail
from vfs.api.module import NO, Module, Source

GROUPS = {"filesystem": "vfs.filesystems", "device": "vfs.devices", "misc": "vfs.misc"}
PREFIXES = {"filesystem": "umfuse", "device": "umdev", "misc": "ummisc"}


class Registered(NamedTuple):
    """One registered module: *kind* is `filesystem`, `device` or `misc`."""

    name: str
    kind: str
    point: EntryPoint

    def load(self) -> Module:
        """An instance of the module; imports it. EOPNOTSUPP: it cannot be imported (a library that it needs is missing)."""
        try:
            module: Module = self.point.load()()
        except ImportError as error:
            fail(errno.EOPNOTSUPP, f"module '{self.name}' cannot be loaded: {error}")
        return module


@cache
def modules() -> dict[str, Registered]:
    """All registered modules by name."""
    found: dict[str, Registered] = {}
    points = entry_points()
    for kind, group in GROUPS.items():
        for point in points.select(group=group):
            found.setdefault(point.name, Registered(point.name, kind, point))
    return found


def canonical(name: str) -> str:
    """The module's own name for one of its names: `umfuseext2` -> `ext2`. A name that is nobody's comes back as it is."""
    known = modules()
    if name in known:
        return name
    for kind, prefix in PREFIXES.items():
        short = name.removeprefix(prefix)
        if short != name and short in known and known[short].kind == kind:
            return short
    return name


def is_known(name: str) -> bool:
    """Whether *name* is, in either form, a registered module."""
    return canonical(name) in modules()


def find(name: str) -> Module:
    """The module called *name*, in either form. ENODEV: none such, as mount(2) says of an unknown type."""
    registered = modules().get(canonical(name))
    if registered is None:
        fail(errno.ENODEV, f"unknown type '{name}' (known: {', '.join(sorted(modules()))})")
    return registered.load()


def detect(source: Source) -> Module:
    """The module that is surest of *source*. EINVAL: none knows it."""
    best: Module | None = None
    confidence = NO
    for registered in modules().values():
        if registered.kind == "misc":
            continue
        try:
            module = registered.load()
        except OSError:  # its library is missing: the others may still know the image
            continue
        sure = module.probe(source)
        if sure > confidence:
            best, confidence = module, sure
    if best is None:
        fail(errno.EINVAL, "not an image of any known format")
    return best
