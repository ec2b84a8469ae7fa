"""Dispatch: one claimed delivery sent through its channel, and what came of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from threading import Lock
from typing import Any

from sqlalchemy import Row

from models.errors import DeliveryFailed, DeliveryUncertain
from models.recipient import Recipient
from models.tables import DeliveryState
from models.workplace import Workplace
from reports.as_chat import render_discord, render_slack, render_teams
from reports.notice import Notice
from tasks.channels.http import post_body
from tasks.channels.mail import MailServer, send_mail
from tasks.channels.webhook import WebhookMessage, signed_headers
from tasks.files import write_atomically
from tasks.keys import Keys
from tasks.ledger import Pace, Verdict, note_handing_over
from tasks.log import logger
from tasks.parcels import Parcel, parcel_of

CHATS = {"slack": render_slack, "teams": render_teams, "discord": render_discord}

_making_ready = Lock()
"""The libraries that lay out pages and draw are used by one thread at a time."""


class Dispatch:
    """Sends what one run delivers; what is the same for several recipients is made once."""

    def __init__(self, place: Workplace, pace: Pace, clock: Callable[[], datetime]) -> None:
        self.place, self.pace, self.clock = place, pace, clock
        self._keys = Keys(place.environment)
        self._parcel: Parcel | None = None
        self._keeping = Lock()

    def attempt(self, row: Row[Any]) -> Verdict:
        """Send it; whatever goes wrong is a verdict too: a defect with one recipient must not harm the others."""
        known = self.place.settings.delivery.recipient(row.channel, row.recipient)
        if known is None:
            return Verdict(DeliveryState.DEAD, "it is no longer in delivery.recipients of the settings")
        recipient = known
        try:
            recipient = self._keys.opened(known)
            return Verdict(DeliveryState.SENT, self._hidden(self._send(row, recipient), recipient))
        except DeliveryUncertain as error:
            return Verdict(DeliveryState.UNCERTAIN, self._hidden(error.answer, recipient))
        except DeliveryFailed as failure:
            state = DeliveryState.DEAD if failure.permanent else DeliveryState.QUEUED
            return Verdict(state, self._hidden(failure.answer, recipient), failure.retry_after_s)
        except Exception as error:  # noqa: BLE001
            return Verdict(DeliveryState.QUEUED, self._hidden(f"{type(error).__name__}: {error}", recipient))

    def _send(self, row: Row[Any], recipient: Recipient) -> str:
        parcel = self._parcel_of(row)
        name = f"{parcel.name}-delivery-{row.id}"
        match recipient.channel:
            case "dashboard":
                return parcel.show_on_dashboard(self.place)
            case "console":
                return log_notice(parcel.notice(self.place.environment))
            case "email":
                with _making_ready:
                    mail = parcel.mail(self.place.environment, row.recipient, row.queued_at)
                return self._written(f"{name}.eml", mail) or self._mailed(row, mail)
            case "webhook":
                body = parcel.json()
                return self._written(f"{name}.json", body) or self._signed(row, recipient, parcel, body)
        with _making_ready:
            body = CHATS[recipient.channel](parcel.notice(self.place.environment))
        headers = {"content-type": "application/json"}
        return self._written(f"{name}.json", body) or self._posted(recipient, body, headers)

    def _parcel_of(self, row: Row[Any]) -> Parcel:
        with self._keeping:
            self._parcel = parcel_of(row, self._parcel)
            return self._parcel

    # --- channels -----------------------------------------------------------------------------------------------------

    def _mailed(self, row: Row[Any], mail: bytes) -> str:
        environment, password = self.place.environment, self._keys.smtp_password
        server = MailServer(
            environment.smtp_host, environment.smtp_port, environment.smtp_security,
            environment.smtp_username, password, self.pace.mail_s,
        )  # fmt: skip

        def before_handing_over() -> None:
            if not note_handing_over(self.place.engine, row):
                raise DeliveryFailed(row.recipient, "another sender has taken it over", permanent=False)

        return send_mail(mail, environment.mail_from, row.recipient, server, before_handing_over=before_handing_over)

    def _signed(self, row: Row[Any], recipient: Recipient, parcel: Parcel, body: bytes) -> str:
        message = WebhookMessage(f"{parcel.name.replace('-', '_')}_{row.id}", body)
        return self._posted(recipient, body, signed_headers(message, row.recipient, self._keys.webhook, self.clock()))

    def _posted(self, recipient: Recipient, body: bytes, headers: dict[str, str]) -> str:
        return post_body(
            recipient, body, headers, timeout_s=self.pace.webhook_s, now=self.clock(),
            allow_private_addresses=self.place.settings.delivery.allow_private_addresses,
        )  # fmt: skip

    def _written(self, name: str, content: bytes) -> str:
        """Where the dry run wrote it; empty where it is really to be sent."""
        if self.place.settings.delivery.mode != "files":
            return ""
        path = self.place.environment.outbox_folder / name
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
