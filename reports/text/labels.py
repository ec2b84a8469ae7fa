"""The words for metrics, states and changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.kpis import KPIS, LOWER_IS_BETTER, Direction, KpiName, KpiState
from models.metrics import Unit, metric_of
from reports.text.formatting import Formats, sign

if TYPE_CHECKING:
    from models.documents import Interval, ReportAlert, Trend

KPI_LABELS = {name: kpi.label for name, kpi in KPIS.items()}

METRICS_OF_KPI = {name: kpi.metric_names for name, kpi in KPIS.items()}
"""Names of a KPI's trend: the summary's name first."""

SPEND_METRICS = ("totalCost", "totalSpent")

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
"""A shape for each tone, so that colour is never the only sign of a state."""


_NUMBER_WORDS = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip


def metric_label(metric: str) -> str:
    """A metric's name for people. Raises ValueError for an unknown one, as do the others here."""
    return metric_of(metric).label


def metric_value(metric: str, number: float | None, show: Formats) -> str:
    """A metric's value in its unit."""
    return _in_unit(metric_of(metric).unit, number, show)


def metric_change(metric: str, change: float, show: Formats) -> str:
    """A signed difference in the metric's unit; ratios differ by percentage points."""
    match metric_of(metric).unit:
        case Unit.MILLISECONDS:
            return show.signed_milliseconds(change)
        case Unit.USD:
            return show.signed_money(change)
        case Unit.COUNT:
            return sign(change) + show.count(abs(change))
        case Unit.RATIO:
            return show.points(change)


def bounds_text(metric: str, change: Interval | None, show: Formats) -> str:
    """Return a difference's bounds as "low to high", in the metric's unit; empty if unknown."""
    if change is None or change.low is None or change.high is None:
        return ""
    return f"{metric_change(metric, change.low, show)} to {metric_change(metric, change.high, show)}"


def number_text(number: int) -> str:
    """A count as a sentence has it: in words as far as twelve."""
    return _NUMBER_WORDS[number] if 0 <= number < len(_NUMBER_WORDS) else f"{number:,}"


def sentence(words: str) -> str:
    """Words with a capital, unless they start with the name of a setting, and a full stop."""
    first = words.partition(" ")[0]
    began = words if "_" in first or "." in first else words[:1].upper() + words[1:]
    return f"{began}." if words and not words.endswith((".", "!", "?")) else began


def kpi_value(name: KpiName, number: float | None, show: Formats) -> str:
    """A KPI's value or limit in its unit."""
    return _in_unit(Unit(KPIS[name].unit), number, show)


def limit_text(name: KpiName, limit: float, show: Formats) -> str:
    """A target with its side: "at most 2 s"."""
    return f"{'at most' if name in LOWER_IS_BETTER else 'at least'} {limit_value(name, limit, show)}"


def limit_value(name: KpiName, limit: float, show: Formats) -> str:
    """A limit in its KPI's unit, as short as somebody would type it."""
    match Unit(KPIS[name].unit):
        case Unit.MILLISECONDS:
            return show.short_duration(limit)
        case Unit.RATIO:
            return show.round_percent(limit)
        case unit:
            return _in_unit(unit, limit, show)


# --- trends -----------------------------------------------------------------------------------------------------------


def change_text(trend: Trend, show: Formats) -> str:
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
    if metric_of(trend.metric).unit is Unit.RATIO:
        return f"{show.points(trend.change.estimate)}, {trend.direction.value}"
    if trend.change_share is None:
        return f"{metric_change(trend.metric, trend.change.estimate, show)}, {trend.direction.value}"
    if trend.direction in (Direction.MORE, Direction.LESS):
        return f"{show.percent(abs(trend.change_share))} {trend.direction.value}"
    return f"{show.signed_percent(trend.change_share)}, {trend.direction.value}"


# --- alerts ----------------------------------------------------------------------------------------------------------


def alert_text(alert: ReportAlert, show: Formats) -> str:
    """Which limit was crossed, by what."""
    name = KpiName(alert.rule)
    side = "above" if name in LOWER_IS_BETTER else "below"
    return f"{KPI_LABELS[name]} {kpi_value(name, alert.value, show)}, {side} {limit_value(name, alert.threshold, show)}"


def _in_unit(unit: Unit, number: float | None, show: Formats) -> str:
    match unit:
        case Unit.MILLISECONDS:
            return show.milliseconds(number)
        case Unit.USD:
            return show.money(number)
        case Unit.COUNT:
            return show.count(number)
        case Unit.RATIO:
            return show.percent(number)
