"""Supervisor: the views it serves, what their processes have open, and the table of calls that present it all."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Callable, Iterable

from vfs.api import message
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
from vfs.view.files import OpenFiles
from vfs.view.kernel import loop
from vfs.view.kernel.notify import Call, Listener
from vfs.view.kernel.refusals import mounting_is_refused
from vfs.view.messages import tell
from vfs.view.mounts import Mount, MountTable, Superblock
from vfs.view.tasks import Tasks
from vfs.view.view import View
from vfs.view.watchdog import Watchdog
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
        self.superblocks: list[Superblock] = []
        """All that is mounted in any view, in the order it was."""
        self.workers = Workers(lambda: self.view, self.look_at)
        self.files.users = self.all_held
        self.files.written.say = self.say
        Flusher(self.files.written, self.workers)
        self.pids: Callable[[], Iterable[int]] = lambda: ()
        """The processes of the view; set when it has started."""
        self.table = CallTable()
        for subject in SUBJECTS:
            subject.install(self.table, self)

    def look_at(self, view: View) -> None:
        self.view = view

    def serve(self, listener: Listener) -> None:
        """Answer the calls of all tasks, until there are none."""
        if mounting_is_refused():
            self.say("mount and umount are forbidden here (a container's rules): nothing can be mounted in this view")
        handlers = loop.table(self.table.handlers)
        watchdog = Watchdog(self.say) if self.debug else None
        if watchdog:
            handlers = [watchdog.watched(handler) for handler in handlers]
            watchdog.start()
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
            self.say("".join(traceback.format_exception(error)))

    def detach(self, mount: Mount) -> None:
        """Take a mount out of the view. Its file system is closed when nobody has anything of it any more."""
        self.view.mounts.remove(mount)
        self.view.names.forget()
        self.release()

    def release(self) -> None:
        """Close the file systems that no view shows and nobody uses any more, the latest first."""
        shown = {mount.superblock for view in self.views for mount in view.mounts.mounts}
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
        """A process that has something of the file system (of one *mount* of it) open, as its cwd, mapped or running."""
        ours = {p.number for p in superblock.placeholders.values() if mount is None or p.dentry.mount is mount}
        if not ours:
            return None
        for pid in self.pids():
            for text in self.held_by(pid):
                placeholder = self.files.of_link(text)
                if placeholder is not None and placeholder.number in ours:
                    return pid
        return None

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
            self.files.close()
