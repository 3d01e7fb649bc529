"""The front: the process that the user started, and that the shell waits for.

It stays in the command's process group, stops when the command stops and goes on with it, passes signals on and ends
with the supervisor's status.  The supervisor itself may never be stopped by a terminal: others wait for its answers.

Terminal signals (Ctrl-C, Ctrl-\\) reach the command natively and mean nothing here.  When the command has ended and
processes that it left behind still run, a signal ends those.
"""

import gc
import os
import select
import signal
import time
from collections.abc import Callable
from typing import NoReturn

from vfs.view.kernel import abi, descriptors, libc, processes, reports
from vfs.view.kernel.reports import Kind
from vfs.view.kernel.signals import SI_KERNEL, Received, SignalReader

_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
_GRACE = 0.05  # seconds
_PATIENCE = 0.5
_PASSED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Front:
    def __init__(self, supervisor: int, pipe: int, name: str, cleanup: Callable[[], None] | None) -> None:
        """The supervisor's pid, our child; the guardian's reports; the name before messages; see start.launch."""
        self._supervisor = supervisor
        self._pipe = pipe
        self._name = name
        self._cleanup = cleanup
        self._signals = SignalReader()
        self._guardian = self._guardian_fd = 0
        self._command = self._command_fd = 0
        self._command_ended = False
        self.status: int | None = None
        """The command's wait status."""
        self._early: list[int] = []  # signals that came before the command's process did
        self._look_at: float | None = None  # when to look whether the command was continued as well
        self._poll = select.poll()

    def run(self) -> NoReturn:
        libc.prctl(abi.PR_SET_CHILD_SUBREAPER, 1)
        gc.disable()
        os.chdir("/")
        descriptors.release_inherited()
        self._poll.register(self._signals.fd, select.POLLIN)
        self._poll.register(self._pipe, select.POLLIN)
        while True:
            events = self._poll.poll(None if self._look_at is None else _GRACE * 1000)
            if not events:
                self._continue_command()
            for fd, _ in events:
                if fd == self._pipe:
                    self._report()
                elif fd == self._guardian_fd:
                    self._poll.unregister(fd)
                    processes.kill_tree(self._ended, {self._supervisor})  # nothing is left, unless it was killed
                else:
                    for received in self._signals.read():
                        self._signal(received)
            for pid, status in processes.reap():
                self._ended(pid, status)

    def _report(self) -> None:
        report = reports.receive(self._pipe)
        if report is None:
            self._poll.unregister(self._pipe)
        elif report.kind == Kind.GUARDIAN:
            self._guardian, self._guardian_fd = _hold(report.value)
            if self._guardian:
                self._poll.register(self._guardian_fd, select.POLLIN)
        elif report.kind == Kind.COMMAND:
            self._command, self._command_fd = _hold(report.value)
            for number in self._early:
                processes.send_signal(self._command_fd, number)
        elif report.kind == Kind.ENDED:
            self._command = 0
            self._command_ended = True
            self.status = report.value

    def _signal(self, received: Received) -> None:
        number = received.number
        if number == signal.SIGCONT:
            self._look_at = None if received.sender == self._guardian else time.monotonic() + _GRACE
        elif number in _PASSED_ON:
            if self._command_ended:
                processes.send_signal(self._guardian_fd, signal.SIGTERM)
            elif number in _TERMINAL and received.code == SI_KERNEL:
                pass
            elif self._command:
                processes.send_signal(self._command_fd, number)
            else:
                self._early.append(number)

    def _continue_command(self) -> None:
        """We were continued a while ago.  A shell continues the whole process group, but others perhaps us alone.

        Not at once: the command may have been stopped again meanwhile, and we are next.
        """
        if self._look_at is None or time.monotonic() < self._look_at:
            return
        self._look_at = None
        if self._command and processes.stat_fields(self._command)[:1] == [b"T"]:
            processes.send_signal(self._command_fd, signal.SIGCONT)

    def _ended(self, pid: int, status: int) -> None:
        if pid != self._supervisor:
            return
        code = os.waitstatus_to_exitcode(status)
        self._supervisor = 0
        if code < 0:
            self._leave_it_to_the_guardian()
        processes.kill_tree(lambda pid, status: None)
        if code < 0:
            os.write(2, f"{self._name}: the supervisor was killed (signal {-code}): all processes were ended\n".encode())
            code = 128 - code
            if self._cleanup:
                self._cleanup()
        os._exit(code)

    def _leave_it_to_the_guardian(self) -> None:
        """It ends the tree and cleans up, also when we are killed next; we do what it has not done in a while."""
        if self._guardian:
            processes.send_signal(self._guardian_fd, signal.SIGCONT)
            poll = select.poll()
            poll.register(self._guardian_fd, select.POLLIN)
            poll.poll(_PATIENCE * 1000)


def _hold(pid: int) -> tuple[int, int]:
    """(pid, its pidfd), or zeros when it is gone."""
    try:
        return pid, processes.open_pidfd(pid)
    except OSError:
        return 0, -1
