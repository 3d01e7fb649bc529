"""Opening images: what the user has said of it, and the chain of parents so far."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from vfs.api import Storage, fail
from vfs.vd.disk import DiskImage

MAX_CHAIN: Final = 64
"""Images in a chain of parents."""


def _no_formats(source: Storage, opening: Opening, format: str | None) -> NoReturn:
    raise NotImplementedError


@dataclass(frozen=True)
class Opening:
    """How an image is opened. *writable*: a format that cannot write this image fails with EROFS or EOPNOTSUPP and a sentence,
    and is then asked again without it, unless the user insists. *parent*: the file that the user names as the parent, still to be
    opened; *snapshot*: which of the image's own states is wanted, by name or number. The rest is the format's to pass on."""

    writable: bool = False
    parent: Storage | None = None
    snapshot: str | None = None
    open_image: Callable[[Storage, Opening, str | None], DiskImage] = _no_formats
    """Opens an image in the format named, or in the one detected (`raw` where none is). On failure the storage stays open."""
    above: tuple[object, ...] = ()
    """Identities of the images whose parent this one is, directly or not."""

    def parent_of(self, source: Storage, name: bytes, format: str | None = None, beside: bool = False) -> DiskImage:
        """The parent of the image in *source*: what the user names, else the file beside it that the image calls *name* (`./x` is
        `x`), in *format* where the image says which. With *beside* it is the latter though the user has named one: that one is
        further up in the chain, and is handed on. ENOENT, EINVAL (not beside it; an image that is no image), ELOOP, EACCES."""
        shown = os.fsdecode(name)
        above = (*self.above, source.identity())
        if len(above) >= MAX_CHAIN:
            fail(errno.ELOOP, f"{source.name}: a chain of more than {MAX_CHAIN} parents")
        named = None if beside else self.parent
        file = named if named is not None else self._beside(source, name, shown)
        try:
            if file.identity() in above:
                fail(errno.ELOOP, f"{source.name}: its parent '{shown}' is itself or one of its children")
            below = Opening(parent=self.parent if beside else None, open_image=self.open_image, above=above)
            return self.open_image(file, below, format if named is None else None)
        except BaseException:
            if named is None:
                file.close()
            raise

    @staticmethod
    def _beside(source: Storage, name: bytes, shown: str) -> Storage:
        while name.startswith(b"./"):
            name = name[2:]
        try:
            return source.beside(name)
        except OSError as error:
            reasons = {
                errno.ENOENT: "is missing",
                errno.EINVAL: "does not lie beside it",
                errno.EOPNOTSUPP: "cannot be looked for",
            }
            reason = reasons.get(error.errno or 0)
            if reason is None:
                raise
            fail(error.errno or errno.EIO, f"{source.name}: its parent '{shown}' {reason}; the option parent= names it")


def name_beside(storage: Storage, parent: Storage) -> str:
    """What a new image in *storage* calls its *parent*. EINVAL: it lies elsewhere, where nobody would find it."""
    name = os.path.basename(parent.name)
    try:
        with storage.beside(os.fsencode(name)) as found:
            same = found.identity() == parent.identity()
    except FileNotFoundError:
        same = False
    if not same:
        fail(errno.EINVAL, f"{parent.name}: a parent must lie in the directory of the new image")
    return name
