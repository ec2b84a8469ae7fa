"""The demo's summary: KPIs before and after, findings, applied changes, and paths of the outputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from deployments.console import say, table
from examples.receivers import Hook, Inbox
from models.context import AppContext
from models.documents import FiredAlert, PerformanceReport, document_as
from models.period import Period
from models.report_template import Template
from reports.report_templates.performance.sections import fired_summary
from reports.text.formatting import Formats
from reports.text.labels import KPI_LABELS, MARKS, TONES, kpi_value, limit_text
from reports.text.verdicts import Trial, method_label, state_label, step_text, trials_of, verdict_text
from reports.view.sections import actions_of, findings_of

if TYPE_CHECKING:
    from flows.report_pipeline import Outcome


OPTIMIZATION_PDF = "optimization.pdf"


def print_summary(ctx: AppContext, before: Period, after: Period, outcomes: Sequence[Outcome]) -> None:
    """Print the KPIs of two periods side by side, the weekly report's findings, and the result of every change."""
    show = Formats(ctx.settings.reporting.locale, ctx.settings.timezone)
    earlier, later = _measured(ctx, before), _measured(ctx, after)
    say("\nKPIs")
    headings = ("", _days(before, show), _days(after, show), "target")
    table(headings, [*_kpi_rows(earlier, later, show), *_money_rows(earlier, later, show)], "")
    weekly = document_as(outcomes[-1].report.document, PerformanceReport)
    _list("Findings of the fourth week", (f"{it.title}: {it.text}" for it in findings_of(weekly, show)))
    _list("Alerted", (fired_summary(it, show) for it in _fired(ctx, after)))
    _list("Tried changes and results", (_change(trial, show) for trial in _tried(weekly)))
    waiting = [item for item in weekly.recommendations if item.status == "waiting" and not item.auto_apply]
    _list("Pending approvals", (f"{it.title}: {it.text}" for it in actions_of(tuple(waiting), show)))


def write_optimization_report(ctx: AppContext, home: Path, period: Period) -> None:
    """Write the optimization report as PDF."""
    from models.file_format import FileFormat
    from reports.renderers.report_file import as_file
    from tasks.atomic_files import write_in_pieces
    from tasks.reporting.collect import document_of
    from tasks.reporting.request import Request

    request = Request("custom", Template.OPTIMIZATION, period, "detailed", formats=(FileFormat.PDF,))
    document = document_of(ctx.engine, request, ctx.settings, period.end)
    write_in_pieces(home / OPTIMIZATION_PDF, as_file(document, FileFormat.PDF).write)
    say(str(home / OPTIMIZATION_PDF))


def print_locations(home: Path, outcomes: Sequence[Outcome], inbox: Inbox, hook: Hook) -> None:
    """Print the deliveries and the paths of the outputs."""
    delivered = len(set(hook.ids))
    say(f"\nDelivered: {len(inbox.mails)} mails; {delivered} webhooks, all signatures verified, {hook.refused} refused")
    weekly = outcomes[-1].files
    locations = (
        ("the week's PDF", weekly["pdf"]),
        ("the same as HTML", weekly["html"]),
        ("applied changes", home / OPTIMIZATION_PDF),
        ("the mail about it", inbox.mails[-1]),
        ("all mails", inbox.folder),
        ("webhook bodies", hook.folder),
        ("live snapshot", home / "dashboard.html"),
        ("the database", home / "routewatch.db"),
    )
    say("\nOutputs")
    for what, path in locations:
        say(f"  {what:<20} {_short(path)}")


# ----------------------------------------------------------------------------------------------------------------------


def _measured(ctx: AppContext, period: Period) -> PerformanceReport:
    from tasks.reporting.collect import document_of
    from tasks.reporting.request import Request

    request = Request("custom", Template.PERFORMANCE, period)
    return document_as(document_of(ctx.engine, request, ctx.settings, period.end), PerformanceReport)


def _fired(ctx: AppContext, period: Period) -> Iterable[FiredAlert]:
    from models.database import reading
    from models.documents import Filters
    from tasks.alerts.queries import list_fired

    with reading(ctx.engine) as connection:
        return list_fired(connection, Period(period.start - timedelta(weeks=1), period.end), Filters())


def _days(period: Period, show: Formats) -> str:
    return f"{show.day(period.start)} to {show.day(period.end - timedelta(days=1))}"


def _kpi_rows(before: PerformanceReport, after: PerformanceReport, show: Formats) -> list[tuple[str, ...]]:
    rows = []
    for early, late in zip(before.kpis, after.kpis, strict=True):
        shown = (
            f"{kpi_value(kpi.name, kpi.value, show)} {MARKS[TONES[kpi.state]]} {kpi.state.value}"
            for kpi in (early, late)
        )
        rows.append((KPI_LABELS[early.name], *shown, limit_text(early.name, early.target, show)))
    return rows


def _money_rows(before: PerformanceReport, after: PerformanceReport, show: Formats) -> list[tuple[str, ...]]:
    def per_request(document: PerformanceReport) -> str:
        spent, count = document.summary.total_cost, document.summary.total_selections
        return show.money(spent / count if spent is not None and count else None)

    return [("Spend per request", per_request(before), per_request(after), "")]


def _tried(weekly: PerformanceReport) -> Iterable[Trial]:
    """The week's changes, as its report tells them, oldest first."""
    return trials_of(weekly.config_changes)


def _change(trial: Trial, show: Formats) -> str:
    """When and how it was tried, step by step, and what came of it."""
    verdict, at = trial.verdict, trial.applied_at
    tried = verdict.trial if verdict else None
    steps = (
        ", ".join(f"{step_text(it, show)} ({show.short_day(it.at)}, {show.clock(it.at)})" for it in tried.steps)
        if tried
        else ""
    )
    how = f"\n      {method_label(verdict.method)}{f': {steps}' if steps else ''}" if verdict else ""
    named = f"{show.day(at)}  {trial.number} {'; '.join(trial.settings(show))}" if at else trial.number
    return f"{named}: {state_label(trial.state)}{how}\n      {verdict_text(trial, show)}"


def _list(title: str, items: Iterable[str]) -> None:
    say(f"\n{title}")
    for item in list(items) or ["nothing"]:
        # Without a terminal's control characters, as all that is said: line by line.
        first, *others = item.split("\n")
        say(f"  - {first}")
        for line in others:
            say(line)


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
