"""Connections are encrypted, go only where they may, and end, whatever the other side does."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event
from time import monotonic
from typing import Any

import pytest
from pydantic import SecretStr

from models.errors import DeliveryFailed, SettingsError
from models.recipient import parse_recipient
from models.settings import parse_settings
from tasks.delivery.channels.http import LARGEST_RESPONSE_BYTES, is_public, post_body
from tasks.delivery.channels.smtp import MailServer, send_mail
from tests.support.servers import HOST, LOGIN, Hook, hook, mailbox, serving
from tests.support.waiting import slowness

NOW = datetime(2026, 9, 8, 6, tzinfo=UTC)
AMPLE_S = 120.0
"""Time for what does end, on a busy machine too."""
LIMIT_S = 0.6
"""Time for what never ends on its own."""


def posted(url: str, body: bytes = b"{}", *, private: bool = True, timeout_s: float = AMPLE_S) -> str:
    recipient = parse_recipient(url)
    return post_body(recipient, body, {}, allow_private_addresses=private, timeout_s=timeout_s, now=NOW)


def dribble(line: socket.socket, over: Event) -> None:
    """Sends a byte every tenth of a second: never late, and never done."""
    while not over.wait(0.1):
        line.sendall(b"2")


def endless_head(line: socket.socket, over: Event) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\n")
    while not over.is_set():
        line.sendall(b"x: " + b"y" * 10_000 + b"\r\n")


def endless_body(line: socket.socket, over: Event) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not over.is_set():
        line.sendall(b"y" * 10_000)


# --- allowed destinations ---------------------------------------------------------------------------------------------

PRIVATE = (
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.1", "100.64.0.1", "198.18.0.1",
    "192.0.2.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fc00::1", "fd12::1", "fe80::1",
    "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::", "2001:db8::1", "fec0::1",
)  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_of_the_open_internet_is_known_as_such(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::808:808"])
def test_an_address_of_the_open_internet_is_known_as_such(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "2130706433"]
)
def test_an_internal_address_is_refused_however_it_is_spelled_and_is_not_contacted(host: str) -> None:
    knocked = Event()
    with (
        serving(lambda _line, _over: knocked.set()) as port,
        pytest.raises(DeliveryFailed, match="not public") as caught,
    ):
        posted(f"https://{host}:{port}/hook", private=False)
    assert caught.value.permanent
    assert not knocked.is_set()


def test_a_name_of_the_open_internet_that_leads_within_is_refused(
    receiver: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where only one of its addresses does: the next attempt might use that one."""
    real = socket.getaddrinfo

    def resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "rebind.example.org":
            return real(host, *args, **kwargs)
        return [
            *real("8.8.8.8", receiver.port, type=socket.SOCK_STREAM),
            *real(HOST, receiver.port, type=socket.SOCK_STREAM),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(DeliveryFailed, match=r"127\.0\.0\.1, which is not public"):
        posted(f"https://rebind.example.org:{receiver.port}/hook", private=False)
    assert receiver.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receiver: Hook, status: int) -> None:
    with hook() as other:
        for target in ("http://169.254.169.254/latest/meta-data/", other.url):
            receiver.answers = [(status, {"location": target})]
            with pytest.raises(DeliveryFailed, match=str(status)):
                posted(receiver.url)
        assert other.requests == []
    assert len(receiver.requests) == 2


@pytest.mark.parametrize(
    ("url", "private", "fault"),
    [
        ("http://example.org/hook", False, "not encrypted: use https"),
        ("http://10.0.0.1/hook", False, "not encrypted: use https"),
        ("http://8.8.8.8/hook", True, "not encrypted, but public"),
        ("http://10.0.0.1/hook", True, None),
        ("http://hook.internal/hook", True, None),
        ("https://example.org/hook", False, None),
    ],
)
def test_the_settings_refuse_what_would_go_out_unencrypted(url: str, private: bool, fault: str | None) -> None:
    block = {"delivery": {"allowPrivateAddresses": private, "recipients": {"ops": [url]}}}
    if fault is None:
        parse_settings(block, "settings.json")
        return
    with pytest.raises(SettingsError, match=fault):
        parse_settings(block, "settings.json")


def test_a_name_that_turns_out_to_be_public_gets_nothing_unencrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *args, **kwargs: real("8.8.8.8", *args, **kwargs))
    with pytest.raises(DeliveryFailed, match="nothing is sent unencrypted"):
        posted("http://hook.internal/hook")


# --- it ends ----------------------------------------------------------------------------------------------------------


def test_a_body_that_is_too_large_is_not_sent(receiver: Hook) -> None:
    with pytest.raises(DeliveryFailed, match="256,001 bytes") as caught:
        posted(receiver.url, b"x" * (LARGEST_RESPONSE_BYTES + 1))
    assert caught.value.permanent
    assert receiver.requests == []


