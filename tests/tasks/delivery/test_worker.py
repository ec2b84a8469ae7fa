"""Every report reaches every recipient, once, and every attempt is recorded."""

from __future__ import annotations

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, select, update
from standardwebhooks.webhooks import Webhook

from models.context import AppContext
from models.database import reading, writing
from models.errors import DatabaseUnavailable, DeliveryFailed, UnknownDelivery
from models.recipient import parse_recipient
from models.settings import Settings
from models.tables import Delivery, DeliveryAttempt, Report, table_of
from reports.notices.mime import build_mail
from tasks.delivery.channels.webhook_signature import WebhookMessage, signed_headers
from tasks.delivery.queries import list_deliveries
from tasks.delivery.queue import DEFAULT_RETRY_POLICY, back_off, due_ids, enqueue, next_due, retry
from tasks.delivery.recipients import recipients_for
from tasks.delivery.worker import deliver_due
from tests.support import documents
from tests.support.contexts import context_with_delivery
from tests.support.databases import PostgresServer
from tests.support.deliveries import NOW, stored
from tests.support.servers import Hook, Mailbox
from tests.support.waiting import until

SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
MAILBOXES = ("a", "b", "gone", "here", *(f"r{number}" for number in range(6)))
DELIVERY, ATTEMPT, REPORT = table_of(Delivery), table_of(DeliveryAttempt), table_of(Report)


def context_of(
    engine: Engine, home: Path, box: Mailbox | None = None, hook: Hook | None = None, **delivery: object
) -> AppContext:
    recipients = {"mail": [f"mailto:{name}@example.org" for name in MAILBOXES], "hook": [hook.url] if hook else []}
    return context_with_delivery(engine, home, {"recipients": recipients} | delivery, box=box, secret=SECRET)


