"""No text outgrows the row of an index: each has a bound, and the longest of all have room together."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Engine, Index, Table, Text, UniqueConstraint, insert, text

from models.bounded_key import LONGEST_KEY_BYTES, bounded_key
from models.database import reading, writing
from models.errors import SettingsError
from models.notifications import AlertRule
from models.period import Level
from models.recipient import LONGEST_REFERENCE, parse_recipient
from models.schema import HOUR_TOTAL, ROLLUP, DeliveryState, TrialState
from models.settings import parse_settings
from models.settings.sources import LONGEST_SOURCE_NAME
from routewatch.gate import TEXT_LENGTH
from routewatch.quarantine import IntakeOutcome
from routewatch.selection import METADATA
from tasks.delivery.outbox import enqueue_message
from tasks.optimizer.router_config import LONGEST_CONFIG_KEY
from tests.support import messages

LARGEST_INDEX_ROW_BYTES = 2_704
"""PostgreSQL's, of which the header and the lengths take a few."""
UTF_8 = 4

BOUNDS_BYTES = {
    "selection.request_id": UTF_8 * TEXT_LENGTH,
    "overhead.request_id": UTF_8 * TEXT_LENGTH,
    "pull_state.source": UTF_8 * LONGEST_SOURCE_NAME,
    "rollup.level": max(map(len, (*Level, HOUR_TOTAL))),
    "rollup.model_id": UTF_8 * TEXT_LENGTH,
    "rollup.complexity": UTF_8 * TEXT_LENGTH,
    "rollup.team": UTF_8 * TEXT_LENGTH,
    "arm_rollup.experiment": UTF_8 * TEXT_LENGTH,
    "arm_rollup.arm": UTF_8 * TEXT_LENGTH,
    "arm_rollup.complexity": UTF_8 * TEXT_LENGTH,
    "trial.state": max(map(len, TrialState)),
    "trial_block.state": 20,
    "config.key": UTF_8 * LONGEST_CONFIG_KEY,
    "config_change.key": UTF_8 * LONGEST_CONFIG_KEY,
    "optimization.type": 100,
    "optimization.subject": LONGEST_KEY_BYTES,
    "alert.rule": max(map(len, AlertRule)),
    "alert.subject": UTF_8 * TEXT_LENGTH,
    "message.key": LONGEST_KEY_BYTES,
    "report.kind": 100,
    "report.parameters_hash": 64,
    "quarantine.request_id": UTF_8 * TEXT_LENGTH,
    "intake_count.entrance": UTF_8 * TEXT_LENGTH,
    "intake_count.outcome": max(map(len, IntakeOutcome)),
    "intake_count.reason": UTF_8 * TEXT_LENGTH,
    "delivery.channel": 20,
    "delivery.recipient": UTF_8 * LONGEST_REFERENCE,
    "delivery.state": max(map(len, DeliveryState)),
}
"""Most bytes of each text that an index covers, by what bounds it where it is written."""


def indexes(table: Table) -> Iterator[list[Column[str]]]:
    """Return the columns of every index, unique constraint and primary key of a table."""
    yield list(table.primary_key.columns)
    yield from (list(it.columns) for it in table.constraints if isinstance(it, UniqueConstraint))
    yield from (list(it.columns) for it in table.indexes if isinstance(it, Index))
    yield from ([column] for column in table.columns if column.unique or column.index)


def test_every_text_in_an_index_has_a_bound_and_all_of_one_index_have_room_together() -> None:
    """Whoever adds an index over a text says here what bounds it, or hashes the text."""
    covered = [columns for table in METADATA.tables.values() for columns in indexes(table)]
    names = {str(column) for columns in covered for column in columns if isinstance(column.type, Text)}
    assert names == BOUNDS_BYTES.keys()
    for columns in covered:
        assert sum(BOUNDS_BYTES.get(str(column), 8) + 4 for column in columns) + 16 <= LARGEST_INDEX_ROW_BYTES


def incompressible(characters: int) -> str:
    """Return so many letters of four bytes, which PostgreSQL cannot shorten."""
    chance = random.Random(7)  # noqa: S311 - no secret
    return "".join(chr(chance.randrange(0x20000, 0x2A000)) for _ in range(characters))


def test_the_longest_names_of_a_rollup_fit_into_its_index(engine: Engine) -> None:
    name = incompressible(TEXT_LENGTH)
    row: dict[str, object] = {
        column.name: 0 for column in ROLLUP.columns if not column.primary_key and column.name != "latency_histogram"
    }
    row |= {"level": HOUR_TOTAL, "bucket": datetime(2026, 9, 7, tzinfo=UTC), "latency_histogram": b""}
    with writing(engine) as connection:
        connection.execute(insert(ROLLUP).values(row | dict.fromkeys(("model_id", "complexity", "team"), name)))


@given(st.text(alphabet=st.characters(), max_size=300).map(lambda it: it * 3))
def test_a_bounded_key_is_short_stays_as_it_is_where_it_can_and_differs_where_the_text_does(key: str) -> None:
    bounded = bounded_key(key)
    assert len(bounded.encode("utf-8", "surrogatepass")) <= LONGEST_KEY_BYTES
    assert (bounded == key) is (len(key.encode("utf-8", "surrogatepass")) <= LONGEST_KEY_BYTES)
    assert bounded_key(key + "a") != bounded_key(key + "b") != bounded


@pytest.mark.parametrize("length", [1, 399, 400, 401, 3_000, 100_000])
def test_a_message_with_a_key_of_any_length_is_stored_once(engine: Engine, length: int) -> None:
    key = incompressible(length)
    settings = parse_settings({}, "test")
    for _ in range(2):
        with writing(engine) as connection:
            enqueue_message(connection, messages.alerts(), key, ["console"], settings=settings, now=messages.AT)
    with reading(engine) as connection:
        assert connection.scalar(text("SELECT count(*) FROM message")) == 1


@given(st.integers(0, 60), st.sampled_from(["/ab12", "/some-words", "/ä", "?q=", "/𒀀"]))
def test_the_reference_of_any_url_has_room_in_a_key(parts: int, part: str) -> None:
    url = "https://example.org" + part * parts
    recipient = parse_recipient(url)
    assert len(recipient.reference) <= LONGEST_REFERENCE
    assert recipient.address == url


@pytest.mark.parametrize(
    "entry", ["secret:" + "A" * 201, "https://" + "a." * 200 + "example/hook", "mailto:" + "a" * 300 + "@example.org"]
)
def test_a_recipient_that_has_no_room_in_a_key_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"characters|mail address"):
        parse_recipient(entry)


def test_a_source_whose_name_has_no_room_in_a_key_is_refused() -> None:
    for length, is_refused in ((LONGEST_SOURCE_NAME, False), (LONGEST_SOURCE_NAME + 1, True)):
        sources = {"a" * length: {"kind": "otel", "location": "https://example.org"}}
        with pytest.raises(SettingsError, match="a name has at most 100") if is_refused else nullcontext():
            parse_settings({"sources": sources}, "test")
