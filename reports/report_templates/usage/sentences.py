"""What changed in usage, in words."""

from __future__ import annotations

from datetime import timedelta

from models.documents import Direction, Mover, Trend, UsageReport, VolumeChange
from reports.text.formatting import Formats, sign
from reports.text.labels import number_text

_CARRIES = 0.5
"""Minimum part of a change for a contributor to be reported as its source."""


def compared_text(document: UsageReport) -> str:
    """What usage is compared with, as "a week before"."""
    weeks = max(1, round((document.period.start - document.compared_from) / timedelta(weeks=1)))
    return "a week before" if weeks == 1 else f"{number_text(weeks)} weeks before"


def change_text(change: VolumeChange, show: Formats) -> str:
    """By how much a volume changed where that is more than chance; else that nothing is known of it."""
    if change.direction is Direction.UNKNOWN:
        return "not known"
    if change.direction is Direction.SAME:
        return "no clear change"
    if not change.count:
        return "gone"
    return "new" if change.change_share is None else show.signed_percent(change.change_share)


def signed_count(count: int, show: Formats) -> str:
    """A difference in requests with its sign."""
    return f"{sign(count)}{show.count(abs(count))}"


# --- the headline -----------------------------------------------------------------------------------------------------


def usage_clauses(document: UsageReport, show: Formats) -> list[str]:
    """How much was asked and who made the change, which models came and went, and what users think of it."""
    return [_volume(document, show), _arrivals(document, show), _rating(document, show)]


def volume_state(document: UsageReport, show: Formats) -> str:
    """The change of volume for the subject of a mail: "13.9% more requests than two weeks before"; empty of none."""
    trend = document.trend_of(("totalSelections",))
    if trend is None or not _is_noteworthy(trend) or trend.change_share is None:
        return ""
    by = f"{show.percent(abs(trend.change_share))} {trend.direction.value}"
    return f"{by} requests than {compared_text(document)}"


# ----------------------------------------------------------------------------------------------------------------------


def _volume(document: UsageReport, show: Formats) -> str:
    count = document.usage_summary.total_selections
    trend = document.trend_of(("totalSelections",))
    made = f"{show.count(count)} {'request was' if count == 1 else 'requests were'} made"
    if trend is not None and _is_noteworthy(trend) and trend.change_share is not None:
        verb = "rose" if trend.direction is Direction.MORE else "fell"
        by = show.percent(abs(trend.change_share))
        clauses = f"requests {verb} {by} to {show.count(count)} against {compared_text(document)}"
        return f"{clauses}{_source(document, trend, show)}"
    known = f", about as many as {compared_text(document)}" if trend and trend.direction is Direction.SAME else ""
    return f"{made}{known}{_largest(document, show)}"


def _is_noteworthy(trend: Trend) -> bool:
    return trend.direction in (Direction.MORE, Direction.LESS)


def _source(document: UsageReport, trend: Trend, show: Formats) -> str:
    """Who made most of the change: a team, or else a class of requests. Models only answer what is asked."""
    whole = trend.change.estimate if trend.change else 0.0
    for dimension in ("team", "complexity"):
        made = [it for it in document.top_movers if it.dimension == dimension and _part(it) / whole >= _CARRIES]
        if made:
            most = max(made, key=lambda it: abs(_part(it)))
            return f", mostly through {_subject(most)} ({signed_count(_part(most), show)})"
    return ""


def _largest(document: UsageReport, show: Formats) -> str:
    """Who changed most beneath a total that did not."""
    movers = [it for it in document.top_movers if it.dimension != "model"]
    if not movers:
        return ""
    most, by = movers[0], show.percent(abs(movers[0].change_share or 0.0))
    if most.dimension == "team":
        did = (
            "is new" if not most.before else "asks no more" if not most.count else f"asked {by} {most.direction.value}"
        )
    else:
        did = "are new" if not most.before else "are gone" if not most.count else f"are {by} {most.direction.value}"
    return f", but {_subject(most)} {did}"


def _part(mover: Mover) -> int:
    return mover.count - mover.before


def _subject(mover: Mover) -> str:
    return f"team {mover.name}" if mover.dimension == "team" else f"{mover.name} requests"


def _arrivals(document: UsageReport, show: Formats) -> str:
    """Which models came and went; of several only the number."""
    parts = []
    for names, one, many in (
        ([it.model_id for it in document.new_models], "is new", "models are new"),
        ([it.model_id for it in document.vanished_models], "is gone", "models are gone"),
    ):
        if names:
            parts.append(f"{names[0]} {one}" if len(names) == 1 else f"{number_text(len(names))} {many}")
    return " and ".join(parts)


def _rating(document: UsageReport, show: Formats) -> str:
    rating, trend = document.usage_summary.user_satisfaction, document.trend_of(("userSatisfaction",))
    if rating is None:
        return "no user has rated the answers"
    clauses = f"user satisfaction is {show.percent(rating)}"
    if trend is None or trend.change is None or trend.direction not in (Direction.BETTER, Direction.WORSE):
        return clauses
    return f"{clauses}, {show.points(trend.change.estimate)} {trend.direction.value} than {compared_text(document)}"
