"""Names of the alert rules, and their values with their units."""

from __future__ import annotations

from models.kpis import KpiName
from models.notifications import AlertRule
from reports.text.formatting import Formats
from reports.text.labels import KPI_LABELS, kpi_value

KPI_RULE_LABELS = {AlertRule(kpi.value): label.lower() for kpi, label in KPI_LABELS.items()}


_OTHER_LABELS = {
    AlertRule.SLOW_SELECTIONS: "single slow selections",
    AlertRule.BUDGET_USED: "budget used",
    AlertRule.BUDGET_PROJECTED: "budget projected",
    AlertRule.NO_DATA: "no data",
    AlertRule.FAILED_FLOW: "failed flow",
    AlertRule.OPTIMIZATION_REVERTED: "optimization taken back",
    AlertRule.ROLLOUT_WAITS: "rollout waits for a person",
    AlertRule.COUNTING_STALLED: "counting stands still",
    AlertRule.ROWS_NOT_COUNTED: "rows not counted",
    AlertRule.TIMES_AHEAD: "times ahead of the clock",
}


def rule_label(rule: AlertRule) -> str:
    """A rule's name for people."""
    return KPI_RULE_LABELS.get(rule) or _OTHER_LABELS[rule]


def amount(rule: AlertRule, value: float | None, show: Formats) -> str:
    """A rule's value or limit with its unit."""
    if rule in KPI_RULE_LABELS:
        return kpi_value(KpiName(rule.value), value, show)
    match rule:
        case AlertRule.SLOW_SELECTIONS:
            return show.milliseconds(value)
        case AlertRule.BUDGET_USED | AlertRule.BUDGET_PROJECTED:
            return show.money(value)
        case AlertRule.NO_DATA:
            return show.count(value) if value is None else f"{show.count(value)} min"
        case AlertRule.COUNTING_STALLED | AlertRule.TIMES_AHEAD:
            return show.count(value)
    return show.percent(value)
