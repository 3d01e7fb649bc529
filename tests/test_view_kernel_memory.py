"""Other processes' memory, structures against the kernel's own, and processes; with real processes."""

import ctypes
import errno
import fcntl
import mmap
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from vfs.view.kernel import abi, libc, memory, processes, structs
from vfs.view.kernel.machine import current

PAGE = 4096
CALLS = current().calls


@contextmanager
def child(function=lambda: None) -> Iterator[int]:
    """A process with a copy of our memory, waiting."""
    ready, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            function()
            os.write(write, b"x")
            signal.pause()
        finally:
            os._exit(1)
    os.close(write)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.fixture(scope="module")
def pages():
    """Four pages: the last one can't be read, the third not be written.  (address, map)"""
    held = mmap.mmap(-1, 4 * PAGE)
    at = ctypes.addressof(ctypes.c_char.from_buffer(held))
    held[:] = b"\xaa" * (4 * PAGE)
    return at, held


def put(held, offset, text):
    held[offset : offset + len(text)] = text


def protect(at):
    assert libc.held.mprotect(ctypes.c_void_p(at + 3 * PAGE), PAGE, 0) == 0
    assert libc.held.mprotect(ctypes.c_void_p(at + 2 * PAGE), PAGE, mmap.PROT_READ) == 0


@pytest.fixture(scope="module")
def target(pages):
    """The child that all of the tests below read."""
    at, held = pages
    put(held, 0, b"/plain/name\0")
    put(held, 100, b"\0")
    put(held, PAGE - 5, b"crosses a page\0")
    put(held, 3 * PAGE - 8, b"to the e")
    with child(lambda: protect(at)) as pid:
        yield pid, at


def refused(number, function, *arguments):
    with pytest.raises(OSError) as caught:
        function(*arguments)
    assert caught.value.errno == number


# ---------------------------------------------------------------- strings
def test_strings(target):
    pid, at = target
    assert memory.read_string(pid, at) == b"/plain/name"
    assert memory.read_string(pid, at + 100) == b""
    assert memory.read_string(pid, at + PAGE - 5) == b"crosses a page"
    assert isinstance(memory.read_string(pid, at), bytes)


def test_bad_strings(target):
    pid, at = target
    refused(errno.EFAULT, memory.read_string, pid, 0)
    refused(errno.EFAULT, memory.read_string, pid, at + 3 * PAGE)
    refused(errno.EFAULT, memory.read_string, pid, at + 3 * PAGE - 8)  # runs into the page that can't be read
    refused(errno.EFAULT, memory.read_string, pid, 0xFFFFFFFFFFFFFFFF)
    refused(errno.EFAULT, memory.read_string, pid, 1 << 47)
    refused(errno.ESRCH, memory.read_string, 0x3FFFFF, at)


@pytest.mark.parametrize("offset", [0, 1, 200, PAGE - 256, PAGE - 255, PAGE - 1])
@pytest.mark.parametrize("length", [0, 1, 254, 255, 256, 257, 4000, 4094, 4095, 4096, 5000])
def test_long_strings(pages, offset, length):
    """4095 bytes are a name, 4096 are too many."""
    held = mmap.mmap(-1, 3 * PAGE)
    at = ctypes.addressof(ctypes.c_char.from_buffer(held))
    text = bytes(random.Random(length).randrange(1, 256) for _ in range(length))
    held[offset : offset + length + 1] = text + b"\0"
    us = os.getpid()
    if length < 4096:
        assert memory.read_string(us, at + offset) == text
    else:
        refused(errno.ENAMETOOLONG, memory.read_string, us, at + offset)


def test_strings_in_many_threads():
    """Buffers are not shared: every thread gets its own string."""
    names = [ctypes.create_string_buffer(b"%d/" % i * 60) for i in range(8)]
    wrong = []
    old = sys.getswitchinterval()

    def read(name):
        address, want = ctypes.addressof(name), name.value
        for _ in range(3000):
            if memory.read_string(os.getpid(), address) != want or memory.read_memory(os.getpid(), address, 9) != want[:9]:
                wrong.append(want)

    threads = [threading.Thread(target=read, args=(name,)) for name in names]
    try:
        sys.setswitchinterval(1e-6)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(old)
    assert not wrong


