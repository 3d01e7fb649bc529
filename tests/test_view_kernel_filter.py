"""The seccomp filter: rows of call -> verdict, as the kernel would compute them; and the tables of the machines."""

import ctypes
import errno
import gc
import os
import random
import re
import signal
from pathlib import Path

import pytest

from vfs.view.kernel import abi, bpf
from vfs.view.kernel.arm64 import ARM64
from vfs.view.kernel.filter import ALLOW, NOTIFY, Descriptor, Filter, Rule, When, interpret, refusal
from vfs.view.kernel.machine import COMMON, Machine, current, every_name
from vfs.view.kernel.x86_64 import X86_64

BASE = 512
ENOSYS = refusal(errno.ENOSYS)
UPPER = 0xDEAD0000_00000000  # rubbish in the upper half of a register that holds an int


def example(machine: Machine) -> Filter:
    made = Filter(machine)
    made.trap("open", "openat", "execve")
    made.refuse(errno.ENOSYS, "io_uring_setup", "fsopen")
    made.trap_fd(["read", "pread64"], 0, BASE)
    made.trap_fd("sendfile", 0, BASE)
    made.trap_fd("sendfile", 1, BASE)
    made.trap_fd("fstat", 0, BASE, (0, 1, 2))
    made.trap_fd("dup3", 0, BASE, (7,))
    made.trap_mmap(BASE, BASE - 100)
    made.trap_lseek(BASE, (0,))
    made.trap_fcntl((abi.F_DUPFD, abi.F_DUPFD_CLOEXEC), BASE)
    made.trap_empty_path("newfstatat", 3, BASE, (0, 1, 2))
    made.trap_empty_path("statx", 2, BASE)
    return made


