"""Names: from the string in a system call to a virtual node, or to "the host's affair".

Most names have nothing to do with any mount, so the walk starts with tests that say "no" in a microsecond (`Names.find`,
`HostNames.far`); only what they cannot decide is walked component by component. The walk crosses borders in both
directions: a host link may lead into a mount, a link or `..` inside a mount may lead out of it.

A host link is followed by us as well, since the kernel, told to continue, would follow it past the mounts. What the walk decides
and what the kernel then does are two readings of the same names: right in omnipotent mode, where nothing is protected. In human
mode, for whom not everything is allowed, the host's own tree is virtual too (`Names.base`), and files of it are opened by us.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from vfs.api import fail
from vfs.view.dentry import DIRECTORY, LINK, Dentry, Place
from vfs.view.hostnames import HostNames
from vfs.view.kernel.abi import (
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
)
from vfs.view.kernel.notify import Call
from vfs.view.mounts import Mount, MountTable, owner_of
from vfs.view.proc.links import MAGIC, place_of

if TYPE_CHECKING:
    from vfs.view.tasks import Tasks

MAX_LINKS = 40
NAME_MAX = 255
DEEPEST = 1 << 14
"""Bytes of the longest path that a virtual directory may have: every dentry keeps its own."""


class Elsewhere(Exception):
    """A name that passed through a mount and ends on the host at *path*: the kernel must be given this name instead."""

    def __init__(self, path: bytes) -> None:
        self.path = path


class Jump(NamedTuple):
    """A link of /proc that leads to an object, whatever its name says by now."""

    place: Place


class Located(NamedTuple):
    """Where a name leads: *place*; whether the walk *crossed* anything virtual (then the kernel, given the same name, would
    arrive elsewhere); whether it passed through /proc, where names mean something else to every process."""

    place: Place
    crossed: bool
    proc: bool


class Parent(NamedTuple):
    """The directory in which a name's last component lies: its *place*, whether the way there *crossed* anything virtual, the
    component's *name*, and the *slashes* behind it."""

    place: Place
    crossed: bool
    name: bytes
    slashes: bytes

    @property
    def path(self) -> bytes:
        base = self.place.path if isinstance(self.place, Dentry) else self.place
        return (b"" if base == b"/" else base) + b"/" + self.name


class Missing(FileNotFoundError):
    """Only the last component of a name is missing, and in a virtual directory: there a file would be made."""

    def __init__(self, directory: Dentry, name: bytes) -> None:
        super().__init__(errno.ENOENT, os.strerror(errno.ENOENT))
        self.directory, self.name = directory, name


def mount_of(place: Place) -> Mount | None:
    return place.mount if isinstance(place, Dentry) else None


def same(one: Place, other: Place) -> bool:
    """Two places are one directory. (Two dentries of one may exist.)"""
    if isinstance(one, Dentry) and isinstance(other, Dentry):
        return one.mount is other.mount and one.path == other.path
    return one == other


PROC_ROOT_INO = 1  # linux/proc_ns.h


def proc_path(dentry: Dentry) -> bytes | None:
    """The path in the host's /proc of what is of it, wherever that is mounted or bound; `None`: not to be known."""
    names, here = [dentry.name], dentry
    while here.parent is not None and here.parent.proc:
        here = here.parent
        names.append(here.name)
    real = here.stat().real
    if real is not None and real[1] == PROC_ROOT_INO:
        return b"/proc/" + b"/".join(reversed(names[:-1]))
    path = dentry.node.host_path()
    return path if path is not None and path.startswith(b"/proc/") else None


