"""Files of selections: valid rows are stored, rejected ones listed, and importing again adds nothing."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select

from models.database import open_database, reading
from models.errors import InvalidMapping, UnreadableInput
from models.tables import Selection, table_of
from routewatch.quarantine import INTAKE_COUNT
from tasks.ingestion import file_reader as read
from tasks.ingestion.column_mapping import SELECTION_COLUMNS, Mapping, load_mapping
from tasks.ingestion.file_import import ImportResult, import_file
from tests.support.commands import call
from tests.support.databases import migrated_sqlite
from tests.support.factories import MONDAY

SELECTION = table_of(Selection)
SERVEGEN = Path("/work/shared/data/servegen_14d.parquet")
LLMPERF = SERVEGEN.with_name("llmperf.parquet")


def bring(engine: Engine, path: Path, mapping: Mapping | None = None, zone: str = "UTC") -> ImportResult:
    return import_file(engine, path, mapping=mapping or Mapping(), zone=zone, rejects_folder=path.parent / "rejects")


def rows(engine: Engine) -> list[dict[str, Any]]:
    with reading(engine) as connection:
        return [dict(row) for row in connection.execute(select(SELECTION).order_by(SELECTION.c.id)).mappings()]


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def rejects(result: ImportResult) -> list[dict[str, str]]:
    assert result.rejects_file is not None
    with result.rejects_file.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def shared_engine() -> Iterator[Engine]:
    with TemporaryDirectory() as folder:
        engine = open_database(migrated_sqlite(Path(folder)))
        yield engine
        engine.dispose()


# --- what is read -----------------------------------------------------------------------------------------------------


def test_every_column_arrives_and_what_is_not_known_stays_unknown(engine: Engine, tmp_path: Path) -> None:
    full = {
        "timestamp": "2026-09-07T08:00:00.123456+02:00", "request_id": "r1", "model_id": "m", "complexity": "simple",
        "error_type": "timeout", "team": "search", "response_time_ms": 12.5, "cost_usd": 0.01, "accuracy": 0.9,
        "user_satisfaction": 0.5, "prompt_tokens": 10, "completion_tokens": 20, "cache_hit": True, "error": True,
        "experiment": "rollout-12", "arm": "candidate", "unit_bucket": 63,
    }  # fmt: skip
    bare = {"timestamp": "2026-09-07T06:00:01Z", "model_id": "m", "request_id": "r2"}
    path = write(tmp_path / "log.jsonl", json.dumps(full) + "\n" + json.dumps(bare) + "\n")
    assert bring(engine, path).added == 2
    first, second = rows(engine)
    at, derived = (
        datetime(2026, 9, 7, 6, 0, 0, 123456, tzinfo=UTC),
        {"cost_priced_on": None, "complexity_derived": None},
    )
    assert first == full | derived | {"id": first["id"], "timestamp": at}
    known = {name for name, value in second.items() if value is not None}
    assert known == {"id", "timestamp", "model_id", "request_id", "error"}


def test_the_product_documents_names_are_understood(sqlite_engine: Engine, tmp_path: Path) -> None:
    path = write(
        tmp_path / "log.jsonl",
        '{"timestamp": 1788768000000, "modelId": "m", "responseTime": 120, "cost": 0.02, "cacheHit": false}\n',
    )
    assert bring(sqlite_engine, path).added == 1
    (row,) = rows(sqlite_engine)
    assert (row["timestamp"], row["model_id"]) == (datetime(2026, 9, 7, 8, tzinfo=UTC), "m")
    assert (row["response_time_ms"], row["cost_usd"], row["cache_hit"]) == (120, 0.02, False)


def test_a_time_without_an_offset_is_in_the_reporting_zone(sqlite_engine: Engine, tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", "timestamp,model_id\n2026-09-07 08:00:00,m\n")
    bring(sqlite_engine, path, zone="Asia/Kolkata")
    assert rows(sqlite_engine)[0]["timestamp"] == datetime(2026, 9, 7, 2, 30, tzinfo=UTC)


def test_a_compressed_file_is_read_as_the_plain_one(sqlite_engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"timestamp,model_id\n2026-09-07T08:00:00Z,m\n"))
    assert bring(sqlite_engine, path).added == 1


def test_a_mapping_names_columns_scales_units_and_flags(sqlite_engine: Engine, tmp_path: Path) -> None:
    mapping_file = write(
        tmp_path / "map.toml",
        """
        [columns]
        model_id = "model"
        timestamp = { from = "ended", unit = "s" }
        response_time_ms = { from = "seconds", multiply = 1000 }
        user_satisfaction = { from = "stars", minimum = 1, maximum = 5 }
        error = { from = "level", equals = ["ERROR"] }
        complexity = { value = "simple" }
        """,
    )
    path = write(tmp_path / "log.csv", "model,ended,seconds,stars,level\nm,1788768000,1.5,4,ERROR\n")
    assert bring(sqlite_engine, path, load_mapping(mapping_file)).added == 1
    (row,) = rows(sqlite_engine)
    assert (row["response_time_ms"], row["user_satisfaction"], row["error"]) == (1500, 0.75, True)
    assert (row["complexity"], row["timestamp"]) == ("simple", datetime(2026, 9, 7, 8, tzinfo=UTC))


def test_all_errors_of_a_mapping_are_reported_at_once(tmp_path: Path) -> None:
    text = '[columns]\nnothing = "x"\naccuracy = { minimum = 1 }\n[csvv]\n'
    with pytest.raises(InvalidMapping) as caught:
        load_mapping(write(tmp_path / "map.toml", text))
    assert {fault.path.split(".")[0] for fault in caught.value.faults} == {"columns", "csvv"}


def test_a_mapping_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = write(tmp_path / "map.toml", '\ufeff[columns]\nmodel_id = "m"\n')
    assert load_mapping(path).columns["model_id"].column == "m"


@pytest.mark.parametrize(
    ("content", "reported"),
    [
        (b'[csv]\ndelimiter = "\\""', "csv.delimiter"),
        (b'[csv]\ndelimiter = "\\n"', "csv.delimiter"),
        ("[csv]".encode("utf-16"), "it is encoded in UTF-16, expected UTF-8"),
        (b"[csv]\nx = '\xff'", "byte 12 of it is not UTF-8"),
        (b"x = " + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_damaged_mapping_is_reported(tmp_path: Path, content: bytes, reported: str) -> None:
    path = tmp_path / "map.toml"
    path.write_bytes(content)
    with pytest.raises(InvalidMapping, match=reported):
        load_mapping(path)


def test_two_weeks_of_real_traffic_come_in_whole_and_once(sqlite_engine: Engine) -> None:
    if not SERVEGEN.exists():
        pytest.skip(f"{SERVEGEN} is not here")
    with TemporaryDirectory() as folder:
        first, second = (
            import_file(sqlite_engine, SERVEGEN, mapping=Mapping(), zone="UTC", rejects_folder=Path(folder))
            for _ in range(2)
        )
    assert (first.read, first.added, first.rejected) == (199_996, 199_996, 0)
    assert (second.read, second.added, second.already_there) == (199_996, 0, 199_996)


# --- importing again --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_importing_twice_counts_once_even_without_request_ids(engine: Engine, tmp_path: Path, suffix: str) -> None:
    frame = pl.DataFrame({"timestamp": ["2026-09-07T08:00:00Z"] * 3, "model_id": ["a", "a", "b"]})
    path = tmp_path / f"log{suffix}"
    writers: dict[str, Any] = {".csv": frame.write_csv, ".jsonl": frame.write_ndjson, ".parquet": frame.write_parquet}
    writers[suffix](path)
    first, second = bring(engine, path), bring(engine, path)
    assert (first.added, first.derived_ids) == (3, True)
    assert (second.added, second.already_there) == (0, 3)
    assert len(rows(engine)) == 3


def test_a_request_that_stands_twice_in_a_file_counts_once(engine: Engine, tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", "timestamp,model_id,request_id\n" + "2026-09-07T08:00:00Z,m,same\n" * 2)
    result = bring(engine, path)
    assert (result.read, result.added, result.already_there) == (2, 1, 1)


# --- columns of other types -------------------------------------------------------------------------------------------


AT = datetime(2026, 9, 7, 8, tzinfo=UTC)
ODD_COLUMNS = {
    "list": pl.Series([[1, 2]]),
    "struct": pl.Series([{"a": 1}]),
    "duration": pl.Series([timedelta(seconds=3)]),
    "time": pl.Series([time(3, 4)]),
    "bytes": pl.Series([b"\xff\xfe"]),
}


@pytest.mark.parametrize("kind", ODD_COLUMNS)
@pytest.mark.parametrize("name", ["response_time_ms", "cost_usd", "cache_hit", "error", "model_id", "team", "accuracy"])
def test_a_column_of_a_type_that_no_field_has_costs_the_field(
    sqlite_engine: Engine, tmp_path: Path, kind: str, name: str
) -> None:
    frame = pl.DataFrame({"timestamp": [AT], "model_id": ["m"]}).with_columns(ODD_COLUMNS[kind].alias(name))
    frame.write_parquet(tmp_path / "log.parquet")
    assert bring(sqlite_engine, tmp_path / "log.parquet").added == 1
    (row,) = rows(sqlite_engine)
    assert row[name] == {"model_id": "unknown", "error": False}.get(name)


@pytest.mark.parametrize("name", ["response_time_ms", "cost_usd", "accuracy", "prompt_tokens"])
@pytest.mark.parametrize("value", [True, AT, AT.date()], ids=str)
def test_a_flag_and_a_time_are_no_numbers(sqlite_engine: Engine, tmp_path: Path, name: str, value: object) -> None:
    """Though each can be cast to one."""
    frame = pl.DataFrame({"timestamp": [AT], "model_id": ["m"], name: [value]})
    frame.write_parquet(tmp_path / "log.parquet")
    assert bring(sqlite_engine, tmp_path / "log.parquet").added == 1
    (row,) = rows(sqlite_engine)
    assert row[name] is None


@pytest.mark.parametrize("kind", ODD_COLUMNS)
def test_a_row_without_a_readable_time_is_rejected_whatever_the_columns_type(
    sqlite_engine: Engine, tmp_path: Path, kind: str
) -> None:
    pl.DataFrame({"timestamp": ODD_COLUMNS[kind], "model_id": ["m"]}).write_parquet(tmp_path / "log.parquet")
    assert bring(sqlite_engine, tmp_path / "log.parquet").rejected == 1


def test_a_date_is_the_first_instant_of_its_day(sqlite_engine: Engine, tmp_path: Path) -> None:
    pl.DataFrame({"timestamp": [AT.date()], "model_id": ["m"]}).write_parquet(tmp_path / "log.parquet")
    assert bring(sqlite_engine, tmp_path / "log.parquet").added == 1
    (row,) = rows(sqlite_engine)
    assert row["timestamp"] == datetime(2026, 9, 7, tzinfo=UTC)


# --- bad rows ---------------------------------------------------------------------------------------------------------


BAD_VALUES = [
    ("cost_usd", "-0.01", "cost_usd is negative"),
    ("cost_usd", "NaN", "cost_usd is not a number"),
    ("cost_usd", "inf", "cost_usd is not finite"),
    ("cost_usd", "free", "cost_usd is not a number"),
    ("response_time_ms", "1e13", "response_time_ms is above 1e+12"),
    ("accuracy", "1.2", "accuracy is outside 0 to 1"),
    ("timestamp", "0001-01-01T00:00:00Z", "timestamp lies outside the years"),
    ("timestamp", "yesterday", "timestamp is not an ISO 8601 time"),
    ("timestamp", "", "timestamp is missing"),
    ("model_id", "m" * 201, "model_id is longer than 200 characters"),
    ("cache_hit", "maybe", "cache_hit is neither true nor false"),
    ("prompt_tokens", "1.5", "prompt_tokens is not a whole number"),
    ("team", "a\x00b", "team contains control characters"),
]


@pytest.mark.parametrize(("column", "value", "reason"), BAD_VALUES)
def test_a_bad_value_costs_its_field_alone_or_without_an_instant_its_row_and_is_listed_with_line_and_reason(
    shared_engine: Engine, tmp_path: Path, column: str, value: str, reason: str
) -> None:
    good = {"timestamp": "2026-09-07T08:00:00Z", "model_id": "m"}
    bad = good | {column: value}
    names = list(bad)
    lines = [names, *([row.get(name, "") for name in names] for row in (good, bad, good))]
    path = tmp_path / "log.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    result = bring(shared_engine, path)
    (listed,) = rejects(result)
    assert (result.read, result.rejected) == (3, int(column == "timestamp"))
    assert sum(count for _, count in result.unknown_fields) == int(column != "timestamp")
    assert listed["line"] == "3"
    assert listed["reason"].startswith(reason)


def test_a_broken_quote_does_not_swallow_the_rows_behind_it(engine: Engine, tmp_path: Path) -> None:
    text = (
        "timestamp,model_id,team\n"
        '2026-09-07T08:00:00Z,a,"broken\n'
        "2026-09-07T08:00:01Z,b,x\n"
        '2026-09-07T08:00:02Z,c,"two\nlines"\n'
        "2026-09-07T08:00:03Z,d,x\n"
    )
    result = bring(engine, write(tmp_path / "log.csv", text))
    assert [row["model_id"] for row in rows(engine)] == ["b", "c", "d"]
    assert result.rejected == 1
    assert ("2", "a quote is opened and not closed") in [(it["line"], it["reason"]) for it in rejects(result)]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_ten_megabytes_in_one_field_cost_that_row_alone(engine: Engine, tmp_path: Path, suffix: str) -> None:
    huge = "x" * 10_000_000
    at = "2026-09-07T08:00:00Z"
    text = {
        ".csv": f"timestamp,model_id,team\n{at},a,s\n{at},b,{huge}\n{at},c,s\n",
        ".jsonl": "".join(
            json.dumps({"timestamp": at, "model_id": model, "team": team}) + "\n"
            for model, team in (("a", "s"), ("b", huge), ("c", "s"))
        ),
    }[suffix]
    result = bring(engine, write(tmp_path / f"log{suffix}", text))
    assert [row["model_id"] for row in rows(engine)] == ["a", "c"]
    assert (result.rejected, result.read) == (1, 3)
    assert result.rejects_file is not None
    assert result.rejects_file.stat().st_size < 1_000


def test_a_list_of_rejects_is_safe_to_open_in_a_spreadsheet(sqlite_engine: Engine, tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", "timestamp,model_id,cost_usd\n2026-09-07T08:00:00Z,m,=1+1\n")
    # A field that cannot be read is listed too.
    assert rejects(bring(sqlite_engine, path))[0]["value"] == "'=1+1"


def test_an_old_list_of_rejects_goes_when_nothing_is_rejected_any_more(sqlite_engine: Engine, tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", "timestamp,model_id\nnever,m\n")
    listed = bring(sqlite_engine, path).rejects_file
    assert listed is not None
    assert listed.exists()
    write(path, "timestamp,model_id\n2026-09-07T08:00:00Z,m\n")
    bring(sqlite_engine, path)
    assert not listed.exists()


# --- files that cannot be read ----------------------------------------------------------------------------------------

packed = partial(gzip.compress, mtime=0)
GOOD = b"timestamp,model_id\n2026-09-07T08:00:00Z,m\n2026-09-07T08:00:01Z,m\n"


@pytest.mark.parametrize(
    ("name", "content", "reported"),
    [
        ("log.txt", b"", "the name ends in '.txt'"),
        ("log.parquet", b"PAR1 cut off", "it is truncated or damaged"),
        ("log.parquet", b"", "it is empty"),
        ("log.parquet", b"timestamp,model_id\n", "it is not Parquet; expected a whole Parquet file"),
        ("log.csv", b"a,b\n1,2\n", "no column is mapped to timestamp and model_id"),
        ("log.csv", b"", "it is empty"),
        ("log.jsonl", b"", "it is empty"),
        ("log.csv.gz", b"\x1f\x8bnot really", "its compressed content is damaged"),
        ("log.csv.gz", packed(GOOD)[:-12], "its compressed content ends too early"),
        ("log.csv.gz", packed(GOOD) + b"more", "its compressed content is damaged"),
        ("log.csv.gz", GOOD, "it is not compressed by gzip; expected gzip, or a name without .gz"),
        ("log.csv.gz", packed(packed(GOOD)), "it is compressed by gzip"),
        ("log.csv", packed(GOOD), "or a name that ends in .gz"),
        ("log.csv", b"PK\x03\x04 and more", "it is a ZIP archive or a spreadsheet"),
        ("log.csv", b"PAR1 and more", "a name that ends in .parquet"),
        ("log.csv", b"\0" * 9_999, "zero bytes only"),
        ("log.jsonl", b"\0" * 9_999, "zero bytes only"),
        ("log.csv", GOOD.decode().encode("utf-16"), "it is encoded in UTF-16; expected UTF-8: `iconv -f UTF-16"),
        ("log.csv", GOOD.decode().encode("utf-16-be"), "it is encoded in UTF-16BE"),
        ("log.jsonl", b'{"a": 1}'.decode().encode("utf-16"), "it is encoded in UTF-16"),
        ("log.csv.gz", packed(GOOD.decode().encode("utf-32")), "it is encoded in UTF-32"),
        ("log.jsonl", b'[{"timestamp": "2026-09-07T08:00:00Z", "model_id": "m"}]', "one JSON array"),
        ("log.jsonl", b'\xef\xbb\xbf [\n {"model_id": "m"}\n]\n', "`jq -c '.[]' FILE`"),
        ("log.jsonl", b'[\n{"timestamp": 1},\n{"timestamp": 1757232000000, "model_id": "m"}\n]', "one JSON array"),
        ("log.jsonl", b'{\n "model_id": "m"\n}\n', "`jq -c . FILE`"),
        ("log.jsonl", GOOD, "no line of it is a JSON object (line 1 is not valid JSON"),
        ("log.csv", b'[{"model_id": "m"}]', "its first line is JSON"),
        ("log.csv", b"timestamp model_id\n", "under [csv] the delimiter"),
        ("log.csv", b"timestamp,model_id,cost,cost\n", "two columns of its header have the name 'cost'"),
        ("log.csv", b"a" * 200_000 + b",b\n", "a field of more than 131,072 characters"),
        ("log.csv", b"a," * 600_000 + b"\n", "its first line is longer than 1,048,576 bytes"),
    ],
)
def test_a_file_of_another_format_than_its_name_is_reported_and_leaves_nothing(
    sqlite_engine: Engine, tmp_path: Path, name: str, content: bytes, reported: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnreadableInput) as caught:
        bring(sqlite_engine, path)
    assert reported in str(caught.value)
    assert rows(sqlite_engine) == []


def test_a_file_that_breaks_off_in_the_middle_leaves_nothing_half_written(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "CHUNK_ROWS", 10)
    text = "timestamp,model_id\n" + "2026-09-07T08:00:00Z,m\n" * 200
    whole = gzip.compress(text.encode(), compresslevel=0)
    path = tmp_path / "log.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableInput):
        bring(engine, path)
    assert rows(engine) == []


@pytest.mark.parametrize("end", ["\r", "\r\n", "\r\r\n", "\n\r"])
@pytest.mark.parametrize("name", ["log.csv", "log.jsonl", "log.csv.gz"])
def test_a_file_with_any_line_ends_is_read(sqlite_engine: Engine, tmp_path: Path, name: str, end: str) -> None:
    """Those of old Macs and of programs that convert line ends twice; also across the blocks that are read at once."""
    count, long = 300, "x" * 199
    if name == "log.jsonl":
        at = {"timestamp": "2026-09-07T08:00:00Z", "team": long}
        lines = [json.dumps(at | {"model_id": f"m{number}"}) for number in range(count)]
    else:
        lines = ["timestamp,model_id,team", *(f"2026-09-07T08:00:00Z,m{number},{long}" for number in range(count))]
    content = "".join(line + end for line in lines).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    result = bring(sqlite_engine, path)
    assert (result.added, result.rejected) == (count, 0)
    assert {row["team"] for row in rows(sqlite_engine)} == {long}


def test_mixed_line_ends_cost_no_row(sqlite_engine: Engine, tmp_path: Path) -> None:
    path = write(
        tmp_path / "log.csv", "timestamp,model_id\r\n" + "2026-09-07T08:00:00Z,m\r2026-09-07T08:00:01Z,n\n" * 3
    )
    assert bring(sqlite_engine, path).added == 6


def test_a_damaged_file_does_not_stop_the_next_one(tmp_path: Path) -> None:
    content = io.BytesIO()
    pl.DataFrame({"timestamp": ["2026-09-07T08:00:00Z"] * 50, "model_id": ["m"] * 50}).write_parquet(content)
    damaged = bytearray(content.getvalue())
    damaged[4:24] = b"\xff" * 20
    (tmp_path / "a.parquet").write_bytes(damaged)
    (tmp_path / "b.csv").write_bytes(GOOD.replace(b"\n", b"\r"))
    call(tmp_path, "init")
    done = call(tmp_path, "import", "a.parquet", "b.csv")
    assert (done.returncode, "b.csv: 2 rows read, 2 added" in done.stdout) == (1, True)
    (line,) = done.stderr.splitlines()
    assert line.startswith("routewatch: a.parquet: it is truncated or damaged (")
    assert line.endswith("expected a whole Parquet file: copy or export it again. Nothing was stored")


# --- invariants -------------------------------------------------------------------------------------------------------

_values = st.one_of(st.none(), st.text(max_size=20), st.floats(), st.integers(), st.booleans())
_rows = st.lists(
    st.fixed_dictionaries(
        {"timestamp": _values | st.just("2026-09-07T08:00:00Z"), "model_id": _values | st.just("m")},
        optional=dict.fromkeys([name for name in SELECTION_COLUMNS if name not in ("timestamp", "model_id")], _values),
    ),
    max_size=30,
)  # fmt: skip


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_rows)
def test_every_row_of_a_file_is_added_there_already_rejected_or_set_aside(
    shared_engine: Engine, tmp_path: Path, given_rows: list[dict[str, Any]]
) -> None:
    at = (MONDAY + timedelta(days=1)).isoformat()
    safe = [{"timestamp": at, "model_id": "m"}, *given_rows]
    path = write(tmp_path / "log.jsonl", "".join(json.dumps(row, default=str) + "\n" for row in safe))
    before = _count(shared_engine)
    result = bring(shared_engine, path)
    assert result.read == len(safe) == result.added + result.already_there + result.rejected + result.set_aside
    assert _count(shared_engine) - before == result.added
    assert bring(shared_engine, path).added == 0


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(alphabet='",\n\r a1', max_size=12), max_size=25))
def test_every_line_of_a_mangled_csv_is_counted_and_no_good_row_behind_it_is_lost(
    shared_engine: Engine, tmp_path: Path, mangled: list[str]
) -> None:
    last = "2026-09-07T08:00:00Z,last,fine\n"
    body = "".join(f"2026-09-07T08:00:00Z,m,{team}\n" for team in mangled)
    path = write(tmp_path / "log.csv", f"timestamp,model_id,team\n{body}{last}")
    result = bring(shared_engine, path)
    assert result.read == result.added + result.already_there + result.rejected + result.set_aside
    line = path.read_text().count("\n")  # with universal line ends
    assert all(int(row["line"]) <= line for row in (rejects(result) if result.rejects_file else []))


@cache
def _sound_files() -> dict[str, bytes]:
    frame = pl.DataFrame({
        "timestamp": [MONDAY + timedelta(seconds=number) for number in range(40)], "model_id": ["m", "n"] * 20,
        "team": ["search"] * 40, "cost_usd": [0.1 * number for number in range(40)], "error": [True, None] * 20,
    })  # fmt: skip
    found = {}
    for compression in ("zstd", "uncompressed", "snappy"):
        content = io.BytesIO()
        frame.write_parquet(content, compression=compression)
        found[f"{compression}.parquet"] = content.getvalue()
    csv_text, lines = frame.write_csv().encode(), frame.write_ndjson().encode()
    return found | {"log.csv": csv_text, "log.jsonl": lines, "log.csv.gz": gzip.compress(csv_text, mtime=0)}


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_file_with_any_damage_is_read_or_refused_and_never_an_internal_error(
    shared_engine: Engine, tmp_path: Path, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(_sound_files())))
    content = bytearray(_sound_files()[name])
    flips = st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(1, 255)), max_size=8)
    for at, bits in data.draw(flips):
        content[at] ^= bits
    kept = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    path = tmp_path / name
    path.write_bytes(content[:kept])
    before = _count(shared_engine)
    try:
        result = bring(shared_engine, path)
    except UnreadableInput:
        assert _count(shared_engine) == before
    else:
        assert result.read == result.added + result.already_there + result.rejected + result.set_aside


def _count(engine: Engine) -> int:
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(SELECTION)).scalar_one()


# --- counts of what is rejected ---------------------------------------------------------------------------------------


def rejected(engine: Engine) -> list[tuple[int, int, datetime]]:
    with reading(engine) as connection:
        found = connection.execute(select(INTAKE_COUNT).where(INTAKE_COUNT.c.outcome == "rejected"))
        return sorted((row.rows, row.errors, row.hour) for row in found)


def test_a_file_that_is_imported_again_counts_what_it_rejects_once_and_another_file_too(
    engine: Engine, tmp_path: Path
) -> None:
    lines = "timestamp,model_id,error\n2026-09-07T08:00:00Z,m,false\nsoon,m,true\n,m,true\nsoon,m,false\n"
    first = write(tmp_path / "first.csv", lines)
    for _ in range(3):
        assert bring(engine, first).rejected == 3
        # They count where the rows beside them are, whenever they are imported.
        assert rejected(engine) == [(1, 1, MONDAY + timedelta(hours=8)), (2, 1, MONDAY + timedelta(hours=8))]
    bring(engine, write(tmp_path / "renamed.csv", lines))
    assert len(rejected(engine)) == 2
    bring(engine, write(tmp_path / "other.csv", lines + "never,m,true\n"))
    assert sum(rows for rows, _, _ in rejected(engine)) == 7


def test_a_file_that_is_imported_again_with_the_right_mapping_has_nothing_rejected(
    engine: Engine, tmp_path: Path
) -> None:
    path = write(tmp_path / "log.csv", "timestamp,model_id\n1788768000,m\n1788768060,m\n")
    assert bring(engine, path).rejected == 2
    assert sum(rows for rows, _, _ in rejected(engine)) == 2
    seconds = load_mapping(write(tmp_path / "map.toml", '[columns]\ntimestamp = { from = "timestamp", unit = "s" }\n'))
    assert bring(engine, path, seconds).added == 2
    assert rejected(engine) == []
