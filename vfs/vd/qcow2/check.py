"""Checking an image: what `qemu-img check` looks at."""

from __future__ import annotations

from vfs.api import ERROR, WARNING, Finding, Storage
from vfs.vd.opening import Opening
from vfs.vd.qcow2 import layout
from vfs.vd.qcow2.header import read_header
from vfs.vd.qcow2.refcounts import Refcounts
from vfs.vd.qcow2.references import References


def check(source: Storage, opening: Opening) -> list[Finding]:
    """References outside the file, refcounts that are too low (errors) or too high (leaks), flags that contradict them. EUCLEAN,
    EINVAL, EOPNOTSUPP: the header already."""
    header = read_header(source)
    found = References(source, header)
    refcounts = Refcounts(source, header)
    try:
        for what, count, copied in found.wrong_copied(refcounts):
            said = "says" if copied else "does not say"
            found.findings.add(ERROR, f"{what} {said} that its cluster has one reference; its refcount is {count}")
    except OSError as error:
        found.findings.add(ERROR, error.strerror or "")
    found.compare(refcounts)
    marks = {layout.DIRTY: "was not closed: its refcounts may be wrong", layout.CORRUPT: "is marked corrupt"}
    flags = [Finding(WARNING, f"the image {sentence}") for bit, sentence in marks.items() if header.incompatible & bit]
    return flags + found.findings.all()
