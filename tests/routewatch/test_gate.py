"""One definition of a valid selection holds at every entrance and in both databases."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, text
from sqlalchemy.exc import DBAPIError

from models.database import open_database, writing
from routewatch.gate import (
    EARLIEST,
    FIELDS,
    LATEST,
    AcceptedSelection,
    Kind,
    RejectedSelection,
    accept,
    latest_instant,
    read_failure,
    read_field,
    read_name,
)
from routewatch.selection import SELECTION
from tasks.ingestion.column_mapping import ColumnSource
from tasks.ingestion.validation import check
from tests.support.databases import PostgresServer, migrated_sqlite

NOW = datetime(2026, 9, 7, 8, tzinfo=UTC)


# One database for all cases, each of which leaves it empty: to make one takes longer than any of them.


@pytest.fixture(scope="module")
def sqlite_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_database(migrated_sqlite(tmp_path_factory.mktemp("gate")))
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def postgres_engine(postgres_server: PostgresServer) -> Iterator[Engine]:
    with postgres_server.database(migrated=True) as address:
        engine = open_database(address)
        yield engine
        engine.dispose()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> Engine:
    engine: Engine = request.getfixturevalue(f"{request.param}_engine")
    return engine


LATEST_NOW = latest_instant(NOW)

TEXTS = st.one_of(
    st.text(max_size=5),
    st.text(st.sampled_from(" \n\t\x00\x7fae\u0301é\u200b\u202e\u2066\ufeff\xa0\u2028"), max_size=12),
    st.sampled_from(["NULL", "none", "NaN", "x" * 200, "x" * 201, " x" * 101]),
)
NUMBERS = st.one_of(st.floats(), st.floats(0, 2), st.sampled_from([0, 1, -1, 0.5, 1e9, 1e9 + 1, 1e12, 1.1e12]))
VALUES = {
    Kind.NAME: TEXTS, Kind.IDENTIFIER: TEXTS, Kind.AMOUNT: NUMBERS, Kind.SHARE: NUMBERS, Kind.COUNT: NUMBERS,
    Kind.BUCKET: st.one_of(NUMBERS, st.sampled_from([63, 64, 63.5])),
    Kind.FLAG: st.booleans(),
    Kind.FAILURE: st.one_of(st.booleans(), TEXTS, NUMBERS, st.integers(-1, 700), st.sampled_from(
        ["timeout", "No error", "http 503", "200 OK", " Failed\u200b ", "error: none", "500 ms", "0.0", "TRUE"])),
    Kind.INSTANT: st.one_of(
        st.datetimes(timezones=st.just(UTC)),
        st.sampled_from([EARLIEST, EARLIEST - timedelta(microseconds=1), LATEST, LATEST_NOW,
                         LATEST_NOW + timedelta(microseconds=1)]),
    ),
}  # fmt: skip
ROWS = st.fixed_dictionaries({}, optional={name: st.none() | VALUES[kind] for name, kind in FIELDS.items()})


@settings(max_examples=150, deadline=None)
@given(ROWS.map(lambda row: {name: value for name, value in row.items() if value is not None}))
def test_a_row_and_a_column_are_read_alike(row: dict[str, Any]) -> None:
    """What HTTP and RouterLog read one by one, and files and sources column by column, comes to the same."""
    raw = pl.DataFrame({name: [value] for name, value in row.items()} | {"_": [0]})
    columns = check(raw, [1], {name: ColumnSource(column=name) for name in row}, "UTC", LATEST_NOW)
    accepted = accepted_or_fault(row)
    if isinstance(accepted, RejectedSelection):
        assert (columns.bad.height, columns.bad["is_error"][0]) == (1, accepted.is_error)
        return
    kept = columns.good if accepted.set_aside is None else columns.aside
    (read,) = kept.select(tuple(FIELDS)).to_dicts()
    assert read == accepted.row
    if accepted.set_aside is None:
        assert dict(columns.unknown.select("column", "reason").iter_rows()) == accepted.unknown


@pytest.mark.parametrize(
    ("said", "failed"),
    [
        (True, True), (1, True), (0, False), (200, False), (404, True), (503.0, True), (TimeoutError(), True),
        ("TimeoutError", True), ("timed out", True), ("RateLimit", True), ("connection reset by peer", True),
        ("unsuccessful", True), ("not ok", True), ("404 model not found", True), ("503 Service Unavailable", True),
        ("error: timeout", True), ("status code 204", False), ("No error", False), ("success", False), ("1.0", True),
        (2, None), (600, None), (-1, None), (float("nan"), None), (float("inf"), None), ("450 tokens", None),
        ("200 timeout", None), ("no error message", None), ("0 errors", None), ('{"error": null}', None),
        ("error=false", None), ("errors: 0", None), ("succeeded after 2 timeouts", None), ("failover", None),
        ("nothing", None), ("None", None), (b"failed", None), (["failed"], None), ("\0", None),
    ],
)  # fmt: skip
def test_a_failure_is_read_from_what_names_one_and_what_says_neither_or_both_is_unknown(
    said: object, failed: bool | None
) -> None:
    found, reason = read_failure(said)
    assert (found, reason is None) == (failed, failed is not None)


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text(max_size=40), st.integers(), st.floats(), st.binary(max_size=4), st.decimals()))
def test_no_value_of_an_error_flag_is_good_news_without_a_word_of_it(said: object) -> None:
    """Whatever it is: it is read as one of few words, or nobody knows."""
    if read_field(Kind.FAILURE, said)[0] is False:
        word = " ".join(str(said).lower().split())
        assert any(
            it in word for it in ("f", "no", "off", "0", "ok", "1", "2", "3", "success", "succe", "pass", "stop")
        )


def accepted_or_fault(row: dict[str, Any]) -> AcceptedSelection | RejectedSelection:
    try:
        return accept(row, LATEST_NOW)
    except RejectedSelection as fault:
        return fault


@settings(max_examples=40, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=8))
def test_the_tables_take_whatever_the_gate_accepts(engine: Engine, rows: list[dict[str, Any]]) -> None:
    with writing(engine) as connection:
        for row in rows:
            given_row = row if isinstance(row.get("timestamp"), datetime) else row | {"timestamp": NOW}
            try:
                accepted = accept(given_row | {"request_id": None}, LATEST)
            except RejectedSelection:
                continue
            connection.execute(insert(SELECTION), accepted.row)
        connection.execute(text("DELETE FROM selection"))


@given(TEXTS)
def test_a_name_has_one_form_and_its_form_is_that_name(name: str) -> None:
    form, _ = read_name(name)
    if form is not None:
        assert read_name(form) == (form, None)
        assert read_name(f"\ufeff {unicodedata.normalize('NFD', form)}\u200b\n") == (form, None)


BY_HAND: dict[str, list[Any]] = {
    "timestamp": ["1999-12-31 23:59:59.999999", "2100-01-01 00:00:00.000000", "0001-01-01 00:00:00.000000"],
    "model_id": ["", "m" * 201, "a\nb", "\x7f"],
    "request_id": ["", "r" * 201, "a\tb"],
    "team": ["t" * 201, "a\rb"],
    "complexity": ["c" * 201],
    "error_type": ["e" * 201, "\x1b[31m"],
    "response_time_ms": [-1.0, 1e13, float("inf")],
    "cost_usd": [-0.01, float("-inf")],
    "accuracy": [1.01, -0.01],
    "user_satisfaction": [2],
    "prompt_tokens": [-1, 2_000_000_000],
    "completion_tokens": [-1],
}


@pytest.mark.parametrize(("column", "value"), [(name, it) for name, values in BY_HAND.items() for it in values])
def test_what_sql_writes_by_hand_is_held_to_the_same(engine: Engine, column: str, value: object) -> None:
    assert not takes(engine, column, value)


INSTANTS = [
    "2026-09-07 08:00:00", "2026-09-07T08:00:00.000000", "2026-09-07T08:00:00Z", "2026-09-07 08:00:00.000000+00:00",
    "2026-09-07 08:00:00.000", "2026-09-07", "2026-02-30 08:00:00.000000", "2026-13-01 08:00:00.000000",
    "2026-09-07 24:00:00.000000", "2026-09-07 08:60:00.000000", " 2026-09-07 08:00:00.000000", "now", "", 1788768000,
    1788768000000, 2461291.5, b"2026-09-07 08:00:00.000000", "2026-09-07 08:00:00.000000\n",
]  # fmt: skip
OTHERS = [
    ("response_time_ms", "fast"), ("cost_usd", b"1"), ("cache_hit", "true"), ("cache_hit", 2), ("error", 2),
    ("error", "no"), ("prompt_tokens", 1.5), ("team", b"t"), ("model_id", "a\0b"), ("team", "a\0b"),
    ("cost_priced_on", "yesterday"), ("complexity_derived", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value"), [*(("timestamp", it) for it in INSTANTS), *OTHERS])
def test_sqlite_takes_one_form_of_an_instant_and_no_value_of_another_type(
    sqlite_engine: Engine, column: str, value: object
) -> None:
    assert not takes(sqlite_engine, column, value)


def test_an_infinite_instant_or_a_number_that_is_none_is_refused_by_postgresql(postgres_engine: Engine) -> None:
    for column, value in (("timestamp", "infinity"), ("timestamp", "-infinity"), ("cost_usd", "NaN")):
        assert not takes(postgres_engine, column, value)


def takes(engine: Engine, column: str, value: object) -> bool:
    """Whether the table takes a row by plain SQL that is valid but for this value, which is a parameter."""
    row = {"timestamp": "2026-09-07 08:00:00.000000", "model_id": "m", column: value}
    if engine.dialect.name == "postgresql" and column == "timestamp":
        row[column] = f"{value}" if "infinity" in str(value) else f"{value}+00"
    names = ", ".join(row)
    marks = ", ".join(f":{name}" for name in row)
    try:
        with writing(engine) as connection:
            connection.execute(text(f"INSERT INTO selection ({names}) VALUES ({marks})"), row)  # noqa: S608 - of this test
            connection.execute(text("DELETE FROM selection"))
    except DBAPIError:
        return False
    return True
