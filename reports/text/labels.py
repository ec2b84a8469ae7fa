"""The words for metrics, states and changes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from models.kpi import LOWER_IS_BETTER, Direction, KpiName, KpiState
from reports.text.formatting import Formats, sign

if TYPE_CHECKING:
    from models.documents import Interval, ReportAlert, Trend

KPI_LABELS = {
    KpiName.RESPONSE_TIME: "Average response time",
    KpiName.SELECTION_ACCURACY: "Selection accuracy",
    KpiName.CACHE_HIT_RATE: "Cache hit rate",
    KpiName.COST_EFFICIENCY: "Cost efficiency",
    KpiName.ERROR_RATE: "Error rate",
}

METRICS_OF_KPI = {
    KpiName.RESPONSE_TIME: ("averageResponseTime", "responseTime"),
    KpiName.SELECTION_ACCURACY: ("selectionAccuracy", "accuracy"),
    KpiName.CACHE_HIT_RATE: ("cacheHitRate",),
    KpiName.COST_EFFICIENCY: ("efficiency", "costEfficiency"),
    KpiName.ERROR_RATE: ("errorRate",),
}
"""Under which names a trend tells of a KPI: the summary's name first."""

SPEND_METRICS = ("totalCost", "totalSpent")

_METRIC_LABELS = {
    **{metric: KPI_LABELS[kpi] for kpi, metrics in METRICS_OF_KPI.items() for metric in metrics},
    "totalSelections": "Requests",
    "totalCost": "Spend",
    "totalSpent": "Spend",
    "averageCostPerRequest": "Average cost per request",
    "averageCost": "Average cost per request",
    "slowShare": "Slow responses",
    "p95ResponseTime": "p95 response time",
    "promptTokensPerSelection": "Prompt tokens per request",
    "completionTokensPerSelection": "Completion tokens per request",
    "userSatisfaction": "User satisfaction",
}

COMPARED = {
    "previousPeriod": "the period before",
    "samePeriodLastWeek": "the same period a week before",
    "sameWeekdaysBefore": "the same weekdays before",
}

TONES = {
    KpiState.ON_TARGET: "good",
    KpiState.OFF_TARGET: "off",
    KpiState.WARNING: "warning",
    KpiState.CRITICAL: "critical",
    KpiState.NO_DATA: "unknown",
}

DIRECTION_TONES = {Direction.BETTER: "good", Direction.WORSE: "critical"}

MARKS = {"good": "✓", "off": "◆", "warning": "▲", "critical": "■", "unknown": "–", "plain": ""}
"""A shape for each tone, so that no state is told by colour alone."""


_NUMBER_WORDS = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip


def metric_label(metric: str) -> str:
    """A metric's name for people; an unknown one is split at its capitals."""
    return _METRIC_LABELS.get(metric) or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", metric).capitalize()


def metric_value(metric: str, number: float | None, show: Formats) -> str:
    """A metric's value in its unit, which follows from the name."""
    return str(getattr(show, _kind_of(metric))(number))


def metric_change(metric: str, change: float, show: Formats) -> str:
    """A signed difference in the metric's unit; shares differ by percentage points."""
    kind = _kind_of(metric)
    if kind == "percent":
        return show.points(change)
    if kind in ("money", "milliseconds"):
        return str(getattr(show, f"signed_{kind}")(change))
    size = show.count(abs(change)) if kind == "count" else show.number(abs(change))
    return sign(change) + size


def bounds_words(metric: str, change: Interval | None, show: Formats) -> str:
    """A difference's bounds as "low to high", in the metric's unit; empty where they cannot be told."""
    if change is None or change.low is None or change.high is None:
        return ""
    return f"{metric_change(metric, change.low, show)} to {metric_change(metric, change.high, show)}"


def number_word(number: int) -> str:
    """A count as a sentence has it: in words as far as twelve."""
    return _NUMBER_WORDS[number] if 0 <= number < len(_NUMBER_WORDS) else f"{number:,}"


def sentence(words: str) -> str:
    """Words with a capital, unless they start with the name of a setting, and a full stop."""
    first = words.partition(" ")[0]
    began = words if "_" in first or "." in first else words[:1].upper() + words[1:]
    return f"{began}." if words and not words.endswith((".", "!", "?")) else began


def kpi_value(name: KpiName, number: float | None, show: Formats) -> str:
    """A KPI's value or limit in its unit."""
    return show.milliseconds(number) if name is KpiName.RESPONSE_TIME else show.percent(number)


def limit_words(name: KpiName, limit: float, show: Formats) -> str:
    """A target with its side: "at most 2 s"."""
    return f"{'at most' if name in LOWER_IS_BETTER else 'at least'} {limit_value(name, limit, show)}"


def limit_value(name: KpiName, limit: float, show: Formats) -> str:
    """A limit in its KPI's unit, as short as somebody would type it."""
    return show.short_duration(limit) if name is KpiName.RESPONSE_TIME else show.round_percent(limit)


# --- trends -----------------------------------------------------------------------------------------------------------


def change_words(trend: Trend, show: Formats) -> str:
    """One change for a tile: "12.2% worse than the period before"; empty where it is noise or not known."""
    if trend.direction in (Direction.SAME, Direction.UNKNOWN) or trend.change is None:
        return ""
    by = change_size(trend, show)
    until = f", up to {show.clock(trend.upto)}" if trend.upto else ""
    return f"{by} than {COMPARED[trend.compared_with]}{until}" if by else ""


def change_size(trend: Trend, show: Formats) -> str:
    """By how much, and which way: "+0.13 s, worse", "12.2% more". Empty where it is not known."""
    if trend.change is None:
        return ""
    if _kind_of(trend.metric) == "percent":
        return f"{show.points(trend.change.estimate)}, {trend.direction.value}"
    if trend.change_share is None:
        return f"{metric_change(trend.metric, trend.change.estimate, show)}, {trend.direction.value}"
    if trend.direction in (Direction.MORE, Direction.LESS):
        return f"{show.percent(abs(trend.change_share))} {trend.direction.value}"
    return f"{show.signed_percent(trend.change_share)}, {trend.direction.value}"


# --- alerts ----------------------------------------------------------------------------------------------------------


def alert_text(alert: ReportAlert, show: Formats) -> str:
    """Which limit was crossed, by what."""
    try:
        name = KpiName(alert.rule)
    except ValueError:
        return f"{metric_label(alert.rule)}: {show.number(alert.value, 4)} against {show.number(alert.threshold, 4)}"
    side = "above" if name in LOWER_IS_BETTER else "below"
    return f"{KPI_LABELS[name]} {kpi_value(name, alert.value, show)}, {side} {limit_value(name, alert.threshold, show)}"


def _kind_of(metric: str) -> str:
    """Which method of Formats shows a metric."""
    name = metric.lower()
    if "time" in name:
        return "milliseconds"
    if ("cost" in name and "efficiency" not in name) or "spen" in name:
        return "money"
    if name.endswith(("selections", "count", "tokens", "requests", "tokensperselection")):
        return "count"
    if any(part in name for part in ("rate", "share", "accuracy", "efficiency", "satisfaction", "used")):
        return "percent"
    return "number"