# ---------------------------------------------------------------- blocks
def test_reading(target):
    pid, at = target
    assert memory.read_memory(pid, at, 6) == b"/plain"
    assert memory.read_memory(pid, at, 0) == b""
    assert memory.read_memory(pid, at, 1) == b"/"
    assert len(memory.read_memory(pid, at, 3 * PAGE)) == 3 * PAGE
    refused(errno.EFAULT, memory.read_memory, pid, at + 3 * PAGE - 8, 9)
    refused(errno.EFAULT, memory.read_memory, pid, at, 3 * PAGE + 1)
    refused(errno.EFAULT, memory.read_memory, pid, 0, 8)
    into = bytearray(5)
    assert memory.read_into(pid, at, into) == 5 and into == b"/plai"
    big = bytearray(4 * PAGE)
    assert memory.read_into(pid, at, big) == 3 * PAGE  # as far as it goes
    assert memory.read_into(pid, at, memoryview(big)[7:9]) == 2 and big[7:9] == b"/p"
    refused(errno.EFAULT, memory.read_into, pid, 8, big)


def test_writing(target):
    pid, at = target
    memory.write_memory(pid, at + 200, b"written")
    assert memory.read_memory(pid, at + 199, 9) == b"\xaawritten\xaa"
    assert memory.write_some(pid, at + 200, b"0123456789", 3, 2) == 2
    assert memory.read_memory(pid, at + 200, 7) == b"34itten"
    assert memory.write_some(pid, at + 2 * PAGE - 3, b"abcdef") == 3  # the next page is read-only
    assert memory.write_some(pid, at, b"") == 0
    refused(errno.EFAULT, memory.write_some, pid, at + 2 * PAGE, b"x")
    refused(errno.EFAULT, memory.write_some, pid, at + 3 * PAGE, b"x")
    refused(errno.EFAULT, memory.write_memory, pid, at + 2 * PAGE - 3, b"abcdef")
    refused(errno.ESRCH, memory.write_some, 0x3FFFFF, at, b"x")
    for wrong in ((-1, 2), (0, 3), (3, 1)):
        with pytest.raises(ValueError):
            memory.write_some(pid, at, b"ab", *wrong)


def test_long_transfers():
    """Long ones let other threads run, and arrive whole."""
    data = random.Random(1).randbytes(3 << 20)
    space = mmap.mmap(-1, 4 << 20)
    at = ctypes.addressof(ctypes.c_char.from_buffer(space))
    assert memory.write_some(os.getpid(), at + 5, data) == len(data)
    assert space[5 : 5 + len(data)] == data
    assert memory.read_memory(os.getpid(), at + 5, len(data)) == data


def test_pointers(pages):
    words = (ctypes.c_ulonglong * 2000)(*range(1, 1500))
    at = ctypes.addressof(words)
    assert memory.read_pointers(os.getpid(), at) == list(range(1, 1500))
    assert memory.read_pointers(os.getpid(), at + 8 * 1490) == list(range(1491, 1500))
    assert memory.read_pointers(os.getpid(), at + 8 * 1600) == []
    assert memory.read_pointers(os.getpid(), 0) == []
    refused(errno.EFAULT, memory.read_pointers, os.getpid(), 8)
    endless = mmap.mmap(-1, (8 << 20) + (1 << 20))
    endless[:] = b"\1" * len(endless)
    refused(errno.E2BIG, memory.read_pointers, os.getpid(), ctypes.addressof(ctypes.c_char.from_buffer(endless)))