ROWS = [
    # no rule
    ("getpid", (), ALLOW),
    ("write", (1,), ALLOW),
    ("write", (BASE,), ALLOW),
    # always
    ("openat", (abi.AT_FDCWD, 0x7FFF00001000, 0), NOTIFY),
    ("execve", (), NOTIFY),
    # never
    ("io_uring_setup", (1, 2), ENOSYS),
    ("fsopen", (), ENOSYS),
    # descriptors
    ("read", (0,), ALLOW),
    ("read", (BASE - 1,), ALLOW),
    ("read", (BASE,), NOTIFY),
    ("read", (0x7FFFFFFF,), NOTIFY),
    ("read", (0x80000000,), ALLOW),
    ("read", (-1,), ALLOW),
    ("read", (abi.AT_FDCWD,), ALLOW),
    ("read", (UPPER | 3,), ALLOW),
    ("read", (UPPER | BASE,), NOTIFY),
    ("pread64", (BASE + 7,), NOTIFY),
    # two arguments
    ("sendfile", (1, 2), ALLOW),
    ("sendfile", (BASE, 2), NOTIFY),
    ("sendfile", (1, BASE), NOTIFY),
    ("sendfile", (-1, -1), ALLOW),
    # low numbers
    ("fstat", (0,), NOTIFY),
    ("fstat", (2,), NOTIFY),
    ("fstat", (3,), ALLOW),
    ("fstat", (UPPER | 1,), NOTIFY),
    ("fstat", (-1,), ALLOW),
    ("fstat", (BASE,), NOTIFY),
    ("dup3", (7,), NOTIFY),
    ("dup3", (6,), ALLOW),
    ("dup3", (8,), ALLOW),
    # mmap
    ("mmap", (0, 4096, 3, 0x22, -1, 0), ALLOW),
    ("mmap", (0, 4096, 3, 0x22, BASE, 0), ALLOW),
    ("mmap", (0, 4096, 1, 2, 3, 0), ALLOW),
    ("mmap", (0, 4096, 1, 2, BASE, 4096), NOTIFY),
    ("mmap", (0, 4096, 1, 2, BASE - 100, 0), ALLOW),
    ("mmap", (0, 4096, 1, 1, BASE - 100, 0), NOTIFY),
    ("mmap", (0, 4096, 1, 1, BASE - 101, 0), ALLOW),
    # lseek
    ("lseek", (BASE, 0, os.SEEK_SET), ALLOW),
    ("lseek", (BASE, 0, os.SEEK_END), ALLOW),
    ("lseek", (BASE, 0, abi.SEEK_DATA), NOTIFY),
    ("lseek", (BASE, 0, abi.SEEK_HOLE), NOTIFY),
    ("lseek", (3, 0, abi.SEEK_DATA), ALLOW),
    ("lseek", (0, 0, abi.SEEK_DATA), NOTIFY),
    # fcntl
    ("fcntl", (BASE, abi.F_DUPFD, 0), NOTIFY),
    ("fcntl", (BASE, abi.F_DUPFD_CLOEXEC, 0), NOTIFY),
    ("fcntl", (BASE, 1, 0), ALLOW),
    ("fcntl", (5, abi.F_DUPFD, 0), ALLOW),
    # names, and the C library's fstat
    ("newfstatat", (abi.AT_FDCWD, 0x1000, 0x2000, 0), NOTIFY),
    ("newfstatat", (abi.AT_FDCWD, 0x1000, 0x2000, abi.AT_EMPTY_PATH), NOTIFY),
    ("newfstatat", (5, 0x1000, 0x2000, 0), NOTIFY),
    ("newfstatat", (5, 0x1000, 0x2000, abi.AT_EMPTY_PATH), ALLOW),
    ("newfstatat", (5, 0x1000, 0x2000, abi.AT_EMPTY_PATH | abi.AT_SYMLINK_NOFOLLOW), ALLOW),
    ("newfstatat", (1, 0x1000, 0x2000, abi.AT_EMPTY_PATH), NOTIFY),
    ("newfstatat", (BASE, 0x1000, 0x2000, abi.AT_EMPTY_PATH), NOTIFY),
    ("newfstatat", (-1, 0x1000, 0x2000, abi.AT_EMPTY_PATH), NOTIFY),
    ("statx", (3, 0x1000, abi.AT_EMPTY_PATH, 0), ALLOW),
    ("statx", (3, 0x1000, 0, 0), NOTIFY),
]


@pytest.mark.parametrize("machine", [X86_64, ARM64], ids=lambda m: m.name)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}{row[1]}")
def test_verdict(machine, row):
    name, arguments, verdict = row
    made = example(machine)
    assert interpret(made.program(), machine.calls[name], arguments, arch=machine.audit_arch) == verdict


def test_cookie_lets_pass_whatever_would_be_notified():
    made = example(X86_64)
    program = made.program()
    for name, arguments, verdict in ROWS:
        if name in ("mmap", "sendfile"):
            continue
        padded = (*arguments, 0, 0, 0, 0, 0)[:5]
        got = interpret(program, X86_64.calls[name], (*padded, made.cookie), arch=X86_64.audit_arch)
        assert got == (ALLOW if verdict == NOTIFY else verdict), name
    for wrong in (made.cookie ^ 1, made.cookie ^ 1 << 32, made.cookie & 0xFFFFFFFF, made.cookie >> 32 << 32):
        assert interpret(program, X86_64.calls["openat"], (0, 0, 0, 0, 0, wrong), arch=X86_64.audit_arch) == NOTIFY
    assert Filter().cookie != made.cookie


def test_other_calling_conventions_are_refused():
    program = example(X86_64).program()
    for number in (0, 5, 11, 257, 1000):
        assert interpret(program, number, (), arch=0x40000003) == ENOSYS  # i386
        assert interpret(program, number | 0x40000000, (), arch=X86_64.audit_arch) == ENOSYS  # x32
    assert interpret(program, -1, (), arch=X86_64.audit_arch) == ENOSYS
    assert interpret(example(ARM64).program(), 56, (), arch=0x40000028) == ENOSYS  # arm


