"""Rules: evaluate each minute's window for every rule and subject. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from models.documents import BudgetProjection
from models.kpis import KPIS, KpiDefinition, KpiName, Scatter
from models.notifications import AlertRule, Severity
from models.period import Level, floor_to
from models.settings import Alerting, Settings
from tasks.alerts.history import History
from tasks.alerts.learned_limits import warning_at
from tasks.alerts.lifecycle import Observation
from tasks.alerts.limits import Evaluation, KpiWindow, evaluate_fixed, evaluate_learned
from tasks.alerts.windows import COST_WINDOWS, MINUTE, OVERALL, by_subject, rolling, slowest
from tasks.statistics.intervals import standard_error

BUDGET_WARNING, BUDGET_CRITICAL = 0.8, 1.0
"""Used parts of the month's budget that alert."""

SLOWER_THAN_EVER = 4.0
"""A single selection alerts beyond this many times a baseline day's slowest."""

MISSED = 20.0
"""Baseline number of selections since the last one that alerts: by chance, one gap in e^20 is as long."""

SHORTEST_SILENCE = timedelta(minutes=5)

MINUTES_PER_DAY = 1440


@dataclass(frozen=True)
class WindowInputs:
    """Inputs of evaluations.

    `minutes` are rollups (tasks.rollups.aggregate.ROLLUP_COLUMNS) by the minute, from COST_WINDOWS windows before the
    first evaluation on; `last_before` is the time of the last selection before them. `histories` are by hour.
    """

    minutes: pl.DataFrame
    last_before: datetime | None
    histories: Mapping[datetime, History]


def evaluate_minutes(
    inputs: WindowInputs, first: datetime, last: datetime, settings: Settings
) -> Iterator[tuple[datetime, list[Evaluation]]]:
    """Yield the evaluations of each minute's window in [first, last]. Omits rules and subjects with too little data."""
    alerting, zone = settings.monitoring.alerting, settings.timezone
    length = timedelta(minutes=alerting.window_minutes)
    slow = slowest(inputs.minutes, first, last, length) if alerting.single_selections else {}
    at, ends = first, {minute + MINUTE for minute in inputs.minutes["bucket"].unique()}
    silent_from = max((end for end in ends if end <= first), default=inputs.last_before)
    windows = dict(_windows(inputs, first, last, length, zone))
    while at <= last:
        history = inputs.histories[floor_to(Level.HOUR, at, zone)]
        silent_from = at if at in ends else silent_from
        rows = windows.get(at, [])
        found = [finding for row in rows for finding in _kpis(row, history, settings, len(rows))]
        found += [
            _slow(at, row, slow[at, row["subject"]], history, settings) for row in rows if (at, row["subject"]) in slow
        ]
        if silent_from is not None:
            found.append(_silence(at, silent_from, history, alerting))
        yield at, found
        at += MINUTE


def evaluate_budget(at: datetime, budget: BudgetProjection) -> list[Evaluation]:
    """Evaluate against the month's budget: the used part, and the projection if it is certain enough."""
    if budget.monthly_usd is None or budget.used_share is None:
        return []
    breach: Severity | None = None
    if budget.used_share >= BUDGET_CRITICAL:
        breach = "critical"
    elif budget.used_share >= BUDGET_WARNING:
        breach = "warning"
    limit = budget.monthly_usd * (BUDGET_CRITICAL if breach == "critical" else BUDGET_WARNING)
    found = [
        Evaluation(
            AlertRule.BUDGET_USED,
            OVERALL,
            Observation(at, breach, is_recovered=breach is None),
            budget.used_usd,
            limit,
            detail=f"of {budget.month}",
        )
    ]
    projected = budget.projected_usd
    if projected is None or projected.low is None or budget.reason is not None:
        return found
    over, well = projected.low > budget.monthly_usd, projected.estimate <= budget.monthly_usd
    observation = Observation(at, "warning" if over else None, is_recovered=well and not over)
    detail = f"for {budget.month}, by what was spent so far"
    return [
        *found,
        Evaluation(
            AlertRule.BUDGET_PROJECTED, OVERALL, observation, projected.estimate, budget.monthly_usd, detail=detail
        ),
    ]


