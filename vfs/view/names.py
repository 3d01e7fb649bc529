"""Names: from the string in a system call to a virtual node, or to "the host's affair".

Most names have nothing to do with any mount, so the walk starts with tests that say "no" in a microsecond (`Names.find`,
`HostNames.far`); only what they cannot decide is walked component by component. The walk crosses borders in both
directions: a host link may lead into a mount, a link or `..` inside a mount may lead out of it.

A host link is followed by us as well, since the kernel, told to continue, would follow it past the mounts. What the walk decides
and what the kernel then does are two readings of the same names: right in omnipotent mode, where nothing is protected.
"""

from __future__ import annotations

import errno
import os
import re
import time
from typing import TYPE_CHECKING, NamedTuple

from vfs.api import fail
from vfs.view.dentry import DIRECTORY, LINK, Dentry, Place
from vfs.view.kernel.notify import Call
from vfs.view.mounts import MountTable

if TYPE_CHECKING:
    from vfs.view.tasks import Tasks

MAX_LINKS = 40
NAME_MAX = 255


class Elsewhere(Exception):
    """A name that passed through a mount and ends on the host at *path*: the kernel must be given this name instead."""

    def __init__(self, path: bytes) -> None:
        self.path = path


class Jump(NamedTuple):
    """A link of /proc that leads to an object, whatever its name says by now."""

    place: Place


class Located(NamedTuple):
    """Where a name leads: *place*, and whether the walk *crossed* anything virtual (then the kernel, given the same name,
    would arrive elsewhere)."""

    place: Place
    crossed: bool


class HostNames:
    """Names of the host that were walked and met no mount.

    *directories*: strings of directories, with the canonical directory that they lead to; *finals*: whole names whose last
    component is no link, or one that leads to no mount. The outside may change both, so an entry is believed for `LIFETIME`
    seconds; the view's own renames, links and mounts drop all.
    """

    LIFETIME = 1.0
    LIMIT = 4096

    def __init__(self, mounts: MountTable) -> None:
        self.mounts = mounts
        self.directories: dict[bytes, tuple[bytes, float]] = {}
        self.finals: dict[bytes, float] = {}

    def learn_directory(self, directory: bytes, canonical: bytes) -> None:
        if len(self.directories) >= self.LIMIT:
            self.directories.clear()
        self.directories[directory] = (canonical.rstrip(b"/"), time.monotonic() + self.LIFETIME)

    def learn_final(self, path: bytes) -> None:
        if len(self.finals) >= self.LIMIT:
            self.finals.clear()
        self.finals[path] = time.monotonic() + self.LIFETIME

    def forget(self) -> None:
        self.directories.clear()
        self.finals.clear()

    def far(self, path: bytes, follow: bool) -> bool:
        """Whether this absolute name certainly stays on the host. `False` means: walk it."""
        directory, _, name = path.rpartition(b"/")
        entry = self.directories.get(directory)
        if entry is None:
            return False
        canonical, deadline = entry
        now = time.monotonic()
        if now > deadline:
            del self.directories[directory]
            return False
        if name in (b"", b".", b"..") or (canonical + b"/" + name) in self.mounts.on:
            return False
        if follow and self.finals.get(path, 0.0) < now:
            try:
                os.readlink(path)
                return False
            except OSError:  # EINVAL: no link. ENOENT and the rest: the kernel will say so
                self.learn_final(path)
        return True


MAGIC = re.compile(rb"/proc/(\d+)(?:/task/(\d+))?/(?:(cwd|root|exe)|fd/(\d+))")
"""Links of /proc that lead to an open file rather than to a name."""


