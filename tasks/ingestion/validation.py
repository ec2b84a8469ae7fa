"""Validate and convert raw columns to columns of a selection; the first fault of a row is its reason."""

from __future__ import annotations

from collections.abc import Mapping as Map
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import polars as pl

from models.period import EARLIEST, LATEST
from routewatch.selection import LARGEST_AMOUNT, TEXT_LENGTH
from tasks.ingestion.column_mapping import COUNTS, FLAGS, RATIOS, REQUIRED, SELECTION_COLUMNS, TEXTS, ColumnSource, Unit

INSTANT = pl.Datetime("us", "UTC")
PER_SECOND: dict[Unit, int] = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

FARTHEST_US = 1e17
"""Microseconds from 1970 beyond which an instant would overflow; far outside the accepted years."""

DEFAULT_UNIT: Unit = "ms"
"""Default unit of a numeric time: the product document records Date.now()."""

TRUE, FALSE = ("true", "t", "1", "yes", "y"), ("false", "f", "0", "no", "n")


@dataclass(frozen=True)
class ValidatedRows:
    """`good` has COLUMNS of tasks.ingestion.column_mapping and `line`; `bad` has line, reason, column, value."""

    good: pl.DataFrame
    bad: pl.DataFrame


def check(raw: pl.DataFrame, lines: list[int], sources: Map[str, ColumnSource], zone: str) -> ValidatedRows:
    """Convert the valid rows, and return the invalid ones with their faults. Times without an offset are in `zone`."""
    read = {name: _read(raw, name, sources[name], zone) for name in SELECTION_COLUMNS if name in sources}
    values = pl.DataFrame(
        {"line": pl.Series(lines, dtype=pl.Int64)} | {name: found.values for name, found in read.items()}
    )
    faults = pl.DataFrame({name: found.faults for name, found in read.items()})
    shown = pl.DataFrame({name: found.shown for name, found in read.items()})
    named = [pl.when(pl.col(name).is_not_null()).then(pl.lit(name)) for name in faults.columns]
    verdict = faults.select(reason=pl.coalesce(pl.all()), column=pl.coalesce(named))
    bad = verdict["reason"].is_not_null()
    value = shown.select(
        value=pl.coalesce([pl.when(verdict["column"] == name).then(pl.col(name)) for name in shown.columns])
    )
    listed = pl.concat([values.select("line"), verdict, value], how="horizontal").filter(bad)
    return ValidatedRows(_completed(values.filter(~bad)), listed)


# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Read:
    """One parsed column: its values, the fault of each (NULL: none), and the raw text to show."""

    values: pl.Series
    faults: pl.Series
    shown: pl.Series


def _completed(good: pl.DataFrame) -> pl.DataFrame:
    """Columns that the file lacks are unknown; a row with an error type is an error by default."""
    missing = {name: pl.lit(None, dtype=_type_of(name)) for name in SELECTION_COLUMNS if name not in good.columns}
    whole = good.with_columns(**missing)
    return whole.with_columns(error=pl.coalesce("error", pl.col("error_type").is_not_null())).select(
        "line", *SELECTION_COLUMNS
    )


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
    elif name in FLAGS:
        read = _flags(column)
    elif name in TEXTS:
        read = _texts(column)
    elif source.minus is not None:
        read = _durations(column, raw[source.minus], source.unit, zone)
    else:
        read = _numbers(column, name, source)
    if name in REQUIRED:
        missing = read.values.is_null() & read.faults.is_null()
        faults = pl.select(pl.when(missing).then(pl.lit(f"{name} is missing")).otherwise(read.faults)).to_series()
        return _Read(read.values, faults, read.shown)
    return read


def _column(raw: pl.DataFrame, source: ColumnSource) -> pl.Series:
    """The raw values; empty text is unknown."""
    if source.column is None:
        return pl.Series([source.value] * raw.height)
    column = raw[source.column] if source.column in raw.columns else pl.Series([None] * raw.height, dtype=pl.String)
    if column.dtype == pl.String:
        stripped = column.str.strip_chars()
        return stripped.set(stripped == "", None)
    return column


def _shown(column: pl.Series) -> pl.Series:
    return column.cast(pl.String, strict=False).str.slice(0, TEXT_LENGTH)


