"""Any table, query or file becomes selections as its mapping file states."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, select, text, update

from models.database import writing
from models.errors import InvalidMapping, SourceUnavailable, UnreadableInput
from models.schema import PULL_STATE
from tasks.sources import sql_reader as sql
from tasks.sources.sql_reader import WITHOUT_CURSOR, SqlRows
from tests.support.databases import PostgresServer
from tests.support.pulls import MINUTE, START, bring, stored, write_csv, write_jsonl

TOML = """
[source]
table = "{table}"
cursor = "changed at"
id = "Pick"

[columns]
timestamp = "changed at"
model_id = "model"
response_time_ms = {{ from = "seconds", multiply = 1000 }}
cost_usd = {{ from = "cents", multiply = 0.01 }}
user_satisfaction = {{ from = "stars", minimum = 1, maximum = 5 }}
error = {{ from = "state", equals = ["failed"] }}
team = "select"
"""

COLUMNS = (
    '("Pick" {text}, "changed at" {time}, model {text}, seconds {number}, cents {number}, stars int, state {text}, '
    '"select" {text})'
)


class Place:
    """A database of the user's with a table of names that need quotes."""

    def __init__(self, address: str, kinds: dict[str, str], name: str) -> None:
        self.address, self.name = address, name
        self.engine = create_engine(address.replace("postgresql://", "postgresql+psycopg://"))
        self.run(f"CREATE TABLE {self.quoted} " + COLUMNS.format(**kinds))

    @property
    def quoted(self) -> str:
        return ".".join(f'"{part}"' for part in self.name.split("."))

    def run(self, statement: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)

    def insert(self, selection: Any, at: Any, **values: Any) -> None:
        usual = {"model": "m", "seconds": 1.25, "cents": 0.5, "stars": 4, "state": "ok", "team": "search"} | values
        marks = ":selection, :at, :model, :seconds, :cents, :stars, :state, :team"
        self.run(f"INSERT INTO {self.quoted} VALUES ({marks})", selection=selection, at=at, **usual)  # noqa: S608

    def mapping(self, folder: Path, toml: str = TOML) -> Path:
        path = folder / "map.toml"
        path.write_text(toml.format(table=self.name))
        return path


@pytest.fixture
def sqlite_position(tmp_path: Path) -> Iterator[Place]:
    path = tmp_path / "theirs.db"
    path.touch()
    ctx = Place(f"sqlite:///{path}", {"text": "TEXT", "time": "TEXT", "number": "REAL"}, "Route log")
    yield ctx
    ctx.engine.dispose()


@pytest.fixture
def postgres_position(postgres_server: PostgresServer) -> Iterator[Place]:
    postgres_server.execute("CREATE DATABASE theirs")
    address = postgres_server.address_of("theirs")
    kinds = {"text": "text", "time": "timestamptz", "number": "numeric(12, 6)"}
    ctx = Place(address, kinds, "public.Route log")
    yield ctx
    ctx.engine.dispose()
    postgres_server.execute("DROP DATABASE theirs WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgres"])
