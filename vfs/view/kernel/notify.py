"""Seccomp user notification: calls of the tree that wait for our answer.  Source: linux/seccomp.h, seccomp_unotify(2).

A notification stays valid until it is answered, or until its thread is killed, or (before it is received) a signal
comes.  The number of a dead thread may be given to a new one: after reading memory, and before any side effect, ask
`valid()`.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import resource
import signal
import struct
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from vfs.view.kernel import abi, libc, memory, structs
from vfs.view.kernel.machine import current
from vfs.view.kernel.processes import Processes

if TYPE_CHECKING:
    from vfs.view.kernel.lending import Lender
    from vfs.view.kernel.trace import Stopped

# What a handler may return besides a result (>= 0) and -errno.
CONTINUE: Final = 1 << 62  # the kernel executes the call
DONE: Final = 1 << 61  # it is answered already, or will be, by someone who kept it

# struct seccomp_notif: id pid flags; struct seccomp_data: nr arch instruction_pointer args[6]
HEAD = struct.Struct("<QI4xi4xQ")
ARGUMENTS = struct.Struct("<6Q")
NOTIFICATION_SIZE = HEAD.size + ARGUMENTS.size
# The kernel insists on zeros.  ioctl takes a copy of a bytearray and returns the result as new bytes, so one zeroed
# bytearray serves all; bytes in its place would do the same in twice the time.
BLANK = bytearray(NOTIFICATION_SIZE)
ANSWER = struct.Struct("<QqiI")  # struct seccomp_notif_resp: id val error flags
_ADDFD = struct.Struct("<QIIII")  # struct seccomp_notif_addfd: id flags srcfd newfd newfd_flags
_ID = struct.Struct("<Q")
_MESSAGES_MAX = 1024  # UIO_MAXIOV: sendmmsg takes no more
_CONTROL_MAX = 1 << 16


class Gone(Exception):
    """No task uses the filter any more."""


class Answered(BaseException):
    """Raised where a handler may not go on: its call has been answered in the middle of it."""


class _SignalsBlocked:
    """`with` it no signal interrupts this thread. (signal.pthread_sigmask takes five times as long.)"""

    def __init__(self) -> None:
        self._room = threading.local()

    def __enter__(self) -> None:
        old = getattr(self._room, "old", None)
        if old is None:
            old = self._room.old = ctypes.create_string_buffer(128)  # sigset_t
        libc.held.sigprocmask(signal.SIG_BLOCK, _EVERY, old)

    def __exit__(self, *_: object) -> None:
        libc.held.sigprocmask(signal.SIG_SETMASK, self._room.old, None)


_EVERY = ctypes.create_string_buffer(b"\xff" * 128, 128)
signals_blocked = _SignalsBlocked()


class Listener:
    """The supervisor's end of a filter.  All of it may be called from any thread."""

    def __init__(self, fd: int, cookie: int = 0, processes: Processes | None = None) -> None:
        self.fd = fd
        self.cookie = cookie  # lets injected calls pass the filter
        self.processes = processes or Processes()
        self.lender: Lender | None = None  # where pidfd_getfd is forbidden
        # The woken side runs on the waker's CPU at once: half the price of a notification.  Linux 6.6.
        with contextlib.suppress(OSError):
            fcntl.ioctl(fd, abi.SECCOMP_IOCTL_NOTIF_SET_FLAGS, abi.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)

    def fileno(self) -> int:
        return self.fd

    def receive(self, call: "Call") -> bool:
        """Wait for a call and fill `call` in.  False: there is none after all, try again.  Gone: there will be none."""
        try:
            text = fcntl.ioctl(self.fd, abi.SECCOMP_IOCTL_NOTIF_RECV, BLANK, False)
        except (InterruptedError, FileNotFoundError):  # a signal; its thread was killed before we came
            if self.abandoned():
                raise Gone from None
            return False
        call.listener = self
        call.id, call.tid, call.nr, call.instruction = HEAD.unpack_from(text)
        call.args = ARGUMENTS.unpack_from(text, HEAD.size)
        return True

    def abandoned(self) -> bool:
        """No task uses the filter.

        From Linux 6.11 on, RECV says so by ENOENT.  Before, it goes on waiting and only poll tells: see signals.survive.
        """
        import select

        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return any(event & select.POLLHUP for _, event in poll.poll(0))

    def reply(self, call_id: int, result: int) -> bool:
        """Answer with a result >= 0 or with -errno.  False: nobody waits any more (killed, or a signal came)."""
        if result >= 0:
            return self.send(ANSWER.pack(call_id, result, 0, 0))
        return self.send(ANSWER.pack(call_id, 0, result, 0))

    def proceed(self, call_id: int) -> bool:
        """Let the kernel execute the call.  It reads all that pointers point to once more."""
        return self.send(ANSWER.pack(call_id, 0, 0, abi.SECCOMP_USER_NOTIF_FLAG_CONTINUE))

    def send(self, answer: bytes | bytearray) -> bool:
        """Send a packed answer (ANSWER)."""
        while True:
            try:
                fcntl.ioctl(self.fd, abi.SECCOMP_IOCTL_NOTIF_SEND, bytearray(answer), True)
                return True
            except FileNotFoundError:
                return False
            except InterruptedError:
                continue

    def valid(self, call_id: int) -> bool:
        try:
            fcntl.ioctl(self.fd, abi.SECCOMP_IOCTL_NOTIF_ID_VALID, _ID.pack(call_id))
        except FileNotFoundError:
            return False
        return True

    def add_fd(self, call_id: int, source: int, number: int | None, cloexec: bool, answer: bool) -> int:
        """Install our descriptor `source` in the waiting thread; the number it has there.

        With answer, that number is the call's result, in the same step.  ENOENT: nobody waits any more.  EBADF: the
        number is above the limit, or the descriptor is an O_PATH one.
        """
        flags = (abi.SECCOMP_ADDFD_FLAG_SEND if answer else 0) | (abi.SECCOMP_ADDFD_FLAG_SETFD if number is not None else 0)
        request = _ADDFD.pack(call_id, flags, source, number or 0, os.O_CLOEXEC if cloexec else 0)
        if answer:
            # Interrupted in the wrong moment, the kernel lets the call return 0, and no descriptor is there.
            with signals_blocked:
                return int(fcntl.ioctl(self.fd, abi.SECCOMP_IOCTL_NOTIF_ADDFD, bytearray(request), True))
        while True:
            try:
                # A mutable buffer: else ioctl returns the buffer in place of the number.
                return int(fcntl.ioctl(self.fd, abi.SECCOMP_IOCTL_NOTIF_ADDFD, bytearray(request), True))
            except InterruptedError:  # not installed, says the kernel
                continue

    def close(self) -> None:
        os.close(self.fd)
        self.processes.close()


