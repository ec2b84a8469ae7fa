"""Files that a source writes: each row is given once, however they grow, are cut, replaced or interrupted."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import SourceUnavailable, UnreadableInput
from tasks.ingestion.file_reader import Reject
from tasks.sources import export_files as exports
from tasks.sources.export_files import NOT_FINISHED, Exports, ParsedRow, json_object


class Reader:
    """Reads a location repeatedly, as a schedule does."""

    def __init__(self, location: object, **options: Any) -> None:
        self.exports = Exports(str(location), **options)
        self.cursor: str | None = None
        self.rejected: Counter[str] = Counter()

    def rows(self) -> list[ParsedRow]:
        rows = []
        for chunk in self.exports.chunks(self.cursor):
            rows += chunk.rows
            self.rejected += Counter(chunk.rejected)
            self.cursor = chunk.cursor
        return rows

    def numbers(self) -> list[int]:
        return [row.value["n"] for row in self.rows()]


def lines(numbers: Iterable[int]) -> bytes:
    return b"".join(b'{"n": %d}\n' % number for number in numbers)


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


# --- what grows -------------------------------------------------------------------------------------------------------


def test_a_second_pull_gives_only_what_was_written_since(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines([1, 2]))
    reader = Reader(path)
    assert [(row.line, row.value) for row in reader.rows()] == [(1, {"n": 1}), (2, {"n": 2})]
    assert reader.numbers() == []
    append(path, lines([3]))
    assert [(row.line, row.value) for row in reader.rows()] == [(3, {"n": 3})]
    assert not reader.rejected


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_file_that_grows_by_any_pieces_gives_the_rows_of_the_whole_once(data: st.DataObject) -> None:
    values = data.draw(
        st.lists(
            st.one_of(st.integers().map(json.dumps), st.text(max_size=5).map(json.dumps), st.just("{")), max_size=8
        )
    )
    ends = data.draw(st.lists(st.sampled_from(["\n", "\r\n", "\n\n"]), min_size=len(values), max_size=len(values)))
    content = "".join(f'{{"n": {value}}}{end}' for value, end in zip(values, ends, strict=True)).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=6)))
    with TemporaryDirectory() as folder:
        whole, growing = Path(folder) / "whole.jsonl", Path(folder) / "growing.jsonl"
        whole.write_bytes(content)
        once = Reader(whole)
        expected = [(row.line, row.value) for row in once.rows()]
        pieces, found = Reader(growing), []
        for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
            append(growing, content[start:end])
            found += [(row.line, row.value) for row in pieces.rows()]
        assert found == expected
        reason = {reason: count for reason, count in pieces.rejected.items() if reason != NOT_FINISHED}
        assert reason == dict(once.rejected)


def test_an_unfinished_last_line_waits_and_is_reported_once_where_its_end_does_not_come(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines([1]) + b'{"n": 2')
    reader = Reader(path)
    assert reader.numbers() == [1]
    assert not reader.rejected
    assert reader.numbers() == []
    assert reader.numbers() == []
    assert reader.rejected == {NOT_FINISHED: 1}
    assert reader.exports.size(reader.cursor) == 0
    append(path, b"2}\n")
    assert [(row.line, row.value["n"]) for row in reader.rows()] == [(2, 22)]


def test_a_last_line_that_only_lacks_its_line_break_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines([1]) + b'{"n": 2}')
    reader = Reader(path)
    assert reader.numbers() == [1, 2]
    append(path, b"\n" + lines([3]))
    assert reader.numbers() == [3]


@pytest.mark.parametrize("content", [lines([7]), lines([7, 8, 9, 10])])
def test_a_replaced_file_is_read_from_the_start(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines([1, 2]))
    reader = Reader(path)
    reader.rows()
    path.write_bytes(content)
    assert reader.numbers() == [json.loads(line)["n"] for line in content.splitlines()]


def test_after_a_rotation_the_rest_of_the_old_file_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines([1]))
    reader = Reader(tmp_path)
    reader.rows()
    append(path, lines([2]))
    path.rename(tmp_path / "log.jsonl.1")
    path.write_bytes(lines([3]))
    assert {2, 3} <= set(reader.numbers())
    assert reader.numbers() == []


def test_an_interrupted_pull_continues_at_the_last_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "CHUNK_ROWS", 2)
    monkeypatch.setattr(exports, "PART_ROWS", 2)
    (tmp_path / "a.jsonl").write_bytes(lines(range(5)))
    (tmp_path / "b.csv").write_text("n\n" + "".join(f"{number}\n" for number in range(5, 10)))
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(lines(range(10, 15))))
    found, cursor = [], None
    while (chunk := next(Exports(str(tmp_path)).chunks(cursor), None)) is not None:
        found += [int(row.value["n"]) for row in chunk.rows]
        cursor = chunk.cursor
    assert found == list(range(15))


# --- what there is to read --------------------------------------------------------------------------------------------


def test_files_of_all_kinds_are_read_in_order_of_name(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines([1])))
    (tmp_path / "b.csv").write_text("n,m\n2,x\n")
    (tmp_path / "c.json").write_text('[{"n": 3}, {"n": 4.5}]')
    (tmp_path / "d.json").write_text('{"n": 5}\n{"n": 6}\n')
    (tmp_path / "e.json").write_text('{\n  "n": 7\n}\n{\n  "n": 8\n}')
    (tmp_path / "f.json.gz").write_bytes(gzip.compress(b'\n [\n{"n": 9}]'))
    pl.DataFrame({"n": [10]}).write_parquet(tmp_path / "g.parquet")
    (tmp_path / "sub" / "h.ndjson").write_bytes(b"\xef\xbb\xbf" + lines([11]))
    (tmp_path / "notes.txt").write_text("nothing to read")
    (tmp_path / ".hidden.jsonl").write_bytes(lines([12]))
    reader = Reader(tmp_path)
    rows = reader.rows()
    assert [float(row.value["n"]) for row in rows] == [1, 2, 3, 4.5, 5, 6, 7, 8, 9, 10, 11]
    assert rows[-1].file == "sub/h.ndjson"
    assert not reader.rejected
    assert reader.rows() == []
    assert Exports(str(tmp_path)).size(reader.cursor) == 0


@pytest.mark.parametrize("name", ["[1] a b.jsonl", "ü→日本.jsonl", "*.jsonl", "per%20cent.jsonl"])
def test_a_name_may_have_any_characters(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(lines([1]))
    (tmp_path / "other.jsonl").write_bytes(lines([2]))
    reader = Reader(tmp_path / name)
    assert reader.numbers() == [1]
    assert reader.numbers() == []
    assert Reader(tmp_path).numbers() in ([1, 2], [2, 1])


def test_a_name_that_is_no_text_is_read_once_too(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jsonl")).write_bytes(lines([1]))
    reader = Reader(tmp_path)
    assert reader.numbers() == [1]
    assert reader.numbers() == []
    assert reader.cursor is not None
    assert reader.cursor.isascii()


def test_a_pattern_and_a_file_address_name_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a 1.jsonl").write_bytes(lines([1]))
    (tmp_path / "deep" / "b.jsonl").write_bytes(lines([2]))
    assert sorted(Reader(tmp_path / "**" / "*.jsonl").numbers()) == [1, 2]
    assert Reader((tmp_path / "deep" / "er" / "a 1.jsonl").as_uri()).numbers() == [1]
    monkeypatch.chdir(tmp_path)
    assert Reader("deep/*.jsonl").numbers() == [2]


def test_a_missing_path_is_reported_and_a_deleted_old_file_is_not(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="no such file or folder"):
        Reader(tmp_path / "gone.jsonl").rows()
    with pytest.raises(SourceUnavailable, match="no file matches"):
        Reader(tmp_path / "*.jsonl").rows()
    assert Reader(tmp_path).rows() == []
    (tmp_path / "a.jsonl").write_bytes(lines([1]))
    reader = Reader(tmp_path / "*.jsonl")
    reader.rows()
    (tmp_path / "a.jsonl").unlink()
    assert reader.rows() == []


def test_one_file_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(UnreadableInput, match="xlsx"):
        Reader(tmp_path / "a.xlsx").rows()


def test_only_the_required_keys_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"n": 1, "prompt": "long"}\n')
    (tmp_path / "b.csv").write_text("n,prompt\n2,long\n")
    (tmp_path / "c.json").write_text('[{"prompt": "long", "n": 3}]')
    rows = Reader(tmp_path, keep=frozenset({"n"})).rows()
    assert [row.value for row in rows] == [{"n": 1}, {"n": "2"}, {"n": 3}]


def test_other_formats_are_read_by_the_sources_own_reader(tmp_path: Path) -> None:
    (tmp_path / "a.pb").write_bytes(b"abc")
    reader = Reader(tmp_path, file_parsers={".pb": lambda path: [*path.read_bytes(), Reject(0, "is no span")]})
    assert [row.value for row in reader.rows()] == [97, 98, 99]
    assert reader.rejected == {"is no span": 1}
    assert reader.rows() == []


def test_a_line_is_parsed_as_the_source_says(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines([1, 2]))
    rows = Reader(tmp_path, parse=lambda line: json_object(line)["n"] * 10).rows()
    assert [row.value for row in rows] == [10, 20]


# --- what cannot be read ----------------------------------------------------------------------------------------------


def test_lines_that_are_no_rows_are_counted_by_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "LARGEST_LINE", 30)
    content = b'{"n": 1}\n{"n": \n[1]\n\n{"n": "\xff"}\n{"n": "' + b"x" * 100 + b'"}\n{"n": 2}\n'
    (tmp_path / "a.jsonl").write_bytes(content)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(content))
    reader = Reader(tmp_path)
    assert reader.numbers() == [1, "\0ff", 2] * 2, "a byte that is no text costs its field, which the gate refuses"
    assert reader.rejected == {
        "is not valid JSON": 2, "is not a JSON object": 2, "the line is longer than 30 bytes": 2,
    }  # fmt: skip


def test_a_file_that_cannot_be_read_is_counted_once_and_stops_nothing(tmp_path: Path) -> None:
    whole = gzip.compress(lines(range(1000)), mtime=0)
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    (tmp_path / "c.json").write_text('[{"n": 1}, {"n":')
    (tmp_path / "d.csv.gz").write_bytes(b"no gzip")
    (tmp_path / "e.jsonl").write_bytes(lines([5000]))
    reader = Reader(tmp_path)
    assert reader.numbers()[-1] == 5000
    assert sorted(reason.split(":")[0] for reason in reader.rejected) == [
        "a.jsonl.gz", "b.parquet", "c.json", "d.csv.gz",
    ]  # fmt: skip
    reason = dict(reader.rejected)
    assert reader.rows() == []
    assert reader.rejected == reason
    (tmp_path / "a.jsonl.gz").write_bytes(whole)
    assert reader.numbers() == list(range(1000))


def test_a_file_that_may_not_be_opened_is_read_once_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines([1]))
    reader = Reader(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", _refused)
        assert reader.rows() == []
    assert reader.rejected == {"a.jsonl: Permission denied": 1}
    assert reader.numbers() == [1]


def _refused(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_csv_with_long_texts_of_many_lines_is_read(tmp_path: Path) -> None:
    prompt = "\n".join("word " * 20 for _ in range(3000))
    pl.DataFrame({"n": [1], "prompt": [prompt]}).write_csv(tmp_path / "a.csv")
    (row,) = Reader(tmp_path).rows()
    assert row.value == {"n": "1", "prompt": prompt}


def test_a_cursor_that_is_not_understood_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines([1]))
    for cursor in ("", "x", "[]", '{"files": 1}', '{"files": {"a.jsonl": 1}}', '{"start": "2026-01-01"}'):
        assert [chunk.rows[0].value for chunk in Exports(str(tmp_path)).chunks(cursor)] == [{"n": 1}]


def test_size_is_what_is_ahead(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines([1]))
    reader = Reader(tmp_path)
    assert reader.exports.size(None) == path.stat().st_size
    (chunk,) = reader.exports.chunks(None)
    assert chunk.done == path.stat().st_size
    reader.rows()
    append(path, lines([2, 3]))
    assert reader.exports.size(reader.cursor) == len(lines([2, 3]))
