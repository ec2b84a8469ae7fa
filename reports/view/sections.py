"""The blocks that templates share: what was found and done, trends, money, charts and notes."""

from __future__ import annotations

from collections.abc import Iterable

from models.documents import (
    Bottleneck,
    BudgetProjection,
    Document,
    Recommendation,
    Savings,
    Trend,
)
from reports.text.decisions import decide_text, link_to, score_text
from reports.text.findings import (
    SEVERITY_TONES,
    STATUS_LABELS,
    STATUS_TONES,
    between,
    bottleneck_text,
    bottleneck_title,
    config_change_text,
    estimate_bounds,
    hotspot_name,
    hotspot_rate,
    hotspot_text,
    money_saved,
    rate_label,
    recommendation_text,
    recommendation_title,
    share_text,
    shown_interval,
)
from reports.text.formatting import Formats
from reports.text.labels import (
    COMPARED,
    DIRECTION_TONES,
    bounds_text,
    metric_change,
    metric_label,
    metric_value,
    sentence,
)
from reports.text.trends import is_noteworthy, trend_sentence
from reports.text.verdicts import (
    number_of,
    state_label,
    state_tone,
    trial_text,
    trials_of,
    verdict_text,
)
from reports.view.blocks import (
    Action,
    Actions,
    Block,
    Cell,
    ChartsHere,
    FindingBlock,
    Findings,
    Notes,
    Table,
    Text,
    table,
)


def wants(document: Document, *metrics: str) -> bool:
    """Whether the schedule asked for any of these, or for everything."""
    return "all" in document.metrics or any(metric in document.metrics for metric in metrics)


# --- found and done ---------------------------------------------------------------------------------------------------


def found_blocks(document: Document, show: Formats) -> tuple[Block, ...]:
    """The bottlenecks, or why there are none."""
    if document.selection_count == 0:
        return (Text("There were no requests to look into.", "unknown"),)
    if not document.found_bottlenecks:
        return (Text("No bottleneck was found in what is known of this period."),)
    return (Findings(findings_of(document, show, detailed=document.depth == "detailed")),)


def findings_of(document: Document, show: Formats, *, detailed: bool = False) -> tuple[FindingBlock, ...]:
    """The bottlenecks; with every place where `detailed`."""
    return tuple(
        FindingBlock(
            title=bottleneck_title(found),
            text=bottleneck_text(found, show),
            tone=SEVERITY_TONES[found.severity],
            severity=f"{found.severity} severity",
            where="; ".join(hotspot_text(found, hotspot, show) for hotspot in found.where[:3]),
            hotspots=hotspots_table(found, show) if detailed and found.where else None,
        )
        for found in document.found_bottlenecks
    )


def actions_of(recommendations: tuple[Recommendation, ...], show: Formats) -> tuple[Action, ...]:
    """The recommendations, in the document's order."""
    return tuple(
        Action(
            title=f"{number_of(item.optimization_id)} {recommendation_title(item)}".lstrip(),
            text=recommendation_text(item, show),
            tone=STATUS_TONES[item.status],
            status=STATUS_LABELS[item.status],
            facts=f"against: {bottleneck_title(item.bottleneck).lower()} · impact {item.impact}"
            + (f" · effort {item.effort}" if item.score is None else ""),
            moves=tuple(config_change_text(move, show) for move in item.moves),
            note=sentence(item.note or ""),
            score=score_text(item, show),
            decide=decide_text(item),
            link=link_to(item.decide_url),
        )
        for item in recommendations
    )


def action_blocks(document: Document, show: Formats) -> tuple[Block, ...]:
    """The recommendations, or that there are none."""
    if document.recommendations:
        return (Actions(actions_of(document.recommendations, show)),)
    nothing = (
        "Without requests there is nothing to recommend."
        if document.selection_count == 0
        else "Nothing is recommended."
    )
    return (Text(nothing, "unknown" if document.selection_count == 0 else "plain"),)


# --- trends, money, notes ---------------------------------------------------------------------------------------------


