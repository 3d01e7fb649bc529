"""One thread held by ptrace in the middle of its trapped call.

What a supervisor can't do by an answer alone, the thread must do itself: change its directory, execute another file,
make a call on another name.  `with call.stop() as stopped:` then any number of `stopped.syscall(...)`, ended by
`stopped.finish(result)` or `stopped.again(nr, args)`.

How.  SEIZE and INTERRUPT leave a stop pending; the answer -ERESTARTNOINTR ends the wait (with WAIT_KILLABLE, INTERRUPT
alone can't); the thread stops on its way out, before any signal is delivered.  All signals are blocked until we let go,
so that nothing runs between the injected calls.  Nothing is ever written below the stack pointer: small stacks (Go),
signal frames and vfork forbid it; `scratch` maps memory.  At the end all registers but the result are as they were.

A process that is traced already (strace, gdb) can't be held: `Traced`, EPERM; see inplace.py.
"""

import contextlib
import ctypes
import errno
import os
import signal
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from vfs.view.kernel import abi, memory
from vfs.view.kernel.machine import Words, current
from vfs.view.kernel.notify import DONE
from vfs.view.kernel.tracing import get_registers, ptrace, set_registers

if TYPE_CHECKING:
    from vfs.view.kernel.notify import Call

_SYSCALL_STOP = signal.SIGTRAP | 0x80  # PTRACE_O_TRACESYSGOOD
_SIGSET_SIZE = 8
_ALL_SIGNALS = ctypes.c_ulonglong(0xFFFFFFFFFFFFFFFF)


class Traced(OSError):
    """The thread is being traced already.  EPERM."""


class Stopped:
    """See above.  Only the thread that made it may use it (a rule of ptrace)."""

    def __init__(self, call: "Call") -> None:
        self.call = call
        self.tid = call.tid
        self._machine = current()
        self._done = False
        self._registers: Words = []
        self._mask = ctypes.c_ulonglong()

    def __enter__(self) -> "Stopped":
        self._seize()
        try:
            ptrace(abi.PTRACE_INTERRUPT, self.tid)
            # False: a signal ended the wait already.  The stop is the same.
            self.call.listener.reply(self.call.id, -abi.ERESTARTNOINTR)
            self._wait()
            self._registers = get_registers(self.tid)
            ptrace(abi.PTRACE_GETSIGMASK, self.tid, _SIGSET_SIZE, ctypes.byref(self._mask))
            ptrace(abi.PTRACE_SETSIGMASK, self.tid, _SIGSET_SIZE, ctypes.byref(_ALL_SIGNALS))
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """A failure in between lets the thread go with that failure; the handler's own return value comes too late."""
        if not self._done:
            number = error.errno if isinstance(error, OSError) else None
            with contextlib.suppress(OSError):
                self.finish(-(number or errno.EIO))
        if not self._done:
            self._release()

    # ------------------------------------------------------------ what it is for
    def syscall(self, name: str, *arguments: int) -> int:
        """Run one call there; its result, negative for -errno.

        The filter must let it pass: no rule for these arguments, or the cookie as the sixth.
        """
        self._load(self._machine.calls[name], arguments)
        for _ in ("entry", "exit"):
            while True:
                ptrace(abi.PTRACE_SYSCALL, self.tid)
                if self._wait() == _SYSCALL_STOP:
                    break
        result = get_registers(self.tid)[self._machine.result]
        return result - (1 << 64) if result >> 63 else result

    def scratch(self, content: Callable[[int], bytes]) -> tuple[int, int]:
        """New memory there that begins with content(its address): (address, size).  Unmap it, or exec takes it away."""
        size = len(content(0)) + 4095 & ~4095
        protection = abi.PROT_READ | abi.PROT_WRITE
        at = self.syscall("mmap", 0, size, protection, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS, -1, 0)
        if at < 0:
            raise OSError(-at, os.strerror(-at))
        memory.write_memory(self.tid, at, content(at))
        return at, size

    def finish(self, result: int) -> int:
        """Let go; the call returns this."""
        words = list(self._registers)
        self._machine.set_result(words, result)
        set_registers(self.tid, words)
        return self._leave()

    def again(self, nr: int, arguments: Sequence[int]) -> int:
        """Let go; the thread makes this call in place of its own, and is trapped again if the filter says so."""
        self._load(nr, arguments)
        return self._leave()

    # ------------------------------------------------------------ how
    def _seize(self) -> None:
        try:
            ptrace(abi.PTRACE_SEIZE, self.tid, None, abi.PTRACE_O_TRACESYSGOOD | abi.PTRACE_O_EXITKILL)
        except PermissionError:
            raise Traced(
                errno.EPERM,
                f"process {self.tid} is being traced (strace, gdb) or may not be: its call can't be redirected",
            ) from None

    def _wait(self) -> int:
        """The signal of the next stop.  ESRCH when the thread has ended instead."""
        _, status = os.waitpid(self.tid, abi.WALL)
        if os.WIFSTOPPED(status):
            return os.WSTOPSIG(status)
        raise OSError(errno.ESRCH, f"thread {self.tid} is gone")

    def _load(self, nr: int, arguments: Sequence[int]) -> None:
        words = list(self._registers)
        self._machine.set_call(words, nr, arguments)
        set_registers(self.tid, words)

    def _leave(self) -> int:
        ptrace(abi.PTRACE_SETSIGMASK, self.tid, _SIGSET_SIZE, ctypes.byref(self._mask))
        ptrace(abi.PTRACE_DETACH, self.tid)
        self._done = True
        return DONE

    def _release(self) -> None:
        """Let go of the thread, whatever its state.

        When it is not stopped any more it was killed.  Then its end must be collected here: as long as a tracer has
        not done that, the parent can't, and waits.
        """
        self._done = True
        while True:
            with contextlib.suppress(OSError):
                ptrace(abi.PTRACE_DETACH, self.tid)
                return
            try:
                _, status = os.waitpid(self.tid, abi.WALL)
            except ChildProcessError:
                return
            if not os.WIFSTOPPED(status):
                return
