"""`python -m tests.suites`: runs suites natively and in a view, and prints what differs. Exit status 1 when something does
without a known reason."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from tests.suites.comparison import Difference, Tally, compare, markdown
from tests.suites.cpython import MODULES, CPythonSuite
from tests.suites.known import explained
from tests.suites.places import VIEWS, Where, place, users
from tests.suites.shell import ShellSuite
from tests.suites.suite import Outcomes, Suite

CASES = Path(__file__).parent / "cases"


def suites() -> dict[str, Suite]:
    found: list[Suite] = [ShellSuite(file) for file in sorted(CASES.glob("*.sh"))]
    found += [CPythonSuite(module) for module in MODULES]
    return {suite.name: suite for suite in found}


def run(suite: Suite, where: Where, user: str, cases: list[str]) -> Outcomes:
    with place(where, user, suite.name) as here:
        return suite.run(here, cases)


def tally(suite: Suite, user: str, places: list[Where], cases: list[str], log: bool = False) -> Tally:
    """A suite run natively, then in views."""
    row = Tally(suite.name, user, {})
    for where in (Where.NATIVE, *places):
        begun = time.monotonic()
        outcomes = run(suite, where, user, cases)
        if where is Where.NATIVE:
            row.native = outcomes
        else:
            row.differences[where] = compare(suite.name, user, where, row.native, outcomes)
        if log:
            differ = len(row.differences.get(where, ()))
            print(
                f"{suite.name} {user} {where}: {len(outcomes)} cases, {differ} differ, {time.monotonic() - begun:.1f} s",
                flush=True,
            )
    return row


def tell(difference: Difference) -> None:
    reason = explained(difference)
    print(f"* {difference.line()}{reason and f' (known: {reason})'}")
    for line in list(difference.explain())[: 0 if reason else 40]:
        print(f"      {line}")
    sys.stdout.flush()


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is ended and removed
    known, able = suites(), users()
    parser = argparse.ArgumentParser(prog="python -m tests.suites", description=__doc__)
    parser.add_argument("--where", default=",".join(VIEWS), help="host, hostfs, ramfs; several with commas")
    parser.add_argument("--user", default=",".join(able), help="who runs them; several with commas")
    parser.add_argument("--markdown", action="store_true", help="end with a table")
    parser.add_argument("--list", action="store_true", help="name the suites, and run nothing")
    parser.add_argument("name", nargs="*", help="suites, or SUITE/CASE")
    options = parser.parse_args()
    if options.list:
        print(*known, sep="\n")
        return 0
    chosen: dict[str, list[str]] = {}
    for name in options.name or known:
        suite, _, case = name.partition("/")
        if suite not in known:
            parser.error(f"no suite {suite}; there are {', '.join(known)}")
        chosen.setdefault(suite, []).extend([case] if case else [])
    places = [Where(where) for where in options.where.split(",")]
    rows = []
    for name, cases in chosen.items():
        suite = known[name]
        if lacking := suite.missing():
            print(f"{name}: not run: {lacking}")
            continue
        for user in options.user.split(","):
            row = tally(suite, user, places, cases, log=True)
            rows.append(row)
            for found in row.differences.values():
                for difference in found:
                    tell(difference)
    if options.markdown:
        print("\n".join(markdown(rows)))
    differences = [each for row in rows for found in row.differences.values() for each in found]
    unknown = sum(not explained(each) for each in differences)
    print(f"{sum(len(row.native) for row in rows)} cases, {len(differences)} differences, {unknown} without a known reason")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
