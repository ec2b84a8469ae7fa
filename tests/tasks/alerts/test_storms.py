"""Thousands of alerts at once are one message: bounded, counted, readable, and on its way on both databases."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from models.database import reading, writing
from models.kpis import KpiName
from models.notifications import MOST_NOTIFICATIONS, MOST_UNGROUPED, AlertMessage, AlertRule
from models.recipient import CHATS
from models.settings import Settings, parse_settings
from models.tables import Alert, Delivery, StoredMessage, table_of
from reports.notices.alert_notice import notice_of
from reports.notices.chat import render_discord, render_slack, render_teams
from reports.notices.webhook_payload import MESSAGE_MOST_BYTES, render_message_json
from tasks.alerts.lifecycle import Observation
from tasks.alerts.limits import Evaluation
from tasks.alerts.notify import AT_ONCE, enqueue_notification, update_alerts
from tasks.delivery.worker import deliver_due
from tests.support.contexts import context_with_delivery
from tests.support.factories import MONDAY
from tests.support.servers import Hook, Mailbox

ALERT, MESSAGE, DELIVERY = table_of(Alert), table_of(StoredMessage), table_of(Delivery)
STORM = 2_000
RULE = AlertRule(KpiName.ERROR_RATE)
ALERTING = {"holdMinutes": 0, "resolveMinutes": 0, "channels": ["webhook"]}
SETTINGS = parse_settings(
    {
        "monitoring": {"alerting": ALERTING},
        "delivery": {"recipients": {"webhook": ["https://example.org/hook"]}},
    },
    "test",
)


def failing(at: datetime, count: int, *, longest: bool = False) -> list[Evaluation]:
    """Return the evaluations of so many models beyond their limit, every fourth a warning."""
    filler = "𒀀" * 190 if longest else "m-"
    return [
        Evaluation(
            RULE, f"{filler}{number:05}", Observation(at, "critical" if number % 4 else "warning", is_recovered=False),
            value=0.4, threshold=0.1, sample=900,
        )
        for number in range(count)
    ]  # fmt: skip


def recovered(at: datetime, count: int) -> list[Evaluation]:
    return [
        Evaluation(RULE, f"m-{number:05}", Observation(at, None, is_recovered=True), 0.01, 0.1, 900)
        for number in range(count)
    ]


def notified(engine: Engine, at: datetime, found: list[Evaluation], given: Settings = SETTINGS) -> AlertMessage | None:
    with writing(engine) as connection:
        registry = update_alerts(connection, [(at, found)], given.monitoring.alerting, at)
        return enqueue_notification(connection, registry, given, at, AT_ONCE, notified_at=None)


def counted(engine: Engine) -> tuple[int, int, int]:
    """Return the numbers of alerts, messages and deliveries."""
    with reading(engine) as connection:
        return tuple(connection.scalar(select(func.count()).select_from(it)) for it in (ALERT, MESSAGE, DELIVERY))  # type: ignore[return-value]


@pytest.mark.parametrize("longest", [False, True], ids=["short names", "the longest names"])
def test_two_thousand_alerts_at_once_are_notified_in_one_message(engine: Engine, *, longest: bool) -> None:
    message = notified(engine, MONDAY, failing(MONDAY, STORM, longest=longest))
    assert message is not None
    assert counted(engine) == (STORM, 1, 1)
    assert len(message.notifications) == MOST_NOTIFICATIONS
    assert message.not_listed == STORM - MOST_NOTIFICATIONS
    assert [(group.severity, group.count) for group in message.groups] == [("critical", 1_500), ("warning", 500)]
    assert {it.severity for it in message.notifications} == {"critical"}


def test_a_storm_that_goes_on_is_notified_once_and_its_end_once(engine: Engine) -> None:
    """And each alert has one row all the while."""
    minute = timedelta(minutes=1)
    messages = [notified(engine, MONDAY + number * minute, failing(MONDAY, STORM)) for number in range(2)]
    messages.append(notified(engine, MONDAY + 5 * minute, recovered(MONDAY + 5 * minute, STORM)))
    assert [None if it is None else it.groups[0].event for it in messages] == ["fired", None, "resolved"]
    assert counted(engine) == (STORM, 2, 2)
    with reading(engine) as connection:
        assert set(connection.execute(select(ALERT.c.state)).scalars()) == {"resolved"}


@pytest.mark.parametrize("count", [1, MOST_UNGROUPED, MOST_UNGROUPED + 1, MOST_NOTIFICATIONS, MOST_NOTIFICATIONS + 1])
def test_every_alert_is_listed_or_counted_however_many_there_are(sqlite_engine: Engine, count: int) -> None:
    message = notified(sqlite_engine, MONDAY, failing(MONDAY, count))
    assert message is not None
    assert len(message.notifications) + message.not_listed == count
    assert sum(group.count for group in message.groups) == (count if count > MOST_UNGROUPED else 0)


def test_two_storms_of_which_only_the_last_alert_differs_are_two_messages(engine: Engine) -> None:
    """A key that was cut instead of hashed would take the second for the first."""
    assert notified(engine, MONDAY, failing(MONDAY, STORM)) is not None
    assert notified(engine, MONDAY, failing(MONDAY, STORM + 1)) is not None
    assert counted(engine) == (STORM + 1, 2, 2)


def test_every_channel_shows_a_storm_grouped_and_bounded(
    engine: Engine, tmp_path: Path, inbox: Mailbox, receiver: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    hooks = [receiver.url, *(f"{chat}+{receiver.url}" for chat in CHATS)]
    recipients = {"email": ["mailto:ops@example.org"], "webhook": hooks}
    ctx = context_with_delivery(engine, tmp_path, {"recipients": recipients}, box=inbox)
    alerting = ALERTING | {"channels": ["email", "webhook", "console"]}
    monitoring = parse_settings({"monitoring": {"alerting": alerting}}, "test").monitoring
    given = ctx.settings.model_copy(update={"monitoring": monitoring})
    assert notified(engine, MONDAY, failing(MONDAY, STORM, longest=True), given) is not None
    with caplog.at_level(logging.INFO, "routewatch"):
        receipts = deliver_due(ctx, now=datetime.now().astimezone() + timedelta(minutes=1))
    assert {receipt.state for receipt in receipts} == {"sent"}
    mail = message_from_bytes(inbox.messages[0][1], policy=default)
    text = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    bodies = [body.decode() for _, body in receiver.requests]
    for shown in (text, caplog.text, *bodies):
        assert "1,500" in shown or '"count":1500' in shown
        assert len(shown.encode()) < 150_000
    assert all("1,999 more alerts" in " ".join(shown.split()) for shown in (text, *bodies))


def test_a_webhook_says_how_many_it_leaves_out(sqlite_engine: Engine) -> None:
    message = notified(sqlite_engine, MONDAY, failing(MONDAY, STORM))
    assert message is not None
    body = render_message_json(message, message_id=1)
    data = json.loads(body)["data"]
    assert len(body) < MESSAGE_MOST_BYTES
    assert len(data["notifications"]) + data["leftOut"] == STORM
    assert sum(group["count"] for group in data["groups"]) == STORM


def test_a_chat_says_how_many_more_there_are_than_it_lists(sqlite_engine: Engine) -> None:
    message = notified(sqlite_engine, MONDAY, failing(MONDAY, STORM))
    assert message is not None
    for render in (render_slack, render_teams, render_discord):
        body = render(notice_of(message)).decode()
        listed = sum(f"m-{number:05} is" in body.replace("\\\\", "") for number in range(STORM))
        assert f"… and {STORM - listed:,} more" in body