class Call:
    """One waiting call: `nr`, the six arguments as unsigned 64-bit words, and the `instruction` pointer behind it.

    The loop uses one object for all calls: who answers later, after the handler has returned DONE, takes a `copy`.
    """

    __slots__ = ("args", "id", "instruction", "listener", "nr", "tid")

    listener: Listener
    id: int
    tid: int
    nr: int
    args: tuple[int, ...]
    instruction: int

    def copy(self) -> "Call":
        other = Call()
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        return other

    @property
    def name(self) -> str:
        return current().names.get(self.nr, str(self.nr))

    # ------------------------------------------------------------ its memory
    def string(self, i: int) -> bytes:
        """The name that argument i points to."""
        return memory.read_string(self.tid, self.args[i])

    def read(self, address: int, size: int) -> bytes:
        return memory.read_memory(self.tid, address, size)

    def write(self, address: int, data: bytes) -> None:
        memory.write_memory(self.tid, address, data)

    # ------------------------------------------------------------ its state
    def valid(self) -> bool:
        """The thread still waits in this very call."""
        return self.listener.valid(self.id)

    def reply(self, result: int) -> bool:
        """Answer now: a result, -errno or CONTINUE.  False: nobody waits any more, so undo what was done."""
        if result == CONTINUE:
            return self.listener.proceed(self.id)
        return self.listener.reply(self.id, result)

    def stop(self) -> "Stopped":
        """Hold the thread by ptrace; see trace.py."""
        from vfs.view.kernel.trace import Stopped

        return Stopped(self)

    # ------------------------------------------------------------ its descriptors
    def add_fd(self, source: int, number: int | None = None, cloexec: bool = False, answer: bool = True) -> int:
        """Install our descriptor (the same open file description) at a number, or at the lowest free one.

        With answer it is the call's result, and DONE is returned; else the number.  A number above the process's soft
        limit works where the hard limit allows it: the soft one is raised for that moment.  Else EBADF.
        """
        try:
            installed = self.listener.add_fd(self.id, source, number, cloexec, answer)
        except OSError as error:
            if error.errno != errno.EBADF or number is None:
                raise
            with _room_for(self.tid, number):
                installed = self.listener.add_fd(self.id, source, number, cloexec, False)
            if answer:  # only now: the process is not to see the other limit
                self.listener.reply(self.id, installed)
        return DONE if answer else installed

    def get_fd(self, number: int) -> int:
        """A duplicate of the thread's descriptor, for the caller to close.  EBADF; Answered."""
        lender = self.listener.lender
        if lender:
            return lender.get(self, structs.signed(number))
        return self.listener.processes.get_fd(self.tid, structs.signed(number))

    def passed(self) -> Iterator[int]:
        """The descriptors that this sendmsg or sendmmsg passes by SCM_RIGHTS."""
        count, size = (
            (1, structs.MSGHDR_SIZE)
            if self.nr == current().calls["sendmsg"]
            else (min(self.args[2] & 0xFFFFFFFF, _MESSAGES_MAX), structs.MMSGHDR_SIZE)
        )
        for i in range(count):
            header = structs.unpack_msghdr(self.read(self.args[1] + size * i, structs.MSGHDR_SIZE))
            if header.control and header.control_size:
                control = self.read(header.control, min(header.control_size, _CONTROL_MAX))
                yield from structs.passed_descriptors(control)


@contextlib.contextmanager
def _room_for(tid: int, number: int) -> Iterator[None]:
    """A soft limit of open files that admits the number."""
    try:
        soft, hard = resource.prlimit(tid, resource.RLIMIT_NOFILE)
    except (ProcessLookupError, PermissionError):
        raise OSError(errno.EBADF, f"no room for descriptor {number}") from None
    if not _below(number, hard) or _below(number, soft):
        raise OSError(errno.EBADF, f"no room for descriptor {number}")
    resource.prlimit(tid, resource.RLIMIT_NOFILE, (number + 1, hard))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(tid, resource.RLIMIT_NOFILE, (soft, hard))


def _below(number: int, limit: int) -> bool:
    return limit == resource.RLIM_INFINITY or number < limit