@pytest.mark.parametrize("serve", [dribble, endless_head])
def test_an_endless_response_is_cut_off_in_time(serve: Callable[[socket.socket, Event], None]) -> None:
    began = monotonic()
    with serving(serve) as port, pytest.raises(DeliveryFailed) as caught:
        posted(f"http://{HOST}:{port}/hook", timeout_s=LIMIT_S)
    assert not caught.value.permanent
    assert monotonic() - began < 10 * LIMIT_S * slowness()


def test_a_body_without_end_is_not_read() -> None:
    with serving(endless_body) as port:
        assert posted(f"http://{HOST}:{port}/hook") == "200 OK"


@pytest.mark.parametrize("security", ["none", "tls", "starttls"])
def test_a_mail_server_that_dribbles_is_cut_off_in_time(security: Any) -> None:
    began = monotonic()
    with serving(dribble) as port, pytest.raises(DeliveryFailed, match="cannot reach") as caught:
        _mailed(port, security, timeout_s=LIMIT_S)
    assert not caught.value.permanent
    assert monotonic() - began < 10 * LIMIT_S * slowness()


@pytest.mark.parametrize(
    ("asked", "wait_s"),
    [("5", 5.0), ("0.5", 0.5), ("-3", 0.0), ("inf", None), ("soon", None),
     ("Tue, 08 Sep 2026 05:00:00 GMT", 0.0), ("Tue, 08 Sep 2026 06:01:00 GMT", 60.0)],
)  # fmt: skip
def test_what_a_receiver_asks_for_is_understood_in_every_form(receiver: Hook, asked: str, wait_s: float | None) -> None:
    receiver.answers = [(429, {"retry-after": asked})]
    with pytest.raises(DeliveryFailed) as caught:
        posted(receiver.url)
    assert caught.value.retry_after_s == wait_s


# --- it is encrypted --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_is_not_handed_to_a_server_that_cannot_prove_who_it_is(
    security: Any, unknown_issuer: ssl.SSLContext
) -> None:
    option = {"tls_context": unknown_issuer} if security == "starttls" else {"ssl_context": unknown_issuer}
    with mailbox(**option) as box, pytest.raises(DeliveryFailed, match="not trusted") as caught:
        _mailed(box.port, security)
    assert not caught.value.permanent
    assert box.messages == []


def test_a_mail_server_that_does_not_offer_tls_gets_nothing_in_the_clear() -> None:
    with mailbox() as box, pytest.raises(DeliveryFailed, match="STARTTLS"):
        _mailed(box.port, "starttls")
    assert box.messages == []


def test_a_webhook_is_not_posted_to_a_server_that_cannot_prove_who_it_is(unknown_issuer: ssl.SSLContext) -> None:
    heard = Event()

    def serve(line: socket.socket, _over: Event) -> None:
        with unknown_issuer.wrap_socket(line, server_side=True) as safe:
            if safe.recv(1):
                heard.set()

    with serving(serve) as port, pytest.raises(DeliveryFailed, match="CERTIFICATE_VERIFY_FAILED"):
        posted(f"https://{HOST}:{port}/hook")
    assert not heard.is_set()


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_mail_server_that_wants_a_login_is_tried_again_once_it_is_set() -> None:
    message = "530 .*: set ROUTEWATCH_SMTP_USERNAME"
    with mailbox(**LOGIN) as box, pytest.raises(DeliveryFailed, match=message) as caught:
        _mailed(box.port, "none")
    assert not caught.value.permanent


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_login_is_made_and_a_refused_one_is_reported_without_the_servers_text() -> None:
    with mailbox(**LOGIN) as box:
        assert _mailed(box.port, "none", password="right") == "250 kept"
        with pytest.raises(DeliveryFailed) as caught:
            _mailed(box.port, "none", password="wrong")
        assert caught.value.answer.startswith(f"{HOST}:{box.port} refused the login (535)")
        assert not caught.value.permanent
        assert len(box.messages) == 1


def _mailed(port: int, security: Any, timeout_s: float = AMPLE_S, password: str | None = None) -> str:
    username, secret = ("ops", SecretStr(password)) if password else (None, None)
    server = MailServer(HOST, port, security, username, secret, timeout_s)
    return send_mail(b"x", "r@example.org", "a@example.org", server, before_commit=lambda: None)


def test_an_answer_keeps_its_enhanced_status_code() -> None:
    with mailbox() as box:
        box.answers = ["552 5.2.2 mailbox full"]
        with pytest.raises(DeliveryFailed) as caught:
            _mailed(box.port, "none")
    assert (caught.value.answer, caught.value.permanent) == ("552 5.2.2 mailbox full", True)