def ctx(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(f"{request.param}_position")
    return found


WHOLE = {
    "request_id": "p1", "timestamp": START, "model_id": "m", "response_time_ms": 1250.0, "cost_usd": 0.005,
    "user_satisfaction": 0.75, "error": False, "team": "search",
}  # fmt: skip


def stamp(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


# --- tables -----------------------------------------------------------------------------------------------------------


def test_a_row_becomes_a_selection_as_the_mapping_says(sqlite_engine: Engine, ctx: Place, tmp_path: Path) -> None:
    ctx.insert("p1", stamp(START))
    ctx.insert("p2", stamp(START + MINUTE), state="failed", seconds=None, cents=None, stars=None, team=None)
    stats = bring(sqlite_engine, "table", ctx.address, mapping=ctx.mapping(tmp_path))
    assert (stats.added, stats.rejected) == (2, {})
    rows = stored(sqlite_engine)
    assert rows["p1"] == WHOLE
    assert rows["p2"] == {"request_id": "p2", "timestamp": START + MINUTE, "model_id": "m", "error": True}


def test_a_second_pull_adds_none_and_late_and_changed_rows_are_taken(
    engine: Engine, sqlite_position: Place, tmp_path: Path
) -> None:
    mapping = sqlite_position.mapping(tmp_path)
    sqlite_position.insert("p1", stamp(START))
    assert bring(engine, "table", sqlite_position.address, mapping=mapping).added == 1
    again = bring(engine, "table", sqlite_position.address, mapping=mapping)
    assert (again.added, again.changed, again.unchanged) == (0, 0, 1)
    sqlite_position.insert("late", stamp(START - 59 * MINUTE))
    sqlite_position.insert("too late", stamp(START - 61 * MINUTE))
    sqlite_position.run(f"UPDATE {sqlite_position.quoted} SET stars = 5 WHERE \"Pick\" = 'p1'")  # noqa: S608
    third = bring(engine, "table", sqlite_position.address, mapping=mapping)
    assert (third.added, third.changed, third.late) == (1, 1, 1)
    whole = bring(engine, "table", sqlite_position.address, mapping=mapping, since=START - timedelta(days=1))
    assert (whole.added, set(stored(engine))) == (1, {"p1", "late", "too late"})


def test_since_reads_from_then_on_and_leaves_no_gap_behind(sqlite_engine: Engine, ctx: Place, tmp_path: Path) -> None:
    mapping = ctx.mapping(tmp_path)
    for number in range(4):
        ctx.insert(f"p{number}", stamp(START + number * timedelta(hours=3)))
        if number == 0:
            assert bring(sqlite_engine, "table", ctx.address, mapping=mapping).added == 1
    since = START + timedelta(hours=5)
    assert bring(sqlite_engine, "table", ctx.address, mapping=mapping, since=since).added == 2
    assert bring(sqlite_engine, "table", ctx.address, mapping=mapping).added == 1


@settings(max_examples=25, deadline=None)
@given(minutes=st.lists(st.integers(0, 9), min_size=1, max_size=25), rows=st.integers(1, 4))
def test_whatever_the_size_of_a_page_each_row_is_read_once_in_order(minutes: list[int], rows: int) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql, "PAGE_ROWS", rows)
        path = Path(folder) / "theirs.db"
        engine = create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE t (id int, at int)"))
            values = [{"id": number, "at": minute} for number, minute in enumerate(minutes)]
            connection.execute(text("INSERT INTO t VALUES (:id, :at)"), values)
        engine.dispose()
        source = SqlRows(f"sqlite:///{path}", table="t", cursor="at", key="id", overlap_minutes=0)
        pages = list(source.pages(None, None))
        found = [(row["at"], row["id"]) for page in pages for row in page.rows]
        assert found == sorted((minute, number) for number, minute in enumerate(minutes))
        assert source.size(None, None) == pages[-1].done == len(minutes)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("int", ["1", "2", "3"]),
        ("bigint", [str(2**53 + n) for n in range(3)]),
        ("numeric(20, 0)", [str(2**53 + n) for n in range(3)]),
        ("text", ["a", "b", "c"]),
        ("uuid", [f"01990000-0000-7000-8000-00000000000{n}" for n in range(3)]),
        ("date", ["2026-09-05", "2026-09-06", "2026-09-07"]),
        ("timestamp", ["2026-09-07 07:00", "2026-09-07 08:00", "2026-09-07 08:00:00.000001"]),
        ("timestamptz", ["2026-09-07 07:00Z", "2026-09-07 08:00Z", "2026-09-07 08:00:00.000001Z"]),
    ],
)
def test_a_pull_continues_from_a_cursor_of_any_kind(postgres_position: Place, kind: str, values: list[str]) -> None:
    postgres_position.run(f"CREATE TABLE t (id int, at {kind})")
    for number, value in enumerate(values):
        postgres_position.run(f"INSERT INTO t VALUES (:id, '{value}')", id=number)  # noqa: S608
    source = SqlRows(postgres_position.address, table="t", cursor="at", key="id", overlap_minutes=0)
    (page,) = source.pages(None, None)
    assert [row["id"] for row in page.rows] == [0, 1, 2]
    (again,) = source.pages(page.cursor, None)
    assert [row["id"] for row in again.rows] == [2]


