"""The report about usage: how much is asked, by whom and when, and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from models.documents import Coverage, GroupUsage, UsageReport
from models.settings import ChartName
from reports.report_templates.usage.sentences import change_text, compared_text, signed_count
from reports.text.formatting import Formats
from reports.text.labels import bounds_text, number_text
from reports.view.blocks import Block, Cell, ChartsHere, Section, Table, Text, Tile, Tiles, table
from reports.view.sections import chart_blocks, notes_block, trend_blocks
from reports.view.tiles import plain_tile

_DAYS_TO_KNOW_A_MODEL = 7
"""With fewer known before, none is called new."""


def sections(document: UsageReport, show: Formats) -> list[Section]:
    """Its sections: the size of it first, then what changed."""
    charts = Section("charts", "Charts", _charts(document))
    models = Section("models", "Models", _models(document, show))
    groups = Section("groups", "Who asks", _groups(document, show))
    notes = Section("notes", "Notes", (notes_block(document),))
    first = (
        Section("overview", "At a glance", (Tiles(_tiles(document, show)),)),
        Section("changed", "What changed", _changed(document, show)),
    )
    if document.depth == "summary":
        # Two pages hold all of it where the tables stand before the charts.
        return [*first, models, groups, charts, notes]
    trends = Section("trends", "Trends", trend_blocks(document, document.usage_trend, show))
    return [*first, charts, models, groups, trends, notes]


def _charts(document: UsageReport) -> tuple[Block, ...]:
    """Omit the requesters' charts in the summary, whose tables have their own bars."""
    blocks = chart_blocks(document)
    if document.depth == "detailed":
        return blocks
    return tuple(replace(it, names=_but_groups(it.names)) if isinstance(it, ChartsHere) else it for it in blocks)


def _but_groups(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name != ChartName.DISTRIBUTION)


# --- at a glance ------------------------------------------------------------------------------------------------------


def _tiles(document: UsageReport, show: Formats) -> tuple[Tile, ...]:
    summary, known = document.usage_summary, document.coverage
    per_day = f"{show.count(summary.selections_per_day)} a day" if summary.selections_per_day else ""
    requests, satisfaction = show.count(summary.total_selections), show.percent(summary.user_satisfaction)
    rated = show.coverage(known.user_satisfaction)
    return (
        plain_tile(document, "Requests", requests, ("totalSelections",), show, note=per_day),
        _peak_tile(document, show),
        _token_tile(document, "Prompt", summary.prompt_tokens, known.prompt_tokens, show),
        _token_tile(document, "Completion", summary.completion_tokens, known.completion_tokens, show),
        plain_tile(document, "User satisfaction", satisfaction, ("userSatisfaction",), show, note=rated),
        Tile("Models", show.count(summary.models), note=_arrived(document)),
        Tile("Complexity classes", show.count(len(document.complexity_usage))),
        Tile("Teams", show.count(summary.teams), note="" if summary.teams else "no team is recorded"),
    )


def _peak_tile(document: UsageReport, show: Formats) -> Tile:
    peak = document.usage_summary.peak_hour
    if peak is None:
        return Tile("Busiest hour", show.count(None), tone="unknown")
    return Tile("Busiest hour", f"{show.count(peak.count)} requests", note=f"from {show.instant(peak.start)}")


def _token_tile(document: UsageReport, kind: str, tokens: int | None, known: Coverage, show: Formats) -> Tile:
    """What a request has of one kind of tokens, and how many there were in all."""
    each = show.count(None if tokens is None or not known.known else tokens / known.known)
    note = "" if tokens is None else f"{show.count(tokens)} in all, {show.coverage(known)}"
    return plain_tile(document, f"{kind} tokens each", each, (f"{kind.lower()}TokensPerSelection",), show, note=note)


def _arrived(document: UsageReport) -> str:
    as_text = ((len(document.new_models), "new"), (len(document.vanished_models), "gone"))
    return ", ".join(f"{number_text(count)} {word}" for count, word in as_text if count)


# --- what changed -----------------------------------------------------------------------------------------------------


def _changed(document: UsageReport, show: Formats) -> tuple[Block, ...]:
    if document.selection_count == 0:
        return (Text("There were no requests that could be compared.", "unknown"),)
    blocks = [_movers(document, show), _arrivals(document, show)]
    return tuple(block for pair in blocks for block in pair)


def _movers(document: UsageReport, show: Formats) -> tuple[Block, ...]:
    groups = (*document.model_usage, *document.complexity_usage, *document.team_usage)
    span = show.span(document.compared_from, document.compared_to)
    against = f"{compared_text(document)}, {span}, which has the same weekdays"
    if document.top_movers:
        sure = "The 95% intervals hold for all groups at once: none stands here because many were looked at."
        return (Text(f"Compared with {against}. {sure}"), movers_table(document, show))
    reasons = [group.reason for group in groups]
    if groups and all(reasons):
        return (Text(f"What changed cannot be told: {reasons[0]}.", "unknown"),)
    return (Text(f"No model, complexity class or team changed by more than chance against {against}."),)


