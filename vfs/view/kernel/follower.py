"""Following processes by ptrace, to give some of their calls another descriptor number.

The filter tells virtual descriptors from real ones by their numbers, so at a low number a virtual one is not seen. Where content
can be put into the kernel's hands beforehand, that is no matter. Where it cannot (a device of a terabyte on standard input), the
process is followed: at the entry of each call that names such a descriptor, the number in the register is replaced by that of a
duplicate high up, and the filter then sees the call as any other. The register is put back at the call's exit.

It costs two stops a call, and only those pay who have such a descriptor. Threads, and children, which have it too, are followed
from their first instruction on. A process that is traced already (strace, gdb) cannot be followed.

Rules of ptrace: only the thread that seized a task may say what it does next, so everything here happens in the follower's own
thread; others only `start` it and wait until it has seized.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from typing import Protocol

from vfs.view.kernel import abi, libc
from vfs.view.kernel.machine import Words, current
from vfs.view.kernel.tracing import get_registers, ptrace, set_registers

_SYSCALL_STOP = signal.SIGTRAP | 0x80  # PTRACE_O_TRACESYSGOOD
_NEW = (abi.PTRACE_EVENT_FORK, abi.PTRACE_EVENT_VFORK, abi.PTRACE_EVENT_CLONE)
_STOPS = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_OPTIONS = (
    abi.PTRACE_O_TRACESYSGOOD
    | abi.PTRACE_O_EXITKILL
    | abi.PTRACE_O_TRACEFORK
    | abi.PTRACE_O_TRACEVFORK
    | abi.PTRACE_O_TRACECLONE
    | abi.PTRACE_O_TRACEEXEC
)
_ALL_SIGNALS = ctypes.c_ulonglong(0xFFFFFFFFFFFFFFFF)

FIRST = (0,)
DESCRIPTORS: Mapping[str, Sequence[int]] = {
    **dict.fromkeys(("read", "pread64", "readv", "preadv", "preadv2"), FIRST),
    **dict.fromkeys(("write", "pwrite64", "writev", "pwritev", "pwritev2"), FIRST),
    **dict.fromkeys(("fsync", "fdatasync", "fallocate", "ftruncate", "ioctl", "lseek", "dup", "dup2", "dup3", "fcntl"), FIRST),
    **dict.fromkeys(("fstat", "newfstatat", "statx", "fchmod", "fchown"), FIRST),
    "mmap": (4,),
    "sendfile": (0, 1),
    "splice": (0, 2),
    "copy_file_range": (0, 2),
}
"""Calls in which a number is replaced, and in which of their arguments."""


CLOSING: Mapping[str, int] = {"close": 0, "dup2": 1, "dup3": 1}
"""Calls that close a number, and in which argument."""


class Numbers(Protocol):
    """What the follower asks. All are called in its thread."""

    def substitute(self, tid: int, number: int) -> int | None:
        """The number to use in place of *number* in a call of task *tid*; `None`: this one is right."""

    def followed(self, tid: int) -> bool:
        """Whether another follower has the task."""

    def forked(self, parent: int, child: int) -> None:
        """A process has a child, with the same descriptors."""

    def wanted(self, tid: int) -> bool:
        """Whether any number of the task's may have to be replaced."""

    def ended(self, tid: int) -> None:
        """A task is no more, or is no longer followed."""

    def shadow(self, tid: int, number: int) -> int | None:
        """What is used in place of *number*, which the task is about to close or to put something else at."""

    def closed(self, tid: int, number: int, shadow: int) -> None:
        """It has, and *shadow* is being closed as well."""

    def lost(self, tid: int) -> list[int]:
        """The numbers whose shadows the task has closed, itself and unknowing."""

    def renewed(self, tid: int, number: int, shadow: int) -> None:
        """What is used in place of *number* from now on."""


