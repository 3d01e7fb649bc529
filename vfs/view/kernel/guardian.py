"""The guardian: the process between the supervisor and the tree.

All processes of the tree descend from it, also those whose parents have ended (it is a child subreaper).  It collects
them, tells how the command ended, and ends the whole tree when the supervisor or the front is no more: kill -9 of either
leaves nothing behind.  When the guardian itself is killed, the tree falls to the front, which does the same.
"""

import gc
import os
import select
import signal
from collections.abc import Callable
from typing import NoReturn

from vfs.view.kernel import abi, descriptors, libc, processes, reports
from vfs.view.kernel.reports import Kind
from vfs.view.kernel.signals import SignalReader

_MOMENT = 0.3  # seconds


class Guardian:
    def __init__(self, supervisor: int, front: int, pipes: tuple[int, ...], cleanup: Callable[[], None] | None = None) -> None:
        """Pids of the two others, our parents; pipes for reports; see start.launch."""
        self._cleanup = cleanup
        self._masters = (supervisor, front)
        self._supervisor = processes.open_pidfd(supervisor)
        self._front = processes.open_pidfd(front)
        self._pipes = pipes
        self._command = 0
        self._signals = SignalReader()

    def run(self, start: Callable[[], int]) -> NoReturn:
        """start() forks the command's process and returns its pid."""
        libc.prctl(abi.PR_SET_CHILD_SUBREAPER, 1)
        libc.prctl(abi.PR_SET_NAME, b"umview:guard")
        self._report(Kind.GUARDIAN, os.getpid())
        self._command = start()
        self._report(Kind.COMMAND, self._command)
        gc.disable()
        os.chdir("/")
        descriptors.release_inherited()
        descriptors.close_all_but((*self._pipes, self._supervisor, self._front, self._signals.fd))
        poll = select.poll()
        for fd in (self._supervisor, self._front, self._signals.fd):
            poll.register(fd, select.POLLIN)
        while self._collect():
            for fd, _ in poll.poll():
                if fd != self._signals.fd:
                    self._end()
                    break
                for received in self._signals.read():
                    if received.number == signal.SIGTERM and received.sender in self._masters:
                        self._end()
        # Who was killed together with the front may live for another moment.
        if self._cleanup and ended(self._supervisor, _MOMENT if ended(self._front) else 0):
            self._cleanup()
        os._exit(0)

    def _report(self, kind: Kind, value: int) -> None:
        for pipe in self._pipes:
            reports.send(pipe, kind, value)

    def _end(self) -> None:
        processes.kill_tree(self._ended)

    def _collect(self) -> bool:
        """Look after children that ended, stopped or continued.  False: none is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            except ChildProcessError:
                return False
            if not pid:
                return True
            if os.WIFSTOPPED(status):
                self._pass_on(pid, signal.SIGSTOP)
            elif os.WIFCONTINUED(status):
                self._pass_on(pid, signal.SIGCONT)
            else:
                self._ended(pid, status)

    def _pass_on(self, pid: int, number: int) -> None:
        """The shell that started us should see the command stop, and go on."""
        if pid == self._command:
            processes.send_signal(self._front, number)

    def _ended(self, pid: int, status: int) -> None:
        if pid == self._command:
            self._report(Kind.ENDED, status)
            processes.send_signal(self._front, signal.SIGCONT)
            self._command = 0


def ended(pidfd: int, seconds: float = 0) -> bool:
    """Whether a process has ended, or does so in a while."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