class Names:
    """Resolves the names of one view."""

    CACHE_LIMIT = 1 << 16

    def __init__(self, mounts: MountTable, tasks: Tasks) -> None:
        self.mounts, self.tasks = mounts, tasks
        self.host = HostNames(mounts)
        self.dentries: dict[bytes, Dentry] = {}
        self.absent: set[bytes] = set()

    def forget(self) -> None:
        """The table has changed: nothing that was remembered holds."""
        self.dentries.clear()
        self.absent.clear()
        self.host.forget()

    # ---------------------------------------------------------------- what handlers ask

    def find(self, call: Call, dirfd: int, path: bytes, follow: bool = True) -> Dentry | None:
        """The dentry that a name leads to, or `None`: the kernel resolves the same name by itself to the same thing. Raises
        `Elsewhere`; ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG as path_resolution(7)."""
        place = self.search(call, dirfd, path, follow)
        return place if isinstance(place, Dentry) else None

    def search(self, call: Call, dirfd: int, path: bytes, follow: bool = True) -> Place | None:
        """As `find`, but a host path that had to be walked comes back canonical instead of as `None`."""
        if not self.mounts.mounts:
            return None
        if path[:1] == b"/":
            base: Place = b"/"
            full = path
        else:
            start = self.tasks.place(call.tid, dirfd)
            if start is None or not path:
                return None
            base = start
            full = (base.path if isinstance(base, Dentry) else base) + b"/" + path
        dentry = self.dentries.get(full)
        if dentry is not None and (dentry.kind != LINK or not follow):
            return dentry
        if full in self.absent:
            fail(errno.ENOENT)
        if isinstance(base, bytes) and self.host.far(full, follow):
            return None
        place, crossed = self.walk(call.tid, base, path, follow, full.rpartition(b"/")[0])
        if isinstance(place, Dentry):
            return place
        if crossed:
            raise Elsewhere(place)
        if follow and not place.startswith(b"/proc"):
            self.host.learn_final(full)
        return place

    def locate(self, call: Call, dirfd: int, path: bytes, follow: bool = True) -> Located | None:
        """As `find`, for handlers that must know the host's canonical path too. `None`: not to be known (an unreachable cwd)."""
        start = b"/" if path[:1] == b"/" else self.tasks.place(call.tid, dirfd)
        return None if start is None or not path else self.walk(call.tid, start, path, follow)

    def parent_of(self, call: Call, dirfd: int, path: bytes) -> tuple[Dentry, bytes] | None:
        """The virtual directory in which a name would be made, and its last component; `None`: on the host. For calls that
        create, rename or remove."""
        head, _, name = path.rstrip(b"/").rpartition(b"/")
        if not name:
            return None
        head = head or (b"/" if path[:1] == b"/" else b".")
        found = self.locate(call, dirfd, head)
        if found is None or not isinstance(found.place, Dentry):
            return None
        return found.place, name

    # ---------------------------------------------------------------- the walk

    def walk(self, tid: int, start: Place, path: bytes, follow: bool, learn: bytes | None = None) -> Located:
        """Walk *path* from *start*, component by component, over borders. *learn*: the directory part of the absolute name, to be
        remembered when it turns out to lie on the host."""
        if len(path) > 4095:
            fail(errno.ENAMETOOLONG)
        here: Place = self.root if path[:1] == b"/" else start
        crossed = isinstance(here, Dentry)
        todo = path.split(b"/")[::-1]
        links = 0
        while todo:
            name = todo.pop()
            if learn is not None and not todo:  # the directory part is done: remember where it led
                if not crossed and isinstance(here, bytes) and not here.startswith(b"/proc"):
                    self.host.learn_directory(learn, here)
                learn = None
            if not name or name == b".":
                if isinstance(here, Dentry) and here.kind != DIRECTORY:
                    fail(errno.ENOTDIR)
                continue
            if name == b"..":
                here = self.above(here)
                crossed = crossed or isinstance(here, Dentry)
                continue
            target: bytes | Jump | None
            if isinstance(here, Dentry):
                child: Place = self.child(here, name)
            else:
                child = self.cover((b"" if here == b"/" else here) + b"/" + name)
            if isinstance(child, Dentry):
                crossed = True
                target = child.node.readlink() if child.kind == LINK else None
            elif todo or follow:
                try:
                    target = self.host_link(tid, child)
                except OSError:  # nothing there: the kernel will say so of the same name
                    return Located(child, crossed)
            else:
                target = None
            if target is None or not (todo or follow):
                here = child
                continue
            links += 1
            if links > MAX_LINKS:
                fail(errno.ELOOP)
            if isinstance(target, Jump):
                here = target.place
                crossed = crossed or isinstance(here, Dentry)
                continue
            if not target:
                fail(errno.ENOENT)
            if target[:1] == b"/":
                here = self.root
                crossed = crossed or isinstance(here, Dentry)
            todo += target.split(b"/")[::-1]
        return Located(here, crossed)

    def host_link(self, tid: int, path: bytes) -> bytes | Jump | None:
        """The target of a host path that is a symbolic link, as task *tid* would see it; `None`: it is none. ENOENT."""
        if path.startswith(b"/proc/"):
            if path == b"/proc/self":
                return b"%d" % tid
            if path == b"/proc/thread-self":
                return b"%d/task/%d" % (tid, tid)
            if MAGIC.fullmatch(path):
                return self.jump(path)
        try:
            return os.readlink(path)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return None
            raise

    def jump(self, path: bytes) -> Jump | None:
        """Where a magic link of /proc leads; `None` for what has no place in the tree (a pipe, a deleted file)."""
        text = os.readlink(path)
        dentry = self.tasks.files.dentry_of(text)
        if dentry is not None:
            return Jump(dentry)
        return Jump(text) if text[:1] == b"/" and not text.endswith(b" (deleted)") else None

    @property
    def root(self) -> Place:
        """The view's root directory."""
        mount = self.mounts.on.get(b"/")
        return mount.root if mount else b"/"

    def cover(self, path: bytes) -> Place:
        """A host path, or the root of the mount on it."""
        mount = self.mounts.on.get(path)
        return mount.root if mount else path

    def above(self, here: Place) -> Place:
        """The directory that holds *here*."""
        if isinstance(here, Dentry):
            if here.parent is not None:
                return here.parent
            return here if here.path == b"/" else here.mount.above
        parent = here.rpartition(b"/")[0] or b"/"
        return self.root if parent == b"/" else parent

    def child(self, directory: Dentry, name: bytes) -> Dentry:
        """The entry of a virtual directory, or the root of the mount on it. ENOTDIR, ENOENT, ENAMETOOLONG."""
        if directory.kind != DIRECTORY:
            fail(errno.ENOTDIR)
        path = (b"" if directory.path == b"/" else directory.path) + b"/" + name
        dentry = self.dentries.get(path)
        if dentry is not None:
            return dentry
        if len(name) > NAME_MAX:
            fail(errno.ENAMETOOLONG)
        mount = self.mounts.on.get(path)
        if mount is not None and isinstance(mount.above, Dentry) and mount.above.mount is directory.mount:
            return mount.root
        constant = directory.mount.filesystem.read_only
        if constant and path in self.absent:
            fail(errno.ENOENT)
        if len(self.dentries) + len(self.absent) > self.CACHE_LIMIT:
            self.dentries.clear()
            self.absent.clear()
        try:
            node = directory.node.lookup(name)
        except OSError as error:
            if constant and error.errno == errno.ENOENT:
                self.absent.add(path)
            raise
        dentry = Dentry(directory.mount, directory, name, path, node)
        if constant:
            self.dentries[path] = dentry
        return dentry
