"""Opening a file of /proc whose text the view writes itself."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from vfs.api import registry
from vfs.view.contexts import BITS, Context
from vfs.view.devices import nodes_of
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.memfd import make_memfd
from vfs.view.proc.access import is_ours
from vfs.view.proc.descriptors import fdinfo_text, locks_text
from vfs.view.proc.links import text_name
from vfs.view.proc.maps import maps_text, numa_text
from vfs.view.proc.status import status_text
from vfs.view.proc.tables import table_text
from vfs.view.sysblock import partitions_text

if TYPE_CHECKING:
    from vfs.view.services import Services
    from vfs.view.supervisor import Supervisor

Writer = Callable[["Supervisor", int, bytes, bytes], bytes]
"""*write(supervisor, tid, name, text)*: what the view shows in place of *text*, the host's, of file *name* of task *tid*."""

OF_TASK = re.compile(rb"/proc/(\d+)(?:/task/(\d+))?/(fdinfo/(?=\d)|[a-z_]+)(\d*)")


def table(kind: bytes) -> Writer:
    def write(supervisor: Supervisor, tid: int, name: bytes, text: bytes) -> bytes:
        context = supervisor.contexts.of(tid)
        return table_text(context.view.mounts, kind, text, context.root)

    return write


def maps(supervisor: Supervisor, tid: int, name: bytes, text: bytes) -> bytes:
    return maps_text(supervisor.files, text, supervisor.context.root)


def numa_maps(supervisor: Supervisor, tid: int, name: bytes, text: bytes) -> bytes:
    return numa_text(supervisor.files, text)


def fdinfo(supervisor: Supervisor, tid: int, name: bytes, text: bytes) -> bytes:
    return fdinfo_text(supervisor.files, tid, int(name), text)


def locks(supervisor: Supervisor, tid: int, name: bytes, text: bytes) -> bytes:
    return locks_text(supervisor.files, text)


def personality(supervisor: Supervisor, tid: int, name: bytes, text: bytes) -> bytes:
    """Without the bits in which a task carries its context."""
    return b"%08x\n" % (int(text, 16) & ~BITS)


def status(supervisor: Supervisor, tid: int, name: bytes, text: bytes) -> bytes:
    """With the credentials that a task has in its view."""
    credentials = supervisor.contexts.of(tid).credentials
    return text if credentials is None else status_text(credentials, text)


def filesystems(supervisor: Supervisor, tid: int, name: bytes, text: bytes) -> bytes:
    return text + filesystems_text(supervisor.view.services)


def partitions(supervisor: Supervisor, tid: int, name: bytes, text: bytes) -> bytes:
    return text + partitions_text([(nodes_of(m), m.target.rpartition(b"/")[2]) for m in supervisor.view.mounts.devices])


PRIVATE: dict[bytes, Writer] = {
    b"maps": maps,
    b"smaps": maps,
    b"numa_maps": numa_maps,
    b"fdinfo/": fdinfo,
    b"personality": personality,
}
"""What only those may read who may look into the process (ptrace(2))."""
PUBLIC: dict[bytes, Writer] = {kind: table(kind) for kind in (b"mounts", b"mountinfo", b"mountstats")} | {b"status": status}
OF_CONTEXTS = (personality, status)
"""What differs from the host's only where a task has a context of its own."""
FILESYSTEMS = b"/proc/filesystems"
SYSTEM: dict[bytes, Writer] = {FILESYSTEMS: filesystems, b"/proc/locks": locks, b"/proc/partitions": partitions}


def filesystems_text(services: Services) -> bytes:
    """The lines of /proc/filesystems for the modules that can be mounted: `nodev` where they take no source."""
    modules = registry.modules().values()
    names = [registry.PREFIXES[module.kind] + module.name for module in modules if module.kind == "filesystem"]
    lines = []
    for name in [*names, *services.aliases]:
        module = registry.canonical(services.type_of(name))
        if services.removed & {module, "umfuse"} and services.of_module(module) is None:
            continue
        try:
            sourceless = registry.find(module).sourceless
        except OSError:  # a library that it needs is missing
            continue
        lines.append(f"{'nodev' if sourceless else ''}\t{name}\n")
    return "".join(lines).encode(errors="surrogateescape")


def is_plain(context: Context) -> bool:
    """The outermost view's, without credentials."""
    return not context.number and context.credentials is None


def open_file(supervisor: Supervisor, call: Call, place: bytes, flags: int) -> int:
    """Answer an open of *place*, a canonical host path, where the view has a text of its own; else the kernel opens it."""
    if not place.startswith(b"/proc/") or flags & (os.O_ACCMODE | os.O_PATH | os.O_DIRECTORY):
        return CONTINUE
    tid, name = call.tid, b""
    write = SYSTEM.get(place)
    if write is None:
        match = OF_TASK.fullmatch(place)
        if match is None:
            return CONTINUE
        tid, name = int(match[2] or match[1]), match[4]
        write = PUBLIC.get(match[3]) or PRIVATE.get(match[3])
        plain = write in OF_CONTEXTS and is_plain(supervisor.contexts.of(tid))
        if write is None or plain or not is_ours(call.tid, tid):
            return CONTINUE
        if match[3] in PRIVATE:
            supervisor.tasks.demand_access(call.tid, tid)
    with open(place, "rb") as host:
        text = host.read()
    ours = write(supervisor, tid, name, text)
    if ours == text:
        return CONTINUE

    def fill(writer: int) -> None:
        os.fchmod(writer, 0o444)
        os.pwrite(writer, ours, 0)

    reader = make_memfd(text_name(supervisor.files, place), fill)
    try:
        return call.add_fd(reader, None, bool(flags & os.O_CLOEXEC))
    finally:
        os.close(reader)
