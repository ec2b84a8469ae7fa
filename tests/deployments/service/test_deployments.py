"""Prefect's deployments offer what the settings contain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models.errors import UsageError
from models.report_template import Template
from models.settings import parse_settings


def deployments(custom: dict[str, Any]) -> dict[str, Any]:
    from deployments.service.deployments import scheduled_deployments  # noqa: PLC0415 - importing Prefect takes seconds

    return {
        str(it.flow_name): it
        for it in scheduled_deployments(parse_settings({"reporting": {"customReports": custom}}, "test"))
    }


def test_the_form_offers_the_templates_of_the_settings() -> None:
    form = deployments({"templates": ["cost", "usage"]})["custom report"]
    assert form._parameter_openapi_schema.definitions["Template"]["enum"] == ["cost", "usage"]
    assert form.parameters["template"] == "cost"


def test_without_templates_there_is_no_form() -> None:
    assert "custom report" not in deployments({"templates": []})
    assert "custom report" not in deployments({"enabled": False})


def test_a_template_that_is_not_offered_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it is requested outside the form."""
    from flows.custom_report import custom_report  # noqa: PLC0415

    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"reporting": {"customReports": {"templates": ["cost"]}}}))
    monkeypatch.setenv("ROUTEWATCH_SETTINGS", str(settings))
    with pytest.raises(UsageError, match="usage reports are not offered here, only cost"):
        custom_report.fn(Template.USAGE)
