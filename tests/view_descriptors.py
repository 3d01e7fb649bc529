"""Descriptors in numbers, kinds and ways that are seldom, on the tree of view_tree.py; results are printed.

Run as `view_descriptors.py TREE`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
import resource
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

T = sys.argv[1]


def tried(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def opened(name: str, count: int) -> list[int]:
    """As many as can be had, at most *count*."""
    found: list[int] = []
    try:
        while len(found) < count:
            found.append(os.open(f"{T}/{name}", os.O_RDONLY))
    except OSError as error:
        print(errno.errorcode[error.errno or 0], end=" ")
    return found


def many() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for soft, counts in ((1024, (600, 1500)), (3000, (2500, 3500))):
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for name in ("deep/f1", "big", "deep"):
            for count in counts:
                descriptors = opened(name, count)
                good = name == "deep" or all(len(os.pread(fd, 10, 0)) == 10 for fd in descriptors)
                print(name, len(descriptors), good, flush=True)
                for fd in descriptors:
                    os.close(fd)
    real = [os.open("/etc/passwd", os.O_RDONLY) for _ in range(900)]
    virtual = opened("deep/f1", 500) + opened("big", 500)
    print("with real ones", len(virtual), {os.pread(fd, 4, 0) for fd in real}, len({os.pread(fd, 4, 0) for fd in virtual}))
    for fd in real + virtual:
        os.close(fd)


def kept() -> None:
    """Which survive exec, and what they are then."""
    for name in ("deep/f1", "big"):
        first, second = os.open(f"{T}/{name}", os.O_RDONLY), os.open(f"{T}/{name}", os.O_RDONLY)
        os.set_inheritable(second, True)
        copy = os.dup(second)
        os.set_inheritable(copy, True)
        high = fcntl.fcntl(second, fcntl.F_DUPFD, 900)
        numbers = [first, second, copy, high, os.dup2(second, 77), os.dup2(second, 600), os.dup2(first, 601, inheritable=False)]
        numbers.append(os.dup2(os.open("/etc/passwd", os.O_RDONLY), copy))
        print([os.get_inheritable(fd) for fd in numbers], high >= 900, [os.fstat(fd).st_size for fd in numbers], flush=True)
        pid = os.fork()
        if not pid:
            look = "import os, sys\nfor fd in map(int, sys.argv[1:]):\n"
            look += " try: print(len(os.pread(fd, 100, 7)), os.fstat(fd).st_size)\n except OSError as error: print(error.errno)"
            os.execv("/usr/bin/python3", ["python3", "-c", look, *map(str, numbers)])
        os.waitpid(pid, 0)
        os.closerange(3, 1000)


def passed() -> None:
    """SCM_RIGHTS, with what was read before."""
    ours, theirs = socket.socketpair()
    for name in ("deep/f1", "big", "sparse"):
        fd, directory = os.open(f"{T}/{name}", os.O_RDONLY), os.open(T + "/deep", os.O_RDONLY)
        os.lseek(fd, 7, os.SEEK_SET)
        pid = os.fork()
        if not pid:
            _, received, _, _ = socket.recv_fds(theirs, 10, 9)
            got = hashlib.sha256(os.read(received[0], 99_999_999)).hexdigest()
            print(got, os.lseek(received[0], 0, 1), os.fstat(received[0]).st_size, len(os.listdir(received[1])), flush=True)
            print(os.stat("f1", dir_fd=received[1]).st_size, os.lseek(received[0], 0, os.SEEK_HOLE) > 0, flush=True)
            os._exit(0)
        socket.send_fds(ours, [b"x"], [fd, directory])
        os.waitpid(pid, 0)
        print(os.lseek(fd, 0, 1))


def seldom() -> None:
    reader, writer = os.pipe()
    target = os.open("copied", os.O_RDWR | os.O_CREAT)
    for name in ("deep/f1", "big", "sparse", "empty", "deep"):
        fd = os.open(f"{T}/{name}", os.O_RDONLY)
        print(
            name,
            tried(os.splice, fd, writer, 100, 0),
            tried(os.copy_file_range, fd, target, 100, 0),
            tried(os.sendfile, writer, fd, 0, 10),
        )
        print(tried(fcntl.flock, fd, fcntl.LOCK_EX), tried(fcntl.lockf, fd, fcntl.LOCK_SH), tried(fcntl.lockf, fd, fcntl.LOCK_EX))
        print(
            tried(os.write, fd, b"x"),
            tried(os.ftruncate, fd, 1),
            tried(os.posix_fallocate, fd, 0, 1),
            tried(os.posix_fadvise, fd, 0, 0, 3),
        )
        print(os.stat(fd) == os.stat(f"{T}/{name}"), os.fpathconf(fd, "PC_NAME_MAX"), os.isatty(fd), tried(os.listxattr, fd))
        for size in (0, 1, 4095, 4096, 4097, 100_000):
            try:
                with mmap.mmap(fd, size, prot=mmap.PROT_READ) as mapped:
                    print(size, hashlib.sha256(mapped).hexdigest()[:12], end=" ")
            except (OSError, ValueError) as error:
                print(size, error, end=" ")
        print(flush=True)
    del reader


def threads() -> None:
    wrong: list[str] = []

    def work(number: int) -> None:
        for turn in range(40):
            first = os.open(f"{T}/deep/f{1 + turn * number % 40}", os.O_RDONLY)
            second, directory = os.dup(first), os.open(T + "/deep", os.O_RDONLY)
            third, big = fcntl.fcntl(first, fcntl.F_DUPFD_CLOEXEC, number * 3 + 3), os.open(T + "/big", os.O_RDONLY)
            os.close(first)
            good = os.pread(second, 4, 0) == os.pread(third, 4, 0) == b"line" and len(os.read(big, 100_000)) == 100_000
            if not good or len(os.listdir(directory)) != 45:
                wrong.append(f"{number} {turn}")
            for fd in (second, third, directory, big):
                os.close(fd)

    running = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    print("threads", wrong)


for subject in (many, kept, passed, seldom, threads):
    subject()
