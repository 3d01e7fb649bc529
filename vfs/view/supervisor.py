"""Supervisor: the views it serves, what their processes have open, and the table of calls that present it all."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable

from vfs.api import fail, message
from vfs.view import roots
from vfs.view.calls import (
    attributes,
    changes,
    descriptors,
    directories,
    execute,
    identity,
    ioctls,
    opening,
    paths,
    refused,
    signals,
    sockets,
    watches,
    writing,
)
from vfs.view.calls import mount as mounting
from vfs.view.calls.table import CallTable
from vfs.view.calls.traced import Traced
from vfs.view.contexts import Context, Contexts
from vfs.view.credentials import root
from vfs.view.dentry import Dentry
from vfs.view.devices import DeviceNodes
from vfs.view.devicewatch import DeviceWatch
from vfs.view.files import OpenFiles
from vfs.view.kernel import loop
from vfs.view.kernel.notify import Call, Listener
from vfs.view.kernel.refusals import mounting_is_refused
from vfs.view.messages import tell
from vfs.view.mounts import Mount, MountTable, Superblock
from vfs.view.permissions import Permissions
from vfs.view.shortcut.shortcut import Shortcut
from vfs.view.tasks import Tasks
from vfs.view.view import View
from vfs.view.workers import Workers
from vfs.view.writeback import Flusher

SUBJECTS = (
    refused,
    paths,
    opening,
    descriptors,
    directories,
    execute,
    changes,
    attributes,
    writing,
    mounting,
    ioctls,
    identity,
    sockets,
    signals,
    watches,
)


class Supervisor:
    """All state of one supervisor. *debug* logs to standard error."""

    def __init__(self, files: OpenFiles, debug: bool = False) -> None:
        self.debug = debug
        self.files = files
        self.tasks = Tasks(files)
        self.traced = Traced(files)
        mounts = MountTable()
        # Where libmount notes what mountinfo lacks (utab): of what is mounted here the host's shall say nothing.
        mounts.replace(b"/run/mount", files.scratch.private_directory(b"run.mount"))
        self.view = View(mounts, self.tasks)
        """The view of the task whose call is being answered."""
        self.views = [self.view]
        self.made = 1
        """How many views there were."""
        self.contexts = Contexts(self.view, self.enter)
        self.context = self.contexts.outermost
        """That of the task whose call is being answered. Its credentials are `None` where a task's own count."""
        self.superblocks: list[Superblock] = []
        """All that is mounted in any view, in the order it was."""
        self.workers = Workers(lambda: self.context, self.enter_again)
        self.tasks.credentials = lambda: self.context.credentials
        self.tasks.root_of = lambda tid: self.contexts.of(tid).root
        self.files.users = self.all_held
        self.files.written.say = self.say
        self.files.lists_itself = self.lists_itself
        Flusher(self.files.written, self.workers)
        self.pids: Callable[[], Iterable[int]] = lambda: ()
        """The processes of all views; set when they have started."""
        self.contexts.pids = lambda: self.pids()
        self.device_watch = DeviceWatch(self)
        self.identity = identity.Identity(self)
        self.permissions = Permissions(self)
        self.shortcut = Shortcut(self)
        self.files.losing = self.permissions.lost_by_writing
        self.tasks.demand_access = self.permissions.demand_access
        self.table = CallTable()
        for subject in SUBJECTS:
            subject.install(self.table, self)

    def begin(self, services: Iterable[str] = (), name: str = "", human: bool = False) -> None:
        """What the outermost view begins with. ENODEV, EINVAL: a service that is none."""
        self.view.name = name
        for service in services:
            self.view.services.add(service)
        if human:
            self.enforce(self.view)
            self.contexts.begin(self.view, root())
        self.shortcut.begin()

    def enter(self, context: Context) -> None:
        """From here on a task of *context* is answered."""
        self.context = context
        self.view = context.view
        names = self.view.names
        names.top = context.root
        names.base = roots.confine(self) if context.confined else None

    def lists_itself(self, directory: Dentry) -> bool:
        """Whether a directory of the host's, which is virtual only for permissions' sake, has the names that the view shows."""
        return self.view.names.is_hosts(directory) and directory.path not in self.view.mounts.added

    def enter_again(self, context: Context) -> None:
        """The same after others were answered."""
        self.enter(self.contexts.outermost if self.contexts.only else context)

    def demand(self, capability: int) -> None:
        """EPERM: the task whose call is answered lacks a capability, in a view where that counts."""
        credentials = self.context.credentials
        if self.view.human and credentials is not None and not credentials.capable(capability):
            fail(errno.EPERM)

    # ---------------------------------------------------------------- views

    def enforce(self, view: View) -> None:
        """From now on permissions count in a view (human mode)."""
        view.human = True
        view.names.search_allowed = self.permissions.demand_search
        view.names.following_allowed = self.permissions.demand_following

    def fork(self, view: View) -> View:
        """A view that starts from *view*, to be apart from now on."""
        mounts = view.mounts.fork()
        for directory, private in view.mounts.private.items():
            mounts.private[directory] = self.files.scratch.copy_of(private, b"%s.%d" % (os.path.basename(directory), self.made))
        made = View(mounts, self.tasks, view, self.made)
        self.made += 1
        self.views.append(made)
        if view.human:
            self.enforce(made)
        return made

    def sweep(self) -> None:
        """Forget the views that nobody is in any more, and close what only they showed."""
        left = self.contexts.sweep()
        if len(left) < len(self.views):
            for view in self.views:
                if view not in left:
                    self.files.scratch.discard(view.mounts.private.values())
            self.views = [view for view in self.views if view in left]
            self.release()

    def processes_of(self, view: View) -> list[int]:
        """The processes of a view and of those inside it."""
        return [pid for pid in self.pids() if self.contexts.of(pid).view.is_within(view)]

    def serve(self, listener: Listener) -> None:
        """Answer the calls of all tasks, until there are none."""
        self.files.scratch.begin()
        if mounting_is_refused():
            self.say("mount and umount are forbidden here (a container's rules): nothing can be mounted in this view")
        handlers = loop.table(self.table.handlers)
        watchdog = None
        if self.debug:
            from vfs.view.watchdog import Watchdog

            watchdog = Watchdog(self.say)
            handlers = [watchdog.watched(handler) for handler in handlers]
            watchdog.start()
        self.contexts.serve(handlers)
        with self.workers.serving(handlers, self.report):
            loop.serve(listener, handlers, self.report, self.workers.turn, self.workers.postpone)
        if watchdog:
            watchdog.stop()

    def log(self, line: str) -> None:
        if self.debug:
            self.say(line)

    def say(self, line: str) -> None:
        """One line on our standard error."""
        tell(2, f"umview[{os.getpid()}]: {line}\n")

    def report(self, call: Call, error: Exception) -> None:
        """A handler's mistake: one line, and with debug where it happened."""
        self.say(f"{call.name} of process {call.tid}: {type(error).__name__}: {error}")
        if self.debug:
            import traceback

            self.say("".join(traceback.format_exception(error)))

    def devices(self) -> list[DeviceNodes]:
        """Those of all views."""
        return [s.filesystem for s in self.superblocks if isinstance(s.filesystem, DeviceNodes)]

    def sweep_devices(self) -> None:
        """Of all devices, what nobody has open any more is closed."""
        for nodes in self.devices():
            self.files.sweep_devices(nodes)

    def refresh_devices(self) -> None:
        """Partitions that came or went are seen in all views."""
        for view in self.views:
            changed = [view.mounts.refresh(device) for device in view.mounts.devices]
            if any(changed):
                view.names.forget()

    def detach(self, mount: Mount) -> None:
        """Take a mount out of the view. Its file system is closed when nobody has anything of it any more."""
        self.view.mounts.remove(mount)
        self.view.names.forget()
        self.release()

    def release(self) -> None:
        """Close the file systems that no view shows and nobody uses any more, the latest first."""
        self.sweep_devices()
        shown = {mount.superblock for view in self.views for mount in (*view.mounts.mounts, *view.hidden.values())}
        for superblock in reversed(self.superblocks.copy()):
            if superblock not in shown and not superblock.dependents and self.user_of(superblock) is None:
                self.shut(superblock)

    def shut(self, superblock: Superblock) -> None:
        """Close a file system. What a module does wrong there is told, no more."""
        self.files.forget_filesystem(superblock)
        self.superblocks.remove(superblock)
        if superblock.below is not None:
            superblock.below.dependents -= 1
        try:
            superblock.filesystem.close()
        except Exception as error:
            self.say(f"{superblock.filesystem.type}: {message(error) if isinstance(error, OSError) else repr(error)}")

    def user_of(self, superblock: Superblock, mount: Mount | None = None) -> int | None:
        """A process that has something of the file system open, as its root or cwd, mapped or running; with *mount* one of this
        view that has it by this mount."""

        def is_root(root: Dentry | None) -> bool:
            return root is not None and root.mount.superblock is superblock and (mount is None or root.mount is mount)

        ours = {p.number for p in superblock.placeholders.values() if mount is None or p.dentry.mount is mount}
        handed = mount.handed if mount is not None else set()
        if not ours and not handed and not any(is_root(context.root) for context in self.contexts.by_number.values()):
            return None
        for pid in self.pids():
            context = self.contexts.of(pid)
            if mount is not None and context.view is not self.view:
                continue
            if is_root(context.root):
                return pid
            for text in self.held_by(pid):
                placeholder = self.files.of_link(text)
                if placeholder is not None and placeholder.number in ours:
                    return pid
            if handed and not handed.isdisjoint(self.files_of(pid)):
                return pid
        if mount is not None:
            mount.handed.clear()
        return None

    def files_of(self, pid: int) -> Iterable[tuple[int, int]]:
        """Device and inode of what a process has open, mapped, or runs."""
        base = b"/proc/%d/" % pid
        try:
            links = [b"exe", *(b"fd/" + number for number in os.listdir(base + b"fd"))]
            with open(base + b"maps", "rb") as maps:
                for major, minor, ino in set(re.findall(rb" ([0-9a-f]+):([0-9a-f]+) (\d+) ", maps.read())):
                    yield os.makedev(int(major, 16), int(minor, 16)), int(ino)
        except OSError:
            return
        for link in links:
            try:
                found = os.stat(base + link)
            except OSError:
                continue
            yield found.st_dev, found.st_ino

    def all_held(self) -> Iterable[bytes]:
        """The names of all that the view's processes hold."""
        for pid in self.pids():
            yield from self.held_by(pid)

    def held_by(self, pid: int) -> Iterable[bytes]:
        """The names of all that a process holds: cwd, program, descriptors, mappings."""
        base = b"/proc/%d/" % pid
        for name in (b"cwd", b"exe"):
            try:
                yield os.readlink(base + name)
            except OSError:
                pass
        try:
            for number in os.listdir(base + b"fd"):
                try:
                    yield os.readlink(base + b"fd/" + number)
                except OSError:
                    pass
            with open(base + b"maps", "rb") as maps:
                yield from set(re.findall(rb"/memfd:.*", maps.read()))
        except OSError:
            pass

    def close(self) -> None:
        """The tree has ended: close all file systems, the latest first."""
        with self.workers.turn:
            for superblock in reversed(self.superblocks.copy()):
                self.shut(superblock)
            self.traced.close()
            self.shortcut.close()
            self.contexts.close()
            self.files.close()
