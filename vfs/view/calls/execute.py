"""execve of virtual programs, and of host programs whose interpreter is virtual.

A virtual ELF file is executed from its memfd, under its own name: a directory of ours with a link `NAME -> our descriptor of the
memfd` becomes a descriptor of the task, and the task itself calls execveat(that, NAME). NAME is the tail of the string that
the task gave, so nothing is written into its memory, and `comm` is right. Where the ELF interpreter (ld.so) is virtual too, a
copy of the program names our descriptor of the interpreter.

A `#!` line the kernel would resolve on the host, so its work is done here: the arguments are built in a fresh page of the task,
and the task calls execve on the interpreter, which is trapped again.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from vfs.api import fail
from vfs.view.calls.names import is_empty
from vfs.view.calls.table import CallTable
from vfs.view.dentry import LINK, REGULAR, Dentry
from vfs.view.files import Placeholder
from vfs.view.kernel.abi import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW
from vfs.view.kernel.machine import current
from vfs.view.kernel.memory import read_pointers
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.kernel.structs import signed
from vfs.view.kernel.trace import Stopped
from vfs.view.names import Elsewhere

if TYPE_CHECKING:
    from vfs.view.view import View

HEAD = 256
"""How much of a file the kernel looks at to tell its format (BINPRM_BUF_SIZE)."""
MAX_INTERPRETER = 4096


class Request(NamedTuple):
    """One execve or execveat: addresses in the task, and the name read."""

    dirfd: int
    name_address: int
    argv: int
    envp: int
    flags: int
    name: bytes


def install(table: CallTable, view: View) -> None:
    calls = Execute(view)
    table.always(lambda call: calls.execute(call, AT_FDCWD, call.args[0], call.args[1], call.args[2], 0), "execve")
    table.always(
        lambda call: calls.execute(call, signed(call.args[0]), call.args[1], call.args[2], call.args[3], call.args[4]), "execveat"
    )


class Execute:
    def __init__(self, view: View) -> None:
        self.view = view

    def execute(self, call: Call, dirfd: int, name_address: int, argv: int, envp: int, flags: int) -> int:
        view = self.view
        if not view.mounts.mounts:
            return CONTINUE
        if flags & AT_EMPTY_PATH and is_empty(call, name_address):
            place = view.tasks.place(call.tid, dirfd)
            if not isinstance(place, Dentry):
                return CONTINUE
            request = Request(dirfd, name_address, argv, envp, flags, b"")
        else:
            request = Request(dirfd, name_address, argv, envp, flags, call.string(1 if call.args[0] != name_address else 0))
            try:
                place = view.names.search(call, dirfd, request.name, not flags & AT_SYMLINK_NOFOLLOW)
            except Elsewhere as elsewhere:
                place = elsewhere.path
                if not self.host_interpreter(call, place):
                    return self.on_host(call, request, place)
        if not isinstance(place, Dentry):
            return self.from_host(call, request, place)
        if place.kind == LINK:
            fail(errno.ELOOP)
        if place.kind != REGULAR or place.mount.options.noexec or not place.stat().mode & 0o111:
            fail(errno.EACCES)
        head = bytes(view.files.placeholder(place).content().read(0, HEAD))
        if head[:2] == b"#!":
            return self.script(call, request, head)
        return self.program(call, request, place)

    # ---------------------------------------------------------------- ELF

    def program(self, call: Call, request: Request, dentry: Dentry) -> int:
        """Execute a virtual ELF file (or whatever else the kernel knows) from a memfd."""
        view = self.view
        placeholder = view.files.placeholder(dentry)
        view.files.fill(placeholder)
        descriptor = self.with_interpreter(call, placeholder)
        directory, name = self.link(placeholder, descriptor, request.name)
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            number = call.add_fd(opened, None, True, answer=False)
        finally:
            os.close(opened)
        tail = request.name_address + len(request.name.rstrip(b"/")) - len(name)
        if not request.name:
            # An O_PATH-like execution of a descriptor has no name to borrow: execute the descriptor itself.
            with call.stop() as stopped:
                return self.become(stopped, request.dirfd, request.name_address, request.argv, request.envp, AT_EMPTY_PATH)
        with call.stop() as stopped:
            return self.become(stopped, number, tail, request.argv, request.envp, 0)

    def become(self, stopped: Stopped, *arguments: int) -> int:
        """The task calls execveat with these arguments, untrapped."""
        return stopped.again(current().calls["execveat"], (*arguments, self.view.table.filter.cookie))

    def link(self, placeholder: Placeholder, descriptor: int, requested: bytes) -> tuple[bytes, bytes]:
        """A directory with a link of the requested last component to *descriptor*: (directory, component)."""
        name = requested.rstrip(b"/").rpartition(b"/")[2] or b"program"
        if placeholder.program is None:
            placeholder.program = self.view.files.scratch + b"/exec.%d" % placeholder.number
            os.makedirs(placeholder.program, exist_ok=True)
        link, target = placeholder.program + b"/" + name, b"/proc/%d/fd/%d" % (os.getpid(), descriptor)
        try:
            os.symlink(target, link)
        except FileExistsError:
            if os.readlink(link) != target:
                os.unlink(link)
                os.symlink(target, link)
        return placeholder.program, name

    def with_interpreter(self, call: Call, placeholder: Placeholder) -> int:
        """Our descriptor to execute: the memfd itself, or a copy of the program whose virtual interpreter has our name."""
        files = self.view.files
        found = interpreter(placeholder.content().read)
        if found is None:
            return placeholder.holder
        loader = self.view.names.find(call, AT_FDCWD, found.name) if found.name[:1] == b"/" else None
        if loader is None:
            return placeholder.holder
        ours = files.placeholder(loader)
        files.fill(ours)
        return files.patched_copy(placeholder, found.header, b"/proc/%d/fd/%d" % (os.getpid(), ours.holder))

    # ---------------------------------------------------------------- scripts

    def script(self, call: Call, request: Request, head: bytes) -> int:
        """Do what the kernel does with a `#!` line: INTERPRETER [ARGUMENT] NAME the-arguments-after-the-first."""
        words = head[2:].split(b"\n", 1)[0].strip(b" \t").split(None, 1)
        if not words:
            fail(errno.ENOEXEC)
        words = [words[0], words[1].strip(b" \t")] if len(words) > 1 else words
        name = self.script_name(call, request)
        old = [*read_pointers(call.tid, request.argv)[1:], 0]
        strings = [*words, name]

        def page(address: int) -> bytes:
            text, pointers, base = b"", [], address + 8 * (len(strings) + len(old))
            for string in strings:
                pointers.append(base + len(text))
                text += string + b"\0"
            return struct.pack(f"={len(pointers) + len(old)}Q", *pointers, *old) + text

        with call.stop() as stopped:
            argv, _ = stopped.scratch(page)  # gone with the old image; after vfork the page stays in the parent
            first = struct.unpack("=Q", call.read(argv, 8))[0]
            return stopped.again(current().calls["execve"], (first, argv, request.envp))

    def script_name(self, call: Call, request: Request) -> bytes:
        """The name that the interpreter opens: as given, or by the directory that it was relative to."""
        if request.name[:1] == b"/" or (request.dirfd == AT_FDCWD and request.name):
            return request.name
        place = self.view.tasks.place(call.tid, request.dirfd)
        base = place.path if isinstance(place, Dentry) else place or b""
        return base + b"/" + request.name if request.name else base

    # ---------------------------------------------------------------- the host's programs

    def from_host(self, call: Call, request: Request, place: bytes | None) -> int:
        """A program of the host: the kernel executes it, unless its `#!` interpreter is virtual."""
        path = place if place is not None else self.host_path(call, request)
        head = self.host_interpreter(call, path) if path else b""
        return self.script(call, request, head) if head else CONTINUE

    def host_path(self, call: Call, request: Request) -> bytes | None:
        if request.name[:1] == b"/":
            return request.name
        place = self.view.tasks.place(call.tid, request.dirfd)
        return place + b"/" + request.name if isinstance(place, bytes) else None

    def host_interpreter(self, call: Call, path: bytes) -> bytes:
        """The head of a host script whose interpreter is virtual, else empty."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            head = os.read(descriptor, HEAD)
        except OSError:
            return b""
        finally:
            os.close(descriptor)
        words = head[2:].split(b"\n", 1)[0].split(None, 1) if head[:2] == b"#!" else []
        try:
            found = self.view.names.find(call, AT_FDCWD, words[0]) if words else None
        except (Elsewhere, OSError):
            return b""
        return head if found is not None else b""

    def on_host(self, call: Call, request: Request, path: bytes) -> int:
        """A name that leads out of a mount: execute the host's path."""
        with call.stop() as stopped:
            address, _ = stopped.scratch(lambda _: path + b"\0")
            return self.become(stopped, AT_FDCWD, address, request.argv, request.envp, 0)


