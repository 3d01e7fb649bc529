"""The list that a check makes."""

from __future__ import annotations

from typing import Final

from vfs.api import WARNING, Finding

LIMIT: Final = 1000


class Findings:
    """The first `LIMIT` findings; the rest is counted."""

    def __init__(self) -> None:
        self._found: list[Finding] = []
        self._more: dict[str, int] = {}

    def add(self, kind: str, sentence: str) -> None:
        if len(self._found) < LIMIT:
            self._found.append(Finding(kind, sentence))
        else:
            self._more[kind] = self._more.get(kind, 0) + 1

    def all(self) -> list[Finding]:
        if not self._more:
            return self._found
        kind = next((kind for kind in ("error", "leak") if kind in self._more), WARNING)
        return [*self._found, Finding(kind, f"and {sum(self._more.values())} more")]
