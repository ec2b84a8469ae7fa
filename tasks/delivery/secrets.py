"""Secrets, read at the moment of sending: from the environment, else from a Prefect Secret block."""

from __future__ import annotations

import os
from functools import cached_property

from pydantic import SecretStr

from models.environment import Environment
from models.errors import DeliveryFailed
from models.recipient import Recipient, parse_url
from models.redaction import hide, redact, remember
from tasks.run_logger import PREFECT_IMPORTS

WEBHOOK_BLOCK = "routewatch-webhook-secret"
SMTP_BLOCK = "routewatch-smtp-password"


class Secrets:
    """Secrets of one run; each is read once, on first use."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    @cached_property
    def webhook(self) -> SecretStr | None:
        """Return the secret that signs webhooks."""
        return self._environment.webhook_secret or _block(WEBHOOK_BLOCK)

    @cached_property
    def smtp_password(self) -> SecretStr | None:
        """Return the mail server's password; None without a user name, as there is no login."""
        if self._environment.smtp_username is None:
            return None
        return self._environment.smtp_password or _block(SMTP_BLOCK)

    def redacted(self, text: str) -> str:
        """Return a text with these secrets redacted, and all others that this process knows."""
        read = [self.__dict__.get(name) for name in ("webhook", "smtp_password")]
        secrets = [*read, self._environment.smtp_password, self._environment.webhook_secret]
        return hide(redact(text, (word for it in secrets if it for word in it.get_secret_value().split())))

    def resolved(self, recipient: Recipient) -> Recipient:
        """Return the recipient with its resolved address. Raises DeliveryFailed if its secret is missing."""
        name = recipient.secret_name
        if not name:
            return recipient
        value = os.environ.get(name)
        found = SecretStr(value) if value else _block(name)
        if found is None:
            remedy_text = f"{name} is neither a variable of the environment nor a Secret block in Prefect"
            raise DeliveryFailed(recipient.reference, remedy_text, permanent=False)
        chat = recipient.channel if recipient.reference.startswith(f"{recipient.channel}+") else ""
        try:
            resolved = parse_url(found.get_secret_value().strip(), chat)
        except ValueError as error:
            raise DeliveryFailed(
                recipient.reference, f"what {name} holds is no URL: {error}", permanent=False
            ) from None
        return Recipient(resolved.channel, recipient.reference, resolved.address, name)


# ----------------------------------------------------------------------------------------------------------------------


def _block(name: str) -> SecretStr | None:
    """Return the value of a Secret block; None if it does not exist or no Prefect server is configured."""
    with PREFECT_IMPORTS:
        from prefect.blocks.system import Secret  # noqa: PLC0415 - importing Prefect takes a second and more
        from prefect.context import FlowRunContext, TaskRunContext  # noqa: PLC0415
        from prefect.settings import get_current_settings  # noqa: PLC0415

    in_run = FlowRunContext.get() is not None or TaskRunContext.get() is not None
    if not in_run and get_current_settings().api.url is None:
        return None
    try:
        block = Secret.load(name, _sync=True)  # type: ignore[call-arg]
    except ValueError:
        return None
    value = block.get() if isinstance(block, Secret) else None
    if not value:
        return None
    remember(*str(value).split())
    return SecretStr(str(value))
