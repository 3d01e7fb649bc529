"""execve and execveat in unusual ways, on the tree of view_tree.py; results are printed. Run as `view_exec.py TREE`."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

from vfs.view.kernel.machine import current

T = sys.argv[1]
EMPTY, NO_FOLLOW = 0x1000, 0x100
CWD = -100
libc = ctypes.CDLL(None, use_errno=True)


def child(act: Callable[[], object]) -> None:
    """The exit status of a child that executes something; 99 after an errno is printed."""
    pid = os.fork()
    if not pid:
        os.dup2(1, 2)
        try:
            act()
        except OSError as error:
            print(errno.errorcode[error.errno or 0], flush=True)
        os._exit(99)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def execveat(directory: int, name: bytes, flags: int, argv: Sequence[bytes] = (b"a", b"b")) -> None:
    words = (ctypes.c_char_p * (len(argv) + 1))(*argv, None)
    libc.syscall(current().calls["execveat"], directory, name, words, (ctypes.c_char_p * 1)(None), flags)
    raise OSError(ctypes.get_errno(), "")


static, only_path = os.open(T + "/bin/static", os.O_RDONLY), os.open(T + "/bin/dyn", os.O_PATH)
programs = os.open(T + "/bin", os.O_RDONLY)
ways = [(static, b"", EMPTY), (static, b"", 0), (only_path, b"", EMPTY), (programs, b"static", 0), (programs, b"static", EMPTY)]
ways += [(programs, b"", EMPTY), (programs, b"none", 0), (CWD, b"m/bin/dyn", 0), (CWD, b"m/dirlink", NO_FOLLOW)]
ways += [(programs, b"dyn", 0x8000), (777, b"dyn", 0), (static, b"dyn", 0), (programs, b"../deep/link", NO_FOLLOW)]
ways += [
    (programs, b"../bin/./static", 0),
    (programs, b"../fifo", 0),
    (programs, b"../src/main.c", 0),
    (programs, b"../empty", 0),
]
for number, (directory, name, flags) in enumerate(ways):
    print(number, name, flags)
    child(lambda d=directory, n=name, f=flags: execveat(d, n, f))
print("arguments")
child(lambda: execveat(CWD, T.encode() + b"/bin/static", 0, argv=()))
big = {f"v{i}": "x" * 10000 for i in range(90)} | {"long": "b" * 100000}
child(lambda: os.execve(T + "/bin/static", ["x"], big))
child(lambda: os.execve(T + "/bin/dyn", ["x", *["y" * 100] * 9000], {}))
child(lambda: os.execve(T + "/bin/dyn", ["x" * 200000], {}))
for program in ("dyn", "script"):
    child(lambda p=program: os.execve(f"{T}/bin/{p}", ["x", *["y" * 100000] * 90], {}))


def from_a_thread() -> None:
    thread = threading.Thread(target=lambda: os.execv(T + "/bin/dyn", ["thread", "exec"]))
    thread.start()
    thread.join()


child(from_a_thread)
print(subprocess.run(["dyn", "v"], capture_output=True, env={"PATH": T + "/bin:/bin"}))
# What execvp makes of a failure must leave no descriptors behind.
before = len(os.listdir("/proc/self/fd"))
for _ in range(30):
    for name in ("empty", "none", "big", "src/main.h"):
        try:
            os.execv(f"{T}/{name}", ["x"])
        except OSError:
            pass
print(len(os.listdir("/proc/self/fd")) - before)
