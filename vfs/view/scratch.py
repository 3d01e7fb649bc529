"""The scratch directory of a supervisor: what must be real on the host for the kernel to work with it.

It holds nothing that lasts. A cleaner of the temporary directory may take it away: then it is made again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable


def new_directory(prefix: str) -> bytes:
    """A directory of our own in the first place for temporary files that takes it, as tempfile.mkdtemp makes it: importing that
    takes longer than all the rest of a start."""
    error: OSError | None = None
    places = [os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")]
    for place in (*filter(None, places), "/tmp", "/var/tmp"):
        path = os.path.join(os.path.abspath(place), prefix + os.urandom(5).hex())
        try:
            os.mkdir(path, 0o700)
            return os.fsencode(path)
        except OSError as failed:
            error = error or failed
    assert error is not None
    raise error


def remove_tree(path: bytes) -> None:
    import shutil

    shutil.rmtree(path, ignore_errors=True)


class Scratch:
    def __init__(self) -> None:
        self.path = new_directory("umview-")
        os.chmod(self.path, 0o711)  # sockets and fifos are reached through it by all users of the view
        self.programs: dict[bytes, bytes] = {}
        """What was executed -> the directory with links to it."""

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
        os.mkdir(path)
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
