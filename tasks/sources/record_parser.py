"""Parse rows of a source, one dict each, into a batch: helpers that all adapters share."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from models.settings import SourceSettings
from routewatch.gate import TEXT_LENGTH
from tasks.ingestion.column_mapping import TOKENS, load_mapping
from tasks.ingestion.file_reader import frame_of
from tasks.ingestion.source import Batch, UnknownField
from tasks.sources.export_files import Exports, ParsedRow

BEFORE = "is from before the time that was asked for"


@dataclass
class Sorted:
    """Rows sorted into the parts of a batch; those before `since` are skipped."""

    since: datetime | None = None
    selections: list[dict[str, Any]] = field(default_factory=list)
    overhead: list[dict[str, Any]] = field(default_factory=list)
    amendments: list[dict[str, Any]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    rejected_errors: Counter[str] = field(default_factory=Counter)
    unknown: list[UnknownField] = field(default_factory=list)

    def selection(self, timestamp: object, **columns: Any) -> bool:
        """Add a selection with a valid time; None means unknown. Returns whether it was added."""
        at = self._at(timestamp, is_error=columns.get("error") is True)
        if at is None:
            return False
        # 0 tokens in a failed call means unknown.
        uncounted = {name for name in TOKENS if columns.get("error") and columns.get(name) == 0}
        known_values = {name: value for name, value in columns.items() if value is not None and name not in uncounted}
        self.selections.append({"timestamp": at} | known_values)
        return True

    def unreadable(self, column: str, reason: str) -> None:
        """Note that a field of the selection added last could not be read; the selection stays."""
        last = self.selections[-1]
        self.unknown.append(UnknownField(column, reason, last["timestamp"], last.get("error") is True))

    def reject(self, reason: str, *, is_error: bool = False) -> None:
        """Count a row that is no valid selection; `is_error` is whether it says that the call failed."""
        self.rejected[reason] += 1
        self.rejected_errors[reason] += int(is_error)

    def own_call(self, timestamp: object, **columns: Any) -> None:
        """Add a call that the router made for itself."""
        at = self._at(timestamp)
        if at is not None:
            self.overhead.append({"timestamp": at, **columns})

    def amend(self, request_id: str, column: str, value: float) -> None:
        """Add values of a selection that became known later."""
        self.amendments.append({"request_id": request_id, column: value})

    def batch(self, cursor: str, done: int = 0) -> Batch:
        """The batch of all added rows."""
        return Batch(
            selections=frame_of(self.selections),
            cursor=cursor,
            overhead=frame_of(self.overhead),
            amendments=frame_of(self.amendments),
            skipped=self.skipped,
            rejected=self.rejected,
            rejected_errors=+self.rejected_errors,
            unknown=self.unknown,
            done=done,
        )

    def _at(self, timestamp: object, *, is_error: bool = False) -> datetime | None:
        at = instant(timestamp)
        if at is None:
            missing = known(timestamp) is None
            self.reject("timestamp is missing" if missing else "timestamp is not a time", is_error=is_error)
        elif self.since is not None and at < self.since:
            self.skipped[BEFORE] += 1
            return None
        return at


class FileSource:
    """A source that is read from files, row by row; `_sort` assigns each row to a part of the batch."""

    def __init__(self, exports: Exports) -> None:
        self._exports = exports

    def size(self, cursor: str | None, since: datetime | None) -> int:
        """Bytes still to read; with `since` all files are read again."""
        return self._exports.size(None if since else cursor)

    def batches(self, cursor: str | None, since: datetime | None) -> Iterator[Batch]:
        """The rows that are new in files; see tasks.ingestion.source.Source."""
        for chunk in self._exports.chunks(None if since else cursor):
            rows = Sorted(since, rejected=Counter(chunk.rejected))
            for row in chunk.rows:
                self._sort(row, rows)
            yield rows.batch(chunk.cursor, chunk.done)

    def _sort(self, row: ParsedRow, rows: Sorted) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class Scale:
    """The score that a column is read from, and the values that stand for 0 and 1."""

    name: str
    minimum: float | None = None
    maximum: float | None = None

    @property
    def is_given(self) -> bool:
        """Whether the user said what the score's scale is."""
        return self.minimum is not None

    def share(self, value: object) -> float | None:
        """The score between 0 and 1; None if it is outside this scale."""
        if isinstance(value, bool):
            return float(value)
        score = number(value)
        if not isinstance(score, float):
            return None
        low, high = (0.0, 1.0) if self.minimum is None or self.maximum is None else (self.minimum, self.maximum)
        share = (score - low) / (high - low)
        return share if 0 <= share <= 1 else None

    @property
    def fault(self) -> str:
        """The reason under which a score outside this scale is counted."""
        valid_range = "0 to 1" if self.minimum is None else f"{self.minimum:g} to {self.maximum:g}"
        return f"score {self.name} is outside {valid_range}, or not a number"


