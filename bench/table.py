"""Figures of a benchmark, and the table of medians and ratios that is made of them."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass
class Figures:
    """All measurements: row -> mode -> values, in *unit*; less is better."""

    unit: str
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, row: str, mode: str, value: float) -> None:
        self.values.setdefault(row, {}).setdefault(mode, []).append(value)

    def median(self, row: str, mode: str) -> float | None:
        found = self.values.get(row, {}).get(mode)
        return statistics.median(found) if found else None

    def modes(self) -> list[str]:
        """The modes in the order in which they first came."""
        return list(dict.fromkeys(mode for modes in self.values.values() for mode in modes))


@dataclass(frozen=True)
class Limit:
    """What a row must reach: the median of *mode* over that of the *peer* (with several: the best of them) at most *ratio*."""

    row: str
    mode: str
    peer: str | tuple[str, ...]
    ratio: float

    def reached(self, figures: Figures) -> float | None:
        """The ratio as measured; `None` when one side was not."""
        peers = (self.peer,) if isinstance(self.peer, str) else self.peer
        theirs = [value for value in (figures.median(self.row, peer) for peer in peers) if value]
        ours = figures.median(self.row, self.mode)
        return ours / min(theirs) if ours is not None and theirs else None


@dataclass(frozen=True)
class Bound:
    """What a row must reach by itself: the median of *mode* at most *most* (of the figures' unit), *told* to the reader."""

    row: str
    mode: str
    most: float
    told: str


@dataclass
class Table:
    """A finished benchmark. *base*: the mode that all are shown as a ratio to, if any. *notes*: what happened to a peer."""

    title: str
    figures: Figures
    base: str | None = None
    limits: Sequence[Limit | Bound] = ()
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Markdown: medians with ratios to the base, then the limits."""
        modes = self.figures.modes()
        lines = [
            f"# {self.title}",
            "",
            machine(),
            "",
            f"Medians, {self.figures.unit}" + (f" (× {self.base})" if self.base else ""),
        ]
        lines += ["", "| | " + " | ".join(modes) + " |", "|---|" + "---:|" * len(modes)]
        for row in self.figures.values:
            lines.append(f"| {row} | " + " | ".join(self._cell(row, mode) for mode in modes) + " |")
        if self.limits:
            lines += ["", "| must reach | at most | measured | |", "|---|---:|---:|---|"]
            lines += [self._verdict(limit) for limit in self.limits]
        lines += ["", *(f"* {note}" for note in self.notes)] if self.notes else []
        return "\n".join(lines) + "\n"

    def _verdict(self, limit: Limit | Bound) -> str:
        if isinstance(limit, Bound):
            value, most, told = self.figures.median(limit.row, limit.mode), limit.most, f"{limit.most:,.0f} ({limit.told})"
            name = f"{limit.row}: {limit.mode}, {self.figures.unit}"
        else:
            peer = limit.peer if isinstance(limit.peer, str) else "the best of " + ", ".join(limit.peer)
            value, most, told = limit.reached(self.figures), limit.ratio, f"{limit.ratio:.3g}"
            name = f"{limit.row}: {limit.mode} / {peer}"
        verdict = "not measured" if value is None else "yes" if value <= most else "NO"
        return f"| {name} | {told} | {'' if value is None else f'{value:,.2f}'} | {verdict} |"

    def _cell(self, row: str, mode: str) -> str:
        value = self.figures.median(row, mode)
        if value is None:
            return "–"
        base = self.figures.median(row, self.base) if self.base and mode != self.base else None
        return f"{value:,.2f}" + (f" (×{value / base:.1f})" if base else "")

    def save(self, name: str) -> Path:
        """Write NAME.md and NAME.json (all values) into bench/results."""
        RESULTS.mkdir(exist_ok=True)
        values = {
            "title": self.title,
            "machine": machine(),
            "unit": self.figures.unit,
            "values": self.figures.values,
            "notes": self.notes,
        }
        (RESULTS / f"{name}.json").write_text(json.dumps(values, indent=1) + "\n")
        path = RESULTS / f"{name}.md"
        path.write_text(self.text())
        return path


def machine() -> str:
    """One line on where this ran."""
    cpus = len(os.sched_getaffinity(0))
    return f"{platform.machine()}, {cpus} CPUs, Linux {platform.release()}, Python {platform.python_version()}"
