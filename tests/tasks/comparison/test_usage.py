"""Usage shows who asks how much, and no change that chance would make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from sqlalchemy import Engine

from models.database import open_database
from models.documents import Direction, Filters, Mover, UsageReport
from models.period import Period
from models.report_template import Template
from models.schema import OTHER_MODELS
from models.settings import Settings
from reports.report_templates.view import headline
from tasks.comparison.expected_volume import hours_of_week, volume, volume_bucket
from tasks.comparison.usage import Groups, group_usage, usage_summary, volume_trend
from tasks.comparison.volume import Before, weeks_before
from tasks.reporting.collect import collect_material
from tasks.reporting.compose import compose
from tasks.reporting.request import Request
from tasks.rollups.aggregate import empty, rollup_schema
from tasks.rollups.checkpoint import RollupSettings
from tasks.rollups.query import RollupSlice
from tasks.rollups.update import update_rollups
from tasks.statistics.intervals import student
from tests.support.databases import migrated_sqlite
from tests.support.factories import MONDAY, hours, insert_selections, selections
from tests.support.usage_documents import period_part

ZONE = "Europe/Berlin"
FIRST = datetime(2026, 8, 31, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)
"""A Monday; the periods under test begin five weeks later."""
DAY, WEEK = timedelta(days=1), timedelta(weeks=1)

Volumes = Mapping[tuple[str, str, str], float]
"""Selections a day by model, complexity and team."""

USUAL: Volumes = {
    ("swift", "simple", "search"): 300,
    ("swift", "simple", "support"): 200,
    ("atlas", "complex", "search"): 80,
    ("atlas", "complex", "research"): 40,
}


def simulated(
    volumes: Callable[[date], Volumes], days: int, seed: int, *, day_effect: float = 0.08, first: datetime = FIRST
) -> pl.DataFrame:
    """Rollups by day, at weekends of a third of the selections; a day is busy for all groups at once."""
    chance = np.random.default_rng(seed)
    rows = []
    for index in range(days):
        at = first + index * DAY
        day = at.astimezone(ZoneInfo(ZONE)).date()
        busy = chance.lognormal(0, day_effect) * (1 if day.weekday() < 5 else 0.33)
        for (model, complexity, team), usual in volumes(day).items():
            count = int(chance.poisson(usual * busy))
            if count:
                row: dict[str, Any] = dict.fromkeys(rollup_schema(), 0)
                rows.append(row | {"bucket": at, "model_id": model, "complexity": complexity, "team": team,
                                   "count": count, "latency_histogram": b""})  # fmt: skip
    return pl.DataFrame(rows, schema=rollup_schema(), orient="row")


def within(rollups: pl.DataFrame, period: Period) -> RollupSlice:
    inside = rollups.filter(pl.col("bucket").is_between(period.start, period.end, closed="left"))
    return RollupSlice(period, period, Filters(), inside, inside, empty(), None, None)


def compared(rollups: pl.DataFrame, days: int = 7, weeks: int = 5) -> tuple[RollupSlice, Before]:
    """Return so many days, after so many weeks, and what they are compared with."""
    period = Period(FIRST + weeks * WEEK, FIRST + weeks * WEEK + days * DAY, ZONE)
    before = Before(within(rollups, period.same_weekdays_before()), within(rollups, weeks_before(period)))
    return within(rollups, period), before


def with_more(key: tuple[str, str, str], times: float, since: date) -> Callable[[date], Volumes]:
    return lambda day: {**USUAL, key: USUAL.get(key, 100) * (times if day >= since else 1)}


def group(groups: Groups, name: str) -> Any:
    return next(it for it in (*groups.models, *groups.complexities, *groups.teams) if it.name == name)


LAST_WEEK = date(2026, 10, 5)


# --- changes ----------------------------------------------------------------------------------------------------------


def test_a_team_that_asks_more_is_reported_with_its_volume_and_the_others_are_not() -> None:
    more = with_more(("atlas", "complex", "research"), 4, LAST_WEEK)
    groups = group_usage(*compared(simulated(more, 42, seed=1)))
    moved = {it.name: it for it in groups.movers}
    assert set(moved) == {"research", "complex", "atlas"}
    assert {it.direction for it in groups.movers} == {Direction.MORE}
    research = moved["research"]
    assert research.count - research.before == pytest.approx(3 * 40 * 5.66, rel=0.2)
    assert group(groups, "support").direction is Direction.SAME
    assert group(groups, "research").share == pytest.approx(160 / 740, rel=0.1)


def test_a_team_that_asks_less_is_reported_with_its_sign() -> None:
    groups = group_usage(*compared(simulated(with_more(("swift", "simple", "support"), 0.4, LAST_WEEK), 42, seed=1)))
    assert groups.movers[0].name in ("support", "simple", "swift")
    assert all(mover.direction is Direction.LESS for mover in groups.movers)
    assert all(
        mover.change is not None and mover.change.high is not None and mover.change.high < 0 for mover in groups.movers
    )


@pytest.mark.parametrize("days", [1, 7])
def test_chance_is_seldom_a_change_of_any_group(days: int) -> None:
    """The bounds hold for all groups at once, also where whole days are busy or quiet: about one report in twenty."""
    reported = [bool(group_usage(*compared(simulated(lambda _: USUAL, 42, seed), days)).movers) for seed in range(60)]
    assert sum(reported) <= 6


@pytest.mark.parametrize("days", [1, 7])
def test_chance_is_seldom_a_change_of_all_requests(days: int) -> None:
    found = [volume_trend(*compared(simulated(lambda _: USUAL, 42, seed), days)).direction for seed in range(60)]
    assert sum(direction is not Direction.SAME for direction in found) <= 8


def test_a_monday_is_no_change_from_a_sunday_but_a_doubled_monday_is() -> None:
    quiet = simulated(lambda _: USUAL, 42, seed=3)
    doubled = simulated(
        lambda day: {key: 2 * it for key, it in USUAL.items()} if day == LAST_WEEK else USUAL, 42, seed=3
    )
    assert volume_trend(*compared(quiet, days=1)).direction is Direction.SAME
    trend = volume_trend(*compared(doubled, days=1))
    assert trend.direction is Direction.MORE
    assert trend.change_share == pytest.approx(1, abs=0.5)


def test_more_compared_groups_widen_the_bounds() -> None:
    """Of fifty teams without a change none is reported, though each alone would be in one of twenty reports."""
    teams = {("swift", "simple", f"team-{index}"): 30.0 for index in range(50)}
    reported = [
        bool(group_usage(*compared(simulated(lambda _: teams, 42, seed, day_effect=0.0))).movers) for seed in range(20)
    ]
    assert sum(reported) <= 3


# --- what is not known ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known_since", "days", "reason"),
    [
        (0, 7, "no data on the same weekdays before"),
        (7, 7, "the same weekdays before are not known in full"),
        (8, 1, "too few days are known to tell a change from chance"),
        (8, 7, None),
        (15, 1, None),
    ],
    ids=["no before", "partly known", "too few days", "with its own days", "enough"],
)
def test_an_unknown_trend_gives_its_reason(known_since: int, days: int, reason: str | None) -> None:
    """The day on which data begins may have begun before it, so it is not known in full."""
    since = FIRST + 5 * WEEK - known_since * DAY
    current, before = compared(simulated(lambda _: USUAL, known_since + 7, seed=5, first=since), days=days)
    trend, groups = volume_trend(current, before), group_usage(current, before)
    assert trend.reason == reason
    assert (trend.direction is Direction.UNKNOWN) is (reason is not None)
    assert {it.reason for it in groups.teams} == {reason}
    assert bool(groups.movers) is False


def test_a_period_that_is_not_over_is_not_compared() -> None:
    current, before = compared(simulated(lambda day: USUAL if day < LAST_WEEK + 3 * DAY else {}, 42, seed=2))
    still_open = replace(before, known_until=current.period.start + 3 * DAY)
    trend = volume_trend(current, still_open)
    assert (trend.direction, trend.reason) == (
        Direction.UNKNOWN, "the period is not over yet, or not all of it has been counted",
    )  # fmt: skip
    points = volume(current, still_open, "day")
    assert [it.usual is not None for it in points] == [True] * 3 + [False] * 4
    assert (group_usage(current, still_open).movers, group_usage(current, still_open).vanished) == ((), ())


def test_a_handful_of_requests_is_not_assessed() -> None:
    few = {**USUAL, ("swift", "simple", "intern"): 1.0}
    intern = group(group_usage(*compared(simulated(lambda _: few, 42, seed=2))), "intern")
    assert (intern.direction, intern.reason) == (Direction.UNKNOWN, "fewer than 30 selections")


def test_without_selections_everything_is_unknown_and_nothing_is_0_percent() -> None:
    current, before = compared(empty())
    summary, groups = usage_summary(current, period_part(current.period)), group_usage(current, before)
    assert (summary.total_selections, summary.prompt_tokens, summary.teams, summary.peak_hour) == (0, None, None, None)
    assert (groups.models, groups.teams, groups.movers, groups.new, groups.vanished) == ((), (), (), (), ())
    assert volume_trend(current, before).reason == "no data on the same weekdays before"


def test_teams_that_are_never_recorded_are_no_group() -> None:
    nameless = {("swift", "simple", ""): 100.0, ("atlas", "", ""): 100.0}
    groups = group_usage(*compared(simulated(lambda _: nameless, 42, seed=2)))
    assert groups.teams == ()
    assert {it.name for it in groups.complexities} == {"simple", "unclassified"}


# --- models that come and go ------------------------------------------------------------------------------------------


def test_models_that_come_and_go_are_named_once() -> None:
    def volumes(day: date) -> Volumes:
        moved = "nano" if day >= LAST_WEEK + 2 * DAY else "atlas"
        return {
            **USUAL,
            (moved, "complex", "search"): 90,
            **({} if day >= LAST_WEEK else {("old", "simple", "search"): 40}),
        }

    current, before = compared(simulated(volumes, 42, seed=4))
    groups = group_usage(current, before)
    (new,), (gone,) = groups.new, groups.vanished
    assert (new.model_id, new.since) == ("nano", current.period.start + 2 * DAY)
    assert (gone.model_id, gone.last) == ("old", current.period.start - DAY)
    assert gone.share_before == pytest.approx(40 / 700, rel=0.2)


def test_a_model_that_served_weeks_ago_is_not_new() -> None:
    def volumes(day: date) -> Volumes:
        return USUAL if LAST_WEEK - 3 * WEEK <= day < LAST_WEEK else {**USUAL, ("old", "simple", "search"): 50}

    assert group_usage(*compared(simulated(volumes, 42, seed=4))).new == ()


def test_a_model_that_serves_in_bursts_is_not_gone_in_a_quiet_week() -> None:
    """A batch on some days shows in how its days scatter; so does its absence."""

    def volumes(day: date) -> Volumes:
        batch = day in {LAST_WEEK - step * DAY for step in (28, 19, 5)}
        return {**USUAL, **({("batch", "simple", "search"): 400} if batch else {})}

    assert group_usage(*compared(simulated(volumes, 42, seed=4))).vanished == ()


def test_a_model_that_may_be_counted_with_others_is_neither_new_nor_gone_nor_a_mover() -> None:
    """In a crowded bucket a model loses its name, not its selections; a change beyond those is still told."""

    def crowded(now: str, before: str, team: str) -> Groups:
        many, few = (now, "simple", team), (before, "simple", team)
        usual = {**USUAL, (OTHER_MODELS, "simple", "search"): 150}
        volumes = lambda day: {**usual, (many if day >= LAST_WEEK else few): 100}  # noqa: E731
        return group_usage(*compared(simulated(volumes, 42, seed=6)))

    groups = crowded("late", "early", "search")
    assert (groups.new, groups.vanished) == ((), ())
    assert not {"late", "early", OTHER_MODELS} & {it.name for it in groups.movers}
    reason = group(groups, "late").reason
    assert (group(groups, "late").direction, reason) == (
        Direction.UNKNOWN, "as many selections or more are counted together with others'"
    )  # fmt: skip
    more = with_more(("swift", "simple", "search"), 4, LAST_WEEK)
    groups = group_usage(*compared(simulated(lambda day: {**more(day), (OTHER_MODELS, "simple", "search"): 20}, 42, 7)))
    assert group(groups, "swift").direction is Direction.MORE


def test_in_the_first_week_no_model_is_new() -> None:
    assert group_usage(*compared(simulated(lambda _: USUAL, 42, seed=4), weeks=0)).new == ()


# --- baselines --------------------------------------------------------------------------------------------------------


def by_hour(seed: int, spike: datetime | None = None) -> pl.DataFrame:
    """Return six weeks of hours with a rhythm over the day, one hour of them tripled where requested."""
    chance = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for hour in range(6 * 168):
        at = FIRST + timedelta(hours=hour)
        usual = 4 + 40 * np.exp(-((at.hour - 12) ** 2) / 20) * (3 if at == spike else 1)
        row: dict[str, Any] = dict.fromkeys(rollup_schema(), 0)
        rows.append(row | {"bucket": at, "model_id": "m", "complexity": "", "team": "",
                           "count": int(chance.poisson(usual)), "latency_histogram": b""})  # fmt: skip
    return pl.DataFrame(rows, schema=rollup_schema(), orient="row")


@pytest.mark.parametrize("days", [1, 7])
def test_chance_seldom_leaves_the_baseline(days: int) -> None:
    """In one of twenty periods, wherever in them; quiet hours with a few requests are no exception."""
    left = 0
    for seed in range(60):
        current, before = compared(by_hour(seed), days)
        points = volume(current, before, volume_bucket(current.period))
        left += any(not it.usual.low <= it.count <= it.usual.high for it in points)  # type: ignore[union-attr,operator]
    assert left <= 8


def test_an_unusual_hour_is_outside_the_baseline() -> None:
    spike = FIRST + 5 * WEEK + timedelta(hours=13)
    current, before = compared(by_hour(1, spike), days=1)
    points = {it.start: it for it in volume(current, before, "hour")}
    assert [start for start, it in points.items() if it.usual and it.usual.high and it.count > it.usual.high] == [spike]
    assert usage_summary(current, period_part(current.period)).peak_hour is not None


def test_a_single_week_has_no_baseline() -> None:
    current, before = compared(by_hour(1), weeks=1)
    assert {it.usual for it in volume(current, before, "day")} == {None}


def test_hours_of_the_week_are_averages_over_their_days() -> None:
    rows = [{"timestamp": MONDAY + timedelta(minutes=20 * index)} for index in range(6)]
    period = Period(MONDAY, MONDAY + 8 * DAY)
    current = RollupSlice(period, period, Filters(), hours(*rows), hours(*rows), empty(), None, None)
    found = {(it.weekday, it.hour): it.selections for it in hours_of_week(current)}
    assert len(found) == 168
    # Two Mondays: three selections in the first hour of one of them.
    assert (found[0, 0], found[0, 1], found[0, 2], found[1, 0]) == (1.5, 1.5, 0, 0)


def test_a_part_of_an_hour_has_a_part_of_its_baseline() -> None:
    rollups = by_hour(1)
    period = Period(FIRST + 5 * WEEK + timedelta(hours=13, minutes=30), FIRST + 5 * WEEK + timedelta(hours=15), ZONE)
    before = Before(within(rollups, period.same_weekdays_before()), within(rollups, weeks_before(period)))
    half, whole = volume(within(rollups, period), before, "hour")
    assert half.usual is not None
    assert whole.usual is not None
    assert half.usual.estimate / whole.usual.estimate == pytest.approx(0.5, abs=0.1)


# --- from the database ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Return three weeks of selections by two teams, the third with a model of its own."""
    opened = open_database(migrated_sqlite(tmp_path_factory.mktemp("usage")))
    rows = [
        {
            "timestamp": MONDAY + timedelta(minutes=30 * index),
            "model_id": "nano" if index >= 14 * 48 and index % 4 == 0 else "swift",
            "team": ("search", "support")[index % 2],
            "complexity": "simple",
        }
        for index in range(21 * 48)
    ]
    insert_selections(opened, selections(*rows))
    update_rollups(opened, RollupSettings("UTC", 2000.0), now=MONDAY + 22 * DAY)
    return opened


