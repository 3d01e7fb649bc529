"""A supervisor with a few virtual names: `python view_kernel_supervisor.py COMMAND...`.  For test_view_kernel_*.py.

/virtual/file (26 bytes) and /virtual/high (the same at a high descriptor) can be opened; /virtual/dir is /usr, for chdir;
/virtual/echo executes /bin/echo; access of /virtual/end ends the tree.  stat of bug, text, huge: the handler is mistaken;
of later, never, parked, release: see below.  lseek(SEEK_DATA) moves the offset by 1000; sendmsg tells what it passes.
"""

import errno
import os
import sys
import threading

from vfs.view.kernel import abi, memory, structs
from vfs.view.kernel.filter import Filter
from vfs.view.kernel.loop import serve, table
from vfs.view.kernel.notify import CONTINUE, DONE, Call
from vfs.view.kernel.start import CannotStart, launch

HIGH = 600
CONTENT = b"content of a virtual file\n"


class Supervisor:
    """A few virtual names."""

    def __init__(self) -> None:
        self.filter = Filter()
        self.parked: list[Call] = []
        self.handlers = {
            "stat": self.stat(0, 1),
            "lstat": self.stat(0, 1),
            "newfstatat": self.stat(1, 2),
            "statx": self.stat(1, 4, extended=True),
            "access": self.stat(0, None),
            "faccessat": self.stat(1, None),
            "faccessat2": self.stat(1, None),
            "open": self.open(0, 1),
            "openat": self.open(1, 2),
            "chdir": self.chdir,
            "execve": self.execve,
            "lseek": self.lseek,
            "sendmsg": self.sendmsg,
            "getppid": lambda call: 42,
        }
        self.filter.trap(*(name for name in self.handlers if name not in ("lseek",)))
        self.filter.trap_empty_path("newfstatat", 3, HIGH)
        self.filter.trap_lseek(3)
        memfd = os.memfd_create("virtual")
        os.write(memfd, CONTENT)
        self.memfd = memfd

    def stat(self, path, buffer, extended=False):
        def handler(call):
            name = call.string(path)
            if not name.startswith(b"/virtual/"):
                return CONTINUE
            name = name[9:]
            if name == b"bug":
                raise ZeroDivisionError
            if name in (b"text", b"huge"):
                return "text" if name == b"text" else 1 << 70
            if name == b"file/":
                return -errno.ENOTDIR
            if name in (b"later", b"never"):
                self.parked += [call.copy()] if name == b"later" else []
                return DONE
            if name == b"end":
                self.tree.end()
                return 0
            if name == b"parked" and self.parked:
                return 0
            if name == b"release":
                threading.Thread(target=lambda: [parked.reply(0) for parked in self.parked]).start()
                return 0
            if name != b"file":
                raise OSError(errno.ENOENT, "no such virtual name")
            if buffer is not None:
                ns = 1234567890123456789
                fields = (1, 77, 0o100640, 1, 0, 0, 0, len(CONTENT), 4096, 8, ns, ns, ns)
                text = structs.pack_statx(abi.STATX_BASIC_STATS, *fields) if extended else structs.pack_stat(*fields)
                call.write(call.args[buffer], text)
            return 0

        return handler

    def open(self, path, flags):
        def handler(call):
            name = call.string(path)
            if not name.startswith(b"/virtual/"):
                return CONTINUE
            if name not in (b"/virtual/file", b"/virtual/high"):
                return -errno.ENOENT
            fd = os.open(f"/proc/self/fd/{self.memfd}", os.O_RDONLY)
            try:
                number = HIGH if name == b"/virtual/high" else None
                return call.add_fd(fd, number, bool(call.args[flags] & os.O_CLOEXEC))
            finally:
                os.close(fd)

        return handler

    def chdir(self, call):
        name = call.string(0)
        if not name.startswith(b"/virtual/"):
            return CONTINUE
        with call.stop() as stopped:
            if name == b"/virtual/bugdir":
                raise OSError(errno.ENOTDIR, "a failure while it is held")
            target = b"/usr\0" if name == b"/virtual/dir" else b"/virtual-nowhere\0"
            at, size = stopped.scratch(lambda _: target)
            result = stopped.syscall("chdir", at, 0, 0, 0, 0, self.filter.cookie)
            stopped.syscall("munmap", at, size)
            return stopped.finish(result)

    def execve(self, call):
        name = call.string(0)
        if not name.startswith(b"/virtual/"):
            return CONTINUE
        if name != b"/virtual/echo":
            return -errno.ENOENT
        memory.read_pointers(call.tid, call.args[1])
        with call.stop() as stopped:
            at, _ = stopped.scratch(lambda _: b"/bin/echo\0")
            return stopped.again(call.nr, (at, *call.args[1:5], self.filter.cookie))

    def lseek(self, call):
        fd = call.get_fd(call.args[0])
        try:
            return os.lseek(fd, 1000 + call.args[1], os.SEEK_SET)
        finally:
            os.close(fd)

    def cleanup(self):
        """When the supervisor was killed."""
        if "CLEANED" in os.environ:
            os.makedirs(os.environ["CLEANED"], exist_ok=True)

    def sendmsg(self, call):
        passed = list(call.passed())
        if passed:
            print("passed", passed, file=sys.stderr, flush=True)
        return CONTINUE


def main() -> None:
    supervisor = Supervisor()
    try:
        supervisor.tree = tree = launch(supervisor.filter, sys.argv[1:], cleanup=supervisor.cleanup)
    except CannotStart as error:
        sys.exit(f"umview: {error}")
    serve(tree.listener, table(supervisor.handlers))
    sys.exit(tree.wait())


if __name__ == "__main__":
    main()
