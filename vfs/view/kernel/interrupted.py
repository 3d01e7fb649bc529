"""Calls that a signal ended before they were received: they begin again, as they do natively.

A trapped call waits for its supervisor.  WAIT_KILLABLE_RECV keeps signals out from the moment it is received, but not
before (kernel/seccomp.c, seccomp_do_user_notification: -ERESTARTSYS), and that is one to two microseconds of every call:
waking whoever receives.  A handler with SA_RESTART, or none, and the kernel repeats the call unseen.  Without SA_RESTART the
call ends with EINTR, which nobody expects of stat, of execve, of opening a file.  More threads that receive do not help:
the time to wake one is what it takes (measured; they only cost).

So the return from a signal handler is trapped.  What the process comes back to then lies on its stack (struct rt_sigframe,
arch/x86/include/asm/sigframe.h).  Where that says "returning -EINTR from a system call", and the call is one that the filter
traps and that no signal can interrupt natively, the frame is changed into what SA_RESTART would have made of it: the call's
number again, and the instruction pointer back on the instruction.

The frame has all but the number, which EINTR has replaced: the instruction before the call tells it.  C libraries load a
constant there, or (glibc 2.41 and later, for calls that are cancellation points) a word from the stack or from a register.
Where it can't be told, as behind syscall(3), the EINTR stays.  It also stays for a program that leaves its handler by
setcontext(3).  arm64 is not served: there the first argument is lost as well.

That return itself may be interrupted in just the same way, by a second signal: it is one of the calls that begin again.
"""

import os
import struct
from collections.abc import Callable, Mapping
from typing import Final

from vfs.view.kernel import abi, memory
from vfs.view.kernel.filter import NOTIFY, Filter, interpret
from vfs.view.kernel.machine import MASK64
from vfs.view.kernel.notify import CONTINUE, Call

RETURN: Final = "rt_sigreturn"

MAY_BE_INTERRUPTED: Final = frozenset(
    [
        "connect",
        "accept",
        "accept4",
        "sendto",
        "sendmsg",
        "sendmmsg",
        "recvfrom",
        "recvmsg",
        "recvmmsg",
        "fcntl",
        "flock",
        "ioctl",
        "sendfile",
        "splice",
        "tee",
        "vmsplice",
        "poll",
        "ppoll",
        "select",
        "pselect6",
        "epoll_wait",
        "epoll_pwait",
        "epoll_pwait2",
        "wait4",
        "waitid",
        "ptrace",
    ]
)
"""Trapped or not, Linux itself ends these with EINTR."""

OPENS: Final[Mapping[str, tuple[int | None, int]]] = {
    "open": (None, 0),
    "creat": (None, 0),
    "openat": (0, 1),
    "openat2": (0, 1),
}
"""Opening a fifo or a device may be interrupted, opening a file may not: (argument of the directory, of the name)."""

# struct ucontext: flags link stack(24 bytes), then struct sigcontext: r8 to r15, di si bp bx dx ax cx sp ip
_FRAME = struct.Struct("<40x17Q")
_R8, _DI, _SI, _BP, _BX, _DX, _AX, _CX, _SP, _IP = 0, 8, 9, 10, 11, 12, 13, 14, 15, 16
_ARGUMENTS = (_DI, _SI, _DX, 2, 0, 1)  # di si dx r10 r8 r9
_BY_CODE = (_AX, _CX, _DX, _BX, _SP, _BP, _SI, _DI, 0, 1, 2, 3, 4, 5, 6, 7)  # the registers as instructions number them
_EINTR = -4 & MASK64
_SYSCALL = b"\x0f\x05"
_LONGEST = 9  # bytes of the instruction before, with the `syscall` itself
_NUMBERS = 1024
_OFFSETS = 1 << 20
_PAGE = 4096

_Words = tuple[int, ...]


class Interrupted:
    """Answers the returns from signal handlers."""

    def __init__(self, filter: Filter) -> None:
        self._machine = filter.machine
        self._filter = filter
        self._program = b""
        self._stacks = Stacks()

    def install(self, enter: Callable[[Callable[[Call], int], str], None]) -> None:
        """Enter the handler, by enter(handler, name), where the machine is one that it can serve."""
        if self._machine.name == "x86_64":
            enter(self.returning, RETURN)

    def returning(self, call: Call) -> int:
        """The handler of rt_sigreturn.  Whatever is wrong is the kernel's to find."""
        try:
            at = self._stacks.pointer(call.tid)
            words = _FRAME.unpack(call.read(at, _FRAME.size))
            if words[_AX] != _EINTR or words[_CX] != words[_IP]:  # `syscall` puts the following address into rcx
                return CONTINUE
            number = number_of(call, words)
            if number is not None and self._begins_again(call, number, words) and call.valid():
                call.write(at + 40 + 8 * _AX, struct.pack("<Q", number))
                call.write(at + 40 + 8 * _IP, struct.pack("<Q", words[_IP] - len(_SYSCALL)))
        except (OSError, memory.Unreadable, ValueError):
            pass
        return CONTINUE

    def _begins_again(self, call: Call, number: int, words: _Words) -> bool:
        arguments = [words[index] for index in _ARGUMENTS]
        name = self._machine.names.get(number)
        if name is None or name in MAY_BE_INTERRUPTED:
            return False
        rule = self._filter.rules.get(number)
        if rule is None:
            return False
        self._program = self._program or self._filter.program()
        if rule.steps and interpret(self._program, number, arguments, words[_IP], self._machine.audit_arch) != NOTIFY:
            return False  # it never came to us: the kernel interrupted it
        return name not in OPENS or not opens_slowly(call, name, arguments)


