"""A new image, which gets its name when it is complete.

Some formats are several files, and name them by the image's own name. So a new image is made in a directory of its own beside its
place, under its final name; all files are then moved, the image itself last.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from vfs.api.errors import fail, message
from vfs.api.storage import FileStorage, Storage, plain

ENDING = (signal.SIGTERM, signal.SIGHUP)


class NewFile(FileStorage):
    """A file of an image that is being made in the directory *work*. What it looks for beside itself may be there, or where it
    will be. Nobody relies on it before it has its name, so nothing is made durable."""

    def __init__(self, work: str, name: str, home: str) -> None:
        super().__init__(os.path.join(work, name), writable=True, create=True)
        self._work, self._home = work, home

    def beside(self, name: bytes, writable: bool = False, create: bool = False) -> Storage:
        text = os.fsdecode(plain(name))
        if create:
            return NewFile(self._work, text, self._home)
        place = self._work if os.path.lexists(os.path.join(self._work, text)) else self._home
        if writable and place == self._home:
            fail(errno.EACCES, f"{text}: belongs to another image")
        return FileStorage(os.path.join(place, text), writable)

    def flush(self) -> None:
        """Nothing."""


@contextmanager
def new_image(path: str, replace: bool) -> Iterator[NewFile]:
    """The file of a new image, which gets the name *path* when the block ends well; else nothing is left of it, also when this
    process is told to end. *replace*: what has this name is replaced. EEXIST; EBUSY: it is in use; EINVAL: it is no file."""
    home, name = os.path.split(os.path.realpath(path))
    if os.path.lexists(path):
        if not replace:
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        if not os.path.isfile(path):
            raise OSError(errno.EISDIR if os.path.isdir(path) else errno.EINVAL, "is not a file", path)
    # Chosen before it is made: a signal may come at any moment, and what it interrupts must know what to remove.
    work = os.path.join(home, f".vfs-{os.urandom(8).hex()}.tmp")
    with _ended_by_signals():
        try:
            try:
                if os.path.lexists(path):
                    FileStorage(path, writable=True).close()  # nobody has it open
                os.mkdir(work, 0o700)
            except OSError as error:
                raise OSError(error.errno, message(error), path) from None
            with NewFile(work, name, home) as storage:
                yield storage
            _move(work, home, name, replace)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _move(work: str, home: str, name: str, replace: bool) -> None:
    names = sorted(os.listdir(work), key=lambda each: (each == name, each))
    for each in names:
        if not replace and os.path.lexists(os.path.join(home, each)):
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), os.path.join(home, each))
    for each in names:
        os.rename(os.path.join(work, each), os.path.join(home, each))


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """In the block, signals that would end this process at once, end it by an exception."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