def reported(engine: Engine, filters: Filters) -> UsageReport:
    request = Request("custom", Template.USAGE, Period(MONDAY + 14 * DAY, MONDAY + 21 * DAY), filters=filters)
    settings, now = Settings(), MONDAY + 22 * DAY
    document = compose(request, collect_material(engine, request, settings, now), settings, now)
    assert isinstance(document, UsageReport)
    return document


def test_a_report_adds_up_to_its_selections(engine: Engine) -> None:
    document = reported(engine, Filters())
    assert document.usage_summary.total_selections == 7 * 48
    for groups in (document.model_usage, document.complexity_usage, document.team_usage):
        assert sum(it.count for it in groups) == 7 * 48
        assert sum(it.share or 0 for it in groups) == pytest.approx(1)
    assert sum(point.count for point in document.volume) == 7 * 48
    assert (document.compared_from, document.compared_to) == (MONDAY + 7 * DAY, MONDAY + 14 * DAY)
    assert [it.model_id for it in document.new_models] == ["nano"]
    assert "nano" in headline(document)


def test_a_report_on_one_team_is_compared_with_that_team(engine: Engine) -> None:
    document = reported(engine, Filters(teams=("support",)))
    assert document.usage_summary.total_selections == 7 * 24
    assert [(it.name, it.count, it.before) for it in document.team_usage] == [("support", 7 * 24, 7 * 24)]
    assert document.new_models == ()


