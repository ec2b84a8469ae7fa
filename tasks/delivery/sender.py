"""Send: one claimed delivery made ready and sent through its recipient's channel, and what came of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any

from sqlalchemy import Row

from models.context import Workplace
from models.errors import DeliveryFailed, DeliveryUncertain
from models.recipient import Recipient
from models.schema import DeliveryState
from reports.notices.chat import render_discord, render_slack, render_teams
from reports.notices.notice import Notice
from tasks.atomic_files import write_atomically
from tasks.delivery.channels.http import post_body
from tasks.delivery.channels.smtp import send_mail, server_of
from tasks.delivery.channels.webhook_signature import WebhookMessage, signed_headers
from tasks.delivery.payloads import Parcel, parcel_of
from tasks.delivery.queue import Pace, Verdict, note_handing_over
from tasks.delivery.secrets import Keys
from tasks.run_logger import logger

CHATS = {"slack": render_slack, "teams": render_teams, "discord": render_discord}

_making_ready = Lock()
"""The libraries that lay out pages and draw are used by one thread at a time."""


@dataclass(frozen=True)
class Sending:
    """A parcel on its way to one recipient.

    `name` is what the dry run's file is called, and `message_id` what a webhook's receiver knows it by; both stay the
    same over every attempt. `before_handing_over` is tasks.delivery.channels.smtp's.
    """

    parcel: Parcel
    name: str
    message_id: str
    queued_at: datetime
    before_handing_over: Callable[[], None]


class Sender:
    """Sends what one run delivers, by the settings of a workplace; what is the same for several is made once."""

    def __init__(self, place: Workplace, pace: Pace, clock: Callable[[], datetime]) -> None:
        self._place, self._pace, self._clock = place, pace, clock
        self._keys = Keys(place.environment)
        self._parcel: Parcel | None = None
        self._keeping = Lock()

    def attempt(self, row: Row[Any]) -> Verdict:
        """Send a claimed delivery; whatever goes wrong is a verdict too."""
        known = self._place.settings.delivery.recipient(row.channel, row.recipient)
        if known is None:
            return Verdict(DeliveryState.DEAD, "it is no longer in delivery.recipients of the settings")
        return self.send(known, lambda: self._sending(row))

    def send(self, known: Recipient, made: Callable[[], Sending]) -> Verdict:
        """Send what `made` gives; whatever goes wrong is a verdict too, and no word of it tells a secret."""
        recipient = known
        try:
            recipient = self._keys.opened(known)
            return Verdict(DeliveryState.SENT, self._hidden(self._send(made(), recipient), recipient))
        except DeliveryUncertain as error:
            return Verdict(DeliveryState.UNCERTAIN, self._hidden(error.answer, recipient))
        except DeliveryFailed as failure:
            state = DeliveryState.DEAD if failure.permanent else DeliveryState.QUEUED
            return Verdict(state, self._hidden(failure.answer, recipient), failure.retry_after_s)
        except Exception as error:  # noqa: BLE001 - a defect with one recipient must not harm the others
            return Verdict(DeliveryState.QUEUED, self._hidden(f"{type(error).__name__}: {error}", recipient))

    def _sending(self, row: Row[Any]) -> Sending:
        with self._keeping:
            parcel = self._parcel = parcel_of(row, self._parcel)

        def before_handing_over() -> None:
            if not note_handing_over(self._place.engine, row):
                raise DeliveryFailed(row.recipient, "another sender has taken it over", permanent=False)

        name, message_id = f"{parcel.name}-delivery-{row.id}", f"{parcel.name.replace('-', '_')}_{row.id}"
        return Sending(parcel, name, message_id, row.queued_at, before_handing_over)

    def _send(self, sending: Sending, recipient: Recipient) -> str:
        parcel, environment = sending.parcel, self._place.environment
        match recipient.channel:
            case "dashboard":
                return parcel.show_on_dashboard(self._place)
            case "console":
                return log_notice(parcel.notice(environment))
            case "email":
                with _making_ready:
                    mail = parcel.mail(environment, recipient.reference, sending.queued_at)
                return self._written(f"{sending.name}.eml", mail) or self._mailed(sending, recipient, mail)
            case "webhook":
                body = parcel.json()
                return self._written(f"{sending.name}.json", body) or self._signed(sending, recipient, body)
        with _making_ready:
            body = CHATS[recipient.channel](parcel.notice(environment))
        headers = {"content-type": "application/json"}
        return self._written(f"{sending.name}.json", body) or self._posted(recipient, body, headers)

    # --- channels -----------------------------------------------------------------------------------------------------

    def _mailed(self, sending: Sending, recipient: Recipient, mail: bytes) -> str:
        environment = self._place.environment
        server = server_of(environment, self._keys.smtp_password, self._pace.mail_s)
        to, before = recipient.reference, sending.before_handing_over
        return send_mail(mail, environment.mail_from, to, server, before_handing_over=before)

    def _signed(self, sending: Sending, recipient: Recipient, body: bytes) -> str:
        message = WebhookMessage(sending.message_id, body)
        headers = signed_headers(message, recipient.reference, self._keys.webhook, self._clock())
        return self._posted(recipient, body, headers)

    def _posted(self, recipient: Recipient, body: bytes, headers: dict[str, str]) -> str:
        return post_body(
            recipient, body, headers, timeout_s=self._pace.webhook_s, now=self._clock(),
            allow_private_addresses=self._place.settings.delivery.allow_private_addresses,
        )  # fmt: skip

    def _written(self, name: str, content: bytes) -> str:
        """Where the dry run wrote it; empty where it is really to be sent."""
        if self._place.settings.delivery.mode != "files":
            return ""
        path = self._place.environment.outbox_folder / name
        write_atomically(path, content)
        return f"written to {path}"

    def _hidden(self, answer: str, recipient: Recipient) -> str:
        """The answer without what is secret, should the other side or a library have repeated it."""
        if recipient.address and recipient.address != recipient.reference:
            answer = answer.replace(recipient.address, recipient.reference)
        return self._keys.hidden(answer)


_LOUDNESS = {"critical": logging.ERROR, "warning": logging.WARNING}


def log_notice(notice: Notice) -> str:
    """A line for the headline, and one for each thing that it does not say."""
    log = logger()
    log.log(_LOUDNESS.get(notice.tone, logging.INFO), "%s", f"{notice.mark} {notice.headline}".strip())
    for item in notice.rest:
        log.log(_LOUDNESS.get(item.tone, logging.INFO), "%s", item.line)
    if notice.hint:
        log.info("%s", notice.hint)
    return "written to the log"
