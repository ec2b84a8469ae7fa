"""The performance report's document."""

from __future__ import annotations

from collections.abc import Sequence

from models.documents import Kpi, PerformanceReport, PerformanceSummary, ReportAlert
from models.kpis import KpiState
from models.report_template import Template
from tasks.kpis.measures import model_breakdown
from tasks.reporting.composition import Composer, Composition
from tasks.rollups.totals import percentiles_by


def compose_performance(composition: Composition) -> PerformanceReport:
    """Build the document: KPIs, models, trends, bottlenecks and actions."""
    material, measured, trends = composition.material, composition.measured, composition.trends()
    summary = PerformanceSummary(
        period=composition.period,
        total_selections=measured.count,
        average_response_time=measured.average_response_time_ms,
        cache_hit_rate=measured.hit_rate,
        total_cost=measured.cost_usd,
        error_rate=measured.error_rate,
        efficiency=composition.efficiency.value,
        p95_response_time=percentiles_by(material.current.parts)[()]["p95"],
        user_satisfaction=measured.user_satisfaction,
    )
    return PerformanceReport(
        **composition.header,
        summary=summary,
        model_breakdown=model_breakdown(material.current.parts, composition.efficiency.by_model),
        performance_trends=trends,
        optimization_opportunities=tuple(material.bottlenecks),
        recommendations=tuple(material.recommendations),
        applied_optimizations=tuple(material.applied),
        alerts=_alerts(composition.kpis),
        fired_alerts=tuple(material.fired_alerts),
        savings=composition.efficiency.savings if measured.count else None,
        budget=composition.budget() if composition.settings.budget.monthly_usd else None,
        cause=composition.cause(trends),
    )


def _alerts(measured: Sequence[Kpi]) -> tuple[ReportAlert, ...]:
    """Return the KPIs beyond warning or critical over the full period."""
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


COMPOSER = Composer(Template.PERFORMANCE, compose_performance)
