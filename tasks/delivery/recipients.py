"""Who is behind the recipient names of schedules and alerts, told apart from what is secret in an address."""

from __future__ import annotations

from collections.abc import Iterable

from models.settings import Settings

RecipientAddress = tuple[str, str]
"""A channel, and the reference that a recipient is stored and shown as (models.recipient)."""


def recipients_for(names: Iterable[str], settings: Settings) -> tuple[list[RecipientAddress], list[str]]:
    """The addresses behind recipient names, each once, in order; and the names that no address is set for."""
    recipients: dict[RecipientAddress, None] = {}
    without: list[str] = []
    for name in names:
        found = settings.delivery.recipients_of(name)
        if not found:
            without.append(name)
        recipients |= dict.fromkeys((it.channel, it.reference) for it in found)
    return list(recipients), without
