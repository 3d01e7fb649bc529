"""Waiting for the next request.

pyfuse3 waits with `trio.lowlevel.wait_readable` before it reads each request: two system calls to register and forget the
descriptor, one to wait, and two passes of the event loop, some 30 µs. While a program walks a tree the next request comes a few
microseconds after the last answer, and there is nothing else for the loop to do. So here the thread itself waits, and only
when nothing comes for a moment, or after many requests in a row, does it go back to the loop, which then sees to signals
and to whatever else there may be.

Nor does the thread sleep at once. A processor that falls idle takes 20 to 50 µs to be woken (in a virtual machine it is left
to the host), several times what an answer takes, and so each request would pay it twice: for us, and for the program that
asked. So we look for the next request some LOOKS times before we sleep. Looking in vain costs a tenth of a millisecond
of processor time: after each time in vain we sleep at once for the next 1, 3, 7 … requests, which makes it rare where it does
not pay (a program that asks now and then, processors that are all busy), and where we may use one processor only we never look.

pyfuse3 lets its event loop be replaced (`pyfuse3.asyncio` does it with asyncio): it uses whatever its attribute `trio` is.
`install` puts a `trio` there whose waiting is this. Nothing that this module leaves alone changes.
"""

from __future__ import annotations

import os
import select
from collections.abc import Awaitable, Generator
from typing import Any

import pyfuse3
import trio

LOOKS = 100
"""How often we look before we sleep; once takes about a microsecond."""

RAREST = 8
"""2 to this power is the number of requests after which we look again in any case."""

PATIENCE = 5
"""Milliseconds to sleep in the thread itself before the event loop is asked to."""

IN_A_ROW = 512
"""Requests served before the loop gets a turn in any case: some 20 ms."""

SLEPT = 8
"""One before which we slept counts as so many: 64 of them take 320 ms at most."""


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


class Looking:
    """Whether looking pays. Knows only what happened the last times."""

    __slots__ = ("_possible", "_skipped", "_vain")

    def __init__(self, processors: int) -> None:
        self._possible = processors > 1
        self._vain = 0
        """How often in succession we looked in vain."""
        self._skipped = 0
        """How many requests more we sleep at once for."""

    def __call__(self, ready: select.poll) -> bool:
        """Look for a while, unless it does not pay. Whether there is a request."""
        if self._skipped or not self._possible:
            self._skipped -= self._possible
            return False
        poll = ready.poll
        for _ in range(LOOKS):
            if poll(0):
                self._vain = 0
                return True
        self._vain = min(self._vain + 1, RAREST)
        self._skipped = (1 << self._vain) - 1
        return False


class _Lowlevel:
    """`trio.lowlevel` with another `wait_readable`."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._watched = -1
        self._in_a_row = 0
        self._looked = Looking(len(os.sched_getaffinity(0)))

    def __getattr__(self, name: str) -> Any:
        return getattr(trio.lowlevel, name)

    def wait_readable(self, fd: int) -> Awaitable[None]:
        if fd != self._watched:
            self._poll.register(fd, select.POLLIN)
            self._watched = fd
        if self._in_a_row < IN_A_ROW:
            if self._looked(self._poll):
                self._in_a_row += 1
                return DONE
            if self._poll.poll(PATIENCE):
                self._in_a_row += SLEPT
                return DONE
        self._in_a_row = 0
        return trio.lowlevel.wait_readable(fd)


class _Trio:
    """`trio` as pyfuse3 sees it."""

    Lock = _Unlocked

    def __init__(self) -> None:
        self.lowlevel = _Lowlevel()

    def __getattr__(self, name: str) -> Any:
        return getattr(trio, name)


def install() -> None:
    """Make pyfuse3 wait as told above. Only for one serving task whose handlers never wait."""
    pyfuse3.trio = _Trio()  # type: ignore[attr-defined]