def test_a_call_that_the_machine_lacks_is_passed_over_and_a_wrong_name_is_not():
    made = Filter(ARM64)
    made.trap("open", "stat")
    made.trap_fd("dup2", 0, BASE)
    assert not made.rules
    for wrong in (made.trap, lambda name: made.trap_fd(name, 0, BASE), lambda name: made.refuse(1, name)):
        with pytest.raises(ValueError, match="openat3"):
            wrong("openat3")


def test_rules_replace_and_add():
    made = Filter(X86_64)
    number = X86_64.calls["read"]
    made.trap_fd("read", 0, BASE)
    made.trap("read")
    assert interpret(made.program(), number, (0,), arch=X86_64.audit_arch) == NOTIFY
    with pytest.raises(ValueError, match="read"):
        made.trap_fd("read", 0, BASE)
    made.allow("read")
    assert interpret(made.program(), number, (BASE,), arch=X86_64.audit_arch) == ALLOW
    made.set_rule("read", Rule([When(Descriptor(0, BASE), refusal(errno.EBADF))], NOTIFY))
    assert interpret(made.program(), number, (BASE,), arch=X86_64.audit_arch) == refusal(errno.EBADF)
    assert interpret(made.program(), number, (3,), arch=X86_64.audit_arch) == NOTIFY


def test_all_calls_at_once_fit_and_are_found():
    """A rule for every call: far jumps, and a search over all numbers."""
    made = Filter(X86_64)
    chosen = random.Random(4)
    verdicts = {}
    for name, number in X86_64.calls.items():
        kind = chosen.randrange(4)
        if kind == 0:
            made.trap(name)
            verdicts[number] = NOTIFY, NOTIFY
        elif kind == 1:
            made.trap_fd(name, 0, BASE, (1, 2, 5))
            verdicts[number] = ALLOW, NOTIFY
        elif kind == 2:
            made.refuse(number % 100 + 1, name)
            verdicts[number] = (refusal(number % 100 + 1),) * 2
        else:
            verdicts[number] = ALLOW, ALLOW
    program = made.program()
    assert len(program) // 8 < bpf.MAX_INSTRUCTIONS
    for number, (low, high) in verdicts.items():
        assert interpret(program, number, (4,), arch=X86_64.audit_arch) == low
        assert interpret(program, number, (BASE,), arch=X86_64.audit_arch) == high
    for number in (400, 423, 471, 600, 5000):
        assert interpret(program, number, (BASE,), arch=X86_64.audit_arch) == ALLOW


def test_the_kernel_takes_the_program_and_agrees(tmp_path):
    """The same rows, asked of the kernel: calls that are allowed or refused (nobody answers notified ones)."""
    if os.uname().machine != "x86_64":
        pytest.skip("needs an x86_64 machine")
    made = example(X86_64)
    rows = [(n, a, v) for n, a, v in ROWS if v != NOTIFY and n not in ("execve",)]
    report, write = os.pipe()
    gc.collect()
    pid = os.fork()
    if not pid:
        from vfs.view.kernel.filter import install
        from vfs.view.kernel.libc import held

        gc.disable()  # what it finds unclosed is warned of, with a line of the source: opening that would wait for ever
        signal.alarm(60)
        try:
            install(made.program(), X86_64)
            wrong = []
            for name, arguments, verdict in rows:
                if name in ("write", "mmap", "read", "dup3"):  # would act on this very process
                    continue
                words = [ctypes.c_ulong(a & 0xFFFFFFFFFFFFFFFF) for a in arguments]
                ctypes.set_errno(0)
                held.syscall(ctypes.c_long(X86_64.calls[name]), *words)
                if (verdict == ENOSYS) != (ctypes.get_errno() == errno.ENOSYS):
                    wrong.append(name)
            os.write(write, repr(wrong).encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write)
    text = os.read(report, 4096)
    os.close(report)
    assert os.waitpid(pid, 0)[1] == 0
    assert text == b"[]"


