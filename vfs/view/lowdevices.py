"""Devices at low descriptor numbers: `dd`, and what a shell redirects.

There the filter does not see them. Each gets a duplicate at a high number, its *shadow*, and the process is followed
(`kernel.follower`): its calls on the low number are made on the shadow.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, NamedTuple

from vfs.view.kernel.follower import Follower
from vfs.view.kernel.notify import Call
from vfs.view.kernel.processes import group_of
from vfs.view.kernel.tracing import tracer_of

if TYPE_CHECKING:
    from vfs.view.files import OpenFiles


class Shadow(NamedTuple):
    """*number*: the high one; *text*: the name, in /proc/PID/fd, of what both stand for."""

    number: int
    text: bytes


class LowDevices:
    """The shadows of all processes. Asked by the loop and by followers."""

    def __init__(self, files: OpenFiles, least: int) -> None:
        self.files, self.least = files, least
        self.lock = threading.Lock()
        self.shadows: dict[int, dict[int, Shadow]] = {}
        """By process, then by low number."""
        self.groups: dict[int, int] = {}
        """Threads of processes that are followed, and their process."""

    def add(self, call: Call, descriptor: int, low: int) -> None:
        """The task is about to have *descriptor*, ours and of a device, at number *low*. EPERM: somebody traces it."""
        pid = group_of(call.tid)
        text = os.readlink(b"/proc/self/fd/%d" % descriptor)
        followed = self.followed(call.tid)
        with self.lock:
            known = self.shadows.get(pid, {}).get(low)
        if followed or known is None or known.text != text:  # else it is asked again, interrupted
            number = call.add_fd(descriptor, self.files.free_number(call.tid, self.least), False, False)
            with self.lock:
                self.shadows.setdefault(pid, {})[low] = Shadow(number, text)
        if followed:
            return
        Follower(self, self.least).start(pid)

    # ---------------------------------------------------------------- what followers ask

    def group(self, tid: int) -> int:
        found = self.groups.get(tid)
        if found is None:
            found = self.groups[tid] = group_of(tid)
        return found

    def substitute(self, tid: int, number: int) -> int | None:
        if number >= self.least:
            return None
        with self.lock:
            mine = self.shadows.get(self.group(tid))
            shadow = mine.get(number) if mine else None
            if mine is None or shadow is None:
                return None
            if _text(tid, number) == shadow.text:
                return shadow.number
            del mine[number]  # something else is there by now
            return None

    def followed(self, tid: int) -> bool:
        tracer = tracer_of(tid)
        return bool(tracer) and os.path.exists(f"/proc/self/task/{tracer}")

    def wanted(self, tid: int) -> bool:
        with self.lock:
            return bool(self.shadows.get(self.group(tid)))

    def forked(self, parent: int, child: int) -> None:
        with self.lock:
            old, new = self.group(parent), self.group(child)
            if old != new and old in self.shadows:
                self.shadows[new] = dict(self.shadows[old])

    def shadow(self, tid: int, number: int) -> int | None:
        with self.lock:
            shadow = self.shadows.get(self.group(tid), {}).get(number)
            return shadow.number if shadow is not None else None

    def closed(self, tid: int, number: int, shadow: int) -> None:
        with self.lock:
            mine = self.shadows.get(self.group(tid), {})
            if number in mine and mine[number].number == shadow:  # not another's that has come meanwhile
                del mine[number]

    def lost(self, tid: int) -> list[int]:
        with self.lock:
            mine = self.shadows.get(self.group(tid), {})
            return [
                number for number, shadow in list(mine.items()) if _text(tid, number) == shadow.text != _text(tid, shadow.number)
            ]

    def renewed(self, tid: int, number: int, shadow: int) -> None:
        with self.lock:
            mine = self.shadows.get(self.group(tid), {})
            if number in mine:
                mine[number] = Shadow(shadow, mine[number].text)

    def ended(self, tid: int) -> None:
        with self.lock:
            self.groups.pop(tid, None)
            if not self.shadows.get(tid) or not os.path.exists(f"/proc/{tid}"):
                self.shadows.pop(tid, None)


def _text(tid: int, number: int) -> bytes:
    """What a task has at a number, as /proc names it; empty: nothing."""
    try:
        return os.readlink(b"/proc/%d/fd/%d" % (tid, number))
    except OSError:
        return b""
