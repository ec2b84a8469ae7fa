"""A person looks at rollouts and decides on them, on the command line and in the Prefect UI's form."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from models.context import load_context
from models.errors import UnknownOptimization, UsageError
from tasks.optimizer.decision_form import decision_options
from tasks.optimizer.decisions import decide
from tasks.optimizer.queries import decidable
from tests.support.commands import call, fault
from tests.support.databases import migrated_sqlite
from tests.support.proposals import proposal, propose
from tests.support.rollouts import (
    ANNA,
    CHEAP,
    STARTED_AT,
    let_pass,
    looked_at,
    set_up_router,
    settings_of,
    share_of,
    started,
    steps_taken,
)

SETTINGS = settings_of(approveSteps=True)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A router with a rollout whose step to 50 % waits for approval."""
    monkeypatch.setenv("ROUTEWATCH_HOME", str(tmp_path))
    migrated_sqlite(tmp_path)
    engine = set_up_router(load_context().engine)
    started(engine, SETTINGS)
    looked_at(engine, let_pass(engine, STARTED_AT, 12, CHEAP), SETTINGS)
    return tmp_path


@pytest.fixture
def engine(home: Path) -> Engine:
    return load_context().engine


def test_a_person_reads_and_decides_on_a_rollout_on_the_command_line(home: Path, engine: Engine) -> None:
    listed = call(home, "rollouts", "list").stdout
    assert "#1 model_selection: routing.simple costly → cheap" in listed
    assert "held" in listed
    shown = call(home, "rollouts", "show", "1").stdout
    for words in ("held at 20 % until 2026-10-05", "50 % wait for approval: `routewatch rollouts approve-step 1`",
                  "averageCost", "candidate", "better", "anna"):  # fmt: skip
        assert words in shown, words
    assert "candidate's share" in call(home, "optimizations", "show", "1").stdout
    said = call(home, "rollouts", "approve-step", "1", "--by", "ben", "--note", "looks good")
    assert said.stdout == "#1: cheap gets 50 % of the requests from now on\n"
    assert "a share of 0 % is none" in fault(home, "rollouts", "jump", "1", "0", status=2)
    assert "has no step that waits for approval" in fault(home, "rollouts", "approve-step", "1", status=2)
    assert call(home, "rollouts", "jump", "1", "80", "--by", "ben").returncode == 0
    assert call(home, "rollouts", "hold", "1", "--by", "ben").stdout.startswith("Held #1 at 80 %")
    assert call(home, "rollouts", "resume", "1", "--by", "ben").returncode == 0
    assert call(home, "rollouts", "abort", "1", "--by", "ben").stdout.startswith("Aborted #1")
    assert "is over: its trial is aborted" in fault(home, "rollouts", "hold", "1", status=2)
    assert "optimization 7 does not exist" in fault(home, "rollouts", "show", "7", status=2)
    assert share_of(engine) == 0
    assert [(action, by) for action, _, by in steps_taken(engine, 1)] == [
        ("start", "anna"), ("hold", "routewatch"), ("step", "ben"), ("jump", "ben"), ("hold", "ben"),
        ("resume", "ben"), ("abort", "ben"),
    ]  # fmt: skip


def test_the_form_offers_the_rollouts_under_way_after_the_proposals(engine: Engine) -> None:
    """The same word approves a proposal and a step; a jump needs a share; what does not fit is refused."""
    propose(engine, proposal("routing.complex", "cheap", engine))
    labels = decision_options(decidable(engine))
    assert [label.split(" ")[0] for label in labels] == ["#2", "#1"]
    assert decide(engine, 1, "approve", SETTINGS, ANNA) == "#1: cheap gets 50 % of the requests from now on"
    with pytest.raises(UsageError, match="a jump needs the candidate's share in percent"):
        decide(engine, 1, "jump", SETTINGS, ANNA)
    assert decide(engine, 1, "jump", SETTINGS, ANNA, percent=60) == "#1: cheap gets 60 % of the requests from now on"
    assert decide(engine, 1, "hold", SETTINGS, ANNA).startswith("Held #1 at 60 %")
    assert decide(engine, 1, "resume", SETTINGS, ANNA).startswith("Resumed #1")
    with pytest.raises(UnknownOptimization, match="is not tried by a rollout"):
        decide(engine, 2, "hold", SETTINGS, ANNA)
    with pytest.raises(UnknownOptimization, match="cannot become rejected"):
        decide(engine, 1, "reject", SETTINGS, ANNA)
    assert decide(engine, 1, "abort", SETTINGS, ANNA).startswith("Aborted #1")
    assert decide(engine, 2, "reject", SETTINGS, ANNA) == "Rejected #2"
    assert decidable(engine) == ()
