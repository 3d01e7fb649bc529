"""The registry: which modules there are, by entry points and by nothing else.

Groups `vfs.filesystems`, `vfs.devices`, `vfs.misc`; an entry point's name is the module's name, its object a `Module` class.
The book's names are taken as well: `umfuseext2`, `umdevmbr`, `ummiscuname` are `ext2`, `mbr`, `uname`. No module is imported
before it is wanted.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from vfs.api.errors import fail
from vfs.api.module import NO, Format, Module, Source

GROUPS = {"filesystem": "vfs.filesystems", "device": "vfs.devices", "misc": "vfs.misc"}
PREFIXES = {"filesystem": "umfuse", "device": "umdev", "misc": "ummisc"}


class Registered(NamedTuple):
    """One registered module: *kind* is `filesystem`, `device` or `misc`, *value* says where it is: `package.file:Class`."""

    name: str
    kind: str
    value: str

    def load(self) -> Module:
        """An instance of the module; imports it. EOPNOTSUPP: it cannot be imported (a library that it needs is missing)."""
        file, _, name = self.value.partition(":")
        try:
            module: Module = getattr(importlib.import_module(file), name)()
        except (ImportError, AttributeError) as error:
            fail(errno.EOPNOTSUPP, f"module '{self.name}' cannot be loaded: {error}")
        return module


@cache
def modules() -> dict[str, Registered]:
    """All registered modules by name."""
    found: dict[str, Registered] = {}
    kinds = {group: kind for kind, group in GROUPS.items()}
    for group, name, value in _entry_points():
        if group in kinds:
            found.setdefault(name, Registered(name, kinds[group], value))
    return found


def _entry_points() -> Iterator[tuple[str, str, str]]:
    """Group, name and value of every entry point of what is installed, as `importlib.metadata.entry_points` finds them.

    Importing that costs 29 ms, a quarter of a whole `vfs ls`; reading the same files (PyPA specifications, "Entry points
    specification") costs one. It is asked only when something lies on the path that is no directory, such as a zip file.
    """
    seen: set[str] = set()
    for place in sys.path:
        if os.path.isfile(place):
            from importlib.metadata import entry_points

            yield from (
                (point.group, point.name, point.value) for group in GROUPS.values() for point in entry_points(group=group)
            )
            return
    for place in sys.path:
        try:
            names = sorted(os.listdir(place or "."))
        except OSError:
            continue
        for name in names:
            stem, ending = os.path.splitext(name)
            project = stem.partition("-")[0].lower().replace("_", "-").replace(".", "-")
            if ending not in (".dist-info", ".egg-info") or project in seen:
                continue
            seen.add(project)  # the first one on the path counts
            try:
                with open(os.path.join(place, name, "entry_points.txt"), encoding="utf-8") as lines:
                    yield from _parse(lines)
            except OSError:  # it has none
                continue


def _parse(lines: Iterator[str]) -> Iterator[tuple[str, str, str]]:
    """The entry points in the lines of an `entry_points.txt`."""
    group = ""
    for line in map(str.strip, lines):
        if line.startswith("["):
            group = line.strip("[]")
        elif "=" in line and line[0] not in "#;":
            name, _, value = line.partition("=")
            yield group, name.strip(), value.partition("[")[0].strip()


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


def kind(name: str) -> str:
    """`filesystem`, `device` or `misc`; empty for a name that is nobody's."""
    registered = modules().get(canonical(name))
    return registered.kind if registered is not None else ""


def _mounting(kinds: tuple[str, ...] = ("filesystem", "device")) -> Iterator[Module]:
    """The modules of these kinds that can be loaded: where a library is missing, the others may still know what is asked."""
    for registered in modules().values():
        if registered.kind in kinds:
            try:
                yield registered.load()
            except OSError:
                continue


def formats() -> dict[str, tuple[Format, Module]]:
    """What can be created: formats by name, each with the module that makes it."""
    return {format.name: (format, module) for module in _mounting() for format in module.formats}


def detect(source: Source, *kinds: str) -> Module:
    """The module that is surest of *source*, among those of *kinds* where such are named. EINVAL: none knows it."""
    best: Module | None = None
    confidence = NO
    for module in _mounting(kinds or ("filesystem", "device")):
        sure = module.probe(source)
        if sure > confidence:
            best, confidence = module, sure
    if best is None:
        fail(errno.EINVAL, "not an image of any known format")
    return best