def test_a_query_may_be_read_with_colons_in_it(sqlite_engine: Engine, postgres_position: Place, tmp_path: Path) -> None:
    postgres_position.insert("p1", stamp(START))
    toml = """
    [source]
    query = '''SELECT "Pick" AS request_id, "changed at" AS at, model || ':x' AS model_id, '1:2'::text AS note
               FROM "Route log" WHERE state <> 'a :b';'''
    cursor = "at"

    [columns]
    request_id = "request_id"
    timestamp = "at"
    """
    mapping = tmp_path / "map.toml"
    mapping.write_text(toml)
    assert bring(sqlite_engine, "table", postgres_position.address, mapping=mapping).added == 1
    assert stored(sqlite_engine)["p1"]["model_id"] == "m:x"


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("2026-09-07 08:00:00", {"zone": "UTC"}),
        ("2026-09-07 10:00:00", {"zone": "Europe/Berlin"}),
        ("2026-09-07T10:00:00+02:00", {}),
        ("2026-09-07", {"zone": "UTC"}),
        (1788768000, {"unit": "s"}),
        (1788768000000, {}),
    ],
)
def test_times_are_read_in_the_form_and_zone_that_they_have(
    sqlite_engine: Engine, sqlite_position: Place, tmp_path: Path, at: Any, said: dict[str, str]
) -> None:
    unit, zone = said.get("unit"), said.get("zone")
    sqlite_position.run('DROP TABLE "Route log"')
    sqlite_position.run(
        'CREATE TABLE "Route log" ("Pick", "changed at", model, seconds, cents, stars, state, "select")'
    )
    sqlite_position.insert("p1", at)
    toml = TOML.replace('timestamp = "changed at"',
                        f'timestamp = {{{{ from = "changed at"{f", unit = {unit!r}" if unit else ""} }}}}')  # fmt: skip
    mapping = sqlite_position.mapping(tmp_path, toml + (f"\n[input]\nzone = {zone!r}\n" if zone else ""))
    assert bring(sqlite_engine, "table", sqlite_position.address, mapping=mapping).added == 1
    expected = START.replace(hour=0) if at == "2026-09-07" else START
    assert stored(sqlite_engine)["p1"]["timestamp"] == expected
    assert bring(sqlite_engine, "table", sqlite_position.address, mapping=mapping).unchanged == 1
    since = START + timedelta(days=1)
    assert bring(sqlite_engine, "table", sqlite_position.address, mapping=mapping, since=since).read == 0


def test_a_clock_that_is_ahead_does_not_hide_the_rows_that_follow(
    sqlite_engine: Engine, ctx: Place, tmp_path: Path
) -> None:
    mapping = ctx.mapping(tmp_path)
    ctx.insert("ahead", stamp(datetime.now(UTC) + timedelta(days=2)))
    bring(sqlite_engine, "table", ctx.address, mapping=mapping)
    ctx.insert("p1", stamp(datetime.now(UTC)))
    assert bring(sqlite_engine, "table", ctx.address, mapping=mapping).added == 1


