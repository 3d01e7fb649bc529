"""execve of virtual programs, and of host programs whose interpreter is virtual.

A virtual ELF file is executed from its memfd, under its own name: the task gets the memfd, and a directory of ours in which NAME
is a link to that very descriptor (/proc/thread-self/fd/N); it then calls execveat(directory, NAME) itself. NAME is the tail of
the string that it gave, so nothing is written into its memory, and `comm` is right. Where the ELF interpreter (ld.so) is virtual
too, it becomes one more descriptor, and a copy of the program names that. All of them close at exec.

A `#!` line the kernel would resolve on the host, so its work is done here: the arguments are built in a fresh page of the task,
and the interpreter is executed in the same way, with the script's name in the directory.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from vfs.api import fail
from vfs.view import roots
from vfs.view.calls.names import is_empty, show
from vfs.view.calls.table import CallTable
from vfs.view.dentry import LINK, REGULAR, Dentry, Place
from vfs.view.files import READY
from vfs.view.kernel.abi import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW
from vfs.view.kernel.inplace import is_traced
from vfs.view.kernel.machine import current
from vfs.view.kernel.memory import read_pointers, read_string
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.kernel.structs import signed
from vfs.view.kernel.trace import Stopped
from vfs.view.names import Elsewhere
from vfs.view.permissions import EXECUTE

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

HEAD = 256
"""How much of a file the kernel looks at to tell its format (BINPRM_BUF_SIZE)."""
MAX_INTERPRETER = 4096
MAX_SCRIPTS = 5
"""How deep `#!` lines may be nested (fs/exec.c)."""


class Request(NamedTuple):
    """One execve or execveat: addresses in the task, and the name read."""

    dirfd: int
    name_address: int
    argv: int
    envp: int
    name: bytes


def install(table: CallTable, supervisor: Supervisor) -> None:
    calls = Execute(supervisor)
    table.always(calls.execve, "execve")
    table.always(calls.execveat, "execveat")


class Execute:
    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor

    def execve(self, call: Call) -> int:
        name, argv, envp = call.args[:3]
        result = self.execute(call, AT_FDCWD, name, argv, envp, 0)
        return self.natively(call, AT_FDCWD, name, 0) if result == CONTINUE else result

    def execveat(self, call: Call) -> int:
        dirfd, (name, argv, envp, flags) = signed(call.args[0]), call.args[1:5]
        result = self.execute(call, dirfd, name, argv, envp, flags)
        return self.natively(call, dirfd, name, flags) if result == CONTINUE else result

    def natively(self, call: Call, dirfd: int, name_address: int, flags: int) -> int:
        """The kernel executes the call as it is; virtual credentials may change with it."""
        identity = self.supervisor.identity
        if not identity.changes_at_exec():
            return CONTINUE
        if not (flags & AT_EMPTY_PATH and is_empty(call, name_address)):
            path = self.host_path(call, dirfd, read_string(call.tid, name_address))
            if path is None or not os.access(path, os.X_OK) or is_traced(call.tid):
                return CONTINUE  # it will fail; or it cannot be helped
        with call.stop() as stopped:
            identity.executed(call, stopped, None)
            return stopped.again(call.nr, (*call.args[:5], call.listener.cookie))

    def execute(self, call: Call, dirfd: int, name_address: int, argv: int, envp: int, flags: int) -> int:
        supervisor = self.supervisor
        if supervisor.view.mounts.idle or flags & 0xFFFFFFFF & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW):
            return CONTINUE
        crossed = False
        if flags & AT_EMPTY_PATH and is_empty(call, name_address):
            request = Request(dirfd, name_address, argv, envp, b"")
            place = supervisor.tasks.place(call.tid, dirfd)
            if isinstance(place, bytes) and supervisor.context.root is not None:
                place = self.from_outside(place)
            if not isinstance(place, Dentry):
                return CONTINUE
        else:
            name = read_string(call.tid, name_address)
            request = Request(dirfd, name_address, argv, envp, name)
            try:
                place = supervisor.view.names.search(call, dirfd, name, not flags & AT_SYMLINK_NOFOLLOW)
            except Elsewhere as elsewhere:
                place, crossed = elsewhere.path, True
            if isinstance(place, bytes) and supervisor.context.root is not None:
                place = self.from_outside(place)
            if place is None:
                place = self.host_path(call, dirfd, name)
        if place is None or (isinstance(place, bytes) and not crossed and supervisor.view.names.host.afar.holds(place)):
            return CONTINUE
        if isinstance(place, Dentry):
            self.check(place)
            show(supervisor, call, place)
            supervisor.files.demand_stored(place)
        if isinstance(place, Dentry) and supervisor.view.names.is_hosts(place):
            native = self.host_path(call, dirfd, request.name)
            crossed = native is None or not is_same(place, native)
            place = place.path
        words, virtual, last = self.interpreters(call, place, self.script_name(call, request))
        if len(words) > 1 and (virtual or crossed or isinstance(place, Dentry)):
            return self.script(call, request, words, last)
        if isinstance(place, Dentry):
            return self.program(call, request, place)
        return self.on_host(call, request, place) if crossed else CONTINUE

    def check(self, dentry: Dentry) -> None:
        """What execve refuses. ELOOP, EACCES."""
        if dentry.kind == LINK:
            fail(errno.ELOOP)
        if dentry.kind != REGULAR or dentry.mount.options.noexec or not dentry.stat().mode & 0o111:
            fail(errno.EACCES)
        self.supervisor.permissions.demand(dentry, EXECUTE)

    def from_outside(self, path: bytes) -> Place:
        """A program of the host that lies outside the caller's root: its interpreter is looked for below that."""
        return roots.virtual(self.supervisor, path) if os.path.isfile(path) else path

    def host_path(self, call: Call, dirfd: int, name: bytes) -> bytes | None:
        """The path of a name that stays on the host."""
        if name[:1] == b"/":
            return name
        place = self.supervisor.tasks.place(call.tid, dirfd)
        return place + b"/" + name if name and isinstance(place, bytes) else None

    # ---------------------------------------------------------------- ELF

    def program(self, call: Call, request: Request, dentry: Dentry) -> int:
        """Execute a virtual ELF file (or whatever else the kernel knows) from a memfd."""
        name = basename(request.name) or dentry.name or b"program"
        if is_traced(call.tid):
            self.demand_executable(dentry)
            return self.supervisor.traced.execute(call, request, self.program_descriptor(call, dentry), name)
        directory = self.directory(call, dentry, name)
        with call.stop() as stopped:
            if request.name:
                address = request.name_address + len(request.name.rstrip(b"/")) - len(name)
            else:
                address, _ = stopped.scratch(lambda _: name + b"\0")
            self.supervisor.identity.executed(call, stopped, dentry)
            return self.become(stopped, directory, address, request.argv, request.envp, 0)

    def directory(self, call: Call, place: Place, name: bytes) -> int:
        """The task's new descriptor of a directory where *name* leads to a program, virtual or of the host."""
        directory = self.supervisor.files.scratch.program_directory(self.target(call, place), name)
        try:
            return self.lend(call, directory)
        finally:
            os.close(directory)

    def target(self, call: Call, place: Place) -> bytes:
        """The path by which the task reaches a program."""
        if isinstance(place, bytes):
            os.stat(place)  # what is missing is told before the task gets anything that it would keep
            return place
        self.demand_executable(place)
        return b"/proc/thread-self/fd/%d" % self.program_descriptor(call, place)

    def demand_executable(self, dentry: Dentry) -> None:
        """ENOEXEC, before the task gets anything that it would keep."""
        if self.head(dentry)[:4] != ELF and not other_formats():
            fail(errno.ENOEXEC)

    def lend(self, call: Call, descriptor: int) -> int:
        """Give the task our *descriptor* until it executes; its number there."""
        try:
            return call.add_fd(descriptor, None, True, answer=False)
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
        return call.add_fd(descriptor, self.supervisor.files.free_number(call.tid, READY), True, answer=False)

    def become(self, stopped: Stopped, *arguments: int) -> int:
        """The task calls execveat with these arguments, untrapped."""
        return stopped.again(current().calls["execveat"], (*arguments, self.supervisor.table.filter.cookie))

    def program_descriptor(self, call: Call, dentry: Dentry) -> int:
        """The task's new descriptor to execute: the host's own file, the memfd, or a copy of the program that names the task's
        descriptor of its virtual interpreter."""
        files = self.supervisor.files
        loader: Place | None = None
        header = 0
        with dentry.node.open(os.O_RDONLY) as content:
            found = interpreter(content.read)
            if found is not None and found.name[:1] == b"/":
                loader, header = self.loader(call, found.name), found.header
                if isinstance(loader, Dentry) and self.supervisor.context.root is None and is_same(loader, found.name):
                    loader = None  # the kernel finds it by itself
            descriptor = content.descriptor() if dentry.real and loader is None else None
            if descriptor is not None:
                return self.lend(call, descriptor)
        placeholder = files.placeholder(dentry)
        if loader is None:
            files.fill(placeholder)
            return self.lend(call, placeholder.holder)
        if isinstance(loader, bytes):
            return self.lend(call, files.patched_copy(placeholder, header, loader))
        if loader.real:
            with loader.node.open(os.O_RDONLY) as content:
                descriptor = content.descriptor()
                assert descriptor is not None
                number = call.add_fd(descriptor, files.free_number(call.tid, READY), True, answer=False)
        else:
            ours = files.placeholder(loader)
            files.fill(ours)
            number = call.add_fd(ours.holder, files.free_number(call.tid, READY), True, answer=False)
        return self.lend(call, files.patched_copy(placeholder, header, b"/proc/thread-self/fd/%d" % number))

    def loader(self, call: Call, name: bytes) -> Place | None:
        """Where the ELF interpreter lies; `None`: where the kernel looks for it."""
        try:
            return self.supervisor.view.names.find(call, AT_FDCWD, name)
        except Elsewhere as elsewhere:
            return elsewhere.path

    # ---------------------------------------------------------------- scripts

    def interpreters(self, call: Call, place: Place, name: bytes) -> tuple[list[bytes], bool, Place]:
        """What the kernel makes of `#!` lines: the words that replace the first argument of a program called *name*, whether any
        interpreter is virtual, and the last one. One word: no script. ELOOP, ENOEXEC, and what finding an interpreter gives."""
        words, virtual = [name], False
        for _ in range(MAX_SCRIPTS + 1):
            head = self.head(place)
            if head[:2] != b"#!":
                return words, virtual, place
            words[:1] = [*first_line(head), words[0]]
            found = self.supervisor.view.names.locate(call, AT_FDCWD, words[0])
            if found is None:
                fail(errno.ENOENT)
            place = found.place
            if isinstance(place, Dentry):
                self.check(place)
                if self.supervisor.view.names.is_hosts(place):
                    place = place.path
                else:
                    virtual = True
        fail(errno.ELOOP)

    def head(self, place: Place) -> bytes:
        """The beginning of a file; empty where there is none to read."""
        if isinstance(place, Dentry):
            with place.node.open(os.O_RDONLY) as content:
                return bytes(content.read(0, HEAD))
        try:
            if not stat.S_ISREG(os.stat(place).st_mode):
                return b""
            descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            return os.read(descriptor, HEAD)
        except OSError:
            return b""
        finally:
            os.close(descriptor)

    def script(self, call: Call, request: Request, words: list[bytes], interpreter: Place) -> int:
        """The task executes *interpreter*, under the script's name as the kernel has it, with *words* in place of its first
        argument."""
        old = [*read_pointers(call.tid, request.argv)[1:], 0]
        strings = [*words, basename(words[-1])]
        if is_traced(call.tid):
            path = words[0]  # virtual: by another exec, which is trapped
            if isinstance(interpreter, bytes):
                os.stat(interpreter)
                path = self.supervisor.traced.directory(interpreter, strings[-1]) + b"/" + strings[-1]
            return self.supervisor.traced.by_trampoline(call, request, path, strings[-1], words)
        directory = self.directory(call, interpreter, strings[-1])

        def page(address: int) -> bytes:
            """argv, and the address of the script's last component."""
            text, pointers, base = b"", [], address + 8 * (len(strings) + len(old))
            for string in strings:
                pointers.append(base + len(text))
                text += string + b"\0"
            addresses = [*pointers[:-1], *old, pointers[-1]]
            return struct.pack(f"={len(addresses)}Q", *addresses) + text

        with call.stop() as stopped:
            argv, _ = stopped.scratch(page)  # gone with the old image; after vfork the page stays in the parent
            name = struct.unpack("=Q", call.read(argv + 8 * (len(words) + len(old)), 8))[0]
            self.supervisor.identity.executed(call, stopped, interpreter if isinstance(interpreter, Dentry) else None)
            return self.become(stopped, directory, name, argv, request.envp, 0)

    def script_name(self, call: Call, request: Request) -> bytes:
        """The name that the interpreter opens: as given, or by the directory that it was relative to."""
        if request.name[:1] == b"/" or (request.dirfd == AT_FDCWD and request.name):
            return request.name
        place = self.supervisor.tasks.place(call.tid, request.dirfd)
        base = place.path if isinstance(place, Dentry) else place or b""
        return base + b"/" + request.name if request.name else base

    # ---------------------------------------------------------------- the host's programs

    def on_host(self, call: Call, request: Request, path: bytes) -> int:
        """A name that leads out of a mount: execute the host's path."""
        if is_traced(call.tid):
            os.stat(path)
            return self.supervisor.traced.by_link(call, request, path, basename(path))
        with call.stop() as stopped:
            address, _ = stopped.scratch(lambda _: path + b"\0")
            self.supervisor.identity.executed(call, stopped, None)
            return self.become(stopped, AT_FDCWD, address, request.argv, request.envp, 0)


