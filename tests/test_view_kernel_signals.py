"""EINTR appears where Linux gives it, and nowhere else: signals 3000 times a second, handlers without SA_RESTART."""

import ctypes
import mmap
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import open_to_all, unprivileged
from vfs.view.kernel import interrupted
from vfs.view.kernel.filter import Filter
from vfs.view.kernel.interrupted import Interrupted, number_of
from vfs.view.kernel.machine import current
from vfs.view.kernel.notify import Call, Listener

HERE = Path(__file__).resolve().parent
UMVIEW = Path(sys.executable).parent / "umview"
EINTR = 4

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs an x86_64 machine: see kernel/interrupted.py")


@pytest.fixture(scope="module")
def storm(tmp_path_factory):
    """(the program, its directory), readable for all."""
    where = tmp_path_factory.mktemp("storm")
    program = where / "view_storm"
    subprocess.run(["gcc", "-O1", "-pthread", "-o", program, HERE / "view_storm.c"], check=True)
    directory = where / "d"
    (directory / "sub").mkdir(parents=True)
    (directory / "file").write_text("content\n")
    shutil.copy(shutil.which("true"), directory / "program")
    os.mkfifo(directory / "fifo")
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", directory, where / "image", "8M"], check=True)
    open_to_all(where)
    return program, directory


def outcome(prefix, program, directory, seconds):
    done = subprocess.run([*prefix, program, directory, str(seconds)], capture_output=True, text=True, timeout=60 + 3 * seconds)
    assert (done.returncode, done.stderr) == (0, "")
    first, *rest = done.stdout.splitlines()
    assert int(first.split()[1]) > 300 * seconds
    return rest


NATIVELY = [f"native {EINTR} {EINTR} {EINTR}", "end"]
MOUNTED = [UMVIEW, "bash", "-c", 'mount -t umfuseext2 -o ro "$0/../image" "$0"; exec "$@"']


def test_the_storm_itself(storm):
    """What the others compare with."""
    assert outcome([], *storm, 0.5) == NATIVELY


@pytest.mark.parametrize("mounted", [False, True], ids=["outside", "inside"])
@pytest.mark.parametrize("user", ["root", "nobody"])
def test_no_call_is_interrupted_that_linux_does_not_interrupt(storm, mounted, user):
    prefix = [*unprivileged()] if user == "nobody" else []
    prefix += [*MOUNTED, storm[1]] if mounted else [UMVIEW]
    assert outcome([*map(str, prefix)], *storm, 1) == NATIVELY


@pytest.mark.slow
@pytest.mark.parametrize("mounted", [False, True], ids=["outside", "inside"])
def test_a_minute_of_storm_with_four_at_once(storm, mounted):
    prefix = [*MOUNTED, storm[1]] if mounted else [UMVIEW]
    script = 'for i in 1 2 3 4; do "$@" > "$OUT/$i" & done; wait'
    out = storm[1].parent / f"out{mounted}"
    out.mkdir()
    command = [*prefix, "bash", "-c", script, "bash", *storm, "60"]
    subprocess.run([*map(str, command)], check=True, timeout=400, env={**os.environ, "OUT": str(out)})
    for number in "1234":
        assert (out / number).read_text().splitlines()[1:] == NATIVELY


# ---------------------------------------------------------------- which call it was
@pytest.fixture
def code():
    """A function that puts machine code at the end of a page and gives the address behind it."""
    pages = mmap.mmap(-1, 2 * 4096)
    address = ctypes.addressof(ctypes.c_char.from_buffer(pages))

    def put(text, end=4096):
        pages[end - len(text) : end] = text
        return address + end

    return put


def frame(at, **registers):
    words = [0] * 17
    words[16] = at
    for name, value in registers.items():
        words[getattr(interrupted, "_" + name.upper())] = value
    return tuple(words)


def own_call():
    call = Call()
    call.tid = os.getpid()
    return call


@pytest.mark.parametrize(
    "before, number",
    [
        (b"\xb8\x06\x01\0\0", 262),  # mov $262, %eax
        (b"\x48\xc7\xc0\x0f\0\0\0", 15),  # mov $15, %rax
        (b"\x44\x89\xc0", 77),  # mov %r8d, %eax
        (b"\x89\xd8", 78),  # mov %ebx, %eax
        (b"\x48\x89\xd8", 78),  # mov %rbx, %rax
        (b"\x89\xc8", None),  # mov %ecx, %eax: the call has changed rcx
        (b"\x48\x89\xf8\x48\x89\xf7\x48\x89\xd6\x48\x89\xca\x4d\x89\xc2\x4d\x89\xc8\x4c\x8b\x4c\x24\x08", None),  # syscall(3)
        (b"\x90", None),
        (b"", None),
    ],
)
def test_the_instruction_before_tells_the_number(code, before, number):
    at = code(b"\x90" * 12 + before + b"\x0f\x05")
    assert number_of(own_call(), frame(at, r8=77, bx=78)) == number


def test_the_number_may_lie_on_the_stack(code):
    stack = ctypes.create_string_buffer(struct.pack("<QQ", 0, 257))
    base = ctypes.addressof(stack)
    for before in (b"\x8b\x44\x24\x08", b"\x48\x8b\x44\x24\x08", b"\x8b\x84\x24\x08\0\0\0"):
        assert number_of(own_call(), frame(code(before + b"\x0f\x05"), sp=base)) == 257
    for before in (b"\x8b\x45\xf8", b"\x48\x8b\x85\xf8\xff\xff\xff"):
        assert number_of(own_call(), frame(code(before + b"\x0f\x05"), bp=base + 16)) == 257


def test_code_at_the_start_of_a_mapping(code):
    """There is nothing before it to read."""
    at = code(b"\xb8\x02\0\0\0\x0f\x05", 7)
    assert number_of(own_call(), frame(at)) == 2
    assert number_of(own_call(), frame(code(b"\x05", 1))) is None
    assert number_of(own_call(), frame(5)) is None


def test_which_calls_begin_again(tmp_path):
    """Only those that were trapped, and that Linux does not interrupt."""
    made = Filter(current())
    made.trap("stat", "open", "openat", "connect")
    made.trap_fd("read", 0, 600)
    again = Interrupted(made)
    call = own_call()
    call.listener = Listener.__new__(Listener)
    call.listener.cookie = made.cookie
    os.mkfifo(tmp_path / "fifo")
    names = [ctypes.create_string_buffer(os.fsencode(path)) for path in (tmp_path, tmp_path / "fifo", b"/none", b"fifo")]
    directory, fifo, none, relative = map(ctypes.addressof, names)

    def begins(name, *arguments):
        words = [0] * 17
        for index, value in zip(interrupted._ARGUMENTS, arguments, strict=False):
            words[index] = value
        return again._begins_again(call, current().calls[name], tuple(words))

    assert begins("stat") and begins("read", 600) and begins("open", directory) and begins("open", none)
    assert not (begins("lstat") or begins("read", 5) or begins("connect") or begins("open", fifo))
    assert not begins("open", directory, 0, 0, 0, 0, made.cookie)
    fd = os.open(tmp_path, os.O_RDONLY)
    assert not begins("openat", fd, relative)
    assert begins("openat", -100 & (1 << 64) - 1, relative)
    os.close(fd)
