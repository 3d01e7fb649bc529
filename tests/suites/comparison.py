"""What differs between a run in a view and the native one, and how it is told."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.suites.places import VIEWS, Where
from tests.suites.suite import Outcome, Outcomes

ABSENT = Outcome("absent")


@dataclass(frozen=True)
class Difference:
    suite: str
    user: str
    where: Where
    case: str
    native: Outcome
    inside: Outcome

    def line(self) -> str:
        return f"{self.suite}/{self.case} ({self.user}, {self.where}): {self.native.status} outside, {self.inside.status} inside"

    def explain(self) -> Iterator[str]:
        """Lines for whoever looks for the cause."""
        if self.native.told != self.inside.told:
            yield from difflib.unified_diff(
                self.native.told.splitlines(), self.inside.told.splitlines(), "outside", "inside", n=1, lineterm=""
            )
        yield from self.inside.detail.splitlines()


def compare(suite: str, user: str, where: Where, native: Outcomes, inside: Outcomes) -> list[Difference]:
    return [
        Difference(suite, user, where, case, native.get(case, ABSENT), inside.get(case, ABSENT))
        for case in sorted(native.keys() | inside.keys())
        if not native.get(case, ABSENT).same(inside.get(case, ABSENT))
    ]


@dataclass
class Tally:
    """One row: a suite as run by one user."""

    suite: str
    user: str
    native: Outcomes
    differences: dict[Where, list[Difference]] = field(default_factory=dict)


def markdown(rows: list[Tally]) -> Iterator[str]:
    """The table for docs/limits.md."""
    yield "| suite | run by | cases | fail natively | " + " | ".join(f"differ in {where}" for where in VIEWS) + " |"
    yield "|---|---|---|---|" + "---|" * len(VIEWS)
    total = dict.fromkeys(VIEWS, 0)
    for row in rows:
        counts = []
        for where in VIEWS:
            found = row.differences.get(where)
            counts.append("not run" if found is None else str(len(found)))
            total[where] += len(found or ())
        bad = sum(not outcome.good for outcome in row.native.values())
        yield f"| {row.suite} | {row.user} | {len(row.native)} | {bad} | " + " | ".join(counts) + " |"
    yield f"| all | | {sum(len(row.native) for row in rows)} | | " + " | ".join(str(total[where]) for where in VIEWS) + " |"
