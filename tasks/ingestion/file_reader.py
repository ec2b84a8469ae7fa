"""Stream files of selections as chunks of raw columns; reject invalid rows with their line."""

from __future__ import annotations

import codecs
import csv
import gzip
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeVar

import orjson
import polars as pl

from models.errors import UnreadableInput
from tasks.ingestion.lenient_json import UNREADABLE, decode_text, parse_json

CHUNK_ROWS = 50_000
LARGEST_RECORD = 1 << 20
"""Characters of one record; a longer one is a payload, not a selection."""

LONGEST_RECORD_LINES = 100
"""Physical lines that one quoted record may span before its quote counts as broken."""

LARGEST_FIELD = 1 << 17
"""Characters of one field of a CSV."""

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


Row = TypeVar("Row")


@dataclass(frozen=True)
class Limits:
    """Size limits of a record of a file, and the number of rows per chunk (None: CHUNK_ROWS)."""

    record: int = LARGEST_RECORD
    record_lines: int = LONGEST_RECORD_LINES
    field: int = LARGEST_FIELD
    chunk_rows: int | None = None

    @property
    def too_long(self) -> str:
        """The fault of a line that exceeds these limits."""
        return f"the line is longer than {self.record:,} bytes"


@dataclass(frozen=True)
class Reject:
    """A row that is not stored. `line` is the physical line, in Parquet the row number, counted from 1."""

    line: int
    reason: str
    column: str = ""
    value: str = ""


@dataclass(frozen=True)
class Chunk:
    """Raw columns as in the file, the line of each row, the rows that could not be read, and the position reached.

    `done` counts up to the `total` of `open_file`.
    """

    frame: pl.DataFrame
    lines: list[int]
    rejects: list[Reject]
    done: int


@dataclass(frozen=True)
class OpenFile:
    """An open file: its columns, if they are known before its rows, and its chunks."""

    columns: tuple[str, ...] | None
    chunks: Iterator[Chunk]
    total: int


@contextmanager
def open_file(path: Path, delimiter: str | None, limits: Limits = Limits()) -> Iterator[OpenFile]:
    """Open a file by its suffix. Raises UnreadableInput if the file as a whole does not have that format."""
    kind = [suffix for suffix in path.suffixes if suffix != ".gz"][-1:] or [""]
    if kind[0].lower() not in SUFFIXES:
        raise UnreadableInput(str(path), f"the name ends in {kind[0] or 'nothing'!r}", " or ".join(SUFFIXES))
    try:
        if kind[0].lower() == ".parquet":
            yield _parquet(path, limits)
            return
        with path.open("rb") as file, _plain(path, file) as stream:
            lines = _lines(stream, limits.record)
            total = path.stat().st_size
            if kind[0].lower() in (".csv", ".tsv"):
                yield _csv(path, lines, file.tell, total, delimiter=delimiter, limits=limits)
            else:
                yield OpenFile(None, _jsonl(lines, file.tell, limits), total)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableInput(str(path), str(getattr(error, "strerror", None) or error), "a file to read") from error


# --- CSV --------------------------------------------------------------------------------------------------------------

Line = tuple[int, str | None]
"""A physical line with its number; None if it is too long."""


@contextmanager
def _plain(path: Path, file: IO[bytes]) -> Iterator[IO[bytes]]:
    if path.suffix.lower() != ".gz":
        yield file
        return
    with gzip.GzipFile(fileobj=file) as stream:
        yield stream  # type: ignore[misc]


def _lines(stream: IO[bytes], largest: int) -> Iterator[Line]:
    number = 0
    while line := stream.readline(largest + 1):
        number += 1
        if len(line) > largest and not line.endswith(b"\n"):
            while (rest := stream.readline(largest)) and not rest.endswith(b"\n"):
                pass
            yield number, None
            continue
        # A byte that is no text costs its field.
        yield number, decode_text(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line)


def _csv(
    path: Path, lines: Iterator[Line], position: Callable[[], int], total: int, *, delimiter: str | None, limits: Limits
) -> OpenFile:
    first = next(((number, text) for number, text in lines if text is None or text.strip()), None)
    if first is None or first[1] is None or UNREADABLE in first[1]:
        raise UnreadableInput(
            str(path), "it is empty" if first is None else "its first line is not text", "a CSV with a header"
        )
    delimiter = delimiter or max(",;\t", key=first[1].count)
    header = next(csv.reader([first[1]], delimiter=delimiter))
    columns = tuple(name.strip() for name in header)
    if len(set(columns)) < len(columns):
        raise UnreadableInput(str(path), "two columns of its header have one name", "a name for each column")
    records = _records(lines, len(columns), delimiter, limits)
    return OpenFile(columns, _in_chunks(records, lambda rows: _by_column(rows, columns), position, limits), total)


