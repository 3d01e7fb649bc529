"""Names and flags of every odd kind, given to every call that takes a name: the same results in a view as on the kernel's mount.

Everything that is named must lie in the read-only TREE or in OTHER: what succeeds is done.

Run as `view_errors.py TREE OTHER PROJECT`: the tree of view_tree.py, a directory on the host that may be written, and where the
package `vfs` lies. Calls are made by number, since the C library corrects some arguments.

Left out, because the answers differ and nobody minds: RESOLVE_CACHED; renaming the mount point onto itself, or something of the
host onto it; O_NOFOLLOW, O_SYNC and O_PATH in F_GETFL; seeking beyond what ext4 can hold.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Callable

sys.path.insert(0, sys.argv[3])
from vfs.view.kernel.machine import current

NUMBERS = current().calls
T, OTHER = os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2])
CWD = -100
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
buffer = ctypes.create_string_buffer(1 << 16)
Arguments = tuple[int | bytes | ctypes.Array[ctypes.c_char], ...]
Result = int | str | tuple[int | str, ...]

LONG = b"/" + b"x" * 256
NAMES = [
    b"", b"/.", b"//", b"/big", b"/big/", b"/big/.", b"/big/..", b"/big//", b"/deep/", b"/deep/.", b"/deep/..",
    b"/deep/../big", b"/none", b"/none/", b"/none/x", b"/none/..", b"/deep/link", b"/deep/link/", b"/deep/link/x", b"/dirlink",
    b"/dirlink/", b"/dirlink/.", b"/dirlink/..", b"/dirlink/../f1", b"/loop", b"/loop/", b"/loop/x", b"/deep/dangling",
    b"/deep/dangling/", b"/deep/dangling/x", b"/deep/out/", b"/fifo", b"/fifo/", b"/fifo/x", b"/" + b"x" * 255, LONG,
    b"/deep" + LONG + b"/y", b"/./././big", b"//deep//f1", b"/deep/a/b/c/../../../f1", b"/bin/dyn", b"/empty", b"/lost+found",
    b"/a\xff\xfe", b"/big\n", (b"/" + b"./" * ((4095 - len(T) - 4) // 2) + b"big").ljust(4095 - len(T), b"/"),
    b"/" + b"./" * ((4096 - len(T)) // 2) + b"big",
]  # fmt: skip


def call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char]) -> int | str:
    """The result, or the name of the errno."""
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(NUMBERS[name], *words)
    return errno.errorcode[ctypes.get_errno()] if result < 0 else int(result)


def show(*words: object) -> None:
    print(*words, flush=True)


def each(label: str, ask: Callable[[bytes], Result]) -> None:
    for name in NAMES:
        show(label, name if len(name) < 60 else len(name) > 4000, ask(T + name))


def opened(result: int | str) -> str:
    if isinstance(result, int):
        os.close(result)
        return "ok"
    return result


def status(name: str) -> Callable[[bytes], Result]:
    def ask(path: bytes) -> Result:
        result = call(name, path, buffer)
        return result if result else struct.unpack_from("<QQI", buffer, 8)

    return ask


def how(flags: int, resolve: int, mode: int = 0) -> bytes:
    return struct.pack("<QQQ", flags, mode, resolve)


def asking() -> None:
    each("stat", status("stat"))
    each("lstat", status("lstat"))
    for flags in (0, 0x100, 0x1000, 0x800, 0x400, 0x8000, 0x100000, 0x200):
        each(f"newfstatat {flags:x}", lambda path, f=flags: call("newfstatat", CWD, path, buffer, f))
    for flags in (0, 0x100, 0x2000, 0x4000, 0x6000, 0x100000, 0x800):
        each(f"statx {flags:x}", lambda path, f=flags: call("statx", CWD, path, f, 0x7FF, buffer))
    show("statx mask", [call("statx", CWD, T + b"/big", 0, mask, buffer) for mask in (0, 0x80000000)])
    for mode in (0, 1, 2, 4, 7, 8, 16):
        each(f"access {mode}", lambda path, m=mode: call("access", path, m))
    for flags in (0, 0x100, 0x200, 0x1000, 0x4000):
        each(f"faccessat2 {flags:x}", lambda path, f=flags: call("faccessat2", CWD, path, 4, f))
    for size in (0, 1, 3, 4096, -1):
        each(f"readlink {size}", lambda path, s=size: call("readlink", path, buffer, s))
    each("statfs", lambda path: call("statfs", path, buffer))
    for name in ("getxattr", "lgetxattr"):
        for attribute in (b"user.a", b"nonsense"):
            each(f"{name} {attribute!r}", lambda path, n=name, a=attribute: call(n, path, a, buffer, 10))
    each("listxattr", lambda path: call("listxattr", path, buffer, 100))
    each("chdir", lambda path: call("chdir", path) or os.getcwdb().replace(T, b"T").decode())
    os.chdir("/")


def opening() -> None:
    o = os
    for flags in (
        0, o.O_WRONLY, o.O_RDWR, 3, o.O_CREAT, o.O_CREAT | o.O_EXCL, o.O_CREAT | o.O_WRONLY, o.O_TRUNC, o.O_DIRECTORY,
        o.O_NOFOLLOW, o.O_PATH, o.O_PATH | o.O_NOFOLLOW, o.O_DIRECTORY | o.O_NOFOLLOW, o.O_TMPFILE | o.O_RDWR, o.O_TMPFILE,
        o.O_CREAT | o.O_DIRECTORY, o.O_APPEND, o.O_PATH | o.O_DIRECTORY, o.O_PATH | o.O_CREAT, o.O_DIRECT,
    ):  # fmt: skip
        each(f"open {flags:x}", lambda path, f=flags: opened(call("open", path, f | os.O_NONBLOCK, 0o644)))
    for resolve in (0, 1, 2, 4, 8, 16, 64, 1 | 4, 1 << 40):
        each(f"openat2 {resolve:x}", lambda path, r=resolve: opened(call("openat2", CWD, path, how(os.O_NONBLOCK, r), 24)))
    for size, text in (
        (23, how(0, 0)),
        (24, how(0, 0, 0o644)),
        (24, how(1 << 40, 0)),
        (32, how(0, 0) + bytes(8)),
        (5000, bytes(5000)),
    ):
        show("openat2", size, opened(call("openat2", CWD, T + b"/big", text, size)))
    deep = os.open(T + b"/deep", os.O_RDONLY)
    for name in (b"f1", b"../big", b"..", b".", b"a/b", b"link", b"out", b"/etc/passwd", b"dangling", b"../../nowhere"):
        for resolve in (0, 1, 2, 4, 8, 16):
            show("openat2 at", name, resolve, opened(call("openat2", deep, name, how(os.O_NONBLOCK, resolve), 24)))
    os.close(deep)


def by_descriptor() -> None:
    deep, big = os.open(T + b"/deep", os.O_RDONLY), os.open(T + b"/big", os.O_RDONLY)
    for name in (b"", b"f1", b"../big", b"f1/", b"f1/x"):
        for flags in (0, 0x100, 0x1000, 0x1100):
            show(
                "at", name, flags,
                call("newfstatat", deep, name, buffer, flags), call("statx", deep, name, flags, 0xFFF, buffer),
                call("faccessat2", deep, name, 0, flags), call("fchownat", deep, name, 0, 0, flags),
                call("fchmodat2", deep, name, 0o644, flags), call("utimensat", deep, name, 0, flags),
                call("readlinkat", deep, name, buffer, 100), call("unlinkat", deep, name, flags),
                call("linkat", deep, name, deep, b"new", flags),
            )  # fmt: skip
    for number in (big, 777):
        for name in (b"x", b""):
            calls: dict[str, Arguments] = {
                "newfstatat": (buffer, 0x1000),
                "openat": (0, 0),
                "readlinkat": (buffer, 9),
                "faccessat": (0,),
            }
            calls |= {"mkdirat": (0,), "unlinkat": (0,), "fchmodat": (0,)}
            show(
                "no directory",
                number == 777,
                name,
                [call(c, number, name, *more) for c, more in calls.items() if name or number == 777],
            )
    more: dict[str, Arguments] = {
        "utimensat": (0, 0, 0),
        "futimesat": (0, 0),
        "fchmod": (0,),
        "fchown": (0, 0),
        "ftruncate": (0,),
        "fsync": (),
    }
    more |= {"fallocate": (0, 0, 10), "readahead": (0, 100), "fadvise64": (0, 0, 3), "fgetxattr": (b"user.a", buffer, 10)}
    more |= {"fsetxattr": (b"user.a", b"", 0, 0), "fremovexattr": (b"user.a",), "flistxattr": (buffer, 10)}
    show("descriptor", [call(c, big, *arguments) for c, arguments in more.items()])
    for size in (0, 1, 23, 50, 100, 1000):
        directory = os.open(T + b"/deep", os.O_RDONLY)
        results = [call("getdents64", directory, buffer, size) for _ in range(3)]
        show("getdents64", size, [result if isinstance(result, str) else result > 0 for result in results])
        os.close(directory)
    show("getdents64", call("getdents64", big, buffer, 99), call("getdents64", 777, buffer, 99), call("getdents64", deep, 1, 99))
    show("directory", call("read", deep, buffer, 9), call("pread64", deep, buffer, 9, 0), call("mmap", 0, 4096, 1, 2, deep, 0))
    show("seeks", [call("lseek", big, at, way) for at in (0, -1, 3000001, 3000002) for way in (0, 1, 2, 3, 4, 5)])
    show("read", call("read", big, 0, 10), call("read", big, buffer, 0), call("pread64", big, buffer, 10, -1))
    show("preadv", call("preadv", big, 0, 1, 0), call("preadv", big, 0, 0, 0), call("preadv", big, buffer, 2000, 0))
    show("dup", call("dup2", big, -1), call("dup3", big, big, 0), call("fcntl", big, 0, -1), call("fcntl", big, 0, 1 << 20))
    maps = [call("mmap", 0, 4096, p, m, big, at) for p in (1, 2, 3, 5) for m in (1, 2, 0) for at in (0, 1, 4096, 1 << 40)]
    show("mmap", [result if isinstance(result, str) else "ok" for result in maps])
    show("faults", [call(c, 1, 0, 0, 0) for c in ("stat", "open", "readlink", "mkdir", "chdir", "access", "statfs")])
    show("faults", call("stat", T, 1), call("readlink", T + b"/deep/link", 1, 10), call("statx", CWD, T, 0, 0xFFF, 1))


def changing() -> None:
    arguments: list[tuple[str, Arguments]] = [
        ("mkdir", (0o755,)), ("rmdir", ()), ("unlink", ()), ("mknod", (0o100644, 0)), ("truncate", (0,)), ("truncate", (-1,)),
        ("chmod", (0o644,)), ("chown", (0, 0)), ("lchown", (0, 0)), ("utime", (0,)), ("utimes", (0,)),
        ("setxattr", (b"user.a", b"x", 1, 0)), ("setxattr", (b"", b"x", 1, 0)), ("setxattr", (b"user.a", b"x", 1, 99)),
        ("lsetxattr", (b"user.a", b"x", 1, 0)), ("removexattr", (b"user.a",)),
    ]  # fmt: skip
    for name, more in arguments:
        each(f"{name} {more[:1]}", lambda path, n=name, a=more: call(n, path, *a))
    for flags in (0, 0x200, 0x400):
        each(f"unlinkat {flags:x}", lambda path, f=flags: call("unlinkat", CWD, path, f))
    host, missing, new = OTHER + b"/host", OTHER + b"/missing", OTHER + b"/new"
    open(host, "w").close()
    for old in (b"/big", b"/none", b"/deep", b"/none/x", b"/deep/link", b"/loop/x", b"/big/", b"/deep/.", b"/deep/..", b"/empty"):
        show("out", old, call("link", T + old, new), call("rename", T + old, new))
        for to in (b"/big", b"/new", b"/deep", b"/none/x", b"/deep/new", b"/new/", b"/deep/.", b"/deep/..", b"/deep/a/q"):
            show("link", old, to, call("link", T + old, T + to), call("linkat", CWD, T + old, CWD, T + to, 0x400))
            show("linkat", old, to, call("linkat", CWD, T + old, CWD, T + to, 0x100))
            show("rename", old, to, call("rename", T + old, T + to))
            show("renameat2", old, to, [call("renameat2", CWD, T + old, CWD, T + to, flags) for flags in (1, 2, 3)])
            show("symlink", to, call("symlink", old, T + to), call("symlink", b"", T + to))
            show("in", to, [call(c, path, T + to) for c in ("rename", "link") for path in (host, missing)])


def relative() -> None:
    os.chdir(T + b"/deep")
    here = len(os.getcwdb())
    results = [call("getcwd", buffer, size) for size in (0, 1, here - 1, here, here + 1, here + 2, 65536)]
    show("getcwd", [result - here if isinstance(result, int) else result for result in results], call("getcwd", 0, 4096))
    for name in (b"", b".", b"..", b"./", b"../", b"f1", b"f1/", b"./../deep/f1"):
        calls: dict[str, Arguments] = {
            "stat": (buffer,),
            "readlink": (buffer, 9),
            "mkdir": (0,),
            "rmdir": (),
            "unlink": (),
            "access": (0,),
        }
        show("relative", name, [call(c, name, *more) for c, more in calls.items()])
    os.chdir("/")


for subject in (asking, opening, by_descriptor, changing, relative):
    subject()