# ----------------------------------------------------------------------------------------------------------------------


def _windows(
    inputs: WindowInputs, first: datetime, last: datetime, length: timedelta, zone: str
) -> Iterator[tuple[datetime, list[dict[str, Any]]]]:
    """Return the windows by minute; each hour's costs are compared with the models that were adequate then."""
    start = first
    while start <= last:
        hour = floor_to(Level.HOUR, start, zone)
        until = start
        while until < last and floor_to(Level.HOUR, until + MINUTE, zone) == hour:
            until += MINUTE
        near = inputs.minutes.filter(pl.col("bucket") >= start - COST_WINDOWS * length, pl.col("bucket") < until)
        rows = rolling(by_subject(near, inputs.histories[hour].cheapest), start, until, length)
        for key, group in rows.sort("at", "subject").group_by("at", maintain_order=True):
            at: Any = key[0]
            yield at, group.to_dicts()
        start = until + MINUTE


def _kpis(row: dict[str, Any], history: History, settings: Settings, subjects: int) -> Iterator[Evaluation]:
    alerting, limits = settings.monitoring.alerting, settings.performance_metrics
    times = warning_at(subjects * len(KPIS), MINUTES_PER_DAY / alerting.window_minutes)
    both = history.cache_changed_at is None
    for name, kpi in KPIS.items():
        sample = int(row[kpi.parts.sample])
        if sample < alerting.minimum_sample * kpi.alert_windows or not row[kpi.parts.denominator]:
            continue
        window = _window(kpi, row)
        if alerting.thresholds == "fixed":
            yield evaluate_fixed(window, limits.of(name))
        else:
            yield evaluate_learned(window, limits.of(name), history.baseline(name, row["subject"]), times, both=both)


def _window(kpi: KpiDefinition, row: dict[str, Any]) -> KpiWindow:
    parts = kpi.parts
    above, below = row[parts.numerator], row[parts.denominator]
    value = above / below if parts.most is None else min(parts.most, above / below)
    window = KpiWindow(row["at"], kpi.name, row["subject"], value, int(row[parts.sample]))
    if parts.squares is None:
        return window
    if parts.scatter is Scatter.MEAN:
        return replace(window, error=standard_error(below, above, row[parts.squares]))
    # Spend is a sum of a random number of amounts, whose variance is the sum of their squares.
    return replace(window, relative_error=math.sqrt(row[parts.squares]) / below)


def _slow(at: datetime, row: dict[str, Any], slowest_ms: float, history: History, settings: Settings) -> Evaluation:
    """Evaluate a model's slowest single selection: a warning if beyond both the critical limit and the baseline.

    Without the baseline, a slow model would alert at every request.
    """
    critical, baseline = (
        settings.performance_metrics.of(KpiName.RESPONSE_TIME).critical,
        history.slowest_ms.get(row["subject"]),
    )
    limit = math.inf if baseline is None else max(critical, SLOWER_THAN_EVER * baseline)
    observation = Observation(at, "warning" if slowest_ms > limit else None, is_recovered=slowest_ms <= limit)
    sample, learned = int(row["response_time_count"]), limit > critical
    return Evaluation(
        AlertRule.SLOW_SELECTIONS, row["subject"], observation, slowest_ms, _known(limit), sample, learned=learned
    )


def _silence(at: datetime, silent_from: datetime, history: History, alerting: Alerting) -> Evaluation:
    silent = at - silent_from
    minutes, baseline = silent / MINUTE, history.baseline_count if alerting.thresholds == "auto" else None
    limit = float(alerting.no_data_minutes)
    if baseline is not None:
        limit = max(SHORTEST_SILENCE / MINUTE, MISSED * 60 / baseline) if baseline else math.inf
    observation = Observation(at, "critical" if minutes > limit else None, is_recovered=minutes <= limit)
    return Evaluation(AlertRule.NO_DATA, OVERALL, observation, minutes, _known(limit), learned=baseline is not None)


def _known(limit: float) -> float | None:
    return limit if math.isfinite(limit) else None
