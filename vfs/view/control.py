"""The control channel: how the commands in a view, and nested views, talk to the supervisor.

It is a call that no kernel knows: `prctl(MAGIC, request, size, reply, room)`. In a view the filter sends it here; outside the
kernel says EINVAL, so that nobody else can reach a view. Request and reply are JSON objects: `{"ask": "name", "name": "x"}`;
a reply with "error" (a sentence) and "errno" tells of a failure. The call's result is the reply's size.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from vfs.api import fail, message
from vfs.view import credentials
from vfs.view.contexts import Context
from vfs.view.kernel.notify import Call
from vfs.view.kernel.processes import open_pidfd, parent_of, send_signal
from vfs.view.protocol import LARGEST
from vfs.view.view import View

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

SYS_BOOT = 22
PAUSE = 0.05
PATIENCE = 30.0

Arguments = dict[str, Any]


class Answer(NamedTuple):
    """What a request gives: the reply, and the context that the asking task is in from then on."""

    reply: Arguments
    context: Context | None = None


# -------------------------------------------------------------------- requests


def view(supervisor: Supervisor, call: Call, arguments: Arguments) -> Answer:
    """Which view this is."""
    this = supervisor.view
    return Answer({"host": os.uname().nodename, "server": os.getpid(), "view": this.number, "name": this.name})


def name(supervisor: Supervisor, call: Call, arguments: Arguments) -> Answer:
    """Give the view another name."""
    supervisor.view.name = text(arguments, "name")
    return Answer({})


def services(supervisor: Supervisor, call: Call, arguments: Arguments) -> Answer:
    """What is loaded."""
    return Answer({"services": [[s.name, s.description] for s in supervisor.view.services.loaded.values()]})


def add(supervisor: Supervisor, call: Call, arguments: Arguments) -> Answer:
    supervisor.demand(credentials.SYS_ADMIN)
    supervisor.view.services.add(text(arguments, "service"), bool(arguments.get("permanent")))
    return Answer({})


def remove(supervisor: Supervisor, call: Call, arguments: Arguments) -> Answer:
    supervisor.demand(credentials.SYS_ADMIN)
    mounted = [mount.filesystem.type for mount in supervisor.view.mounts.mounts]
    supervisor.view.services.remove(text(arguments, "service"), mounted)
    return Answer({})


def alias(supervisor: Supervisor, call: Call, arguments: Arguments) -> Answer:
    supervisor.demand(credentials.SYS_ADMIN)
    supervisor.view.services.alias(text(arguments, "alias"), text(arguments, "type"))
    return Answer({})


def shutdown(supervisor: Supervisor, call: Call, arguments: Arguments) -> Answer:
    """TERM for all processes of the view and of those inside it, and after a while KILL."""
    supervisor.demand(SYS_BOOT)
    seconds = arguments.get("seconds", PATIENCE)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= threading.TIMEOUT_MAX:
        fail(errno.EINVAL, "not a number of seconds")
    this = supervisor.view
    supervisor.workers.start(lambda: end(supervisor, this, float(seconds)))
    return Answer({})


def nested(supervisor: Supervisor, call: Call, arguments: Arguments) -> Answer:
    """The asking task starts a view of its own, which begins as this one is now. Its parent lives as long as that view."""
    supervisor.demand(credentials.SYS_ADMIN)
    wanted = [text({"service": each}, "service") for each in arguments.get("services", [])]
    identity = supervisor.context.credentials
    if arguments.get("human") and not supervisor.view.human:
        identity = credentials.root()
    supervisor.sweep()  # what ended unnoticed
    made = supervisor.fork(supervisor.view)
    if arguments.get("human"):
        supervisor.enforce(made)
    if arguments.get("name"):
        made.name = text(arguments, "name")
    try:
        for service in wanted:
            made.services.add(service)
        context = supervisor.contexts.intern(made, identity, supervisor.context.root)
    except BaseException:
        supervisor.views.remove(made)
        raise
    guardian = parent_of(call.tid)
    if guardian:
        watch(supervisor, guardian)
    return Answer({"view": made.number}, context)


def ended(supervisor: Supervisor, call: Call, arguments: Arguments) -> Answer:
    """All processes of a view inside have ended: what only it showed is written and closed when this returns."""
    supervisor.sweep()
    return Answer({})


def identity(supervisor: Supervisor, call: Call, arguments: Arguments) -> Answer:
    """The asking task takes itself for somebody else."""
    supervisor.demand(credentials.SETUID)
    supervisor.demand(credentials.SETGID)
    groups = arguments.get("groups", [])
    if not isinstance(groups, list) or len(groups) > credentials.MAX_GROUPS:
        fail(errno.EINVAL, "too many groups")
    new = credentials.user(number(arguments.get("uid")), number(arguments.get("gid")), tuple(map(number, groups)))
    return Answer({}, supervisor.contexts.intern(supervisor.view, new, supervisor.context.root))


REQUESTS: dict[str, Callable[[Supervisor, Call, Arguments], Answer]] = {
    "view": view,
    "name": name,
    "services": services,
    "add": add,
    "remove": remove,
    "alias": alias,
    "shutdown": shutdown,
    "nested": nested,
    "ended": ended,
    "identity": identity,
}


def text(arguments: Arguments, key: str) -> str:
    """A text among the arguments. EINVAL: it is none, or empty, or more than a line."""
    found = arguments.get(key)
    if not isinstance(found, str) or not found.isprintable() or len(found) > LARGEST // 4:
        fail(errno.EINVAL, f"{key}: not a line of text")
    return found


def number(found: object) -> int:
    """An id. EINVAL."""
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < credentials.NO_ID:
        fail(errno.EINVAL, "not the number of a user or group")
    return found


# -------------------------------------------------------------------- the call


def answer(supervisor: Supervisor, call: Call) -> int:
    """Answer prctl(MAGIC, …). EFAULT, EMSGSIZE; whatever else is wrong, is in the reply."""
    import json

    request_at, size, reply_at, room = call.args[1:5]
    if size > LARGEST:
        fail(errno.EMSGSIZE)
    request = call.read(request_at, size)
    context = None
    try:
        arguments = json.loads(request)
        handler = REQUESTS.get(str(arguments.get("ask"))) if isinstance(arguments, dict) else None
        if handler is None:
            fail(errno.ENOSYS, "the supervisor does not know this request: is it of another version?")
        reply, context = handler(supervisor, call, arguments)
    except (ValueError, TypeError, RecursionError) as error:
        reply = {"errno": errno.EINVAL, "error": f"not a request: {error}"}
    except OSError as error:
        reply = {"errno": error.errno or errno.EIO, "error": message(error)}
    packed = json.dumps(reply).encode()
    if len(packed) > room:
        fail(errno.EMSGSIZE)
    call.write(reply_at, packed)
    if context is None:
        return len(packed)
    with call.stop() as stopped:
        supervisor.contexts.change(call, stopped, context)
        return stopped.finish(len(packed))


# -------------------------------------------------------------------- what goes on in the background


def watch(supervisor: Supervisor, guardian: int) -> None:
    """When the *guardian* of a nested view has ended, whatever ended it, nobody is left there."""
    try:
        pidfd = open_pidfd(guardian)
    except OSError:
        return

    def wait() -> None:
        import select

        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        try:
            poll.poll()
        finally:
            os.close(pidfd)
        with supervisor.workers.turn:
            supervisor.sweep()

    threading.Thread(target=supervisor.workers.unsignalled(wait), name="watch", daemon=True).start()


def end(supervisor: Supervisor, this: View, seconds: float) -> None:
    """Shut a view down."""
    import signal

    deadline = time.monotonic() + seconds
    tell_all(supervisor, this, signal.SIGTERM)
    while time.monotonic() < deadline:
        if not supervisor.processes_of(this):
            return
        time.sleep(PAUSE)
    while tell_all(supervisor, this, signal.SIGKILL):
        time.sleep(PAUSE)


def tell_all(supervisor: Supervisor, this: View, signal: int) -> int:
    """Send a signal to all processes of a view; how many there were."""
    sent = 0
    for pid in supervisor.processes_of(this):
        try:
            pidfd = open_pidfd(pid)
        except OSError:
            continue
        try:
            if pid in supervisor.processes_of(this):  # the number has not passed to a stranger before we held it
                sent += send_signal(pidfd, signal)
        finally:
            os.close(pidfd)
    return sent
