"""Each fault of the mail server, by a real one that has it, is reported with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from tasks.health.check import CheckResult, CheckState
from tasks.health.checks import smtp
from tests.support.contexts import context_of
from tests.support.health import changed, check_context_of, found
from tests.support.servers import LOGIN, Mailbox, mailbox, serving


def mail_of(engine: Engine, home: Path, box: Mailbox, **environment: Any) -> CheckResult:
    return found(
        "mail server",
        check_context_of(changed(context_of(engine, home, "mailto:a@example.org", box=box), **environment)),
    )


def test_a_mail_server_that_would_take_mail_gets_none(sqlite_engine: Engine, tmp_path: Path, inbox: Mailbox) -> None:
    result = mail_of(sqlite_engine, tmp_path, inbox)
    assert result.state is CheckState.OK
    assert result.found.endswith("takes mail from routewatch@example.org, not encrypted, without a login")
    assert inbox.messages == []


@pytest.mark.parametrize(
    ("serve", "security", "told_as"),
    [
        (None, "none", ("cannot reach", "start the server")),
        (lambda line, _over: line.sendall(b"220 here\r\n"), "tls", ("WRONG_VERSION", "SMTP_SECURITY to starttls")),
        (lambda line, _over: line.sendall(b"554 go away\r\n"), "none", ("554 go away", "administrator")),
    ],
)  # fmt: skip
def test_a_mail_server_that_does_not_speak_smtp_is_reported(
    sqlite_engine: Engine, tmp_path: Path, serve: Any, security: str, told_as: tuple[str, str]
) -> None:
    cause, remedy = told_as
    with serving(serve or (lambda line, _over: line.close())) as port:
        at = 9 if serve is None else port
        result = mail_of(sqlite_engine, tmp_path, Mailbox(at), smtp_security=security)
    assert (result.state, cause in result.found, remedy in result.remedy) == (CheckState.FAILED, True, True), result


def test_a_silent_mail_server_is_reported(
    sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "TIMEOUT_S", 1.0)
    with serving(lambda _line, over: over.wait() and None) as port:
        result = mail_of(sqlite_engine, tmp_path, Mailbox(port), smtp_security="starttls")
    assert result.state is CheckState.FAILED
    assert "not done within 1 s" in result.found
    assert "465 is mostly tls" in result.remedy


def test_a_mail_server_without_starttls_is_reported(sqlite_engine: Engine, tmp_path: Path, inbox: Mailbox) -> None:
    result = mail_of(sqlite_engine, tmp_path, inbox, smtp_security="starttls")
    assert (result.state, "STARTTLS" in result.found) == (CheckState.FAILED, True)
    assert "ROUTEWATCH_SMTP_SECURITY to tls" in result.remedy


def test_a_mail_server_with_a_self_signed_certificate_is_reported(
    sqlite_engine: Engine, tmp_path: Path, unknown_issuer: Any
) -> None:
    with mailbox(tls_context=unknown_issuer) as box:
        result = mail_of(sqlite_engine, tmp_path, box, smtp_security="starttls")
    assert (result.state, "not trusted" in result.found) == (CheckState.FAILED, True)
    assert "SSL_CERT_FILE" in result.remedy


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
def test_a_login_is_made_and_its_refusal_reported(
    sqlite_engine: Engine, tmp_path: Path, username: str | None, password: str | None, remedy: str
) -> None:
    with mailbox(**LOGIN) as box:
        secret = None if password is None else SecretStr(password)
        result = mail_of(sqlite_engine, tmp_path, box, smtp_username=username, smtp_password=secret)
    assert result.state is (CheckState.FAILED if remedy else CheckState.OK)
    assert result.remedy.startswith(remedy)
    assert remedy or "logged in" in result.found
