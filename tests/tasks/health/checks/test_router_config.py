"""A value of the router's config that cannot be read is reported with the command that replaces it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, text

from models.database import writing
from tasks.health.check import CheckState
from tasks.optimizer.router_config import set_by_hand
from tests.support.contexts import NOW, context_of
from tests.support.health import check_context_of, found


def test_a_value_that_cannot_be_read_is_reported_with_what_replaces_it(engine: Engine, tmp_path: Path) -> None:
    context = check_context_of(context_of(engine, tmp_path))
    assert found("router's config", context).state is CheckState.SKIPPED
    set_by_hand(engine, "cache.ttl_seconds", 600, by="router", reason="default", now=NOW)
    assert found("router's config", context).state is CheckState.OK
    with writing(engine) as connection:
        connection.execute(text("UPDATE config SET value = '1e999'"))
    result = found("router's config", context)
    assert result.state is CheckState.WARNING
    assert "cache.ttl_seconds" in result.found
    assert "is no finite number" in result.found
    assert "routewatch config set cache.ttl_seconds VALUE" in result.remedy
