"""The differences that have a reason, which docs/limits.md tells."""

from __future__ import annotations

import re

from tests.suites.comparison import Difference

# where it differs, suite/case, how it ends inside, why
KNOWN = [
    ("ramfs", r"ipc/(closed_directory|access)", "exit 0", "modes are not enforced in what belongs to a mount (omnipotent mode)"),
    (
        "ramfs",
        r"test_(tempfile|shutil)/",
        "skip",
        "what belongs to a mount may be changed by everybody in the view (omnipotent mode)",
    ),
    (
        "ramfs",
        r"test_shutil/.*(xattr|on_error)",
        "ok, skip",
        "everybody may set trusted attributes of a file in a mount (omnipotent mode)",
    ),
    ("ramfs", r"test_posix/.*chown", "fail", "in omnipotent mode everybody may give files of a mount away"),
]


def explained(difference: Difference) -> str:
    """Why it is no defect; "" where nobody knows."""
    case = f"{difference.suite}/{difference.case}"
    for where, pattern, status, why in KNOWN:
        if difference.where.value in where.split() and re.match(pattern, case) and difference.inside.status in status.split(", "):
            return why
    return ""
