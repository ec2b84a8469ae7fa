"""History: KPI baselines at an hour, learned from four weeks of rollups."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property
from threading import Lock

import polars as pl
from sqlalchemy import Connection, func, select

from models.documents import Filters
from models.kpis import KPIS, KpiName, Scatter
from models.period import Level, Period, floor_to
from models.schema import CONFIG_CHANGE
from models.settings import Settings
from tasks.alerts.learned_limits import LearnedBaseline, learn
from tasks.alerts.learning import LENGTH, InsufficientHistory
from tasks.alerts.windows import OVERALL, WINDOW_COLUMNS, Cheapest, by_subject, with_slowest
from tasks.kpis.cost_efficiency import cheapest_adequate
from tasks.rollups.query import query_rollups_in
from tasks.rollups.store import aggregate_rollups, between, crowded_names

DAYS_OF_SLOWEST = 7
"""Minimum days for a baseline of the slowest single selections."""

HISTORIES_KEPT = 26
"""A day of hours, plus both edges."""

NEAR = (-1, 0, 1)
"""Neighbouring hours that also count for an hour's baseline."""


class History:
    """History known at `hour`: `hours` by bucket and subject (tasks.alerts.windows.by_subject) over the four weeks
    before.

    `slowest_ms` is the median of the days' slowest selections per model, in ms. `cache_changed_at` is when a cache key
    was last changed in these weeks, if any.
    """

    def __init__(
        self,
        hour: datetime,
        zone: str,
        hours: pl.DataFrame,
        cheapest: Cheapest,
        slowest_ms: dict[str, float],
        *,
        cache_changed_at: datetime | None = None,
    ) -> None:
        self.hour, self.zone = hour, zone
        self.cheapest, self.slowest_ms, self.cache_changed_at = cheapest, slowest_ms, cache_changed_at
        self._hours = hours
        self._baselines: dict[tuple[KpiName, str], LearnedBaseline | InsufficientHistory] = {}
        self._of: dict[str, pl.DataFrame] = {}

    def baseline(self, kpi: KpiName, subject: str) -> LearnedBaseline | InsufficientHistory:
        """Return the baseline of a subject's KPI at this hour."""
        if (kpi, subject) not in self._baselines:
            parts = KPIS[kpi].parts
            columns = {"above": parts.numerator, "below": parts.denominator, "sample": parts.sample}
            if parts.scatter is Scatter.MEAN and parts.squares is not None:
                columns["above_sq"] = parts.squares
            frame = self._about(subject).select("bucket", **columns)
            self._baselines[kpi, subject] = learn(frame, kpi, self.hour, self.zone)
        return self._baselines[kpi, subject]

    @cached_property
    def baseline_count(self) -> float | None:
        """Return the baseline number of selections of this hour of the week; None before two whole weeks are known."""
        counts = dict(self._about(OVERALL).select("bucket", "count").iter_rows())
        weeks = (self.hour - min(counts)) // timedelta(weeks=1) if counts else 0
        if weeks < 2:  # noqa: PLR2004 - one week does not show the spread
            return None
        same = [self.hour - timedelta(weeks=week, hours=near) for week in range(1, weeks + 1) for near in NEAR]
        return float(pl.Series([counts.get(hour, 0) for hour in same]).median())  # type: ignore[arg-type]

    def _about(self, subject: str) -> pl.DataFrame:
        if subject not in self._of:
            self._of[subject] = self._hours.filter(pl.col("subject") == subject)
        return self._of[subject]


def known_at(connection: Connection, at: datetime, settings: Settings) -> History:
    """Return the history at the hour that contains `at`; cached, so that a process reads it once an hour."""
    hour = floor_to(Level.HOUR, at, settings.timezone)
    key = (str(connection.engine.url), hour, settings.timezone, settings.performance_metrics)
    with _reading:
        if key not in _histories:
            while len(_histories) >= HISTORIES_KEPT:
                del _histories[next(iter(_histories))]
            _histories[key] = _read(connection, hour, settings)
        return _histories[key]


def slowest_by_model(days: pl.DataFrame) -> dict[str, float]:
    """Return the median of the days' slowest selections in ms by model, from daily rollups; omits too few days."""
    by_day = with_slowest(days).group_by("model_id", "bucket").agg(pl.col("slowest_ms").max())
    known = by_day.group_by("model_id").agg(pl.col("slowest_ms").median(), days=pl.len())
    return {model: ms for model, ms, count in known.iter_rows() if count >= DAYS_OF_SLOWEST}


# ----------------------------------------------------------------------------------------------------------------------


_histories: dict[tuple[object, ...], History] = {}
_reading = Lock()


def _read(connection: Connection, hour: datetime, settings: Settings) -> History:
    zone = settings.timezone
    weeks = Period(floor_to(Level.DAY, hour - LENGTH, zone), hour, zone)
    days = query_rollups_in(connection, weeks, Filters()).parts
    cheapest = cheapest_adequate(days, settings.performance_metrics)
    where = between(Level.HOUR, weeks.start, weeks.end)
    keys = ("model_id", "complexity")
    hours = aggregate_rollups(connection, where, keys, WINDOW_COLUMNS, named=crowded_names(days))
    changed = select(func.max(CONFIG_CHANGE.c.changed_at)).where(
        CONFIG_CHANGE.c.key.startswith("cache."),
        CONFIG_CHANGE.c.changed_at >= weeks.start,
        CONFIG_CHANGE.c.changed_at < hour,
    )
    slowest_ms = slowest_by_model(days)
    return History(
        hour, zone, by_subject(hours, cheapest), cheapest, slowest_ms, cache_changed_at=connection.scalar(changed)
    )
