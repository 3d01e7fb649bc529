"""A new raw image: a file of that size, one hole."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from vfs.api import Storage, fail


@dataclass
class CreateOptions:
    """None."""


def create(storage: Storage, size: int | None, options: CreateOptions) -> None:
    """EINVAL: no size."""
    if size is None:
        fail(errno.EINVAL, "raw: a new image needs a size")
    storage.resize(size)
