"""Webhook: a signed POST by Standard Webhooks, to public addresses only unless the settings allow others."""

from __future__ import annotations

import asyncio
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from httpx_secure import SSRFProtectionError, httpx_ssrf_protection
from pydantic import SecretStr
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from models.errors import DeliveryFailed

TIMEOUT_S = 20.0
USER_AGENT = "Routewatch"


@dataclass(frozen=True)
class WebhookMessage:
    """One message; its id stays the same over every attempt, so that the receiver can count it once."""

    id: str
    body: bytes


def send_webhook(
    message: WebhookMessage, url: str, secret: SecretStr | None, *, allow_private_addresses: bool, now: datetime
) -> str:
    """POST a message; the status line that was answered. Raises DeliveryFailed.

    The address that is checked is the one that is connected to; a redirect is a failure; of the answer only the
    status is taken, since its body is the other side's to write.
    """
    headers = signed_headers(message, url, secret, now)
    try:
        response = asyncio.run(_post(url, message.body, headers, allow_private_addresses=allow_private_addresses))
    except SSRFProtectionError as error:
        raise DeliveryFailed(url, _private(error), permanent=True) from error
    except httpx.TimeoutException as error:
        raise DeliveryFailed(url, f"no answer within {TIMEOUT_S:g} s", permanent=False) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DeliveryFailed(url, f"cannot be reached: {error}", permanent=False) from error
    answer = f"{response.status_code} {response.reason_phrase}".strip()
    if response.is_success:
        return answer
    gone = response.status_code == httpx.codes.GONE
    raise DeliveryFailed(url, answer, permanent=gone, retry_after_s=_retry_after_s(response, now))


def signed_headers(message: WebhookMessage, url: str, secret: SecretStr | None, now: datetime) -> dict[str, str]:
    """The headers of an attempt at `now`. Raises DeliveryFailed without a usable secret: nothing goes out unsigned."""
    at = now.astimezone(UTC)
    try:
        signature = Webhook((secret or SecretStr("")).get_secret_value()).sign(message.id, at, message.body.decode())
    except (EmptyWebhookSecretError, binascii.Error) as error:
        wanted = "set ROUTEWATCH_WEBHOOK_SECRET to whsec_ and base64 of 24 to 64 random bytes"
        raise DeliveryFailed(url, f"nothing is sent unsigned: {wanted}", permanent=True) from error
    return {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "webhook-id": message.id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signature,
    }


# ----------------------------------------------------------------------------------------------------------------------


async def _post(url: str, body: bytes, headers: dict[str, str], *, allow_private_addresses: bool) -> httpx.Response:
    async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
        if not allow_private_addresses:
            httpx_ssrf_protection(client)
        return await client.post(url, content=body, headers=headers)


def _private(error: SSRFProtectionError) -> str:
    return (
        f"{error.hostname} is at the address {error.ip_addr}, which is not public; "
        "delivery.allowPrivateAddresses in the settings allows it"
    )


def _retry_after_s(response: httpx.Response, now: datetime) -> float | None:
    """What the other side asked for, in either of the two forms of RFC 9110; None where it is missing or senseless."""
    asked = response.headers.get("retry-after", "")
    if asked.isdigit():
        return float(asked)
    try:
        until = parsedate_to_datetime(asked)
    except ValueError:
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds())
