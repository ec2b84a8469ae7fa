"""One sentence for each thing that was found, and for each thing that was done or waits."""

from __future__ import annotations

from typing import Any

from models.documents import (
    AppliedOptimization,
    Bottleneck,
    ConfigChangeProposal,
    ErrorBurst,
    Evidence,
    HighCost,
    Hotspot,
    Interval,
    LowCacheHitRate,
    ModelRegression,
    Recommendation,
    SlowResponse,
    SpendSpike,
)
from reports.text.formatting import Formats
from reports.text.labels import KPI_LABELS, bounds_text, kpi_value, metric_change

_BOTTLENECK_TITLES = {
    "slow_response": "Slow responses",
    "low_cache_hit_rate": "Low cache hit rate",
    "high_cost": "High cost per request",
    "error_burst": "Burst of errors",
    "model_regression": "A model got worse",
    "spend_spike": "Spike of spend",
}

_RECOMMENDATION_TITLES = {
    "cache_optimization": "Larger, longer-lived cache",
    "cache_strategy": "Better cache strategy",
    "model_selection": "Cheaper model",
}

STATUS_TONES = {"applied": "good", "waiting": "off", "deferred": "plain", "proposed": "plain", "impossible": "unknown"}

STATUS_LABELS = {
    "applied": "applied",
    "waiting": "waits for approval",
    "deferred": "not yet",
    "proposed": "proposed",
    "impossible": "not possible",
}

SEVERITY_TONES = {"high": "critical", "medium": "warning", "low": "off"}


def between(interval: Interval | None, kind: str, show: Formats, level: str = "95%") -> str:
    """An estimate's bounds in brackets, or nothing."""
    bounds = show.interval(interval, kind)
    return f" ({level} interval {bounds})" if bounds else ""


EVIDENCE_LABELS: dict[Evidence | None, str] = {
    "observational": "observational: nobody tried it",
    "declared split, not checkable": "observational: the random split is declared, not checkable",
    "split checked": "from a random split, which was checked",
    "trial": "tried",
    None: "observational: nobody tried it",
}
"""What an estimate rests on; documents from before this was stored are silent of those that are not observational."""

NO_BOUNDS = "none"
"""In the place of an interval's bounds."""


def evidence_label(evidence: Evidence | None, *, observational: bool) -> str:
    """What an estimate rests on, in words; empty if that is not stored."""
    return EVIDENCE_LABELS[evidence] if evidence or observational else ""


def estimate_bounds(interval: Interval | None, kind: str, show: Formats, *, observational: bool) -> str:
    """The bounds of an estimate; of an observational one "none", as only chance is in them."""
    return show.interval(interval, kind) if interval is None or not observational else NO_BOUNDS


def shown_interval(interval: Interval, *, observational: bool) -> Interval:
    """The interval as it may be shown: without bounds if it is of an observational estimate."""
    return Interval(estimate=interval.estimate) if observational else interval


# --- what was found ---------------------------------------------------------------------------------------------------


def bottleneck_title(bottleneck: Bottleneck | str) -> str:
    """A heading for a bottleneck or its type."""
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
                f"the target is {show.round_percent(found.target_rate)}."
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
        case ModelRegression():
            before, after = (kpi_value(found.metric, value, show) for value in (found.before, found.after))
            bounds = bounds_text(found.metric, found.change, show)
            part = f" Change: {metric_change(found.metric, found.change.estimate, show)}"
            return (
                f"{found.model_id}: {KPI_LABELS[found.metric].lower()} went from {before} to {after} against "
                f"an earlier period, over {show.count(found.sample)} requests."
                f"{part}{f' (95% interval {bounds})' if bounds else ''}."
            )
        case SpendSpike():
            return (
                f"{show.money(found.cost_usd)} were spent on {show.count(found.affected)} requests, where the same "
                f"hours usually cost {show.money(found.usual_cost_usd)}. {show.range(found.start, found.end)}."
            )


def hotspot_name(hotspot: Hotspot) -> str:
    """Where, in words: "team search", "14:00–15:00"."""
    if hotspot.dimension == "hour":
        hour = hotspot.value
        return f"{int(hour):02d}:00–{int(hour) + 1:02d}:00" if hour.isdigit() else hour
    return f"{hotspot.dimension} {hotspot.value}"


def hotspot_rate(found: Bottleneck, rate: float | None, show: Formats) -> str:
    """The bottleneck's own measure, at one place or without it."""
    if isinstance(found, ModelRegression):
        return kpi_value(found.metric, rate, show)
    return show.money(rate) if isinstance(found, HighCost | SpendSpike) else show.percent(rate)


