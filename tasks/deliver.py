"""Deliver: every queued report to every recipient, each on record, tried again with back-off, nothing sent twice."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from pydantic import TypeAdapter
from sqlalchemy import Connection, Engine, Row, func, or_, select, update

from models.database import insert_into, reading, writing
from models.document import Document, ReportDocument
from models.errors import DeliveryFailed, DeliveryUncertain, UnknownDelivery
from models.settings import Settings
from models.tables import Delivery, DeliveryAttempt, DeliveryState, Report, table_of
from models.workplace import Workplace
from reports.as_page import render_dashboard
from reports.as_webhook import render_webhook
from tasks.channels.mail import build_mail, send_mail
from tasks.channels.webhook import WebhookMessage, send_webhook
from tasks.files import file_stem, write_atomically

DELIVERY, ATTEMPT, REPORT = table_of(Delivery), table_of(DeliveryAttempt), table_of(Report)

LEASE = timedelta(minutes=10)
"""Beyond the time-outs of one attempt: after it, whoever claimed the delivery has died."""

BACK_OFF_S = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""From one attempt to the next, the schedule that Standard Webhooks suggests: ten attempts over some 75 hours."""

JITTER = 0.2
LONGEST_ANSWER = 300
SOON = timedelta(seconds=10)
"""An attempt that is due within this time is waited for, rather than left to the next run."""

DASHBOARD = "dashboard"

Address = tuple[str, str]
"""A channel (email, webhook, dashboard) and what it needs to find the recipient."""

_DOCUMENT: TypeAdapter[Document] = TypeAdapter(ReportDocument)


@dataclass(frozen=True)
class Receipt:
    """What became of a delivery in this run. `recipient` is fit to be shown: without what could be secret in a URL."""

    delivery_id: int
    channel: str
    recipient: str
    state: str
    answer: str


@dataclass(frozen=True)
class Listed:
    """A delivery as the command line lists it; `answer` is the last attempt's."""

    id: int
    report: str
    channel: str
    recipient: str
    state: str
    attempts: int
    next_attempt_at: datetime
    answer: str | None


def recipients_for(names: Iterable[str], settings: Settings) -> tuple[list[Address], list[str]]:
    """The addresses behind recipient names, each once, in order; and the names that no address is set for."""
    addresses: dict[Address, None] = {}
    without: list[str] = []
    for name in names:
        urls = settings.delivery.recipients.get(name, ())
        if name == DASHBOARD:
            addresses[DASHBOARD, DASHBOARD] = None
        elif not urls:
            without.append(name)
        for url in urls:
            addresses[_address(url)] = None
    return list(addresses), without


def queue(connection: Connection, report_id: int, addresses: Sequence[Address], now: datetime) -> None:
    """Queue a report for every address; one that is queued or sent already stays as it is."""
    rows = [
        {"report_id": report_id, "channel": channel, "recipient": recipient, "state": DeliveryState.QUEUED.value,
         "attempts": 0, "queued_at": now, "next_attempt_at": now}
        for channel, recipient in addresses
    ]  # fmt: skip
    if rows:
        connection.execute(insert_into(connection, DELIVERY).values(rows).on_conflict_do_nothing())


def deliver_due(place: Workplace, *, now: datetime) -> list[Receipt]:
    """Try once every delivery that is due at `now`, the oldest first; also those whose sender has died.

    Each is claimed by changing its row, so that two senders never hold the same one.
    """
    with reading(place.engine) as connection:
        ids = connection.execute(select(DELIVERY.c.id).where(_due(now)).order_by(DELIVERY.c.id)).scalars().all()
    parcels: dict[int, _Parcel] = {}
    receipts = (_deliver(place, delivery_id, parcels, now) for delivery_id in ids)
    return [receipt for receipt in receipts if receipt is not None]


def next_due(engine: Engine) -> datetime | None:
    """When the next queued delivery is due; None where none is queued."""
    queued = DELIVERY.c.state == DeliveryState.QUEUED.value
    with reading(engine) as connection:
        return connection.execute(select(func.min(DELIVERY.c.next_attempt_at)).where(queued)).scalar()


