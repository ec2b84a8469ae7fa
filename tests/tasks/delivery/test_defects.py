"""What cannot pass is dead at once and says why; what may pass is tried again; what a person can set is named."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import Engine, update
from sqlalchemy.exc import OperationalError

from models.context import AppContext
from models.database import writing
from models.documents import PerformanceReport
from models.environment import Environment
from models.errors import DeliveryFailed, MailTooLarge
from models.recipient import EMAIL, Recipient, normal_mailbox, parse_recipient
from models.schema import DELIVERY, DeliveryState
from tasks.delivery.channels.http import post_body
from tasks.delivery.channels.smtp import MailServer, greet, send_mail
from tasks.delivery.queue import DEFAULT_RETRY_POLICY
from tasks.delivery.sender import OutgoingMessage, Sender
from tasks.delivery.worker import Receipt, deliver_due
from tests.support import documents
from tests.support.contexts import NOW, context_of, enqueue_to_ops
from tests.support.deliveries import stored
from tests.support.servers import HOST, Hook, Mailbox, mailbox

SENDER = "Routewatch <routewatch@example.org>"
BOOKS = "info@xn--bcher-kva.example"


def server_at(box: Mailbox) -> MailServer:
    return MailServer(HOST, box.port, "none", None, None, 60.0)


def sent(box: Mailbox, recipient: str = "ops@example.org", message: bytes = b"Subject: s\r\n\r\nt\r\n") -> str:
    return send_mail(message, SENDER, recipient, server_at(box), before_commit=lambda: None)


def refusal(box: Mailbox, recipient: str = "ops@example.org") -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        sent(box, recipient)
    return caught.value


def only(receipts: list[Receipt]) -> Receipt:
    [receipt] = receipts
    return receipt


def mail_in(box: Mailbox) -> EmailMessage:
    mail = message_from_bytes(box.messages[-1][1], policy=default)
    assert isinstance(mail, EmailMessage)
    return mail


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "normal"),
    [
        ("info@bücher.example", BOOKS),
        ("info@BÜCHER.example", BOOKS),
        ("info@bu\u0308cher.example", BOOKS),
        ("info@xn--bcher-kva.example", BOOKS),
        ("a.b+c@例え.example", "a.b+c@xn--r8jz45g.example"),
        ("Ops@Example.org", "Ops@Example.org"),
        ("jo\u0308rg@bücher.example", "jörg@xn--bcher-kva.example"),
    ],
)
def test_an_address_has_one_normal_form_under_which_it_is_stored_and_sent(entry: str, normal: str) -> None:
    recipient = parse_recipient(f"mailto:{entry}")
    assert (recipient.address, recipient.reference) == (normal, normal)
    assert normal_mailbox(normal) == normal


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_address_reaches_a_mail_server_with_a_domain_that_it_cannot_take(local: str, domain: str) -> None:
    try:
        address = normal_mailbox(f"{local}@{domain}.example")
    except ValueError:
        return
    assert address.rpartition("@")[2].isascii()


def test_mail_to_an_international_domain_arrives(sqlite_engine: Engine, tmp_path: Path, inbox: Mailbox) -> None:
    ctx = context_of(sqlite_engine, tmp_path, "mailto:info@bücher.example", f"mailto:{BOOKS}", box=inbox)
    enqueue_to_ops(ctx)
    assert only(deliver_due(ctx, now=NOW)).state == "sent"
    assert inbox.messages[0][0] == BOOKS
    assert mail_in(inbox)["To"] == BOOKS


def test_a_delivery_that_was_queued_before_addresses_had_a_normal_form_arrives(
    engine: Engine, tmp_path: Path, inbox: Mailbox
) -> None:
    ctx = context_of(engine, tmp_path, "mailto:info@bücher.example", box=inbox)
    enqueue_to_ops(ctx)
    with writing(engine) as connection:
        connection.execute(update(DELIVERY).values(recipient="info@bücher.example"))
    assert only(deliver_due(ctx, now=NOW)).state == "sent"
    assert inbox.messages[0][0] == BOOKS


@pytest.mark.parametrize("sender", ["Bücher <info@bücher.example>", "info@bücher.example"])
def test_a_sender_with_an_international_domain_is_taken(
    sqlite_engine: Engine, tmp_path: Path, inbox: Mailbox, sender: str
) -> None:
    ctx = context_of(sqlite_engine, tmp_path, "mailto:ops@example.org", box=inbox)
    environment = Environment.model_validate(ctx.environment.model_dump() | {"mail_from": sender})
    enqueue_to_ops(ctx)
    assert only(deliver_due(AppContext(environment, ctx.settings), now=NOW)).state == "sent"
    assert mail_in(inbox)["From"].addresses[0].addr_spec == BOOKS
    assert mail_in(inbox)["From"].addresses[0].display_name == ("Bücher" if "<" in sender else "")


def test_a_mailbox_with_other_letters_gets_its_mail_where_the_server_takes_such(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    with mailbox(enable_SMTPUTF8=True) as box:
        ctx = context_of(sqlite_engine, tmp_path, "mailto:jörg@bücher.example", box=box)
        enqueue_to_ops(ctx)
        assert only(deliver_due(ctx, now=NOW)).state == "sent"
    assert box.messages[0][0] == "jörg@xn--bcher-kva.example"
    assert "To: jörg@xn--bcher-kva.example".encode() in box.messages[0][1]


def test_a_mailbox_with_other_letters_is_refused_at_once_where_the_server_does_not(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    """And keeps the mail from nobody else."""
    with mailbox(enable_SMTPUTF8=False) as box:
        ctx = context_of(sqlite_engine, tmp_path, "mailto:jörg@example.org", "mailto:ops@example.org", box=box)
        enqueue_to_ops(ctx)
        receipts = {receipt.recipient: receipt for receipt in deliver_due(ctx, now=NOW)}
        with pytest.raises(DeliveryFailed, match="SMTPUTF8"):
            greet(SENDER, server_at(box), ["jörg@example.org"])
        assert "takes mail" in greet(SENDER, server_at(box), ["info@xn--bcher-kva.example"])
    assert {name: receipt.state for name, receipt in receipts.items()} == {
        "jörg@example.org": "dead", "ops@example.org": "sent",
    }  # fmt: skip
    assert "does not offer SMTPUTF8" in receipts["jörg@example.org"].answer
    assert "delivery.recipients" in receipts["jörg@example.org"].answer


@pytest.mark.parametrize(
    "url", ["https://a..example/hook", f"https://{'a' * 64}.example/", "https://-bü.example/", "https://xn--ü.example/"]
)
def test_a_url_whose_host_nobody_can_look_up_is_refused_in_the_settings(url: str) -> None:
    with pytest.raises(ValueError, match="its host"):
        parse_recipient(url)


# --- what a mail server says ------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_server_that_wants_encryption_is_repeated_with_what_to_set(unknown_issuer: ssl.SSLContext) -> None:
    with mailbox(tls_context=unknown_issuer, require_starttls=True) as box:
        failure = refusal(box)
    assert "530 " in failure.answer
    assert "STARTTLS" in failure.answer
    assert "set ROUTEWATCH_SMTP_SECURITY to starttls" in failure.answer
    assert "USERNAME" not in failure.answer
    assert not failure.permanent


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(
    ("reply", "is_permanent", "remedy"),
    [
        ("421 4.3.2 closing", False, ""),
        ("450 4.2.0 greylisted", False, ""),
        ("451 try later", False, ""),
        ("452 4.2.2 mailbox full", False, ""),
        ("454 4.7.0 TLS not available now", False, ""),
        ("530 5.7.0 Must issue a STARTTLS command first", False, "ROUTEWATCH_SMTP_SECURITY"),
        ("530 5.7.1 Authentication required", False, "ROUTEWATCH_SMTP_USERNAME"),
        ("550 5.1.1 no such mailbox", True, ""),
        ("551 not here", True, ""),
        ("552 5.2.2 mailbox full", True, ""),
        ("553 5.1.8 bad sender", True, ""),
        ("554 5.7.1 spam", True, ""),
        ("555 what", True, ""),
    ],
)
def test_each_reply_of_a_mail_server_is_retried_or_final_wherever_it_comes(
    inbox: Mailbox, stage: str, reply: str, is_permanent: bool, remedy: str
) -> None:
    inbox.says, inbox.answers = ({}, [reply]) if stage == "DATA" else ({stage: reply}, ["250 kept"])
    failure = refusal(inbox)
    assert failure.permanent is is_permanent
    assert failure.answer.startswith(reply)
    assert remedy in failure.answer


# --- size -------------------------------------------------------------------------------------------------------------


def delivered(engine: Engine, home: Path, box: Mailbox, document: PerformanceReport) -> Receipt:
    ctx = context_of(engine, home, "mailto:ops@example.org", box=box)
    stored(engine, ("email", "ops@example.org"), document=document)
    return only(deliver_due(ctx, now=datetime.now(UTC)))


@pytest.mark.parametrize(("most", "has_pictures"), [(None, True), (30_000, False)])
def test_a_mail_over_the_servers_size_is_sent_smaller_and_says_where_its_files_are(
    sqlite_engine: Engine, tmp_path: Path, most: int | None, *, has_pictures: bool
) -> None:
    with mailbox(data_size_limit=most or 33_000_000) as box:
        if most is None:
            # It does not announce its limit, but refuses the whole when it has it.
            box.answers = ["552 5.3.4 Message size exceeds fixed limit", "250 kept"]
        receipt = delivered(sqlite_engine, tmp_path, box, documents.performance())
    mail = mail_in(box)
    text = " ".join(mail.get_body(("plain",)).get_content().split())  # type: ignore[union-attr]
    assert receipt.state == "sent"
    assert not [part for part in mail.walk() if part.get_content_type() == "application/pdf"]
    assert any(part.get_content_maintype() == "image" for part in mail.walk()) is has_pictures
    assert "they are in reports/weekly/" in text
    assert "as a PDF" not in text
    assert "for the server's limit" in receipt.answer


def test_a_mail_that_no_size_makes_fit_is_dead_at_once_with_both_numbers(sqlite_engine: Engine, tmp_path: Path) -> None:
    with mailbox(data_size_limit=300) as box:
        receipt = delivered(sqlite_engine, tmp_path, box, documents.empty())
    assert (receipt.state, box.messages) == ("dead", [])
    assert "takes 300 bytes, and the mail has" in receipt.answer


@pytest.mark.parametrize("reply", ["552 too big", "552 5.3.4 too big", "554 5.2.3 too big", "523 5.3.4 too big"])
@pytest.mark.parametrize("stage", ["MAIL", "DATA"])
def test_every_way_to_say_too_large_is_known(inbox: Mailbox, stage: str, reply: str) -> None:
    inbox.says, inbox.answers = ({}, [reply]) if stage == "DATA" else ({stage: reply}, ["250 kept"])
    assert isinstance(refusal(inbox), MailTooLarge)


# --- what a webhook's server says -------------------------------------------------------------------------------------

PASSING = {408, 409, 421, 423, 425, 429}


def test_each_status_of_a_receiver_is_retried_or_final(receiver: Hook) -> None:
    recipient = parse_recipient(receiver.url)
    for status in [*range(300, 309), *range(400, 432), 451, *range(500, 512), 599]:
        receiver.answers = [(status, {"location": "/"})]
        with pytest.raises(DeliveryFailed) as caught:
            post_body(recipient, b"{}", {}, allow_private_addresses=True, timeout_s=30, now=NOW)
        assert caught.value.permanent is (400 <= status < 500 and status not in PASSING), status


@pytest.mark.parametrize("url", ["https://a..example/hook", "https://exa\tmple.org/", f"https://{'a' * 64}.example/"])
def test_a_url_that_no_request_can_be_made_of_is_dead_at_once(url: str) -> None:
    with pytest.raises(DeliveryFailed) as caught:
        post_body(Recipient("webhook", "shown", url), b"", {}, allow_private_addresses=False, timeout_s=30, now=NOW)
    assert caught.value.permanent
    assert "delivery.recipients" in caught.value.answer


# --- what this side does ----------------------------------------------------------------------------------------------


def _invalid() -> Exception:
    try:
        Environment.model_validate({"smtp_port": "none"})
    except ValidationError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (UnicodeEncodeError("ascii", "ü", 0, 1, "no"), DeliveryState.DEAD),
        (_invalid(), DeliveryState.DEAD),
        (KeyError("x"), DeliveryState.DEAD),
        (TypeError("x"), DeliveryState.DEAD),
        (ZeroDivisionError(), DeliveryState.DEAD),
        (OSError(28, "No space left on device"), DeliveryState.QUEUED),
        (MemoryError(), DeliveryState.QUEUED),
        (OperationalError("SELECT", {}, Exception("away")), DeliveryState.QUEUED),
        (RuntimeError("can't start new thread"), DeliveryState.QUEUED),
    ],
)
def test_a_defect_of_the_content_is_dead_at_once_and_a_want_of_the_machine_is_not(
    sqlite_engine: Engine, tmp_path: Path, error: Exception, state: DeliveryState
) -> None:
    def made() -> OutgoingMessage:
        raise error

    ctx = context_of(sqlite_engine, tmp_path, "mailto:ops@example.org")
    result = Sender(ctx, DEFAULT_RETRY_POLICY, lambda: NOW).send(Recipient(EMAIL, "ops@example.org"), made)
    assert result.state is state
    assert type(error).__name__ in result.answer
