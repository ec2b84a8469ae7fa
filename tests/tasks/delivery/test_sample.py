"""`routewatch deliveries test` sends a marked test message to the given address and prints the response."""

from __future__ import annotations

import json
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
import typer
from standardwebhooks.webhooks import Webhook

from deployments.cli.config_and_deliveries import deliveries_sample, deliveries_test
from deployments.cli.doctor_commands import test_delivery as former_command
from models.errors import UsageError
from tests.support.commands import call, fault
from tests.support.contexts import SECRET
from tests.support.servers import HOST, LOGIN, Hook, Mailbox, mailbox


@pytest.fixture(autouse=True)
def _ctx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that name no recipient, and no database."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)


def environment(home: Path, port: int = 9, **delivery: Any) -> dict[str, str]:
    settings = home / "settings.json"
    settings.write_text(json.dumps({"delivery": {"allowPrivateAddresses": True} | delivery}))
    return {
        "ROUTEWATCH_HOME": str(home), "ROUTEWATCH_SETTINGS": str(settings), "ROUTEWATCH_SMTP_HOST": HOST,
        "ROUTEWATCH_SMTP_PORT": str(port), "ROUTEWATCH_SMTP_SECURITY": "none",
        "ROUTEWATCH_MAIL_FROM": "Routewatch <routewatch@example.org>", "ROUTEWATCH_WEBHOOK_SECRET": SECRET,
    }  # fmt: skip


