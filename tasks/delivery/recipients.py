"""Resolve recipient names of schedules and alerts to addresses, separated from secrets in addresses."""

from __future__ import annotations

from collections.abc import Iterable

from models.settings import Settings

RecipientAddress = tuple[str, str]
"""A channel, and the reference under which a recipient is stored and shown (models.recipient)."""


def recipients_for(names: Iterable[str], settings: Settings) -> tuple[list[RecipientAddress], list[str]]:
    """Return the recipients of names, each once, in order; and the names without an address."""
    recipients: dict[RecipientAddress, None] = {}
    without: list[str] = []
    for name in names:
        found = settings.delivery.recipients_of(name)
        if not found:
            without.append(name)
        recipients |= dict.fromkeys((it.channel, it.reference) for it in found)
    return list(recipients), without
