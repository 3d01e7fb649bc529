"""What users may do in trees of random owners and modes: run as root on the host, and as virtual root in a mount of a view in
human mode, it has to print the same. Arguments: a directory, the first seed, how many."""

from __future__ import annotations

import os
import random
import stat
import struct
import sys
from collections.abc import Callable

IDS = [0, 1000, 1001, 1002]
MODES = [0o700, 0o750, 0o755, 0o711, 0o770, 0o777, 0o1777, 0o2775, 0o600, 0o640, 0o644, 0o666, 0o000, 0o444, 0o222, 0o111, 0o6755]

FLAGS = [os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_CREAT | os.O_WRONLY]
FLAGS += [os.O_CREAT | os.O_EXCL | os.O_RDWR, os.O_PATH, os.O_RDONLY | os.O_NOATIME]


def acl(chance: random.Random) -> bytes:
    """linux/posix_acl_xattr.h"""
    entries = [(0x01, chance.randrange(8), -1), (0x02, chance.randrange(8), 1001), (0x04, chance.randrange(8), -1)]
    entries += [(0x08, chance.randrange(8), 1002), (0x10, chance.randrange(8), -1), (0x20, chance.randrange(8), -1)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)


def build(chance: random.Random) -> None:
    """A small tree in the cwd."""
    for directory in ("a", "b", "a/c"):
        os.mkdir(directory)
    for name in ("f", "a/f", "a/g", "b/f", "a/c/f", "b/h"):
        with open(name, "w") as file:
            file.write("#!/bin/true\n")
    os.symlink("a/f", "l")
    for name in ("a/c/f", "a/c", "a/f", "a/g", "b/f", "b/h", "f", "a", "b"):
        os.chown(name, chance.choice(IDS), chance.choice(IDS))
        os.chmod(name, chance.choice(MODES))
        if chance.random() < 0.3:
            os.setxattr(name, "system.posix_acl_access", acl(chance))
    os.chmod(".", chance.choice([0o777, 0o1777, 0o755]))


def write(name: str, flags: int) -> None:
    os.close(os.open(name, flags | os.O_NONBLOCK, 0o640))  # there are fifos


def opened(name: str, action: Callable[[int], object], flags: int = os.O_RDONLY) -> None:
    """Do something with a descriptor; not of a fifo, which the view has for itself."""
    if stat.S_ISFIFO(os.stat(name).st_mode):
        return
    descriptor = os.open(name, flags | os.O_NONBLOCK)
    try:
        action(descriptor)
    finally:
        os.close(descriptor)


def actions(chance: random.Random) -> tuple[str, Callable[[], object]]:
    """One thing to try."""
    one, two = (
        chance.choice(["f", "a", "b", "a/f", "a/g", "a/c", "a/c/f", "b/f", "b/h", "l", "a/new", "b/new", "a/c/new", "new"])
        for _ in "12"
    )
    uid, gid, mode = chance.choice([-1, *IDS]), chance.choice([-1, *IDS]), chance.choice(MODES)
    flags = chance.choice(FLAGS)
    want, effective = chance.randrange(8), chance.random() < 0.5

    def look() -> object:
        found = os.lstat(one)
        size = found.st_size if stat.S_ISREG(found.st_mode) else 0
        return oct(found.st_mode), found.st_uid, found.st_gid, size

    every: dict[str, Callable[[], object]] = {
        f"open {one} {flags:o}": lambda: write(one, flags),
        f"look {one}": look,
        f"list {one}": lambda: sorted(os.listdir(one)),
        f"chdir {one}": lambda: (os.chdir(one), os.chdir(HERE)),
        f"access {one} {want} {effective}": lambda: os.access(one, want, effective_ids=effective),
        f"mkdir {one}": lambda: os.mkdir(one, mode & 0o777),
        f"rmdir {one}": lambda: os.rmdir(one),
        f"unlink {one}": lambda: os.unlink(one),
        f"rename {one} {two}": lambda: os.rename(one, two),
        f"symlink {one}": lambda: os.symlink("x", one),
        f"mkfifo {one}": lambda: os.mkfifo(one),
        f"chmod {one} {mode:o}": lambda: os.chmod(one, mode),
        f"chown {one} {uid} {gid}": lambda: os.chown(one, uid, gid),
        f"utime {one} then": lambda: os.utime(one, (1, 2)),
        f"utime {one} now": lambda: os.utime(one),
        f"truncate {one}": lambda: os.truncate(one, 3),
        f"acl {one}": lambda: os.setxattr(one, "system.posix_acl_access", acl(random.Random(mode))),
        f"link {one} {two}": lambda: os.link(one, two),
        f"fchmod {one} {mode:o}": lambda: opened(one, lambda fd: os.fchmod(fd, mode)),
        f"fchown {one} {uid} {gid}": lambda: opened(one, lambda fd: os.fchown(fd, uid, gid)),
        f"futimens {one}": lambda: opened(one, lambda fd: os.utime(fd, (1, 2))),
        f"attribute {one}": lambda: opened(one, lambda fd: os.setxattr(fd, "user.x", b"x")),
        f"fchdir {one}": lambda: opened(one, lambda fd: (os.fchdir(fd), os.chdir(HERE))),
        f"write {one}": lambda: opened(one, lambda fd: os.write(fd, b"#!"), os.O_WRONLY),
        f"trusted {one}": lambda: os.setxattr(one, "trusted.x", b"x"),
        f"exec {one}": lambda: os.spawnv(os.P_WAIT, "./" + one, [one]) if os.access(one, 0) else None,
    }
    name = chance.choice(list(every))
    return name, every[name]


def walk(seed: int) -> None:
    chance = random.Random(seed)
    build(chance)
    for _ in range(6):
        uid, gid, groups = chance.choice(IDS), chance.choice(IDS), chance.sample(IDS, chance.randrange(3))
        reals = chance.choice([uid, uid, uid, 0])
        todo = [actions(chance) for _ in range(12)]
        sys.stdout.flush()
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            continue
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(reals, uid, uid)
        for name, action in todo:
            try:
                result = action()
            except OSError as error:
                result = os.strerror(error.errno or 0)
            print(seed, (reals, uid), gid, groups, name, result)
        sys.stdout.flush()
        os._exit(0)


HERE = ""


def main() -> None:
    global HERE
    os.umask(0o022)
    top, first, count = sys.argv[1], *map(int, sys.argv[2:])
    for seed in range(first, first + count):
        HERE = f"{top}/{seed}"
        os.mkdir(HERE)
        os.chdir(HERE)
        walk(seed)


if __name__ == "__main__":
    main()
