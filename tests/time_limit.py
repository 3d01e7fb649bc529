"""A limit of time on a piece of a test."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


class TooLong(BaseException):
    """Not an Exception: nothing may catch it on the way."""


@contextlib.contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Fails where the body takes longer."""

    def stop(number: int, frame: object) -> None:
        raise TooLong(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
