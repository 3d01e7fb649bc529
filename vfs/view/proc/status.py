"""/proc/PID/status: the virtual credentials of a task (proc_pid_status(5), task_state and task_cap in fs/proc/array.c)."""

from __future__ import annotations

import re

from vfs.view.credentials import Credentials, Ids


def status_text(credentials: Credentials, text: bytes) -> bytes:
    """A status with these credentials in it."""
    lines = {
        b"Uid": ids(credentials.uid),
        b"Gid": ids(credentials.gid),
        b"Groups": b"".join(b"%d " % group for group in sorted(credentials.groups)),
        b"CapInh": b"%016x" % credentials.inheritable,
        b"CapPrm": b"%016x" % credentials.permitted,
        b"CapEff": b"%016x" % credentials.effective,
        b"CapBnd": b"%016x" % credentials.bounding,
        b"CapAmb": b"%016x" % credentials.ambient,
    }

    def line(match: re.Match[bytes]) -> bytes:
        value = lines.get(match[1])
        return match[0] if value is None else match[1] + b":\t" + value

    return re.sub(rb"^(\w+):.*$", line, text, flags=re.MULTILINE)


def ids(numbers: Ids) -> bytes:
    return b"%d\t%d\t%d\t%d" % (numbers.real, numbers.effective, numbers.saved, numbers.fs)
