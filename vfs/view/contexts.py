"""Contexts: which view a task is in, whom it takes itself for, and where its root is. The task itself carries the answer.

What a task inherits over fork, clone and exec, natively and at once, and what we can read at any time, is its *personality*
(personality(2)). The kernel gives no meaning to bits 8 to 16 and 28 to 31 of it: they hold the number of the task's context, 0
for the outermost view. So there is no table of tasks, nothing to be told of forks, and no time at which it is wrong.

As long as there is only the outermost context nothing is ever read, and no handler is wrapped.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from vfs.api import fail
from vfs.view.kernel import libc
from vfs.view.kernel.loop import Handler, let_through
from vfs.view.kernel.notify import Call
from vfs.view.kernel.processes import parent_of
from vfs.view.kernel.refusals import personalities_are_refused
from vfs.view.kernel.trace import Stopped

if TYPE_CHECKING:
    from vfs.view.credentials import Credentials
    from vfs.view.dentry import Dentry
    from vfs.view.view import View

BITS = 0x1FF00 | 0xF0000000
"""The bits of a personality that mean nothing to Linux (linux/personality.h: types below, flags between)."""
LIMIT = 1 << 13
"""Contexts at a time, that of the outermost view included."""
KEPT = 512
"""Descriptors of /proc/TID/personality that are kept open."""
QUERY = 0xFFFFFFFF
ROUNDS = 20


def encode(number: int) -> int:
    """The bits of a context's number."""
    return (number & 0x1FF) << 8 | (number >> 9) << 28


def decode(personality: int) -> int:
    return personality >> 8 & 0x1FF | (personality >> 28 & 0xF) << 9


def is_as_real(credentials: Credentials) -> bool:
    """Whether virtual credentials allow all with the host's files, and what root makes there is its own."""
    ids = credentials.uid.fs, credentials.gid.fs
    return credentials.unrestricted and (os.geteuid() != 0 or ids == (0, os.getegid()))


class Context:
    """A view, virtual credentials (`None`: a task's are the real ones), and a root directory (`None`: that of the view)."""

    __slots__ = ("confined", "credentials", "number", "root", "view")

    def __init__(self, number: int, view: View, credentials: Credentials | None = None, root: Dentry | None = None) -> None:
        self.number, self.view, self.credentials, self.root = number, view, credentials, root
        self.confined = view.human and credentials is not None and not is_as_real(credentials)
        """What the kernel, by the real user, lets it do with the host's files is too much, or would make them another's."""