def hotspot_text(found: Bottleneck, hotspot: Hotspot, show: Formats) -> str:
    """One place in short: "team search (60.8% of the slow requests; without it 9.2%)"."""
    without = "" if hotspot.rate_without is None else f"; without it {hotspot_rate(found, hotspot.rate_without, show)}"
    return f"{hotspot_name(hotspot)} ({show.percent(hotspot.share)} {share_text(found)}{without})"


def rate_label(found: Bottleneck) -> str:
    """What `hotspot_rate` measures."""
    return {
        "slow_response": "Slow there",
        "low_cache_hit_rate": "Hit rate there",
        "high_cost": "Average cost there",
        "error_burst": "Errors there",
        "model_regression": "Value there",
        "spend_spike": "Spend there",
    }[found.type]


def share_text(found: Bottleneck) -> str:
    """Of what a place's share is a part."""
    return {
        "slow_response": "of the slow requests",
        "low_cache_hit_rate": "of the misses",
        "high_cost": "of the spend",
        "error_burst": "of the errors",
        "model_regression": "of the requests",
        "spend_spike": "of the spend",
    }[found.type]


# --- what was done or waits -------------------------------------------------------------------------------------------


def recommendation_title(item: Recommendation) -> str:
    """A heading for what is recommended."""
    return _RECOMMENDATION_TITLES.get(item.type, item.type.replace("_", " ").capitalize())


def recommendation_text(item: Recommendation, show: Formats) -> str:
    """What to do, and for a model what it would save and how accurate it would be."""
    parts = [f"{item.description.rstrip('.')}."]
    if item.from_model and item.to_model:
        scope = f" for {item.complexity} requests" if item.complexity else ""
        parts.append(f"{item.from_model} → {item.to_model}{scope}.")
    if item.savings_usd is not None:
        parts.append(f"{money_saved(shown_interval(item.savings_usd, observational=item.observational), show)}.")
    if item.run_rate_reason:
        parts.append(f"What it would save from now on is not known: {item.run_rate_reason}.")
    elif item.run_rate_since is not None and item.run_rate_usd_per_day is not None:
        since = show.instant(item.run_rate_since)
        rate = f"{show.rough_money(abs(item.run_rate_usd_per_day))} a day"
        gain = f"save about {rate}" if item.run_rate_usd_per_day >= 0 else f"cost about {rate} more"
        parts.append(f"Since the same requests were last changed, {since}, it would {gain}.")
    if item.accuracy_after is not None:
        accuracy = shown_interval(item.accuracy_after, observational=item.observational)
        parts.append(f"Accuracy after: {show.percent(accuracy.estimate)}{between(accuracy, 'percent', show)}.")
    if item.sample is not None:
        label = evidence_label(item.evidence, observational=item.observational) if item.savings_usd else ""
        no_interval = ", hence no interval" if item.savings_usd is not None and item.observational else ""
        kind = f" ({label}{no_interval})" if label else ""
        parts.append(f"Judged from {show.count(item.sample)} requests{kind}.")
    return " ".join(parts)


def money_saved(savings: Interval, show: Formats) -> str:
    """A saving with its sign spelled out: a negative one is a loss."""
    verb = "Would have saved" if savings.estimate >= 0 else "Would have cost more:"
    size = savings if savings.estimate >= 0 else negated(savings)
    return f"{verb} {show.money(size.estimate)}{between(size, 'money', show)}"


def negated(interval: Interval) -> Interval:
    """The same the other way round: a saving of -3 is a loss of 3."""
    low, high = interval.low, interval.high
    return Interval(
        estimate=-interval.estimate, low=None if high is None else -high, high=None if low is None else -low
    )


def config_change_text(move: ConfigChangeProposal | AppliedOptimization, show: Formats) -> str:
    """One key's change: "cache.ttl_seconds: 3,600 → 7,200"."""
    return f"{move.key}: {config_value(move.from_value, show)} → {config_value(move.to_value, show)}"


def config_value(value: Any, show: Formats) -> str:
    """A config value as it would be typed, numbers grouped."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return show.number(value, 4)
    if isinstance(value, dict) and {"candidate", "percent"} <= value.keys():
        return f"{value['candidate']} for {value['percent']} %"
    return str(value)


def _of_one(interval: Interval) -> Interval:
    """An interval of percent (0..100) as one of shares."""
    low, high = interval.low, interval.high
    return Interval(
        estimate=interval.estimate / 100,
        low=None if low is None else low / 100,
        high=None if high is None else high / 100,
    )
