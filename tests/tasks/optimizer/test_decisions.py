"""A person decides in the Prefect UI's form or on the command line, and the reports link there."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from sqlalchemy import Engine

from models.context import load_context
from models.documents import ConfigChangeProposal, Recommendation
from models.errors import UsageError
from models.period import Period
from tasks.optimizer.apply import DecisionContext, apply
from tasks.optimizer.decision_form import NOTHING_PENDING, decision_options, link_to
from tasks.optimizer.queries import history_of, pending
from tasks.optimizer.router_config import read_config, set_by_hand
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.update import update_rollups
from tests.support.commands import call, fault
from tests.support.databases import migrated_sqlite
from tests.support.factories import MONDAY, insert_selections, selections

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
LABEL = "#1 model_selection simple: costly → cheap"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A router with two weeks of traffic, and a pending proposal."""
    monkeypatch.setenv("ROUTEWATCH_HOME", str(tmp_path))
    migrated_sqlite(tmp_path)
    ctx = load_context()
    set_by_hand(ctx.engine, "routing.simple", "costly", by="router", reason="default", now=MONDAY)
    traffic = ({"timestamp": NOW - timedelta(hours=hour), "complexity": "simple"} for hour in range(1, 14 * 24))
    insert_selections(ctx.engine, selections(*traffic))
    update_rollups(ctx.engine, rollup_settings(ctx.settings), now=NOW)
    move = ConfigChangeProposal(key="routing.simple", from_value="costly", to_value="cheap", version=1)
    item = Recommendation(
        type="model_selection", bottleneck="high_cost", description="d", impact="high", effort="low", auto_apply=False,
        complexity="simple", from_model="costly", to_model="cheap", moves=(move,), status="waiting",
    )  # fmt: skip
    apply(ctx.engine, (item,), ctx.settings, DecisionContext(Period(NOW - timedelta(days=1), NOW), NOW, NOW))
    return tmp_path


@pytest.fixture
def engine(home: Path) -> Engine:
    return load_context().engine


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_form_has_what_waits_as_choices_and_its_flow_decides(engine: Engine) -> None:
    """The deployment's schema names the pending ones; once decided, nothing is left to choose."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415

    from deployments.service.deployments import scheduled_deployments  # noqa: PLC0415
    from flows.decide import Decision, decide  # noqa: PLC0415
    from tasks.optimizer.prefect_tasks import update_decision_form  # noqa: PLC0415

    ctx = load_context()
    (form,) = [it for it in scheduled_deployments(ctx.settings, pending(engine)) if it.flow_name == "decide"]
    form.apply()

    def offered() -> Any:
        with get_client(sync_client=True) as client:
            schema = client.read_deployment_by_name("decide/routewatch").parameter_openapi_schema
            return (schema or {})["properties"]["optimization"]["enum"]

    assert offered() == [LABEL]
    links = update_decision_form.fn(ctx)
    assert unquote(links[1]).endswith('/run?parameters={"optimization":"' + LABEL + '"}')
    said = decide(LABEL, Decision.APPROVE, "Anna", "saves money")
    assert said == "Applied #1 (routing.simple = cheap); its effect is monitored from now on"
    assert [(step.to_state, step.by) for step in history_of(engine, 1)[1]][1:] == [
        ("approved", "Anna"),
        ("applied", "Anna"),
    ]
    assert offered() == [NOTHING_PENDING]
    with pytest.raises(UsageError, match="names no optimization: expected one such as #12"):
        decide(NOTHING_PENDING, Decision.APPROVE, "Anna")


def test_links_keep_the_full_choice() -> None:
    """Names with URL characters in them arrive unchanged."""
    link = link_to("http://prefect.example/", "d", "#1 a&b → c?d")
    assert link.startswith("http://prefect.example/deployments/deployment/d/run?parameters=%7B")
    assert json.loads(unquote(link.partition("parameters=")[2])) == {"optimization": "#1 a&b → c?d"}
    assert decision_options(()) == [NOTHING_PENDING]


def test_a_person_decides_on_the_command_line(home: Path, engine: Engine) -> None:
    """Approve, show, revert: each with a name, in one line."""
    reported = call(home, "optimizations", "approve", "1", "--by", "anna", "--note", "saves money")
    assert reported.stdout == "Applied #1 (routing.simple = cheap); its effect is monitored from now on\n"
    story = call(home, "optimizations", "show", "1").stdout
    assert LABEL in story
    assert "anna" in story
    assert call(home, "optimizations", "list").stdout.count("applied") == 1
    again = fault(home, "optimizations", "approve", "1", status=2)
    assert "is applied and cannot become approved" in again
    assert call(home, "optimizations", "revert", "1", "--by", "ben").returncode == 0
    assert read_config(engine)["routing.simple"].value == "costly"


def test_the_kill_switch_is_one_command(home: Path) -> None:
    """Stopped, nothing can be approved; resumed, it can."""
    assert call(home, "optimizations", "stop", "--by", "anna").returncode == 0
    assert "stopped by anna" in fault(home, "optimizations", "approve", "1", status=2)
    assert call(home, "optimizations", "resume").returncode == 0
    assert call(home, "optimizations", "reject", "1").stdout == "Rejected #1\n"


def test_the_preview_changes_nothing(home: Path, engine: Engine) -> None:
    assert call(home, "optimizations", "preview").stdout == "no recommendations\n"
    assert pending(engine) == ((1, LABEL),)
