"""Router overhead is reported beside the spend of the selections, and imputed values are stated."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from models.database import writing
from models.documents import Filters
from models.period import Period
from models.tables import Overhead, PullState, Selection, table_of
from tasks.reporting.data_notes import data_notes
from tasks.rollups.checkpoint import RollupSettings
from tasks.rollups.query import RollupSlice, query_rollups
from tasks.rollups.totals import total
from tasks.rollups.update import update_rollups
from tests.support.factories import MONDAY, insert_selections, selections

DAY = Period(MONDAY, MONDAY + timedelta(days=1), "UTC")
AFTER = MONDAY + timedelta(days=2)


def own(engine: Engine, **values: Any) -> None:
    call = {"request_id": "c1", "timestamp": MONDAY, "source": "litellm", "kind": "classifier", "cost_usd": 0.25}
    with writing(engine) as connection:
        connection.execute(table_of(Overhead).insert(), call | values)


def reported(engine: Engine, filters: Filters | None = None) -> str:
    gathered: RollupSlice = query_rollups(engine, DAY, filters or Filters())
    return "\n".join(data_notes(gathered, total(gathered.parts), AFTER))


@pytest.fixture
def counted(engine: Engine) -> Engine:
    insert_selections(engine, selections({"model_id": "a", "cost_usd": 1.0}))
    update_rollups(engine, RollupSettings("UTC", 2000.0), now=AFTER)
    return engine


def test_a_report_states_the_router_overhead(counted: Engine) -> None:
    own(counted)
    own(counted, request_id="c2", cost_usd=1.5, timestamp=MONDAY + timedelta(hours=23))
    own(counted, request_id="b1", kind="aretrieve_batch", cost_usd=None)
    own(counted, request_id="tomorrow", timestamp=DAY.end, cost_usd=100.0)
    assert (
        "Calls that answered no request (classifier 2, aretrieve_batch 1) cost 1.75 USD, as far as it is known: of 2 "
        "of 3. That comes on top of the spend of this report, and is in no average."
    ) in reported(counted)


def test_a_report_on_some_models_states_no_overhead(counted: Engine) -> None:
    own(counted)
    assert "answered no request" not in reported(counted, Filters(models=("a",)))


def test_a_report_without_overhead_or_imputed_values_states_neither(counted: Engine) -> None:
    text = reported(counted)
    assert "answered no request" not in text
    assert "list prices" not in text
    assert "complexity, it is told" not in text


def test_a_report_states_that_costs_are_list_prices(counted: Engine) -> None:
    with writing(counted) as connection:
        connection.execute(table_of(Selection).update().values(cost_priced_on=date(2026, 9, 7)))
    assert "Some costs are worked out from list prices of their day, because none was recorded." in reported(counted)


def test_a_report_names_sources_whose_complexity_is_derived_from_tokens(counted: Engine) -> None:
    state = {"source": "openrouter", "kind": "openrouter", "last": {"complexityDerived": 12}}
    with writing(counted) as connection:
        connection.execute(table_of(PullState).insert(), state)
    assert "Where openrouter does not say the complexity, it is told from the prompt's tokens." in reported(counted)