def is_same(loader: Dentry, path: bytes) -> bool:
    """Whether a host path leads the kernel to this very file."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    return loader.stat().real == (found.st_dev, found.st_ino)


def basename(name: bytes) -> bytes:
    return name.rstrip(b"/").rpartition(b"/")[2]


def other_formats() -> bool:
    """Whether the kernel may execute what is neither ELF nor a script (binfmt_misc)."""
    try:
        return not {"register", "status"}.issuperset(os.listdir("/proc/sys/fs/binfmt_misc"))
    except OSError:
        return False


def first_line(head: bytes) -> list[bytes]:
    """Interpreter and argument (all the rest of the line), as fs/binfmt_script.c takes them. ENOEXEC: none, or cut off."""
    head = head.ljust(HEAD, b"\0")
    end = head.find(b"\n")
    if end < 0:
        end = HEAD - 1
        if not re.search(rb"[ \t\0]", head[2:end].lstrip(b" \t")):
            fail(errno.ENOEXEC)
    line = head[2:end].strip(b" \t")
    if not line:
        fail(errno.ENOEXEC)
    if line[:1] == b"\0":
        fail(errno.EACCES)
    name = re.split(rb"[ \t\0]", line, maxsplit=1)[0]
    argument = line[len(name) :].split(b"\0")[0].lstrip(b" \t")
    return [name, argument] if argument else [name]


# -------------------------------------------------------------------- ELF headers (System V ABI, "Program Header")


class Interpreter(NamedTuple):
    """PT_INTERP of an ELF file: the file offset of its program *header*, and the *name* in it."""

    header: int
    name: bytes


ELF = b"\x7fELF"
ELF64_LITTLE = ELF + b"\x02\x01"
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
