"""Commands for alerts: what fires, what was, and what is to be silent for a while."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.console import say, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

    from models.settings import Settings

alerts = typer.Typer(help="What fires, what did, and silences.", no_args_is_help=True)

By = Annotated[str | None, typer.Option(help="Your name, for the record; by default the login's.")]


@alerts.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Also what is over, the newest 200.")] = False,
) -> None:
    """Show the alerts that are not over: since when, the value and its limit."""
    from models.context import load_context
    from tasks.alerts.queries import baseline_progress, list_alerts

    ctx, now = load_context(), datetime.now(UTC)
    found = list_alerts(ctx.engine, everything=everything)
    headings = ("id", "state", "severity", "rule", "subject", "value", "limit", "limit is", "since", "over at")
    rows = _alert_rows(found, ctx.settings) if found else []
    table(headings, rows, "no alert is on record" if everything else "nothing fires")
    reason = baseline_progress(ctx, now)
    if reason:
        say(reason)


@alerts.command()
def silence(
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    hours: Annotated[float, typer.Option(help="For how long from now on.")] = 1.0,
    rule: Annotated[str | None, typer.Option(help="Only this rule, such as errorRate or noData.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only this model or flow. Empty: what is over all.")] = None,
    by: By = None,
) -> None:
    """Tell nobody of alerts for a while. They stay on record, and what still fires afterwards is told then."""
    from models.attribution import Attribution
    from models.context import load_context
    from models.errors import UsageError
    from models.notifications import AlertRule
    from tasks.alerts.silences import SilenceRequest
    from tasks.alerts.silences import create_silence as silence_them

    known = {it.value: it for it in AlertRule}
    if rule is not None and rule not in known:
        raise UsageError(f"{rule!r} is no rule; expected one of {', '.join(known)}")
    wanted = SilenceRequest(known[rule] if rule else None, subject, timedelta(hours=hours))
    word = Attribution(by or getpass.getuser(), reason, datetime.now(UTC))
    number = silence_them(load_context().engine, wanted, word)
    until = _stamp(word.at + wanted.length)
    say(f"silence {number} holds until {until}; `routewatch alerts unsilence {number}` ends it")


@alerts.command()
def unsilence(silence_id: Annotated[int, typer.Argument(metavar="ID")]) -> None:
    """End a silence now."""
    from models.context import load_context
    from tasks.alerts.silences import end_silence

    end_silence(load_context().engine, silence_id, datetime.now(UTC))
    say(f"silence {silence_id} is over")


@alerts.command()
def silences() -> None:
    """Show the silences that are not over."""
    from models.context import load_context
    from tasks.alerts.silences import list_silences

    rows = [
        (str(row.id), row.rule or "every rule", _subject(row.subject), _stamp(row.ends_at), row.by, row.reason)
        for row in list_silences(load_context().engine, datetime.now(UTC))
    ]
    table(("id", "rule", "subject", "until", "by", "why"), rows, "nothing is silenced")


# ----------------------------------------------------------------------------------------------------------------------


def _alert_rows(found: Sequence[Row[Any]], settings: Settings) -> list[tuple[str, ...]]:
    """Alerts as rows of a table; the locale's numbers are only read where there are any to show."""
    from models.notifications import AlertRule
    from reports.text.alerts import amount
    from reports.text.formatting import Formats

    show = Formats(settings.reporting.locale, settings.timezone)
    return [
        (
            str(row.id), row.state, row.severity, row.rule, row.subject or "all models",
            amount(AlertRule(row.rule), row.value, show), amount(AlertRule(row.rule), row.threshold, show),
            "learned" if row.learned else "fixed", _stamp(row.started_at), _stamp(row.resolved_at),
        )
        for row in found
    ]  # fmt: skip


def _subject(subject: str | None) -> str:
    return "every subject" if subject is None else subject or "all models"


def _stamp(instant: datetime | None) -> str:
    return "" if instant is None else instant.isoformat(sep=" ", timespec="minutes")