class Follower:
    """Follows one process, and all that come of it. Numbers from *least* on are seen by the filter."""

    def __init__(self, numbers: Numbers, least: int) -> None:
        self._numbers, self._least = numbers, least
        self._machine = current()
        calls = self._machine.calls
        self._arguments = {calls[name]: tuple(DESCRIPTORS[name]) for name in DESCRIPTORS if name in calls}
        self._closing = {calls[name]: at for name, at in CLOSING.items() if name in calls}
        self._replaced: dict[int, Words] = {}
        """Tasks in a call with another number: the arguments as they were, by index of the register."""
        self._extra: dict[int, tuple[int, int]] = {}
        """Tasks that close a number: it, and the one to be closed after it."""
        self._may_lose = (calls["close"], calls["close_range"])
        self._many: set[int] = set()
        """Tasks in a call that may close a shadow."""
        self._known: set[int] = set()
        self._early: dict[int, tuple[int, int]] = {}
        """New tasks that have stopped before the call that made them has told of them, and how: they wait for that."""
        self._seized = threading.Event()
        self._error: OSError | None = None

    def start(self, pid: int) -> None:
        """Seize all threads of a process. EPERM: somebody else traces it; ESRCH."""
        threading.Thread(target=self._run, args=(pid,), name="follower", daemon=True).start()
        self._seized.wait()
        if self._error is not None:
            raise self._error

    # ---------------------------------------------------------------- the follower's thread

    def _run(self, pid: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            for name in os.listdir(f"/proc/{pid}/task"):
                if self._numbers.followed(int(name)):
                    continue
                ptrace(abi.PTRACE_SEIZE, int(name), None, _OPTIONS)
                self._known.add(int(name))
                ptrace(abi.PTRACE_INTERRUPT, int(name))
        except OSError as error:
            self._error = error
        self._seized.set()
        while True:
            try:
                tid, status = os.waitpid(-1, abi.WALL | abi.WNOTHREAD)
            except ChildProcessError:
                return
            if os.WIFSTOPPED(status):
                with contextlib.suppress(OSError):  # ESRCH: killed meanwhile, which the next wait tells
                    self._stopped(tid, os.WSTOPSIG(status), status >> 16)
            else:
                self._forget(tid)
                if self._early and not self._known:  # those who would have told of them were killed
                    for child, how in list(self._early.items()):
                        self._known.add(child)
                        with contextlib.suppress(OSError):
                            self._stopped(child, *how)
                    self._early.clear()

    def _stopped(self, tid: int, number: int, event: int) -> None:
        """A task has stopped: see why, and let it go on, whatever goes wrong: nobody else would."""
        if tid not in self._known:
            self._early[tid] = number, event
            return
        deliver = 0
        try:
            if number == _SYSCALL_STOP:
                if self._enters(tid):
                    self._entry(tid)
                elif not self._exit(tid):
                    ptrace(abi.PTRACE_DETACH, tid)
                    self._forget(tid)
                    return
            elif event in _NEW:
                self._made(tid)
            elif event == abi.PTRACE_EVENT_STOP and number in _STOPS:
                ptrace(abi.PTRACE_LISTEN, tid)
                return
            elif not event:
                deliver = number
        except OSError:  # somebody was killed meanwhile, perhaps another
            pass
        ptrace(abi.PTRACE_SYSCALL, tid, None, deliver)

    def _made(self, tid: int) -> None:
        """A task has made another, which is followed already."""
        child = ctypes.c_ulong()
        ptrace(abi.PTRACE_GETEVENTMSG, tid, None, ctypes.byref(child))
        self._known.add(child.value)
        with contextlib.suppress(OSError):  # the new one is dead by now
            self._numbers.forked(tid, child.value)
        if child.value in self._early:
            with contextlib.suppress(OSError):
                self._stopped(child.value, *self._early.pop(child.value))

    def _enters(self, tid: int) -> bool:
        """Whether it stands at the entry of a call. (A new thread's first stop is the exit of the call that made it.)"""
        info = ctypes.create_string_buffer(88)  # struct ptrace_syscall_info
        libc.released.ptrace(abi.PTRACE_GET_SYSCALL_INFO, tid, len(info), ctypes.byref(info))
        return info.raw[0] == abi.PTRACE_SYSCALL_INFO_ENTRY

    def _entry(self, tid: int) -> None:
        words = get_registers(tid)
        machine = self._machine
        number = words[machine.number]
        if number in self._closing:
            low = words[machine.arguments[self._closing[number]]] & 0xFFFFFFFF
            shadow = self._numbers.shadow(tid, low)
            if shadow is not None:
                self._extra[tid] = low, shadow
        if number in self._may_lose:
            self._many.add(tid)
        arguments = self._arguments.get(number)
        if arguments is None:
            return
        old: Words = []
        for argument in arguments:
            at = machine.arguments[argument]
            other = self._numbers.substitute(tid, words[at] & 0xFFFFFFFF)
            if other is not None:
                old += [at, words[at]]
                words[at] = other
        if old:
            self._replaced[tid] = old
            set_registers(tid, words)

    def _exit(self, tid: int) -> bool:
        """It leaves a call. Whether it is to be followed on."""
        machine = self._machine
        old = self._replaced.pop(tid, None)
        extra = self._extra.pop(tid, None)
        lost = self._numbers.lost(tid) if tid in self._many else []
        self._many.discard(tid)
        if not (old or extra or lost):
            return self._numbers.wanted(tid)
        words = get_registers(tid)
        calls = machine.calls
        if extra is not None and words[machine.result] >> 63 == 0:
            self._numbers.closed(tid, *extra)
            self._inject(tid, words, calls["close"], [extra[1]])
        for number in lost:
            shadow = self._inject(tid, words, calls["fcntl"], [number, fcntl.F_DUPFD, self._least])
            if not shadow >> 63:
                self._numbers.renewed(tid, number, shadow)
        if old:
            for at, value in zip(old[::2], old[1::2], strict=True):
                if at != machine.result:  # arm64 has the result where the first argument was
                    words[at] = value
        set_registers(tid, words)
        return self._numbers.wanted(tid)

    def _inject(self, tid: int, words: Words, number: int, arguments: Sequence[int]) -> int:
        """Have the task, which leaves a call with *words* in its registers, make one call more; its result. No signal comes
        between."""
        mask = ctypes.c_ulonglong()
        ptrace(abi.PTRACE_GETSIGMASK, tid, 8, ctypes.byref(mask))
        ptrace(abi.PTRACE_SETSIGMASK, tid, 8, ctypes.byref(_ALL_SIGNALS))
        call = list(words)
        self._machine.set_call(call, number, arguments)
        set_registers(tid, call)
        for _ in ("entry", "exit"):
            while True:
                ptrace(abi.PTRACE_SYSCALL, tid)
                _, status = os.waitpid(tid, abi.WALL)
                if not os.WIFSTOPPED(status):
                    raise ProcessLookupError
                if os.WSTOPSIG(status) == _SYSCALL_STOP:
                    break
        ptrace(abi.PTRACE_SETSIGMASK, tid, 8, ctypes.byref(mask))
        return get_registers(tid)[self._machine.result]

    def _forget(self, tid: int) -> None:
        self._known.discard(tid)
        self._early.pop(tid, None)
        self._replaced.pop(tid, None)
        self._extra.pop(tid, None)
        self._many.discard(tid)
        self._numbers.ended(tid)