def trend_blocks(document: Document, trends: tuple[Trend, ...], show: Formats) -> tuple[Block, ...]:
    """A table for each earlier period, in detail with a sentence for each number.

    The summary only has the one in the tiles, and a week only the period before: both are the same.
    """
    if not trends:
        return (Text("There is no earlier period to compare with.", "unknown"),)
    tables = {compared: trends_table(trends, compared, show) for compared in COMPARED}
    kept = {compared: found for compared, found in tables.items() if found.rows}
    if document.depth == "summary":
        shown = document.trend_of((trends[0].metric,))
        return tuple(found for compared, found in kept.items() if shown and compared == shown.compared_with)
    both_are_one = len({found.rows for found in kept.values()}) == 1
    blocks: list[Block] = []
    for compared, found in list(kept.items())[: 1 if both_are_one else None]:
        of_it = (trend for trend in trends if trend.compared_with == compared)
        blocks += [found, Notes(tuple(trend_sentence(trend, show) for trend in of_it))]
    return tuple(blocks)


def savings_text(savings: Savings, show: Formats) -> Text:
    """The saving against its baseline, with sign, interval and coverage."""
    if savings.savings_usd is None:
        reason = savings.reason or "no adequate cheaper model is known"
        return Text(f"Savings against the {savings.baseline}: no data, because {reason}.", "unknown")
    kind = _KIND_OF_ESTIMATE * savings.observational
    kind += f" {savings.reason[0].upper()}{savings.reason[1:]}." if savings.reason else ""
    return Text(
        f"The {savings.baseline} {_saved(savings, show).replace('Would', 'would', 1)} of "
        f"{show.money(savings.spent_usd)} spent, judged on {show.percent(savings.covered_share)} of the spend.{kind}"
    )


_KIND_OF_ESTIMATE = (
    " This is observational: it compares with what other requests cost, nobody tried it. How alike those were is not "
    "known, hence no interval."
)


def _saved(savings: Savings, show: Formats) -> str:
    if savings.savings_usd is None:
        return "has no estimate"
    return money_saved(shown_interval(savings.savings_usd, observational=savings.observational), show)


def budget_text(budget: BudgetProjection, show: Formats) -> Text:
    """Used so far, the projected month's end and the day the budget runs out, each with its 80 % interval."""
    used = f"{show.money(budget.used_usd)} used in {budget.month}"
    if budget.monthly_usd is not None:
        used += f", {show.percent(budget.used_share)} of the monthly budget of {show.money(budget.monthly_usd)}"
    if budget.projected_usd is None:
        return Text(f"{used}. No projection: {budget.reason or 'too little is known'}.", "unknown")
    bounds = between(budget.projected_usd, "money", show, show.round_percent(0.8))
    text = f"{used}. Projected for the month: {show.money(budget.projected_usd.estimate)}{bounds}"
    if budget.projected_share is not None:
        text += f", {show.percent(budget.projected_share)} of the budget"
    weak = f" {budget.reason[0].upper()}{budget.reason[1:]}." if budget.reason else ""
    return Text(
        f"{text}.{_runs_out(budget, show)} Method: {budget.method}, over {budget.basis_days} whole days.{weak}",
        budget_tone(budget),
    )


def _runs_out(budget: BudgetProjection, show: Formats) -> str:
    """When the budget is spent, and how early or late that may be."""
    earliest, latest = (show.day(it) if it else "" for it in (budget.runs_out_earliest, budget.runs_out_latest))
    if budget.runs_out_on is None:
        return f" The budget may run out from {earliest} on, but is more likely to last." if earliest else ""
    day = show.day(budget.runs_out_on)
    if (budget.used_share or 0) >= 1:
        return f" The budget ran out on {day}."
    if not earliest or earliest == latest:
        return f" The budget runs out on {day}."
    bounds = f"{earliest} to {latest}" if latest else f"from {earliest} on, or not this month"
    return f" The budget runs out on {day} (80% interval {bounds})."


def budget_tone(budget: BudgetProjection) -> str:
    """Critical once the budget is spent, a warning where the projection is beyond it."""
    if (budget.used_share or 0) >= 1:
        return "critical"
    return "warning" if (budget.projected_share or 0) > 1 else "plain"


