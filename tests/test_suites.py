"""Real suites in a view: a quick subset; with --slow all that `python -m tests.suites` runs."""

from __future__ import annotations

import re

import pytest

from tests.suites.__main__ import suites, tally
from tests.suites.known import explained
from tests.suites.places import VIEWS, users

QUICK = {
    "shell": ["here_documents", "process_substitution", "redirections", "globs", "directories"],
    "busybox": ["files", "attributes", "archives", "shell", "execute", "errors"],
    "editors": ["vim", "atomic_save", "unnamed_save"],
    "ipc": [],
    "git": ["branches", "modes_and_links"],
    "archives": ["tar_everything", "rsync", "zip"],
    "build": ["pipes_and_temporaries"],
    "test_posixpath": [],
    "test_fcntl": [],
}
SUITES = suites()


def check(name: str, user: str, cases: list[str]) -> None:
    suite = SUITES[name]
    if lacking := suite.missing():
        pytest.skip(lacking)
    row = tally(suite, user, list(VIEWS), cases)
    assert row.native, "no case was run"
    if not name.startswith("test_"):
        assert {case: outcome for case, outcome in row.native.items() if not outcome.good} == {}, "fails without any view"
    differences = [each for found in row.differences.values() for each in found if not explained(each)]
    assert [f"{each.line()}\n" + "\n".join(list(each.explain())[:30]) for each in differences] == []


@pytest.mark.parametrize("name", QUICK)
def test_quick(name: str) -> None:
    """As an ordinary user, whom a view is for, where there is one."""
    check(name, users()[-1], QUICK[name])


@pytest.mark.slow
@pytest.mark.parametrize("user", users())
@pytest.mark.parametrize("name", SUITES)
def test_whole(name: str, user: str) -> None:
    check(name, user, [])


def test_every_case_is_found() -> None:
    """A function whose name the runner does not know would never run."""
    for name, cases in QUICK.items():
        known = getattr(SUITES[name], "cases", None)
        assert known is None or set(cases) <= set(known)
    for suite in SUITES.values():
        if file := getattr(suite, "file", None):
            assert len(re.findall(r"^case_", file.read_text(), re.M)) == len(suite.cases)  # type: ignore[attr-defined]
