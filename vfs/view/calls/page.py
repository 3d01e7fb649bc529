"""docs/system-calls.md: what a view does about every system call, made from the call table itself.

python -m vfs.view.calls.page > docs/system-calls.md
"""

from __future__ import annotations

import errno
import sys
from typing import NamedTuple

from vfs.view.calls import native, refused
from vfs.view.calls.table import CallTable
from vfs.view.files import OpenFiles
from vfs.view.kernel import abi
from vfs.view.kernel.arm64 import ARM64
from vfs.view.kernel.filter import ALLOW, NOTIFY, All, Among, AnyBit, Descriptor, Filter, Less, Not, Rule, Test
from vfs.view.kernel.machine import Machine
from vfs.view.kernel.x86_64 import X86_64
from vfs.view.supervisor import SUBJECTS, Supervisor

MACHINES = (X86_64, ARM64)

VARYING = {"rt_sigreturn": "x86_64: what a signal ended before it was received begins again (`signals.py`); arm64: native"}
"""Calls whose rule depends on the machine."""

HEAD = """\
# System calls in a view

Made by `python -m vfs.view.calls.page` from the call table, the filter and `vfs/view/calls/native.py`; a test compares.

* **asked**: the filter sends the call to the supervisor, which answers what concerns the view and lets the kernel do the rest.
* **asked for virtual descriptors**: only where an argument is a descriptor in the range of virtual ones; else native.
* **asked in part**: only with the arguments, commands or flags that matter.
* **refused**: the filter answers with the errno, always.
* **native**: the kernel alone, at full speed; the last column says why nothing needs to be done.

Numbers that are not in a table are native, too: a kernel that has more calls than these (a test looks for them) runs them unseen.
32-bit and x32 calls are ENOSYS on every machine.
"""


class Row(NamedTuple):
    number: int
    name: str
    treatment: str
    remark: str
    """The file in `vfs/view/calls` that serves it, or the reason why it needs nothing; empty: not told (a mistake)."""


def tables(supervisor: Supervisor, machine: Machine) -> tuple[CallTable, dict[str, str]]:
    """The call table as it is on a machine, and which file each call was entered by."""
    table, source = CallTable(), dict[str, str]()
    table.filter = Filter(machine)
    before: dict[int, str] = {}
    for subject in SUBJECTS:
        subject.install(table, supervisor)
        after = {number: repr((rule, table.handlers.get(machine.names[number]))) for number, rule in table.filter.rules.items()}
        for number, text in after.items():
            if before.get(number) != text:
                source[machine.names[number]] = subject.__name__.rpartition(".")[2] + ".py"
        before = after
    return table, source


def rows(supervisor: Supervisor, machine: Machine) -> list[Row]:
    table, source = tables(supervisor, machine)
    made = []
    for number, name in sorted(machine.names.items()):
        rule = table.filter.rules.get(number)
        if name in VARYING:
            made.append(Row(number, name, "asked in part", VARYING[name]))
        elif rule is None or (not rule.steps and rule.otherwise == ALLOW):
            made.append(Row(number, name, "native", native.REASONS.get(name, "")))
        elif source[name] == "refused.py" and name in refused.REASONS:
            made.append(Row(number, name, treatment(rule), refused.REASONS[name]))
        else:
            made.append(Row(number, name, treatment(rule), f"`{source[name]}`"))
    return made


def treatment(rule: Rule) -> str:
    """A rule in words."""
    if not rule.steps:
        if rule.otherwise == NOTIFY:
            return "asked"
        return f"refused: {errno.errorcode[rule.otherwise & abi.SECCOMP_RET_DATA]}"
    if rule.otherwise == ALLOW and all(isinstance(step.test, Descriptor) and step.action == NOTIFY for step in rule.steps):
        return "asked for virtual descriptors"
    if rule.otherwise == ALLOW and any(of_descriptor(step.test) and step.action == NOTIFY for step in rule.steps):
        return "asked in part, for virtual descriptors"
    return "asked in part"


def of_descriptor(test: Test) -> bool:
    """Whether a test is about a descriptor."""
    if isinstance(test, All):
        return any(of_descriptor(part) for part in test.tests)
    if isinstance(test, Not):
        return of_descriptor(test.test)
    return isinstance(test, Descriptor) and not isinstance(test, AnyBit | Among | Less)


def page() -> str:
    supervisor = Supervisor(OpenFiles())
    try:
        parts = [HEAD]
        for machine in MACHINES:
            lines = [f"| {row.number} | {row.name} | {row.treatment} | {row.remark} |" for row in rows(supervisor, machine)]
            parts += [f"\n## {machine.name}\n", "| number | call | treatment | by, or why |", "|---|---|---|---|", *lines]
        return "\n".join(parts) + "\n"
    finally:
        supervisor.close()


if __name__ == "__main__":
    sys.stdout.write(page())
