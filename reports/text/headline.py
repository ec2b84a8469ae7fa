"""The clauses of the one sentence that a manager reads, which several templates share."""

from __future__ import annotations

from datetime import timedelta

from models.documents import CostReport, Direction, Document, Kpi, PerformanceReport, Recommendation
from models.kpis import KpiState
from reports.text.formatting import Formats
from reports.text.labels import COMPARED, KPI_LABELS, SPEND_METRICS, kpi_value, limit_text, number_text
from reports.text.spend_drivers import because
from reports.text.verdicts import trials_of

DAYS_PER_MONTH = 365.25 / 12

_WORST_FIRST = (KpiState.CRITICAL, KpiState.WARNING, KpiState.OFF_TARGET)


def spend_clause(document: PerformanceReport | CostReport, show: Formats) -> str:
    """Return the spend; if it changed significantly, also the change, and its cause if known."""
    count = document.selection_count
    requests = f"{show.count(count)} {'request' if count == 1 else 'requests'}"
    spent, coverage = document.spent_usd, document.coverage.cost
    if spent is None:
        return f"{requests} were made, at an unknown cost"
    known = "" if coverage.known == coverage.of else f" (cost {show.coverage(coverage)})"
    trend = document.trend_of(SPEND_METRICS)
    if trend is None or trend.direction in (Direction.SAME, Direction.UNKNOWN) or trend.change_share is None:
        return f"{requests} cost {show.money(spent)}{known}"
    verb, by = "rose" if trend.direction is Direction.MORE else "fell", show.percent(abs(trend.change_share))
    if trend.upto is not None:
        until = f"up to {show.instant(trend.upto)} {by} {trend.direction.value} than {COMPARED[trend.compared_with]}"
        return f"{requests} cost {show.money(spent)}{known}, {until}"
    why = f", {because(document.cause)}" if document.cause else ""
    against = "" if why else f" against {COMPARED[trend.compared_with]}"
    return f"spend {verb} {by} to {show.money(spent)}{known}{against}{why}"


def worst_kpi_clause(document: Document, show: Formats) -> str:
    """The KPI that is furthest off in the worst state; or how many are on target, as far as they could be measured."""
    for state in _WORST_FIRST:
        there = sorted((kpi for kpi in document.kpis if kpi.state is state), key=_distance, reverse=True)
        if there:
            return _off(there[0], _also(len(there) - 1, state), show)
    measured = sum(kpi.state is not KpiState.NO_DATA for kpi in document.kpis)
    if measured == 0:
        return "none of the KPIs could be measured"
    if measured < len(document.kpis):
        missing = len(document.kpis) - measured
        return f"{measured} of {len(document.kpis)} KPIs are on target, {missing} could not be measured"
    return f"all {measured} KPIs are on target"


def _distance(kpi: Kpi) -> float:
    """How far from target a value is, as a multiple of the way to critical."""
    way = abs(kpi.critical - kpi.target) or 1.0
    return abs((kpi.value or 0.0) - kpi.target) / way


def _off(kpi: Kpi, others: str, show: Formats) -> str:
    value, limit = kpi_value(kpi.name, kpi.value, show), limit_text(kpi.name, kpi.target, show)
    return f"{KPI_LABELS[kpi.name].lower()} is {_state(kpi.state)} at {value} (target {limit}){others}"


def _also(more: int, state: KpiState) -> str:
    return "" if more == 0 else f", and {more} more {'KPI is' if more == 1 else 'KPIs are'} {_state(state)}"


def _state(state: KpiState) -> str:
    return {KpiState.WARNING: "at warning level", KpiState.CRITICAL: "critical", KpiState.OFF_TARGET: "off target"}[
        state
    ]


def done_and_waiting_clause(document: PerformanceReport | CostReport, show: Formats) -> str:
    """How many changes were applied, and what waits for a decision."""
    applied = count_applied(document)
    done = f"{number_text(applied)} {'change was' if applied == 1 else 'changes were'} applied" if applied else ""
    waiting = sum(item.status == "waiting" for item in document.recommendations)
    return " and ".join(part for part in (done, waiting_clause(document, waiting, show)) if part)


def count_applied(document: Document) -> int:
    """The number of changes that were applied from the period's start on: not of their keys, and without reverts."""
    found: set[object] = {
        trial.changes[0].optimization_id or ("alone", index)
        for index, trial in enumerate(trials_of(document.config_changes))
        if (applied_at := trial.applied_at) is not None and applied_at >= document.period.start
    }
    recommended = [item for item in document.recommendations if item.status == "applied"]
    found |= {item.optimization_id for item in recommended if item.optimization_id is not None}
    # Documents from before numbers were stored do not say which of the changes are the recommended ones.
    return max(len(found), len(recommended))


def waiting_clause(document: Document, waiting: int, show: Formats) -> str:
    """What waits for a decision, and what that is worth by estimate as far as it is money and known from now on."""
    if not waiting:
        return ""
    fixes = f"{number_text(waiting)} {'fix waits' if waiting == 1 else 'fixes wait'} for a decision"
    saving = [item for item in document.recommendations if item.status == "waiting" and item.savings_usd is not None]
    known = [rate for item in saving if (rate := _usd_per_day(item, document)) is not None]
    if saving and not known:
        whose = "" if len(saving) == waiting else f"{number_text(len(saving))} of them "
        return f"{fixes}, {whose}of unknown worth: the same requests were changed since"
    if sum(known) <= 0:
        return fixes
    some = f"{number_text(len(known))} of them " if len(known) < waiting else ""
    kind = "an observational estimate" if any(item.observational for item in saving) else "estimate"
    return f"{fixes}, {some}worth about {_per_time(sum(known), document, show)} by {kind}"


def _usd_per_day(item: Recommendation, document: Document) -> float | None:
    """What a recommendation would save a day; of a document from before that was stored, over the whole period."""
    if item.run_rate_usd_per_day is not None or item.run_rate_reason is not None:
        return item.run_rate_usd_per_day
    return item.savings_usd.estimate / _days(document) if item.savings_usd else None


def _per_time(usd_per_day: float, document: Document, show: Formats) -> str:
    """Return an amount a day as one per month, day or period; part of a week does not give a month."""
    days = _days(document)
    if days >= 6.9:  # noqa: PLR2004 - a week whose clocks were put forward is an hour short
        return f"{show.rough_money(usd_per_day * DAYS_PER_MONTH)} a month"
    return f"{show.rough_money(usd_per_day * days)} {'a day' if round(days) == 1 else 'over the period'}"


def _days(document: Document) -> float:
    return (document.period.end - document.period.start) / timedelta(days=1)
