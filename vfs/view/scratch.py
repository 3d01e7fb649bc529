"""The scratch directory of a supervisor: what must be real on the host for the kernel to work with it.

It holds nothing that lasts. A cleaner of the temporary directory may take it away: then it is made again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable


def temporary_place() -> str:
    """Where temporary files go, as tempfile.gettempdir finds it: importing that takes longer than most of a start. ENOENT."""
    given = [os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")]
    for place in (*filter(None, given), "/tmp", "/var/tmp"):
        if os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK):
            return os.path.abspath(place)
    raise FileNotFoundError(errno.ENOENT, "no directory for temporary files can be written to: set TMPDIR")


def remove_tree(path: bytes) -> None:
    import shutil

    shutil.rmtree(path, ignore_errors=True)


class Scratch:
    def __init__(self) -> None:
        self.path = os.fsencode(f"{temporary_place()}/umview-{os.urandom(5).hex()}")
        self.early: list[bytes] | None = []
        """Directories to be made at `begin`; `None` from then on."""
        self.programs: dict[bytes, bytes] = {}
        """What was executed -> the directory with links to it."""

    def begin(self) -> None:
        """Make the directory: not before all processes of the view are there, so that whoever is killed, another removes it."""
        os.mkdir(self.path, 0o700)
        os.chmod(self.path, 0o711)  # sockets and fifos are reached through it by all users of the view
        early, self.early = self.early or [], None
        for path in early:
            os.mkdir(path)

    def close(self) -> None:
        remove_tree(self.path)

    def made(self, make: Callable[..., None], path: bytes, *arguments: object) -> None:
        """Make something here, and that again if the directory is gone."""
        try:
            make(path, *arguments)
        except FileNotFoundError:
            os.mkdir(self.path, 0o711)
            make(path, *arguments)

    def removed_directory(self, name: bytes) -> int:
        """A descriptor of a new empty directory that has no name any more; /proc/PID/fd shows *name* as its last component."""
        path = self.path + b"/" + name
        self.made(os.mkdir, path)
        try:
            os.chmod(path, 0o755)  # whatever the umask: all processes of the view may change into it
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        finally:
            os.rmdir(path)

    def private_directory(self, name: bytes) -> bytes:
        """A directory of the view's own."""
        path = self.path + b"/" + name
        if self.early is None:
            os.mkdir(path)
        else:
            self.early.append(path)
        return path

    def copy_of(self, private: bytes, name: bytes) -> bytes:
        """Another such directory with the same content."""
        import shutil

        path = self.path + b"/" + name
        shutil.copytree(os.fsdecode(private), os.fsdecode(path))
        return path

    def discard(self, directories: Iterable[bytes]) -> None:
        for path in directories:
            remove_tree(path)

    def program_directory(self, target: bytes, name: bytes) -> int:
        """For exec: a new descriptor of a directory where *name* is a link to *target*."""
        path = self.programs.setdefault(target, self.path + b"/exec.%d" % len(self.programs))
        try:
            self.made(os.mkdir, path)
            os.chmod(path, 0o755)
        except FileExistsError:
            pass
        try:
            os.symlink(target, path + b"/" + name)
        except FileExistsError:
            pass
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def fifo(self, key: bytes) -> bytes:
        """The path of a real fifo that stands for a virtual one: two processes that open it meet in it."""
        path = self.path + b"/fifo." + key
        try:
            self.made(os.mkfifo, path)
            os.chmod(path, 0o666)
        except FileExistsError:
            pass
        return path

    def socket(self, key: bytes) -> bytes:
        """The path where the socket that stands for a virtual one is bound."""
        return self.path + b"/socket." + key