# -------------------------------------------------------------------- ELF headers (System V ABI, "Program Header")


class Interpreter(NamedTuple):
    """PT_INTERP of an ELF file: the file offset of its program *header*, and the *name* in it."""

    header: int
    name: bytes


ELF64_LITTLE = b"\x7fELF\x02\x01"
PT_INTERP = 3


def interpreter(read: Callable[[int, int], bytes | bytearray | memoryview]) -> Interpreter | None:
    """The interpreter of a 64-bit ELF file, read by *read(offset, size)*; `None`: static, or another format."""
    header = bytes(read(0, 64))
    if header[:6] != ELF64_LITTLE or len(header) < 64:
        return None
    table = struct.unpack_from("<Q", header, 32)[0]
    size, count = struct.unpack_from("<HH", header, 54)
    if size < 56 or count > 512 or table >= 1 << 40:
        return None
    headers = bytes(read(table, size * count))
    for at in range(0, len(headers) - 55, size):
        if struct.unpack_from("<I", headers, at)[0] == PT_INTERP:
            offset, length = struct.unpack_from("<Q", headers, at + 8)[0], struct.unpack_from("<Q", headers, at + 32)[0]
            if offset >= 1 << 40 or length > MAX_INTERPRETER:
                return None
            return Interpreter(table + at, bytes(read(offset, length)).split(b"\0")[0])
    return None
