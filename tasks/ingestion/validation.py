"""Read raw columns of a file or source as columns of a selection, by the rules of the gate (routewatch.gate).

This reads whole columns, where routewatch.gate.accept reads one row: tests hold both to the same result.
"""

from __future__ import annotations

from collections.abc import Mapping as Map
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from routewatch.gate import (
    AHEAD,
    BOUNDS,
    EARLIEST,
    FALSE,
    FIELDS,
    LATEST,
    MISSING,
    NEGATIVE,
    NOT_A_FLAG,
    NOT_A_NUMBER,
    NOT_FINITE,
    NOT_TEXT,
    NOT_WHOLE,
    NOTHING,
    OUTSIDE_YEARS,
    TEXT_LENGTH,
    TRUE,
    UNKNOWN_MODEL,
    WORD_FOR_NOTHING,
    Kind,
    above,
    read_field,
    read_identifier,
    read_name,
)
from tasks.ingestion.column_mapping import COUNTS, FLAGS, RATIOS, SELECTION_COLUMNS, TEXTS, ColumnSource, Unit

INSTANT = pl.Datetime("us", "UTC")
PER_SECOND: dict[Unit, int] = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

FARTHEST_US = 1e17
"""Microseconds from 1970 beyond which an instant would overflow; far outside the accepted years."""

DEFAULT_UNIT: Unit = "ms"
"""Default unit of a numeric time: the product document records Date.now()."""

_EPOCH = r"^\d{9,}$"
"""Text that is a number since 1970."""

_PLAIN_ID = rf"^[!-~]([ -~]{{0,{TEXT_LENGTH - 2}}}[!-~])?$"


@dataclass(frozen=True)
class ValidatedRows:
    """Rows as the gate sorted them; each raw row is in exactly one of `good`, `aside` and `bad`.

    `good` and `aside` have COLUMNS of tasks.ingestion.column_mapping and `line`; `aside` are those ahead of the clock,
    with `reason`. `bad` has line, reason, column, value, is_error, and as `at` the time of the nearest row before it
    that has one, or else after it, or NULL. `unknown` has the fields of good rows that could not be read: line, column,
    reason, value, at, is_error.
    """

    good: pl.DataFrame
    bad: pl.DataFrame
    aside: pl.DataFrame
    unknown: pl.DataFrame


def check(
    raw: pl.DataFrame, lines: list[int], sources: Map[str, ColumnSource], zone: str, latest: datetime
) -> ValidatedRows:
    """Sort rows by the gate. Times without an offset are in `zone`; times after `latest` are ahead of the clock."""
    read = {name: _read(raw, name, sources[name], zone) for name in SELECTION_COLUMNS if name in sources}
    values = pl.DataFrame(
        {"line": pl.Series(lines, dtype=pl.Int64)} | {name: found.values for name, found in read.items()}
    )
    rows = _completed(values, read)
    nothing = pl.Series([None] * rows.height, dtype=pl.String)
    times = read.get("timestamp", _Read(nothing, nothing, nothing))
    listed = rows.select(
        "line", reason=times.faults.fill_null(MISSING), column=pl.lit("timestamp"), value=times.shown, is_error="error",
        at=pl.col("timestamp").forward_fill().backward_fill(),
    )  # fmt: skip
    has_time = rows["timestamp"].is_not_null()
    is_ahead = has_time & (rows["timestamp"] > latest).fill_null(False)
    return ValidatedRows(
        good=rows.filter(has_time & ~is_ahead),
        bad=listed.filter(~has_time),
        aside=rows.filter(is_ahead).with_columns(reason=pl.lit(f"timestamp {AHEAD}")),
        unknown=_unknown(rows, read, has_time & ~is_ahead),
    )


# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Read:
    """One parsed column: its values, the fault of each (NULL: none), and the raw text to show."""

    values: pl.Series
    faults: pl.Series
    shown: pl.Series


def _completed(values: pl.DataFrame, read: Map[str, _Read]) -> pl.DataFrame:
    """Columns that the file lacks are unknown, and so is a model that is not said; a row with an error type failed."""
    missing = {name: pl.lit(None, dtype=_type_of(name)) for name in SELECTION_COLUMNS if name not in values.columns}
    whole = values.with_columns(**missing)
    has_type = whole["error_type"].is_not_null()
    if "error_type" in read:
        faults = read["error_type"].faults
        has_type |= faults.is_not_null() & ~faults.is_in([WORD_FOR_NOTHING, NOT_TEXT])
    return whole.with_columns(
        error=pl.coalesce("error", has_type), model_id=pl.col("model_id").fill_null(UNKNOWN_MODEL)
    ).select("line", *SELECTION_COLUMNS)


def _unknown(rows: pl.DataFrame, read: Map[str, _Read], is_counted: pl.Series) -> pl.DataFrame:
    """One row for each unreadable field of the counted rows."""
    parts = [
        rows.select(
            "line", column=pl.lit(name), reason=found.faults, value=found.shown, at="timestamp", is_error="error"
        ).filter(found.faults.is_not_null() & is_counted)
        for name, found in read.items()
        if found.faults.null_count() < len(found.faults)
    ]
    texts = dict.fromkeys(("column", "reason", "value"), pl.String)
    schema: dict[str, Any] = {"line": pl.Int64, **texts, "at": INSTANT, "is_error": pl.Boolean}
    return pl.concat([pl.DataFrame(schema=schema), *parts])


