"""Services: which modules a view has loaded, as modprobe, lsmod and rmmod have it for a kernel; and other names for types.

A service is a *group* (all modules of one kind: umfuse, umdev, ummisc) or a single module under one of its names. Mounting a type
loads its group by itself, as Linux loads `ext4` when somebody mounts one. A service that was removed stays away until somebody
adds it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass, replace

from vfs.api import fail, registry

GROUPS = {
    "umfuse": ("filesystem", "virtual file systems"),
    "umdev": ("device", "virtual devices"),
    "ummisc": ("misc", "virtual users, time and names of the machine"),
}
"""name -> the kind of modules in it (vfs.api.registry), and its description."""
OF_KIND = {kind: name for name, (kind, _) in GROUPS.items()}


@dataclass(frozen=True)
class Service:
    name: str
    description: str
    permanent: bool = False
    arguments: str = ""
    """Options that every mount of it has, besides its own."""


def module_of(name: str) -> str | None:
    """The module that a service's name means: `ext2`, `umfuseext2`, `umbinfmt` (`binfmt`)."""
    for candidate in (registry.canonical(name), name.removeprefix("um")):
        if candidate in registry.modules():
            return candidate
    return None


class Services:
    """The services of one view."""

    def __init__(self) -> None:
        self.loaded: dict[str, Service] = {}
        self.removed: set[str] = set()
        self.aliases: dict[str, str] = {}

    def fork(self) -> Services:
        """Those of a view that starts from this one."""
        other = Services()
        other.loaded, other.removed, other.aliases = dict(self.loaded), set(self.removed), dict(self.aliases)
        return other

    def add(self, text: str, permanent: bool = False) -> None:
        """Load `NAME[,ARGUMENTS]`. EEXIST; ENODEV: there is none such; EINVAL: arguments that it does not take."""
        name, _, arguments = text.partition(",")
        if name in GROUPS:
            if arguments:
                fail(errno.EINVAL, f"{name} takes no arguments: it is a group of modules")
            description = GROUPS[name][1]
        else:
            module = module_of(name)
            if module is None:
                known = ", ".join([*GROUPS, *sorted(registry.modules())])
                fail(errno.ENODEV, f"{name}: no such service (known: {known})")
            loaded = registry.find(module)
            if arguments:
                from vfs.api import parse_all
                from vfs.view.mounts import ViewOptions

                parse_all(arguments, loaded.options, ViewOptions)  # whatever is wrong with them, is told now
            name, description = module, loaded.description
        old = self.loaded.get(name)
        if old is not None:
            if arguments or old.permanent or not permanent:
                fail(errno.EEXIST, f"{name}: loaded already")
            self.loaded[name] = replace(old, permanent=True)
            return
        self.loaded[name] = Service(name, description, permanent, arguments)
        self.removed.discard(name)

    def remove(self, text: str, mounted: Iterable[str]) -> None:
        """Take a service out. *mounted*: the modules of all mounts. ENOENT, EPERM (permanent), EBUSY."""
        name = text if text in GROUPS else module_of(text) or text
        service = self.loaded.get(name)
        if service is None:
            fail(errno.ENOENT, f"{text}: not loaded")
        if service.permanent:
            fail(errno.EPERM, f"{text}: permanent: it stays as long as the view")
        del self.loaded[name]
        for module in mounted:
            if self.of_module(module) is None and module in registry.modules():
                self.loaded[name] = service
                fail(errno.EBUSY, f"{text}: busy: a mount of type {module} needs it")
        self.removed.add(name)

    def of_module(self, module: str) -> Service | None:
        """The loaded service that a module belongs to."""
        registered = registry.modules().get(module)
        if registered is None:
            return None
        return self.loaded.get(module) or self.loaded.get(OF_KIND[registered.kind])

    def alias(self, alias: str, kind: str) -> None:
        """From now on *alias* means the type *kind*. ENODEV: there is none such."""
        kind = self.aliases.get(kind, kind)
        if not registry.is_known(kind):
            fail(errno.ENODEV, f"{kind}: no such type (known: {', '.join(sorted(registry.modules()))})")
        self.aliases[alias] = kind

    def type_of(self, kind: str) -> str:
        """The type that a name means here."""
        return self.aliases.get(kind, kind)

    def use(self, kind: str) -> tuple[str, str]:
        """For a mount: the type's own name, and options that come before those that the user gave. Loads the service. ENODEV:
        it was removed."""
        kind = self.type_of(kind)
        module = registry.canonical(kind)
        service = self.of_module(module)
        if service is None and module in registry.modules():
            group = OF_KIND[registry.modules()[module].kind]
            for name in (module, group):
                if name in self.removed:
                    fail(errno.ENODEV, f"the service {name} was removed from this view (um_add_service {name} loads it again)")
            self.add(group)
        return kind, service.arguments if service else ""
