"""Filesystem: one mount. All state of a mounted module hangs here; nothing is kept in the module itself."""

from __future__ import annotations

import errno
import threading
from dataclasses import dataclass

from vfs.api.closing import Closing
from vfs.api.errors import fail
from vfs.api.node import Node


@dataclass(slots=True)
class StatFs:
    """What statfs(2) tells; *blocks*, *free* and *available* count units of *block_size* bytes. *type* is the magic number that
    statfs(2) shows (0xEF53 for ext), *identity* the 64-bit file system number."""

    type: int
    block_size: int
    blocks: int
    free: int
    available: int
    files: int
    files_free: int
    name_max: int = 255
    identity: int = 0


class Filesystem(Closing):
    """One mounted file system. Attributes set by the module:

    * *type*: the module's name, as mount tables show it (`ext2`);
    * *read_only*: no change is accepted, nor is the storage written;
    * *stable_numbers*: `node(ino)` works for every number that an entry or a stat has told;
    * *blocking*: calls may wait for long (network, prompts): a front end makes them in a worker thread;
    * *changes_outside*: others change it besides this mount (a directory of the host, a network): a front end keeps names,
      attributes and content no longer than a second or so, and asks again;
    * *lock*: held for every change;
    * *noatime*: set by the front end: reading leaves access times alone. Otherwise a writable module keeps them as `relatime`.
    """

    type: str = ""
    read_only: bool = True
    stable_numbers: bool = False
    blocking: bool = False
    changes_outside: bool = False
    noatime: bool = False

    def __init__(self) -> None:
        self.lock = threading.RLock()

    @property
    def root(self) -> Node:
        """The root directory's node."""
        raise NotImplementedError

    def node(self, ino: int) -> Node:
        """The node of an inode number. ESTALE: not in use; ENOTSUP: numbers are not stable here."""
        fail(errno.EOPNOTSUPP)

    def statfs(self) -> StatFs:
        raise NotImplementedError

    def details(self) -> dict[str, str | int]:
        """Facts for a person (`vfs info`): label, uuid, features, state. In the order to show them."""
        return {}

    def sync(self) -> None:
        """Make everything durable. EIO."""

    def close(self) -> None:
        """End the mount: everything written, the storage released. Idempotent."""