UNDUMPABLE = """
import os, signal, sys
from vfs.view.kernel import libc, memory
import ctypes
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
libc.prctl(4, 1)  # PR_SET_DUMPABLE, lost by setuid
text = ctypes.create_string_buffer(b"secret")
for dumpable in (1, 0):
    r, w = os.pipe()
    pid = os.fork()
    if not pid:
        libc.prctl(4, dumpable)
        os.write(w, b"x")
        signal.pause()
    os.read(r, 1)
    for function in (lambda: memory.read_string(pid, ctypes.addressof(text)),
                     lambda: memory.read_memory(pid, ctypes.addressof(text), 6),
                     lambda: memory.write_some(pid, ctypes.addressof(text), b"s"),
                     lambda: memory.demand_access(pid)):
        try:
            print(function())
        except memory.Unreadable:
            print("unreadable")
        except Exception as error:
            print(error)
    os.kill(pid, 9)
"""


def test_an_undumpable_process_is_unreadable():
    done = subprocess.run([sys.executable, "-c", UNDUMPABLE], capture_output=True, text=True, timeout=20)
    assert done.stderr == ""
    assert done.stdout.split("\n") == ["b'secret'", "b'secret'", "1", "None", *["unreadable"] * 4, ""]


# ---------------------------------------------------------------- structures, against the kernel's own
def raw(name, size, *arguments):
    """What a call writes into its structure, which is the argument `...`."""
    buffer = ctypes.create_string_buffer(size)
    libc.syscall(CALLS[name], *[buffer if a is ... else a for a in arguments])
    return buffer.raw


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    where = tmp_path_factory.mktemp("things")
    (where / "file").write_bytes(b"x" * 5000)
    os.utime(where / "file", ns=(1_234_567_890_123_456_789, -1_500_000_000))  # before 1970 too
    os.symlink("nowhere", where / "link")
    os.mkfifo(where / "fifo")
    return [os.fsencode(where / name) for name in ("file", "link", "fifo", "")] + [b"/dev/null", b"/proc", b"/"]


def test_stat(things):
    for path in things:
        st = os.lstat(path)
        packed = structs.pack_stat(
            st.st_dev, st.st_ino, st.st_mode, st.st_nlink, st.st_uid, st.st_gid, st.st_rdev, st.st_size,
            st.st_blksize, st.st_blocks, st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns,
        )  # fmt: skip
        assert packed == raw("newfstatat", len(packed), abi.AT_FDCWD, path, ..., abi.AT_SYMLINK_NOFOLLOW)


def test_statx(things):
    flags = abi.AT_SYMLINK_NOFOLLOW
    for path in things:
        st = os.lstat(path)
        theirs = raw("statx", 256, abi.AT_FDCWD, path, flags, abi.STATX_BASIC_STATS | abi.STATX_BTIME, ...)
        mask, _, attributes = struct.unpack_from("<IIQ", theirs)
        attributes_mask = struct.unpack_from("<Q", theirs, 56)[0]
        seconds, nanoseconds = struct.unpack_from("<qI", theirs, 80)
        mount_id = struct.unpack_from("<Q", theirs, 144)[0]
        packed = structs.pack_statx(
            mask, st.st_dev, st.st_ino, st.st_mode, st.st_nlink, st.st_uid, st.st_gid, st.st_rdev, st.st_size,
            st.st_blksize, st.st_blocks, st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns,
            seconds * 10**9 + nanoseconds, attributes, attributes_mask, mount_id,
        )  # fmt: skip
        assert len(packed) == 256
        assert packed[:152] == theirs[:152]  # what follows (direct I/O alignment, ...) is not ours


def test_statx_device_numbers():
    for major, minor in ((8, 1), (259, 70000), (0xFFF, 0xFFFFF), (4095, 255)):
        packed = structs.pack_statx(0, os.makedev(major, minor), 1, 0, 0, 0, 0, os.makedev(minor & 0xFFF, 9), *[0] * 6)
        assert struct.unpack_from("<IIII", packed, 128) == (minor & 0xFFF, 9, major, minor)


