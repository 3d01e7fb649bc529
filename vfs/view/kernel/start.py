"""Start a tree of processes under a filter.

    shell -- front -- supervisor -- guardian -- the command and all its descendants

`launch` is called in the process that the user started.  That one becomes the *front* (front.py: job control, signals,
exit status) and never comes back; `launch` returns in its child, the *supervisor*, which has to serve the listener.
Below it the *guardian* (guardian.py) keeps hold of the tree.  Whichever of the three is killed, the tree ends; the
supervisor, unless it is the one, can still write back what its mounts have to.

The supervisor must be above the tree: where Yama restricts ptrace, only an ancestor may read a process's memory.  It is
in a process group of its own, so that neither Ctrl-C nor Ctrl-Z reaches it.  It serves until the last process of the
tree has ended, also those that the command left behind (as proot does, and other than a shell).
"""

import contextlib
import errno
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from vfs.view.kernel import abi, descriptors, libc, memory, passing, reports, signals
from vfs.view.kernel.command import Command
from vfs.view.kernel.filter import Filter
from vfs.view.kernel.front import Front
from vfs.view.kernel.guardian import Guardian
from vfs.view.kernel.lending import Lender
from vfs.view.kernel.notify import Listener
from vfs.view.kernel.reports import Kind
from vfs.view.kernel.signals import Inherited

_REFUSALS = {
    errno.ENOSYS: "the kernel has no seccomp filters",
    errno.EINVAL: f"Linux 5.19 or newer is needed, and this is {os.uname().release}",
    errno.EBUSY: "this is inside another view, or another program answers system calls here: Linux allows only one",
    errno.EPERM: "a seccomp filter may not be installed here (a container's rules?)",
    errno.EACCES: "a seccomp filter may not be installed here (a container's rules?)",
}
_NO_ACCESS = (
    "the system calls that a view reads its processes with (process_vm_readv) are forbidden here"
    " (a container's rules? kernel.yama.ptrace_scope above 1?)"
)


class CannotStart(Exception):
    """A view can't be had here.  The text is a sentence for the user."""


@dataclass
class Tree:
    """The tree that was started, as the supervisor sees it."""

    listener: Listener
    filter: Filter
    command: int  # pids
    guardian: int
    front: int
    _pipe: int  # the guardian's reports

    def end(self) -> None:
        """Kill all processes of the tree; the loop then ends by itself."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.guardian, signal.SIGTERM)

    def wait(self) -> int:
        """After the loop has ended: the command's exit status, 128+n when signal n ended it."""
        code = 128 + signal.SIGKILL  # unless we hear otherwise: the guardian was killed
        while (report := reports.receive(self._pipe)) is not None:
            if report.kind == Kind.ENDED:
                code = os.waitstatus_to_exitcode(report.value)
        os.close(self._pipe)
        signals.pass_away(self.guardian)
        self.listener.close()
        return code if code >= 0 else 128 - code


def launch(
    filter: Filter,
    argv: Sequence[str | bytes],
    environment: Mapping[str, str] | None = None,
    prepare: Callable[[], None] | None = None,
    name: str = "umview",
    cleanup: Callable[[], None] | None = None,
) -> Tree:
    """Execute argv[0] (searched in PATH) under the filter.  Returns in the supervisor: see above.

    There must be no other threads yet.  CannotStart, with a sentence.  A command that can't be executed shows in the
    exit status: 127 not found, 126 not executable.
    `prepare` runs in the command's process, before the filter.  `cleanup` runs when the supervisor was killed,
    after all processes have ended, in the front and in the guardian: for what the supervisor leaves on disk.
    """
    if not argv:
        raise ValueError("no command")
    program = filter.program()
    descriptors.fill_standard()
    for stream in (sys.stdout, sys.stderr):
        if stream:
            stream.flush()
    inherited = Inherited.block()
    command = Command(
        argv=[os.fsencode(argument) for argument in argv],
        environment={os.fsencode(k): os.fsencode(v) for k, v in (os.environ if environment is None else environment).items()},
        program=program,
        cookie=filter.cookie,
        machine=filter.machine,
        inherited=inherited,
        group=os.getpgrp(),
        name=name,
        prepare=prepare,
    )
    front = os.getpid()
    to_front, from_guardian = os.pipe(), os.pipe()
    supervisor = os.fork()
    if supervisor:
        _close(to_front[1], *from_guardian)
        _stand_in_front(supervisor, to_front[0], name, cleanup)
    os.setpgid(0, 0)
    go = passing.pair()
    guardian = os.fork()
    if not guardian:
        _close(to_front[0], from_guardian[0], go[1])
        _guard(command, front, (from_guardian[1], to_front[1]), go[0], cleanup)
    _close(*to_front, from_guardian[1], go[0])
    signals.survive(guardian)
    inherited.unblock()
    libc.prctl(abi.PR_SET_NAME, b"umview:view")
    try:
        child, listener = _fetch_listener(from_guardian[0], go[1], filter)
        os.write(go[1], b"g")
    except CannotStart:
        _close(go[1], from_guardian[0])
        signals.pass_away(guardian)
        raise
    os.close(go[1])
    os.chdir("/")
    descriptors.release_inherited()
    _raise_limit()
    return Tree(listener, filter, child, guardian, front, from_guardian[0])


def _close(*pipes: int) -> None:
    for fd in pipes:
        os.close(fd)


def _stand_in_front(supervisor: int, pipe: int, name: str, cleanup: Callable[[], None] | None) -> NoReturn:
    """In the process that the user started.  Nothing of the caller's may run here any more."""
    try:
        Front(supervisor, pipe, name, cleanup).run()
    except BaseException as error:
        os.write(2, f"{name}: the process in front failed: {error!r}\n".encode())
    finally:
        os._exit(1)


def _guard(command: Command, front: int, pipes: tuple[int, ...], go: int, cleanup: Callable[[], None] | None) -> NoReturn:
    """In the guardian's process."""

    def start() -> int:
        pid = os.fork()
        if not pid:
            command.become(pipes[0], go)
        return pid

    try:
        Guardian(os.getppid(), front, pipes, cleanup).run(start)
    except BaseException as error:
        os.write(2, f"{command.name}: the guardian failed: {error!r}\n".encode())
    finally:
        os._exit(1)


def _fetch_listener(pipe: int, socket: int, filter: Filter) -> tuple[int, Listener]:
    """The command's pid and our descriptor of its listener."""
    child, number = -1, -1
    while number < 0 or child < 0:
        report = reports.receive(pipe)
        if report is None:
            raise CannotStart("the command's process was killed at its start")
        if report.kind == Kind.REFUSED:
            reason = _REFUSALS.get(report.value, os.strerror(report.value))
            raise CannotStart(f"no view is possible: {reason}")
        if report.kind == Kind.COMMAND:
            child = report.value
        elif report.kind == Kind.LISTENER:
            number = report.value
    try:
        listener = Listener(passing.arrived(socket), filter.cookie)
        memory.demand_access(child)
    except (OSError, memory.Unreadable) as error:
        reason = _NO_ACCESS if isinstance(error, PermissionError | memory.Unreadable) else str(error)
        raise CannotStart(f"no view is possible: {reason}") from None
    try:
        os.close(listener.processes.get_fd(child, number))
    except OSError:
        listener.lender = Lender()
    return child, listener


def _raise_limit() -> None:
    """As many descriptors as we may have: open virtual files are ours as well."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