class Stacks:
    """Where the stack pointers of waiting tasks are (proc_pid_syscall(5)): the files are kept open for a while, since opening
    one costs most.  A file dies with its task: ESRCH.  One thread uses it."""

    def __init__(self, size: int = 64) -> None:
        self._size = size
        self._files: dict[int, int] = {}

    def pointer(self, tid: int) -> int:
        """ValueError: the task does not wait."""
        kept = self._files.get(tid)
        if kept is not None:
            try:
                return self._parse(os.pread(kept, 256, 0))
            except ProcessLookupError:
                os.close(self._files.pop(tid))
        elif len(self._files) >= self._size:
            os.close(self._files.pop(next(iter(self._files))))
        self._files[tid] = fd = os.open(b"/proc/%d/syscall" % tid, os.O_RDONLY | os.O_CLOEXEC)
        return self._parse(os.pread(fd, 256, 0))

    def _parse(self, text: bytes) -> int:
        words = text.split()
        if len(words) < 9:
            raise ValueError("running")
        return int(words[7], 16)


def number_of(call: Call, words: _Words) -> int | None:
    """The number of the call that ended at the frame's instruction pointer; None where the code does not tell."""
    end = words[_IP]
    code = b""
    for size in (_LONGEST, min(_LONGEST, end % _PAGE)):  # the code may begin with its page
        if size:
            try:
                code = call.read(end - size, size)
                break
            except OSError:
                continue
    if not code.endswith(_SYSCALL):
        return None
    code = code[: -len(_SYSCALL)]
    # Backwards, instructions are ambiguous: a number or an offset that is out of all reason is none.
    word = int.from_bytes(code[-4:], "little", signed=True)
    constant = code[-5:-4] == b"\xb8" or code[-7:-4] == b"\x48\xc7\xc0"  # mov $n, %eax; mov $n, %rax
    if constant and 0 <= word < _NUMBERS:
        return word
    if code[-2:-1] == b"\x89" and code[-1] & 0xC7 == 0xC0:  # mov %reg, %eax; with a prefix for r8 to r15, for %rax
        register = code[-1] >> 3 & 7 | (8 if code[-3:-2] in (b"\x44", b"\x4c") else 0)
        # What the call itself has changed: rax, rcx, r11.
        return words[_BY_CODE[register]] & 0xFFFFFFFF if register not in (0, 1, 11) else None
    for base, short in ((_SP, b"\x8b\x44\x24"), (_BP, b"\x8b\x45")):  # mov d8(%rsp), %eax; d8(%rbp)
        if code[:-1].endswith(short):
            return _word(call, words[base] + int.from_bytes(code[-1:], "little", signed=True))
    for base, long in ((_SP, b"\x8b\x84\x24"), (_BP, b"\x8b\x85")):  # mov d32(%rsp), %eax; d32(%rbp)
        if code[:-4].endswith(long) and abs(word) < _OFFSETS:
            return _word(call, words[base] + word)
    return None


def _word(call: Call, address: int) -> int:
    return int.from_bytes(call.read(address, 4), "little")


def opens_slowly(call: Call, name: str, arguments: list[int]) -> bool:
    """Whether an open may wait for somebody: what it names is neither a file nor a directory.

    One that we have sent elsewhere (trace.Stopped.again: it carries the cookie) waits, or there would have been no need.
    """
    if arguments[5] == call.listener.cookie:
        return True
    directory, path = OPENS[name]
    text = memory.read_string(call.tid, arguments[path])
    base = b"/proc/%d/root" % call.tid
    if text[:1] != b"/":
        number = -100 if directory is None else (arguments[directory] & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
        base = b"/proc/%d/cwd/" % call.tid if number == abi.AT_FDCWD else b"/proc/%d/fd/%d/" % (call.tid, number)
    try:
        mode = os.stat(base + text).st_mode
    except OSError:
        return False
    return mode & 0o170000 not in (0o100000, 0o040000)
