"""A planted secret appears in nothing that anybody can read."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect

from models.context import AppContext
from models.database import connect, reading
from models.errors import DatabaseUnavailable, SettingsError, SourceUnavailable, UsageError
from models.recipient import parse_recipient
from models.settings import parse_settings
from models.settings.sources import SourceSettings
from models.tables import Delivery, table_of
from routewatch.database import checked_address
from tasks.delivery.worker import deliver_due
from tasks.sources.litellm import LiteLLM
from tasks.sources.sql_reader import with_table
from tests.support.contexts import NOW, SECRET, context_of, enqueue_to_ops
from tests.support.databases import migrated_sqlite
from tests.support.factories import MONDAY, insert_selections, selections
from tests.support.servers import Hook, Mailbox

DELIVERY = table_of(Delivery)

PLANTED = {
    "SMTP password": "planted-smtp-password",
    "webhook secret": SECRET.removeprefix("whsec_"),
    "chat URL": "planted-chat-token",
    "user of a URL": "planted-url-password",
    "named secret": "planted-named-token",
    "database password": "planted-database-password",
}


def every_row(engine: Engine) -> str:
    """All tables as text."""
    with engine.connect() as connection:
        names = inspect(connection).get_table_names()
        return "\n".join(
            str(list(row))
            for name in names
            for row in connection.exec_driver_sql(f'SELECT * FROM "{name}"')  # noqa: S608
        )


def every_file(folder: Path) -> str:
    """Return all files but databases and settings, as text; PDFs and archives are compressed, which hides a secret."""
    kept = (it for it in folder.rglob("*") if it.is_file() and not it.name.startswith(("routewatch.db", "settings")))
    return "\n".join(it.read_bytes().decode(errors="replace") for it in kept)


def planted_in(text: str) -> list[str]:
    return [name for name, secret in PLANTED.items() if secret in text]


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_secret_is_in_no_log_artifact_report_error_table_or_outbox(
    tmp_path: Path, inbox: Mailbox, receiver: Hook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All of them are in use, and their uses fail: that is when they would be shown."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - importing Prefect takes seconds
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId  # noqa: PLC0415

    from flows.daily import daily  # noqa: PLC0415
    from models.context import load_context  # noqa: PLC0415

    receiver.answers = [(500, {}), (410, {})]
    at = f"127.0.0.1:{receiver.port}"
    entries = [
        f"slack+http://{at}/services/T0/B0/planted-chat-token",
        f"http://user:planted-url-password@{at}/hook",
        f"http://{at}/plain",
        "teams+secret:TEAMS_URL",
        "mailto:ops@example.org",
    ]
    block = {"allowPrivateAddresses": True, "recipients": {"email": entries, "webhook": entries}}
    (tmp_path / "settings.json").write_text(json.dumps({"delivery": block}))
    environment = {
        "ROUTEWATCH_HOME": tmp_path, "ROUTEWATCH_SETTINGS": tmp_path / "settings.json",
        "ROUTEWATCH_SMTP_HOST": "127.0.0.1", "ROUTEWATCH_SMTP_PORT": inbox.port, "ROUTEWATCH_SMTP_SECURITY": "none",
        "ROUTEWATCH_SMTP_USERNAME": "ops", "ROUTEWATCH_SMTP_PASSWORD": "planted-smtp-password",
        "ROUTEWATCH_MAIL_FROM": "r@example.org", "ROUTEWATCH_WEBHOOK_SECRET": SECRET,
        "TEAMS_URL": f"http://{at}/planted-named-token",
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    migrated_sqlite(tmp_path)
    ctx = load_context()
    insert_selections(ctx.engine, selections(*({"timestamp": MONDAY + timedelta(hours=n)} for n in range(24))))
    with caplog.at_level("DEBUG"):
        outcome = daily(as_of=MONDAY + timedelta(days=1, hours=6, minutes=15))
    with get_client(sync_client=True) as client:
        # The server keeps the logs of other tests' runs.
        of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id for run in client.read_flow_runs()]))
        shown = [
            it.model_dump()
            for part in (
                client.read_logs(of_run),
                client.read_artifacts(),
                client.read_flow_runs(),
                client.read_task_runs(),
            )
            for it in part
        ]
    assert {receipt.state for receipt in outcome.receipts} >= {"queued", "dead"}
    assert len(receiver.requests) >= 4
    # The dead letters are logged in the run's own log.
    assert [it.name for it in caplog.records if "given up" in it.getMessage()][:1] == ["prefect.task_runs"]
    assert planted_in(caplog.text) == []
    assert len(shown) > 10
    assert planted_in(str(shown)) == []
    assert planted_in(every_row(ctx.engine)) == []
    assert planted_in(every_file(tmp_path)) == []
    assert planted_in(f"{outcome!r} {ctx!r} {ctx.settings.delivery.recipients_of('email')!r}") == []


def test_a_wrong_database_address_is_reported_without_its_password() -> None:
    with (
        pytest.raises(DatabaseUnavailable) as caught,
        reading(connect("postgresql://ops:planted-database-password@127.0.0.1:9/x")),
    ):
        pass
    assert planted_in(str(caught.value)) == []


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ops:planted-database-password/x",
        "postgresql://ops@db:planted-database-password/x",
        "postgresql://ops:planted-database-password@[::1/x",
        "planted-database-password",
    ],
)
def test_what_is_no_database_address_is_refused_without_showing_it(address: str) -> None:
    """A password comes to stand in the place of the port where the host is forgotten."""
    refused = (DatabaseUnavailable, SettingsError, SourceUnavailable, UsageError)
    settings = SourceSettings(location=address)
    for use in (connect, checked_address, partial(LiteLLM, settings=settings), with_table):
        with pytest.raises(refused) as caught:
            use(address)
        assert planted_in(f"{caught.value!r} {caught.value} {caught.value.__cause__}") == []


@pytest.mark.parametrize(
    "recipients",
    [
        {"ops": ["https://hooks.slack.com:x/services/planted-chat-token"]},
        {"ops": ["http://example.org/hook?token=planted-chat-token"]},
        {"ops": ["ftp://u:planted-chat-token@example.org"]},
        {"ops": "https://hooks.slack.com/services/planted-chat-token"},
        ["https://hooks.slack.com/services/planted-chat-token"],
        {"ops": [["https://hooks.slack.com/services/planted-chat-token"]]},
    ],
)
def test_a_settings_error_is_reported_without_the_secret_in_it(recipients: object) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings({"delivery": {"recipients": recipients}}, "settings.json")
    assert planted_in(str(caught.value)) == []


def test_a_recipient_that_is_a_secrets_name_is_stored_as_that_name(
    sqlite_engine: Engine, tmp_path: Path, receiver: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = context_of(sqlite_engine, tmp_path, "slack+secret:OPS_CHAT")
    enqueue_to_ops(ctx)
    (missing,) = deliver_due(ctx, now=NOW)
    monkeypatch.setenv("OPS_CHAT", receiver.url)
    (sent,) = deliver_due(ctx, now=NOW + timedelta(hours=1))
    assert (missing.state, sent.state, sent.recipient) == ("queued", "sent", "slack+secret:OPS_CHAT")
    assert "OPS_CHAT is neither a variable" in missing.answer
    assert "blocks" in json.loads(receiver.requests[0][1])


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_secret_may_be_a_block_of_prefect(sqlite_engine: Engine, tmp_path: Path, receiver: Hook) -> None:
    from prefect.blocks.system import Secret  # noqa: PLC0415

    Secret(value=receiver.url).save("ops-chat")
    Secret(value=SECRET).save("routewatch-webhook-secret")
    ctx = context_of(sqlite_engine, tmp_path, "secret:ops-chat")
    bare = AppContext(ctx.environment.model_copy(update={"webhook_secret": None}), ctx.settings)
    enqueue_to_ops(bare)
    (receipt,) = deliver_due(bare, now=NOW)
    assert receipt.answer == "204 No Content"
    assert receiver.requests[0][0]["webhook-signature"].startswith("v1,")


def test_who_is_no_longer_in_the_settings_gets_nothing_more(
    sqlite_engine: Engine, tmp_path: Path, inbox: Mailbox
) -> None:
    enqueue_to_ops(context_of(sqlite_engine, tmp_path, "mailto:a@example.org", box=inbox))
    (receipt,) = deliver_due(context_of(sqlite_engine, tmp_path, box=inbox), now=NOW)
    assert (receipt.state, inbox.messages) == ("dead", [])
    assert "no longer in delivery.recipients" in receipt.answer


def test_a_stored_address_shows_no_part_that_could_be_secret() -> None:
    entries = ("https://hooks.slack.com/services/T0/B0/x", "https://u:p@h.example/x", "https://h.example/x?k=v",
               "https://h.example/0123456789abcdef", "discord+https://h.example/a")  # fmt: skip
    for entry in entries:
        assert re.fullmatch(r"https://[a-z.]+/…#[0-9a-f]{6}", parse_recipient(entry).reference)
