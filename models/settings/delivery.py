"""Delivery of reports and messages."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from models.recipient import (
    BUILT_IN,
    EMAIL,
    Recipient,
    is_in_the_clear,
    is_literally_public,
    normal_mailbox,
    parse_recipient,
)
from models.settings.block import SettingsBlock


class DeliverySettings(SettingsBlock):
    """Delivery of reports and messages."""

    mode: Literal["send", "files"] = "send"
    """`files` writes messages to `outbox/` in `ROUTEWATCH_HOME` instead of sending them."""
    allow_private_addresses: bool = False
    """Allow webhooks to private network addresses, also over http."""
    recipients: Annotated[dict[str, tuple[str, ...]], Field(repr=False)] = Field(default={})
    """Named recipients, each with a list of addresses: `mailto:`, `https:`, a chat's or `secret:NAME`."""
    maximum_attempts: Annotated[int, Field(ge=1, le=100)] = 10
    """Number of failed attempts after which a delivery is dead-lettered."""
    concurrency: Annotated[int, Field(ge=1, le=32)] = 4
    """Number of receivers served in parallel; each gets one delivery at a time."""

    @field_validator("recipients")
    @classmethod
    def _known_addresses(
        cls, recipients: dict[str, tuple[str, ...]], info: ValidationInfo
    ) -> dict[str, tuple[str, ...]]:
        private = bool(info.data.get("allow_private_addresses"))
        entries = ((name, number, url) for name, urls in recipients.items() for number, url in enumerate(urls))
        faults = [
            f"{name}.{number}: {fault}" for name, number, url in entries if (fault := recipient_fault(url, private))
        ]
        faults += [f"{name}: is built in and accepts no address" for name in BUILT_IN if name in recipients]
        if faults:
            raise ValueError("; ".join(faults))
        return recipients

    def recipients_of(self, name: str) -> tuple[Recipient, ...]:
        """The recipients of a name; a built-in channel names itself."""
        if name in BUILT_IN:
            return (Recipient(name, name),)
        return tuple(map(parse_recipient, self.recipients.get(name, ())))

    def recipient(self, channel: str, reference: str) -> Recipient | None:
        """The recipient of a stored delivery; None if the settings no longer have it."""
        if channel == EMAIL and not reference.isascii():
            # Stored before addresses had a normal form.
            with suppress(ValueError):
                reference = normal_mailbox(reference)
        every = (it for name in (*BUILT_IN, *self.recipients) for it in self.recipients_of(name))
        return next((it for it in every if (it.channel, it.reference) == (channel, reference)), None)


def recipient_fault(entry: str, private: bool) -> str | None:
    """The fault of a recipient, without its secrets; None if it is valid."""
    try:
        recipient = parse_recipient(entry)
    except ValueError as error:
        return str(error)
    if not is_in_the_clear(recipient):
        return None
    if not private:
        return f"{recipient.reference} is not encrypted: use https:, or allowPrivateAddresses for a private network"
    return f"{recipient.reference} is not encrypted, but public: use https:" if is_literally_public(recipient) else None
