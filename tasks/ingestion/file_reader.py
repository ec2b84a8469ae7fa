"""Stream files of selections as chunks of raw columns; reject invalid rows with their line."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
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
from tasks.ingestion.raw_text import HEAD_BYTES, UniversalNewlines, other_format

CHUNK_ROWS = 50_000
LARGEST_RECORD = 1 << 20
"""Characters of one record; a longer one is a payload, not a selection."""

LONGEST_RECORD_LINES = 100
"""Physical lines that one quoted record may span before its quote counts as broken."""

LARGEST_FIELD = 1 << 17
"""Characters of one field of a CSV."""

DELIMITERS = ",;\t|"
"""Those that are found without a mapping: the most frequent one of the header."""

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
            head = stream.peek(HEAD_BYTES)[:HEAD_BYTES]
            if found := other_format(head):
                raise UnreadableInput(str(path), *found)
            lines = _lines(io.BufferedReader(UniversalNewlines(stream), _BUFFER_BYTES), limits.record)
            total = path.stat().st_size
            if kind[0].lower() in (".csv", ".tsv"):
                yield _csv(path, lines, file.tell, total, delimiter=delimiter, limits=limits)
            else:
                yield OpenFile(None, _jsonl(path, _start(head), lines, file.tell, limits), total)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged_gzip(path, error) from error
    except OSError as error:
        raise UnreadableInput(str(path), error.strerror or str(error), "a file that this user may read") from error


# --- CSV --------------------------------------------------------------------------------------------------------------

Line = tuple[int, str | None]
"""A physical line with its number; None if it is too long."""


_BUFFER_BYTES = 1 << 17


def _start(head: bytes) -> bytes:
    return head.removeprefix(codecs.BOM_UTF8).lstrip()[:1]


@contextmanager
def _plain(path: Path, file: io.BufferedReader) -> Iterator[Any]:
    """The bytes of a file, which may be compressed, as a stream that can also be peeked into."""
    if path.suffix.lower() != ".gz":
        yield file
        return
    with gzip.GzipFile(fileobj=file) as stream:
        yield stream


def _damaged_gzip(path: Path, error: Exception) -> UnreadableInput:
    with path.open("rb") as file:
        head = file.read(2)
    if head != b"\x1f\x8b":
        return UnreadableInput(str(path), "it is not compressed by gzip", "gzip, or a name without .gz")
    kind = "ends too early" if isinstance(error, EOFError) else f"is damaged ({error})"
    return UnreadableInput(str(path), f"its compressed content {kind}", "a whole gzip file: copy or export it again")


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
        found = "its first line is not text"
        if first is None:
            found = "it is empty"
        elif first[1] is None:
            found = limits.too_long.replace("the", "its first", 1)
        raise UnreadableInput(str(path), found, "a CSV with a header")
    if first[1].lstrip().startswith(("{", "[")):
        raise UnreadableInput(str(path), "its first line is JSON", "a CSV with a header, or a name that ends in .jsonl")
    delimiter = delimiter or max(DELIMITERS, key=first[1].count)
    # Outside of a field, a quote that is not closed stands for nothing.
    header = _fields(first[1], delimiter, limits.field, strict=False)
    if header is None:
        found = f"its header has a field of more than {limits.field:,} characters"
        raise UnreadableInput(str(path), found, "a CSV with a header")
    columns = tuple(name.strip() for name in header)
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        found = f"two columns of its header have the name {twice[:100]!r}"
        raise UnreadableInput(str(path), found, "a name for each column")
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


def _fields(record: str, delimiter: str, largest: int, *, strict: bool = True) -> list[str] | None:
    before = csv.field_size_limit(largest)
    try:
        # Strict: a quote closes its field only if a delimiter follows.
        return next(csv.reader([record], delimiter=delimiter, strict=strict))
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


_NO_OBJECT = "is not a JSON object"


def _jsonl(
    path: Path, start: bytes, lines: Iterator[Line], position: Callable[[], int], limits: Limits
) -> Iterator[Chunk]:
    objects = (_object(number, text, limits) for number, text in lines if text is None or text.strip())
    fault: Reject | None = None
    has_rows = False
    for chunk in _in_chunks(objects, frame_of, position, limits):
        has_rows |= bool(chunk.lines)
        fault = fault or next(iter(chunk.rejects), None)
        if start == b"[" and fault is not None and fault.reason != _NO_OBJECT:
            # Of an array over several lines, only its last object is without a comma behind it.
            break
        yield chunk
    else:
        if has_rows:
            return
    raise UnreadableInput(str(path), *_other_json(start, fault))


def _other_json(start: bytes, fault: Reject | None) -> tuple[str, str]:
    """What a file is in which no line is an object, by how it starts and its first fault, and what is expected."""
    expected = "one JSON object per line"
    if fault is None:
        return "it is empty", expected
    if start == b"[":
        return "it is one JSON array", f"{expected}: `jq -c '.[]' FILE` writes them"
    if start == b"{":
        return f"no line of it is a whole JSON object (line {fault.line} {fault.reason})", (
            f"{expected}: `jq -c . FILE` writes them"
        )
    return f"no line of it is a JSON object (line {fault.line} {fault.reason})", expected


def _object(number: int, text: str | None, limits: Limits) -> tuple[int, dict[str, Any]] | Reject:
    if text is None:
        return Reject(number, limits.too_long)
    try:
        value = parse_json(text)
    except orjson.JSONDecodeError as error:
        return Reject(number, f"is not valid JSON ({str(error).split(':')[0]})", value=text)
    if not isinstance(value, dict):
        return Reject(number, _NO_OBJECT, value=text)
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

_WHOLE_PARQUET = "a whole Parquet file: copy or export it again"


def _parquet(path: Path, limits: Limits) -> OpenFile:
    from pyarrow.parquet import ParquetFile  # noqa: PLC0415 - only Parquet needs it

    with path.open("rb") as file:
        head = file.read(len(_PARQUET_MAGIC))
    if head != _PARQUET_MAGIC:
        raise UnreadableInput(str(path), "it is empty" if not head else "it is not Parquet", _WHOLE_PARQUET)
    with _sound(path):
        content = ParquetFile(path, page_checksum_verification=True)
        columns, rows = tuple(content.schema_arrow.names), content.metadata.num_rows
    return OpenFile(columns, _row_groups(path, content, rows, limits), rows)


_PARQUET_MAGIC = b"PAR1"


def _row_groups(path: Path, file: Any, rows: int, limits: Limits) -> Iterator[Chunk]:
    done = 0
    with _sound(path):
        batches = file.iter_batches(batch_size=limits.chunk_rows or CHUNK_ROWS)
    while True:
        with _sound(path):
            batch = next(batches, None)
            if batch is None:
                break
            # Damage may leave texts that are none and indices beyond their dictionary.
            batch.validate(full=True)
            frame = pl.DataFrame(pl.from_arrow(batch))
        lines = list(range(done + 1, done + frame.height + 1))
        done += frame.height
        yield Chunk(frame, lines, [], done)
    if done != rows:
        raise UnreadableInput(str(path), f"it has {done:,} rows and says that it has {rows:,}", _WHOLE_PARQUET)


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    """Report whatever the library raises for damaged content: it has no class of its own for that."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise
        raise _damaged_parquet(path, error) from error
    except Exception as error:
        raise _damaged_parquet(path, error) from error


def _damaged_parquet(path: Path, error: Exception) -> UnreadableInput:
    cause = str(error).strip().partition("\n")[0].rstrip(".:")[:200]
    return UnreadableInput(str(path), f"it is truncated or damaged ({cause})", _WHOLE_PARQUET)
