"""Workers: threads that wait in the loop's place.

Handlers run one at a time, in the loop (`vfs.view.kernel.loop`); while one runs, every process of the view waits. So what may
wait for somebody (a network, a prompt, a file system that a process of this very view serves) happens inside `outside`:

* in the loop it raises `Postponed`. The handler is left at once, and a worker asks it again from the start: up to there it must
  not have changed anything that it would not find changed;
* in a worker it lays down the turn, does its work, and takes the turn again. Between, other calls are answered: what the handler
  had looked at before may have changed, as between any two calls.

What belongs to one call (which view is asked) is captured and restored by the two functions given.

When the caller was killed meanwhile, `undo` takes back what the work has given, and the handler is left by `Abandoned`.
"""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from vfs.view.kernel.loop import Handler, Postponed, complete, report
from vfs.view.kernel.notify import Call

LIMIT = 256
"""Threads; further calls wait until one is free."""

T = TypeVar("T")


class Abandoned(BaseException):
    """The caller is no more: nobody wants the rest."""


class _Job(threading.local):
    """What a thread is doing. *call*: it is a worker, and answers this one; *outside*: it has laid down the turn."""

    call: Call | None = None
    outside = False


class Workers:
    """The workers of one supervisor. *capture* and *restore*: what handlers find set for the call that they answer."""

    def __init__(self, capture: Callable[[], Any], restore: Callable[[Any], None], limit: int = LIMIT) -> None:
        self.turn = threading.Lock()
        """Held by whoever runs a handler, or touches what handlers touch."""
        self.capture, self.restore, self.limit = capture, restore, limit
        self.waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.count = threading.Lock()
        self.threads = self.idle = 0
        self.job = _Job()
        self.loop: int | None = None
        self.handlers: list[Handler] = []
        self.on_error: Callable[[Call, Exception], None] = report

    @contextmanager
    def serving(self, handlers: list[Handler], on_error: Callable[[Call, Exception], None]) -> Iterator[None]:
        """This thread is the loop."""
        self.handlers, self.on_error = handlers, on_error
        self.loop = threading.get_ident()
        try:
            yield
        finally:
            self.loop = None

    @property
    def in_loop(self) -> bool:
        return threading.get_ident() == self.loop

    def postpone(self, call: Call) -> None:
        """A worker answers the call. The turn is held."""
        context = self.capture()
        self.start(lambda: self.answer(call, context))

    def start(self, work: Callable[[], None]) -> None:
        """A worker does it when one is free."""
        with self.count:
            self.waiting.put(work)
            if self.waiting.qsize() <= self.idle or self.threads >= self.limit:
                return
            self.threads += 1
        threading.Thread(target=self.run, name="worker", daemon=True).start()

    def unsignalled(self, work: Callable[[], object]) -> Callable[[], None]:
        """The same for a thread of its own: signals are for the loop."""

        def run() -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            work()

        return run

    def run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are for the loop
        while True:
            with self.count:
                self.idle += 1
            work = self.waiting.get()
            with self.count:
                self.idle -= 1
            work()

    def answer(self, call: Call, context: Any) -> None:
        if not call.valid():
            return
        self.job.call = call
        try:
            with self.turn:
                self.restore(context)
                complete(call, self.handlers[call.nr], self.on_error)
        except Abandoned:
            pass
        except Exception as error:
            self.on_error(call, error)
        finally:
            self.job.call = None

    # ---------------------------------------------------------------- for handlers

    def aside(self) -> None:
        """From here on in a worker. `Postponed` in the loop."""
        if self.in_loop:
            raise Postponed

    def outside(self, work: Callable[[], T], undo: Callable[[T], object] | None = None, abandon: bool = True) -> T:
        """Do *work*, which may wait and touches nothing of the view's. See above. In threads that are neither the loop nor a
        worker it is simply done. *abandon*: the handler goes no further when the caller was killed."""
        job = self.job
        call = job.call
        if call is None or job.outside:
            self.aside()
            return work()
        context = self.capture()
        job.outside = True
        self.turn.release()
        try:
            result = work()
        finally:
            self.turn.acquire()
            job.outside = False
            self.restore(context)
        if abandon and not call.valid():
            if undo:
                self.later(lambda: undo(result))
            raise Abandoned
        return result

    def later(self, work: Callable[[], object]) -> None:
        """Do it some time, without the turn; a failure is nobody's."""

        def quietly() -> None:
            try:
                work()
            except Exception:
                pass

        self.start(quietly)
