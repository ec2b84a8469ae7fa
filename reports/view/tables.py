"""The tables of a report, row for row, with texts that are final."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from models.documents import (
    Bottleneck,
    Document,
    Savings,
    Trend,
)
from reports.text.findings import place_name, place_rate, rate_label, share_words
from reports.text.formatting import Formats
from reports.text.labels import (
    COMPARED,
    DIRECTION_TONES,
    bounds_words,
    metric_change,
    metric_label,
    metric_value,
)
from reports.text.trends import is_news, trend_sentence
from reports.text.verdicts import (
    state_tone,
    state_word,
    trial_words,
    trials_of,
    verdict_words,
)
from reports.view.blocks import Cell, Table, table


def trends_table(trends: Iterable[Trend], compared_with: str, show: Formats) -> Table:
    """Every headline number against one earlier period; told are those that changed beyond chance."""
    against = [trend for trend in trends if trend.compared_with == compared_with]
    rows = [
        (
            Cell(metric_label(trend.metric)),
            Cell(metric_value(trend.metric, trend.current, show)),
            Cell(metric_value(trend.metric, trend.before, show)),
            Cell("" if trend.change is None else metric_change(trend.metric, trend.change.estimate, show)),
            Cell(bounds_words(trend.metric, trend.change, show)),
            Cell(_verdict(trend), tone=DIRECTION_TONES.get(trend.direction, "plain")),
        )
        for trend in against
    ]
    title = f"Against {COMPARED[compared_with]}"
    columns = "<Metric | Now | Before | Change | 95% interval | <Verdict"
    told = [trend_sentence(trend, show) for trend in against if is_news(trend)]
    return table(f"trends_{compared_with}", title, columns, rows, told=told)


def _verdict(trend: Trend) -> str:
    return f"unknown: {trend.reason}" if trend.reason else trend.direction.value


def places_table(found: Bottleneck, show: Formats) -> Table:
    """Every place where one bottleneck sits, and what would be left of it elsewhere where that is known."""
    without = any(place.rate_without is not None for place in found.where)
    rows = [
        (
            Cell(place_name(place)),
            Cell(show.count(place.affected)),
            Cell(show.percent(place.share), min(1.0, max(0.0, place.share))),
            Cell(place_rate(found, place.rate, show)),
            *((Cell(place_rate(found, place.rate_without, show)),) if without else ()),
        )
        for place in found.where
    ]
    columns = (
        f"<Where | Affected | Share {share_words(found)} | {rate_label(found)}{' | Without it' if without else ''}"
    )
    return table(f"places_{found.type}", "Where it sits", columns, rows)


# --- money ------------------------------------------------------------------------------------------------------------


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
            Cell(show.interval(row.savings_usd, "signed_money")),
        )
        for row in savings.classes
    ]
    columns = "<Complexity | Requests | Spent | <Cheapest adequate model | Would have cost | Saving | 95% interval"
    return table("savings", "By complexity", columns, rows)


def _bars(numbers: Sequence[float | None]) -> list[float | None]:
    largest = max((number for number in numbers if number), default=0)
    return [number / largest if number is not None and largest else None for number in numbers]


def trials_table(document: Document, show: Formats, *, why: bool = True) -> Table:
    """One row an optimization: what it changed, `why`, and what came of it."""
    trials = trials_of(document.config_changes)
    rows = [
        (
            Cell(trial.number or "–"),
            Cell("; ".join(trial.settings(show))),
            Cell(show.day(trial.changes[0].applied_at)),
            Cell(state_word(trial.state), tone=state_tone(trial.state)),
            *((Cell(trial.changes[0].reason),) if why else ()),
            Cell(verdict_words(trial, show)),
        )
        for trial in trials
    ]
    columns = f"<No. | <Setting | <When | <State{' | <Why' if why else ''} | <Came of it"
    return table("applied", "Config changes", columns, rows, told=[trial_words(trial, show) for trial in trials])
