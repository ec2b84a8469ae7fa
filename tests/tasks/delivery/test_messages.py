"""Messages are stored once and delivered like reports; dead letters are notified; a slow receiver delays no other."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, select, text
from standardwebhooks.webhooks import Webhook

from models.context import AppContext
from models.database import connect, migrate, reading, writing
from models.recipient import parse_recipient
from models.tables import Delivery, DeliveryAttempt, StoredMessage, table_of
from tasks.delivery.channels.webhook_signature import WebhookMessage, signed_headers
from tasks.delivery.dead_letters import notify_dead_letters
from tasks.delivery.outbox import enqueue_message
from tasks.delivery.queries import list_deliveries
from tasks.delivery.queue import (
    DEFAULT_RETRY_POLICY,
    RetryPolicy,
    claim,
    record_committing,
    retry,
    retry_all_dead_letters,
)
from tasks.delivery.worker import Receipt, deliver_due
from tests.support import messages
from tests.support.contexts import context_with_delivery
from tests.support.servers import Hook, Mailbox, hook
from tests.support.waiting import until

NOW = datetime(2026, 10, 12, 12, 5, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
SECRETS = ["whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQ=", "whsec_" + "YW5vdGhlci1hbm90aGVyLWFub3RoZXI="]
DELIVERY, ATTEMPT, MESSAGE = table_of(Delivery), table_of(DeliveryAttempt), table_of(StoredMessage)


def context_of(engine: Engine, home: Path, box: Mailbox | None = None, **recipients: list[str]) -> AppContext:
    delivery = {"recipients": recipients, "maximumAttempts": 2}
    return context_with_delivery(engine, home, delivery, box=box, secret=" ".join(SECRETS))


def posted(ctx: AppContext, *names: str, key: str = "k", now: datetime = NOW) -> int | None:
    with writing(ctx.engine) as connection:
        return enqueue_message(connection, messages.alerts(), key, names, settings=ctx.settings, now=now)


def by_channel(receipts: list[Receipt]) -> dict[str, str]:
    return {receipt.channel: receipt.state for receipt in receipts}


def last_answers(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return list(connection.execute(select(ATTEMPT.c.answer).order_by(ATTEMPT.c.id)).scalars())


# --- enqueueing -------------------------------------------------------------------------------------------------------


def test_a_message_reaches_every_channel_once_however_often_it_is_enqueued(
    engine: Engine, tmp_path: Path, inbox: Mailbox, receiver: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    ctx = context_of(
        engine, tmp_path, inbox, email=["mailto:a@example.org"], webhook=[receiver.url, f"slack+{receiver.url}"]
    )
    first, again = (posted(ctx, "console", "dashboard", "email", "webhook") for _ in range(2))
    with caplog.at_level(logging.INFO, "routewatch"):
        receipts = deliver_due(ctx, now=NOW)
    assert (first is not None, again) == (True, None)
    assert by_channel(receipts) == dict.fromkeys(("console", "dashboard", "email", "webhook", "slack"), "sent")
    assert deliver_due(ctx, now=LATER) == []
    assert "Critical: error rate of m-large" in caplog.text
    assert len(inbox.messages) == 1
    assert sorted(json.loads(body).get("type", "blocks") for _, body in receiver.requests) == ["alert.fired", "blocks"]


def test_a_message_is_committed_with_its_cause_or_not_at_all(sqlite_engine: Engine, tmp_path: Path) -> None:
    ctx = context_of(sqlite_engine, tmp_path)
    with writing(ctx.engine) as connection, connection.begin_nested() as undone:
        enqueue_message(connection, messages.alerts(), "k", ["console"], settings=ctx.settings, now=NOW)
        undone.rollback()
    assert deliver_due(ctx, now=NOW) == []


def test_a_name_without_an_address_is_warned_about_once(
    sqlite_engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ctx = context_of(sqlite_engine, tmp_path)
    for key in ("a", "b"):
        posted(ctx, "nobody-is-here", key=key)
    assert caplog.text.count("delivery.recipients.nobody-is-here") == 1


def test_the_dry_run_writes_each_channels_format(sqlite_engine: Engine, tmp_path: Path) -> None:
    ctx = context_of(sqlite_engine, tmp_path, ops=["mailto:a@example.org", "https://discord.com/api/webhooks/1/x"])
    delivery = ctx.settings.delivery.model_copy(update={"mode": "files"})
    dry = AppContext(ctx.environment, ctx.settings.model_copy(update={"delivery": delivery}))
    posted(dry, "ops")
    deliver_due(dry, now=NOW)
    assert sorted(path.name for path in (tmp_path / "outbox").iterdir()) == [
        "message-1-delivery-1.eml", "message-1-delivery-2.json",
    ]  # fmt: skip
    assert "embeds" in json.loads((tmp_path / "outbox" / "message-1-delivery-2.json").read_text())


def test_messages_and_reports_are_listed_alike(sqlite_engine: Engine, tmp_path: Path) -> None:
    posted(context_of(sqlite_engine, tmp_path), "console")
    (listed,) = list_deliveries(sqlite_engine)
    assert (listed.what, listed.channel, listed.state) == ("alerts", "console", "queued")


# --- dead letters -----------------------------------------------------------------------------------------------------


def test_a_dead_letter_is_notified_once_and_not_on_its_own_channel(
    engine: Engine, tmp_path: Path, inbox: Mailbox, receiver: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [(410, {})]
    ctx = context_of(engine, tmp_path, inbox, webhook=[receiver.url])
    posted(ctx, "webhook")
    deliver_due(ctx, now=NOW)
    notice = deliver_due(ctx, now=LATER)
    assert {receipt.channel for receipt in notice} == {"console", "dashboard"}
    assert "No. 1, alerts to http://127.0.0.1" in caplog.text
    assert deliver_due(ctx, now=LATER + timedelta(hours=1)) == []
    assert len(receiver.requests) == 1


def test_a_dead_lettered_notice_causes_no_other(sqlite_engine: Engine, tmp_path: Path, receiver: Hook) -> None:
    receiver.answers = [(410, {})]
    ctx = context_of(sqlite_engine, tmp_path, webhook=[receiver.url], other=[receiver.url.replace("hook", "other")])
    posted(ctx, "other")
    for hours in range(4):
        deliver_due(ctx, now=NOW + timedelta(hours=hours))
    with reading(sqlite_engine) as connection:
        kinds = [content["kind"] for content in connection.execute(select(MESSAGE.c.content)).scalars()]
    assert kinds == ["alerts", "deadDeliveries"]


def test_a_delivery_dead_lettered_again_after_a_retry_is_notified_again(
    sqlite_engine: Engine, tmp_path: Path, receiver: Hook
) -> None:
    receiver.answers = [(410, {})]
    ctx = context_of(sqlite_engine, tmp_path, webhook=[receiver.url])
    posted(ctx, "webhook")
    deliver_due(ctx, now=NOW)
    retry(sqlite_engine, 1, LATER)
    deliver_due(ctx, now=LATER)
    assert notify_dead_letters(ctx, LATER) is None
    with reading(sqlite_engine) as connection:
        assert len(connection.execute(select(MESSAGE.c.id)).all()) == 3


def test_all_dead_letters_can_be_requeued_at_once(sqlite_engine: Engine, tmp_path: Path, receiver: Hook) -> None:
    receiver.answers = [(410, {}), (410, {}), (204, {})]
    ctx = context_of(sqlite_engine, tmp_path, webhook=[receiver.url])
    for key in ("a", "b"):
        posted(ctx, "webhook", key=key)
    deliver_due(ctx, now=NOW)
    assert retry_all_dead_letters(sqlite_engine, LATER) == 2
    states = [receipt.state for receipt in deliver_due(ctx, now=LATER) if receipt.channel == "webhook"]
    assert states == ["sent", "sent"]


# --- senders that die -------------------------------------------------------------------------------------------------


def test_a_mail_whose_sender_died_while_handing_it_over_is_uncertain(
    engine: Engine, tmp_path: Path, inbox: Mailbox
) -> None:
    ctx = context_of(engine, tmp_path, inbox, ops=["mailto:a@example.org"])
    posted(ctx, "ops")
    row = claim(engine, 1, NOW, maximum_attempts=2)
    assert row is not None
    assert record_committing(engine, row)
    assert deliver_due(ctx, now=NOW + DEFAULT_RETRY_POLICY.lease) == []
    deliver_due(ctx, now=NOW + DEFAULT_RETRY_POLICY.lease + timedelta(seconds=1))
    (listed,) = list_deliveries(engine)
    assert (listed.state, listed.answer) == (
        "uncertain", "the sender died while it was handing over: it may have arrived",
    )  # fmt: skip
    assert inbox.messages == []


def test_a_sender_that_lost_its_claim_hands_nothing_over(engine: Engine, tmp_path: Path) -> None:
    ctx = context_of(engine, tmp_path, ops=["mailto:a@example.org"])
    posted(ctx, "ops")
    slow = claim(engine, 1, NOW, maximum_attempts=2)
    quick = claim(engine, 1, NOW + 2 * DEFAULT_RETRY_POLICY.lease, maximum_attempts=2)
    assert slow is not None
    assert quick is not None
    assert not record_committing(engine, slow)
    assert record_committing(engine, quick)


def test_a_delivery_that_repeatedly_crashes_its_sender_is_dead_lettered(engine: Engine, tmp_path: Path) -> None:
    ctx = context_of(engine, tmp_path, ops=["mailto:a@example.org"])
    posted(ctx, "ops")
    for times in range(2):
        assert claim(engine, 1, NOW + 2 * times * DEFAULT_RETRY_POLICY.lease, maximum_attempts=2) is not None
    assert claim(engine, 1, NOW + 4 * DEFAULT_RETRY_POLICY.lease, maximum_attempts=2) is None
    assert last_answers(engine) == ["the sender died", "the sender died at the last attempt"]
    assert list_deliveries(engine)[0].state == "dead"


def test_an_attempt_ends_long_before_its_claim_does() -> None:
    assert (
        timedelta(seconds=max(DEFAULT_RETRY_POLICY.mail_s, DEFAULT_RETRY_POLICY.webhook_s))
        <= DEFAULT_RETRY_POLICY.lease / 5
    )


# --- many at once -----------------------------------------------------------------------------------------------------


def test_a_receiver_that_stalls_holds_up_nobody_else(sqlite_engine: Engine, tmp_path: Path, receiver: Hook) -> None:
    """The stalled one answers only once the other has received all of its own."""
    with hook() as stalled:
        ctx = context_of(sqlite_engine, tmp_path, stalled=[stalled.url], quick=[receiver.url])
        for number in range(3):
            posted(ctx, "stalled", key=f"s{number}")
        for number in range(5):
            posted(ctx, "quick", key=f"q{number}")
        served = Event()
        stalled.holds_until, receiver.signals = served, (5, served)
        receipts: list[Receipt] = []
        sender = Thread(target=lambda: receipts.extend(deliver_due(ctx, now=NOW)))
        sender.start()
        until(served.is_set)
        sender.join()
    assert [receipt.state for receipt in receipts] == ["sent"] * 8


def test_a_run_ends_and_leaves_the_rest_to_the_next_one(sqlite_engine: Engine, tmp_path: Path, receiver: Hook) -> None:
    ctx = context_of(sqlite_engine, tmp_path, ops=[receiver.url])
    posted(ctx, "ops")
    assert deliver_due(ctx, now=NOW, policy=RetryPolicy(run_s=0.0)) == []
    assert [receipt.state for receipt in deliver_due(ctx, now=NOW)] == ["sent"]


# --- signatures and old rows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", SECRETS)
def test_while_a_secret_is_being_changed_both_sign(known: str) -> None:
    now = datetime.now(UTC)
    headers = signed_headers(WebhookMessage("m", b"{}"), "u", SecretStr(" ".join(SECRETS)), now)
    assert Webhook(known).verify(b"{}", headers) == {}


def test_an_upgrade_takes_secrets_out_of_stored_addresses(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/routewatch.db"
    migrate(address, "0005")
    engine = connect(address)
    urls = ["https://hooks.slack.com/services/T0/B0/token", "https://u:p@example.org/h", "https://example.org/h"]
    with writing(engine) as connection:
        connection.execute(text(
            "INSERT INTO report (kind, template, period_start, period_end, parameters_hash, parameters, document, "
            "created_at) VALUES ('daily', 'performance', :at, :at, 'h', '{}', '{}', :at)"
        ), {"at": str(NOW)})  # fmt: skip
        old = "INSERT INTO delivery (report_id, channel, recipient, state, attempts, queued_at, next_attempt_at) "
        for url in urls:
            connection.execute(text(f"{old} VALUES (1, 'webhook', :url, 'dead', 1, :at, :at)"),
                               {"at": str(NOW), "url": url})  # fmt: skip
    migrate(address)
    with reading(engine) as connection:
        rows = connection.execute(
            select(DELIVERY.c.channel, DELIVERY.c.recipient, DELIVERY.c.dead_letter_notified)
        ).all()
    engine.dispose()
    known = [parse_recipient(url) for url in urls]
    assert [tuple(row) for row in rows] == [(it.channel, it.reference, True) for it in known]
