"""umview inside a view.

Linux allows one listener in a chain of filters, so the supervisor that is there serves the inner view too:

    outer shell -- front -- guardian -- the command and all its descendants

The command's process asks for a view of its own before it executes; the two above it stay in the outer one. They are what the
outermost umview has (vfs/view/kernel): the front for job control, signals and the exit status, the guardian for the end of all.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from vfs.api.errors import message
from vfs.view.commands.channel import ask
from vfs.view.kernel import abi, descriptors, libc, processes, reports
from vfs.view.kernel.command import Command
from vfs.view.kernel.front import Front
from vfs.view.kernel.guardian import Guardian
from vfs.view.kernel.machine import current
from vfs.view.kernel.reports import Kind
from vfs.view.kernel.signals import Inherited


@dataclass(frozen=True)
class InnerCommand(Command):
    enter: Callable[[], object]

    def _under_filter(self, report_pipe: int, go_pipe: int) -> None:
        libc.prctl(abi.PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(PermissionError):
            os.setpgid(0, self.group)
        try:
            self.enter()
        except OSError as error:
            raise RuntimeError(f"no view is possible: {message(error)}") from None


class InnerFront(Front):
    """As the outermost one, but its child is the guardian, whose reports tell the exit status."""

    def _ended(self, pid: int, status: int) -> None:
        if pid != self._supervisor:
            return
        self._supervisor = 0
        processes.kill_tree(lambda pid, status: None)
        code = 128 + signal.SIGKILL  # unless we hear otherwise: the guardian was killed
        heard = self.status
        while (report := reports.receive(self._pipe)) is not None:
            if report.kind == Kind.ENDED:
                heard = report.value
        if heard is not None:
            code = os.waitstatus_to_exitcode(heard)
        with contextlib.suppress(OSError):
            ask("ended")
        os._exit(code if code >= 0 else 128 - code)


def run(argv: Sequence[str], request: dict[str, Any]) -> NoReturn:
    """Run a command in a view inside this one, and end with its status. *request*: what it begins with (control.nested)."""
    descriptors.fill_standard()
    inherited = Inherited.block()
    group, front = os.getpgrp(), os.getpid()
    command = InnerCommand(
        argv=[os.fsencode(argument) for argument in argv],
        environment={os.fsencode(name): os.fsencode(value) for name, value in os.environ.items()},
        program=b"",
        machine=current(),
        inherited=inherited,
        group=group,
        name="umview",
        prepare=None,
        enter=lambda: ask("nested", **request),
    )
    reader, writer = os.pipe()
    guardian = os.fork()
    if not guardian:
        os.close(reader)
        guard(command, front, writer)
    os.close(writer)
    try:
        InnerFront(guardian, reader, "umview", None).run()
    except BaseException as error:
        os.write(2, f"umview: the process in front failed: {error!r}\n".encode())
    finally:
        os._exit(1)


def guard(command: InnerCommand, front: int, pipe: int) -> NoReturn:
    """In the guardian's process."""

    def start() -> int:
        pid = os.fork()
        if not pid:
            command.become(pipe, -1)
        return pid

    try:
        os.setpgid(0, 0)
        Guardian(front, front, (pipe,)).run(start)
    except BaseException as error:
        os.write(2, f"umview: the guardian failed: {error!r}\n".encode())
    finally:
        os._exit(1)
