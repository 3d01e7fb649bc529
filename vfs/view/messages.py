"""Lines for people, written to descriptors that may be anything."""

from __future__ import annotations

import os
import select


def tell(descriptor: int, text: str) -> None:
    """Write *text* to a descriptor. Never waits: a full pipe, a stopped terminal or one that nobody reads gets nothing."""
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        if any(event & select.POLLOUT for _, event in poll.poll(0)):
            os.write(descriptor, text.encode(errors="backslashreplace")[: select.PIPE_BUF])
    except OSError:
        pass
