"""Waiting for the next request.

pyfuse3 waits with `trio.lowlevel.wait_readable` before it reads each request: two system calls to register and forget the
descriptor, one to wait, and two passes of the event loop, some 30 µs. While a program walks a tree the next request comes a few
microseconds after the last answer, and there is nothing else for the loop to do. So here the thread itself waits a moment,
in one poll(2); only when nothing comes, or after many requests in a row, does it go back to the loop, which
then sees to signals and to whatever else there may be.

pyfuse3 lets its event loop be replaced (`pyfuse3.asyncio` does it with asyncio): it uses whatever its attribute `trio` is.
`install` puts a `trio` there whose waiting is this. Nothing that this module leaves alone changes.
"""

from __future__ import annotations

import select
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pyfuse3
import trio

PATIENCE = 5
"""Milliseconds to wait in the thread itself before the event loop is asked to."""

IN_A_ROW = 64
"""Requests served before the loop gets a turn in any case."""


class _Done:
    """What is awaited when there is nothing to wait for. Cheaper than a coroutine, of which each request would make four."""

    def __await__(self) -> Generator[Any, Any, None]:
        return NEVER  # type: ignore[no-any-return]


NEVER: Any = iter(())
DONE = _Done()


class _Unlocked:
    """The lock that pyfuse3's tasks take to wait one after another. With one task there is nothing to lock, and trio's own
    makes each request a pass of the loop."""

    def __aenter__(self) -> Awaitable[None]:
        return DONE

    def __aexit__(self, *error: object) -> Awaitable[None]:
        return DONE


class _Lowlevel:
    """`trio.lowlevel` with another `wait_readable`."""

    def __init__(self, idle: Callable[[], None]) -> None:
        self._poll = select.poll()
        self._watched = -1
        self._in_a_row = 0
        self._idle = idle

    def __getattr__(self, name: str) -> Any:
        return getattr(trio.lowlevel, name)

    def wait_readable(self, fd: int) -> Awaitable[None]:
        if fd != self._watched:
            self._poll.register(fd, select.POLLIN)
            self._watched = fd
        if self._in_a_row < IN_A_ROW:
            if self._poll.poll(PATIENCE):
                self._in_a_row += 1
                return DONE
            self._idle()
        self._in_a_row = 0
        return trio.lowlevel.wait_readable(fd)


class _Trio:
    """`trio` as pyfuse3 sees it."""

    Lock = _Unlocked

    def __init__(self, idle: Callable[[], None]) -> None:
        self.lowlevel = _Lowlevel(idle)

    def __getattr__(self, name: str) -> Any:
        return getattr(trio, name)


def install(idle: Callable[[], None]) -> None:
    """Make pyfuse3 wait as told above. Only for one serving task whose handlers never wait. *idle* is called whenever no
    request has come for a moment."""
    pyfuse3.trio = _Trio(idle)  # type: ignore[attr-defined]
