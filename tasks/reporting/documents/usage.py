"""The usage report's document, and its own inputs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from models.documents import UsageReport
from models.report_template import Template
from tasks.comparison.expected_volume import hours_of_week, volume, volume_bucket
from tasks.comparison.periods import final_until
from tasks.comparison.trends import USAGE_METRICS, trends
from tasks.comparison.usage import group_usage, usage_summary, volume_trend
from tasks.comparison.volume import VOLUME_MINIMUM_SAMPLE, Before, weeks_before
from tasks.reporting.composition import LARGEST_TEAMS_SHOWN, Composer, Composition
from tasks.rollups.query import RollupSlice, query_rollups_in


def compose_usage(composition: Composition) -> UsageReport:
    """Build the document: requests by team and time, compared with the same weekdays before."""
    current, before = composition.material.current, composition.material.own
    if not isinstance(before, Before):
        raise TypeError("usage is compared with what was before, which was not gathered")
    groups, compared, bucket = group_usage(current, before), before.same_weekdays, volume_bucket(current.period)
    final_at = final_until(current, composition.now)
    tokens_and_ratings = trends(current, compared, "sameWeekdaysBefore", USAGE_METRICS, final_at=final_at)
    return UsageReport(
        **composition.header,
        usage_summary=usage_summary(current, composition.period),
        compared_from=compared.period.start,
        compared_to=compared.period.end,
        model_usage=groups.models,
        complexity_usage=groups.complexities,
        team_usage=groups.teams[:LARGEST_TEAMS_SHOWN],
        teams_left_out=max(0, len(groups.teams) - LARGEST_TEAMS_SHOWN),
        top_movers=groups.movers,
        new_models=groups.new,
        vanished_models=groups.vanished,
        least_selections=VOLUME_MINIMUM_SAMPLE,
        days_before=before.known_days,
        usage_trend=(volume_trend(current, before), *tokens_and_ratings),
        volume_bucket=bucket,
        volume=volume(current, before, bucket),
        hours_of_week=hours_of_week(current),
        applied_optimizations=tuple(composition.material.applied),
    )


def read_before(connection: Connection, current: RollupSlice, now: datetime) -> Before:
    """Return the comparison periods of usage, over the same models, teams and complexities."""
    period, filters = current.period, current.filters
    same_weekdays = query_rollups_in(connection, period.same_weekdays_before(), filters)
    known_until = min(now, current.rollups_updated_at or now)
    return Before(same_weekdays, query_rollups_in(connection, weeks_before(period), filters), known_until)


COMPOSER = Composer(Template.USAGE, compose_usage, read_before)