def scales_of(settings: SourceSettings) -> dict[str, Scale]:
    """Map selection columns to the scores named in the settings, or in a mapping file with their scale.

    Raises InvalidMapping.
    """
    named = {"accuracy": settings.accuracy_score, "user_satisfaction": settings.satisfaction_score}
    scales = {column: Scale(name) for column, name in named.items() if name}
    mapped = load_mapping(settings.mapping).columns if settings.mapping else {}
    for column in named:
        source = mapped.get(column)
        if source is not None and source.column is not None:
            scales[column] = Scale(source.column, source.minimum, source.maximum)
    return scales


def known(value: object) -> Any:
    """A value; None for NULL and empty text."""
    if isinstance(value, str) and not value.strip():
        return None
    return value


def first(row: Mapping[str, Any], *names: str) -> Any:
    """The first of the keys that has a value."""
    return next((row[name] for name in names if known(row.get(name)) is not None), None)


def instant(value: object) -> datetime | None:
    """A time as an instant, UTC if it has no offset; None if it is not a time."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        return None


def elapsed_ms(start: object, end: object) -> float | None:
    """Milliseconds between two times; None if one is unknown or they are in the wrong order."""
    begun, ended = instant(start), instant(end)
    if begun is None or ended is None or ended < begun:
        return None
    return (ended - begun).total_seconds() * 1_000


def number(value: object) -> Any:
    """A number as a float; other values unchanged, None for an empty one."""
    if isinstance(value, bool):
        return value
    try:
        return None if known(value) is None else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value


def duration(value: object) -> Any:
    """Milliseconds; None for a negative value, which is not a duration."""
    found = number(value)
    return None if isinstance(found, float) and found < 0 else found


def flag(value: object) -> bool | None:
    """A flag; also parses text."""
    return _FLAGS.get(str(value).strip().lower())


def nested(value: object) -> Mapping[str, Any]:
    """An object of a row, parsed from JSON in CSV and a list of pairs in Parquet; empty for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    if isinstance(value, list) and all(isinstance(pair, Mapping) and "key" in pair for pair in value):
        return {str(pair["key"]): pair.get("value") for pair in value}
    return value if isinstance(value, Mapping) else {}


def at(data: Mapping[str, Any], key: str | None) -> Any:
    """The value of a key; dots lead into objects unless a key contains them; None for no key."""
    if key is None:
        return None
    if key in data:
        return known(data[key])
    head, dot, rest = key.partition(".")
    return at(nested(data.get(head)), rest) if dot else None


def text_of(value: object) -> str | None:
    """A user-defined text, such as a team; None for an object."""
    if known(value) is None or isinstance(value, Mapping | list):
        return None
    return str(value)


def paid(cost: object, *, tokens: object, free: bool) -> Any:
    """A recorded cost; one of 0 for an answer with tokens is unknown, unless it is known to be `free`."""
    found = number(cost)
    return None if found == 0 and not free and isinstance(number(tokens), float) and number(tokens) > 0 else found


def error_type(message: object) -> str | None:
    """The error type, an HTTP status or exception name, extracted from a free-form message."""
    text = "" if known(message) is None else str(message)
    for pattern, form in _KINDS:
        if found := pattern.search(text):
            return form.format(found[1])
    return None


def label(value: object) -> str | None:
    """The source's own term, cut to the longest label."""
    found = text_of(value)
    return None if found is None else " ".join(found.split())[:TEXT_LENGTH]


# ----------------------------------------------------------------------------------------------------------------------

_FLAGS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}

_KINDS = (
    (re.compile(r"(?i:status|code|http|error)\D{0,10}\b([45]\d\d)\b"), "http {}"),
    (re.compile(r"^\s*([45]\d\d)\b"), "http {}"),
    (re.compile(r"\b([A-Z]\w{0,80}(?:Error|Exception|Timeout))\b"), "{}"),
    (re.compile(r"(?i)\b(timeout|rate limit)\b"), "{}"),
)
