"""The seccomp filter: which calls of the tree come to the supervisor.

A rule belongs to one call.  It is a list of steps, each a test and what to do where it holds; the first that holds
decides, and `otherwise` where none does.  Calls without a rule run natively and cost nothing: the kernel keeps them in
a bitmap.  All other calls pay a binary search over the numbers and the few tests of their rule.

A call made by the supervisor in a stopped thread (trace.py) must not come back to the supervisor: where a call would be
notified, a sixth argument equal to the filter's random `cookie` lets it pass.

Nothing here is a security border by itself: see "time of check" in the docs.
"""

import ctypes
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vfs.view.kernel import abi, bpf, libc
from vfs.view.kernel.bpf import Code, Label, interpret
from vfs.view.kernel.machine import Machine, current, every_name

__all__ = [
    "ALLOW",
    "NOTIFY",
    "All",
    "Among",
    "AnyBit",
    "Descriptor",
    "Filter",
    "Less",
    "Not",
    "Rule",
    "When",
    "interpret",
    "refusal",
]

ALLOW = abi.SECCOMP_RET_ALLOW
NOTIFY = abi.SECCOMP_RET_USER_NOTIF
_ENOSYS = 38
_X32_BIT = 0x40000000
_FIRST_NEGATIVE = 1 << 31
_LEAF = 4  # the search compares up to this many numbers one by one


def refusal(errno: int) -> int:
    """The action that makes a call fail."""
    return abi.SECCOMP_RET_ERRNO | errno


class Test(Protocol):
    """A condition on a call's arguments, as BPF: whatever happens, the code goes to `yes` or to `no`."""

    def emit(self, code: Code, yes: Label, no: Label) -> None: ...


@dataclass(frozen=True)
class Descriptor:
    """The argument is a descriptor >= base, or one of the low numbers in `also`.

    A descriptor is an int: the upper half of the register does not count, and negative ones (AT_FDCWD) are none.
    """

    argument: int
    base: int
    also: Sequence[int] = ()

    def emit(self, code: Code, yes: Label, no: Label) -> None:
        code.load(bpf.low_word(self.argument))
        positive, low = Label(), Label()
        code.branch(bpf.JUMP_AT_LEAST, _FIRST_NEGATIVE, no, positive)
        code.mark(positive)
        code.branch(bpf.JUMP_AT_LEAST, self.base, yes, low if self.also else no)
        code.mark(low)
        _compare(code, self.also, yes, no)


@dataclass(frozen=True)
class AnyBit:
    """The argument, a 32-bit one, has a bit of the mask."""

    argument: int
    mask: int

    def emit(self, code: Code, yes: Label, no: Label) -> None:
        code.load(bpf.low_word(self.argument))
        code.branch(bpf.JUMP_ANY_BIT, self.mask, yes, no)


@dataclass(frozen=True)
class Less:
    """The argument, an unsigned 32-bit one, is less than the value."""

    argument: int
    value: int

    def emit(self, code: Code, yes: Label, no: Label) -> None:
        code.load(bpf.low_word(self.argument))
        code.branch(bpf.JUMP_AT_LEAST, self.value, no, yes)


@dataclass(frozen=True)
class Among:
    """The argument, a 32-bit one, is one of the values."""

    argument: int
    values: Sequence[int]

    def emit(self, code: Code, yes: Label, no: Label) -> None:
        code.load(bpf.low_word(self.argument))
        _compare(code, self.values, yes, no)


@dataclass(frozen=True)
class Not:
    test: Test

    def emit(self, code: Code, yes: Label, no: Label) -> None:
        self.test.emit(code, no, yes)


@dataclass(frozen=True)
class All:
    tests: Sequence[Test]

    def emit(self, code: Code, yes: Label, no: Label) -> None:
        for test in self.tests[:-1]:
            further = Label()
            test.emit(code, further, no)
            code.mark(further)
        self.tests[-1].emit(code, yes, no)


def _compare(code: Code, values: Sequence[int], yes: Label, no: Label) -> None:
    """The loaded word is one of the values.  With no values: nothing is emitted."""
    for left, value in enumerate(values, 1 - len(values)):
        further = Label()
        code.branch(bpf.JUMP_EQUAL, value & 0xFFFFFFFF, yes, further if left else no)
        code.mark(further)


