"""Waiting for the next request, or for a signal, without the cost of an event loop for each.

The thread that serves does not sleep at once. A processor that falls idle takes 20 to 50 µs to be woken (in a virtual machine
it is left to the host), several times what an answer takes, and so each request would pay it twice: for us, and for the program
that asked. While a program walks a tree the next request comes a few microseconds after the last answer. So we look for it
some LOOKS times before we sleep. Looking in vain costs a tenth of a millisecond of processor time: after each time in vain we
sleep at once for the next 1, 3, 7 … requests, which makes it rare where it does not pay (a program that asks now and
then, processors that are all busy), and where we may use one processor only we never look.
"""

from __future__ import annotations

import os
import select

LOOKS = 100
"""How often we look before we sleep; once takes about a microsecond."""

RAREST = 8
"""2 to this power is the number of requests after which we look again in any case."""


class Readiness:
    """Waits on one descriptor of requests."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._watched = -1
        self._signals = -1
        self._possible = len(os.sched_getaffinity(0)) > 1
        self._vain = 0
        """How often in succession we looked in vain."""
        self._skipped = 0
        """For how many requests more we sleep at once."""

    def watch_signals(self, fd: int) -> None:
        """Wake for what comes out of this pipe, too."""
        self._signals = fd
        self._poll.register(fd, select.POLLIN)

    def wait(self, fd: int) -> bool:
        """Wait until *fd* has a request, or has failed: true; or until a signal has come: false."""
        if fd != self._watched:
            self._poll.register(fd, select.POLLIN)
            self._watched = fd
        ready = self._look() or self._poll.poll()
        if len(ready) == 1 and ready[0][0] == fd:
            return True
        os.read(self._signals, 64)
        return False

    def _look(self) -> list[tuple[int, int]]:
        """Look for a while, unless it does not pay."""
        if not self._possible:
            return []
        if self._skipped:
            self._skipped -= 1
            return []
        poll = self._poll.poll
        for _ in range(LOOKS):
            ready = poll(0)
            if ready:
                self._vain = 0
                return ready
        self._vain = min(self._vain + 1, RAREST)
        self._skipped = (1 << self._vain) - 1
        return []
