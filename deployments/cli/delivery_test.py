"""`routewatch deliveries test`: a test message to recipient names and to addresses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deployments.console import say

if TYPE_CHECKING:
    from models.recipient import Recipient

_OUTCOMES = {"sent": "sent", "queued": "not accepted for now", "dead": "refused", "uncertain": "perhaps sent"}


def send_tests(targets: Sequence[str]) -> bool:
    """Send a test message to each target; return whether all were sent.

    A target that contains `@` or `:` is an address, unless it is a name in the settings. Addresses need not be in the
    settings. Raises UsageError.
    """
    from models.context import load_context

    known = load_context().settings.delivery.recipients
    names = [target for target in targets if target in known or not {"@", ":"} & set(target)]
    recipients = [address_of(target) for target in targets if target not in names]
    return all([*map(send_to_address, recipients), send_to_names(names) if names else True])


def send_to_names(names: Sequence[str]) -> bool:
    """Send through the queue to all recipients of names in delivery.recipients, `console` or `dashboard`."""
    from models.context import load_context
    from tasks.delivery.sample import send_test_message

    receipts = send_test_message(load_context(), names, datetime.now(UTC))
    for receipt in receipts:
        say(f"{receipt.channel} to {receipt.recipient}: {receipt.state} ({receipt.answer})")
    return all(receipt.state == "sent" for receipt in receipts)


def send_to_address(recipient: Recipient) -> bool:
    """Send once, without the database."""
    from models.context import load_context
    from tasks.delivery.sample import try_recipient

    result = try_recipient(load_context(), recipient, datetime.now(UTC))
    outcome = _OUTCOMES[result.state.value]
    say(f"{recipient.channel} to {recipient.reference}: {outcome} ({result.answer})")
    return outcome == "sent"


def address_of(target: str) -> Recipient:
    """Return the recipient of an e-mail address or URL. Raises UsageError."""
    from models.errors import UsageError
    from models.recipient import parse_recipient

    written = f"mailto:{target}" if "@" in target and ":" not in target else target
    try:
        return parse_recipient(written)
    except ValueError as error:
        hint = "`routewatch deliveries test NAME` sends to recipients in the settings"
        raise UsageError(f"cannot send there: {error} ({hint})") from None
