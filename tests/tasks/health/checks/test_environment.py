"""Faults of the environment and of the settings, provoked for real, are reported with what to do."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from models.environment import Environment
from models.errors import SettingsError
from models.settings import parse_settings
from tasks.health.check import CheckResult, CheckState
from tasks.health.context import CheckContext, current_context
from tasks.health.runner import checks_of, run_checks
from tests.support.contexts import NOW
from tests.support.health import found, of
from tests.support.page_server import TOKENS


def test_environment_errors_are_reported_and_dependent_checks_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTEWATCH_SMTP_PORT", "smtp")
    monkeypatch.setenv("ROUTEWATCH_TOKENS", "ada:everything:planted-token-secret")
    by_name = {it.name: it.result for it in run_checks(checks_of(current_context()))}
    assert by_name["environment"].state is CheckState.FAILED
    assert "ROUTEWATCH_SMTP_PORT" in by_name["environment"].found
    assert "no scopes such as" in by_name["environment"].found
    assert by_name["environment"].remedy.startswith("correct the variables")
    assert {by_name[name].state for name in ("settings", "database", "mail server", "webhooks")} == {CheckState.SKIPPED}
    assert by_name["PDF"].state is CheckState.OK
    assert "planted" not in str(by_name)


def test_an_unknown_variable_is_reported_with_the_one_that_is_perhaps_meant(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ROUTEWATCH_SMTP_HOTS", "mail.example.org")
    monkeypatch.setenv("ROUTEWATCH_OPS_CHAT", "https://hooks.slack.com/services/x")
    known = of(tmp_path, {"delivery": {"recipients": {"ops": ["secret:ROUTEWATCH_OPS_CHAT"]}}})
    result = found("environment", known)
    assert result.state is CheckState.WARNING
    assert result.found.startswith("ROUTEWATCH_SMTP_HOTS (perhaps ROUTEWATCH_SMTP_HOST): no such variable")
    assert "OPS_CHAT" not in result.found


def test_settings_errors_are_reported(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings({"timezone": "Mars/Base"}, "settings.json")
    context = CheckContext(Environment(home=tmp_path), caught.value)
    result = found("settings", context)
    assert (result.state, "Mars/Base" in result.found) == (CheckState.FAILED, True)
    assert "docs/configuration.md" in result.remedy
    assert found("time zone", context) == CheckResult(CheckState.SKIPPED, "the settings have faults")


def test_names_without_an_address_are_reported_with_the_messages_they_would_get(tmp_path: Path) -> None:
    result = found("recipients", of(tmp_path, {"monitoring": {"alerting": {"channels": ["email"]}}}))
    assert result.state is CheckState.WARNING
    assert "email (daily reports, alerts)" in result.found
    assert "delivery.recipients.management" in result.remedy


def test_the_dry_run_is_reported_as_sending_nothing(tmp_path: Path) -> None:
    recipients = {name: ["mailto:a@example.org"] for name in ("email", "webhook", "management")}
    context = of(tmp_path, {"delivery": {"mode": "files", "recipients": recipients}})
    assert "nothing is sent" in found("recipients", context).found
    assert found("mail server", context).state is CheckState.SKIPPED


def test_expired_and_expiring_tokens_are_reported_by_name(tmp_path: Path) -> None:
    soon = NOW.date() + timedelta(days=5)
    assert found("page tokens", of(tmp_path)).found.startswith("none")
    over = found("page tokens", of(tmp_path, tokens=SecretStr(TOKENS)))
    assert (over.state, over.found) == (CheckState.WARNING, "over: former")
    ending = found("page tokens", of(tmp_path, tokens=SecretStr(f"ada:admin:0123456789abcdef:{soon}")))
    assert (ending.state, ending.found) == (CheckState.WARNING, "over within 14 days: ada")
    good = found("page tokens", of(tmp_path, tokens=SecretStr("ada:read+write:0123456789abcdef")))
    assert good == CheckResult(CheckState.OK, "ada (read+write)")
