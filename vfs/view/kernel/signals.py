"""Signals of the three processes of ours: what the command must get back, and reading signals from a descriptor.

Python changes a few dispositions at its start and children inherit ignored ones through exec, so the command's are put
back before exec.  The front and the guardian (start.py) block everything and read signals from a signalfd: nothing is
lost, nothing runs asynchronously, and who sent a signal is known.
"""

import ctypes
import os
import signal
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from vfs.view.kernel import libc
from vfs.view.kernel.machine import current

_SIGINFO_SIZE = 128  # struct signalfd_siginfo: signo u32, errno s32, code s32, pid u32 ...
_SIGINFO = struct.Struct("<Iii I")
_SFD_CLOEXEC = os.O_CLOEXEC
SI_KERNEL = 0x80  # asm-generic/siginfo.h: not sent by a process; from a terminal, for one
_REPEAT = 0.05  # seconds
_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)  # Python ignores these


@dataclass(frozen=True)
class Inherited:
    """The mask and the ignored signals that this process was started with."""

    mask: frozenset[int]
    ignored: frozenset[int]

    @classmethod
    def block(cls) -> "Inherited":
        """Note them, and block all signals from now on.  SIGCHLD must not be ignored, or children leave no status."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        ignored = {n for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN}
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return cls(frozenset(mask), frozenset(ignored.difference(_BY_PYTHON)))

    def restore(self) -> None:
        """Just before exec (which makes handled signals default ones by itself, but a moment later)."""
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)) or number in _BY_PYTHON:
                signal.signal(number, signal.SIG_DFL)
        if signal.SIGCHLD in self.ignored:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        self.unblock()

    def unblock(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)


class Received(NamedTuple):
    number: int
    code: int  # SI_KERNEL, or 0 when a process sent it
    sender: int


class SignalReader:
    """All blocked signals, to be read when the descriptor is readable."""

    def __init__(self) -> None:
        everything = ctypes.c_ulonglong(0xFFFFFFFFFFFFFFFF)
        number = current().calls["signalfd4"]
        self.fd = libc.syscall(number, -1, ctypes.byref(everything), 8, _SFD_CLOEXEC)

    def read(self) -> Iterator[Received]:
        text = os.read(self.fd, 16 * _SIGINFO_SIZE)
        for at in range(0, len(text), _SIGINFO_SIZE):
            number, _, code, sender = _SIGINFO.unpack_from(text, at)
            yield Received(number, code, sender)


def survive(guardian: int) -> None:
    """For the supervisor: signals meant for the tree pass by.

    Handlers that do nothing, rather than SIG_IGN, so that programs started from here have the usual dispositions; but
    for terminal output from the background a handler would be called again and again.

    The guardian, a child, ends after the tree.  Kernels before 6.11 do not wake a loop that waits for a call then: so a
    timer interrupts it, once and again, until it has looked.
    """

    def look_at_guardian(*_: object) -> None:
        if os.waitid(os.P_PID, guardian, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            signal.setitimer(signal.ITIMER_REAL, _REPEAT, _REPEAT)

    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, lambda *_: None)
    # SIGIO: of a lease that we have for a moment (vfs.view.placeholder).
    for number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGIO):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, look_at_guardian)


def pass_away(guardian: int) -> None:
    """The loop has ended: no more timer.

    (Not SIG_DFL: Python complains when a signal that came before has then no handler.)
    """
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0)
    os.waitpid(guardian, 0)