def list_deliveries(engine: Engine, *, limit: int = 200) -> list[Listed]:
    """The deliveries, the newest first."""
    last = select(func.max(ATTEMPT.c.id)).group_by(ATTEMPT.c.delivery_id)
    query = (
        select(DELIVERY, REPORT.c.kind, REPORT.c.template, REPORT.c.period_start, ATTEMPT.c.answer)
        .join(REPORT, REPORT.c.id == DELIVERY.c.report_id)
        .outerjoin(ATTEMPT, (ATTEMPT.c.delivery_id == DELIVERY.c.id) & ATTEMPT.c.id.in_(last))
        .order_by(DELIVERY.c.id.desc())
        .limit(limit)
    )
    with reading(engine) as connection:
        return [_listed(row) for row in connection.execute(query)]


def retry(engine: Engine, delivery_id: int, now: datetime) -> None:
    """Queue again a delivery that was given up or is uncertain, with all its attempts. Raises UnknownDelivery."""
    again = (DeliveryState.DEAD.value, DeliveryState.UNCERTAIN.value)
    values = {"state": DeliveryState.QUEUED.value, "attempts": 0, "next_attempt_at": now, "lease_until": None}
    with writing(engine) as connection:
        state = connection.execute(select(DELIVERY.c.state).where(DELIVERY.c.id == delivery_id)).scalar_one_or_none()
        if state is None:
            raise UnknownDelivery(delivery_id, "does not exist")
        if state not in again:
            raise UnknownDelivery(delivery_id, f"is {state}: only one that is {' or '.join(again)} can be sent again")
        connection.execute(update(DELIVERY).where(DELIVERY.c.id == delivery_id).values(values))


def back_off(delivery_id: int, attempts: int, asked_s: float | None) -> timedelta:
    """How long to wait after the `attempts`-th attempt; never less than the recipient asked for.

    The jitter keeps deliveries that failed together apart, and is the same every time.
    """
    base = BACK_OFF_S[min(attempts, len(BACK_OFF_S)) - 1]
    spread = random.Random(f"{delivery_id}:{attempts}").uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
    return timedelta(seconds=max(base * spread, asked_s or 0.0))


def shown(recipient: str) -> str:
    """A recipient without what may be secret in a URL: credentials, query, fragment."""
    parts = urlsplit(recipient)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}" if parts.scheme in ("http", "https") else recipient


# --- one delivery -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Verdict:
    state: DeliveryState
    outcome: str
    answer: str
    retry_after_s: float | None = None


class _Parcel:
    """A report on its way; what is the same for several recipients is rendered once."""

    def __init__(self, row: Row[Any]) -> None:
        self.report_id: int = row.report_id
        self.document = _DOCUMENT.validate_python(row.document)

    @cached_property
    def webhook(self) -> bytes:
        return render_webhook(self.document, report_id=self.report_id)


def _deliver(place: Workplace, delivery_id: int, parcels: dict[int, _Parcel], now: datetime) -> Receipt | None:
    row = _claimed(place.engine, delivery_id, now)
    if row is None:
        return None
    if row.report_id not in parcels:
        parcels.clear()
        parcels[row.report_id] = _Parcel(row)
    verdict = _attempt(place, row, parcels[row.report_id], now)
    state = _record(place, row, verdict, now)
    return Receipt(delivery_id, row.channel, shown(row.recipient), state.value, verdict.answer)


def _due(now: datetime) -> Any:
    queued = (DELIVERY.c.state == DeliveryState.QUEUED.value) & (DELIVERY.c.next_attempt_at <= now)
    abandoned = (DELIVERY.c.state == DeliveryState.SENDING.value) & (DELIVERY.c.lease_until < now)
    return or_(queued, abandoned)


def _claimed(engine: Engine, delivery_id: int, now: datetime) -> Row[Any] | None:
    """The delivery with its report, now this process's to send; None where another one was quicker."""
    claim = {"state": DeliveryState.SENDING.value, "lease_until": now + LEASE, "attempts": DELIVERY.c.attempts + 1}
    with writing(engine) as connection:
        claimed = connection.execute(update(DELIVERY).where(DELIVERY.c.id == delivery_id, _due(now)).values(claim))
        if claimed.rowcount != 1:
            return None
        both = select(DELIVERY, REPORT.c.document, REPORT.c.period_end).join(
            REPORT, REPORT.c.id == DELIVERY.c.report_id
        )
        return connection.execute(both.where(DELIVERY.c.id == delivery_id)).one()


