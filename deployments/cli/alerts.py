"""Commands for alerts: list alerts, and create, list and end silences."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.console import say, table
from models.ids import LARGEST_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

    from models.settings import Settings

alerts = typer.Typer(help="Alerts and silences.", no_args_is_help=True)

By = Annotated[str | None, typer.Option(help="Your name, for the record. Default: your login name.")]


@alerts.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Include resolved alerts (the newest 200).")] = False,
) -> None:
    """Show the open alerts with their start time, value and limit."""
    from models.context import load_context
    from tasks.alerts.queries import baseline_progress, list_alerts

    ctx, now = load_context(), datetime.now(UTC)
    found = list_alerts(ctx.engine, everything=everything, limit=200 if everything else None)
    headings = ("id", "state", "severity", "rule", "subject", "value", "limit", "limit is", "since", "over at")
    rows = _alert_rows(found, ctx.settings) if found else []
    table(headings, rows, "no alerts recorded" if everything else "no active alerts")
    reason = baseline_progress(ctx, now)
    if reason:
        say(reason)


@alerts.command()
def silence(
    reason: Annotated[str, typer.Option(help="Reason, for the record.")],
    hours: Annotated[float, typer.Option(help="Duration in hours, starting now.")] = 1.0,
    rule: Annotated[str | None, typer.Option(help="Only this rule, such as errorRate or noData.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only this model or flow. Empty: alerts over all models.")] = None,
    by: By = None,
) -> None:
    """Pause notifications of alerts. Alerts that still fire when the silence ends are notified then."""
    from models.attribution import Attribution
    from models.context import load_context
    from models.errors import UsageError
    from models.notifications import AlertRule
    from tasks.alerts.silences import SilenceRequest
    from tasks.alerts.silences import create_silence as silence_them

    known = {it.value: it for it in AlertRule}
    if rule is not None and rule not in known:
        raise UsageError(f"{rule!r} is no rule; expected one of {', '.join(known)}")
    try:
        length = timedelta(hours=hours)
    except (OverflowError, ValueError):
        raise UsageError(f"--hours is a number such as 2 or 0.5; found {hours}") from None
    request = SilenceRequest(known[rule] if rule else None, subject, length)
    attribution = Attribution(by or getpass.getuser(), reason, datetime.now(UTC))
    number = silence_them(load_context().engine, request, attribution)
    until = _stamp(attribution.at + request.length)
    say(f"silence {number} lasts until {until}; end it with `routewatch alerts unsilence {number}`")


@alerts.command()
def unsilence(silence_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=LARGEST_ID)]) -> None:
    """End a silence now."""
    from models.context import load_context
    from tasks.alerts.silences import end_silence

    end_silence(load_context().engine, silence_id, datetime.now(UTC))
    say(f"silence {silence_id} ended")


@alerts.command()
def silences() -> None:
    """Show the current silences."""
    from models.context import load_context
    from tasks.alerts.silences import list_silences

    rows = [
        (str(row.id), row.rule or "every rule", _subject(row.subject), _stamp(row.ends_at), row.by, row.reason)
        for row in list_silences(load_context().engine, datetime.now(UTC))
    ]
    table(("id", "rule", "subject", "until", "by", "why"), rows, "no silences")


# ----------------------------------------------------------------------------------------------------------------------


def _alert_rows(found: Sequence[Row[Any]], settings: Settings) -> list[tuple[str, ...]]:
    """Return alerts as table rows; load the locale's number formats only if there are rows."""
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