def attempts(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return list(connection.execute(select(ATTEMPT.c.outcome).order_by(ATTEMPT.c.id)).scalars())


# --- recipients -------------------------------------------------------------------------------------------------------


def test_a_name_stands_for_all_its_addresses_and_each_address_counts_once() -> None:
    recipients = {"ops": ["mailto:a@example.org", "https://example.org/h"], "me": ["mailto:a@example.org"]}
    settings = Settings.model_validate({"delivery": {"recipients": recipients}})
    addresses, without = recipients_for(("ops", "me", "dashboard", "nobody"), settings)
    assert addresses == [
        ("email", "a@example.org"),
        ("webhook", "https://example.org/h"),
        ("dashboard", "dashboard"),
    ]
    assert without == ["nobody"]


def test_a_shown_recipient_keeps_its_secrets() -> None:
    shown = parse_recipient("https://user:pass@example.org:8443/hook?token=abc#x").reference
    assert shown.startswith("https://example.org:8443/…#")
    assert not re.search("user|pass|token|abc", shown)
    assert parse_recipient("mailto:a@example.org").reference == "a@example.org"


# --- the queue --------------------------------------------------------------------------------------------------------


def test_each_recipient_gets_the_report_once_however_often_it_is_delivered(
    engine: Engine, tmp_path: Path, inbox: Mailbox, receiver: Hook
) -> None:
    ctx = context_of(engine, tmp_path, inbox, receiver)
    addresses = (("email", "a@example.org"), ("email", "b@example.org"), ("webhook", receiver.url))
    report_id = stored(engine, *addresses)
    first = deliver_due(ctx, now=NOW)
    with writing(engine) as connection:
        enqueue(connection, report_id, addresses, NOW)
    again = deliver_due(ctx, now=NOW + timedelta(days=1))
    assert [receipt.state for receipt in first] == ["sent"] * 3
    assert again == []
    assert [recipient for recipient, _ in inbox.messages] == ["a@example.org", "b@example.org"]
    assert len(receiver.requests) == 1
    assert attempts(engine) == ["sent"] * 3


def test_two_senders_at_once_send_nothing_twice(engine: Engine, tmp_path: Path, inbox: Mailbox) -> None:
    ctx = context_of(engine, tmp_path, inbox)
    stored(engine, *(("email", f"r{number}@example.org") for number in range(6)))
    senders = [threading.Thread(target=deliver_due, args=(ctx,), kwargs={"now": NOW}) for _ in range(3)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert sorted(recipient for recipient, _ in inbox.messages) == [f"r{number}@example.org" for number in range(6)]


def test_a_mailbox_that_is_refused_does_not_keep_the_mail_from_the_others(
    sqlite_engine: Engine, tmp_path: Path, inbox: Mailbox
) -> None:
    inbox.refuses.add("gone@example.org")
    stored(sqlite_engine, ("email", "gone@example.org"), ("email", "here@example.org"))
    receipts = deliver_due(context_of(sqlite_engine, tmp_path, inbox), now=NOW)
    assert [(receipt.state, receipt.answer[:3]) for receipt in receipts] == [("dead", "550"), ("sent", "250")]


def test_what_fails_for_now_is_tried_again_later_and_not_before(
    sqlite_engine: Engine, tmp_path: Path, inbox: Mailbox
) -> None:
    inbox.answers = ["451 busy", "250 kept"]
    ctx = context_of(sqlite_engine, tmp_path, inbox)
    stored(sqlite_engine, ("email", "a@example.org"))
    (failed,) = deliver_due(ctx, now=NOW)
    due = next_due(sqlite_engine)
    assert due is not None
    assert deliver_due(ctx, now=due - timedelta(milliseconds=1)) == []
    (sent,) = deliver_due(ctx, now=due)
    assert (failed.state, failed.answer, sent.state) == ("queued", "451 busy", "sent")
    assert attempts(sqlite_engine) == ["failed", "sent"]


def test_after_the_last_attempt_a_delivery_is_dead_lettered_until_a_person_retries_it(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    ctx = context_of(sqlite_engine, tmp_path, maximumAttempts=2)
    stored(sqlite_engine, ("email", "a@example.org"))
    states = [deliver_due(ctx, now=NOW + timedelta(days=day))[0].state for day in range(2)]
    assert states == ["queued", "dead"]
    *_, listed = list_deliveries(sqlite_engine)
    assert (listed.state, listed.attempts) == ("dead", 2)
    assert "cannot reach 127.0.0.1:9" in (listed.answer or "")
    retry(sqlite_engine, listed.id, NOW + timedelta(days=2))
    assert (listed.id, ("email", "a@example.org")) in due_ids(sqlite_engine, NOW + timedelta(days=2))


def test_only_a_dead_letter_can_be_retried(sqlite_engine: Engine) -> None:
    stored(sqlite_engine, ("email", "a@example.org"))
    with pytest.raises(UnknownDelivery, match="is queued"):
        retry(sqlite_engine, 1, NOW)
    with pytest.raises(UnknownDelivery, match="does not exist"):
        retry(sqlite_engine, 99, NOW)


def test_a_mail_whose_answer_was_lost_is_not_sent_again_automatically(
    sqlite_engine: Engine, tmp_path: Path, inbox: Mailbox
) -> None:
    inbox.answers = ["hang up"]
    ctx = context_of(sqlite_engine, tmp_path, inbox)
    stored(sqlite_engine, ("email", "a@example.org"))
    (receipt,) = deliver_due(ctx, now=NOW)
    assert receipt.state == "uncertain"
    assert deliver_due(ctx, now=NOW + timedelta(days=9)) == []


def test_a_delivery_whose_sender_died_is_taken_over_when_its_lease_ends(
    engine: Engine, tmp_path: Path, inbox: Mailbox
) -> None:
    ctx = context_of(engine, tmp_path, inbox)
    stored(engine, ("email", "a@example.org"))
    with writing(engine) as connection:
        connection.execute(
            update(DELIVERY).values(state="sending", attempts=1, lease_until=NOW + DEFAULT_RETRY_POLICY.lease)
        )
    assert deliver_due(ctx, now=NOW + DEFAULT_RETRY_POLICY.lease) == []
    (receipt,) = deliver_due(ctx, now=NOW + DEFAULT_RETRY_POLICY.lease + timedelta(seconds=1))
    assert receipt.state == "sent"


def test_the_wait_grows_keeps_its_jitter_and_respects_what_was_asked_for() -> None:
    waits = [back_off(1, attempt, None).total_seconds() for attempt in range(1, 12)]
    assert waits == [back_off(1, attempt, None).total_seconds() for attempt in range(1, 12)]
    for wait, base in zip(
        waits,
        (*DEFAULT_RETRY_POLICY.back_off_s, DEFAULT_RETRY_POLICY.back_off_s[-1], DEFAULT_RETRY_POLICY.back_off_s[-1]),
        strict=True,
    ):
        assert 0.8 * base <= wait <= 1.2 * base
    assert back_off(1, 1, 600.0) == timedelta(seconds=600)
    assert back_off(1, 1, None) != back_off(2, 1, None)


def test_a_restart_of_the_database_amid_a_delivery_loses_and_repeats_nothing(
    postgres_engine: Engine, postgres_server: PostgresServer, tmp_path: Path, receiver: Hook
) -> None:
    """The receiver has it, and answers when the server's connections are gone: the next turn goes on from there."""
    arrived, receiver.holds_until = threading.Event(), threading.Event()
    receiver.signals = (1, arrived)
    ctx = context_of(postgres_engine, tmp_path, hook=receiver)
    stored(postgres_engine, ("webhook", receiver.url), ("console", "console"))
    with ThreadPoolExecutor(max_workers=1) as sender:
        turn = sender.submit(deliver_due, ctx, now=NOW)
        until(arrived.is_set)
        postgres_server.restart()
        receiver.holds_until.set()
        with suppress(DatabaseUnavailable):
            turn.result()
    deliver_due(ctx, now=NOW + DEFAULT_RETRY_POLICY.lease + timedelta(seconds=1))
    with reading(postgres_engine) as connection:
        assert list(connection.scalars(select(DELIVERY.c.state))) == ["sent", "sent"]
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 1


# --- mail -------------------------------------------------------------------------------------------------------------


def test_a_mail_carries_text_html_with_its_pictures_and_the_pdf() -> None:
    built = build_mail(
        documents.performance("summary"), report_id=3, sender="R <r@example.org>", recipient="a@b.c", date=NOW
    )
    again = build_mail(
        documents.performance("summary"), report_id=3, sender="R <r@example.org>", recipient="a@b.c", date=NOW
    )
    assert built == again
    mail = message_from_bytes(built, policy=default)
    kinds = [part.get_content_type() for part in mail.walk()]
    assert kinds[:5] == ["multipart/mixed", "multipart/alternative", "text/plain", "multipart/related", "text/html"]
    assert kinds[5:].count("image/png") >= 2
    assert kinds[-1] == "application/pdf"
    (pdf,) = mail.iter_attachments()
    assert pdf.get_content().startswith(b"%PDF")
    assert mail["Message-ID"].endswith("@example.org>")
    assert all(len(line) <= 998 for line in built.split(b"\r\n"))


def test_the_message_id_is_the_recipients_own() -> None:
    ids = {
        message_from_bytes(
            build_mail(documents.empty(), report_id=3, sender="r@example.org", recipient=recipient, date=NOW)
        )["Message-ID"]
        for recipient in ("a@b.c", "d@e.f", "a@b.c")
    }
    assert len(ids) == 2


def test_mail_refuses_to_go_out_in_the_clear_when_tls_is_asked_for(
    sqlite_engine: Engine, tmp_path: Path, inbox: Mailbox
) -> None:
    ctx = context_of(sqlite_engine, tmp_path, inbox)
    asking = AppContext(ctx.environment.model_copy(update={"smtp_security": "starttls"}), ctx.settings)
    stored(sqlite_engine, ("email", "a@example.org"))
    (receipt,) = deliver_due(asking, now=NOW)
    assert (receipt.state, inbox.messages) == ("queued", [])
    assert "STARTTLS" in receipt.answer


def test_a_password_appears_in_no_answer(sqlite_engine: Engine, tmp_path: Path, inbox: Mailbox) -> None:
    ctx = context_of(sqlite_engine, tmp_path, inbox)
    login = {"smtp_username": "ops", "smtp_password": SecretStr("hunter2")}
    stored(sqlite_engine, ("email", "a@example.org"))
    (receipt,) = deliver_due(AppContext(ctx.environment.model_copy(update=login), ctx.settings), now=NOW)
    assert receipt.state == "queued"
    assert "hunter2" not in receipt.answer


# --- webhook ----------------------------------------------------------------------------------------------------------


def test_a_webhook_is_signed_as_the_standard_says(sqlite_engine: Engine, tmp_path: Path, receiver: Hook) -> None:
    report_id = stored(sqlite_engine, ("webhook", receiver.url))
    (receipt,) = deliver_due(context_of(sqlite_engine, tmp_path, hook=receiver), now=datetime.now(UTC))
    ((headers, body),) = receiver.requests
    payload = Webhook(SECRET).verify(body, headers)
    assert receipt.answer == "204 No Content"
    assert payload["data"]["reportId"] == report_id
    assert payload["type"] == "report.daily"


def test_the_signature_is_right_whatever_the_zone_of_the_clock() -> None:
    message = WebhookMessage("m1", b"{}")
    at = NOW.astimezone(tz=datetime.now().astimezone().tzinfo)
    assert signed_headers(message, "u", SecretStr(SECRET), at) == signed_headers(message, "u", SecretStr(SECRET), NOW)


def test_an_id_stays_the_same_over_every_attempt(sqlite_engine: Engine, tmp_path: Path, receiver: Hook) -> None:
    receiver.answers = [(500, {}), (204, {})]
    ctx = context_of(sqlite_engine, tmp_path, hook=receiver)
    stored(sqlite_engine, ("webhook", receiver.url))
    deliver_due(ctx, now=NOW)
    deliver_due(ctx, now=NOW + timedelta(hours=1))
    first, second = (headers for headers, _ in receiver.requests)
    assert first["webhook-id"] == second["webhook-id"]
    assert first["webhook-timestamp"] != second["webhook-timestamp"]


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ((500, {}), "queued"),
        ((429, {}), "queued"),
        ((404, {}), "dead"),
        ((302, {"location": "http://127.0.0.1/"}), "queued"),
        ((410, {}), "dead"),
    ],
)
def test_only_success_is_success_and_what_blames_the_request_is_final(
    sqlite_engine: Engine, tmp_path: Path, receiver: Hook, answer: tuple[int, dict[str, str]], state: str
) -> None:
    receiver.answers = [answer]
    stored(sqlite_engine, ("webhook", receiver.url))
    (receipt,) = deliver_due(context_of(sqlite_engine, tmp_path, hook=receiver), now=NOW)
    assert (receipt.state, len(receiver.requests)) == (state, 1)


@pytest.mark.parametrize("asked", ["7200", "Tue, 08 Sep 2026 08:00:00 GMT"])
def test_a_receiver_that_asks_for_time_gets_it(
    sqlite_engine: Engine, tmp_path: Path, receiver: Hook, asked: str
) -> None:
    receiver.answers = [(429, {"retry-after": asked})]
    stored(sqlite_engine, ("webhook", receiver.url))
    deliver_due(context_of(sqlite_engine, tmp_path, hook=receiver), now=NOW)
    due = next_due(sqlite_engine)
    assert due is not None
    assert timedelta(hours=2) <= due - NOW < timedelta(hours=2, minutes=1)


def test_a_private_address_is_refused_unless_allowed(sqlite_engine: Engine, tmp_path: Path, receiver: Hook) -> None:
    urls = [f"https://{host}:{receiver.port}/hook" for host in ("127.0.0.1", "localhost")]
    ctx = context_of(sqlite_engine, tmp_path, allowPrivateAddresses=False, recipients={"hooks": urls})
    stored(sqlite_engine, *(("webhook", url) for url in urls))
    receipts = deliver_due(ctx, now=NOW)
    assert [receipt.state for receipt in receipts] == ["dead", "dead"]
    assert all("not public" in receipt.answer for receipt in receipts)
    assert receiver.requests == []


@pytest.mark.parametrize("secret", [None, SecretStr(""), SecretStr("whsec_")])
def test_nothing_goes_out_unsigned(secret: SecretStr | None) -> None:
    with pytest.raises(DeliveryFailed, match="ROUTEWATCH_WEBHOOK_SECRET"):
        signed_headers(WebhookMessage("m", b"{}"), "u", secret, NOW)


# --- files and dashboard ----------------------------------------------------------------------------------------------


def test_the_dry_run_writes_what_would_be_sent(
    sqlite_engine: Engine, tmp_path: Path, inbox: Mailbox, receiver: Hook
) -> None:
    stored(sqlite_engine, ("email", "a@example.org"), ("webhook", receiver.url))
    receipts = deliver_due(context_of(sqlite_engine, tmp_path, inbox, receiver, mode="files"), now=NOW)
    assert [receipt.state for receipt in receipts] == ["sent", "sent"]
    assert (inbox.messages, receiver.requests) == ([], [])
    eml, body = sorted((tmp_path / "outbox").iterdir())
    assert message_from_bytes(eml.read_bytes(), policy=default)["To"] == "a@example.org"
    assert json.loads(body.read_bytes())["type"] == "report.daily"


def test_an_older_hour_does_not_replace_a_newer_one_on_the_dashboard(sqlite_engine: Engine, tmp_path: Path) -> None:
    ctx = context_of(sqlite_engine, tmp_path)
    newer = documents.empty()
    ended = newer.period.end - timedelta(hours=1)
    older = newer.model_copy(update={"period": newer.period.model_copy(update={"end": ended})})
    stored(sqlite_engine, ("dashboard", "dashboard"), document=newer)
    deliver_due(ctx, now=NOW)
    page = ctx.environment.dashboard_page.read_bytes()
    with writing(sqlite_engine) as connection:
        connection.execute(update(REPORT).values(parameters_hash="first"))
    stored(sqlite_engine, ("dashboard", "dashboard"), document=older)
    (receipt,) = deliver_due(ctx, now=NOW)
    assert receipt.answer == "left as it is: it shows a later hour"
    assert ctx.environment.dashboard_page.read_bytes() == page
