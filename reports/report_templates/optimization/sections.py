"""The report about optimizations: what waits, what was changed, and what came of it."""

from __future__ import annotations

from models.documents import Baselines, Interval, OptimizationReport
from models.kpis import KpiName
from reports.report_templates.optimization.tables import (
    applied_table,
    balance_table,
    baselines_table,
    history_table,
    measured_table,
    verdicts_table,
)
from reports.text.findings import shown_interval
from reports.text.formatting import Formats
from reports.text.headline import waiting_clause, worst_kpi_clause
from reports.text.labels import bounds_text, metric_change, number_text
from reports.text.verdicts import CHANGES_CHART, TRIALS_CHART, drawable, drawable_trials
from reports.view.blocks import Block, ChartsHere, Section, Text, Tile, Tiles
from reports.view.sections import (
    action_blocks,
    chart_blocks,
    found_blocks,
    notes_block,
    savings_table,
    savings_text,
    trials_table,
)
from reports.view.tiles import kpi_tile


def sections(document: OptimizationReport, show: Formats) -> list[Section]:
    """Its sections: what is to be decided stands before what is known."""
    return [
        Section("overview", "At a glance", (Tiles(_tiles(document, show)),)),
        Section("done", "What waits for a decision and is recommended", action_blocks(document, show)),
        Section("found", "Bottlenecks", found_blocks(document, show)),
        Section("applied", "What was changed and what came of it", _applied(document, show)),
        Section("savings", "Savings", _savings(document, show)),
        Section("baselines", "Does routing add anything?", _baselines(document, show)),
        Section("history", "Config history", _history(document, show)),
        # Two pages are no room for the period's charts, which the performance report has too.
        Section("charts", "Charts", chart_blocks(document) if document.depth == "detailed" else ()),
        Section("notes", "Notes", (notes_block(document),)),
    ]


# --- at a glance ------------------------------------------------------------------------------------------------------


def _tiles(document: OptimizationReport, show: Formats) -> tuple[Tile, ...]:
    summary, savings = document.summary, document.savings
    efficiency = [kpi_tile(document, kpi.name, show) for kpi in document.kpis if kpi.name is KpiName.COST_EFFICIENCY]
    estimated = savings.estimated
    known = f"on {show.percent(estimated.covered_share)} of the spend"
    measured = f"{savings.measured_count} judged {'change' if savings.measured_count == 1 else 'changes'}"
    observing = f"{show.count(summary.observing)} more being observed" if summary.observing else ""
    return (
        *efficiency,
        _saving_tile(
            "Possible saving, estimated",
            estimated.savings_usd,
            known,
            estimated.reason,
            show,
            observational=estimated.observational,
        ),
        _saving_tile("Saved, as measured", savings.measured_usd, measured, "no rollout or switchback was judged", show),
        _count_tile("Waiting for approval", summary.waiting, "off", "to be decided", show),
        _count_tile("Changes kept", summary.kept, "good", "", show, note=observing),
        _count_tile("Changes taken back", summary.reverted, "warning", "something got worse", show),
    )


def _saving_tile(
    label: str, saving: Interval | None, known: str, reason: str | None, show: Formats, *, observational: bool = False
) -> Tile:
    if saving is None:
        return Tile(label, show.money(None), tone="unknown", note=reason or "not known")
    bounds = show.interval(shown_interval(saving, observational=observational), "rough_money")
    interval = "observational, no interval" if observational else f"95% interval {bounds}" if bounds else ""
    return Tile(
        label,
        show.rough_money(saving.estimate),
        tone="warning" if saving.estimate < 0 else "plain",
        state="a loss" if saving.estimate < 0 else "",
        target=interval,
        note=known,
    )


def _count_tile(label: str, count: int, tone: str, state: str, show: Formats, *, note: str = "") -> Tile:
    return Tile(
        label, show.count(count), tone=tone if count else "plain", state=state if count and state else "", note=note
    )


# --- changes and money ------------------------------------------------------------------------------------------------


def _applied(document: OptimizationReport, show: Formats) -> tuple[Block, ...]:
    if not document.applied_optimizations:
        return (Text("No optimization was applied in this period."),)
    chart = (
        *((ChartsHere((CHANGES_CHART,)),) if drawable(document) else ()),
        # The two pages of a summary have the chart of what came of each change.
        *((ChartsHere((TRIALS_CHART,)),) if document.depth == "detailed" and drawable_trials(document) else ()),
    )
    if document.depth == "summary":
        return (*chart, trials_table(document, show, why=False))
    tables = applied_table(document, show), verdicts_table(document, show), measured_table(document, show)
    return (*chart, *tables)


