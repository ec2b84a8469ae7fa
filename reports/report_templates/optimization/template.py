"""The description of the optimization report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.documents import OptimizationReport
from models.report_template import Template
from reports.report_templates.definition import ChartSpec, ReportTemplate
from reports.report_templates.optimization.alt_text import changes_text
from reports.report_templates.optimization.charts import changes
from reports.report_templates.optimization.sections import sections
from reports.report_templates.response_charts import RESPONSE_CHARTS
from reports.report_templates.rows import Rows, listed, note_table, period_tables, plain_values
from reports.text.formatting import Formats
from reports.text.headline import waiting_clause, worst_kpi_clause
from reports.text.labels import number_word
from reports.text.verdicts import CHANGES_CHART, drawable

_ABOUT_ESTIMATE = ("baseline", "spentUsd", "coveredShare", "observational", "reason")


def _clauses(document: OptimizationReport, show: Formats) -> list[str]:
    """What was kept and taken back, what that saved, and what waits; of nothing the worst KPI."""
    parts = [_judged(document), _measured(document, show), waiting_clause(document, document.summary.waiting, show)]
    if any(parts):
        return parts
    return ["nothing was changed and nothing waits for a decision", worst_kpi_clause(document, show)]


def _judged(document: OptimizationReport) -> str:
    """How many changes were kept, taken back, or are still under observation."""
    summary = document.summary
    parts: list[str] = []
    for count, one, many in (
        (summary.kept, "was kept", "were kept"),
        (summary.reverted, "was taken back", "were taken back"),
        (summary.observing, "is still being observed", "are still being observed"),
    ):
        if count:
            noun = "" if parts else " change" if count == 1 else " changes"
            parts.append(f"{number_word(count)}{noun} {one if count == 1 else many}")
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def _measured(document: OptimizationReport, show: Formats) -> str:
    saved = document.savings.measured_usd
    if saved is None:
        return ""
    told = "saved" if saved.estimate >= 0 else "lost"
    return f"what was judged {told} {show.rough_money(abs(saved.estimate))}, as measured"


def _mail_state(document: OptimizationReport, _show: Formats) -> str:
    waiting = document.summary.waiting
    return f"{number_word(waiting)} {'fix waits' if waiting == 1 else 'fixes wait'} for a decision" if waiting else ""


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
    for applied in data["appliedOptimizations"]:
        if applied["verdict"]:
            applied["verdict"]["guards"] = {guard.pop("metric"): guard for guard in applied["verdict"]["guards"]}
    savings, baselines = data["savings"], data["baselines"]
    estimated = savings["estimated"]
    amounts = [
        {"kind": "estimated", "usd": estimated["savingsUsd"]} | {key: estimated[key] for key in _ABOUT_ESTIMATE},
        {"kind": "routerCost", "usd": {"estimate": savings["routerCostUsd"]}},
        {"kind": "net", "usd": savings["netUsd"]},
        {"kind": "measured", "usd": savings["measuredUsd"], "judgedCount": savings["measuredCount"]},
    ]
    return {
        "appliedOptimizations": data["appliedOptimizations"],
        "savings": amounts,
        "savingsByClass": estimated["classes"],
        "baselines": [
            baselines["router"] | {"accuracyGained": baselines["accuracyGained"]},
            baselines["allCheapest"],
            baselines["shuffled"],
        ],
        "configHistory": data["configHistory"],
    }


TEMPLATE = ReportTemplate(
    name=Template.OPTIMIZATION,
    document=OptimizationReport,
    sections=sections,
    clauses=_clauses,
    csv_tables=_csv_tables,
    charts=RESPONSE_CHARTS,
    own_charts={
        CHANGES_CHART: ChartSpec(
            "What came of each change, against matched hours before",
            changes,
            changes_text,
            lambda document: bool(drawable(document)),
        )
    },
    mail_state=_mail_state,
)