# ---------------------------------------------------------------- machines
def test_x86_64_numbers_are_those_of_the_kernel_headers():
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("needs the kernel headers (linux-libc-dev)")
    theirs = {n: int(v) for n, v in re.findall(r"#define __NR_(\w+)\s+(\d+)", header.read_text())}
    assert len(theirs) > 300
    assert {name: X86_64.calls.get(name) for name in theirs} == theirs


def test_arm64_numbers_are_those_of_the_generic_header():
    header = Path("/usr/include/asm-generic/unistd.h")
    if not header.exists():
        pytest.skip("needs the kernel headers (linux-libc-dev)")
    theirs = {n: int(v) for n, v in re.findall(r"#define __NR_(\w+)\s+(\d+)\n", header.read_text())}
    for not_ours in ("arch_specific_syscall", "syscalls", "sync_file_range2"):
        del theirs[not_ours]
    theirs = {name: number for name, number in theirs.items() if not 403 <= number < 424}  # 32-bit machines only
    assert len(theirs) > 280
    assert {name: ARM64.calls.get(name) for name in theirs} == theirs


@pytest.mark.parametrize("machine", [X86_64, ARM64], ids=lambda m: m.name)
def test_tables_are_consistent(machine):
    assert len(set(machine.calls.values())) == len(machine.calls)
    assert machine.names[machine.calls["openat"]] == "openat"
    assert sorted(COMMON.values()) == list(range(424, 471))
    assert COMMON.items() <= machine.calls.items()
    indices = {*machine.arguments, machine.result, machine.instruction, machine.stack, machine.number}
    assert all(0 <= index < machine.word_count for index in indices)
    assert len(set(machine.arguments)) == 6
    words = list(range(100, 100 + machine.word_count))
    assert machine.unpack_registers(machine.pack_registers(words)) == words


def test_arm64_has_only_calls_that_take_a_directory():
    assert not {"open", "stat", "mkdir", "dup2", "getdents", "fork", "vfork", "poll"} & set(ARM64.calls)
    assert set(ARM64.calls) <= every_name()
    assert len(ARM64.pack_stat(*range(13))) == 128


def test_registers_of_a_call_made_again():
    """x86_64 stops behind the instruction, arm64 at it."""
    words = [0] * X86_64.word_count
    words[16] = 0x1002
    X86_64.set_call(words, 257, (-100, 2, 3, 4, 5, 6))
    assert (words[16], words[10], words[15]) == (0x1000, 257, 0xFFFFFFFFFFFFFFFF)
    assert [words[i] for i in (14, 13, 12, 7, 9, 8)] == [0xFFFFFFFFFFFFFF9C, 2, 3, 4, 5, 6]
    words = [0] * ARM64.word_count
    words[32] = 0x1000
    ARM64.set_call(words, 56, (-100, 2, 3, 4, 5, 6))
    assert (words[32], words[8]) == (0x1000, 56)
    assert words[:6] == [0xFFFFFFFFFFFFFF9C, 2, 3, 4, 5, 6]
    ARM64.set_result(words, -2)
    assert (words[32], words[0]) == (0x1004, 0xFFFFFFFFFFFFFFFE)


def test_the_running_kernel_has_no_call_that_the_table_lacks():
    """Numbers behind the last one are not there: a call with arguments that can do nothing says ENOSYS."""
    from vfs.view.kernel.libc import held

    last = max(current().calls.values())
    for number in range(last + 1, last + 30):
        ctypes.set_errno(0)
        held.syscall(ctypes.c_long(number), *[ctypes.c_ulong(0xFFFFFFFFFFFFFFFF)] * 6)
        assert ctypes.get_errno() == errno.ENOSYS, f"call {number} is new: add it to the tables"
