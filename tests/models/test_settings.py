"""Settings files: the product document's blocks unchanged, and every error at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.environment import load_environment
from models.errors import SettingsError
from models.settings import Settings, load_settings, parse_settings

PERFORMANCE_METRICS = {
    "responseTime": {"target": 2000, "warning": 3000, "critical": 5000, "unit": "milliseconds"},
    "selectionAccuracy": {"target": 0.95, "warning": 0.90, "critical": 0.85, "unit": "ratio"},
    "cacheHitRate": {"target": 0.90, "warning": 0.80, "critical": 0.70, "unit": "ratio"},
    "costEfficiency": {"target": 0.80, "warning": 0.70, "critical": 0.60, "unit": "ratio"},
    "errorRate": {"target": 0.02, "warning": 0.05, "critical": 0.10, "unit": "ratio"},
}
MONITORING = {
    "enabled": True,
    "updateInterval": 5000,
    "retentionPeriod": 2592000000,
    "aggregationLevels": ["minute", "hour", "day", "week"],
    "alerting": {"enabled": True, "channels": ["console", "webhook", "dashboard"], "thresholds": "auto"},
    "dashboard": {
        "enabled": True,
        "refreshRate": 10000,
        "charts": ["timeline", "distribution", "heatmap", "comparison"],
    },
}
REPORTING = {
    "schedules": {
        "hourly": {"enabled": True, "recipients": ["dashboard"], "metrics": ["responseTime", "errorRate", "cost"]},
        "daily": {"enabled": True, "recipients": ["email", "webhook"], "metrics": ["all"], "format": "summary"},
        "weekly": {
            "enabled": True,
            "recipients": ["management"],
            "metrics": ["trends", "optimization"],
            "format": "detailed",
        },
    },
    "customReports": {
        "enabled": True,
        "templates": ["performance", "cost", "usage", "optimization"],
        "exportFormats": ["json", "csv", "pdf"],
    },
}
DOCUMENT = {"performanceMetrics": PERFORMANCE_METRICS, "monitoring": MONITORING, "reporting": REPORTING}


@pytest.mark.parametrize("block", DOCUMENT)
def test_the_documents_blocks_are_accepted_as_they_stand(block: str) -> None:
    """Each JSON block of the product document is a settings file of its own, and equals the defaults."""
    assert parse_settings({block: DOCUMENT[block]}, "the document") == Settings()


def test_the_designs_example_is_accepted() -> None:
    """Zone, budget, optimizer and delivery stand beside the document's blocks."""
    settings = parse_settings(
        {
            "timezone": "Asia/Shanghai",
            "budget": {"monthlyUsd": 5000},
            "optimizer": {"mode": "auto"},
            "delivery": {
                "mode": "send",
                "recipients": {
                    "email": ["mailto:ops@example.org"],
                    "webhook": ["https://example.org/hook"],
                    "management": ["mailto:head@example.org"],
                },
            },
        },
        "the design",
    )
    assert settings.budget.monthly_usd == 5000


def test_all_errors_are_reported_at_once_with_their_paths() -> None:
    """All errors of a settings file are reported in one run."""
    wrong: dict[str, Any] = {
        "timezone": "Mars/Olympus",
        "budget": {"monthlyUsd": -1},
        "performanceMetrics": {"responseTime": {"target": 9000, "warning": 3000, "critical": 5000}},
        "delivery": {"recipients": {"email": ["ops@example.org"]}},
        "colour": "blue",
    }
    with pytest.raises(SettingsError) as caught:
        parse_settings(wrong, "settings.json")
    assert [fault.path for fault in caught.value.faults] == [
        "timezone",
        "performanceMetrics.responseTime",
        "budget.monthlyUsd",
        "delivery.recipients",
        "colour",
    ]
    assert "5 faults" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"timezone": "UTC", "timezone": "UTC"}', "occurs twice"),
        ("[]", "valid dictionary"),
        ('{"budget": {"monthlyUsd": NaN}}', "finite"),
    ],
    ids=["broken", "deep", "twice", "a list", "not a number"],
)
def test_a_broken_file_is_reported_in_one_error(tmp_path: Path, content: str, problem: str) -> None:
    """A file that is not a settings file is refused with its name and the error."""
    path = tmp_path / "settings.json"
    path.write_text(content)
    with pytest.raises(SettingsError, match=problem) as caught:
        load_settings(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    """A missing file is not read as an empty one."""
    with pytest.raises(SettingsError, match="No such file"):
        load_settings(tmp_path / "none.json")


def test_environment_faults_name_the_variable_and_hide_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong variable is reported by name; a database URL, which may contain a password, is not repeated."""
    monkeypatch.setenv("ROUTEWATCH_SMTP_PORT", "many")
    with pytest.raises(SettingsError, match="ROUTEWATCH_SMTP_PORT"):
        load_environment()
    monkeypatch.delenv("ROUTEWATCH_SMTP_PORT")
    monkeypatch.setenv("ROUTEWATCH_DATABASE_URL", "no url: hunter2")
    with pytest.raises(SettingsError, match="ROUTEWATCH_DATABASE_URL") as caught:
        load_environment()
    assert "hunter2" not in str(caught.value)


def test_a_settings_file_with_a_byte_order_mark_is_read_and_one_in_utf_16_named(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"timezone": "Europe/Berlin"}', encoding="utf-8-sig")
    assert load_settings(path).timezone == "Europe/Berlin"
    path.write_text('{"timezone": "Europe/Berlin"}', encoding="utf-16")
    with pytest.raises(SettingsError, match="it is encoded in UTF-16, expected UTF-8"):
        load_settings(path)
