"""Notes: what a reader must know before believing a report's numbers."""

from __future__ import annotations

from datetime import datetime

from models.period import Period
from models.tables import OTHER_TEAMS
from tasks.alike import known_end
from tasks.gather import Gathered
from tasks.totals import COVERED, Totals

_COLUMN_WORDS = {
    "response_time": "response time",
    "cost": "cost",
    "cache_hit": "cache hits",
    "accuracy": "selection accuracy",
    "user_satisfaction": "user satisfaction",
    "prompt_tokens": "prompt tokens",
    "completion_tokens": "completion tokens",
}


def notes(current: Gathered, measured: Totals, now: datetime) -> tuple[str, ...]:
    """What a reader must know before believing the numbers, which were gathered at `now`."""
    if not measured.count:
        return ("No selections were recorded in this period, so nothing can be said about how the router did.",)
    told: list[str] = []
    if current.asked != current.period:
        told.append(
            f"The period was rounded outward from {_span(current.asked)} to {_span(current.period)}: "
            "nothing finer is kept."
        )
    if (until := known_end(current, now)) < current.period.end:
        told.append(
            f"This period is not over, or its last minutes may still change: it is compared up to "
            f"{_stamp(until, current.period)} at most, with as much of earlier periods."
        )
    missing = [_COLUMN_WORDS[name] for name, column in COVERED.items() if not measured.known(column)]
    if missing:
        told.append(f"Not recorded in this period: {', '.join(missing)}.")
    if current.last_selection_at is not None and current.last_selection_at < current.period.end:
        told.append(f"The newest selection known is of {_stamp(current.last_selection_at, current.period)}.")
    if OTHER_TEAMS in current.parts["team"]:
        told.append(f"In busy hours the smallest teams are counted together as {OTHER_TEAMS}.")
    return tuple(told)


# ----------------------------------------------------------------------------------------------------------------------


def _span(period: Period) -> str:
    return f"{_stamp(period.start, period)} – {_stamp(period.end, period)}"


def _stamp(instant: datetime, period: Period) -> str:
    return f"{period.local(instant):%Y-%m-%d %H:%M} {period.zone}"
