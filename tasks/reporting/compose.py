"""Compose: a report document from what was gathered, measured and recommended. Pure but for the clock it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE

from models.context import Workplace
from models.documents import (
    BudgetProjection,
    Charts,
    CostReport,
    CostSummary,
    Document,
    Freshness,
    Kpi,
    OptimizationReport,
    OptimizationSummary,
    PerformanceReport,
    PerformanceSummary,
    PeriodPart,
    ReportAlert,
    Trend,
    UsageReport,
)
from models.kpi import KpiState
from models.period import Level
from models.settings import Settings
from reports.text.labels import SPEND_METRICS
from tasks.comparison.expected_volume import hours_of_week, volume, volume_bucket
from tasks.comparison.periods import known_end, settled_at
from tasks.comparison.trends import USAGE_METRICS, ComparedWith, against, trends
from tasks.comparison.usage import group_usage, usage_summary, volume_trend
from tasks.comparison.volume import MINIMUM_SAMPLE
from tasks.forecasting.budget import project_budget, recorded_from
from tasks.kpis.cost_efficiency import Efficiency, measure_efficiency, optimization_savings
from tasks.kpis.measures import distribution, group_costs, heatmap, kpis, model_breakdown, model_costs, timeline
from tasks.kpis.routing_baselines import baselines
from tasks.reporting.data_notes import notes
from tasks.reporting.material import Material
from tasks.reporting.request import Request
from tasks.rollups.query import Gathered
from tasks.rollups.totals import Totals, percentiles_by, total

HOURLY_TIMELINE_HOURS = 24.0 * 8
"""Up to this length a period's timeline is by the hour, beyond it by the day."""

LARGEST_TEAMS_SHOWN = 50


def compose(request: Request, material: Material, settings: Settings, now: datetime) -> Document:
    """The document of a report; `now` becomes its generatedAt."""
    measured = total(material.current.parts)
    parts, limits = material.current.parts, settings.performance_metrics
    efficiency = measure_efficiency(parts, limits, material.split, cheapest=material.cheapest)
    header = _header(request, material, settings, measured, efficiency, now=now)
    if request.template == "cost":
        return _explained(_cost(header, material, settings, measured, efficiency), material)
    if request.template == "optimization":
        return _optimization(header, material, settings, measured, efficiency)
    if request.template == "usage":
        return _usage(header, material)
    return _explained(_performance(header, material, settings, measured, efficiency), material)


# ----------------------------------------------------------------------------------------------------------------------


def _performance(
    header: dict[str, Any], material: Material, settings: Settings, measured: Totals, efficiency: Efficiency
) -> PerformanceReport:
    summary = PerformanceSummary(
        period=header["period"],
        total_selections=measured.count,
        average_response_time=measured.average_response_time_ms,
        cache_hit_rate=measured.hit_rate,
        total_cost=measured.cost_usd,
        error_rate=measured.error_rate,
        efficiency=efficiency.value,
        p95_response_time=percentiles_by(material.current.parts)[()]["p95"],
        user_satisfaction=measured.user_satisfaction,
    )
    return PerformanceReport(
        **header,
        summary=summary,
        model_breakdown=model_breakdown(material.current.parts, efficiency.by_model),
        performance_trends=_trends(material, header["generated_at"]),
        optimization_opportunities=tuple(material.bottlenecks),
        recommendations=tuple(material.recommendations),
        applied_optimizations=tuple(material.applied),
        alerts=_alerts(header["kpis"]),
        fired_alerts=tuple(material.fired_alerts),
        savings=efficiency.savings if measured.count else None,
        budget=_budget(material, settings, header["generated_at"]) if settings.budget.monthly_usd else None,
    )


def _cost(
    header: dict[str, Any], material: Material, settings: Settings, measured: Totals, efficiency: Efficiency
) -> CostReport:
    budget = _budget(material, settings, header["generated_at"])
    teams = group_costs(material.current.parts, "team")
    summary = CostSummary(
        period=header["period"],
        total_selections=measured.count,
        total_spent=measured.cost_usd,
        budget_used=budget.used_share,
        average_cost_per_request=measured.average_cost_usd,
        cost_trend=tuple(
            trend for trend in _trends(material, header["generated_at"]) if trend.metric in ("totalCost", "averageCost")
        ),
    )
    return CostReport(
        **header,
        cost_summary=summary,
        model_cost_breakdown=model_costs(material.current.parts),
        complexity_cost_breakdown=group_costs(material.current.parts, "complexity"),
        team_cost_breakdown=teams[:LARGEST_TEAMS_SHOWN],
        teams_left_out=max(0, len(teams) - LARGEST_TEAMS_SHOWN),
        cost_optimization_savings=efficiency.savings,
        budget_projection=budget,
        recommendations=tuple(item for item in material.recommendations if item.type == "model_selection"),
    )


_Explained = TypeVar("_Explained", PerformanceReport, CostReport)


def _explained(document: _Explained, material: Material) -> _Explained:
    """With the cause of the change of spend that its headline tells of."""
    trend = document.trend_of(SPEND_METRICS)
    if trend is None or material.spending is None:
        return document
    return document.model_copy(update={"cause": material.spending.cause(trend)})


