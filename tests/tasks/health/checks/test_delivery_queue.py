"""Pending deliveries and dead letters are reported with what to do."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy import Engine, update

from models.database import writing
from models.tables import Delivery, Report, table_of
from tasks.health.check import CheckResult, CheckState
from tests.support.contexts import NOW, context_of, enqueue_to_ops
from tests.support.health import check_context_of, found

DELIVERY, REPORT = table_of(Delivery), table_of(Report)


def test_pending_deliveries_and_dead_letters_are_reported(engine: Engine, tmp_path: Path) -> None:
    ctx = context_of(engine, tmp_path, "mailto:a@example.org", "mailto:b@example.org", "mailto:c@example.org")
    assert found("deliveries", check_context_of(ctx)) == CheckResult(CheckState.OK, "none yet")
    enqueue_to_ops(ctx)
    assert found("deliveries", check_context_of(ctx)) == CheckResult(CheckState.OK, "3 queued")
    late = found("deliveries", check_context_of(ctx, NOW + timedelta(hours=2)))
    assert (late.state, "routewatch serve" in late.remedy) == (CheckState.WARNING, True)
    with writing(engine) as connection:
        for number, state in ((1, "dead"), (2, "uncertain")):
            connection.execute(update(DELIVERY).where(DELIVERY.c.id == number).values(state=state))
    result = found("deliveries", check_context_of(ctx))
    assert result.found == "1 queued, 1 uncertain, 1 dead"
    assert "retry --all-dead" in result.remedy
    assert "retry ID" in result.remedy
