"""Sender: prepare a claimed delivery, send it through its recipient's channel, and return the result."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Row

from models.context import AppContext
from models.errors import DeliveryFailed, DeliveryUncertain, MailTooLarge
from models.recipient import Recipient
from models.schema import DeliveryState
from reports.notices.chat import render_discord, render_slack, render_teams
from reports.notices.mail_size import MailSize
from reports.notices.notice import Notice, more_text
from tasks.atomic_files import write_atomically
from tasks.delivery.channels.http import post_body
from tasks.delivery.channels.smtp import send_mail, server_of
from tasks.delivery.channels.webhook_signature import WebhookMessage, signed_headers
from tasks.delivery.payloads import Payload, payload_of
from tasks.delivery.queue import AttemptResult, RetryPolicy, record_committing
from tasks.delivery.secrets import Secrets
from tasks.run_logger import logger

CHATS = {"slack": render_slack, "teams": render_teams, "discord": render_discord}

_LEFT_OUT = {MailSize.WITHOUT_FILES: "without its attachments", MailSize.TEXT_ALONE: "its text alone"}

_DEFECTS = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, UnicodeError,
            ValidationError)  # fmt: skip
"""Errors that the same content with the same settings causes again, however often it is tried."""

_making_ready = Lock()
"""Lock: only one thread at a time uses the layout and chart libraries."""


@dataclass(frozen=True)
class OutgoingMessage:
    """A payload for one recipient.

    `name` is the file name in a dry run, and `message_id` the id for a webhook's receiver; both stay the
    same over all attempts. For `before_commit` see tasks.delivery.channels.smtp.
    """

    payload: Payload
    name: str
    message_id: str
    queued_at: datetime
    before_commit: Callable[[], None]


class Sender:
    """Sends the deliveries of one run with a context's settings; renders shared content once."""

    def __init__(self, ctx: AppContext, policy: RetryPolicy, clock: Callable[[], datetime]) -> None:
        self._ctx, self._policy, self._clock = ctx, policy, clock
        self._secrets = Secrets(ctx.environment)
        self._payload: Payload | None = None
        self._keeping = Lock()

    def attempt(self, row: Row[Any]) -> AttemptResult:
        """Send a claimed delivery; every error becomes a result."""
        known = self._ctx.settings.delivery.recipient(row.channel, row.recipient)
        if known is None:
            return AttemptResult(DeliveryState.DEAD, "it is no longer in delivery.recipients of the settings")
        return self.send(known, lambda: self._outgoing(row))

    def send(self, known: Recipient, made: Callable[[], OutgoingMessage]) -> AttemptResult:
        """Send the message from `made`; every error becomes a result without secrets."""
        recipient = known
        try:
            recipient = self._secrets.resolved(known)
            return AttemptResult(DeliveryState.SENT, self._redacted(self._send(made(), recipient), recipient))
        except DeliveryUncertain as error:
            return AttemptResult(DeliveryState.UNCERTAIN, self._redacted(error.answer, recipient))
        except DeliveryFailed as failure:
            state = DeliveryState.DEAD if failure.permanent else DeliveryState.QUEUED
            return AttemptResult(state, self._redacted(failure.answer, recipient), failure.retry_after_s)
        except _DEFECTS as error:
            what = f"{type(error).__name__}: {error}"
            answer = f"cannot be made, whenever it is tried: {what}. After an update: routewatch deliveries retry ID"
            return AttemptResult(DeliveryState.DEAD, self._redacted(answer, recipient))
        except Exception as error:  # noqa: BLE001 - an error with one recipient must not affect the others
            return AttemptResult(DeliveryState.QUEUED, self._redacted(f"{type(error).__name__}: {error}", recipient))

    def _outgoing(self, row: Row[Any]) -> OutgoingMessage:
        with self._keeping:
            payload = self._payload = payload_of(row, self._payload)

        def before_commit() -> None:
            if not record_committing(self._ctx.engine, row):
                raise DeliveryFailed(row.recipient, "another sender has taken it over", permanent=False)

        name, message_id = f"{payload.name}-delivery-{row.id}", f"{payload.name.replace('-', '_')}_{row.id}"
        return OutgoingMessage(payload, name, message_id, row.queued_at, before_commit)

    def _send(self, outgoing: OutgoingMessage, recipient: Recipient) -> str:
        payload, environment = outgoing.payload, self._ctx.environment
        match recipient.channel:
            case "dashboard":
                return payload.show_on_dashboard(self._ctx)
            case "console":
                return log_notice(payload.notice(environment))
            case "email":
                with _making_ready:
                    mail = payload.mail(environment, recipient.reference, outgoing.queued_at)
                return self._written(f"{outgoing.name}.eml", mail) or self._mailed(outgoing, recipient, mail)
            case "webhook":
                body = payload.json()
                return self._written(f"{outgoing.name}.json", body) or self._signed(outgoing, recipient, body)
        with _making_ready:
            body = CHATS[recipient.channel](payload.notice(environment))
        headers = {"content-type": "application/json"}
        return self._written(f"{outgoing.name}.json", body) or self._posted(recipient, body, headers)

    # --- channels -----------------------------------------------------------------------------------------------------

    def _mailed(self, outgoing: OutgoingMessage, recipient: Recipient, mail: bytes) -> str:
        environment = self._ctx.environment
        server = server_of(environment, self._secrets.smtp_password, self._policy.mail_s)
        to, before = recipient.reference, outgoing.before_commit
        *_, smallest = sizes = outgoing.payload.mail_sizes
        for size in sizes:
            if size is not MailSize.WHOLE:
                with _making_ready:
                    mail = outgoing.payload.mail(environment, to, outgoing.queued_at, size)
            try:
                answer = send_mail(mail, environment.mail_from, to, server, before_commit=before)
            except MailTooLarge as error:
                if size is smallest:
                    raise
                logger().info("the mail to %s is sent smaller: %s", to, error.answer)
            else:
                return answer if size is MailSize.WHOLE else f"{answer} ({_LEFT_OUT[size]}, for the server's limit)"
        raise AssertionError("a payload has at least one size")

    def _signed(self, outgoing: OutgoingMessage, recipient: Recipient, body: bytes) -> str:
        message = WebhookMessage(outgoing.message_id, body)
        headers = signed_headers(message, recipient.reference, self._secrets.webhook, self._clock())
        return self._posted(recipient, body, headers)

    def _posted(self, recipient: Recipient, body: bytes, headers: dict[str, str]) -> str:
        return post_body(
            recipient, body, headers, timeout_s=self._policy.webhook_s, now=self._clock(),
            allow_private_addresses=self._ctx.settings.delivery.allow_private_addresses,
        )  # fmt: skip

    def _written(self, name: str, content: bytes) -> str:
        """Return where the dry run wrote it; empty if it is to be sent."""
        if self._ctx.settings.delivery.mode != "files":
            return ""
        path = self._ctx.environment.outbox_folder / name
        write_atomically(path, content)
        return f"written to {path}"

    def _redacted(self, answer: str, recipient: Recipient) -> str:
        """Redact secrets in a response or error."""
        if recipient.address and recipient.address != recipient.reference:
            answer = answer.replace(recipient.address, recipient.reference)
        return self._secrets.redacted(answer)


_LOUDNESS = {"critical": logging.ERROR, "warning": logging.WARNING}


def log_notice(notice: Notice) -> str:
    """Log one line for the headline, and one for each further detail."""
    log = logger()
    log.log(_LOUDNESS.get(notice.tone, logging.INFO), "%s", f"{notice.mark} {notice.headline}".strip())
    for item in notice.remaining_items:
        log.log(_LOUDNESS.get(item.tone, logging.INFO), "%s", item.line)
    if left_out := more_text(notice.not_listed):
        log.log(_LOUDNESS.get(notice.tone, logging.INFO), "%s", left_out)
    if notice.hint:
        log.info("%s", notice.hint)
    return "written to the log"