def _arrivals(document: UsageReport, show: Formats) -> tuple[Block, ...]:
    days, least = show.count(document.days_before), show.count(document.least_selections)
    if document.new_models or document.vanished_models:
        chosen = (
            f"New is a model with at least {least} requests, but none in the {days} days before. Gone is one that had "
            "none, where chance alone would have left it some."
        )
        return (Text(chosen), arrivals_table(document, show))
    if document.days_before < _DAYS_TO_KNOW_A_MODEL:
        return (Text(f"Whether a model is new cannot be told: only {days} days before are known.", "unknown"),)
    return (Text(f"No model is new by the {days} days before, and none is gone."),)


# --- groups -----------------------------------------------------------------------------------------------------------


def _models(document: UsageReport, show: Formats) -> tuple[Block, ...]:
    if not document.model_usage:
        return (Text("No model served a request.", "unknown"),)
    return (usage_table("models", "Model", document.model_usage, show),)


def _groups(document: UsageReport, show: Formats) -> tuple[Block, ...]:
    blocks: list[Block] = []
    if document.complexity_usage:
        blocks.append(usage_table("complexities", "Complexity", document.complexity_usage, show))
    if document.team_usage:
        blocks.append(usage_table("teams", "Team", document.team_usage, show))
    elif document.selection_count:
        blocks.append(Text("Which teams ask is not recorded.", "unknown"))
    if document.teams_left_out:
        blocks.append(Text(f"{show.count(document.teams_left_out)} smaller teams are left out here."))
    return tuple(blocks)


def usage_table(name: str, title: str, groups: Sequence[GroupUsage], show: Formats) -> Table:
    """One row a group, busiest first as in the document; bars compare requests."""
    largest = max((group.count for group in groups), default=0)
    rows = [
        (
            Cell(group.name),
            Cell(show.count(group.count), group.count / largest),
            Cell(show.percent(group.share)),
            Cell(show.count(group.before)),
            Cell(change_text(group, show)),
            Cell(show.count(group.tokens_per_selection)),
            Cell(show.percent(group.user_satisfaction)),
            Cell(show.coverage(group.satisfaction_coverage).removeprefix("known for ") or "no data"),
            Cell(show.percent(group.error_rate)),
        )
        for group in groups
    ]
    columns = f"<{title} | Requests | Share | Before | Change | Tokens each | Satisfaction | Rated | Errors"
    as_text = [
        f"{row[0].text}: {row[1].text} requests, {row[2].text}; before {row[3].text}, {row[4].text}." for row in rows
    ]
    return table(name, f"Per {title.lower()}", columns, rows, empty="No model served a request.", as_text=as_text)


def movers_table(document: UsageReport, show: Formats) -> Table:
    """What changed most, with the change's interval."""
    rows = [
        (
            Cell(f"{mover.dimension} {mover.name}"),
            Cell(show.count(mover.before)),
            Cell(show.count(mover.count)),
            Cell(signed_count(mover.count - mover.before, show)),
            Cell(bounds_text("totalSelections", mover.change, show)),
            Cell(change_text(mover, show)),
        )
        for mover in document.top_movers
    ]
    columns = "<What | Before | Now | Change | 95% interval | In percent"
    as_text = [
        f"{row[0].text}: {row[1].text} → {row[2].text} requests, {row[3].text} (95% interval {row[4].text})."
        for row in rows
    ]
    return table("movers", f"Against {compared_text(document)}", columns, rows, as_text=as_text)


def arrivals_table(document: UsageReport, show: Formats) -> Table:
    """The models that are new with what they served since, and those that are gone with what they served before."""
    new = [("new", it.model_id, it.count, it.share, f"since {_when(it.since, show)}") for it in document.new_models]
    gone = [
        ("gone", it.model_id, it.before, it.share_before, f"until {_when(it.last, show)}")
        for it in document.vanished_models
    ]
    rows = [
        (Cell(name), Cell(state), Cell(show.count(count)), Cell(show.percent(share)), Cell(when))
        for state, name, count, share, when in (*new, *gone)
    ]
    as_text = [
        f"{name.text} is {state.text}: {count.text} requests, {when.text}." for name, state, count, _, when in rows
    ]
    return table(
        "arrivals", "Models that came and went", "<Model | <State | Requests | Share | <When", rows, as_text=as_text
    )


def _when(instant: datetime, show: Formats) -> str:
    """A whole day by its date alone."""
    local = show.local(instant)
    return show.day(instant) if (local.hour, local.minute) == (0, 0) else show.instant(instant)