def _optimization(
    header: dict[str, Any], material: Material, settings: Settings, measured: Totals, efficiency: Efficiency
) -> OptimizationReport:
    period = material.current.period
    # Of several config changes of one optimization, each bears its verdict: it counts once.
    last = {item.optimization_id: item for item in material.applied}
    states = Counter(item.state for item in last.values())
    verdicts = [item.verdict for item in last.values() if item.verdict is not None]
    saved = [it.savings_usd for it in verdicts if it.savings_usd is not None and it.judged_at >= period.start]
    summary = OptimizationSummary(
        period=header["period"],
        total_selections=measured.count,
        total_cost=measured.cost_usd,
        waiting=sum(item.status == "waiting" for item in material.recommendations),
        observing=states["applied"] + states["observing"],
        kept=states["kept"],
        reverted=states["reverted"],
    )
    return OptimizationReport(
        **header,
        summary=summary,
        bottlenecks=tuple(material.bottlenecks),
        recommendations=tuple(material.recommendations),
        applied_optimizations=tuple(material.applied),
        savings=optimization_savings(efficiency.savings, saved, measured.count, settings.optimizer),
        baselines=baselines(material.current.parts, material.split),
        config_history=tuple(material.config_history),
    )


def _usage(header: dict[str, Any], material: Material) -> UsageReport:
    current, before = material.current, material.before
    if before is None:
        raise ValueError("usage is compared with what was before, which was not gathered")
    groups, compared, bucket = group_usage(current, before), before.same_weekdays, volume_bucket(current.period)
    settled = settled_at(current, header["generated_at"])
    tokens_and_ratings = trends(current, compared, "sameWeekdaysBefore", USAGE_METRICS, settled=settled)
    return UsageReport(
        **header,
        usage_summary=usage_summary(current, header["period"]),
        compared_from=compared.period.start,
        compared_to=compared.period.end,
        model_usage=groups.models,
        complexity_usage=groups.complexities,
        team_usage=groups.teams[:LARGEST_TEAMS_SHOWN],
        teams_left_out=max(0, len(groups.teams) - LARGEST_TEAMS_SHOWN),
        top_movers=groups.movers,
        new_models=groups.new,
        vanished_models=groups.vanished,
        least_selections=MINIMUM_SAMPLE,
        days_before=before.known_days,
        usage_trend=(volume_trend(current, before), *tokens_and_ratings),
        volume_bucket=bucket,
        volume=volume(current, before, bucket),
        hours_of_week=hours_of_week(current),
        applied_optimizations=tuple(material.applied),
    )


def _header(
    request: Request, material: Material, settings: Settings, measured: Totals, efficiency: Efficiency, *, now: datetime
) -> dict[str, Any]:
    current = material.current
    return {
        "generated_at": now,
        "kind": request.kind,
        "depth": request.depth,
        "metrics": request.metrics,
        "formats": request.formats,
        "locale": settings.reporting.locale,
        "paper": settings.reporting.paper,
        "period": _period(current),
        "filters": request.filters,
        "coverage": measured.coverage,
        "freshness": Freshness(last_selection_at=current.last_selection_at, folded_at=current.folded_at),
        "notes": notes(current, measured, now),
        "kpis": kpis(measured, efficiency, settings.performance_metrics),
        "charts": _charts(current, settings),
    }


def _period(current: Gathered) -> PeriodPart:
    return PeriodPart(
        start=current.period.start,
        end=current.period.end,
        zone=current.period.zone,
        requested_start=current.asked.start,
        requested_end=current.asked.end,
    )


def _charts(current: Gathered, settings: Settings) -> Charts:
    by_minute = not current.minutes.is_empty()
    level = Level.MINUTE if by_minute else Level.HOUR if current.period.hours <= HOURLY_TIMELINE_HOURS else Level.DAY
    return Charts(
        bucket=level.value,
        timeline=timeline(current.minutes if by_minute else current.hours, current.period, level),
        distribution=distribution(current.parts),
        heatmap=heatmap(current.hours, current.period.zone),
        shown=settings.monitoring.dashboard.charts,
    )


def _trends(material: Material, now: datetime) -> tuple[Trend, ...]:
    current = material.current
    earlier: dict[ComparedWith, Gathered] = {
        "previousPeriod": material.previous,
        "samePeriodLastWeek": material.last_week,
    }
    began = recorded_from(material.spent, known_end(current, now), current.period.zone)
    return against(current, earlier, now, began)


def _budget(material: Material, settings: Settings, now: datetime) -> BudgetProjection:
    end, zone = known_end(material.current, now), material.current.period.zone
    return project_budget(material.spent, end, zone, settings.budget.monthly_usd)


def _alerts(measured: Sequence[Kpi]) -> tuple[ReportAlert, ...]:
    """The KPIs beyond warning or critical, over the whole period."""
    return tuple(
        ReportAlert(
            rule=kpi.name.value,
            subject="all selections",
            severity="critical" if kpi.state is KpiState.CRITICAL else "warning",
            value=kpi.value,
            threshold=kpi.critical if kpi.state is KpiState.CRITICAL else kpi.warning,
        )
        for kpi in measured
        if kpi.value is not None and kpi.state in (KpiState.CRITICAL, KpiState.WARNING)
    )


@task(name="compose", cache_policy=NO_CACHE)
def compose_report(place: Workplace, request: Request, material: Material, now: datetime) -> Document:
    """The report's document."""
    return compose(request, material, place.settings, now)