def tried(target: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Return the exit status and the printed line."""
    with pytest.raises(typer.Exit) as caught:
        deliveries_test([target])
    (line,) = capsys.readouterr().out.splitlines()
    return caught.value.exit_code, line


def test_a_mail_arrives_marked_as_a_test_message_without_a_database(tmp_path: Path, inbox: Mailbox) -> None:
    done = call(tmp_path, "deliveries", "test", "ops@example.org", env=environment(tmp_path, inbox.port))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "email to ops@example.org: sent (250 kept)\n"
    ((to, content),) = inbox.messages
    mail = message_from_bytes(content, policy=default)
    assert (to, mail["To"], mail["From"]) == (
        "ops@example.org",
        "ops@example.org",
        "Routewatch <routewatch@example.org>",
    )
    assert "This is a sample" in mail["Subject"]
    assert not (tmp_path / "routewatch.db").exists()


def test_a_webhook_arrives_signed_each_time_with_another_id(receiver: Hook, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert tried(receiver.url, capsys) == (0, f"webhook to {receiver.url}: sent (204 No Content)")
    for headers, body in receiver.requests:
        assert Webhook(SECRET).verify(body, headers)["type"] == "sample"
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 2


def test_a_chat_gets_its_own_format_and_its_address_is_not_printed(
    receiver: Hook, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"http://{HOST}:{receiver.port}/services/planted-token"
    monkeypatch.setenv("OPS_CHAT", address)
    for target in (f"slack+{address}", "slack+secret:OPS_CHAT"):
        status, line = tried(target, capsys)
        assert (status, "planted" in line) == (0, False)
        assert line.startswith("slack to ")
    assert all("blocks" in json.loads(body) for _, body in receiver.requests)


def test_the_response_is_printed_where_the_message_does_not_arrive(
    tmp_path: Path, inbox: Mailbox, receiver: Hook, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTEWATCH_SMTP_PORT", str(inbox.port))
    inbox.refuses = {"gone@example.org"}
    receiver.answers = [(410, {}), (503, {}), (308, {"location": receiver.url})]
    assert tried("mailto:gone@example.org", capsys) == (
        1, "email to gone@example.org: refused (550 no such mailbox)",
    )  # fmt: skip
    inbox.answers = ["hang up"]
    assert "perhaps sent" in tried("ops@example.org", capsys)[1]
    reported = [tried(receiver.url, capsys) for _ in range(3)]
    assert [status for status, _ in reported] == [1, 1, 1]
    assert reported[0][1] == f"webhook to {receiver.url}: refused (410 Gone)"
    assert "not accepted for now (503 Service Unavailable)" in reported[1][1]
    assert "308" in reported[2][1]


def test_a_server_that_cannot_be_trusted_or_wants_a_login_gets_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, unknown_issuer: Any
) -> None:
    monkeypatch.setenv("ROUTEWATCH_SMTP_SECURITY", "starttls")
    with mailbox(tls_context=unknown_issuer) as box:
        monkeypatch.setenv("ROUTEWATCH_SMTP_PORT", str(box.port))
        status, line = tried("ops@example.org", capsys)
        assert (status, "is not trusted" in line, box.messages) == (1, True, [])


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_refused_login_is_reported_without_the_password(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with mailbox(**LOGIN) as box:
        for name, value in (("PORT", str(box.port)), ("USERNAME", "ops"), ("PASSWORD", "planted-password")):
            monkeypatch.setenv(f"ROUTEWATCH_SMTP_{name}", value)
        status, line = tried("ops@example.org", capsys)
    assert (status, "refused the login (535)" in line, "planted" in line) == (1, True, False)


def test_the_rules_for_addresses_and_signing_hold(
    tmp_path: Path, receiver: Hook, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROUTEWATCH_WEBHOOK_SECRET")
    assert "nothing is sent unsigned" in tried(receiver.url, capsys)[1]
    monkeypatch.setenv("ROUTEWATCH_WEBHOOK_SECRET", SECRET)
    environment(tmp_path, allowPrivateAddresses=False)
    assert "which is not public" in tried(f"https://{HOST}:{receiver.port}/hook", capsys)[1]
    assert receiver.requests == []


def test_in_the_dry_run_it_is_written_to_a_file_and_the_output_says_so(
    tmp_path: Path, inbox: Mailbox, capsys: pytest.CaptureFixture[str]
) -> None:
    environment(tmp_path, inbox.port, mode="files")
    status, line = tried("ops@example.org", capsys)
    (written,) = (tmp_path / "outbox").iterdir()
    assert (status, inbox.messages) == (0, [])
    assert line.endswith(f"sent (written to {written})")
    assert "This is a sample" in written.read_text()


@pytest.mark.parametrize("target", ["ftp://example.org/planted", "a@b@c", "https://", "https://example.org:planted/x"])
def test_what_is_no_address_is_refused_as_a_wrong_call(target: str) -> None:
    with pytest.raises(UsageError, match="cannot send there") as caught:
        deliveries_test([target])
    assert "deliveries test NAME" in str(caught.value)
    assert "planted" not in str(caught.value)


def test_the_wrong_call_is_one_line(tmp_path: Path) -> None:
    assert "cannot send there" in fault(tmp_path, "deliveries", "test", "ftp://ops", status=2)


def test_a_name_and_an_address_may_be_mixed(tmp_path: Path, inbox: Mailbox, receiver: Hook) -> None:
    env = environment(tmp_path, inbox.port, recipients={"ops": ["mailto:ops@example.org"]})
    assert call(tmp_path, "init", env=env).returncode == 0
    done = call(tmp_path, "deliveries", "test", "ops", receiver.url, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"webhook to {receiver.url}: sent (204 No Content)", "email to ops@example.org: sent (250 kept)",
    ]  # fmt: skip
    assert (len(inbox.messages), len(receiver.requests)) == (1, 1)


def test_the_former_commands_do_the_same_and_say_what_replaces_them(
    receiver: Hook, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as caught:
        former_command(receiver.url)
    out, err = capsys.readouterr()
    assert (caught.value.exit_code, out) == (0, f"webhook to {receiver.url}: sent (204 No Content)\n")
    assert (
        err
        == "`test-delivery` is deprecated and will be removed in the next release: use `routewatch deliveries test`\n"
    )
    with pytest.raises(UsageError, match="no address is set for nobody"):
        deliveries_sample(["nobody"])
    assert "use `routewatch deliveries test`" in capsys.readouterr().err
