"""Dispatch: one claimed delivery sent through its channel, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from threading import Lock
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Row, func, select

from models.database import reading
from models.document import Document, ReportDocument
from models.errors import DeliveryFailed, DeliveryUncertain
from models.recipient import CONSOLE, DASHBOARD, EMAIL, Recipient
from models.tables import Delivery, DeliveryState, Report, table_of
from models.workplace import Workplace
from reports.as_page import render_dashboard
from reports.as_webhook import render_webhook
from tasks.channels.mail import build_mail, send_mail
from tasks.channels.webhook import WebhookMessage, send_webhook
from tasks.files import file_stem, write_atomically
from tasks.ledger import Pace, Verdict
from tasks.log import logger

DELIVERY, REPORT = table_of(Delivery), table_of(Report)

_DOCUMENT: TypeAdapter[Document] = TypeAdapter(ReportDocument)

_making_ready = Lock()
"""The libraries that lay out pages and draw are used by one thread at a time."""


class Dispatch:
    """Sends what one run delivers; what is the same for several recipients is made once."""

    def __init__(self, place: Workplace, pace: Pace, clock: Callable[[], datetime]) -> None:
        self.place, self.pace, self.clock = place, pace, clock
        self._parcel: _Parcel | None = None

    def attempt(self, row: Row[Any]) -> Verdict:
        """Send it; whatever goes wrong is a verdict too: a defect with one recipient must not harm the others."""
        try:
            return Verdict(DeliveryState.SENT, self._send(row))
        except DeliveryUncertain as error:
            return Verdict(DeliveryState.UNCERTAIN, error.answer)
        except DeliveryFailed as failure:
            state = DeliveryState.DEAD if failure.permanent else DeliveryState.QUEUED
            return Verdict(state, failure.answer, failure.retry_after_s)
        except Exception as error:  # noqa: BLE001
            return Verdict(DeliveryState.QUEUED, f"{type(error).__name__}: {error}")

    def _send(self, row: Row[Any]) -> str:
        recipient = self.place.settings.delivery.recipient(row.channel, row.recipient)
        if recipient is None:
            raise DeliveryFailed(
                row.recipient, "it is no longer in delivery.recipients of the settings", permanent=True
            )
        if row.message_id is not None:
            return self._send_message(row)
        with _making_ready:
            if self._parcel is None or self._parcel.report_id != row.report_id:
                self._parcel = _Parcel(row)
            parcel = self._parcel
        if row.channel == DASHBOARD:
            return _show_on_dashboard(self.place, row, parcel)
        return self._send_report(row, parcel, recipient)

    def _send_message(self, row: Row[Any]) -> str:
        if row.channel == DASHBOARD:
            return "shown on the live page"
        if row.channel == CONSOLE:
            logger().warning("%s", row.content)
            return "written to the log"
        raise DeliveryFailed(row.recipient, "messages have no format for this channel", permanent=False)

    def _send_report(self, row: Row[Any], parcel: _Parcel, recipient: Recipient) -> str:
        environment, delivery = self.place.environment, self.place.settings.delivery
        name = f"report-{row.report_id}-delivery-{row.id}"
        if row.channel == EMAIL:
            sender = environment.mail_from
            with _making_ready:
                mail = build_mail(
                    parcel.document, report_id=row.report_id, sender=sender, recipient=row.recipient,
                    date=row.queued_at,
                    link=environment.address_of_report(
                        parcel.document.kind, f"{file_stem(parcel.document, row.report_id)}.html"
                    ),
                )  # fmt: skip
            if delivery.mode == "files":
                return _written(self.place, f"{name}.eml", mail)
            return send_mail(mail, sender, row.recipient, environment)
        if delivery.mode == "files":
            return _written(self.place, f"{name}.json", parcel.webhook)
        message = WebhookMessage(f"report_{row.report_id}_{row.id}", parcel.webhook)
        private = delivery.allow_private_addresses
        return send_webhook(
            message, recipient.address, environment.webhook_secret, allow_private_addresses=private, now=self.clock()
        )


# ----------------------------------------------------------------------------------------------------------------------


class _Parcel:
    """A report on its way; what is the same for several recipients is rendered once."""

    def __init__(self, row: Row[Any]) -> None:
        self.report_id: int = row.report_id
        self.document = _DOCUMENT.validate_python(row.document)

    @cached_property
    def webhook(self) -> bytes:
        return render_webhook(self.document, report_id=self.report_id)


def _show_on_dashboard(place: Workplace, row: Row[Any], parcel: _Parcel) -> str:
    sent = (DELIVERY.c.channel == DASHBOARD) & (DELIVERY.c.state == DeliveryState.SENT.value)
    newest = select(func.max(REPORT.c.period_end)).join(DELIVERY, DELIVERY.c.report_id == REPORT.c.id).where(sent)
    with reading(place.engine) as connection:
        shown_until = connection.execute(newest).scalar()
    if shown_until is not None and shown_until > row.period_end:
        return "left as it is: it shows a later hour"
    refresh_s = max(1, round(place.settings.monitoring.dashboard.refresh_rate / 1_000))
    page = place.environment.dashboard_page
    write_atomically(page, render_dashboard(parcel.document, refresh_s=refresh_s).encode())
    return f"written to {page}"


def _written(place: Workplace, name: str, content: bytes) -> str:
    path = place.environment.outbox_folder / name
    write_atomically(path, content)
    return f"written to {path}"
