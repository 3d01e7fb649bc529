"""What strace or gdb holds can't be held by us as well: changes of directory, exec and redirected calls of traced processes.

They are made in place (`kernel/inplace`): the names in the process's own memory are changed until the kernel has read them.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from typing import TYPE_CHECKING

from vfs.api import fail
from vfs.view.calls.trampoline import trampoline
from vfs.view.kernel.inplace import Aliases, Lease, Slow, proceed, shares_memory
from vfs.view.kernel.memory import read_pointers
from vfs.view.kernel.notify import Call
from vfs.view.memfd import make_memfd
from vfs.view.proc.access import credentials

if TYPE_CHECKING:
    from vfs.view.calls.execute import Request
    from vfs.view.calls.names import Renamed
    from vfs.view.files import OpenFiles

HELD = 64
"""How many directories we keep open since a process may still be on its way into them."""


class Traced:
    """Calls of traced processes."""

    def __init__(self, files: OpenFiles) -> None:
        self.files = files
        self.aliases = Aliases(files.scratch.path)
        self.held: deque[int] = deque()

    def renamed(self, call: Call, names: Renamed) -> int:
        """Make a call on the host's *names*. The last component stays one, for calls that do not follow it."""
        pieces: dict[int, bytes] = {}
        links = []
        for argument, (_, host) in names.items():
            stripped = host.rstrip(b"/")
            parent, _, name = stripped.rpartition(b"/")
            links.append(self.aliases.link(parent or b"/"))
            pieces[call.args[argument]] = links[-1] + b"/" + name + host[len(stripped) :] + b"\0"
        return proceed(call, pieces, Slow(links[0], self.aliases.tells))

    def chdir(self, call: Call, directory: int) -> int:
        """Change into *directory*, a descriptor of ours, in place of the first argument's name."""
        link = self.aliases.link(self.reach(call, directory))
        return proceed(call, {call.args[0]: link + b"\0"}, Slow(link, self.aliases.tells))

    def reach(self, call: Call, descriptor: int) -> bytes:
        """A path by which the caller reaches a descriptor of ours."""
        _, uids, _, _ = credentials(call.tid)
        if uids[3] != os.geteuid():  # it may not look into us; lent for good, since nobody can close it there
            return b"/proc/thread-self/fd/%d" % call.add_fd(descriptor, None, True, answer=False)
        self.held.append(os.dup(descriptor))
        if len(self.held) > HELD:
            os.close(self.held.popleft())
        return b"/proc/%d/fd/%d" % (os.getpid(), self.held[-1])

    # ---------------------------------------------------------------- exec

    def execute(self, call: Call, request: Request, number: int, name: bytes) -> int:
        """Execute what the caller has been lent at descriptor *number*, as *name*."""
        program = call.get_fd(number)
        try:
            memfd = self.files.memfd_of(program)
            if memfd is None:  # a file of the host's
                return self.by_link(call, request, os.readlink(b"/proc/self/fd/%d" % program), name)
            return self.by_lease(call, request, number, name, copied(program, memfd))
        finally:
            os.close(program)

    def by_lease(self, call: Call, request: Request, number: int, name: bytes, program: int) -> int:
        """Execute *program*, a memfd that is open nowhere else, at the caller's descriptor *number*."""
        try:
            call.add_fd(program, number, True, answer=False)
            target = b"/proc/thread-self/fd/%d" % number
            try:
                gate = Lease(program)
            except OSError:
                return self.by_link(call, request, target, name)
            path = self.directory(target, name) + b"/" + name
            return proceed(call, {request.name_address: path + b"\0"}, gate)
        finally:
            os.close(program)

    def by_link(self, call: Call, request: Request, target: bytes, name: bytes) -> int:
        """Execute the file at *target*. A parent that shares the memory uses it at once after an exec: we might be too late."""
        if shares_memory(call.tid):
            return self.by_trampoline(call, request, target, name, [])
        link = self.aliases.link(self.directory(target, name))
        return proceed(call, {request.name_address: link + b"/" + name + b"\0"}, Slow(link, self.aliases.tells))

    def directory(self, target: bytes, name: bytes) -> bytes:
        """The path of a directory of ours in which *name* leads to *target*."""
        os.close(self.files.scratch.program_directory(target, name))
        return self.files.scratch.programs[target]

    def by_trampoline(self, call: Call, request: Request, path: bytes, name: bytes, words: list[bytes]) -> int:
        """Execute *path* by way of another program, with *words* in place of the first argument."""
        text = trampoline(path, words, len(read_pointers(call.tid, request.argv)))

        def fill(writer: int) -> None:
            os.pwrite(writer, text, 0)
            os.fchmod(writer, 0o555)

        program = make_memfd(self.files.name + b"trampoline", fill)
        number = call.add_fd(program, None, True, answer=False)
        return self.by_lease(call, request, number, name, program)

    def close(self) -> None:
        while self.held:
            os.close(self.held.pop())


def copied(program: int, name: bytes) -> int:
    """A memfd of its own with the same content and name."""

    def fill(writer: int) -> None:
        done, size = 0, os.fstat(program).st_size
        while done < size:
            done += os.sendfile(writer, program, done, size - done) or fail(errno.EIO)
        os.fchmod(writer, 0o555)

    return make_memfd(name, fill)
