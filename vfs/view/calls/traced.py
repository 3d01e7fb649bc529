"""What strace or gdb holds can't be held by us as well: changes of directory, exec and redirected calls of traced processes.

They are made in place (`kernel/inplace`): the names in the process's own memory are changed until the kernel has read them.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

from vfs.view.calls.trampoline import trampoline
from vfs.view.kernel.inplace import Aliases, proceed
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
        return proceed(call, pieces, links[0])

    def chdir(self, call: Call, directory: int) -> int:
        """Change into *directory*, a descriptor of ours, in place of the first argument's name."""
        link = self.aliases.link(self.reach(call, directory))
        return proceed(call, {call.args[0]: link + b"\0"}, link)

    def reach(self, call: Call, descriptor: int) -> bytes:
        """A path by which the caller reaches a descriptor of ours."""
        _, uids, _, _ = credentials(call.tid)
        if uids[3] != os.geteuid():  # it may not look into us; lent for good, since nobody can close it there
            return b"/proc/thread-self/fd/%d" % call.add_fd(descriptor, None, True, answer=False)
        self.held.append(os.dup(descriptor))
        if len(self.held) > HELD:
            os.close(self.held.popleft())
        return b"/proc/%d/fd/%d" % (os.getpid(), self.held[-1])

    def execute(self, call: Call, request: Request, directory: bytes, name: bytes) -> int:
        """Execute *name* in a directory of ours, with the arguments as they are."""
        link = self.aliases.link(directory)
        return proceed(call, {request.name_address: link + b"/" + name + b"\0"}, link)

    def interpret(self, call: Call, request: Request, path: bytes, words: list[bytes]) -> int:
        """Execute *path* with *words* in place of the first argument: by way of a program that does."""
        text = trampoline(path, words, len(read_pointers(call.tid, request.argv)))
        name = words[-1].rstrip(b"/").rpartition(b"/")[2]

        def fill(writer: int) -> None:
            os.pwrite(writer, text, 0)
            os.fchmod(writer, 0o755)

        program = make_memfd(self.files.name + b"trampoline", fill)
        try:
            number = call.add_fd(program, None, True, answer=False)
        finally:
            os.close(program)
        target = b"/proc/thread-self/fd/%d" % number
        os.close(self.files.scratch.program_directory(target, name))
        return self.execute(call, request, self.files.scratch.programs[target], name)

    def close(self) -> None:
        while self.held:
            os.close(self.held.pop())
