"""Where reports and messages go, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from models.recipient import BUILT_IN, Recipient, is_in_the_clear, is_literally_public, parse_recipient
from models.settings.block import SettingsBlock


class DeliverySettings(SettingsBlock):
    """Where reports and messages go, and how."""

    mode: Literal["send", "files"] = "send"
    """`files` writes what would be sent to `outbox/` in `ROUTEWATCH_HOME` instead."""
    allow_private_addresses: bool = False
    """Allow webhooks within one's own network, also by http."""
    recipients: Annotated[dict[str, tuple[str, ...]], Field(repr=False)] = Field(default={})
    """Names, each with its addresses: `mailto:`, `https:`, a chat's or `secret:NAME`."""
    maximum_attempts: Annotated[int, Field(ge=1, le=100)] = 10
    """After so many failed attempts a delivery is given up."""
    concurrency: Annotated[int, Field(ge=1, le=32)] = 4
    """How many receivers are served at the same time, each one delivery after the other."""

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
        faults += [f"{name}: is built in and takes no address" for name in BUILT_IN if name in recipients]
        if faults:
            raise ValueError("; ".join(faults))
        return recipients

    def recipients_of(self, name: str) -> tuple[Recipient, ...]:
        """Those behind a name; a channel that is built in stands for itself."""
        if name in BUILT_IN:
            return (Recipient(name, name),)
        return tuple(map(parse_recipient, self.recipients.get(name, ())))

    def recipient(self, channel: str, reference: str) -> Recipient | None:
        """The one that a stored delivery names; None where the settings no longer have it."""
        every = (it for name in (*BUILT_IN, *self.recipients) for it in self.recipients_of(name))
        return next((it for it in every if (it.channel, it.reference) == (channel, reference)), None)


def recipient_fault(entry: str, private: bool) -> str | None:
    """What is wrong with a recipient, without what may be secret in it; None where nothing is."""
    try:
        recipient = parse_recipient(entry)
    except ValueError as error:
        return str(error)
    if not is_in_the_clear(recipient):
        return None
    if not private:
        return f"{recipient.reference} is not encrypted: use https:, or allowPrivateAddresses for one's own network"
    return f"{recipient.reference} is not encrypted, but public: use https:" if is_literally_public(recipient) else None
