"""Each fault of the mail server, by a real one that has it, is told with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from tasks.health.check import Finding, State
from tasks.health.checks import smtp
from tests.support.contexts import place_of
from tests.support.health import changed, found, scene_of
from tests.support.servers import LOGIN, Mailbox, mailbox, serving


def mail_of(engine: Engine, home: Path, box: Mailbox, **environment: Any) -> Finding:
    return found(
        "mail server", scene_of(changed(place_of(engine, home, "mailto:a@example.org", box=box), **environment))
    )


def test_a_mail_server_that_would_take_mail_gets_none(sqlite_engine: Engine, tmp_path: Path, inbox: Mailbox) -> None:
    finding = mail_of(sqlite_engine, tmp_path, inbox)
    assert finding.state is State.OK
    assert finding.found.endswith("takes mail from routewatch@example.org, not encrypted, without a login")
    assert inbox.messages == []


@pytest.mark.parametrize(
    ("serve", "security", "told_as"),
    [
        (None, "none", ("cannot reach", "start the server")),
        (lambda line, _over: line.sendall(b"220 here\r\n"), "tls", ("WRONG_VERSION", "SMTP_SECURITY to starttls")),
        (lambda line, _over: line.sendall(b"554 go away\r\n"), "none", ("554 go away", "ask whoever runs")),
    ],
)  # fmt: skip
def test_a_mail_server_that_does_not_answer_as_one_is_told(
    sqlite_engine: Engine, tmp_path: Path, serve: Any, security: str, told_as: tuple[str, str]
) -> None:
    cause, remedy = told_as
    with serving(serve or (lambda line, _over: line.close())) as port:
        at = 9 if serve is None else port
        finding = mail_of(sqlite_engine, tmp_path, Mailbox(at), smtp_security=security)
    assert (finding.state, cause in finding.found, remedy in finding.remedy) == (State.FAILED, True, True), finding


def test_a_mail_server_that_says_nothing_is_told(
    sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "TIMEOUT_S", 1.0)
    with serving(lambda _line, over: over.wait() and None) as port:
        finding = mail_of(sqlite_engine, tmp_path, Mailbox(port), smtp_security="starttls")
    assert finding.state is State.FAILED
    assert "not done within 1 s" in finding.found
    assert "465 is mostly tls" in finding.remedy


def test_a_mail_server_without_starttls_is_told(sqlite_engine: Engine, tmp_path: Path, inbox: Mailbox) -> None:
    finding = mail_of(sqlite_engine, tmp_path, inbox, smtp_security="starttls")
    assert (finding.state, "STARTTLS" in finding.found) == (State.FAILED, True)
    assert "ROUTEWATCH_SMTP_SECURITY to tls" in finding.remedy


def test_a_mail_server_with_a_certificate_of_its_own_is_told(
    sqlite_engine: Engine, tmp_path: Path, unknown_issuer: Any
) -> None:
    with mailbox(tls_context=unknown_issuer) as box:
        finding = mail_of(sqlite_engine, tmp_path, box, smtp_security="starttls")
    assert (finding.state, "not trusted" in finding.found) == (State.FAILED, True)
    assert "SSL_CERT_FILE" in finding.remedy


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize(
    ("username", "password", "remedy"),
    [
        (None, None, "set ROUTEWATCH_SMTP_USERNAME and _PASSWORD"),
        ("ops", None, "set ROUTEWATCH_SMTP_PASSWORD"),
        ("ops", "wrong", "check ROUTEWATCH_SMTP_USERNAME and _PASSWORD"),
        ("ops", "right", ""),
    ],
)
def test_a_login_is_made_and_told_where_it_is_refused(
    sqlite_engine: Engine, tmp_path: Path, username: str | None, password: str | None, remedy: str
) -> None:
    with mailbox(**LOGIN) as box:
        secret = None if password is None else SecretStr(password)
        finding = mail_of(sqlite_engine, tmp_path, box, smtp_username=username, smtp_password=secret)
    assert finding.state is (State.FAILED if remedy else State.OK)
    assert finding.remedy.startswith(remedy)
    assert remedy or "logged in" in finding.found
