"""Payload of a delivery for any channel: a report or a message.

Chart and mail renderers are imported only where needed: most deliveries do not need them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from pydantic import TypeAdapter
from sqlalchemy import Row, func, select

from models.clock import TOLERANCE, true_now
from models.context import AppContext
from models.database import reading
from models.documents import Document, ReportDocument
from models.environment import Environment
from models.notifications import AnyMessage, Message
from models.recipient import DASHBOARD
from models.schema import DELIVERY, REPORT, DeliveryState
from reports.file_names import file_stem
from reports.notices.alert_notice import notice_of
from reports.notices.mail_size import MailSize
from reports.notices.notice import Notice
from reports.notices.report_notice import notice_of_report
from reports.notices.webhook_payload import render_message_json
from tasks.atomic_files import write_atomically

_DOCUMENT: TypeAdapter[Document] = TypeAdapter(ReportDocument)
_MESSAGE: TypeAdapter[Message] = TypeAdapter(AnyMessage)


class Payload(Protocol):
    """Content of a delivery. `name` is unique, and the same for all recipients.

    `mail_sizes` are those that a mail of it can have, the largest first.
    """

    name: str

    @property
    def mail_sizes(self) -> Sequence[MailSize]: ...

    def json(self) -> bytes: ...
    def mail(
        self, environment: Environment, recipient: str, date: datetime, size: MailSize = MailSize.WHOLE
    ) -> bytes: ...
    def notice(self, environment: Environment) -> Notice: ...
    def show_on_dashboard(self, ctx: AppContext) -> str: ...


def payload_of(row: Row[Any], last: Payload | None) -> Payload:
    """Return a claimed delivery's payload; reuses `last` if it is the same."""
    if row.message_id is None:
        payload: Payload = _ReportPayload(row)
    else:
        payload = payload_of_message(row.message_id, _MESSAGE.validate_python(row.content))
    return last if last is not None and last.name == payload.name else payload


def payload_of_message(message_id: int, message: Message) -> Payload:
    """Payload of a message with this id, stored or not."""
    return _MessagePayload(message_id, message)


# ----------------------------------------------------------------------------------------------------------------------


class _ReportPayload:
    mail_sizes = tuple(MailSize)

    def __init__(self, row: Row[Any]) -> None:
        self.name = f"report-{row.report_id}"
        self._id: int = row.report_id
        self._raw: Any = row.document
        self._read: Document | None = None
        self._json: bytes | None = None

    @property
    def _document(self) -> Document:
        if self._read is None:
            self._read = _DOCUMENT.validate_python(self._raw)
        return self._read

    def json(self) -> bytes:
        from reports.renderers.webhook_payload import render_webhook  # noqa: PLC0415

        if self._json is None:
            self._json = render_webhook(self._document, report_id=self._id)
        return self._json

    def mail(self, environment: Environment, recipient: str, date: datetime, size: MailSize = MailSize.WHOLE) -> bytes:
        from reports.notices.mime import build_mail  # noqa: PLC0415

        return build_mail(
            self._document, report_id=self._id, sender=environment.mail_from, recipient=recipient, date=date,
            link=self._link(environment), size=size,
        )  # fmt: skip

    def notice(self, environment: Environment) -> Notice:
        return notice_of_report(self._document, link=self._link(environment))

    def show_on_dashboard(self, ctx: AppContext) -> str:
        from reports.renderers.dashboard_page import render_dashboard  # noqa: PLC0415

        sent = (DELIVERY.c.channel == DASHBOARD) & (DELIVERY.c.state == DeliveryState.SENT.value)
        # One of a time still to come keeps nothing back.
        sent &= REPORT.c.period_end <= true_now() + TOLERANCE
        newest = select(func.max(REPORT.c.period_end)).join(DELIVERY, DELIVERY.c.report_id == REPORT.c.id).where(sent)
        with reading(ctx.engine) as connection:
            shown_until = connection.execute(newest).scalar()
        if shown_until is not None and shown_until > self._document.period.end:
            return "left as it is: it shows a later hour"
        refresh_s = max(1, round(ctx.settings.monitoring.dashboard.refresh_rate / 1_000))
        page = ctx.environment.dashboard_page
        write_atomically(page, render_dashboard(self._document, refresh_s=refresh_s).encode())
        return f"written to {page}"

    def _link(self, environment: Environment) -> str:
        return environment.address_of_report(self._document.kind, f"{file_stem(self._document, self._id)}.html")


class _MessagePayload:
    mail_sizes = (MailSize.WHOLE,)

    def __init__(self, message_id: int, message: Message) -> None:
        self.name = f"message-{message_id}"
        self._id, self._message = message_id, message

    def json(self) -> bytes:
        return render_message_json(self._message, message_id=self._id)

    def mail(self, environment: Environment, recipient: str, date: datetime, _size: MailSize = MailSize.WHOLE) -> bytes:
        from reports.notices.mime import build_message_mail  # noqa: PLC0415

        return build_message_mail(
            self._message, message_id=self._id, sender=environment.mail_from, recipient=recipient, date=date
        )

    def notice(self, _environment: Environment) -> Notice:
        return notice_of(self._message)

    def show_on_dashboard(self, _ctx: AppContext) -> str:
        return "nothing to send: the live page reads it by itself"
