"""Each fault of a webhook's receiver, by a real one that has it, is reported with what to do."""

from __future__ import annotations

import socket
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tasks.delivery.channels import http
from tasks.health.check import CheckResult, CheckState
from tasks.health.runner import checks_of
from tests.support.contexts import SECRET
from tests.support.health import found, of
from tests.support.servers import HOST, Hook, serving


def hook_of(home: Path, url: str, *, private: bool = True, **environment: Any) -> CheckResult:
    context = of(home, {"delivery": {"allowPrivateAddresses": private, "recipients": {"ops": [url]}}}, **environment)
    (name,) = [it.name for it in checks_of(context) if it.name.startswith("webhook ") and it.name != "webhook secret"]
    return found(name, context)


def test_a_receiver_is_reached_and_gets_nothing(tmp_path: Path, receiver: Hook) -> None:
    assert hook_of(tmp_path, receiver.url) == CheckResult(CheckState.OK, "127.0.0.1 answers, not encrypted")
    assert receiver.requests == []


def test_a_private_address_is_refused_as_it_is_when_sending(tmp_path: Path, receiver: Hook) -> None:
    result = hook_of(tmp_path, f"https://{HOST}:{receiver.port}/hook", private=False)
    assert (result.state, "not public" in result.found) == (CheckState.FAILED, True)
    assert "delivery.allowPrivateAddresses" in result.remedy


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        (f"http://{HOST}:9/hook", "see that the receiver listens there"),
        ("https://nowhere.invalid/hook", "name server"),
        ("secret:NOBODY_SET_THIS", "set the variable"),
    ],
)
def test_an_unreachable_receiver_is_reported(tmp_path: Path, url: str, remedy: str) -> None:
    result = hook_of(tmp_path, url)
    assert (result.state, remedy in result.remedy) == (CheckState.FAILED, True), result


def test_the_secret_part_of_an_address_is_not_shown(tmp_path: Path) -> None:
    result = hook_of(tmp_path, f"https://ops:planted@{HOST}:9/hook?key=planted")
    assert "planted" not in str(result)


def test_a_certificate_is_checked_and_its_expiry_reported(
    tmp_path: Path, unknown_issuer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shake_hands(line: socket.socket, over: Event) -> None:
        with unknown_issuer.wrap_socket(line, server_side=True):
            over.wait()

    with serving(shake_hands) as port:
        url = f"https://{HOST}:{port}/hook"
        distrusted = hook_of(tmp_path, url)
        trusting = httpx.create_ssl_context()
        trusting.check_hostname = False
        trusting.load_verify_locations(cadata=_certificate_of(unknown_issuer))
        monkeypatch.setattr(http, "trusted_context", lambda: trusting)
        result = hook_of(tmp_path, url)
    assert (distrusted.state, "SSL_CERT_FILE" in distrusted.remedy) == (CheckState.FAILED, True)
    assert (result.state, "TLSv1.3, with a certificate until" in result.found) == (CheckState.OK, True)


def _certificate_of(context: Any) -> bytes:
    """Return what a client needs to trust a server with this context."""
    import ssl  # noqa: PLC0415

    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = Thread(target=lambda: context.wrap_socket(theirs, server_side=True).close())
        server.start()
        anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        with anybody.wrap_socket(ours) as line:
            shown = line.getpeercert(binary_form=True)
        server.join()
    assert shown is not None
    return shown


@pytest.mark.parametrize("secret", [None, "whsec_!"])
def test_a_missing_signing_secret_is_reported(tmp_path: Path, secret: str | None) -> None:
    settings = {"delivery": {"recipients": {"ops": ["https://example.org/hook"]}}}
    result = found("webhook secret", of(tmp_path, settings, webhook_secret=secret and SecretStr(secret)))
    assert (result.state, "ROUTEWATCH_WEBHOOK_SECRET" in result.remedy) == (CheckState.FAILED, True)
    signing = of(tmp_path, settings, webhook_secret=SecretStr(SECRET))
    assert found("webhook secret", signing).state is CheckState.OK
