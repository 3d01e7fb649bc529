"""The supervisor's side: who gets the page, and what is in it at any time."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from vfs.api import fail
from vfs.view.kernel.machine import current
from vfs.view.kernel.memory import Unreadable, read_memory
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.memfd import make_memfd
from vfs.view.names import Elsewhere
from vfs.view.proc.links import text_name
from vfs.view.shortcut.layout import GATE, LINK
from vfs.view.shortcut.library import PAGE, WITNESS, patched, witnesses
from vfs.view.shortcut.page import Mode, Page
from vfs.view.tasks import LIFETIME

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

LOADER = "/lib64/ld-linux-x86-64.so.2"
LIBRARY = b"/libc.so.6"
LARGEST = 16 << 20
MOST_LIBRARIES = 16

Key = tuple[int, int, int, int]
"""Device, inode, size and mtime of a library."""


class Shortcut:
    """Of one supervisor. Without a page (another machine, another C library, human mode) it does nothing."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.page: Page | None = None
        self.witnesses: dict[int, bytes] = {}
        self.libraries: dict[Key, int] = {}
        """Our descriptor of each patched copy, -1: it cannot be patched."""
        self.expiring = False
        """A worker waits to empty the table."""

    def begin(self) -> None:
        """Before the tree is started."""
        supervisor = self.supervisor
        if current().audit_arch != 0xC000003E or supervisor.view.human:
            return
        try:
            with open(LOADER, "rb") as loader:
                found = witnesses(loader.read(LARGEST))
            page = Page()
        except (OSError, ValueError):
            return
        self.witnesses, self.page = found, page
        supervisor.table.filter.gate = GATE
        host = supervisor.view.names.host
        host.learned, host.forgotten = self.learn, self.forget
        host.learned_link = lambda path: self.learn(path + LINK, ())
        supervisor.contexts.changed = supervisor.tasks.differ = self.refresh
        self.refresh()

    # ---------------------------------------------------------------- what is in it

    def refresh(self) -> None:
        """Something has changed on which it depends what may pass."""
        if self.page:
            supervisor = self.supervisor
            alike = supervisor.contexts.only and not supervisor.tasks.roots_differ and not supervisor.views[0].human
            self.page.set_mode(Mode.OFF if not alike else Mode.ALL if supervisor.views[0].mounts.idle else Mode.TABLE)

    def forget(self) -> None:
        if self.page:
            self.page.clear()
            self.refresh()

    def learn(self, directory: bytes, excepted: Iterable[bytes]) -> None:
        """Names of entries of *directory* are the host's, but not the *excepted* ones."""
        if self.page and not directory.startswith(self.supervisor.files.scratch.path):
            self.page.add(directory, excepted)
            if not self.expiring:
                self.expiring = True
                self.supervisor.workers.start(self.expire)

    def expire(self) -> None:
        """In a worker: what was learned is believed for `LIFETIME`."""
        time.sleep(LIFETIME)
        with self.supervisor.workers.turn:
            self.expiring = False
            host = self.supervisor.views[0].names.host  # all is to be learned afresh
            host.directories.clear()
            host.finals.clear()
            if self.page:
                self.page.clear()

    # ---------------------------------------------------------------- who gets it

    def restrict(self, call: Call) -> int:
        """A process limits its own calls: the page may not make others in its name, nor, since forks have one page, in any."""
        if self.page:
            self.page.set_plain()
        return CONTINUE

    def library(self, call: Call, name: bytes) -> int | None:
        """The loader opens *name*: the answer, or `None` if that is to be opened as usual."""
        witness = self.witnesses.get(call.instruction % PAGE)
        if witness is None or not name.endswith(LIBRARY) or name[:1] != b"/" or not self.page:
            return None
        supervisor = self.supervisor
        if not supervisor.contexts.only or supervisor.tasks.roots_differ or supervisor.tasks.is_elsewhere(call.tid):
            return None
        try:
            if read_memory(call.tid, call.instruction - WITNESS, WITNESS) != witness:
                return None
            if not supervisor.view.mounts.idle and supervisor.view.names.find(call, -1, name) is not None:
                return None
            copy = self.copy_of(name)
            if copy < 0:
                return None
            descriptor = os.open(b"/proc/self/fd/%d" % copy, os.O_RDONLY | os.O_CLOEXEC)  # with a position of its own
        except (OSError, Unreadable, Elsewhere):
            return None
        try:
            return call.add_fd(descriptor, None, True)
        finally:
            os.close(descriptor)

    def copy_of(self, name: bytes) -> int:
        """OSError."""
        found = os.stat(name)
        key = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
        copy = self.libraries.get(key)
        if copy is None:
            good = self.page is not None and found.st_size <= LARGEST and len(self.libraries) < MOST_LIBRARIES
            copy = self.libraries[key] = self.make_copy(name) if good else -1
        return copy

    def make_copy(self, name: bytes) -> int:
        assert self.page
        with open(name, "rb") as file:
            image = patched(file.read(LARGEST), self.page.segment)
        if image is None:
            return -1
        text = image

        def fill(writer: int) -> None:
            if os.write(writer, text) < len(text):
                fail(errno.ENOSPC)

        return make_memfd(text_name(self.supervisor.files, os.path.realpath(name)), fill)

    def close(self) -> None:
        for descriptor in self.libraries.values():
            if descriptor >= 0:
                os.close(descriptor)
        self.libraries.clear()
        if self.page:
            page, self.page = self.page, None
            page.close()
