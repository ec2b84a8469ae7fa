"""Commands that look whether all is well: a check-up, and a sample that is sent to somebody."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.console import say

if TYPE_CHECKING:
    from models.recipient import Recipient

_OUTCOMES = {"sent": "sent", "queued": "not accepted for now", "dead": "refused", "uncertain": "perhaps sent"}


def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Check all that Routewatch needs, and say how to mend what is wrong. Nothing is sent, nothing is changed."""
    from deployments.cli.doctor_output import print_check_up

    raise typer.Exit(print_check_up(as_json=as_json))


def test_delivery(
    target: Annotated[
        str, typer.Argument(metavar="EMAIL|URL", help="ops@example.org, https://…, slack+https://…, secret:NAME.")
    ],
) -> None:
    """Send a sample to one address, in the settings or not, and tell the answer; exit status 1 where it is not sent."""
    from models.context import load_context
    from tasks.delivery.sample import try_recipient

    recipient = _recipient(target)
    verdict = try_recipient(load_context(), recipient, datetime.now(UTC))
    outcome = _OUTCOMES[verdict.state.value]
    say(f"{recipient.channel} to {recipient.reference}: {outcome} ({verdict.answer})")
    raise typer.Exit(0 if outcome == "sent" else 1)


# ----------------------------------------------------------------------------------------------------------------------


def _recipient(target: str) -> Recipient:
    from models.errors import UsageError
    from models.recipient import parse_recipient

    written = f"mailto:{target}" if "@" in target and ":" not in target else target
    try:
        return parse_recipient(written)
    except ValueError as error:
        hint = "`routewatch deliveries sample NAME` sends to whom the settings name"
        raise UsageError(f"nothing can be sent there: {error} ({hint})") from None
