"""Trends tell a change from noise, hour by hour."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from models.document import Direction, Filters, Trend
from models.period import Period
from tasks.gather import Gathered
from tasks.rollup import empty
from tasks.trend import trends
from tests.factories import MONDAY, hours

DAY = timedelta(days=1)


def gathered(start_day: int, rows: list[dict[str, Any]]) -> Gathered:
    period = Period(MONDAY + start_day * DAY, MONDAY + (start_day + 1) * DAY)
    rollups = hours(*rows)
    return Gathered(period, period, Filters(), rollups, rollups, empty(), None, None)


def day_of(start_day: int, times_ms: list[float]) -> Gathered:
    start = MONDAY + start_day * DAY
    return gathered(
        start_day,
        [
            {"timestamp": start + i * DAY / len(times_ms), "response_time_ms": ms, "cost_usd": ms / 1e5}
            for i, ms in enumerate(times_ms)
        ],
    )


def trend_of(metric: str, now: Gathered, before: Gathered) -> Trend:
    return next(trend for trend in trends(now, before, "previousPeriod") if trend.metric == metric)


def noise(seed: int, mean: float) -> list[float]:
    return list(np.random.default_rng(seed).gamma(4, mean / 4, 480))


def test_a_clear_rise_in_response_time_is_worse() -> None:
    """A doubled average is news, with an interval around the change."""
    trend = trend_of("responseTime", day_of(1, noise(1, 2000)), day_of(0, noise(2, 1000)))
    assert trend.direction is Direction.WORSE
    assert trend.change is not None
    assert trend.change.low is not None
    assert trend.change.low > 0


def test_a_clear_fall_in_response_time_is_better() -> None:
    """The same the other way round."""
    assert trend_of("responseTime", day_of(1, noise(1, 1000)), day_of(0, noise(2, 2000))).direction is Direction.BETTER


def test_noise_is_seldom_news() -> None:
    """Of many equal days, about one in twenty looks different, as a 95 % interval promises."""
    verdicts = [
        trend_of("responseTime", day_of(1, noise(2 * i, 1000)), day_of(0, noise(2 * i + 1, 1000))).direction
        for i in range(100)
    ]
    assert sum(verdict is not Direction.SAME for verdict in verdicts) <= 12


def test_more_traffic_is_neither_good_nor_bad() -> None:
    """The number of selections rises; it is called more."""
    trend = trend_of("totalSelections", day_of(1, noise(1, 1000) * 2), day_of(0, noise(2, 1000)))
    assert trend.direction is Direction.MORE
    assert trend.change_share == pytest.approx(1.0)


def test_without_data_there_is_no_verdict() -> None:
    """A period without rows is not compared, and the trend says so."""
    trend = trend_of("responseTime", day_of(1, noise(1, 1000)), gathered(0, []))
    assert (trend.direction, trend.before, trend.change) == (Direction.UNKNOWN, None, None)
    assert trend.reason == "no data in the period compared with"
    assert trend_of("cacheHitRate", day_of(1, [1.0]), day_of(0, [1.0])).reason == "no data in this period"


def test_a_few_hours_are_too_short_to_tell() -> None:
    """With data in fewer than six hours there is a change but no verdict."""
    trend = trend_of("responseTime", day_of(1, [1000.0] * 3), day_of(0, [2000.0] * 3))
    assert trend.direction is Direction.UNKNOWN
    assert trend.change is not None
    assert trend.change.low is None
    assert trend.reason == "too short to tell a change from chance"
