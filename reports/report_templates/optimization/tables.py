"""The tables about what was changed, what came of it, what was saved, and whether routing adds anything."""

from __future__ import annotations

from models.documents import (
    Baseline,
    Baselines,
    ConfigHistoryEntry,
    Document,
    Interval,
    MetricChange,
    OptimizationReport,
    OptimizationSavings,
    Verdict,
)
from reports.text.findings import NO_BOUNDS, config_value, estimate_bounds, evidence_label
from reports.text.formatting import Formats
from reports.text.labels import bounds_text, metric_change, metric_label, metric_value
from reports.text.verdicts import (
    CONCLUSION_LABELS,
    Trial,
    margin_text,
    method_text,
    number_of,
    primary_metric_text,
    state_label,
    state_tone,
    trial_text,
    trials_of,
)
from reports.view.blocks import Cell, Table, table

# --- what was changed -------------------------------------------------------------------------------------------------


def applied_table(document: Document, show: Formats) -> Table:
    """Each key that an optimization changed, from and to, and each taking back: one change may have several rows."""
    rows = [
        (
            Cell(number_of(change.optimization_id) or "–"),
            Cell(change.key),
            Cell(f"{config_value(change.from_value, show)} → {config_value(change.to_value, show)}"),
            Cell(show.instant(change.applied_at)),
            Cell(change.by),
            Cell(state_label(change.state), tone=state_tone(change.state)),
            Cell(change.reason),
        )
        for change in document.config_changes
    ]
    columns = "<No. | <Setting | <From → to | <When | <By | <State | <Why"
    as_text = [trial_text(trial, show) for trial in trials_of(document.config_changes)]
    return table("applied", "Keys that were changed", columns, rows, as_text=as_text)


def verdicts_table(document: OptimizationReport, show: Formats) -> Table:
    """One row an optimization: what it was to better, what it must not harm, what it saved, and why it is judged so."""
    rows = [_verdict_row(trial, show) for trial in trials_of(document.applied_optimizations)]
    columns = "<No. | <State | <Goal | <Guards | <Saved | <Estimate | <Verdict"
    return table("verdicts", "Verdicts", columns, rows)


def _verdict_row(trial: Trial, show: Formats) -> tuple[Cell, ...]:
    verdict = trial.verdict
    return (
        Cell(trial.number or "–"),
        Cell(state_label(trial.state), tone=state_tone(trial.state)),
        Cell(primary_metric_text(trial.primary_metric, show) if trial.primary_metric else "no data"),
        Cell(
            "; ".join(f"{metric_label(guardrail.metric)} {guardrail.judgement}" for guardrail in trial.guardrails)
            or "none"
        ),
        Cell(_saved(verdict, show)),
        Cell(_estimate(trial, show)),
        Cell(_verdict_of(verdict, show) if verdict else "not judged yet"),
    )


def _saved(verdict: Verdict | None, show: Formats) -> str:
    if verdict is None or verdict.savings_usd is None:
        return _money(None, show)
    return f"{_money(verdict.savings_usd, show)}, {verdict.savings_basis or 'observed'}"


def _estimate(trial: Trial, show: Formats) -> str:
    is_guess = trial.estimated is not None and trial.observational
    return f"{_money(trial.estimated, show)}{' (observational)' if is_guess else ''}"


def measured_table(document: OptimizationReport, show: Formats) -> Table:
    """One row a metric of each optimization, the goal first."""
    rows = [
        (
            Cell(trial.number or "–"),
            Cell(f"{metric_label(change.metric)}{' (goal)' if change is trial.primary_metric else ''}"),
            *_measured_cells(change, show),
            Cell(_found(change), tone=_JUDGEMENT_TONES.get(change.judgement, "plain")),
        )
        for trial in trials_of(document.applied_optimizations)
        for change in (trial.primary_metric, *trial.guardrails)
        if change is not None
    ]
    columns = "<No. | <Metric | Before | After | Change | 95% interval | Margin | <Found"
    return table("measured", "What was measured", columns, rows)


_JUDGEMENT_TONES = {"better": "good", "worse": "critical"}


def _found(change: MetricChange) -> str:
    return f"unknown: {change.reason}" if change.reason else change.judgement


def _measured_cells(change: MetricChange, show: Formats) -> tuple[Cell, ...]:
    before, after = (Cell(metric_value(change.metric, value, show)) for value in (change.before, change.after))
    if change.change is None:
        return before, after, Cell(""), Cell(""), Cell("")
    return (
        before,
        after,
        Cell(metric_change(change.metric, change.change.estimate, show)),
        Cell(bounds_text(change.metric, change.change, show)),
        Cell(margin_text(change, show)),
    )


def _verdict_of(verdict: Verdict, show: Formats) -> str:
    """Why it is judged so, and by what method."""
    how = method_text(verdict, show)
    if verdict.matched_by is not None:
        how += f", {verdict.hours:,} hours, matched by {verdict.matched_by}"
    concluded = f"{CONCLUSION_LABELS[verdict.conclusion]}: " if verdict.conclusion is not None else ""
    reason = (
        verdict.reason
        if not verdict.reason.startswith(concluded) or not concluded
        else verdict.reason.removeprefix(concluded)
    )
    return f"{concluded}{reason} ({how})"


def _money(interval: Interval | None, show: Formats) -> str:
    if interval is None:
        return "no data"
    bounds = show.interval(interval, "signed_money")
    return f"{show.signed_money(interval.estimate)} ({bounds})" if bounds else show.signed_money(interval.estimate)


