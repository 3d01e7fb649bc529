"""Mount options of the kernel front end, and what the kernel is told.

A mount's option text holds the module's options, those of every mount (`vfs.api.options.MountOptions`) and those below; all
three are parsed together, so that one message can name all that is known.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from vfs.api.options import MountOptions, flag, option, string


@dataclass
class FuseOptions:
    """Options of kernel mounts only."""

    allow_other: bool = option(flag, "other users may use the mount; permission bits are then enforced")
    default_permissions: bool = option(flag, "the kernel enforces owners, permission bits and ACLs")
    noxattr: bool = option(flag, "no extended attributes: saves a request for each file that ls -l shows")
    fsname: str | None = option(string, "the source that mount tables show")
    subtype: str | None = option(string, "the type that mount tables show, after 'fuse.'")


def enforces_permissions(options: FuseOptions) -> bool:
    """Whether the kernel checks permission bits.

    Without `allow_other` only the user who mounted gets in at all, and he can read the image file anyway: bits of the
    image's foreign users would only keep him from his own files, so they are shown but not enforced. As soon as others
    are let in, the bits decide."""
    return options.default_permissions or options.allow_other


def libfuse_options(common: MountOptions, fuse: FuseOptions, type: str, source: str, read_only: bool) -> set[str]:
    """The options of `pyfuse3.init`. `nosuid` and `nodev` hold unless root says otherwise: nobody knows what is in an image."""
    chosen = {
        f"fsname={_escaped(fuse.fsname or source)}",
        f"subtype={_escaped(fuse.subtype or type)}",
        "ro" if read_only else "rw",
    }
    for name in ("suid", "dev", "exec"):
        refused = getattr(common, "no" + name) or (name != "exec" and not getattr(common, name))
        chosen.add("no" + name if refused else name)
    for name in ("noatime", "debug"):
        if getattr(common, name):
            chosen.add(name)
    if fuse.allow_other:
        chosen.add("allow_other")
    if enforces_permissions(fuse):
        chosen.add("default_permissions")
    return chosen


def _escaped(value: str) -> str:
    r"""A value for libfuse's parser, which splits at commas and undoes `\ooo`; pyfuse3 takes ASCII only."""
    plain = os.fsencode(value)
    return "".join(chr(byte) if 32 < byte < 127 and byte not in b",\\" else f"\\{byte:03o}" for byte in plain)
