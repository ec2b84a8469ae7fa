"""The words of a report: names of metrics, and one sentence for each thing that was found or done."""

from __future__ import annotations

import re
from typing import Any

from models.document import (
    AppliedOptimization,
    Bottleneck,
    ConfigMove,
    Direction,
    ErrorBurst,
    HighCost,
    Interval,
    LowCacheHitRate,
    Place,
    Recommendation,
    ReportAlert,
    SlowResponse,
    Trend,
)
from models.kpi import LOWER_IS_BETTER, KpiName, KpiState
from reports.formats import NO_DATA, Formats

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
    "p95ResponseTime": "p95 response time",
    "userSatisfaction": "User satisfaction",
}

_BOTTLENECK_TITLES = {
    "slow_response": "Slow responses",
    "low_cache_hit_rate": "Low cache hit rate",
    "high_cost": "High cost per request",
    "error_burst": "Burst of errors",
}

_RECOMMENDATION_TITLES = {
    "cache_optimization": "Larger, longer-lived cache",
    "cache_strategy": "Better cache strategy",
    "model_selection": "Cheaper model",
}

COMPARED = {"previousPeriod": "the period before", "samePeriodLastWeek": "the same period a week before"}

TONES = {
    KpiState.ON_TARGET: "good",
    KpiState.OFF_TARGET: "off",
    KpiState.WARNING: "warning",
    KpiState.CRITICAL: "critical",
    KpiState.NO_DATA: "unknown",
}

STATUS_TONES = {"applied": "good", "waiting": "off", "proposed": "plain", "impossible": "unknown"}
STATUS_WORDS = {
    "applied": "applied",
    "waiting": "waits for approval",
    "proposed": "proposed",
    "impossible": "not possible",
}
SEVERITY_TONES = {"high": "critical", "medium": "warning", "low": "off"}
DIRECTION_TONES = {Direction.BETTER: "good", Direction.WORSE: "critical"}

MARKS = {"good": "✓", "off": "◆", "warning": "▲", "critical": "■", "unknown": "–", "plain": ""}
"""A shape for each tone, so that no state is told by colour alone."""


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
    return ("+" if change > 0 else "") + (show.count(change) if kind == "count" else show.number(change))


def kpi_value(name: KpiName, number: float | None, show: Formats) -> str:
    return show.milliseconds(number) if name is KpiName.RESPONSE_TIME else show.percent(number)


def limit_words(name: KpiName, limit: float, show: Formats) -> str:
    """A target with its side: "at most 2 s"."""
    return f"{'at most' if name in LOWER_IS_BETTER else 'at least'} {kpi_value(name, limit, show)}"


def between(interval: Interval | None, kind: str, show: Formats, level: str = "95%") -> str:
    """An estimate's bounds in brackets, or nothing."""
    bounds = show.interval(interval, kind)
    return f" ({level} interval {bounds})" if bounds else ""


# --- trends -----------------------------------------------------------------------------------------------------------


def change_words(trend: Trend, show: Formats) -> str:
    """One change for a tile: "12.2% worse than the period before"; empty where it is noise or not known."""
    if trend.direction in (Direction.SAME, Direction.UNKNOWN) or trend.change is None:
        return ""
    by = change_size(trend, show)
    return f"{by} than {COMPARED[trend.compared_with]}" if by else ""


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


# --- what was found ---------------------------------------------------------------------------------------------------


def bottleneck_title(bottleneck: Bottleneck | str) -> str:
    kind = bottleneck if isinstance(bottleneck, str) else bottleneck.type
    return _BOTTLENECK_TITLES.get(kind, kind.replace("_", " ").capitalize())


def bottleneck_text(found: Bottleneck, show: Formats) -> str:
    """What was measured, over how many requests, against which limit."""
    match found:
        case SlowResponse():
            part = between(_of_one(found.percentage_interval), "percent", show)
            return (
                f"{show.percent(found.percentage / 100)} of {show.count(found.sample)} requests with a known time "
                f"were slower than target{part}."
            )
        case LowCacheHitRate():
            part = between(found.rate_interval, "percent", show)
            return (
                f"The cache answered {show.percent(found.current_rate)} of {show.count(found.sample)} requests{part}; "
                f"the target is {show.percent(found.target_rate)}."
            )
        case HighCost():
            part = between(found.average_cost_interval, "money", show)
            return (
                f"A request cost {show.money(found.average_cost)} on average over {show.count(found.sample)} requests "
                f"with a known cost{part}."
            )
        case ErrorBurst():
            return (
                f"{show.percent(found.error_rate)} of {show.count(found.sample)} requests failed "
                f"({show.count(found.affected)} errors); usual is {show.percent(found.usual_error_rate)}. "
                f"{show.range(found.start, found.end)}."
            )