def test_statfs(things):
    for path in (b"/", b"/proc", things[0]):
        st = os.statvfs(path)
        theirs = raw("statfs", 120, path, ...)
        kind, fsid = struct.unpack_from("<Q", theirs)[0], struct.unpack_from("<ii", theirs, 56)
        flags = struct.unpack_from("<Q", theirs, 80)[0]
        packed = structs.pack_statfs(
            kind, st.f_bsize, st.f_blocks, st.f_bfree, st.f_bavail, st.f_files, st.f_ffree, fsid, st.f_namemax,
            st.f_frsize, flags,
        )  # fmt: skip
        assert packed[:56] + packed[64:] == theirs[:56] + theirs[64:] or st.f_bfree  # free space may change meanwhile
        assert len(packed) == 120 and packed[56:64] == theirs[56:64]


def test_directory_entries(tmp_path):
    for length in range(1, 40):
        (tmp_path / ("n" * length)).touch()
    (tmp_path / "directory").mkdir()
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        records = b""
        for ino, next_one, kind, name, text in entries64(fd):
            assert structs.pack_dirent64(ino, next_one, kind, name) == text
            records += text
        assert len(records) > 1000
        if "getdents" in CALLS:
            os.lseek(fd, 0, 0)
            buffer = ctypes.create_string_buffer(65536)
            size = libc.syscall(CALLS["getdents"], fd, buffer, 65536)
            theirs = buffer.raw[:size]
            os.lseek(fd, 0, 0)
            ours = b"".join(structs.pack_dirent(*entry[:4]) for entry in entries64(fd))
            assert blank_padding(ours) == blank_padding(theirs)
    finally:
        os.close(fd)


def entries64(fd):
    buffer = ctypes.create_string_buffer(65536)
    size = libc.syscall(CALLS["getdents64"], fd, buffer, 65536)
    at = 0
    while at < size:
        ino, next_one, length, kind = struct.unpack_from("<QqHB", buffer.raw, at)
        text = buffer.raw[at : at + length]
        yield ino, next_one, kind, text[19:].split(b"\0")[0], text
        at += length


def blank_padding(records):
    """The old structure's padding is not cleared by the kernel."""
    out, at = [], 0
    while at < len(records):
        ino, next_one, length = struct.unpack_from("<QQH", records, at)
        text = records[at : at + length]
        out.append((ino, next_one, length, text[18:].split(b"\0")[0], text[-1]))
        at += length
    return out


def test_open_how():
    assert structs.unpack_open_how(struct.pack("<QQQ", 1, 2, 3)) == (1, 2, 3)
    assert structs.unpack_open_how(struct.pack("<QQQQ", 1, 2, 3, 0)).resolve == 3
    refused(errno.EINVAL, structs.unpack_open_how, bytes(23))
    refused(errno.E2BIG, structs.unpack_open_how, bytes(24) + b"\1")


def test_iovecs():
    text = struct.pack("<4Q", 10, 1, 20, 2)
    assert structs.unpack_iovecs(text) == [(10, 1), (20, 2)]
    assert structs.pack_iovecs([(10, 1), (20, 2)]) == text
    assert structs.unpack_iovecs(b"") == []


def test_passed_descriptors():
    def part(level, kind, payload, size=None):
        body = struct.pack("<Qii", 16 + len(payload) if size is None else size, level, kind) + payload
        return body + bytes(-len(body) % 8)

    rights = part(1, 1, struct.pack("<3i", 5, 600, -1))
    credentials = part(1, 2, bytes(12))
    assert list(structs.passed_descriptors(credentials + rights + part(1, 1, struct.pack("<i", 9)))) == [5, 600, -1, 9]
    assert list(structs.passed_descriptors(b"")) == []
    assert list(structs.passed_descriptors(rights[:15])) == []
    for size in (0, 15, 33, 1 << 40, 1 << 63):  # malformed: it ends there
        assert list(structs.passed_descriptors(part(1, 1, struct.pack("<3i", 5, 6, 7), size))) == []