def _faults(*rules: tuple[pl.Series, str]) -> pl.Series:
    """The message of the first rule that a value breaks; NULL if it is valid."""
    first = pl.coalesce([pl.when(broken).then(pl.lit(message)) for broken, message in rules])
    return pl.select(first.cast(pl.String)).to_series()


def _texts(column: pl.Series) -> _Read:
    texts = column.cast(pl.String, strict=False)
    rules = (
        (texts.str.len_chars() > TEXT_LENGTH, f"is longer than {TEXT_LENGTH} characters"),
        (texts.str.contains(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"), "contains control characters"),
        (column.is_not_null() & texts.is_null(), "is not text"),
    )
    return _Read(texts, _faults(*rules), _shown(column))


def _flags(column: pl.Series) -> _Read:
    if column.dtype == pl.Boolean:
        return _Read(column, pl.Series([None] * len(column), dtype=pl.String), _shown(column))
    # A float is written 1.0 where an integer is written 1.
    texts = column.cast(pl.String, strict=False).str.to_lowercase().str.strip_suffix(".0")
    true, false = texts.is_in(TRUE), texts.is_in(FALSE)
    values = pl.select(pl.when(true).then(True).when(false).then(False)).to_series()
    return _Read(
        values, _faults((column.is_not_null() & values.is_null(), "is neither true nor false")), _shown(column)
    )


def _derived_flags(column: pl.Series, source: ColumnSource) -> _Read:
    none = pl.Series([None] * len(column), dtype=pl.String)
    if source.equals is None:
        return _Read(column.is_not_null(), none, _shown(column))
    return _Read(column.cast(pl.String, strict=False).is_in(source.equals), none, _shown(column))


def _numbers(column: pl.Series, name: str, source: ColumnSource) -> _Read:
    numbers = column.cast(pl.Float64, strict=False)
    low, high = source.minimum, source.maximum
    if low is not None and high is not None:
        scaled = (numbers - low) / (high - low)
    else:
        scaled = numbers * (1.0 if source.multiply is None else source.multiply)
    rejected = column.is_not_null() & (numbers.is_null() | numbers.is_nan())
    rules = [(rejected, "is not a number"), (scaled.is_infinite(), "is not finite")]
    if name in RATIOS:
        valid_range = "0 to 1" if low is None else f"{low:g} to {high:g}"
        rules.append(((scaled < 0) | (scaled > 1), f"is outside {valid_range}"))
    else:
        rules += [(scaled < 0, "is negative"), (scaled > LARGEST_AMOUNT, f"is above {LARGEST_AMOUNT:g}")]
    if name in COUNTS:
        rules.append((scaled != scaled.round(), "is not a whole number"))
    values = scaled.cast(pl.Int64, strict=False) if name in COUNTS else scaled
    return _Read(values, _faults(*rules), _shown(column))


def _instants(column: pl.Series, unit: Unit | None, zone: str) -> _Read:
    times = _times(column, unit, zone)
    outside = (times < EARLIEST) | (times >= LATEST)
    hint = (
        ""
        if column.dtype == pl.String or column.dtype.is_temporal()
        else f", read as {unit or DEFAULT_UNIT}: does the mapping's unit fit?"
    )
    rules = (
        (column.is_not_null() & times.is_null(), "is not an ISO 8601 time"),
        (outside, f"lies outside the years {EARLIEST.year} to {LATEST.year - 1}{hint}"),
    )
    return _Read(times, _faults(*rules), _shown(column))


def _durations(end: pl.Series, start: pl.Series, unit: Unit | None, zone: str) -> _Read:
    elapsed = _times(end, unit, zone) - _times(start, unit, zone)
    values = elapsed.dt.total_microseconds() / 1_000
    rules = (
        (end.is_not_null() & start.is_not_null() & values.is_null(), "is not a time"),
        (values < 0, "ends before it starts"),
    )
    return _Read(values, _faults(*rules), _shown(end))


def _times(column: pl.Series, unit: Unit | None, zone: str) -> pl.Series:
    """UTC instants in microseconds; NULL for values that are not times or out of range."""
    if isinstance(column.dtype, pl.Datetime):
        local = (
            column
            if column.dtype.time_zone
            else column.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        )
        return local.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    if column.dtype == pl.String and unit is None:
        numeric = column.str.contains(r"^\d{9,}$")
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