def place_name(place: Place) -> str:
    """Where, in words: "team search", "14:00 to 15:00"."""
    if place.dimension == "hour" and place.value.isdigit():
        return f"{int(place.value):02d}:00–{int(place.value) + 1:02d}:00"
    return f"{place.dimension} {place.value}"


def place_rate(found: Bottleneck, place: Place, show: Formats) -> str:
    """The bottleneck's own measure at one place."""
    return show.money(place.rate) if isinstance(found, HighCost) else show.percent(place.rate)


def rate_label(found: Bottleneck) -> str:
    """What `place_rate` measures."""
    return {
        "slow_response": "Slow there",
        "low_cache_hit_rate": "Hit rate there",
        "high_cost": "Average cost there",
        "error_burst": "Errors there",
    }[found.type]


def share_words(found: Bottleneck) -> str:
    """Of what a place's share is a part."""
    return {
        "slow_response": "of the slow requests",
        "low_cache_hit_rate": "of the misses",
        "high_cost": "of the spend",
        "error_burst": "of the errors",
    }[found.type]


# --- what was done or waits -------------------------------------------------------------------------------------------


def recommendation_title(item: Recommendation) -> str:
    return _RECOMMENDATION_TITLES.get(item.type, item.type.replace("_", " ").capitalize())


def recommendation_text(item: Recommendation, show: Formats) -> str:
    """What to do, and for a model what it would save and how accurate it would be."""
    parts = [f"{item.description.rstrip('.')}."]
    if item.from_model and item.to_model:
        scope = f" for {item.complexity} requests" if item.complexity else ""
        parts.append(f"{item.from_model} → {item.to_model}{scope}.")
    if item.savings_usd is not None:
        parts.append(f"{money_saved(item.savings_usd, show)}.")
    if item.accuracy_after is not None:
        accuracy = show.percent(item.accuracy_after.estimate)
        parts.append(f"Accuracy after: {accuracy}{between(item.accuracy_after, 'percent', show)}.")
    if item.sample is not None:
        kind = " (observational: nobody tried it)" if item.observational else ""
        parts.append(f"Judged from {show.count(item.sample)} requests{kind}.")
    return " ".join(parts)


def money_saved(savings: Interval, show: Formats) -> str:
    """A saving with its sign spelled out: a negative one is a loss."""
    verb = "Would have saved" if savings.estimate >= 0 else "Would have cost more:"
    size = Interval(estimate=abs(savings.estimate), low=savings.low, high=savings.high)
    if savings.estimate < 0 and savings.low is not None and savings.high is not None:
        size = Interval(estimate=-savings.estimate, low=-savings.high, high=-savings.low)
    return f"{verb} {show.money(size.estimate)}{between(size, 'money', show)}"


def move_text(move: ConfigMove | AppliedOptimization, show: Formats) -> str:
    return f"{move.key}: {config_value(move.from_value, show)} → {config_value(move.to_value, show)}"


def config_value(value: Any, show: Formats) -> str:
    """A config value as it would be typed, numbers grouped."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return show.number(value, 4)
    return str(value)


def alert_text(alert: ReportAlert, show: Formats) -> str:
    """Which limit was crossed, by what."""
    try:
        name = KpiName(alert.rule)
    except ValueError:
        return f"{metric_label(alert.rule)}: {show.number(alert.value, 4)} against {show.number(alert.threshold, 4)}"
    side = "above" if name in LOWER_IS_BETTER else "below"
    return f"{KPI_LABELS[name]} {kpi_value(name, alert.value, show)}, {side} {kpi_value(name, alert.threshold, show)}"


def _kind_of(metric: str) -> str:
    """Which method of Formats shows a metric."""
    name = metric.lower()
    if "time" in name:
        return "milliseconds"
    if "cost" in name and "efficiency" not in name or "spen" in name:
        return "money"
    if name.endswith(("selections", "count", "tokens", "requests")):
        return "count"
    if "rate" in name or "accuracy" in name or "efficiency" in name or "satisfaction" in name or "used" in name:
        return "percent"
    return "number"


def _of_one(interval: Interval) -> Interval:
    """An interval of percent (0..100) as one of shares."""
    low, high = interval.low, interval.high
    return Interval(
        estimate=interval.estimate / 100,
        low=None if low is None else low / 100,
        high=None if high is None else high / 100,
    )