def history_table(entries: tuple[ConfigHistoryEntry, ...], show: Formats) -> Table:
    """Return every change of the router's config by anyone; reverted ones are marked."""
    rows = [
        (
            Cell(show.instant(entry.changed_at)),
            Cell(entry.key),
            Cell(f"{config_value(entry.from_value, show)} → {config_value(entry.to_value, show)}"),
            Cell(entry.changed_by),
            Cell(entry.reason),
            Cell("taken back" if entry.reverted else "", tone="warning" if entry.reverted else "plain"),
        )
        for entry in entries
    ]
    as_text = [
        f"{when.text}: {key.text} {values.text} by {by.text}{f' ({since.text})' if since.text else ''}."
        for when, key, values, by, _, since in rows
    ]
    return table(
        "history", "All changed keys", "<When | <Setting | <From → to | <By | <Why | <Since then", rows, as_text=as_text
    )


# --- what was saved ---------------------------------------------------------------------------------------------------


def balance_table(document: OptimizationReport, show: Formats) -> Table:
    """What could be saved by estimate, less what the router costs, beside what was saved as measured."""
    savings = document.savings
    observational = savings.estimated.observational
    rows = [
        _amount("Possible, by estimate", savings.estimated.savings_usd, _basis(savings, show), show, observational),
        (
            Cell("The router's own cost"),
            Cell(show.money(savings.router_cost_usd)),
            Cell(""),
            Cell(_router_basis(document, show)),
        ),
        _amount(
            "Possible, net", savings.net_usd, "the two above" if savings.net_usd else "needs both", show, observational
        ),
        _amount("Saved, as measured", savings.measured_usd, _measured_basis(savings), show, False),
        *(
            [_amount("Saved, as observed", savings.observed_usd, _observed_basis(savings), show, False)]
            # On two pages the changes' own table has them.
            if savings.observed_usd is not None and document.depth == "detailed"
            else []
        ),
    ]
    columns = "<What | Amount | 95% interval | <From what"
    return table("balance", "Estimated and measured", columns, rows, as_text=[_action_text(row) for row in rows])


def _action_text(row: tuple[Cell, ...]) -> str:
    label, size, bounds, basis = (cell.text for cell in row)
    interval = "no interval: observational" if bounds == NO_BOUNDS else f"95% interval {bounds}" if bounds else ""
    return f"{label}: {size}{f' ({interval})' if interval else ''}. From: {basis}."


def _amount(label: str, interval: Interval | None, basis: str, show: Formats, observational: bool) -> tuple[Cell, ...]:
    size = show.signed_money(interval.estimate if interval else None)
    bounds = estimate_bounds(interval, "signed_money", show, observational=observational)
    return Cell(label), Cell(size), Cell(bounds), Cell(basis)


def _basis(savings: OptimizationSavings, show: Formats) -> str:
    estimated = savings.estimated
    if estimated.savings_usd is None:
        return estimated.reason or "no adequate cheaper model is known"
    label = evidence_label(estimated.evidence, observational=estimated.observational)
    kind = f"; {label}" if label else ""
    return f"{estimated.baseline}, for {show.percent(estimated.covered_share)} of the spend{kind}"


def _router_basis(document: OptimizationReport, show: Formats) -> str:
    if document.savings.router_cost_usd is None:
        return "what the router costs is not known"
    return f"what the settings say, for {show.count(document.selection_count)} requests"


def _measured_basis(savings: OptimizationSavings) -> str:
    count = savings.measured_count
    if count == 0:
        return "no rollout or switchback was judged in this period"
    tried = (
        "change that a rollout or a switchback tried" if count == 1 else "changes that rollouts or switchbacks tried"
    )
    return f"{count} {tried}, over the hours of the trial"


def _observed_basis(savings: OptimizationSavings) -> str:
    changes = "change, compared" if savings.observed_count == 1 else "changes, each compared"
    return f"{savings.observed_count} {changes} before and after; other causes are possible"


# --- whether routing adds anything ------------------------------------------------------------------------------------


def baselines_table(baselines: Baselines, show: Formats) -> Table:
    """The router beside ways of routing that know nothing of the request."""
    ways = (baselines.router, baselines.all_cheapest, baselines.shuffled)
    has_reasons = any(way.reason for way in ways)

    def is_guess(way: Baseline) -> bool:
        # What the router itself cost, and how accurate it was, was measured.
        return baselines.observational and way.name != "router"

    rows = [
        (
            Cell(way_name(way)),
            Cell(show.money(way.cost_usd.estimate if way.cost_usd else None)),
            Cell(_bounds(way.cost_usd, "money", show, observational=is_guess(way))),
            Cell(show.percent(way.accuracy.estimate if way.accuracy else None)),
            Cell(_bounds(way.accuracy, "percent", show, observational=is_guess(way))),
            Cell(show.percent(way.covered_share)),
            *((Cell(way.reason or ""),) if has_reasons else ()),
        )
        for way in ways
    ]
    columns = "<Way of routing | Cost | 95% interval | Accuracy | 95% interval | Covered" + " | <Missing" * has_reasons
    as_text = [
        f"{row[0].text}: {row[1].text}, accuracy {row[3].text}, for {row[5].text} of the requests." for row in rows
    ]
    return table("baselines", "Ways of routing", columns, rows, as_text=as_text)


def way_name(way: Baseline) -> str:
    """A way of routing for people."""
    model = f"the cheapest, {way.model}" if way.model else "the cheapest model"
    return {
        "router": "The router, as measured",
        "allCheapest": f"All to {model}",
        "shuffled": "Drawn by lot, same cost",
    }[way.name]


def _bounds(interval: Interval | None, kind: str, show: Formats, *, observational: bool) -> str:
    """Empty also of what was counted, which is exact."""
    if interval is None or interval.low == interval.high:
        return ""
    return estimate_bounds(interval, kind, show, observational=observational)
