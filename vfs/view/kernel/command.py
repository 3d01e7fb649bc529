"""The first process of the tree: put it under the filter, and execute the command."""

import errno
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from vfs.view.kernel import abi, libc, passing, reports
from vfs.view.kernel.filter import install
from vfs.view.kernel.machine import Machine
from vfs.view.kernel.reports import Kind
from vfs.view.kernel.signals import Inherited

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # exit statuses, as shells have them
_NOT_HERE = (errno.ENOENT, errno.ENOTDIR)  # look further along PATH


@dataclass(frozen=True)
class Command:
    argv: Sequence[bytes]
    environment: Mapping[bytes, bytes]
    program: bytes  # the filter
    machine: Machine
    inherited: Inherited
    group: int  # process group
    name: str  # before messages
    prepare: Callable[[], None] | None
    cookie: int = field(default=0, kw_only=True)  # lets a call pass the filter

    def become(self, report_pipe: int, go_pipe: int) -> NoReturn:
        """Never returns.  The supervisor says go when it listens."""
        status = 1
        try:
            self._under_filter(report_pipe, go_pipe)
            self.inherited.restore()
            status = self._execute()
        except BaseException as error:
            self._complain(str(error))
        finally:
            os._exit(status)

    def _under_filter(self, report_pipe: int, go_pipe: int) -> None:
        """From `install` until the supervisor says go, only calls that no filter of ours traps: read and write."""
        libc.prctl(abi.PR_SET_PDEATHSIG, signal.SIGKILL)
        try:
            os.setpgid(0, self.group)  # from the supervisor's group to the terminal's
        except PermissionError:
            pass  # it is no more
        if self.prepare:
            self.prepare()
        try:
            listener = install(self.program, self.machine)
            passing.send(go_pipe, listener, self.cookie)
        except OSError as error:
            reports.send(report_pipe, Kind.REFUSED, error.errno or errno.EIO)
            os._exit(1)
        reports.send(report_pipe, Kind.LISTENER, listener)
        if not os.read(go_pipe, 1):
            os._exit(1)

    def _execute(self) -> int:
        """The exit status, when the command can't be executed."""
        file = self.argv[0]
        failure = errno.ENOENT
        for path in self._candidates(file):
            number = self._try(path, self.argv)
            if number == errno.ENOEXEC:
                number = self._try(b"/bin/sh", [b"/bin/sh", path, *self.argv[1:]])  # as execvp(3) does it
            if number == errno.EACCES and path != file and not os.path.lexists(path):
                number = errno.ENOENT  # a directory of PATH that may not be searched
            if number not in _NOT_HERE or path == file:
                failure = number
            if number not in (*_NOT_HERE, errno.EACCES):
                break
        self._complain(f"{os.fsdecode(file)}: {os.strerror(failure)}")
        return NOT_FOUND if failure == errno.ENOENT else NOT_EXECUTABLE

    def _candidates(self, file: bytes) -> list[bytes]:
        if not file:
            return []
        if b"/" in file:
            return [file]
        path = self.environment.get(b"PATH", os.fsencode(os.defpath))
        return [(directory or b".") + b"/" + file for directory in path.split(b":")]

    def _try(self, path: bytes, argv: Sequence[bytes]) -> int:
        """errno"""
        try:
            os.execve(path, list(argv), self.environment)
        except OSError as error:
            return error.errno or errno.EIO

    def _complain(self, text: str) -> None:
        os.write(2, f"{self.name}: {text}\n".encode(errors="surrogateescape"))