# --- the numbers ------------------------------------------------------------------------------------------------------


def test_tokens_and_ratings_are_over_what_is_known() -> None:
    rows = [
        {
            "timestamp": MONDAY,
            "team": "search",
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "user_satisfaction": 0.8,
        },
        {"timestamp": MONDAY, "team": "search", "prompt_tokens": 300, "completion_tokens": None, "error": True},
        {"timestamp": MONDAY, "team": "support", "prompt_tokens": None, "completion_tokens": None},
    ]
    period = Period(MONDAY, MONDAY + DAY)
    current = RollupSlice(period, period, Filters(), hours(*rows), hours(*rows), empty(), None, None)
    nothing = RollupSlice(period, period, Filters(), empty(), empty(), empty(), None, None)
    search, support = group_usage(current, Before(nothing, nothing)).teams
    assert (search.prompt_tokens, search.completion_tokens, search.tokens_per_selection) == (400, 50, 250.0)
    assert (search.user_satisfaction, search.satisfaction_coverage.known, search.error_rate) == (0.8, 1, 0.5)
    assert (support.prompt_tokens, support.tokens_per_selection, support.user_satisfaction) == (None, None, None)
    assert usage_summary(current, period_part(period)).selections_per_day == 3


def test_the_largest_movers_come_first() -> None:
    def volumes(day: date) -> Volumes:
        return {("m", "c", f"t{index}"): 100 + (40 * index if day >= LAST_WEEK else 0) for index in range(12)}

    movers: tuple[Mover, ...] = group_usage(*compared(simulated(volumes, 42, seed=4))).movers
    changes = [abs(mover.count - mover.before) for mover in movers]
    assert len(movers) == 8
    assert changes == sorted(changes, reverse=True)
    # A single model and a single class change as all requests do, which is reported already.
    assert {mover.dimension for mover in movers} == {"team"}


@pytest.mark.parametrize(
    ("freedom", "level", "quantile"), [(6, 0.95, 2.447), (6, 0.999, 5.959), (21, 0.95, 2.080), (100, 0.99, 2.626)]
)
def test_students_quantiles_are_those_of_the_tables(freedom: int, level: float, quantile: float) -> None:
    assert 0.999 < student(level, freedom) / quantile < 1.02
