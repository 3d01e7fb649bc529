"""The loop that serves one request after another: trio's place taken, where nothing ever waits.

Handlers that never wait need no event loop. pyfuse3 lets its own be replaced (`pyfuse3.asyncio` does it with asyncio): it uses
whatever its attribute `trio` is. `Loop` is what pyfuse3 asks of it, for one task whose coroutines never suspend, and so are run
to their end by one step. It waits in the serving thread itself (see `readiness`), for a request or for a signal.

File systems that may wait long are served by trio itself (`threaded`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from vfs.fuse.library import pyfuse3
from vfs.fuse.readiness import Readiness


class _Done:
    """What is awaited when there is nothing to wait for. Cheaper than a coroutine, of which each request would make four."""

    def __await__(self) -> Generator[Any, Any, None]:
        return NEVER  # type: ignore[no-any-return]


NEVER: Any = iter(())
DONE = _Done()


class _Unlocked:
    """The lock that pyfuse3's tasks take to wait one after another. With one task there is nothing to lock."""

    def __aenter__(self) -> Awaitable[None]:
        return DONE

    def __aexit__(self, *error: object) -> Awaitable[None]:
        return DONE


class _Nursery:
    """Runs the one task when its block ends."""

    def __init__(self) -> None:
        self._tasks: list[Coroutine[Any, Any, None]] = []

    async def __aenter__(self) -> _Nursery:
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            await task

    def start_soon(self, function: Callable[..., Coroutine[Any, Any, None]], *arguments: object, name: str = "") -> None:
        self._tasks.append(function(*arguments))


class Loop:
    """`trio` and `trio.lowlevel` as pyfuse3 sees them, and the loop of one mount."""

    Lock = _Unlocked

    class ClosedResourceError(Exception):
        """The loop is to end."""

    name = "pyfuse3"

    def __init__(self, ending: Iterable[int]) -> None:
        """*ending*: the signals that end the loop as unmounting does."""
        self.lowlevel = self
        self.open_nursery = _Nursery
        self._ending = frozenset(ending)
        self._soon: list[Callable[[], object]] = []
        self._readiness = Readiness()
        self._closing = False

    def soon(self, call: Callable[[], object]) -> None:
        """Call this when the request that is being served has been answered."""
        self._soon.append(call)

    def run(self) -> None:
        """Serve until the mount has ended, or one of the signals comes. They may be blocked until here."""
        pyfuse3.trio = self  # type: ignore[attr-defined]
        with self._signals():
            try:
                pyfuse3.main(1, 1).send(None)
            except StopIteration:
                return
        raise RuntimeError("a handler waits")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals wake the loop through a pipe: Python's handler alone would let an interrupted wait go on."""
        receive, send = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._readiness.watch_signals(receive)
        before = signal.set_wakeup_fd(send, warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, self._end) for number in self._ending}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._ending)
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)
            os.close(receive)
            os.close(send)

    def _end(self, number: int, frame: object) -> None:
        self._closing = True

    # ---------------------------------------------------------------- what pyfuse3 asks for

    def current_task(self) -> Loop:
        return self

    def current_trio_token(self) -> Loop:
        return self

    def notify_closing(self, fd: int) -> None:
        self._closing = True

    def wait_readable(self, fd: int) -> Awaitable[None]:
        while self._soon:
            self._soon.pop(0)()
        while not self._readiness.wait(fd):
            if self._closing:
                self._close()
        return DONE

    def _close(self) -> NoReturn:
        raise self.ClosedResourceError
