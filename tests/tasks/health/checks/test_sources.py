"""A source that cannot be opened, or that is not pulled, is reported with what to do."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, update

from models.database import writing
from models.settings import parse_settings
from models.tables import PullState, table_of
from tasks.health.check import CheckState
from tasks.health.context import CheckContext
from tests.support.contexts import NOW, context_of
from tests.support.health import found


def test_a_source_that_cannot_be_opened_or_was_not_pulled_is_reported(engine: Engine, tmp_path: Path) -> None:
    def context(**sources: Any) -> CheckContext:
        ctx = context_of(engine, tmp_path)
        settings = parse_settings({"sources": sources}, "test")
        return CheckContext(ctx.environment, settings, clock=lambda: NOW)

    mine = {"kind": "openrouter", "location": str(tmp_path / "activity.csv")}
    assert found("sources", context(mine=mine | {"enabled": False})).state is CheckState.SKIPPED
    unset = found("sources", context(mine=mine, litellm={"location": "$LITELLM_IS_NOWHERE"}))
    assert (unset.state, "the variable LITELLM_IS_NOWHERE is not set" in unset.found) == (CheckState.FAILED, True)
    never = found("sources", context(mine=mine))
    assert (never.state, never.found) == (CheckState.WARNING, "mine was never pulled")
    assert "routewatch pull mine" in never.remedy
    pulled = {"source": "mine", "kind": "openrouter", "pulled_at": NOW - timedelta(hours=1)}
    with writing(engine) as connection:
        connection.execute(table_of(PullState).insert(), pulled)
    assert found("sources", context(mine=mine)).state is CheckState.OK
    with writing(engine) as connection:
        connection.execute(update(table_of(PullState)).values(pulled_at=NOW - timedelta(hours=3)))
    assert found("sources", context(mine=mine)).found == "mine was pulled 180 minutes ago"
