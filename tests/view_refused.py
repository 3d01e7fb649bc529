"""Calls of the administrator and of sandboxes on virtual places: what each says is printed. Run as `view_refused.py MOUNT`, where
README is a regular file and docs a directory."""

from __future__ import annotations

import array
import ctypes
import errno
import os
import socket
import struct
import sys

from vfs.view.kernel.machine import current

M = os.fsencode(sys.argv[1])
FILE, DIRECTORY, NONE = M + b"/README", M + b"/docs", M + b"/none"
CWD = -100
libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: int | bytes | None) -> int:
    """The result, or -errno."""
    words = [ctypes.c_char_p(a) if isinstance(a, bytes | None) else ctypes.c_long(a) for a in arguments]
    result = int(libc.syscall(current().calls[name], *words, *[ctypes.c_long(0)] * (6 - len(words))))
    return result if result >= 0 else -ctypes.get_errno()


def show(name: str, *arguments: int | bytes | None, what: str = "") -> None:
    result = call(name, *arguments)
    print(name, what or "-", errno.errorcode[-result] if result < 0 else result, flush=True)


file, directory = os.open(FILE, os.O_RDONLY), os.open(DIRECTORY, os.O_RDONLY)
for name, path in (("file", FILE), ("directory", DIRECTORY), ("none", NONE)):
    show("swapon", path, 0, what=name)
    show("swapoff", path, what=name)
    show("acct", path, what=name)
    show("quotactl", 0x80000700, path, 0, 0, what=name)  # Q_GETFMT
show("quotactl_fd", file, 0x80000700, 0, 0)
show("uselib", FILE)
show("open_by_handle_at", directory, struct.pack("<Ii8s", 8, 1, b"12345678"), 0)
show("io_uring_setup", 1, bytes(200))
show("io_setup", 1, bytes(8))

group = call("fanotify_init", 0, 0)
if group >= 0:
    for flags in (1, 5):  # FAN_MARK_ADD, with DONT_FOLLOW
        show("fanotify_mark", group, flags, 0x20, CWD, FILE, what=f"name {flags}")
    show("fanotify_mark", group, 1, 0x20, directory, None, what="descriptor")
    show("fanotify_mark", group, 1, 0x20, CWD, NONE, what="none")
    show("fanotify_mark", group, 1, 0x20, CWD, b"/", what="host")

for command, name in ((6, "pin"), (7, "get")):
    where = ctypes.create_string_buffer(NONE if name == "pin" else FILE)
    show("bpf", command, struct.pack("<QIIi", ctypes.addressof(where), 0, 0, 0), 20, what=name)

ruleset = call("landlock_create_ruleset", struct.pack("<Q", 4), 8, 0)  # LANDLOCK_ACCESS_FS_READ_FILE
if ruleset >= 0:
    for what, parent in (("virtual", directory), ("file", file), ("host", os.open("/usr", os.O_PATH)), ("none", 999)):
        show("landlock_add_rule", ruleset, 1, struct.pack("<Qi", 4, parent), 0, what=what)
    show("landlock_add_rule", file, 1, struct.pack("<Qi", 4, directory), 0, what="no ruleset")

# Another process of the view fetches a virtual descriptor. The child tells its number.
here, there = socket.socketpair()
child = os.fork()
if not child:
    big = os.open(M + b"/" + os.fsencode(sys.argv[2]), os.O_RDONLY)
    there.send(struct.pack("i", big))
    there.recv(1)
    os._exit(0)
number = struct.unpack("i", here.recv(4))[0]
fetched = call("pidfd_getfd", os.pidfd_open(child), number, 0)
print(
    "fetched", len(os.pread(fetched, 1 << 24, 0)), os.pread(fetched, 4, 0) == array.array("B", (0x7F, 0x45, 0x4C, 0x46)).tobytes()
)
here.send(b"x")
os.waitpid(child, 0)
