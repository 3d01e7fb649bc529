"""What a suite is, and what came out of each case."""

from __future__ import annotations

import abc
from dataclasses import dataclass

from tests.suites.places import Place


@dataclass(frozen=True)
class Outcome:
    """*status*: `ok`, `fail`, `error`, `skip`, `hung` (no end within the time, or the process died); of a shell
    case `exit N`.
    *told*: what is compared too: a shell case's output, the reason of a skip. *detail*: for people, not compared."""

    status: str
    told: str = ""
    detail: str = ""

    def same(self, other: Outcome) -> bool:
        return (self.status, self.told) == (other.status, other.told)

    @property
    def good(self) -> bool:
        return self.status in ("ok", "skip", "exit 0")


Outcomes = dict[str, Outcome]


class Suite(abc.ABC):
    name: str
    seconds: float  # what a run may take; what has not ended then has `hung`

    @abc.abstractmethod
    def missing(self) -> str:
        """What the machine lacks for it, "" if nothing."""

    @abc.abstractmethod
    def run(self, place: Place, cases: list[str]) -> Outcomes:
        """Run it, or only the named cases."""
