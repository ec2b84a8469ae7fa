"""The tables of the report about usage."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from models.documents import GroupUsage, UsageReport
from reports.report_templates.usage.sentences import change_words, compared_words, signed_count
from reports.text.formatting import Formats
from reports.text.labels import bounds_words
from reports.view.blocks import Cell, Table, table


def usage_table(name: str, title: str, groups: Sequence[GroupUsage], show: Formats) -> Table:
    """One row a group, busiest first as in the document; bars compare requests."""
    largest = max((group.count for group in groups), default=0)
    rows = [
        (
            Cell(group.name),
            Cell(show.count(group.count), group.count / largest),
            Cell(show.percent(group.share)),
            Cell(show.count(group.before)),
            Cell(change_words(group, show)),
            Cell(show.count(group.tokens_per_selection)),
            Cell(show.percent(group.user_satisfaction)),
            Cell(show.coverage(group.satisfaction_coverage).removeprefix("known for ") or "no data"),
            Cell(show.percent(group.error_rate)),
        )
        for group in groups
    ]
    columns = f"<{title} | Requests | Share | Before | Change | Tokens each | Satisfaction | Rated | Errors"
    told = [
        f"{row[0].text}: {row[1].text} requests, {row[2].text}; before {row[3].text}, {row[4].text}." for row in rows
    ]
    return table(name, f"Per {title.lower()}", columns, rows, empty="No model served a request.", told=told)


def movers_table(document: UsageReport, show: Formats) -> Table:
    """What changed most, with the change's interval."""
    rows = [
        (
            Cell(f"{mover.dimension} {mover.name}"),
            Cell(show.count(mover.before)),
            Cell(show.count(mover.count)),
            Cell(signed_count(mover.count - mover.before, show)),
            Cell(bounds_words("totalSelections", mover.change, show)),
            Cell(change_words(mover, show)),
        )
        for mover in document.top_movers
    ]
    columns = "<What | Before | Now | Change | 95% interval | In percent"
    told = [
        f"{row[0].text}: {row[1].text} → {row[2].text} requests, {row[3].text} (95% interval {row[4].text})."
        for row in rows
    ]
    return table("movers", f"Against {compared_words(document)}", columns, rows, told=told)


def arrivals_table(document: UsageReport, show: Formats) -> Table:
    """The models that are new with what they served since, and those that are gone with what they served before."""
    new = [("new", it.model_id, it.count, it.share, f"since {_when(it.since, show)}") for it in document.new_models]
    gone = [
        ("gone", it.model_id, it.before, it.share_before, f"until {_when(it.last, show)}")
        for it in document.vanished_models
    ]
    rows = [
        (Cell(name), Cell(state), Cell(show.count(count)), Cell(show.percent(share)), Cell(when))
        for state, name, count, share, when in (*new, *gone)
    ]
    told = [f"{name.text} is {state.text}: {count.text} requests, {when.text}." for name, state, count, _, when in rows]
    return table("arrivals", "Models that came and went", "<Model | <State | Requests | Share | <When", rows, told=told)


def _when(instant: datetime, show: Formats) -> str:
    """A whole day by its date alone."""
    local = show.local(instant)
    return show.day(instant) if (local.hour, local.minute) == (0, 0) else show.instant(instant)
