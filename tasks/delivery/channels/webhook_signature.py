"""Headers of Standard Webhooks, which let a receiver verify the sender and detect repeats."""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import SecretStr
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from models.errors import DeliveryFailed


@dataclass(frozen=True)
class WebhookMessage:
    """One message; its id stays the same over all attempts, so that the receiver can count it once."""

    id: str
    body: bytes


def signed_headers(message: WebhookMessage, shown: str, secrets: SecretStr | None, now: datetime) -> dict[str, str]:
    """Return the headers of an attempt at `now`. Raises DeliveryFailed without a valid secret.

    `secrets` may be several, separated by spaces: each signs, so that a receiver can rotate them.
    """
    at = now.astimezone(UTC)
    names = (secrets or SecretStr("")).get_secret_value().split() or [""]
    try:
        signatures = [Webhook(secret).sign(message.id, at, message.body.decode()) for secret in names]
    except (EmptyWebhookSecretError, binascii.Error) as error:
        remedy = "set ROUTEWATCH_WEBHOOK_SECRET to whsec_ and base64 of 24 to 64 random bytes"
        raise DeliveryFailed(shown, f"nothing is sent unsigned: {remedy}", permanent=True) from error
    return {
        "content-type": "application/json",
        "webhook-id": message.id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
