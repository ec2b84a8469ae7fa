"""Data notes: limitations of a report's numbers."""

from __future__ import annotations

from datetime import datetime

from models.documents import IntakePart
from models.period import Period
from models.schema import OTHERS
from tasks.comparison.periods import known_end
from tasks.reporting.intake_notes import intake_notes
from tasks.rollups.aggregate import MOST_NAMES
from tasks.rollups.query import RollupSlice
from tasks.rollups.totals import COVERED, Totals

_SHOWN_KINDS = 3

_NAMED = {"model_id": "models", "complexity": "complexity classes", "team": "teams"}

_COLUMN_WORDS = {
    "response_time": "response time",
    "cost": "cost",
    "cache_hit": "cache hits",
    "accuracy": "selection accuracy",
    "user_satisfaction": "user satisfaction",
    "prompt_tokens": "prompt tokens",
    "completion_tokens": "completion tokens",
}


def data_notes(
    current: RollupSlice, measured: Totals, now: datetime, intake: IntakePart | None = None
) -> tuple[str, ...]:
    """Return the limitations of the numbers, which were collected at `now`; `intake` is not in them."""
    # First: a mail or message may show only the first notes, and these say that numbers may be wrong.
    notes = [] if intake is None else intake_notes(intake, measured, current.filters)
    if not measured.count:
        nothing = "No selections were recorded in this period, so nothing can be said about how the router did."
        return (nothing, *notes)
    if current.requested_period != current.period:
        notes.append(
            f"The period was rounded outward from {_span(current.requested_period)} to {_span(current.period)}: "
            "nothing finer is kept."
        )
    if (until := known_end(current, now)) < current.period.end:
        notes.append(
            f"This period is not over, or its last minutes may still change: it is compared up to "
            f"{_stamp(until, current.period)} at most, with as much of earlier periods."
        )
    missing = [_COLUMN_WORDS[name] for name, column in COVERED.items() if not measured.known(column)]
    if missing:
        notes.append(f"Not recorded in this period: {', '.join(missing)}.")
    if current.last_selection_at is not None and current.last_selection_at < current.period.end:
        notes.append(f"The newest selection known is of {_stamp(current.last_selection_at, current.period)}.")
    notes += (
        f"There are more than {MOST_NAMES[column]:,} {_NAMED[column]}: the smallest are counted together as {others}. "
        "Totals include them."
        for column, others in OTHERS.items()
        if others in current.parts[column]
    )
    return (*notes, *_on_sources(current))


# ----------------------------------------------------------------------------------------------------------------------


def _on_sources(current: RollupSlice) -> list[str]:
    """Return notes on router overhead and on imputed values."""
    notes = []
    if calls := current.overhead_costs:
        cost, priced = sum(it.cost_usd for it in calls), sum(it.priced for it in calls)
        count = sum(it.count for it in calls)
        kinds = ", ".join(f"{it.kind} {it.count:,}" for it in calls[:_SHOWN_KINDS])
        known = "" if priced == count else f", as far as it is known: of {priced:,} of {count:,}"
        notes.append(
            f"Calls that answered no request ({kinds}) cost {cost:,.2f} USD{known}. "
            "That comes on top of the spend of this report, and is in no average."
        )
    if current.imputation.has_list_prices:
        notes.append("Some costs are worked out from list prices of their day, because none was recorded.")
    if sources := current.imputation.by_tokens:
        notes.append(f"Where {', '.join(sources)} does not say the complexity, it is told from the prompt's tokens.")
    return notes


def _span(period: Period) -> str:
    return f"{_stamp(period.start, period)} – {_stamp(period.end, period)}"


def _stamp(instant: datetime, period: Period) -> str:
    return f"{period.local(instant):%Y-%m-%d %H:%M} {period.zone}"
