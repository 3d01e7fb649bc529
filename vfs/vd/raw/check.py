"""A raw image has nothing that could be wrong."""

from __future__ import annotations

from vfs.api import Finding, Storage, unsupported
from vfs.vd.opening import Opening


def check(source: Storage, opening: Opening) -> list[Finding]:
    raise unsupported(f"{source.name}: a raw image has no structures to check")
