"""One measurement as printed: the figures of some rounds, the goal they are compared with, and whether it is met."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

PLACES_FROM = {100.0: 0, 10.0: 1}


@dataclass(frozen=True)
class Goal:
    """A goal of design.md section 8; `at_least` where more is better."""

    limit: float
    at_least: bool = True

    def is_met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Line:
    """What was measured. `name` includes the peer; the goal is compared with the median of the values."""

    name: str
    database: str
    rows: int
    values: tuple[float, ...] = ()
    unit: str = "×"
    goal: Goal | None = None
    note: str = ""
    failure: str = ""

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """Return the median, the range, the goal and whether it is met, as texts."""
        if not self.values:
            return (self.failure or self.note, "", "", "")
        median, some = statistics.median(self.values), len(self.values) > 1
        span = f"{shown(min(self.values))} … {shown(max(self.values))}" if some else ""
        if self.goal is None:
            return (f"{shown(median)} {self.unit}", span, "", "")
        sign, met = "≥" if self.goal.at_least else "≤", self.goal.is_met(median)
        return (f"{shown(median)} {self.unit}", span, f"{sign} {self.goal.limit:g} {self.unit}", "yes" if met else "no")

    def as_text(self) -> str:
        value, span, goal, met = self.cells
        held = f"goal {goal}: {'met' if met == 'yes' else 'MISSED'}" if goal else ""
        note = self.note if self.values else ""
        parts = (
            f"{self.name:<58} {self.database:<10} {self.rows:>11,}  {value:>9}",
            f"({span})" if span else "",
            held,
            note,
        )
        return "  ".join(part for part in parts if part)


def shown(value: float) -> str:
    """Format with three figures or more, integers in full."""
    places = next((places for above, places in PLACES_FROM.items() if abs(value) >= above), 2)
    return f"{value:,.{places}f}"


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_turns(rounds: int, ours: Callable[[], float], peer: Callable[[], float]) -> tuple[float, ...]:
    """Return how many times as fast as the peer we are, by round; both return the seconds that they took.

    Each round measures both, one right after the other, so that a slow spell of the machine affects both.
    """
    ratios = []
    for turn in range(rounds):
        # The second to run finds the disk's cache warm, so they take turns at that too.
        if turn % 2:
            peer_s, ours_s = peer(), ours()
        else:
            ours_s, peer_s = ours(), peer()
        ratios.append(peer_s / ours_s)
    return tuple(ratios)