def _attempt(place: Workplace, row: Row[Any], parcel: _Parcel, now: datetime) -> _Verdict:
    try:
        answer = _send(place, row, parcel, now)
    except DeliveryUncertain as error:
        return _Verdict(DeliveryState.UNCERTAIN, "uncertain", _line(error.answer))
    except DeliveryFailed as failure:
        state = DeliveryState.DEAD if failure.permanent else DeliveryState.QUEUED
        return _Verdict(state, "failed", _line(failure.answer), failure.retry_after_s)
    except Exception as error:  # noqa: BLE001 - a defect with one recipient must not keep the report from the others
        return _Verdict(DeliveryState.QUEUED, "failed", _line(f"{type(error).__name__}: {error}"))
    return _Verdict(DeliveryState.SENT, "sent", _line(answer))


def _send(place: Workplace, row: Row[Any], parcel: _Parcel, now: datetime) -> str:
    environment, delivery = place.environment, place.settings.delivery
    if row.channel == DASHBOARD:
        return _show_on_dashboard(place, row, parcel)
    name = f"report-{row.report_id}-delivery-{row.id}"
    if row.channel == "email":
        sender = environment.mail_from
        mail = build_mail(
            parcel.document, report_id=row.report_id, sender=sender, recipient=row.recipient, date=row.queued_at,
            link=environment.address_of_report(
                parcel.document.kind, f"{file_stem(parcel.document, row.report_id)}.html"
            ),
        )  # fmt: skip
        if delivery.mode == "files":
            return _written(place, f"{name}.eml", mail)
        return send_mail(mail, sender, row.recipient, environment)
    if delivery.mode == "files":
        return _written(place, f"{name}.json", parcel.webhook)
    message = WebhookMessage(f"report_{row.report_id}_{row.id}", parcel.webhook)
    private = delivery.allow_private_addresses
    return send_webhook(message, row.recipient, environment.webhook_secret, allow_private_addresses=private, now=now)


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


def _record(place: Workplace, row: Row[Any], verdict: _Verdict, now: datetime) -> DeliveryState:
    """Write the attempt and what follows from it; the state that the delivery is left in."""
    state = verdict.state
    if state is DeliveryState.QUEUED and row.attempts >= place.settings.delivery.maximum_attempts:
        state = DeliveryState.DEAD
    values: dict[str, Any] = {"state": state.value, "lease_until": None}
    if state is DeliveryState.QUEUED:
        values["next_attempt_at"] = now + back_off(row.id, row.attempts, verdict.retry_after_s)
    if state is DeliveryState.SENT:
        values["sent_at"] = now
    attempt = {"delivery_id": row.id, "at": now, "outcome": verdict.outcome, "answer": verdict.answer}
    with writing(place.engine) as connection:
        connection.execute(update(DELIVERY).where(DELIVERY.c.id == row.id).values(values))
        connection.execute(ATTEMPT.insert().values(attempt))
    return state


def _line(text: str) -> str:
    return " ".join(text.split())[:LONGEST_ANSWER]


def _address(url: str) -> Address:
    return ("email", url.removeprefix("mailto:")) if url.startswith("mailto:") else ("webhook", url)


def _listed(row: Row[Any]) -> Listed:
    report = f"{row.kind} {row.template} {row.period_start:%Y-%m-%d %H:%M}"
    return Listed(
        row.id, report, row.channel, shown(row.recipient), row.state, row.attempts, row.next_attempt_at, row.answer
    )


@task(name="deliver reports", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=[5, 30])
def deliver_reports(place: Workplace) -> tuple[Receipt, ...]:
    """Deliver what is due, reports of earlier runs among them; the last word on each delivery that was tried.

    Times are the clock's, whatever time the run acts as: a recipient answers now.
    """
    last = {receipt.delivery_id: receipt for receipt in deliver_due(place, now=datetime.now(UTC))}
    due = next_due(place.engine)
    if due is not None and due <= datetime.now(UTC) + SOON:
        time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
        last |= {receipt.delivery_id: receipt for receipt in deliver_due(place, now=datetime.now(UTC))}
    logger = get_run_logger()
    for receipt in last.values():
        level = "info" if receipt.state == DeliveryState.SENT.value else "warning"
        getattr(logger, level)("%s to %s: %s (%s)", receipt.channel, receipt.recipient, receipt.state, receipt.answer)
    return tuple(last.values())
