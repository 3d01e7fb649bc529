"""What calls that take names have in common: find the dentry, or let the kernel go on, or send it elsewhere."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from vfs.api import fail
from vfs.view.calls.table import Handler
from vfs.view.dentry import Dentry, Place
from vfs.view.kernel.abi import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.kernel.structs import signed
from vfs.view.kernel.trace import Stopped, Traced
from vfs.view.names import Elsewhere

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

Action = Callable[[Call, Dentry], int]


def named(
    supervisor: Supervisor,
    action: Action,
    path: int = 0,
    dirfd: int | None = None,
    follow: bool = True,
    flags: int | None = None,
    known: int = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH,
) -> Handler:
    """A handler that finds the dentry and calls *action(call, dentry)*. *path*, *dirfd* and *flags* are argument numbers; with
    *flags*, AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH are honoured, and a call with others than the *known* ones is the kernel's,
    which refuses it."""

    def handler(call: Call) -> int:
        if supervisor.view.mounts.idle:
            return CONTINUE
        arguments = call.args
        directory = AT_FDCWD if dirfd is None else signed(arguments[dirfd])
        following = follow
        if flags is not None:
            given = arguments[flags] & 0xFFFFFFFF
            if given & ~known:
                return CONTINUE
            following = not given & AT_SYMLINK_NOFOLLOW
            if given & AT_EMPTY_PATH and is_empty(call, arguments[path]):
                return with_descriptor(supervisor, call, directory, action)
        try:
            dentry = supervisor.view.names.find(call, directory, call.string(path), following)
        except Elsewhere as elsewhere:
            return redirect(supervisor, call, path, dirfd, elsewhere.path)
        if dentry is None:
            return CONTINUE
        show(supervisor, call, dentry)
        return action(call, dentry)

    return handler


def show(supervisor: Supervisor, call: Call, dentry: Dentry, name: bytes = b"") -> None:
    """The option showcall: a line for each call on the mount; *name* of an entry in the directory *dentry*."""
    if dentry.mount.options.showcall:
        path = os.fsdecode(dentry.path + b"/" + name if name else dentry.path)
        supervisor.say(f"{dentry.mount.type}: {call.name} {path} (process {call.tid})")


def unless(refused: Callable[[Call], bool], handler: Handler) -> Handler:
    """A handler for calls whose arguments the kernel looks at before the name: it refuses what *refused* says."""
    return lambda call: CONTINUE if refused(call) else handler(call)


def with_descriptor(supervisor: Supervisor, call: Call, number: int, action: Action) -> int:
    """Call *action* with what a descriptor, or the cwd, stands for."""
    place: Place | None = supervisor.tasks.place(call.tid, number)
    if isinstance(place, bytes) and call.name in CHANGING:
        place = of_host(supervisor, call, number)
    return action(call, place) if isinstance(place, Dentry) else CONTINUE


CHANGING = frozenset(["fchmod", "fchown", "fsetxattr", "fremovexattr", "fchownat", "fchmodat2", "utimensat", "futimesat"])
"""Calls on descriptors that ask for more than the descriptor allows."""


def of_host(supervisor: Supervisor, call: Call, number: int) -> Dentry | None:
    """For a task whose permissions the kernel does not know: the file of the host's that it has open, so that they are asked.
    `None`: the kernel may decide. EPERM: the file has no name any more, and another owner."""
    names = supervisor.view.names
    who = supervisor.permissions.who
    if names.base is None or who is None:
        return None
    link = b"/proc/%d/cwd" % call.tid if number == AT_FDCWD else b"/proc/%d/fd/%d" % (call.tid, number)
    try:
        text, found = os.readlink(link), os.stat(link)
    except OSError:
        return None
    if text[:1] == b"/":
        try:
            place = names.inward(text, names.base)
            if isinstance(place, Dentry) and place.stat().real == (found.st_dev, found.st_ino):
                return place
        except OSError:
            pass
    owners = names.base.mount.owners
    known = owners.by_number.get((found.st_dev, found.st_ino)) if owners is not None else None
    return None if who.uid.fs == (known[0] if known is not None else found.st_uid) else fail(errno.EPERM)


def opened(supervisor: Supervisor, action: Action, argument: int = 0) -> Handler:
    """A handler for a call on a descriptor."""

    def handler(call: Call) -> int:
        number = signed(call.args[argument])
        placeholder = supervisor.files.of_descriptor(call.tid, number)
        if placeholder is None:
            dentry = of_host(supervisor, call, number) if supervisor.view.names.base and call.name in CHANGING else None
            return action(call, dentry) if dentry is not None else CONTINUE
        show(supervisor, call, placeholder.dentry)
        return action(call, placeholder.dentry)

    return handler


def is_empty(call: Call, address: int) -> bool:
    """Whether a name is "" or NULL, as AT_EMPTY_PATH wants it."""
    return address == 0 or call.read(address, 1) == b"\0"


Renamed = Mapping[int, tuple[int | None, bytes]]
"""The number of a name's argument -> the number of its dirfd's, and the host's name."""


def redirect(supervisor: Supervisor, call: Call, path: int, dirfd: int | None, host: bytes) -> int:
    """Run the call with the host's name in place of its own."""
    return redirected(supervisor, call, list(call.args), {path: (dirfd, host)})


def redirected(supervisor: Supervisor, call: Call, arguments: list[int], names: Renamed) -> int:
    """Run the call with other *arguments* and the host's *names*. (A traced process keeps its arguments.)"""
    try:
        with call.stop() as stopped:
            address, size = give_names(supervisor, stopped, arguments, names)
            result = stopped.syscall(call.name, *arguments)
            stopped.syscall("munmap", address, size)
            return stopped.finish(result)
    except Traced:
        return supervisor.traced.renamed(call, names)


def redirect_unwatched(supervisor: Supervisor, call: Call, path: int, dirfd: int | None, host: bytes) -> int:
    """As `redirect`, for a call that may wait for long (opening a fifo): the task makes it alone, and keeps the page with the
    name."""
    arguments = list(call.args)
    names = {path: (dirfd, host)}
    try:
        with call.stop() as stopped:
            give_names(supervisor, stopped, arguments, names)
            return stopped.again(call.nr, arguments)
    except Traced:
        return supervisor.traced.renamed(call, names)


def give_names(supervisor: Supervisor, stopped: Stopped, arguments: list[int], names: Renamed) -> tuple[int, int]:
    """Put the names into new memory of the task, and the *arguments* in order for a call that is not trapped: address and size
    of that memory."""
    text = b"".join(name + b"\0" for _, name in names.values())
    address, size = stopped.scratch(lambda _: text)
    arguments[5:] = [supervisor.table.filter.cookie]
    at = address
    for path, (dirfd, name) in names.items():
        arguments[path] = at
        at += len(name) + 1
        if dirfd is not None:
            arguments[dirfd] = AT_FDCWD
    return address, size


def refuse(number: int) -> Action:
    """An action that always fails with errno *number*."""
    return lambda call, dentry: -number


def demand_writable(dentry: Dentry) -> None:
    """EROFS."""
    if dentry.mount.read_only:
        fail(errno.EROFS)
