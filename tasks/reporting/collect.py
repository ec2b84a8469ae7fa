"""Collect: read the inputs of a report document from the database and compute them."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from models.database import reading
from models.documents import Document, Filters
from models.period import Level, Period, floor_to
from models.settings import Optimizer, Settings
from tasks.alerts.queries import list_fired
from tasks.bottlenecks.detect import detect_bottlenecks
from tasks.bottlenecks.inputs import RuleInputs, read_rule_inputs
from tasks.comparison.periods import known_end
from tasks.comparison.spend_drivers import Side, Spending
from tasks.forecasting.budget import SPENT, basis
from tasks.ingestion.intake import read_intake
from tasks.kpis.cost_efficiency import cheapest_adequate
from tasks.optimizer.apply import applied_in, with_optimization_ids
from tasks.optimizer.recommend import recommend
from tasks.optimizer.router_config import config_history, read_whole_config
from tasks.optimizer.router_values import UnreadableSetting
from tasks.optimizer.run_rate import read_since_changes, with_run_rates
from tasks.reporting.compose import COMPOSERS, compose
from tasks.reporting.material import ReportMaterial
from tasks.reporting.request import Request
from tasks.rollups.prompt_sample import read_prompts
from tasks.rollups.query import RollupSlice, hours_by, query_rollups_in, total_hours
from tasks.run_logger import logger
from tasks.statistics.randomization import OBSERVATIONAL, SPLIT_COLUMNS, SPLIT_KEYS, Split, split_of


def collect_material(engine: Engine, request: Request, settings: Settings, now: datetime) -> ReportMaterial:
    """Query the period and those it is compared with, and find bottlenecks and recommendations."""
    period, filters = request.period, request.filters
    limits = settings.performance_metrics
    with reading(engine) as connection:
        current = query_rollups_in(connection, period, filters)
        previous = query_rollups_in(connection, period.before(), filters)
        last_week = query_rollups_in(connection, period.week_before(), filters)
        weeks = query_rollups_in(connection, _four_weeks(current.period), Filters())
        spent = total_hours(connection, basis(known_end(current, now), period.zone), SPENT)
        # The day a week before is the same weekday.
        rule_inputs = read_rule_inputs(connection, current, (last_week, previous), limits)
        split = _split(connection, current, settings.optimizer)
        read_own = COMPOSERS[request.template].read_own
        own = read_own(connection, current, now) if read_own else None
        intake = read_intake(connection, current.period)
        fired = list_fired(connection, current.period, filters)
    bottlenecks = detect_bottlenecks(current.parts, limits, period.zone, current.hours, rule_inputs)
    cheapest = cheapest_adequate(_known_of_models(current, weeks), limits)
    config = read_whole_config(engine)
    for setting in config.values():
        if isinstance(setting, UnreadableSetting):
            logger().warning("the router's config: %s", setting)
    recommended = recommend(bottlenecks, current.parts, cheapest, config, settings.optimizer, split=split)
    with reading(engine) as connection:
        changes = read_since_changes(connection, current, sorted(cheapest), now)
    recommended = with_run_rates(recommended, current, cheapest, changes, settings.optimizer)
    return ReportMaterial(
        current=current,
        previous=previous,
        last_week=last_week,
        spent=spent,
        bottlenecks=bottlenecks,
        recommendations=with_optimization_ids(engine, recommended),
        applied=applied_in(engine, period.start, now),
        split=split,
        cheapest=cheapest,
        config_history=tuple(config_history(engine, period.start, now)),
        own=own,
        spending=_spending(rule_inputs, current, previous, last_week),
        fired_alerts=fired,
        intake=intake,
    )


def document_of(engine: Engine, request: Request, settings: Settings, now: datetime) -> Document:
    """Collect what a report needs from the database, and build its document; `now` becomes its generatedAt."""
    return compose(request, collect_material(engine, request, settings, now), settings, now)


def _known_of_models(current: RollupSlice, weeks: RollupSlice) -> pl.DataFrame:
    """Return the basis for adequate models: four weeks, as a day has too few rated selections of a rarely used one.

    If only some models or teams were requested, it covers only those; a longer period is its own basis.
    """
    filters = current.filters
    return current.parts if filters.leaves_out or current.period.hours > weeks.period.hours else weeks.parts


def _four_weeks(period: Period) -> Period:
    """Return the four weeks up to a period's end, from the start of a day, as full days are read quickly."""
    return Period(floor_to(Level.DAY, period.end - timedelta(weeks=4), period.zone), period.end, period.zone)


def _spending(rule_inputs: RuleInputs, current: RollupSlice, previous: RollupSlice, last_week: RollupSlice) -> Spending:
    """Return the evidence's periods by name; that of a week before comes first, if it does not overlap."""
    earlier = {"previousPeriod": Side(previous, rule_inputs.models_earlier[-1])}
    if len(rule_inputs.models_earlier) > 1:
        earlier["samePeriodLastWeek"] = Side(last_week, rule_inputs.models_earlier[0])
    return Spending(Side(current, rule_inputs.models), earlier)


def _split(connection: Connection, current: RollupSlice, optimizer: Optimizer) -> Split:
    """Compare the declared split with the period's hours and single prompts, which are only read for this."""
    if not optimizer.random_split:
        return OBSERVATIONAL
    hours = hours_by(connection, current, SPLIT_KEYS, SPLIT_COLUMNS)
    try:
        # Within a savepoint: PostgreSQL lets no other read follow one that failed.
        with connection.begin_nested():
            prompts = read_prompts(connection, current, hours)
    except DBAPIError as unreadable:
        logger().warning("single prompts cannot be read to check the declared split: %s", unreadable.orig)
        prompts = None
    return split_of(hours, optimizer, prompts)
