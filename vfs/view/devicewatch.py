"""DeviceWatch: what happens to devices when nobody calls.

That the last process has closed one, nobody tells us: it is looked at twice a second, and then partitions may be others. What was
written, and is not durable, is made so after some seconds, as the kernel writes back what disks are given.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from vfs.api import message
from vfs.view.devices import DeviceNodes

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

INTERVAL: Final = 0.5
FLUSH_AFTER: Final = 5.0
"""Seconds."""


class DeviceWatch:
    """A worker that lives while devices are mounted."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.running = False

    def begin(self) -> None:
        """A device was mounted. The turn is held."""
        if not self.running:
            self.running = True
            self.supervisor.workers.start(self.run)

    def run(self) -> None:
        flushed = time.monotonic()
        while self.running:
            time.sleep(INTERVAL)
            with self.supervisor.workers.turn:
                devices = self.supervisor.devices()
                self.running = bool(devices)
                self.supervisor.sweep_devices()
                self.supervisor.refresh_devices()
            if time.monotonic() > flushed + FLUSH_AFTER:
                flushed = time.monotonic()
                for nodes in devices:
                    self.flush(nodes)

    def flush(self, nodes: DeviceNodes) -> None:
        """Without the turn: it may take its time."""
        if not nodes.dirty:
            return
        nodes.dirty = False
        try:
            nodes.device.flush()
        except (OSError, ValueError) as error:  # ValueError: it was closed meanwhile
            self.supervisor.say(f"{nodes.type}: {message(error)}")