@dataclass(frozen=True)
class When:
    """One step of a rule."""

    test: Test
    action: int


@dataclass
class Rule:
    steps: list[When] = field(default_factory=list)
    otherwise: int = ALLOW


class Filter:
    """Rules by the name of the call.

    A name that this machine has no call for (`open` on arm64) is passed over; one that no machine has is an error.
    Later rules replace earlier ones, except that `trap_fd` adds to what is there.
    """

    def __init__(self, machine: Machine | None = None) -> None:
        self.machine = machine or current()
        self.rules: dict[int, Rule] = {}
        self.cookie = int.from_bytes(os.urandom(8), "little") | 1 << 63
        self.gate = 0
        """The instruction pointer of calls that pass in any case, 0 for none."""

    # ------------------------------------------------------------ rules
    def set_rule(self, name: str, rule: Rule) -> None:
        number = self._number(name)
        if number is not None:
            self.rules[number] = rule

    def trap(self, *names: str) -> None:
        """Always."""
        for name in names:
            self.set_rule(name, Rule([], NOTIFY))

    def refuse(self, errno: int, *names: str) -> None:
        """Never executed: the call fails at once."""
        for name in names:
            self.set_rule(name, Rule([], refusal(errno)))

    def allow(self, *names: str) -> None:
        """Take a rule back."""
        for name in names:
            number = self._number(name)
            if number is not None:
                self.rules.pop(number, None)

    def trap_fd(self, names: str | Iterable[str], argument: int, base: int, also: Sequence[int] = ()) -> None:
        """Only where the argument is a descriptor >= base or one of `also`.  Once more for a second argument."""
        for name in [names] if isinstance(names, str) else names:
            number = self._number(name)
            if number is None:
                continue
            rule = self.rules.setdefault(number, Rule())
            if rule.otherwise != ALLOW:
                raise ValueError(f"{name} has a rule that decides it in every case")
            rule.steps.append(When(Descriptor(argument, base, also), NOTIFY))

    def trap_pointer(self, name: str, argument: int) -> None:
        """Where the argument is not NULL. (The lower half tells: what lies at a multiple of 4 GiB is taken for NULL.)"""
        self.set_rule(name, Rule([When(AnyBit(argument, 0xFFFFFFFF), NOTIFY)]))

    def trap_mmap(self, base: int, shared: int) -> None:
        """A mapping of a descriptor >= base, and a shared one (which may be written) of a descriptor >= shared."""
        anonymous = When(AnyBit(3, abi.MAP_ANONYMOUS), ALLOW)
        writable = When(All([AnyBit(3, abi.MAP_SHARED), Descriptor(4, shared)]), NOTIFY)
        self.set_rule("mmap", Rule([anonymous, When(Descriptor(4, base), NOTIFY), writable]))

    def trap_lseek(self, base: int, also: Sequence[int] = ()) -> None:
        """SEEK_DATA and SEEK_HOLE only: SEEK_SET, SEEK_CUR and SEEK_END are right natively."""
        simple = When(Less(2, abi.SEEK_DATA), ALLOW)
        self.set_rule("lseek", Rule([simple, When(Descriptor(0, base, also), NOTIFY)]))

    def trap_fcntl(self, commands: Sequence[int], base: int, also: Sequence[int] = ()) -> None:
        """These commands on such a descriptor."""
        other = When(Not(Among(1, commands)), ALLOW)
        self.set_rule("fcntl", Rule([other, When(Descriptor(0, base, also), NOTIFY)]))

    def trap_empty_path(self, names: str | Iterable[str], flags_argument: int, base: int, also: Sequence[int] = ()) -> None:
        """A call with a name, except on a real descriptor with AT_EMPTY_PATH: the C library's fstat is such a call.

        (A filter cannot see whether the name is empty.  A program that gives AT_EMPTY_PATH *and* a name relative to a
        real directory is let through.)
        """
        real = All([AnyBit(flags_argument, abi.AT_EMPTY_PATH), Not(Descriptor(0, base, also)), Less(0, 1 << 31)])
        for name in [names] if isinstance(names, str) else names:
            self.set_rule(name, Rule([When(real, ALLOW)], NOTIFY))

    def _number(self, name: str) -> int | None:
        number = self.machine.calls.get(name)
        if number is None and name not in every_name():
            raise ValueError(f"{name}: no such system call")
        return number

    # ------------------------------------------------------------ program
    def program(self) -> bytes:
        """The filter as an array of struct sock_filter."""
        code = Code()
        self._prologue(code)
        notify = Label()
        places = {number: Label() for number in self.rules}
        self._search(code, sorted(self.rules), places)
        for number, rule in self.rules.items():
            code.mark(places[number])
            self._rule(code, rule, notify)
        code.mark(notify)
        self._notify(code)
        return code.assemble()

    def _prologue(self, code: Code) -> None:
        """Refuse other calling conventions (32-bit, x32): their numbers mean other calls."""
        refuse, ours, number = Label(), Label(), Label()
        code.load(bpf.AT_ARCH)
        code.branch(bpf.JUMP_EQUAL, self.machine.audit_arch, ours, refuse)
        code.mark(ours)
        code.load(bpf.AT_NUMBER)
        code.branch(bpf.JUMP_AT_LEAST, _X32_BIT, refuse, number)
        code.mark(refuse)
        code.give(refusal(_ENOSYS))
        code.mark(number)

    def _search(self, code: Code, numbers: Sequence[int], places: dict[int, Label]) -> None:
        """The number is loaded: go to its rule, or allow."""
        if len(numbers) > _LEAF:
            half = len(numbers) // 2
            upper, lower, far = Label(), Label(), Label()
            code.branch(bpf.JUMP_AT_LEAST, numbers[half], far, lower)
            code.mark(far)
            code.jump(upper)
            code.mark(lower)
            self._search(code, numbers[:half], places)
            code.mark(upper)
            self._search(code, numbers[half:], places)
            return
        for number in numbers:
            found, next_one = Label(), Label()
            code.branch(bpf.JUMP_EQUAL, number, found, next_one)
            code.mark(found)
            code.jump(places[number])
            code.mark(next_one)
        code.give(ALLOW)

    def _rule(self, code: Code, rule: Rule, notify: Label) -> None:
        for step in rule.steps:
            holds, further = Label(), Label()
            step.test.emit(code, holds, further)
            code.mark(holds)
            self._act(code, step.action, notify)
            code.mark(further)
        self._act(code, rule.otherwise, notify)

    def _act(self, code: Code, action: int, notify: Label) -> None:
        if action == NOTIFY:
            code.jump(notify)
        else:
            code.give(action)

    def _notify(self, code: Code) -> None:
        upper, passes, goes = Label(), Label(), Label()
        if self.gate:
            lower, other = Label(), Label()
            code.load(bpf.AT_INSTRUCTION + 4)
            code.branch(bpf.JUMP_EQUAL, self.gate >> 32, lower, other)
            code.mark(lower)
            code.load(bpf.AT_INSTRUCTION)
            code.branch(bpf.JUMP_EQUAL, self.gate & 0xFFFFFFFF, passes, other)
            code.mark(other)
        code.load(bpf.low_word(5))
        code.branch(bpf.JUMP_EQUAL, self.cookie & 0xFFFFFFFF, upper, goes)
        code.mark(upper)
        code.load(bpf.high_word(5))
        code.branch(bpf.JUMP_EQUAL, self.cookie >> 32, passes, goes)
        code.mark(passes)
        code.give(ALLOW)
        code.mark(goes)
        code.give(NOTIFY)


def install(program: bytes, machine: Machine) -> int:
    """Put this process under the filter; the listener's descriptor (close-on-exec).

    Gives up privileges that exec could gain (no_new_privs): the kernel demands it of unprivileged users.
    EBUSY: there is a listener further up.  EINVAL: the kernel is older than 5.19.
    """
    body = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("<H6xQ", len(program) // bpf.INSTRUCTION.size, ctypes.addressof(body))  # struct sock_fprog
    libc.prctl(abi.PR_SET_NO_NEW_PRIVS, 1)
    flags = abi.SECCOMP_FILTER_FLAG_NEW_LISTENER | abi.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    return libc.syscall(machine.calls["seccomp"], abi.SECCOMP_SET_MODE_FILTER, flags, header)