class Contexts:
    """All contexts of one supervisor. *enter* is told, before each call, the context of its task."""

    def __init__(self, outermost: View, enter: Callable[[Context], None]) -> None:
        self.outermost = Context(0, outermost)
        self.by_number = {0: self.outermost}
        self.interned: dict[tuple[View, Credentials | None, Dentry | None], Context] = {(outermost, None, None): self.outermost}
        self.free = deque(range(1, LIMIT))
        """Numbers; those given back last come last."""
        self.enter = enter
        self.descriptors: dict[int, int] = {}
        self.handlers: list[Handler] = []
        self.plain: list[Handler] = []
        self.only = True
        """There is only the outermost context: tasks need not be asked."""
        self.changed: Callable[[], None] = lambda: None
        """Told when that has changed."""
        self.pids: Callable[[], Iterable[int]] = lambda: ()
        """All processes of the tree."""

    def begin(self, view: View, credentials: Credentials) -> None:
        """Before the tree starts: the outermost context has these credentials."""
        self.interned.clear()
        self.outermost.credentials = credentials
        self.interned[view, credentials, None] = self.outermost

    # ---------------------------------------------------------------- of tasks

    def of(self, tid: int) -> Context:
        """The context of a task."""
        return self.outermost if self.only else self.by_number.get(self.number(tid), self.outermost)

    def number(self, tid: int) -> int:
        return decode(self.personality(tid))

    def personality(self, tid: int) -> int:
        """A task's personality, our bits included. A task that hides it (one that is not dumpable) has the context of its
        parent: it cannot be told otherwise, and we cannot change it."""
        descriptor = self.descriptors.get(tid)
        if descriptor is not None:
            try:
                return int(os.pread(descriptor, 16, 0), 16)
            except OSError:  # another task has the number now
                os.close(self.descriptors.pop(tid))
        try:
            descriptor = os.open(b"/proc/%d/personality" % tid, os.O_RDONLY | os.O_CLOEXEC)
            self.descriptors[tid] = descriptor
            if len(self.descriptors) > KEPT:
                os.close(self.descriptors.pop(next(iter(self.descriptors))))
            return int(os.pread(descriptor, 16, 0), 16)
        except (PermissionError, ValueError):
            parent = parent_of(tid)
            return encode(self.number(parent)) if parent else 0
        except OSError:
            return 0

    def wrap(self, handler: Handler) -> Handler:
        """A handler that first looks whose call it is."""
        of, enter = self.of, self.enter

        def handle(call: Call) -> int:
            enter(of(call.tid))
            return handler(call)

        return handle

    def serve(self, handlers: list[Handler]) -> None:
        """*handlers* are what the loop asks: they are wrapped when there is more than one context."""
        self.handlers, self.plain = handlers, list(handlers)
        if not self.only:
            self.ask()

    def ask(self) -> None:
        self.only = False
        self.changed()
        for number, handler in enumerate(self.plain):
            if handler is not let_through:
                self.handlers[number] = self.wrap(handler)

    # ---------------------------------------------------------------- changing

    def intern(self, view: View, credentials: Credentials | None, root: Dentry | None) -> Context:
        """The context of these three. EAGAIN: there are too many."""
        found = self.interned.get((view, credentials, root))
        if found is not None:
            return found
        if personalities_are_refused(encode(1)):
            fail(errno.EPERM, "personality(2) is limited here (a container's rules): there is one view, with one identity")
        if not self.free:
            self.sweep()
        if not self.free:
            fail(errno.EAGAIN, f"no more than {LIMIT} views, identities and roots are possible at a time")
        context = Context(self.free.popleft(), view, credentials, root)
        self.by_number[context.number] = self.interned[view, credentials, root] = context
        if self.only:
            self.ask()
        return context

    def change(self, call: Call, stopped: Stopped, context: Context) -> None:
        """The stopped task, and what it will start, is in *context* from now on."""
        kept = self.personality(call.tid) & ~BITS
        result = stopped.syscall("personality", kept | encode(context.number), 0, 0, 0, 0, call.listener.cookie)
        if result < 0:
            fail(-result)

    def sweep(self) -> set[View]:
        """Forget the contexts that no task has any more; the views that are left."""
        if self.only:
            return {self.outermost.view}
        used = self.numbers_used()
        for number, context in list(self.by_number.items()):
            if number and number not in used:
                del self.by_number[number], self.interned[context.view, context.credentials, context.root]
                self.free.append(number)
        if len(self.by_number) == 1:
            self.only = True
            self.handlers[:] = self.plain
            self.close()
            self.enter(self.outermost)  # who is answered next says nothing of it
            self.changed()
        return {context.view for context in self.by_number.values()}

    def numbers_used(self) -> set[int]:
        """The numbers that tasks have. While we look, tasks fork and end: so look until no new one came."""
        used: set[int] = set()
        seen: set[int] = set()
        for _ in range(ROUNDS):
            new = False
            for pid in self.pids():
                for tid in threads(pid):
                    if tid not in seen:
                        new = True
                        seen.add(tid)
                        used.add(self.number(tid))
            if not new:
                break
        else:
            return set(self.by_number)  # a fork bomb: later
        return used

    def close(self) -> None:
        while self.descriptors:
            os.close(self.descriptors.popitem()[1])


def forget_inherited() -> None:
    """The tree begins in context 0, whatever bits it was started with."""
    found = libc.held.personality(QUERY)
    if found & BITS:
        libc.held.personality(ctypes.c_ulong(found & 0xFFFFFFFF & ~BITS))


def threads(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return list(map(int, os.listdir(b"/proc/%d/task" % pid)))
    return []