_NOTHING = "\0"
"""A text that is no value of any field."""


def _type_of(name: str) -> pl.DataType:
    if name == "timestamp":
        return INSTANT
    if name in FLAGS:
        return pl.Boolean()
    if name in TEXTS:
        return pl.String()
    return pl.Int64() if name in COUNTS else pl.Float64()


def _read(raw: pl.DataFrame, name: str, source: ColumnSource, zone: str) -> _Read:
    column = _column(raw, source)
    if name == "timestamp":
        read = _instants(column, source.unit, zone)
    elif source.is_set or source.equals is not None:
        read = _derived_flags(column, source)
    elif name == "error":
        read = _failures(column)
    elif name in FLAGS:
        read = _flags(column)
    elif name in TEXTS:
        read = _texts(column, name)
    elif source.minus is not None:
        read = _durations(column, _plain(raw[source.minus]), source.unit, zone)
    else:
        read = _numbers(column, name, source)
    if name == "request_id":
        # Its hash stands for an id that cannot be stored: the row is still known by it.
        return read
    return _Read(read.values.set(read.faults.is_not_null(), None), read.faults, read.shown)


def _column(raw: pl.DataFrame, source: ColumnSource) -> pl.Series:
    """The raw values; empty text is unknown."""
    if source.column is None:
        return pl.Series([source.value] * raw.height)
    if source.column not in raw.columns:
        return pl.Series([None] * raw.height, dtype=pl.String)
    column = _plain(raw[source.column])
    if column.dtype == pl.String:
        stripped = column.str.strip_chars()
        return stripped.set(stripped == "", None)
    return column


def _plain(column: pl.Series) -> pl.Series:
    """Values of a kind that no field has, as lists and durations, as a text that none can read; bytes as their text."""
    kind = column.dtype
    if kind == pl.Binary:
        texts = (None if it is None else it.decode("utf-8", "replace").replace("\ufffd", _NOTHING) for it in column)
        return pl.Series(column.name, list(texts), dtype=pl.String)
    if kind.is_nested() or kind in (pl.Object, pl.Duration, pl.Time):
        return pl.select(pl.when(column.is_not_null()).then(pl.lit(_NOTHING)).alias(column.name)).to_series()
    return column


def _shown(column: pl.Series) -> pl.Series:
    return column.cast(pl.String, strict=False).str.slice(0, TEXT_LENGTH)


def _faults(*rules: tuple[pl.Series, str]) -> pl.Series:
    """The message of the first rule that a value breaks; NULL if it is valid."""
    first = pl.coalesce([pl.when(broken).then(pl.lit(message)) for broken, message in rules])
    return pl.select(first.cast(pl.String)).to_series()


def _texts(column: pl.Series, name: str) -> _Read:
    """Texts in their one form. Nearly all texts of a column are one of a few, and each of them is read once."""
    texts = column.cast(pl.String, strict=False)
    odd, read_one = texts.drop_nulls().unique(), read_name
    if FIELDS[name] is Kind.IDENTIFIER:
        # Ids are all different, and hardly any needs more than a look.
        is_plain = odd.str.contains(_PLAIN_ID) & ~odd.str.to_lowercase().is_in(sorted(NOTHING))
        odd, read_one = odd.filter(~is_plain), read_identifier
    read = [read_one(text) for text in odd]
    forms = pl.DataFrame(
        {"text": odd, "form": [form for form, _ in read], "fault": [fault for _, fault in read]},
        schema={"text": pl.String, "form": pl.String, "fault": pl.String},
    ).with_columns(is_found=pl.lit(True))
    joined = texts.alias("text").to_frame().join(forms, on="text", how="left", maintain_order="left")
    values = joined.select(pl.when(pl.col("is_found")).then("form").otherwise("text")).to_series()
    is_no_text = column.is_not_null() & texts.is_null()
    faults = joined.select(pl.when(is_no_text).then(pl.lit(NOT_TEXT)).otherwise("fault")).to_series()
    return _Read(values, faults, _shown(column))


def _flags(column: pl.Series) -> _Read:
    if column.dtype == pl.Boolean:
        return _Read(column, pl.Series([None] * len(column), dtype=pl.String), _shown(column))
    # A float is written 1.0 where an integer is written 1.
    texts = column.cast(pl.String, strict=False).str.to_lowercase().str.strip_suffix(".0")
    true, false = texts.is_in(TRUE), texts.is_in(FALSE)
    values = pl.select(pl.when(true).then(True).when(false).then(False)).to_series()
    return _Read(values, _faults((column.is_not_null() & values.is_null(), NOT_A_FLAG)), _shown(column))


