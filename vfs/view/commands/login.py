"""umview as a login shell: /etc/viewospasswd tells what it runs for whom.

A line a user, `USER:COMMAND LINE`, in words as a shell takes them: umview's own options, then the command. Empty lines and lines
that begin with `#` mean nothing.
"""

from __future__ import annotations

import errno
import os
import pwd
import shlex

from vfs.api.errors import fail

TABLE = "/etc/viewospasswd"
NAMES = ("umview", "kmview")


def is_login(name: str) -> bool:
    """Whether it was started, as *name*, in the place of a shell: login(1) and su(1) put `-` before the name, but whoever starts
    a script never sees that. So whoever has umview as his shell in passwd, and gives it nothing to do, logs in."""
    if name.startswith("-"):
        return True
    try:
        return os.path.basename(pwd.getpwuid(os.getuid()).pw_shell) in NAMES
    except KeyError:
        return False


def command_line(words: list[str]) -> list[str]:
    """The user's line, and *words* after it: `-c COMMAND` of `su -c` or ssh. ENOENT, EINVAL."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        fail(errno.ENOENT, f"user {os.getuid()} has no name, so {TABLE} says nothing of it")
    try:
        with open(TABLE, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                name, colon, rest = line.strip().partition(":")
                if name == user and colon:
                    return [*shlex.split(rest), *words]
    except ValueError as error:
        fail(errno.EINVAL, f"{TABLE}: the line of {user}: {error}")
    except OSError as error:
        fail(error.errno or errno.EIO, f"{TABLE}: {error.strerror}")
    fail(errno.ENOENT, f"{TABLE} has no line of {user}")