def _savings(document: OptimizationReport, show: Formats) -> tuple[Block, ...]:
    estimated = document.savings.estimated
    if document.depth == "summary":
        return (balance_table(document, show),)
    classes = (savings_table(estimated, show),) if estimated.classes else ()
    return (savings_text(estimated, show), balance_table(document, show), *classes)


def _history(document: OptimizationReport, show: Formats) -> tuple[Block, ...]:
    if not document.config_history:
        return (Text("Nobody changed the router's config in this period."),)
    if document.depth == "detailed":
        return (history_table(document.config_history, show),)
    names = sorted({entry.changed_by for entry in document.config_history})
    made = [(index, entry) for index, entry in enumerate(document.config_history) if not entry.is_revert]
    count, back = (
        len({("alone", index) if entry.optimization_id is None else entry.optimization_id for index, entry in entries})
        for entries in (made, [(index, entry) for index, entry in made if entry.reverted])
    )
    keys = len({entry.key for entry in document.config_history})
    changes, of_keys = "change" if count == 1 else "changes", "key" if keys == 1 else "keys"
    clauses = f"{show.count(count)} {changes} of {show.count(keys)} {of_keys} of the router's config"
    return (Text(f"{clauses}, by {' and '.join(names)}; {show.count(back)} taken back since."),)


# --- whether routing adds anything ------------------------------------------------------------------------------------


def _baselines(document: OptimizationReport, show: Formats) -> tuple[Block, ...]:
    if document.selection_count == 0:
        return (Text("Without requests there is nothing to compare.", "unknown"),)
    return (routing_text(document.baselines, show), baselines_table(document.baselines, show))


def routing_text(baselines: Baselines, show: Formats) -> Text:
    """Return whether the router beats random routing, or why that cannot be determined."""
    gained = baselines.accuracy_gained
    if gained is None or gained.low is None or gained.high is None:
        reason = baselines.reason or "too little is known of the models' accuracy"
        return Text(f"Whether routing adds anything cannot be told: {reason}.", "unknown")
    bounds = bounds_text("accuracy", gained, show)
    sure = "" if baselines.observational else f" (95% interval {bounds})"
    clauses = (
        f"its accuracy differs by {metric_change('accuracy', gained.estimate, show)}{sure} from that "
        "of models drawn by lot at the same cost"
    )
    why = f": {baselines.reason}" if baselines.reason else ""
    kind = (
        f" This is observational, for nobody routed that way, hence no interval{why}."
        if baselines.observational
        else ""
    )
    if baselines.observational and not gained.low <= 0 <= gained.high:
        side = "more accurate" if gained.low > 0 else "less accurate"
        return Text(
            f"By what was observed, the router is {side} than chance: {clauses}.{kind}",
            "plain" if gained.low > 0 else "warning",
        )
    if gained.low > 0:
        return Text(f"The router beats chance: {clauses}.{kind}")
    if gained.high < 0:
        return Text(f"The router does worse than chance: {clauses}.{kind}", "warning")
    return Text(
        f"Whether the router beats chance cannot be told: {clauses}, which is within what chance would do.{kind}"
    )


def clauses(document: OptimizationReport, show: Formats) -> list[str]:
    """Return the kept and reverted changes, their savings, and pending ones; without any, the worst KPI."""
    parts = [_judged(document), _measured(document, show), waiting_clause(document, document.summary.waiting, show)]
    if any(parts):
        return parts
    return ["nothing was changed and nothing waits for a decision", worst_kpi_clause(document, show)]


def _judged(document: OptimizationReport) -> str:
    """Return how many changes were kept, reverted, or are still under observation."""
    summary = document.summary
    parts: list[str] = []
    for count, one, many in (
        (summary.kept, "was kept", "were kept"),
        (summary.reverted, "was taken back", "were taken back"),
        (summary.observing, "is still being observed", "are still being observed"),
    ):
        if count:
            noun = "" if parts else " change" if count == 1 else " changes"
            parts.append(f"{number_text(count)}{noun} {one if count == 1 else many}")
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def _measured(document: OptimizationReport, show: Formats) -> str:
    saved = document.savings.measured_usd
    if saved is None:
        return ""
    clauses = "saved" if saved.estimate >= 0 else "lost"
    return f"what was judged {clauses} {show.rough_money(abs(saved.estimate))}, as measured"