def test_a_position_that_a_clock_a_year_ahead_left_hides_no_row(
    sqlite_engine: Engine, ctx: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What came while nothing was read is read, and what is stored is not counted again."""
    mapping, now = ctx.mapping(tmp_path), datetime.now(UTC)
    ctx.insert("p1", stamp(now - timedelta(hours=3)))
    bring(sqlite_engine, "table", ctx.address, mapping=mapping)
    with writing(sqlite_engine) as connection:
        position = connection.scalar(select(PULL_STATE.c.cursor))
        ahead = str(position).replace(f"{now.year}-", f"{now.year + 1}-")
        connection.execute(update(PULL_STATE).values(cursor=ahead))
    assert ahead != position
    ctx.insert("p2", stamp(now - timedelta(hours=2)))
    pulled = bring(sqlite_engine, "table", ctx.address, mapping=mapping)
    assert (pulled.added, pulled.changed) == (1, 0)
    assert any("is ahead of the clock" in record.getMessage() for record in caplog.records)
    ctx.insert("p3", stamp(now))
    assert bring(sqlite_engine, "table", ctx.address, mapping=mapping).added == 1


def test_a_number_that_is_beyond_every_row_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The table was replaced, and its numbers begin anew: nobody but a person can tell what to read again."""
    path = tmp_path / "numbers.db"
    theirs = create_engine(f"sqlite:///{path}")
    for numbers in ((7, 8), (1, 2)):
        with theirs.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS t"))
            connection.execute(text("CREATE TABLE t (n INTEGER)"))
            connection.execute(text("INSERT INTO t VALUES (:n)"), [{"n": number} for number in numbers])
        rows = SqlRows(f"sqlite:///{path}", table="t", cursor="n", key="n", overlap_minutes=0)
        found = [page.rows for page in rows.pages('{"value": 8}', None)]
        assert found == ([[{"n": 8}]] if 8 in numbers else [])
    theirs.dispose()
    [warned] = [record.getMessage() for record in caplog.records]
    assert warned.startswith("its largest n is 2, but it was read up to 8")


def test_rows_without_a_cursor_and_with_wrong_values_are_counted(
    sqlite_engine: Engine, ctx: Place, tmp_path: Path
) -> None:
    ctx.insert("p1", stamp(START))
    ctx.insert(None, stamp(START))
    ctx.insert("nowhere", None)
    ctx.insert("stars", stamp(START), stars=9)
    ctx.insert("model", stamp(START), model=None)
    stats = bring(sqlite_engine, "table", ctx.address, mapping=ctx.mapping(tmp_path))
    assert {name: row["model_id"] for name, row in stored(sqlite_engine).items()} == {
        "p1": "m", "stars": "m", "model": "unknown",
    }  # fmt: skip
    assert stats.rejected == {WITHOUT_CURSOR: 2}
    assert stats.unknown == {"user_satisfaction is outside 1 to 5": 1}
    assert stats.read == 5


def test_nothing_can_be_written_to_the_source(ctx: Place, tmp_path: Path) -> None:
    writes = f"(SELECT 1) AS x; DROP TABLE {ctx.quoted}"
    rows = SqlRows(ctx.address, query=writes, cursor="x", key="x", overlap_minutes=0)
    with pytest.raises(SourceUnavailable):
        rows.size(None, None)
    with rows.connected() as connection, pytest.raises(Exception, match=r"(?i)read.?only"):
        connection.execute(text(f"DELETE FROM {ctx.quoted}"))  # noqa: S608
    ctx.insert("p1", stamp(START))


def test_the_role_that_the_docs_create_is_enough(
    sqlite_engine: Engine, postgres_position: Place, tmp_path: Path
) -> None:
    postgres_position.insert("p1", stamp(START))
    postgres_position.run("CREATE ROLE routewatch_reader LOGIN PASSWORD 'choose one'")
    reader = postgres_position.address.replace("//postgres:", "//routewatch_reader:")
    assert reader != postgres_position.address
    mapping = postgres_position.mapping(tmp_path)
    try:
        with pytest.raises(SourceUnavailable, match="permission denied"):
            bring(sqlite_engine, "table", reader, mapping=mapping)
        postgres_position.run(f"GRANT SELECT ON {postgres_position.quoted} TO routewatch_reader")
        assert bring(sqlite_engine, "table", reader, mapping=mapping).added == 1
    finally:
        postgres_position.run("DROP OWNED BY routewatch_reader")
        postgres_position.run("DROP ROLE routewatch_reader")


def test_an_unreachable_source_is_reported_without_the_password(sqlite_engine: Engine, tmp_path: Path) -> None:
    mapping = tmp_path / "map.toml"
    mapping.write_text(TOML.format(table="t"))
    for address, reported in (
        ("postgresql://me:secret@127.0.0.1:1/x", "refused"),
        ("postgresql://me@127.0.0.1:1/x?sslpassword=secret", "refused"),
        (f"sqlite:///{tmp_path}/none.db", "no such file"),
        ("nosuch://me:secret@host/x", "Install the driver"),
    ):
        with pytest.raises(SourceUnavailable, match=reported) as caught:
            bring(sqlite_engine, "table", address, mapping=mapping)
        assert "secret" not in str(caught.value)
    assert not (tmp_path / "none.db").exists()


def test_a_mapping_that_says_too_little_is_refused_with_what_is_missing(
    sqlite_engine: Engine, sqlite_position: Place, tmp_path: Path
) -> None:
    address = sqlite_position.address
    with pytest.raises(InvalidMapping, match="no table or query"):
        bring(sqlite_engine, "table", address)
    cases = {
        '[source]\ncursor = "x"\n': "either a table or a query",
        '[source]\ntable = "Route log"\ncursor = "changed at"\n': "identifies rows",
    }
    for toml, reported in cases.items():
        (tmp_path / "map.toml").write_text(toml)
        with pytest.raises(InvalidMapping, match=reported):
            bring(sqlite_engine, "table", address, mapping=tmp_path / "map.toml")
    sqlite_position.insert("p1", stamp(START))
    wrong = {
        ('cursor = "changed at"', 'cursor = "nowhere"'): r"lacks the column nowhere \(its columns: Pick, changed at",
        ('"model"', '"modle"'): "lacks the column modle",
        ('model_id = "model"', ""): "no column is mapped to model_id",
    }
    for (right, instead), reported in wrong.items():
        mapping = sqlite_position.mapping(tmp_path, TOML.replace(right, instead))
        with pytest.raises((SourceUnavailable, UnreadableInput), match=reported):
            bring(sqlite_engine, "table", address, mapping=mapping)


# --- files ------------------------------------------------------------------------------------------------------------


def test_files_of_any_shape_are_read_by_a_mapping(engine: Engine, tmp_path: Path) -> None:
    mapping = tmp_path / "map.toml"
    mapping.write_text(TOML.format(table="not read of files").replace('team = "select"', 'request_id = "Pick"'))
    row = {"Pick": "p1", "changed at": "2026-09-07 08:00:00", "model": "m", "seconds": 1.25, "cents": 0.5, "stars": 4,
           "state": "ok", "meta": {"a": 1}}  # fmt: skip
    log = write_jsonl(tmp_path / "log" / "a.jsonl", row)
    write_csv(tmp_path / "log" / "b.csv", {name: json.dumps(value) if name == "meta" else str(value)
                                           for name, value in (row | {"Pick": "p2"}).items()})  # fmt: skip
    assert bring(engine, "table", tmp_path / "log", mapping=mapping).added == 2
    expected = {name: value for name, value in WHOLE.items() if name != "team"}
    assert stored(engine) == {"p1": expected, "p2": expected | {"request_id": "p2"}}
    write_jsonl(log, {"Pick": "p3", "changed at": "2026-09-07 08:01:00", "model": "m"}, {"Pick": "p4"})
    stats = bring(engine, "table", tmp_path / "log", mapping=mapping)
    assert (stats.read, stats.added, stats.rejected) == (2, 1, {"timestamp is missing": 1})


def test_files_in_our_own_names_need_no_mapping_but_an_id(sqlite_engine: Engine, tmp_path: Path) -> None:
    row = {"timestamp": stamp(START), "model_id": "m"}
    with pytest.raises(UnreadableInput, match="no column is mapped to request_id"):
        bring(sqlite_engine, "table", write_jsonl(tmp_path / "a.jsonl", row))
    assert bring(sqlite_engine, "table", write_jsonl(tmp_path / "b.jsonl", row | {"request_id": "p1"})).added == 1


def test_a_cursor_of_several_types_leaves_no_row_unread(sqlite_engine: Engine, tmp_path: Path) -> None:
    """SQLite stores any type in any column: numbers come before all texts, whenever they are written."""
    path = tmp_path / "theirs.db"
    theirs = create_engine(f"sqlite:///{path}")
    mapping = tmp_path / "map.toml"
    mapping.write_text('[source]\ntable = "calls"\ncursor = "position"\nid = "request_id"\n')
    with theirs.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE calls (position, request_id TEXT, timestamp TEXT, model_id TEXT)")
    # Of each type ascending, as their order asks for.
    positions: list[Any] = [1, "2026-09-07 08:00:00", 2.5, "2026-09-07 09:00:00", b"\xff", 3, "2026-09-08", 1e300, "b"]
    for number, position in enumerate(positions):
        with theirs.begin() as connection:
            row = (position, f"r{number}", stamp(START), "m")
            connection.exec_driver_sql("INSERT INTO calls VALUES (?, ?, ?, ?)", row)
        bring(sqlite_engine, "table", f"sqlite:///{path}", mapping=mapping)
    theirs.dispose()
    assert set(stored(sqlite_engine)) == {f"r{number}" for number in range(len(positions))}
