"""One task on a mount, timed from inside: prints milliseconds. Used by bench/ext.py: `ext_worker.py TASK MOUNTPOINT NAMES`."""

import os
import sys
import time


def walk(top: str, names: list[str]) -> None:
    """Every directory listed, every entry's attributes asked for."""
    pending = [top]
    while pending:
        path = pending.pop()
        for name in os.listdir(path):
            child = f"{path}/{name}"
            if os.lstat(child).st_mode >> 12 == 4:
                pending.append(child)


def lstat(top: str, names: list[str]) -> None:
    for name in names:
        os.lstat(name)


def read(top: str, names: list[str]) -> None:
    for name in names:
        descriptor = os.open(name, os.O_RDONLY)
        while os.read(descriptor, 65536):
            pass
        os.close(descriptor)


def describe() -> None:
    """Every entry below the current directory, as JSON: path, mode, uid, gid, size, blocks, links, inode, rdev, time, target."""
    import json

    found = []
    pending = [""]
    while pending:
        above = pending.pop()
        for name in os.listdir(above or "."):
            path = f"{above}{name}"
            s = os.lstat(path)
            kind = s.st_mode >> 12
            target = os.readlink(path) if kind == 10 else ""
            times = s.st_mtime_ns
            found.append(
                [path, s.st_mode, s.st_uid, s.st_gid, s.st_size, s.st_blocks, s.st_nlink, s.st_ino, s.st_rdev, times, target]
            )
            if kind == 4:
                pending.append(path + "/")
    print(json.dumps(found))


def main() -> None:
    task, top, listed = sys.argv[1:]
    os.chdir(top)
    if task == "describe":
        describe()
        return
    with open(listed, errors="surrogateescape") as file:
        names = file.read().split("\0")
    start = time.perf_counter()
    {"walk": walk, "lstat": lstat, "read": read}[task](".", names)
    print((time.perf_counter() - start) * 1e3)


main()
