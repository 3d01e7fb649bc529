"""What the guardian and the command's process tell the supervisor and the front, through pipes."""

import os
import struct
from enum import IntEnum
from typing import NamedTuple

_REPORT = struct.Struct("<ii")


class Kind(IntEnum):
    GUARDIAN = 1  # its pid
    COMMAND = 2  # the pid of the command's process
    LISTENER = 3  # its descriptor in the command's process
    REFUSED = 4  # the filter: errno
    ENDED = 5  # the command's wait status


class Report(NamedTuple):
    kind: int
    value: int


def send(pipe: int, kind: Kind, value: int) -> None:
    try:
        os.write(pipe, _REPORT.pack(kind, value))
    except BrokenPipeError:
        pass  # the reader has ended


def receive(pipe: int) -> Report | None:
    """The next one; None when no one is left to send any."""
    text = os.read(pipe, _REPORT.size)
    return Report(*_REPORT.unpack(text)) if len(text) == _REPORT.size else None
