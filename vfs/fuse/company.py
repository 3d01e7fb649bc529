"""Serving on the processor of the program that asks.

Each request is two changes between processes. On two processors each of them wakes one that sleeps, which takes 20 to 50 µs,
several times what the answer takes; on one processor a change takes 2 µs. A program that asks one thing after the other (a walk,
a grep, a compiler) gains nothing from the second processor, since one of the two always waits. The kernel does not see
that: it wakes us where we ran last. So when one thread alone has asked for a while, we move to where it runs, and stay until
somebody else asks, nobody asks, or large pieces are read, which the kernel's read-ahead does while the program works.
"""

from __future__ import annotations

import os

STEADY = 32
"""Requests in a row by one thread before we follow it."""

RENEWED = 256
"""Requests after which we look again where it runs (a power of two)."""


class Company:
    """Follows whoever asks. All calls by the serving thread."""

    __slots__ = ("_asked", "_pid", "_processors", "_with")

    def __init__(self) -> None:
        self._pid = 0
        self._asked = 0
        self._with = -1
        """The processor we have moved to; -1: none."""
        self._processors = os.sched_getaffinity(0)

    def asked(self, pid: int) -> None:
        """The thread *pid* has asked for something."""
        if pid != self._pid:
            self._pid, self._asked = pid, 0
            if self._with >= 0:
                self.part()
            return
        self._asked += 1
        if self._asked & (RENEWED - 1) == STEADY:
            self._follow()

    def part(self) -> None:
        """Run anywhere again, until one thread has asked for a while."""
        self._asked = 0
        if self._with >= 0:
            self._with = -1
            self._move(self._processors)

    def _follow(self) -> None:
        processor = _processor(self._pid)
        if processor == self._with or processor not in self._processors or len(self._processors) == 1:
            return
        self._with = processor if self._move({processor}) else -1

    def _move(self, processors: set[int]) -> bool:
        try:
            os.sched_setaffinity(0, processors)
        except OSError:  # a processor has gone, or our set was changed from outside: what we know is out of date
            self._processors = os.sched_getaffinity(0)
            return False
        return True


def _processor(pid: int) -> int:
    """The processor on which a thread runs or ran last (proc(5), stat, field 39); -1 where it cannot be seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return int(file.read(4096).rpartition(b")")[2].split()[36])
    except (OSError, ValueError, IndexError):
        return -1