class _Lines:
    """An iterator of lines with pushback."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._back: deque[Line] = deque()

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> Line:
        return self._back.popleft() if self._back else next(self._lines)

    def put_back(self, lines: list[Line]) -> None:
        self._back.extendleft(reversed(lines))


def _records(
    source: Iterator[Line], width: int, delimiter: str, limits: Limits
) -> Iterator[tuple[int, list[str]] | Reject]:
    """One row per record; a record with line breaks in a quoted field spans several physical lines."""
    lines = _Lines(source)
    for number, text in lines:
        if text is None:
            yield Reject(number, limits.too_long)
        elif text.strip():
            yield _record(number, text, lines, width=width, delimiter=delimiter, limits=limits)


def _record(
    number: int, text: str, lines: _Lines, *, width: int, delimiter: str, limits: Limits
) -> tuple[int, list[str]] | Reject:
    opens = text.count('"') % 2 == 1
    record, taken = _joined(text, lines, limits) if opens else (text, [])
    row = _fields(record, delimiter, limits.field)
    if row is not None and len(row) == width and record.count('"') % 2 == 0:
        return number, row
    # An unclosed quote must not swallow the rows after it.
    lines.put_back(taken)
    if opens:
        return Reject(number, "a quote is opened and not closed", value=text)
    return Reject(
        number, f"{'a field is too long' if row is None else f'{len(row)} fields'}, {width} expected", value=text
    )


def _joined(text: str, lines: _Lines, limits: Limits) -> tuple[str, list[Line]]:
    """The record that an open quote spans over several lines, and the lines used for it."""
    taken: list[Line] = []
    parts, size = [text], len(text)
    while len(taken) < limits.record_lines and size <= limits.record:
        line = next(lines, None)
        if line is None:
            break
        taken.append(line)
        if line[1] is None:
            break
        parts.append(line[1])
        size += len(line[1])
        if line[1].count('"') % 2:
            break
    return "".join(parts), taken


def _fields(record: str, delimiter: str, largest: int) -> list[str] | None:
    before = csv.field_size_limit(largest)
    try:
        # Strict: a quote closes its field only if a delimiter follows.
        return next(csv.reader([record], delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    finally:
        csv.field_size_limit(before)


def _by_column(rows: list[list[str]], columns: tuple[str, ...]) -> pl.DataFrame:
    values = zip(*rows, strict=True) if rows else [[] for _ in columns]
    return pl.DataFrame(
        [pl.Series(name, column, dtype=pl.String) for name, column in zip(columns, values, strict=True)]
    )


# --- JSONL ------------------------------------------------------------------------------------------------------------


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Raw columns from rows: the union of their keys; a column has one type if all its values do, else text."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pl.DataFrame([_column(name, [row.get(name) for row in rows]) for name in names])


def _jsonl(lines: Iterator[Line], position: Callable[[], int], limits: Limits) -> Iterator[Chunk]:
    objects = (_object(number, text, limits) for number, text in lines if text is None or text.strip())
    return _in_chunks(objects, frame_of, position, limits)


def _object(number: int, text: str | None, limits: Limits) -> tuple[int, dict[str, Any]] | Reject:
    if text is None:
        return Reject(number, limits.too_long)
    try:
        value = parse_json(text)
    except orjson.JSONDecodeError as error:
        return Reject(number, f"is not valid JSON ({str(error).split(':')[0]})", value=text)
    if not isinstance(value, dict):
        return Reject(number, "is not a JSON object", value=text)
    return number, value


def _column(name: str, values: list[Any]) -> pl.Series:
    """A single type if all values share it; else text in JSON form."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or (len(kinds) == 1 and not kinds & {dict, list}):
        try:
            return pl.Series(name, values, strict=kinds != {int, float})
        except (OverflowError, TypeError):
            pass
    texts = [value if value is None or isinstance(value, str) else orjson.dumps(value).decode() for value in values]
    return pl.Series(name, texts, dtype=pl.String)


def _in_chunks(
    rows: Iterator[tuple[int, Row] | Reject],
    framed: Callable[[list[Row]], pl.DataFrame],
    position: Callable[[], int],
    limits: Limits,
) -> Iterator[Chunk]:
    while batch := list(islice(rows, limits.chunk_rows or CHUNK_ROWS)):
        kept = [row for row in batch if not isinstance(row, Reject)]
        rejects = [row for row in batch if isinstance(row, Reject)]
        yield Chunk(framed([row for _, row in kept]), [line for line, _ in kept], rejects, position())


# --- Parquet ----------------------------------------------------------------------------------------------------------


def _parquet(path: Path, limits: Limits) -> OpenFile:
    from pyarrow import ArrowInvalid  # noqa: PLC0415 - only Parquet needs it
    from pyarrow.parquet import ParquetFile  # noqa: PLC0415

    try:
        file = ParquetFile(path)
    except ArrowInvalid as error:
        raise UnreadableInput(str(path), "it is not a Parquet file or is truncated", "a whole Parquet file") from error
    return OpenFile(tuple(file.schema_arrow.names), _row_groups(file, limits), file.metadata.num_rows)


def _row_groups(file: Any, limits: Limits) -> Iterator[Chunk]:
    done = 0
    for batch in file.iter_batches(batch_size=limits.chunk_rows or CHUNK_ROWS):
        frame = pl.DataFrame(pl.from_arrow(batch))
        lines = list(range(done + 1, done + frame.height + 1))
        done += frame.height
        yield Chunk(frame, lines, [], done)
