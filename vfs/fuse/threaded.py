"""Serving file systems that may wait long: each request in a worker thread, so that others go on meanwhile. By trio."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, TypeVar, cast

import trio

from vfs.fuse.library import pyfuse3
from vfs.fuse.operations import Operations

Base = pyfuse3.Operations

TASKS = 20
"""Requests served at once."""

Result = TypeVar("Result")


def _threaded(handler: Callable[..., Coroutine[Any, Any, Result]]) -> Callable[..., Coroutine[Any, Any, Result]]:
    def run(*arguments: Any) -> Result:
        # These coroutines never wait: one step runs them to their end.
        try:
            handler(*arguments).send(None)
        except StopIteration as done:
            return cast(Result, done.value)
        raise RuntimeError(f"{handler.__name__} waits")

    async def request(*arguments: Any) -> Result:
        return await trio.to_thread.run_sync(run, *arguments)

    return request


REQUESTS = (
    *("lookup", "getattr", "readlink", "opendir", "readdir", "open", "read", "release", "statfs", "getxattr", "listxattr"),
    *("mknod", "mkdir", "symlink", "link", "create", "unlink", "rmdir", "rename", "setattr", "setxattr", "removexattr"),
    *("write", "flush", "fsync", "fsyncdir"),
)


def in_threads(operations: type[Operations]) -> type[Operations]:
    """The same handlers, each run in a worker thread."""
    own = {
        name: _threaded(getattr(operations, name)) for name in REQUESTS if getattr(operations, name) is not getattr(Base, name)
    }
    return type("ThreadedOperations", (operations,), own)


class TrioLoop:
    """What `vfs.fuse.loop.Loop` is where nothing waits."""

    def __init__(self, ending: Iterable[int]) -> None:
        self._ending = tuple(ending)
        self._nursery: trio.Nursery | None = None

    def soon(self, call: Callable[[], object]) -> None:
        """Call this when the request that is being served has been answered."""

        async def task() -> None:
            call()

        if self._nursery is not None:
            self._nursery.start_soon(task)

    def run(self) -> None:
        """Serve until the mount has ended, or one of the signals comes. They may be blocked until here."""
        pyfuse3.trio = trio  # type: ignore[attr-defined]
        trio.run(self._serve, strict_exception_groups=True)

    async def _serve(self) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            with trio.open_signal_receiver(*self._ending) as signals:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, self._ending)
                nursery.start_soon(_end_on, signals)
                await pyfuse3.main(1, TASKS)
                nursery.cancel_scope.cancel()


async def _end_on(signals: AsyncIterator[int]) -> None:
    async for _ in signals:
        pyfuse3.terminate()
