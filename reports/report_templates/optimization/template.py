"""The description of the optimization report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.documents import OptimizationReport
from models.report_template import Template
from models.settings import ChartName
from reports.report_templates.definition import ReportTemplate, TemplateCharts
from reports.report_templates.optimization.sections import clauses, sections
from reports.report_templates.rows import Rows, listed, note_table, period_tables, plain_values
from reports.text.formatting import Formats
from reports.text.labels import number_text
from reports.text.verdicts import CHANGES_CHART, TRIALS_CHART

_ABOUT_ESTIMATE = ("baseline", "spentUsd", "coveredShare", "observational", "evidence", "reason")


def _mail_state(document: OptimizationReport, _show: Formats) -> str:
    waiting = document.summary.waiting
    return f"{number_text(waiting)} {'fix waits' if waiting == 1 else 'fixes wait'} for a decision" if waiting else ""


def _csv_tables(document: OptimizationReport) -> Mapping[str, Rows]:
    data = plain_values(document)
    return {
        "summary": [data["summary"]],
        **listed(data, "bottlenecks", "recommendations"),
        **_of_optimizations(data),
        **period_tables(document, data),
        **note_table(data),
    }


def _of_optimizations(data: dict[str, Any]) -> dict[str, Rows]:
    """What only the report about optimizations has; guards are columns by their metric."""
    steps: list[dict[str, Any]] = []
    series: list[dict[str, Any]] = []
    for applied in data["appliedOptimizations"]:
        if applied["verdict"]:
            trial = applied["verdict"]["trial"] or {}
            # Of several keys that one optimization changed, each bears the trial.
            if applied["optimizationId"] not in {row["optimizationId"] for row in (*steps, *series)}:
                own = {"optimizationId": applied["optimizationId"]}
                steps += [own | step for step in trial.get("steps", ())]
                series += [own | point for point in trial.get("series", ())]
            trial.pop("steps", None)
            trial.pop("series", None)
            applied["verdict"]["guards"] = {
                guardrail.pop("metric"): guardrail for guardrail in applied["verdict"]["guards"]
            }
    savings, baselines = data["savings"], data["baselines"]
    estimated = savings["estimated"]
    amounts = [
        {"kind": "estimated", "usd": estimated["savingsUsd"]} | {key: estimated[key] for key in _ABOUT_ESTIMATE},
        {"kind": "routerCost", "usd": {"estimate": savings["routerCostUsd"]}},
        {"kind": "net", "usd": savings["netUsd"]},
        {"kind": "measured", "usd": savings["measuredUsd"], "judgedCount": savings["measuredCount"]},
        {"kind": "observed", "usd": savings["observedUsd"], "judgedCount": savings["observedCount"]},
    ]
    return {
        "appliedOptimizations": data["appliedOptimizations"],
        "trialSteps": steps,
        "trialSeries": series,
        "savings": amounts,
        "savingsByClass": estimated["classes"],
        "baselines": [
            baselines["router"] | {"accuracyGained": baselines["accuracyGained"]},
            baselines["allCheapest"],
            baselines["shuffled"],
        ],
        "configHistory": data["configHistory"],
    }


def _charts() -> TemplateCharts[OptimizationReport]:
    from reports.charts.distributions import RESPONSE_DISTRIBUTION  # noqa: PLC0415
    from reports.charts.heatmap import RESPONSE_WEEK  # noqa: PLC0415
    from reports.charts.timelines import RESPONSE_TIMELINE  # noqa: PLC0415
    from reports.charts.trials import TRIALS  # noqa: PLC0415
    from reports.report_templates.optimization.charts import CHANGES  # noqa: PLC0415

    return TemplateCharts(
        chosen={
            ChartName.TIMELINE: RESPONSE_TIMELINE,
            ChartName.DISTRIBUTION: RESPONSE_DISTRIBUTION,
            ChartName.HEATMAP: RESPONSE_WEEK,
        },
        own={CHANGES_CHART: CHANGES, TRIALS_CHART: TRIALS},
    )


TEMPLATE = ReportTemplate(
    name=Template.OPTIMIZATION,
    document=OptimizationReport,
    sections=sections,
    clauses=clauses,
    csv_tables=_csv_tables,
    charts=_charts,
    mail_state=_mail_state,
)