def test_registers_hold_ints():
    assert [structs.signed(v) for v in (0, 0xFFFFFF9C, 0x1_FFFFFF9C, 0x7FFFFFFF)] == [0, -100, -100, 0x7FFFFFFF]
    assert [structs.signed64(v) for v in (5, (1 << 64) - 1, 1 << 63)] == [5, -1, -(1 << 63)]


# ---------------------------------------------------------------- processes
def test_a_descriptor_of_another_process():
    table = processes.Processes(2)
    with tempfile.TemporaryFile() as file, child() as pid, child() as second, child() as third:
        fd = table.get_fd(pid, file.fileno())
        os.lseek(fd, 4, 0)
        assert os.lseek(file.fileno(), 0, 1) == 4  # one open file description
        assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        os.close(fd)
        refused(errno.EBADF, table.get_fd, pid, 999)
        for other in (second, third, pid, second):  # more than the cache holds
            os.close(table.get_fd(other, file.fileno()))
        assert len(table._pidfds) == 2
    refused(errno.ESRCH, table.get_fd, pid, 0)
    table.close()


def test_a_number_that_passed_to_another_thread():
    """A cached pidfd of a dead thread is noticed and opened anew."""
    table = processes.Processes()
    with child() as dead:
        os.close(table.get_fd(dead, 0))
        stale = table._pidfds.pop(dead)
    with child() as living:
        table._pidfds[living] = stale  # as though the number had come round
        os.close(table.get_fd(living, 0))
    table.close()


def test_a_thread_that_leads_no_group():
    table = processes.Processes()
    hold, begun = threading.Event(), threading.Event()
    tids = []

    def run():
        tids.append(threading.get_native_id())
        begun.set()
        hold.wait(20)

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait(20)
    try:
        assert processes.group_of(tids[0]) == os.getpid()
        left, right = socket.socketpair()
        fd = table.get_fd(tids[0], left.fileno())
        os.write(fd, b"through")
        assert right.recv(7) == b"through"
        os.close(fd)
        left.close()
        right.close()
    finally:
        hold.set()
        thread.join()
        table.close()


TREE = """
import os, signal, sys, time
from vfs.view.kernel import libc, processes
libc.prctl(36, 1)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
def spawn(depth):
    pid = os.fork()
    if pid:
        return pid
    if depth % 2:
        os.setsid()
    if depth:
        for _ in range(2):
            spawn(depth - 1)
        if depth == 2:
            os._exit(0)  # what is below becomes the root's
    signal.pause()
    os._exit(0)
spared = os.fork()
if not spared:
    below = spawn(0)
    signal.pause()
spawn(4)
def settled():
    return len(processes.descendants(os.getpid(), {spared}))
while settled() < 31:  # those that exited are their parents' zombies
    time.sleep(0.01)
found = processes.descendants(os.getpid(), {spared})
ended = []
processes.kill_tree(lambda pid, status: ended.append(pid), {spared})
print(len(found), len(processes.descendants(os.getpid(), {spared})), len(processes.descendants(os.getpid())))
processes.kill_tree(lambda pid, status: ended.append(pid))
print(len(processes.children(os.getpid())), spared in ended)
"""


def test_a_whole_tree_ends():
    """Other sessions, orphans, several levels; a spared child keeps what is below it."""
    done = subprocess.run([sys.executable, "-c", TREE], capture_output=True, text=True, timeout=20)
    assert done.stderr == ""
    assert done.stdout == "31 0 2\n0 True\n"


def test_children_without_the_kernels_list():
    with child() as pid:
        table = processes._parents()
        assert pid in table[os.getpid()]
        assert processes.parent_of(pid) == os.getpid()
        assert processes.is_below(pid, os.getpid()) and not processes.is_below(os.getpid(), pid)
    assert processes.children(pid) == []
    assert processes.parent_of(0x3FFFFF) is None
