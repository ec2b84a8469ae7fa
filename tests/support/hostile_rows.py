"""Rows that nobody should send, for every entrance: values of any kind, and instants of every form and era."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import polars as pl
from hypothesis import strategies as st

from tasks.sources.record_parser import instant as read_instant

NAN, INFINITY = math.nan, math.inf

NUMBERS: tuple[Any, ...] = (
    None, 0, 1, -1, -0.0, 0.5, 12.5, 700.0, 1e12, 1.0000001e12, 1e300, -1e300, 5e-324, 2**31, 2**53 + 1, 2**63,
    -(2**63), 10**30, NAN, INFINITY, -INFINITY, "NULL", "nan", "", " ", "12", "1e999", "much", "1,5", "\0", True,
    [], {},
)  # fmt: skip

NAMES: tuple[Any, ...] = (
    "m", " m ", "\ufeffm", "m\u200b", "m\u202e", "\u05d0\u2069\u202em", "\uff4d", "\u043c", "caf\u00e9", "cafe\u0301",
    "a\0b", "a\nb", "a\x7fb", "\x85", "x" * 200, "x" * 201, "\U00020000" * 300, "NULL", "None", "", " ",
    "(other models)", "=1+1", "\uff1d1+1", "\ud800", 7, 10**30, 0.5, NAN, True, None, [], {},
    "'; DROP TABLE selection; --",
)  # fmt: skip

FLAGS: tuple[Any, ...] = (None, True, False, 0, 1, "true", "False", "no", "NULL", "", "maybe", 2, -1, 0.5, NAN, [])

FORMS = ("aware", "iso", "iso z", "iso east", "space", "naive", "s", "ms", "us", "ns", "text ms", "date")
"""How an instant is written."""

OFFSETS = tuple(
    timedelta(**each)
    for each in (
        {}, {"seconds": -30}, {"minutes": -5}, {"hours": -1}, {"hours": -30}, {"days": -400}, {"minutes": 58},
        {"minutes": 62}, {"days": 2}, {"days": 366},
    )
)  # fmt: skip

ERAS: tuple[Any, ...] = (
    "1970-01-01T00:00:00Z", "1970-01-21T08:52:48Z", "1999-12-31T23:59:59.999999Z", "2000-01-01T00:00:00Z",
    "2099-12-31T23:59:59.999999Z", "2100-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00",
    "2026-10-25T02:30:00+02:00", "2026-11-01T01:30:00", "2026-02-30T00:00:00Z", "2026-09-07T24:00:00Z", "2026-W37-1",
    "2026-09-07T08:00:60Z", "2026-09-07 08:00:00.000000+00:00", "2026-09-07T08:00:00.000000001Z", "20260907T080000Z",
    "soon", "NULL", "NaT", "", " ", "\0", "infinity", "-infinity", "now", "x" * 300, None, 0, -1, 1e300, NAN, INFINITY,
    2**63, True, [], {},
)  # fmt: skip
"""Instants that are fixed, and what is none."""

_FIELDS: dict[str, tuple[Any, ...]] = {
    "model_id": NAMES, "response_time_ms": NUMBERS, "complexity": NAMES, "cost_usd": NUMBERS, "cache_hit": FLAGS,
    "accuracy": NUMBERS, "user_satisfaction": NUMBERS, "error": FLAGS, "error_type": NAMES, "prompt_tokens": NUMBERS,
    "completion_tokens": NUMBERS, "team": NAMES, "experiment": NAMES, "arm": NAMES, "unit_bucket": NUMBERS,
}  # fmt: skip

WHEN = st.one_of(
    st.tuples(st.sampled_from(OFFSETS), st.sampled_from(FORMS)), st.sampled_from(ERAS).map(lambda it: (it, "as is"))
)
"""An instant as (offset from now, form), or (value, "as is")."""

ROW = st.fixed_dictionaries(
    {"timestamp": WHEN, "model_id": st.sampled_from(NAMES), "error": st.booleans()},
    optional={name: st.sampled_from(values) for name, values in _FIELDS.items() if name not in ("model_id", "error")},
) | st.fixed_dictionaries(
    {}, optional={"timestamp": WHEN} | {name: st.sampled_from(values) for name, values in _FIELDS.items()}
)
"""A row without its id: mostly with what is needed, and sometimes with anything or nothing."""

ROWS = st.lists(ROW, min_size=1, max_size=6)


def written(when: tuple[Any, str], now: datetime) -> Any:
    """An instant in its form."""
    at, form = when
    if form == "as is":
        return at
    instant: datetime = now + at
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
    if form in per_second:
        return int(instant.timestamp() * per_second[form])
    if form == "text ms":
        return str(int(instant.timestamp() * 1_000))
    return {
        "aware": instant,
        "iso": instant.isoformat(),
        "iso z": f"{instant:%Y-%m-%dT%H:%M:%S}Z",
        "iso east": instant.astimezone(timezone(timedelta(hours=5, minutes=45))).isoformat(),
        "space": f"{instant:%Y-%m-%d %H:%M:%S.%f}",
        "naive": instant.replace(tzinfo=None),
        "date": f"{instant:%Y-%m-%d}",
    }[form]


def resolved(rows: Sequence[Mapping[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """The rows with their instants as they are written at that time."""
    return [dict(row) | ({"timestamp": written(row["timestamp"], now)} if "timestamp" in row else {}) for row in rows]


def as_json(value: Any) -> Any:
    """A value as a program would send it by JSON, which has no NaN and no instants."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return value


def as_text(value: Any) -> str:
    """A value as a cell of CSV."""
    if value is None:
        return ""
    return value if isinstance(value, str) else str(as_json(value))


def jsonl_of(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Lines of JSON as Python writes them, with its NaN and Infinity, and halves of characters."""
    lines = (json.dumps(row, default=str, ensure_ascii=False) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")


def csv_of(rows: Sequence[Mapping[str, Any]]) -> bytes:
    names = list(dict.fromkeys(["timestamp", "model_id", *(name for row in rows for name in row)]))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows([as_text(row.get(name)) for name in names] for row in rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def parquet_of(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, str]) -> bytes:
    """Columns of one type each, text unless `kinds` says "number" or "instant"; what does not fit the type is NULL."""
    names = list(dict.fromkeys(["timestamp", "model_id", *(name for row in rows for name in row)]))
    columns = {name: _column([row.get(name) for row in rows], kinds.get(name, "text")) for name in names}
    file = io.BytesIO()
    pl.DataFrame(columns).write_parquet(file)
    return file.getvalue()


def _column(values: Sequence[Any], kind: str) -> pl.Series:
    if kind == "number":
        return pl.Series([float(it) if isinstance(it, int | float) else None for it in values], dtype=pl.Float64)
    if kind == "instant":
        return pl.Series([read_instant(it) for it in values], dtype=pl.Datetime("us", "UTC"))
    return pl.Series([None if it is None else as_text(as_json(it)) for it in values], dtype=pl.String)
