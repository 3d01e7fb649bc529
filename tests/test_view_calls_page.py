"""docs/system-calls.md says of every system call what a view does about it, and no kernel has one that it does not know."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import signal
from pathlib import Path

import pytest

from tests.command import PROJECT
from vfs.view.calls import native, page
from vfs.view.files import OpenFiles
from vfs.view.kernel.machine import current, every_name
from vfs.view.supervisor import Supervisor

MAKE = "python -m vfs.view.calls.page > docs/system-calls.md"
BEYOND = 64
"""How many numbers above the last known one are tried."""
OTHER_NAMES = {"newstat": "stat", "newfstat": "fstat", "newlstat": "lstat", "newuname": "uname", "sendfile64": "sendfile"}
OTHER_NAMES |= {"umount": "umount2", "umount2": "umount2"}
"""Functions of the kernel that are called otherwise in its table of calls."""


@pytest.fixture(scope="module")
def rows() -> dict[str, list[page.Row]]:
    supervisor = Supervisor(OpenFiles())
    try:
        return {machine.name: page.rows(supervisor, machine) for machine in page.MACHINES}
    finally:
        supervisor.close()


def test_the_page_is_made_from_the_table() -> None:
    assert (PROJECT / "docs" / "system-calls.md").read_text() == page.page(), f"stale: {MAKE}"


def test_every_call_has_a_treatment(rows: dict[str, list[page.Row]]) -> None:
    for machine in page.MACHINES:
        assert [row.number for row in rows[machine.name]] == sorted(machine.calls.values())
        missing = [row.name for row in rows[machine.name] if not row.remark]
        assert not missing, f"these run natively, and vfs/view/calls/native.py does not say why that is right: {missing}"


def test_reasons_are_of_native_calls(rows: dict[str, list[page.Row]]) -> None:
    served = {row.name for row in rows["x86_64"] if row.treatment != "native"} - set(page.VARYING)
    assert not set(native.REASONS) & served, "these are served: take them out of vfs/view/calls/native.py"
    assert set(native.REASONS) <= every_name()


def test_the_running_kernel_has_no_other_call() -> None:
    """Called in a child with arguments that mean nothing: all but ENOSYS is a call that the table does not know."""
    calls = current().calls
    last = max(calls.values())
    unknown = [number for number in range(last + BEYOND) if number not in calls.values()]
    assert len(unknown) >= BEYOND - 1
    assert set(map(answer_of, unknown)) == {errno.ENOSYS}
    assert answer_of(calls["read"]) == errno.EBADF  # the question is asked rightly


def answer_of(number: int) -> int:
    """The errno of a call with -1 for every argument, made in a child; 0: success. Whatever ends the child is an answer, too."""
    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if not child:
        signal.alarm(5)
        result = libc.syscall(number, *[ctypes.c_long(-1)] * 6)
        os._exit(ctypes.get_errno() if result == -1 else 0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_the_running_kernel_names_no_other_call() -> None:
    """By the names of its functions, where it shows them: more than the numbers tell when a call is not built in."""
    prefix = {"x86_64": "__x64_sys_", "arm64": "__arm64_sys_"}[current().name]
    names = set(re.findall(rf" {prefix}(\w+)$", Path("/proc/kallsyms").read_text(), re.MULTILINE))
    assert len(names) > 250 or not names
    weak = declared_only_elsewhere(names)
    assert {OTHER_NAMES.get(name, name) for name in names - weak} <= set(current().calls)


def declared_only_elsewhere(names: set[str]) -> set[str]:
    """Calls of 32-bit processes or of other machines, for which the kernel has a function all the same."""
    old = {name for name in names if re.search(r"16$|32$|64_64$|^ia32_|^old|^s390_|^spu_|^pciconfig_|^vm86", name)}
    old |= {
        "gethostname",
        "ipc",
        "llseek",
        "mmap_pgoff",
        "ni_syscall",
        "nice",
        "recv",
        "rtas",
        "send",
        "sgetmask",
        "signal",
        "statfs64",
    }
    old |= {
        "sigpending",
        "sigprocmask",
        "sigsuspend",
        "socketcall",
        "ssetmask",
        "stime",
        "subpage_prot",
        "sync_file_range2",
        "waitpid",
    }
    return (old | {"fstatfs64", "timer_gettime32"}) & names