def _failures(column: pl.Series) -> _Read:
    if column.dtype == pl.Boolean:
        return _flags(column)
    values: list[bool | None] = []
    faults: list[str | None] = []
    known: dict[Any, tuple[bool | None, str | None]] = {}
    for value in column:
        # One that does not equal itself would be put there again each time.
        read = known.get(value) or read_field(Kind.FAILURE, value)
        if value == value:  # noqa: PLR0124
            known[value] = read
        failed, fault = read
        values.append(failed)
        faults.append(fault)
    return _Read(pl.Series(values, dtype=pl.Boolean), pl.Series(faults, dtype=pl.String), _shown(column))


def _derived_flags(column: pl.Series, source: ColumnSource) -> _Read:
    none = pl.Series([None] * len(column), dtype=pl.String)
    if source.equals is None:
        return _Read(column.is_not_null(), none, _shown(column))
    return _Read(column.cast(pl.String, strict=False).is_in(source.equals), none, _shown(column))


def _numbers(column: pl.Series, name: str, source: ColumnSource) -> _Read:
    # A flag or a time is no number, though each can be cast to one.
    is_readable = column.dtype.is_numeric() or column.dtype in (pl.String, pl.Null)
    numbers = (
        column.cast(pl.Float64, strict=False) if is_readable else pl.Series([None] * len(column), dtype=pl.Float64)
    )
    low, high = source.minimum, source.maximum
    if low is not None and high is not None:
        scaled = (numbers - low) / (high - low)
    else:
        scaled = numbers * (1.0 if source.multiply is None else source.multiply)
    rejected = column.is_not_null() & (numbers.is_null() | numbers.is_nan())
    rules = [(rejected, NOT_A_NUMBER), (scaled.is_infinite(), NOT_FINITE)]
    smallest, largest = BOUNDS[FIELDS[name]]
    if name in RATIOS:
        valid_range = "0 to 1" if low is None else f"{low:g} to {high:g}"
        rules.append(((scaled < smallest) | (scaled > largest), f"is outside {valid_range}"))
    else:
        rules += [(scaled < smallest, NEGATIVE), (scaled > largest, above(FIELDS[name]))]
    if name in COUNTS:
        rules.append((scaled != scaled.round(), NOT_WHOLE))
    values = scaled.cast(pl.Int64, strict=False) if name in COUNTS else scaled
    return _Read(values, _faults(*rules), _shown(column))


def _instants(column: pl.Series, unit: Unit | None, zone: str) -> _Read:
    times = _times(column, unit, zone)
    outside = (times < EARLIEST) | (times >= LATEST)
    hint = f"{OUTSIDE_YEARS}, read as {unit or DEFAULT_UNIT}: does the mapping's unit fit?"
    is_number = pl.Series([not column.dtype.is_temporal()] * len(column))
    if column.dtype == pl.String:
        is_number = column.str.contains(_EPOCH).fill_null(False)
    rules = (
        (column.is_not_null() & times.is_null(), "is not an ISO 8601 time"),
        (outside & is_number, hint),
        (outside, OUTSIDE_YEARS),
    )
    return _Read(times, _faults(*rules), _shown(column))


def _durations(end: pl.Series, start: pl.Series, unit: Unit | None, zone: str) -> _Read:
    elapsed = _times(end, unit, zone) - _times(start, unit, zone)
    values = elapsed.dt.total_microseconds() / 1_000
    rules = (
        (end.is_not_null() & start.is_not_null() & values.is_null(), "is not a time"),
        (values < 0, "ends before it starts"),
        (values > BOUNDS[Kind.AMOUNT][1], above(Kind.AMOUNT)),
    )
    return _Read(values, _faults(*rules), _shown(end))


def _times(column: pl.Series, unit: Unit | None, zone: str) -> pl.Series:
    """UTC instants in microseconds; NULL for values that are not times or out of range."""
    if column.dtype == pl.Date:
        column = column.cast(pl.Datetime("us"))
    if isinstance(column.dtype, pl.Datetime):
        if column.dtype.time_zone:
            # It counts from the epoch whatever zone it names, which this machine may not know.
            return column.to_physical().cast(pl.Datetime(column.dtype.time_unit, "UTC")).dt.cast_time_unit("us")
        local = column.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        return local.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    if column.dtype == pl.String and unit is None:
        numeric = column.str.contains(_EPOCH)
        texts = [None if text is None else _parsed(text, zone) for text in column]
        parsed = pl.Series(texts, dtype=INSTANT)
        return parsed.zip_with(~numeric.fill_null(False), _from_epoch(column, DEFAULT_UNIT))
    return _from_epoch(column, unit or DEFAULT_UNIT)


def _from_epoch(column: pl.Series, unit: Unit) -> pl.Series:
    microseconds = column.cast(pl.Float64, strict=False) * (1_000_000 / PER_SECOND[unit])
    return microseconds.set(microseconds.abs() > FARTHEST_US, None).round().cast(pl.Int64, strict=False).cast(INSTANT)


def _parsed(text: str, zone: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
        aware = instant if instant.tzinfo else instant.replace(tzinfo=ZoneInfo(zone))
        return aware.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
