"""Survey: everything that a report document is made of, read from the database and worked out."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
from sqlalchemy import Connection, Engine

from models.database import reading
from models.documents import Filters
from models.period import Level, Period, floor_to
from models.settings import Optimizer, Settings
from tasks.alerts.queries import fired_in
from tasks.bottlenecks.detect import diagnose
from tasks.bottlenecks.inputs import Evidence, read_evidence
from tasks.comparison.periods import known_end
from tasks.comparison.spend_drivers import Side, Spending
from tasks.forecasting.budget import SPENT, basis
from tasks.kpis.cost_efficiency import cheapest_adequate
from tasks.optimizer.apply import applied_in, numbered
from tasks.optimizer.recommend import recommend
from tasks.optimizer.router_config import config_history, read_config
from tasks.reporting.compose import COMPOSERS
from tasks.reporting.material import Material
from tasks.reporting.request import Request
from tasks.rollups.query import Gathered, gather_from, hours_by, total_hours
from tasks.statistics.randomization import COLUMNS, KEYS, OBSERVATIONAL, Split, split_of


def survey(engine: Engine, request: Request, settings: Settings, now: datetime) -> Material:
    """Gathers the period and those it is compared with, and says what was found and could be done about it."""
    period, filters = request.period, request.filters
    limits = settings.performance_metrics
    with reading(engine) as connection:
        current = gather_from(connection, period, filters)
        previous = gather_from(connection, period.before(), filters)
        last_week = gather_from(connection, period.week_before(), filters)
        weeks = gather_from(connection, _four_weeks(current.period), Filters())
        spent = total_hours(connection, basis(known_end(current, now), period.zone), SPENT)
        # A day of the week before is the same weekday.
        evidence = read_evidence(connection, current, (last_week, previous), limits)
        split = _split(connection, current, settings.optimizer)
        read_own = COMPOSERS[request.template].read_own
        own = read_own(connection, current, now) if read_own else None
        fired = fired_in(connection, current.period, filters)
    bottlenecks = diagnose(current.parts, limits, period.zone, current.hours, evidence)
    cheapest = cheapest_adequate(_known_of_models(current, weeks), limits)
    config = read_config(engine)
    recommended = recommend(bottlenecks, current.parts, cheapest, config, settings.optimizer, split=split)
    return Material(
        current=current,
        previous=previous,
        last_week=last_week,
        spent=spent,
        bottlenecks=bottlenecks,
        recommendations=numbered(engine, recommended),
        applied=applied_in(engine, period.start, now),
        split=split,
        cheapest=cheapest,
        config_history=tuple(config_history(engine, period.start, now)),
        own=own,
        spending=_spending(evidence, current, previous, last_week),
        fired_alerts=fired,
    )


def _known_of_models(current: Gathered, weeks: Gathered) -> pl.DataFrame:
    """What tells which models are adequate: four weeks, as a day has too few judged selections of a rarely used one.

    Where only some models or teams were asked for, it is told from those; a longer period tells for itself.
    """
    filters = current.filters
    return current.parts if filters.leaves_out or current.period.hours > weeks.period.hours else weeks.parts


def _four_weeks(period: Period) -> Period:
    """The four weeks up to a period's end, from the beginning of a day on, as whole days are read quickly."""
    return Period(floor_to(Level.DAY, period.end - timedelta(weeks=4), period.zone), period.end, period.zone)


def _spending(evidence: Evidence, current: Gathered, previous: Gathered, last_week: Gathered) -> Spending:
    """The evidence's periods by name; that of a week before comes first, where it does not overlap."""
    earlier = {"previousPeriod": Side(previous, evidence.models_earlier[-1])}
    if len(evidence.models_earlier) > 1:
        earlier["samePeriodLastWeek"] = Side(last_week, evidence.models_earlier[0])
    return Spending(Side(current, evidence.models), earlier)


def _split(connection: Connection, current: Gathered, optimizer: Optimizer) -> Split:
    """The declared split held against the period's hours, which are read for nothing else."""
    if not optimizer.random_split:
        return OBSERVATIONAL
    return split_of(hours_by(connection, current, KEYS, COLUMNS), optimizer)
