"""The optimization report's document."""

from __future__ import annotations

from collections import Counter

from models.documents import OptimizationReport, OptimizationSummary
from models.report_template import Template
from tasks.kpis.cost_efficiency import optimization_savings
from tasks.kpis.routing_baselines import baselines
from tasks.reporting.composition import Composer, Composition


def compose_optimization(composition: Composition) -> OptimizationReport:
    """Build the document: pending optimizations, config changes and results."""
    material, measured = composition.material, composition.measured
    period = material.current.period
    # Of several config changes of one optimization, each bears its verdict: it counts once.
    last = {item.optimization_id: item for item in material.applied}
    states = Counter(item.state for item in last.values())
    verdicts = [item.verdict for item in last.values() if item.verdict is not None]
    judged = [it for it in verdicts if it.savings_usd is not None and it.judged_at >= period.start]
    measured_usd = [it.savings_usd for it in judged if it.savings_usd is not None and it.savings_basis == "measured"]
    observed_usd = [it.savings_usd for it in judged if it.savings_usd is not None and it.savings_basis != "measured"]
    summary = OptimizationSummary(
        period=composition.period,
        total_selections=measured.count,
        total_cost=measured.cost_usd,
        waiting=sum(item.status == "waiting" for item in material.recommendations),
        observing=states["applied"] + states["observing"],
        kept=states["kept"],
        reverted=states["reverted"],
    )
    return OptimizationReport(
        **composition.header,
        summary=summary,
        bottlenecks=tuple(material.bottlenecks),
        recommendations=tuple(material.recommendations),
        applied_optimizations=tuple(material.applied),
        savings=optimization_savings(
            composition.efficiency.savings,
            measured_usd,
            measured.count,
            composition.settings.optimizer,
            observed_usd,
        ),
        baselines=baselines(material.current.parts, material.split),
        config_history=tuple(material.config_history),
    )


COMPOSER = Composer(Template.OPTIMIZATION, compose_optimization)
