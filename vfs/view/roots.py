"""Roots: what chroot(2) makes of a directory.

A task's root is part of its context: a dentry, at which its absolute names begin and its `..` end (`Names.top`). The root that
the kernel knows stays what it is, so no privilege is needed; but what the kernel by itself makes of a name is then wrong: all
below the root must be virtual. A directory of the host therefore is shown by a *hidden* mount: a bind of the directory onto
itself that is in no mount table, and that nobody sees but who has his root in it. Otherwise it stands for the host: what is
mounted in it is seen from outside.

The same shows the whole host to tasks of a view in human mode that may not do all (`confine`): what the kernel would allow them,
by the real user, is not what their virtual one may.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from vfs.api import Filesystem, HostDirectory, registry, unsupported
from vfs.view.dentry import Dentry, Place
from vfs.view.mounts import Mount, Owners, Superblock, ViewOptions
from vfs.view.names import same

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

MANY = 32
"""From so many hidden mounts on, those that nobody uses are looked for."""


def filesystem_of(directory: bytes, undo: ExitStack) -> Filesystem:
    """A directory of the host as a file system."""
    opened = undo.enter_context(HostDirectory(directory))
    module = registry.detect(opened)
    filesystem = undo.enter_context(module.mount(opened, module.options()))
    if not isinstance(filesystem, Filesystem):
        raise unsupported("not a directory")
    return filesystem


def root_at(supervisor: Supervisor, place: Place) -> Dentry | None:
    """The root of a task that changes it to *place*, a directory; `None`: the view's own."""
    if same(place, supervisor.view.names.root):
        return None
    return place if isinstance(place, Dentry) else hidden(supervisor, place).root


def confine(supervisor: Supervisor) -> Dentry:
    """The host's root directory as a virtual one."""
    mount = hidden(supervisor, b"/")
    if mount.owners is None:
        mount.owners = Owners()
    return mount.root


def virtual(supervisor: Supervisor, path: bytes) -> Dentry:
    """A file of the host, outside the task's root, as a dentry."""
    directory, _, name = path.rpartition(b"/")
    above = hidden(supervisor, directory or b"/").root
    return above.child(name, above.node.lookup(name))


def hidden(supervisor: Supervisor, path: bytes) -> Mount:
    """The hidden mount of a directory of the host, given by its canonical path."""
    view = supervisor.view
    mount = view.hidden.get(path)
    if mount is not None:
        return mount
    if len(view.hidden) >= MANY:
        forget_unused(supervisor)
    with ExitStack() as undo:
        filesystem = filesystem_of(path, undo)
        superblock = Superblock(filesystem)
        above = path.rpartition(b"/")[0] or b"/"
        mount = Mount(superblock, filesystem.root, filesystem.type, path, path, path, above, ViewOptions(), hidden=True)
        undo.pop_all()
    supervisor.superblocks.append(superblock)
    view.hidden[path] = mount
    view.mounts.idle = False
    return mount


def forget_unused(supervisor: Supervisor) -> None:
    """Forget the hidden mounts of roots that no task has."""
    supervisor.contexts.sweep()
    used = {context.root.mount for context in supervisor.contexts.by_number.values() if context.root is not None}
    for view in supervisor.views:
        view.hidden = {path: mount for path, mount in view.hidden.items() if mount in used or path == b"/"}
    supervisor.release()
