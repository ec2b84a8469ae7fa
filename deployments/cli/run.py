"""Run a flow from the command line, in this process."""

from __future__ import annotations

from datetime import datetime

from deployments.console import complain, say
from deployments.embedded_prefect import use_embedded_prefect, without_heartbeat
from models.context import AppContext


def run_schedule(ctx: AppContext, schedule: str, as_of: datetime | None) -> int:
    """Run a schedule's flow and print its outcome; return the exit status, 1 if a delivery is dead-lettered."""
    # Connect first, so that an unavailable database is reported in one line, before Prefect starts.
    ctx.engine.dispose()
    use_embedded_prefect(ctx.environment.home)
    from flows.daily import daily
    from flows.hourly import hourly
    from flows.report_pipeline import Outcome
    from flows.weekly import weekly
    from reports.report_templates.view import headline

    with without_heartbeat():
        outcome: Outcome = {"hourly": hourly, "daily": daily, "weekly": weekly}[schedule](as_of=as_of)
    say(headline(outcome.report.document))
    for form, path in outcome.files.items():
        say(f"{form:>5}  {path}")
    for receipt in outcome.receipts:
        say(f"{receipt.channel} to {receipt.recipient}: {receipt.state} ({receipt.answer})")
    for name in outcome.report.without_address:
        complain(f"no address is set for {name!r} (delivery.recipients.{name} in the settings): it gets no report")
    return int(any(receipt.state == "dead" for receipt in outcome.receipts))
