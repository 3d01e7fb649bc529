"""Mount options: the text after `-o` becomes dataclasses.

A module declares its options as a dataclass derived from `Options`, each field made by `option()`:

    @dataclass
    class ExtOptions(Options):
        sb: int | None = option(number, "the superblock's position in KiB")

`parse(text, ExtOptions)` gives an instance; a front end passes its own class as well and gets both. An unknown or malformed
option is `EINVAL` with one line that names it and lists the known ones.
"""

from __future__ import annotations

import dataclasses
import errno
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from vfs.api.errors import fail

Reader = Callable[[str], Any]


def flag(text: str) -> bool:
    """An option without a value: `ro`."""
    if text:
        raise ValueError("takes no value")
    return True


def number(text: str) -> int:
    """A whole number, decimal, 0x… or 0o…; not negative."""
    if not re.fullmatch(r"[0-9]+|0[xX][0-9a-fA-F]+|0o[0-7]+", text):
        raise ValueError("wants a whole number")
    return int(text, 0 if text[:2].lower() in ("0x", "0o") else 10)


def octal(text: str) -> int:
    """Permission bits, as chmod(1) writes them."""
    if not re.fullmatch(r"[0-7]{1,5}", text):
        raise ValueError("wants an octal number")
    return int(text, 8)


def size(text: str) -> int:
    """Bytes, with an optional K, M, G or T (powers of 1024)."""
    match = re.fullmatch(r"([0-9]+)([KMGT]?)", text.upper())
    if not match:
        raise ValueError("wants a size such as 512K, 10M or 2G")
    return int(match[1]) << 10 * " KMGT".index(match[2] or " ")


def string(text: str) -> str:
    """Any text, not empty."""
    if not text:
        raise ValueError("wants a value")
    return text


class SourcePath(str):
    """The name of one more source, as the user wrote it."""


def source_path(text: str) -> SourcePath:
    """A file or device that the module reads besides its source (`parent=`). The module is given it opened, a `Storage`: only the
    front end knows what the name stands for (`open_paths`)."""
    return SourcePath(string(text))


def open_paths(options: Any, opener: Callable[[str], Any]) -> None:
    """Put what *opener* makes of them in the place of all names of sources."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if isinstance(value, SourcePath):
            setattr(options, field.name, opener(value))


def option(reader: Reader, explanation: str, *, name: str = "", many: bool = False) -> Any:
    """A dataclass field for one option. *name* where the option's name is no identifier (`rw+`, `except`); *many*: may be given
    several times, the field is a list. Without it the last one given wins. Defaults: `False`, `None` or an empty list."""
    metadata = {"reader": reader, "explanation": explanation, "name": name, "many": many}
    if many:
        return dataclasses.field(default_factory=list, metadata=metadata)
    return dataclasses.field(default=False if reader is flag else None, metadata=metadata)


@dataclass
class Options:
    """What every mount takes, whatever the module; a module's options derive from it."""

    ro: bool = option(flag, "read-only")
    rw: bool = option(flag, "read and write")
    rw_plus: bool = option(flag, "read and write, where plain rw is refused as too easily said", name="rw+")


@dataclass
class MountOptions:
    """What every front end that mounts takes beside the module's own options."""

    nosuid: bool = option(flag, "ignore set-user-ID bits")
    suid: bool = option(flag, "honour set-user-ID bits")
    nodev: bool = option(flag, "devices cannot be opened")
    dev: bool = option(flag, "devices can be opened")
    noexec: bool = option(flag, "programs cannot be executed")
    exec: bool = option(flag, "programs can be executed")
    noatime: bool = option(flag, "do not update access times")
    relatime: bool = option(flag, "accepted, access times are the module's affair")
    debug: bool = option(flag, "log each request")


AnyOptions = TypeVar("AnyOptions")


def known(*classes: type) -> dict[str, tuple[type, dataclasses.Field[Any]]]:
    """The options of these dataclasses: name as the user writes it -> (class, field)."""
    found: dict[str, tuple[type, dataclasses.Field[Any]]] = {}
    for owner in classes:
        for field in dataclasses.fields(owner):
            found.setdefault(field.metadata["name"] or field.name, (owner, field))
    return found


def split(text: str) -> list[tuple[str, str]]:
    """`a,b=c` -> [("a", ""), ("b", "c")]. A backslash keeps a comma in a value, as in mount(8) of libfuse programs."""
    parts = [part.replace("\\,", ",").replace("\\\\", "\\") for part in re.findall(r"(?:\\.|[^,\\])+", text)]
    return [(name, value) for name, _, value in (part.partition("=") for part in parts)]


def parse_all(text: str, *classes: type) -> list[Any]:
    """One instance of each class from a text of options. EINVAL, naming the option and those known."""
    offer = Offer(text)
    instances: list[Any] = [offer.take(owner) for owner in classes]
    offer.end()
    return instances


class Offer:
    """A text of options that several take their own from: the layers of an image and the front end. `end` refuses what nobody
    took."""

    def __init__(self, text: str) -> None:
        self._pairs = [(name, value) for name, value in split(text) if (name, value) != ("defaults", "")]
        self._known: set[str] = set()

    def take(self, owner: type[AnyOptions]) -> AnyOptions:
        """An instance of a class of options with what it knows. EINVAL: a value."""
        options = known(owner)
        self._known.update(options)
        values: dict[str, Any] = {}
        for name, value in self._pairs:
            if name not in options:
                continue
            field = options[name][1]
            try:
                read = field.metadata["reader"](value)
            except ValueError as error:
                fail(errno.EINVAL, f"option '{name}' {error}, not '{value}'")
            if field.metadata["many"]:
                values.setdefault(field.name, []).append(read)
            else:
                values[field.name] = read
        return owner(**values)

    def end(self) -> None:
        """EINVAL: an option is left; names it and those known."""
        for name, _ in self._pairs:
            if name not in self._known:
                fail(errno.EINVAL, f"unknown option '{name}' (known: {', '.join(sorted(self._known))})")


def parse(text: str, owner: type[AnyOptions]) -> AnyOptions:
    """One instance of *owner* from a text of options. EINVAL, naming the option and those known."""
    result: AnyOptions = parse_all(text, owner)[0]
    return result
