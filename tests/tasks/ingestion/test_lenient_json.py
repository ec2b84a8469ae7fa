"""JSON as programs write it: what is no JSON in one value costs that value, and neither its row nor the others."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from routewatch.gate import Kind, read_field
from tasks.ingestion.column_mapping import Mapping
from tasks.ingestion.file_import import import_file
from tasks.ingestion.lenient_json import decode_text, parse_json
from tests.support.pulls import bring, stored

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
BEGIN = '{"timestamp": "2026-09-07T08:00:00Z", "model_id": "m", "error": true, "request_id": '
LINES = [
    BEGIN + '"undefined number", "cost_usd": NaN}',
    BEGIN + '"infinite", "cost_usd": -Infinity}',
    BEGIN + '"large", "cost_usd": 1e999}',
    BEGIN + '"long", "cost_usd": ' + "9" * 5_000 + "}",
    BEGIN + '"half", "team": "\\ud83d"}',
    BEGIN + '"break", "team": "a\tb"}',
]
BYTE = LINES[4].replace("half", "byte").encode().replace(b"\\ud83d", b"\xff")
RAW = b"\n".join([*(line.encode() for line in LINES), BYTE])
IDS = {"undefined number", "infinite", "large", "long", "half", "break", "byte"}


@given(VALUES)
def test_what_python_writes_is_read_and_can_be_stored(value: Any) -> None:
    read = parse_json(json.dumps(value))
    assert repr(parse_json(json.dumps(read))) == repr(read)
    json.dumps(read, ensure_ascii=False).encode()


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_nothing_but_a_fault_of_json_is_raised_and_valid_json_is_read_as_ever(content: bytes) -> None:
    try:
        plain = orjson.loads(content)
    except orjson.JSONDecodeError:
        try:
            parse_json(content)
        except orjson.JSONDecodeError:
            return
    else:
        assert parse_json(content) == plain


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, "{", "NaN NaN", "'a'", "{1: 2}", ""])
def test_what_is_no_json_at_all_is_refused(content: str) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        parse_json(content)


def test_texts_that_differ_in_what_is_no_text_still_differ_and_are_no_names() -> None:
    """Else two requests would be counted as one."""
    texts = [decode_text(b"caf\xe9"), decode_text(b"caf\xe8"), parse_json(r'"caf\ud800"'), parse_json(r'"caf\ud801"')]
    assert len(set(texts)) == len(texts)
    for text in texts:
        assert read_field(Kind.NAME, text) == (None, "contains control characters")
        assert str(read_field(Kind.IDENTIFIER, text)[0]).startswith("sha256:")
    assert math.isinf(parse_json("9" * 5_000))


def test_a_line_with_such_a_value_stays_in_an_import_with_its_error(sqlite_engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(RAW)
    result = import_file(sqlite_engine, path, mapping=Mapping(), zone="UTC", rejects_folder=tmp_path)
    assert (result.added, result.rejected, sum(dict(result.unknown_fields).values())) == (7, 0, 7)
    assert {name: row["error"] for name, row in stored(sqlite_engine).items()} == dict.fromkeys(IDS, True)


def test_it_stays_in_a_pull_of_files(sqlite_engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(RAW + b"\n")
    stats = bring(sqlite_engine, "table", tmp_path)
    assert (stats.added, stats.rejected.total(), stats.unknown.total()) == (7, 0, 7)
    assert stored(sqlite_engine).keys() == IDS


def test_a_row_of_a_sqlite_table_with_bytes_that_are_no_text_stays(sqlite_engine: Engine, tmp_path: Path) -> None:
    """And so do the rows after it, which one such text kept from ever being pulled."""
    with closing(sqlite3.connect(tmp_path / "theirs.db")) as theirs:
        theirs.execute("CREATE TABLE calls (n INTEGER PRIMARY KEY, request_id, timestamp, model_id, team)")
        for number, team in enumerate(("636166ff", "74"), 1):
            value = f"CAST(x'{team}' AS TEXT)"
            theirs.execute(f"INSERT INTO calls VALUES ({number}, 'r{number}', '2026-09-07T08:00:00Z', 'm', {value})")  # noqa: S608
        theirs.commit()
    mapping = tmp_path / "map.toml"
    mapping.write_text('[source]\ntable = "calls"\ncursor = "n"\nid = "request_id"\n')
    stats = bring(sqlite_engine, "table", f"sqlite:///{tmp_path / 'theirs.db'}", mapping=mapping)
    assert (stats.added, dict(stats.unknown)) == (2, {"team contains control characters": 1})
    assert {name: row.get("team") for name, row in stored(sqlite_engine).items()} == {"r1": None, "r2": "t"}


def test_a_csv_line_with_a_byte_that_is_no_text_stays(sqlite_engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = (b"2026-09-07T08:00:00Z,m,caf\xe9,r\xe9", b"2026-09-07T08:00:00Z,m,caf\xe9,r\xe8")
    path.write_bytes(b"\n".join((b"timestamp,model_id,team,request_id", *rows, b"")))
    result = import_file(sqlite_engine, path, mapping=Mapping(), zone="UTC", rejects_folder=tmp_path)
    assert (result.added, result.rejected) == (2, 0)
    assert all("team" not in row and row["model_id"] == "m" for row in stored(sqlite_engine).values())
