"""Secrets are hidden by value: a planted one of each kind is in no output, log or traceback, however it is spelled."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from deployments import log_config
from models.recipient import parse_recipient
from models.redaction import hide, known_secrets, remember, remember_address, secrets_of
from routewatch.database_faults import first_line, shown
from tests.support.commands import call, call_process

PLANTED = "pl4nted/é+s@cret:x"
WRITTEN = quote(PLANTED, safe="")

KINDS = {
    "password in a URL": ("ROUTEWATCH_DATABASE_URL", f"postgresql://ops:{WRITTEN}@127.0.0.1:9/x"),
    "password as an option": ("ROUTEWATCH_DATABASE_URL", f"postgresql://ops@127.0.0.1:9/x?password={WRITTEN}"),
    "password of a certificate": ("ROUTEWATCH_DATABASE_URL", f"postgresql://ops@127.0.0.1:9/x?sslpassword={WRITTEN}"),
    "Prefect's database": ("PREFECT_SERVER_DATABASE_CONNECTION_URL", f"postgresql+asyncpg://ops:{WRITTEN}@db/prefect"),
    "Prefect's database, formerly": ("PREFECT_API_DATABASE_CONNECTION_URL", f"postgresql+asyncpg://o:{WRITTEN}@d/p"),
    "Prefect's login": ("PREFECT_SERVER_API_AUTH_STRING", f"admin:{PLANTED}"),
    "API key": ("PREFECT_API_KEY", PLANTED),
    "mail password": ("ROUTEWATCH_SMTP_PASSWORD", PLANTED),
    "password, its variable in small letters": ("routewatch_smtp_password", PLANTED),
    "webhook secret": ("ROUTEWATCH_WEBHOOK_SECRET", f"whsec_{PLANTED}"),
    "source key": ("LANGFUSE_SECRET_KEY", PLANTED),
    "variable of a source": ("MY_GATEWAY", f"https://reader:{WRITTEN}@gateway.example/api"),
    "libpq's password": ("PGPASSWORD", PLANTED),
    "access token": ("ROUTEWATCH_TOKENS", "ada:admin:pl4nted-access-token-of-ada"),
}  # fmt: skip
SPELLINGS = {PLANTED, WRITTEN, quote(PLANTED), quote_plus(PLANTED), json.dumps(PLANTED)[1:-1], repr(PLANTED)[1:-1]}


def planted_in(text: str) -> list[str]:
    spelled = {*SPELLINGS, "pl4nted", base64.b64encode(f"admin:{PLANTED}".encode()).decode()}
    return sorted(word for word in spelled if word in text)


@pytest.mark.parametrize(("name", "value"), KINDS.values(), ids=KINDS)
def test_no_spelling_of_a_secret_of_the_environment_is_shown(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    planted = "pl4nted-access-token-of-ada" if "TOKENS" in name else PLANTED
    spelled = SPELLINGS if planted == PLANTED else {planted}
    for word in spelled:
        text = f'GET https://u:{word}@h/?k={word} failed, {{"password": "{word}"}}'
        assert planted_in(hide(text)) == []


@pytest.mark.parametrize("name", ["password in a URL", "password as an option", "password of a certificate"])
def test_the_command_line_and_its_doctor_show_no_password_of_the_database(tmp_path: Path, name: str) -> None:
    variable, value = KINDS[name]
    for arguments in (("init",), ("doctor",), ("deliveries", "list")):
        done = call(tmp_path, *arguments, env={variable: value})
        assert done.returncode == 1
        assert planted_in(done.stdout + done.stderr) == []
        assert "127.0.0.1:9" in done.stdout + done.stderr


def test_an_address_that_is_written_wrongly_shows_no_part_of_its_password(tmp_path: Path) -> None:
    wrong = (
        "postgresql://ops:pl4nted@127.0.0.1:port/x",
        "postgresql://ops:pl4nted%ZZ@127.0.0.1:9/x",
        "postgresql://ops@127.0.0.1:9/x?pasword=pl4nted",
        "postgresql://ops:pl4nted@[::1/x",
        "pl4nted",
    )
    for address in wrong:
        done = call(tmp_path, "init", env={"ROUTEWATCH_DATABASE_URL": address})
        assert (done.returncode in (1, 2), planted_in(done.stdout + done.stderr)) == (True, [])


def test_a_traceback_shows_no_secret(tmp_path: Path) -> None:
    """It is asked for by ROUTEWATCH_DEBUG, and a person pastes it into a report of a defect."""
    (tmp_path / "settings.json").mkdir()
    environment = {
        "ROUTEWATCH_DEBUG": "1", "ROUTEWATCH_SETTINGS": f"{tmp_path}/settings.json",
        "MY_PASSWORD": str(tmp_path / "settings.json"),
    }  # fmt: skip
    done = call_process(tmp_path, "doctor", env=environment)
    assert str(tmp_path / "settings.json") not in done.stdout + done.stderr


def test_a_log_record_is_without_secrets_for_the_handlers_of_others_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for the one that sends a run's log to Prefect's server."""
    monkeypatch.setenv("PGPASSWORD", PLANTED)
    before = logging.getLogRecordFactory()
    log_config.hide_secrets()
    out = io.StringIO()
    other = logging.getLogger("of-another-library")
    handler = logging.StreamHandler(out)
    other.addHandler(handler)
    other.error("with %s and %r", PLANTED, {"password": PLANTED}, exc_info=ValueError(PLANTED))
    other.removeHandler(handler)
    logging.setLogRecordFactory(before)
    assert planted_in(out.getvalue()) == []
    assert "ValueError: …" in out.getvalue()


def test_what_stands_in_the_settings_or_a_block_is_hidden_once_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    remember_address("https://pk-lf-1:pl4nted-source-key@langfuse.example")
    remember("pl4nted-block")
    parse_recipient("https://hooks.slack.com/services/T0/B0/pl4nted-chat-token")
    parse_recipient("teams+secret:PL4N_TEAMS")
    monkeypatch.setenv("PL4N_TEAMS", "https://x.logic.azure.com/workflows/9/triggers?sig=pl4nted-signature")
    said = (
        "POST /services/T0/B0/pl4nted-chat-token HTTP/1.1, pl4nted-block, pl4nted-source-key, sig=pl4nted-signature, "
        "/workflows/9/triggers?sig=pl4nted-signature"
    )
    assert planted_in(hide(said)) == []


@given(st.text(min_size=4, max_size=40).filter(lambda word: word.strip() == word and "\x00" not in word))
def test_any_password_of_a_url_is_hidden_in_the_errors_of_its_database(password: str) -> None:
    url = make_url("postgresql://ops@h/x").set(password=password)
    option = make_url("postgresql://ops@h/x").set(query={"password": password})
    for it in (url, option):
        assert password not in first_line(f"bad {password}", it) or password in "bad ***"
        assert quote(password, safe="") not in shown(it).removeprefix("postgresql://ops").replace("***", "")


def test_common_words_and_short_ones_are_left_readable() -> None:
    """A password that everybody's output contains is no secret, and would make every line unreadable."""
    found = secrets_of({"ROUTEWATCH_DATABASE_URL": "postgresql://routewatch:routewatch@h/x", "PGPASSWORD": "abc"})
    assert found == ()


def test_what_is_hidden_is_looked_up_anew_when_the_environment_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PLANTED not in known_secrets()
    monkeypatch.setenv("PGPASSWORD", PLANTED)
    assert PLANTED in known_secrets()
    assert os.environ["PGPASSWORD"] == PLANTED