class Names:
    """Resolves the names of one view."""

    CACHE_LIMIT = 1 << 16

    def __init__(self, mounts: MountTable, tasks: Tasks) -> None:
        self.mounts, self.tasks = mounts, tasks
        self.top: Dentry | None = None
        """The root of the task whose call is being answered, where it is not the view's (`roots`)."""
        self.base: Dentry | None = None
        """The host's root directory as a virtual one, for a task whose permissions there are not those that the kernel knows
        (`roots.confine`): then nothing of the host is the kernel's affair, but /proc and what lies far away (`afar`)."""
        self.host = HostNames(mounts)
        self.mirrors = tasks.files.mirrors
        self.search_allowed: Callable[[Dentry], None] | None = None
        """In human mode: asked before a directory is searched. EACCES."""
        self.following_allowed: Callable[[Dentry, Dentry], None] | None = None
        """In human mode: asked of a directory and a link in it at the end of a name, before that is followed. EACCES."""
        self.dentries: dict[bytes, Dentry] = {}
        self.absent: set[bytes] = set()
        """Both by path, and only of what shows at that path (`shows`)."""
        self.recent: dict[bytes, Dentry] = {}
        """Dentries of file systems that others change, by path: the module is asked each time, but they need not be made anew."""
        self.owners: dict[bytes, Mount | None] = {}

    def forget(self) -> None:
        """The table has changed: nothing that was remembered holds."""
        self.dentries.clear()
        self.absent.clear()
        self.recent.clear()
        self.owners.clear()
        self.host.forget()
        self.tasks.cwds.clear()

    def shows(self, place: Place) -> bool:
        """Whether a directory is what its path leads to. A task may be in one that a later mount hides, or in one of a mount that
        was detached: nothing below it may be looked up or remembered by path."""
        path, owner = place.path if isinstance(place, Dentry) else place, owner_of(place)
        try:
            return self.owners[path] is owner
        except KeyError:
            if len(self.owners) >= self.host.LIMIT:
                self.owners.clear()
            found = self.owners[path] = self.mounts.owner(path)
            return found is owner

    def is_hosts(self, dentry: Dentry) -> bool:
        """Whether it is a file of the host's that is virtual only for its permissions' sake."""
        return self.base is not None and self.top is None and dentry.mount is self.base.mount

    # ---------------------------------------------------------------- what handlers ask

    def find(self, call: Call, dirfd: int, path: bytes, follow: bool = True) -> Dentry | None:
        """The dentry that a name leads to, or `None`: the kernel resolves the same name by itself to the same thing. Raises
        `Elsewhere`; ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG as path_resolution(7)."""
        place = self.search(call, dirfd, path, follow)
        return place if isinstance(place, Dentry) else None

    def search(self, call: Call, dirfd: int, path: bytes, follow: bool = True) -> Place | None:
        """As `find`, but a host path that had to be walked comes back canonical instead of as `None`."""
        if self.tasks.roots_differ and self.tasks.has_other_root(call.tid):
            return None
        if self.top is not None or self.base is not None:
            return self.search_below(call, dirfd, path, follow)
        base: Place = b"/"
        shown = True
        full = path
        if path[:1] != b"/":
            start = self.tasks.place(call.tid, dirfd)
            if start is None or not path:
                return None
            base, shown = start, self.shows(start)
            full = (base.path if isinstance(base, Dentry) else base) + b"/" + path
        if shown:
            dentry = self.dentries.get(full)
            if self.search_allowed is None:
                if dentry is not None and (dentry.kind != LINK or not follow):
                    return dentry
                if full in self.absent:
                    fail(errno.ENOENT)
            if isinstance(base, bytes) and self.host.far(full, follow):
                return None
        if shown:
            place, crossed, proc = self.walk_shown(call.tid, base, path, full, follow, True)
        else:
            place, crossed, proc = self.walk(call.tid, base, path, follow, False)
        if isinstance(place, Dentry):
            return place
        if crossed and not (place == full and isinstance(base, bytes)):  # through a hole the kernel goes the same way
            raise Elsewhere(place)
        if follow and shown and not proc:
            self.host.learn_final(full, place)
        return place

    def search_below(self, call: Call, dirfd: int, path: bytes, follow: bool) -> Place | None:
        """`search` for a task whose root is not the view's, or to whom the host is virtual. The kernel knows nothing of that: few
        names mean the same to it."""
        absolute = path[:1] == b"/"
        start = (self.top or self.root) if absolute else self.tasks.place(call.tid, dirfd)
        if start is None or not path:
            return None
        shown = self.shows(start)
        if shown and isinstance(start, Dentry) and self.search_allowed is None:
            dentry = self.dentries.get(join(start.path, path.lstrip(b"/")))
            if dentry is not None and (dentry.kind != LINK or not follow):
                return dentry
        place, crossed, _ = self.walk(call.tid, start, path, follow, shown)
        if isinstance(place, bytes) and crossed and (place != path or self.base is not None):
            raise Elsewhere(place)
        return place

    def locate(self, call: Call, dirfd: int, path: bytes, follow: bool = True, resolve: int = 0) -> Located | None:
        """As `find`, for handlers that must know the host's canonical path too; *resolve*: openat2's RESOLVE_*. `None`: not to be
        known (an unreachable cwd)."""
        if not path or (self.tasks.roots_differ and self.tasks.has_other_root(call.tid)):
            return None
        absolute = path[:1] == b"/"
        start: Place | None = (self.top or b"/") if absolute and not resolve else self.tasks.place(call.tid, dirfd)
        if start is None:
            return None
        shown = not resolve and (absolute or self.shows(start))
        if shown and self.top is None and self.base is None:
            full = path if absolute else join(start.path if isinstance(start, Dentry) else start, path)
            return self.walk_shown(call.tid, start, path, full, follow, False)
        return self.walk(call.tid, start, path, follow, shown, None, resolve)

    def parent(self, call: Call, dirfd: int, path: bytes) -> Parent | None:
        """Where a name would be made or removed: for calls that look for its last component in their own way. `None`: not to be
        known, or no such component (the root)."""
        stripped = path.rstrip(b"/")
        head, _, name = stripped.rpartition(b"/")
        if not name:
            return None
        found = self.locate(call, dirfd, head or (b"/" if path[:1] == b"/" else b"."))
        if found is None:
            return None
        if isinstance(found.place, Dentry) and found.place.kind != DIRECTORY:
            fail(errno.ENOTDIR)
        if isinstance(found.place, Dentry) and self.search_allowed is not None:
            self.search_allowed(found.place)
        return Parent(found.place, found.crossed, name, path[len(stripped) :])

    def entry(self, parent: Parent) -> Place | None:
        """What is there, if that is virtual: an entry of a virtual directory (or a hole), or a mount point of the host."""
        if isinstance(parent.place, bytes):
            mount = self.mounts.over(parent.path, None)
            return mount.root if mount else None
        try:
            return self.child(parent.place, parent.name, self.shows(parent.place))
        except FileNotFoundError:
            return None

    # ---------------------------------------------------------------- the walk

    def walk_shown(self, tid: int, start: Place, path: bytes, full: bytes, follow: bool, learn: bool) -> Located:
        """Walk *path* from *start*, which is shown, or from as far down as its absolute name *full* is known. (In human mode all
        directories on the way are asked.)"""
        removed = isinstance(start, Dentry) and start.removed  # another may have its name by now
        nearest = None if removed or self.search_allowed is not None else self.nearest(full)
        if nearest is not None:
            return self.walk(tid, nearest[0], nearest[1], follow, True)
        return self.walk(tid, start, path, follow, True, full.rpartition(b"/")[0] if learn else None)

    def nearest(self, full: bytes) -> tuple[Dentry, bytes] | None:
        """The virtual directory nearest to the end of a name that is known by its canonical path, and the rest of the name."""
        at = full.rfind(b"/")
        known = self.dentries.get(full[:at])
        if known is not None and known.kind == DIRECTORY:
            return known, full[at + 1 :]
        while at > 0:
            mount = self.mounts.on.get(full[:at])
            if mount is not None:
                root = mount.root
                return (root, full[at:].lstrip(b"/")) if root.kind == DIRECTORY and self.shows(root) else None
            at = full.rfind(b"/", 0, at)
        return None

    def walk(
        self, tid: int, start: Place, path: bytes, follow: bool, shown: bool, learn: bytes | None = None, resolve: int = 0
    ) -> Located:
        """Walk *path* from *start*, component by component, over borders. *shown*: see `shows`. *learn*: the directory part of
        the absolute name, to be remembered when it turns out to lie on the host. *resolve*: openat2's RESOLVE_*. ENOENT, ENOTDIR,
        ELOOP, ENAMETOOLONG; EXDEV (by *resolve*)."""
        self.host.afar.look(self.mounts.points)
        top, base = self.top, self.base
        if isinstance(start, bytes) and (top is not None or base is not None):
            if base is not None and start.endswith(b" (deleted)") and not os.path.lexists(start):
                if not path.strip(b"./"):  # a removed directory: only itself and what is above can be named
                    return Located(start, False, False)
                if path.startswith(b"../"):
                    start, path = start.rpartition(b"/")[0] or b"/", b"." + path[2:]
            start = self.virtual(start)
        root = start if resolve & RESOLVE_IN_ROOT else top or self.root
        here: Place = root if path[:1] == b"/" else start
        if resolve & RESOLVE_BENEATH and path[:1] == b"/":
            fail(errno.EXDEV)
        crossed = isinstance(here, Dentry)
        proc = isinstance(start, bytes) and start.startswith(b"/proc")
        todo = path.split(b"/")[::-1]
        links = 0
        while todo:
            name = todo.pop()
            if learn is not None and not todo:  # the directory part is done: remember where it led
                if (not crossed or here == learn) and not proc and isinstance(here, bytes):
                    self.host.learn_directory(learn, here)
                learn = None
            before = here
            target: bytes | Jump | None = None
            if name in (b"", b".", b".."):
                # Where no mount was met, the kernel says so itself.
                if here.kind != DIRECTORY if isinstance(here, Dentry) else (crossed or name == b"..") and not os.path.isdir(here):
                    fail(errno.ENOTDIR)
                if self.search_allowed is not None and name and isinstance(here, Dentry):
                    self.search_allowed(here)
                if name != b"..":
                    continue
                if resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT) and same(here, start):
                    if resolve & RESOLVE_BENEATH:
                        fail(errno.EXDEV)
                    continue
                here = self.up(here)
            else:
                child: Place
                if isinstance(here, Dentry):
                    if base is not None and here.mount is base.mount:
                        path_there = join(here.path, name)
                        if path_there in self.mounts.private:
                            here = self.virtual(self.mounts.private[path_there])
                            continue
                        if self.host.afar.holds(path_there):
                            return Located(b"/".join([path_there, *reversed(todo)]), crossed, proc)
                    try:
                        child = self.child(here, name, shown)
                    except FileNotFoundError:
                        if todo:
                            raise
                        raise Missing(here, name) from None
                else:
                    child = self.cover((b"" if here == b"/" else here) + b"/" + name)
                    if child in self.mounts.private:
                        here, crossed = self.mounts.private[child], True
                        continue
                    proc = proc or child == b"/proc"
                if isinstance(child, Dentry):
                    # A link at the end of a name is followed where a slash comes after it, whatever the call says.
                    if child.kind == LINK and (follow or todo):
                        if self.following_allowed is not None and isinstance(here, Dentry) and not any(todo):
                            self.following_allowed(here, child)
                        crossed = True
                        target = self.link(tid, child)
                elif follow or todo:
                    if self.host.afar.holds(child):
                        return Located(child + b"".join(b"/" + name for name in reversed(todo)), crossed, proc)
                    try:
                        target = self.host_link(tid, child)
                    except OSError as error:  # nothing there: the kernel will say so of the same name
                        rest = b"".join(b"/" + name for name in reversed(todo))
                        if learn is not None and error.errno == errno.ENOENT and not crossed and not proc:
                            self.host.learn_directory(learn, (child + rest).rpartition(b"/")[0])
                        return Located(child + rest, crossed, proc)
                if target is None:
                    here = child
            if target is not None:
                links += 1
                if links > MAX_LINKS or resolve & RESOLVE_NO_SYMLINKS:
                    fail(errno.ELOOP)
                if isinstance(target, Jump):
                    if resolve & RESOLVE_NO_MAGICLINKS:
                        fail(errno.ELOOP)
                    if resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT):
                        fail(errno.EXDEV)
                    here = target.place
                    shown = self.shows(here)
                elif not target:
                    fail(errno.ENOENT)
                else:
                    if target[:1] == b"/":
                        if resolve & RESOLVE_BENEATH:
                            fail(errno.EXDEV)
                        here, shown = root, not resolve
                    todo += target.split(b"/")[::-1]
            if isinstance(here, bytes) and (top is not None or base is not None):
                here = self.virtual(here)
            crossed = crossed or isinstance(here, Dentry)
            if resolve & RESOLVE_NO_XDEV and mount_of(here) is not mount_of(before):
                fail(errno.EXDEV)
        if isinstance(here, Dentry) and here.proc and here.kind != DIRECTORY:  # it is for the task itself to open
            host = proc_path(here)
            return Located(host, True, True) if host is not None else Located(here, crossed, proc)
        return Located(here, crossed, proc)

    def virtual(self, path: bytes) -> Place:
        """A path of the host as the task sees it whose call is being answered. ENOENT, EACCES."""
        top, base = self.top, self.base
        if self.host.afar.holds(path):
            return path
        here = self.inward(path, top) if top is not None else path
        if base is not None and isinstance(here, bytes):
            covered = self.cover(b"/")
            here = covered if path == b"/" and isinstance(covered, Dentry) else self.inward(path, base)
            if isinstance(here, bytes):
                fail(errno.ENOENT)
        return here

    def inward(self, path: bytes, top: Dentry) -> Place:
        """A path of the host as it is seen from the root *top*: what a hidden mount shows is virtual there."""
        base = top.mount.target.rstrip(b"/")
        if not top.mount.hidden or not (path + b"/").startswith(base + b"/"):
            return path
        here = top.mount.root
        try:
            for name in filter(None, path[len(base) :].split(b"/")):
                here = here.child(name, here.node.lookup(name))
        except OSError:  # gone meanwhile, or hidden by a mount of the host's
            return path
        return here

    def up(self, here: Place) -> Place:
        """What `..` means there to the task whose call is being answered."""
        return here if self.top is not None and same(here, self.top) else self.above(here)

    def link(self, tid: int, dentry: Dentry) -> bytes | Jump | None:
        """The target of a virtual link, as task *tid* would see it; `None`: it leads to no place."""
        path = proc_path(dentry) if dentry.proc else None
        return self.host_link(tid, path) if path is not None else dentry.node.readlink()

    def host_link(self, tid: int, path: bytes) -> bytes | Jump | None:
        """The target of a host path that is a symbolic link, as task *tid* would see it; `None`: it is none. ENOENT, EACCES."""
        if path.startswith(b"/proc/"):
            if path == b"/proc/self":
                return b"%d" % tid
            if path == b"/proc/thread-self":
                return b"%d/task/%d" % (tid, tid)
            match = MAGIC.fullmatch(path)
            if match:
                pid = int(match[2] or match[1])
                self.tasks.demand_access(tid, pid)
                root = self.tasks.root_of(pid) if path.endswith(b"/root") else None
                return Jump(root) if root is not None else self.jump(path)
        try:
            return os.readlink(path)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return None
            raise

    def jump(self, path: bytes) -> Jump | None:
        """Where a magic link of /proc leads; `None` for what has no place in the tree (a pipe, a deleted file)."""
        text = os.readlink(path)
        place = place_of(self.tasks.files, text)
        if place is not None:
            return Jump(place)
        return Jump(text) if text[:1] == b"/" and not text.endswith(b" (deleted)") else None

    @property
    def root(self) -> Place:
        """The view's root directory."""
        found = self.cover(b"/")
        return self.base if self.base is not None and isinstance(found, bytes) else found

    def cover(self, path: bytes) -> Place:
        """A host path, or the root of the mount on it."""
        mount = self.mounts.over(path, None)
        return mount.root if mount else path

    def above(self, here: Place) -> Place:
        """The directory that holds *here*, or what a later mount put on it."""
        if isinstance(here, bytes):
            if here in self.mounts.holes:
                return self.around(here) or b"/"
            return self.cover(here.rpartition(b"/")[0] or b"/")
        mount = here.mount
        if here.path in self.mounts.holes and here.path not in mount.holes:
            around = self.around(here.path)
            if around is not None:
                return around
        above = here.parent or (
            here if mount.target == b"/" or not (mount.hidden or mount in self.mounts.present) else mount.above
        )
        if isinstance(above, bytes):
            return self.cover(above)
        if above.path not in self.mounts.on or not (above.mount.hidden or above.mount in self.mounts.present):
            return above
        over = self.mounts.over(above.path, owner_of(above) if above.parent else above.mount.inside)
        return over.root if over else above

    def around(self, hole: bytes) -> Dentry | None:
        """The directory of the mount in which a path is a hole."""
        mount = next((m for m in reversed(self.mounts.mounts) if hole in m.holes), None)
        if mount is None:
            return None
        here = mount.root
        for name in hole[len(mount.target.rstrip(b"/")) + 1 :].split(b"/")[:-1]:
            try:
                here = here.child(name, here.node.lookup(name))
            except OSError:
                break
        return here

    def beneath(self, hole: bytes, mount: Mount) -> Place:
        """What shows where *mount* has a hole. ENOENT, ENOTDIR."""
        here = mount.covered
        for name in hole[len(mount.target.rstrip(b"/")) + 1 :].split(b"/"):
            if isinstance(here, Dentry):
                here = self.child(here, name, False)
            else:
                here = self.cover((b"" if here == b"/" else here) + b"/" + name)
        if isinstance(here, bytes):
            os.lstat(here)
        return here

    def child(self, directory: Dentry, name: bytes, shown: bool) -> Place:
        """The entry of a virtual directory, or the root of the mount on it, or what shows through a hole; *shown*: see `shows`.
        ENOTDIR, ENOENT, ENAMETOOLONG."""
        if directory.kind != DIRECTORY:
            fail(errno.ENOTDIR)
        if self.search_allowed is not None:
            self.search_allowed(directory)
        base = directory.path
        path = (b"" if base == b"/" else base) + b"/" + name
        if shown:
            dentry = self.dentries.get(path)
            if dentry is not None:
                return dentry
        if len(name) > NAME_MAX or len(path) > DEEPEST:
            fail(errno.ENAMETOOLONG)
        owner = directory.mount
        if path in owner.holes and not directory.removed:
            return self.beneath(path, owner)
        mount = self.mounts.over(path, owner_of(directory))
        if mount is not None:
            return mount.root
        if directory.removed:
            fail(errno.ENOENT)
        if not owner.is_ours:
            dentry = self.entry_of(directory, name)
            if owner.filesystem.changes_outside:
                if len(self.recent) >= self.host.LIMIT:
                    self.recent.clear()
                self.recent[path] = dentry
            return dentry
        if shown and path in self.absent:
            fail(errno.ENOENT)
        dentry = directory.known(name)
        if dentry is None:
            if len(self.dentries) + len(self.absent) > self.CACHE_LIMIT:
                self.dentries.clear()
                self.absent.clear()
            try:
                dentry = self.entry_of(directory, name)
            except OSError as error:
                if shown and error.errno == errno.ENOENT:
                    self.absent.add(path)
                raise
        if shown:
            self.dentries[path] = dentry
        return dentry

    def entry_of(self, directory: Dentry, name: bytes) -> Dentry:
        """The dentry of an entry that the module is asked for. ENOENT; ELOOP."""
        dentry = directory.child(name, directory.node.lookup(name))
        if dentry.kind == DIRECTORY and dentry.is_its_own_ancestor():
            fail(errno.ELOOP)  # as Linux: a damaged image has directories in circles
        return dentry

    # ---------------------------------------------------------------- changes

    def appeared(self, directory: Dentry, name: bytes) -> None:
        """An entry was made in a virtual directory."""
        self.absent.discard(join(directory.path, name))
        if self.mirrors.paths:
            self.mirrors.appeared(directory, name)

    def vanished(self, directory: Dentry, name: bytes) -> None:
        """An entry of a virtual directory was removed."""
        path = join(directory.path, name)
        self.dentries.pop(path, None)
        self.recent.pop(path, None)
        removed = directory.lose(name)
        if self.mirrors.paths:
            self.mirrors.vanished(directory, name, removed)

    def moved(self, directory: Dentry, name: bytes, new: Dentry, new_name: bytes, exchanged: bool) -> None:
        """An entry of a virtual directory was renamed: who holds its dentry sees it at its new place."""
        if self.mirrors.paths:
            self.mirrors.moved(directory, name, new, new_name, exchanged)
        old, over = directory.known(name), new.known(new_name)
        if directory.children is not None:
            directory.children.pop(name, None)
        if not exchanged:
            new.lose(new_name)
        new.take(old, new_name)
        if exchanged:
            directory.take(over, name)
        for dentry in (old, over if exchanged else None):
            if dentry is not None and dentry.kind == DIRECTORY:
                dentry.mount.epoch += 1
                self.forget()
        for path in (join(directory.path, name), join(new.path, new_name)):
            self.dentries.pop(path, None)
            self.recent.pop(path, None)
            self.absent.discard(path)


def join(directory: bytes, name: bytes) -> bytes:
    return (b"" if directory == b"/" else directory) + b"/" + name