def notes_block(document: Document) -> Notes:
    """What is missing; never an empty box."""
    return Notes(document.notes or ("Nothing is known to be missing from this report.",))


def chart_blocks(document: Document) -> tuple[Block, ...]:
    """Where the charts of the period stand, or why there are none."""
    if not document.charts.shown:
        return ()
    if document.selection_count == 0:
        return (Text("Without requests there is nothing to draw.", "unknown"),)
    return (ChartsHere(tuple(document.charts.shown)),)


def trends_table(trends: Iterable[Trend], compared_with: str, show: Formats) -> Table:
    """Compare every headline number with one earlier period; the text lists the significant changes."""
    against = [trend for trend in trends if trend.compared_with == compared_with]
    rows = [
        (
            Cell(metric_label(trend.metric)),
            Cell(metric_value(trend.metric, trend.current, show)),
            Cell(metric_value(trend.metric, trend.before, show)),
            Cell("" if trend.change is None else metric_change(trend.metric, trend.change.estimate, show)),
            Cell(bounds_text(trend.metric, trend.change, show)),
            Cell(_verdict_text(trend), tone=DIRECTION_TONES.get(trend.direction, "plain")),
        )
        for trend in against
    ]
    title = f"Against {COMPARED[compared_with]}"
    columns = "<Metric | Now | Before | Change | 95% interval | <Verdict"
    as_text = [trend_sentence(trend, show) for trend in against if is_noteworthy(trend)]
    return table(f"trends_{compared_with}", title, columns, rows, as_text=as_text)


def _verdict_text(trend: Trend) -> str:
    return f"unknown: {trend.reason}" if trend.reason else trend.direction.value


def hotspots_table(found: Bottleneck, show: Formats) -> Table:
    """Every place where one bottleneck sits, and what would be left of it elsewhere where that is known."""
    without = any(hotspot.rate_without is not None for hotspot in found.where)
    rows = [
        (
            Cell(hotspot_name(hotspot)),
            Cell(show.count(hotspot.affected)),
            Cell(show.percent(hotspot.share), min(1.0, max(0.0, hotspot.share))),
            Cell(hotspot_rate(found, hotspot.rate, show)),
            *((Cell(hotspot_rate(found, hotspot.rate_without, show)),) if without else ()),
        )
        for hotspot in found.where
    ]
    columns = f"<Where | Affected | Share {share_text(found)} | {rate_label(found)}{' | Without it' if without else ''}"
    return table(f"places_{found.type}", "Where it sits", columns, rows)


def savings_table(savings: Savings, show: Formats) -> Table:
    """Per complexity class: spent, what the cheapest adequate model would have cost, and the difference."""
    rows = [
        (
            Cell(row.complexity),
            Cell(show.count(row.selections)),
            Cell(show.money(row.spent_usd)),
            Cell(row.baseline_model or f"none: {row.reason or 'not known'}"),
            Cell(show.money(row.baseline_usd.estimate if row.baseline_usd else None)),
            Cell(show.signed_money(row.savings_usd.estimate if row.savings_usd else None)),
            Cell(estimate_bounds(row.savings_usd, "signed_money", show, observational=savings.observational)),
        )
        for row in savings.classes
    ]
    columns = "<Complexity | Requests | Spent | <Cheapest adequate model | Would have cost | Saving | 95% interval"
    return table("savings", "By complexity", columns, rows)


def trials_table(document: Document, show: Formats, *, why: bool = True) -> Table:
    """One row an optimization: what it changed, `why`, and what came of it."""
    trials = trials_of(document.config_changes)
    rows = [
        (
            Cell(trial.number or "–"),
            Cell("; ".join(trial.settings(show))),
            Cell(show.day(trial.changes[0].applied_at)),
            Cell(state_label(trial.state), tone=state_tone(trial.state)),
            *((Cell(trial.reason),) if why else ()),
            Cell(verdict_text(trial, show, with_bounds=why)),
        )
        for trial in trials
    ]
    columns = f"<No. | <Setting | <When | <State{' | <Why' if why else ''} | <Came of it"
    return table("applied", "Config changes", columns, rows, as_text=[trial_text(trial, show) for trial in trials])
