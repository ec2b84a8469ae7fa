"""A source that cannot be opened, or that nobody pulls, is told with what to do."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, update

from models.database import writing
from models.settings import parse_settings
from models.tables import PullState, table_of
from tasks.health.check import State
from tasks.health.context import Scene
from tests.support.contexts import NOW, place_of
from tests.support.health import found


def test_a_source_that_cannot_be_opened_or_was_not_pulled_is_told(engine: Engine, tmp_path: Path) -> None:
    def scene(**sources: Any) -> Scene:
        place = place_of(engine, tmp_path)
        settings = parse_settings({"sources": sources}, "test")
        return Scene(place.environment, settings, clock=lambda: NOW)

    mine = {"kind": "openrouter", "location": str(tmp_path / "activity.csv")}
    assert found("sources", scene(mine=mine | {"enabled": False})).state is State.SKIPPED
    unset = found("sources", scene(mine=mine, litellm={"location": "$LITELLM_IS_NOWHERE"}))
    assert (unset.state, "the variable LITELLM_IS_NOWHERE is not set" in unset.found) == (State.FAILED, True)
    never = found("sources", scene(mine=mine))
    assert (never.state, never.found) == (State.WARNING, "mine was never pulled")
    assert "routewatch pull mine" in never.remedy
    pulled = {"source": "mine", "kind": "openrouter", "pulled_at": NOW - timedelta(hours=1)}
    with writing(engine) as connection:
        connection.execute(table_of(PullState).insert(), pulled)
    assert found("sources", scene(mine=mine)).state is State.OK
    with writing(engine) as connection:
        connection.execute(update(table_of(PullState)).values(pulled_at=NOW - timedelta(hours=3)))
    assert found("sources", scene(mine=mine)).found == "mine was pulled 180 minutes ago"
