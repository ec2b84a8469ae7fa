"""The quarantine: rows that are set aside instead of being counted, and counts of what the gate did, by reason.

The quarantine is bounded: beyond its bound the rows that were set aside first are dropped, and counted as dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import JSON, BigInteger, Column, Connection, Index, Table, Text, delete, func, select

from routewatch.database import insert_into
from routewatch.gate import AHEAD, EARLIEST, LATEST, TEXT_LENGTH, read_failure, read_identifier
from routewatch.selection import METADATA, UtcDateTime, identity_column

MOST_QUARANTINED_ROWS = 100_000
"""Rows that the quarantine holds."""

ROWS_AT_ONCE = 500
"""SQLite limits the number of parameters."""

AHEAD_OF_CLOCK = f"timestamp {AHEAD}"
"""The reason of rows that return by themselves."""

FULL = "; the quarantine is full"
"""Ends the reason of rows that were dropped for want of room."""

QUARANTINE_IS_FULL = "the quarantine holds no more (ingestion.maximumQuarantinedRows)"

QUARANTINE = Table(
    "quarantine",
    METADATA,
    identity_column(),
    Column("request_id", Text, unique=True),
    Column("set_aside_at", UtcDateTime, nullable=False),
    Column("entrance", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("content", JSON, nullable=False),
    Column("due_at", UtcDateTime),
    Index(None, "set_aside_at"),
    Index(None, "due_at"),
    # An id is never used again, so that a command cannot meet another row than the one that was listed.
    sqlite_autoincrement=True,
)
"""One row per selection that was set aside. `content` has its columns as text, number, flag or NULL.

`entrance` is how it came: a source's name, or one of Entrance. A row that comes again is set aside once.
`due_at` is the instant of a row that is ahead of the clock, which returns by itself once the clock has reached it."""

INTAKE_COUNT = Table(
    "intake_count",
    METADATA,
    Column("hour", UtcDateTime, primary_key=True),
    Column("entrance", Text, primary_key=True),
    Column("outcome", Text, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("rows", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
)
"""What the gate did to rows by the hour, entrance, outcome and reason; `errors` of them are failed calls.

The hour is that of `counted_at` for a row that was set aside. A rejected row has no valid instant: its hour is that
of the row beside it in the same file or batch, or else the one in which it arrived."""


class Entrance(StrEnum):
    """How a selection comes in. A source that is pulled is an entrance of its own name."""

    IMPORT = "import"
    """What was rejected of a file is counted under IMPORTED_FILE and the beginning of its hash."""
    HTTP = "http"
    OTLP = "otlp"
    ROUTER_LOG = "routerLog"
    TABLE = "table"
    """Written into the table by SQL, or before the table had its conditions."""


IMPORTED_FILE = f"{Entrance.IMPORT}:"
"""Begins the entrance of an imported file, so that a file that is imported again is counted once."""


class IntakeOutcome(StrEnum):
    """What became of a row that was not simply accepted."""

    REJECTED = "rejected"
    SET_ASIDE = "setAside"
    UNKNOWN_FIELD = "unknownField"
    """The row was accepted, and one field of it became unknown."""
    RESTORED = "restored"
    """It was set aside, and is in the selection table now; counted in the hour in which it was set aside."""
    DROPPED = "dropped"
    """It was set aside, and is not there any more: for want of room (FULL), or because somebody dropped it."""


@dataclass(frozen=True)
class SetAside:
    """What became of rows that were to be set aside: new in the quarantine, and dropped because it holds no more.

    The dropped ones are the first of those that were given. The others were there already.
    """

    new: int
    dropped: int


class IntakeCounts:
    """Counts of rows by outcome and reason, to be written by `write`."""

    def __init__(self, entrance: str) -> None:
        self._entrance = entrance[:TEXT_LENGTH]
        self._rows: Counter[tuple[datetime, str, str]] = Counter()
        self._errors: Counter[tuple[datetime, str, str]] = Counter()

    def add(self, outcome: IntakeOutcome, reason: str, at: datetime, *, rows: int = 1, errors: int = 0) -> None:
        """Count rows; `at` is their instant, or when they arrived."""
        key = (at.astimezone(UTC).replace(minute=0, second=0, microsecond=0), outcome.value, reason[:TEXT_LENGTH])
        self._rows[key] += rows
        self._errors[key] += errors

    def __bool__(self) -> bool:
        return bool(self._rows)

    def write(self, connection: Connection, entrance: str = "") -> None:
        """Add the counts to those of the table, within the caller's transaction, and forget them.

        `entrance` is one to count them under that was not known before.
        """
        entrance = entrance[:TEXT_LENGTH] or self._entrance
        rows = [
            {"hour": hour, "entrance": entrance, "outcome": outcome, "reason": reason, "rows": count,
             "errors": self._errors[hour, outcome, reason]}
            for (hour, outcome, reason), count in sorted(self._rows.items())
        ]  # fmt: skip
        if rows:
            insertion = insert_into(connection, INTAKE_COUNT)
            added = {name: INTAKE_COUNT.c[name] + insertion.excluded[name] for name in ("rows", "errors")}
            keys = ["hour", "entrance", "outcome", "reason"]
            connection.execute(insertion.on_conflict_do_update(index_elements=keys, set_=added), rows)
        self._rows.clear()
        self._errors.clear()


def set_aside(
    connection: Connection,
    rows: Iterable[tuple[Mapping[str, Any], str]],
    entrance: str,
    now: datetime,
    *,
    most_rows: int = MOST_QUARANTINED_ROWS,
    kept_before: int = 0,
    dropped: IntakeCounts | None = None,
) -> SetAside:
    """Put rows, each with its reason, into the quarantine within the caller's transaction, and count them.

    Drops the oldest beyond `most_rows`, and counts those as dropped. Of the rows of one request or file no more than
    that are kept at all: `kept_before` are there already, and the first of these rows are dropped at once. `dropped`
    counts those, if the caller writes its counts itself.
    """
    given = list(rows)
    excess = min(len(given), max(0, kept_before + len(given) - most_rows))
    counts, new = IntakeCounts(entrance), 0
    at_once = counts if dropped is None else dropped
    for content, reason in given[:excess]:
        at, errors = counted_at(content, now), is_error(content)
        at_once.add(IntakeOutcome.SET_ASIDE, reason, at, errors=errors)
        at_once.add(IntakeOutcome.DROPPED, _dropped(reason), now, errors=errors)
    insertion = insert_into(connection, QUARANTINE).on_conflict_do_nothing(index_elements=["request_id"])
    for part in _parts([_entry(content, reason, entrance, now) for content, reason in given[excess:]]):
        for reason, content in connection.execute(insertion.returning(QUARANTINE.c.reason, QUARANTINE.c.content), part):
            new += 1
            counts.add(IntakeOutcome.SET_ASIDE, reason, counted_at(content, now), errors=is_error(content))
    counts.write(connection)
    if new:
        _drop_beyond(connection, most_rows, now)
    return SetAside(new, excess)


def count_dropped(connection: Connection) -> tuple[int, datetime | None]:
    """The rows that were dropped because the quarantine was full, and the hour of the first, as far as counts go back.

    Without those that somebody dropped himself.
    """
    is_dropped = INTAKE_COUNT.c.outcome == IntakeOutcome.DROPPED.value
    query = select(func.sum(INTAKE_COUNT.c.rows), func.min(INTAKE_COUNT.c.hour)).where(
        is_dropped, INTAKE_COUNT.c.reason.endswith(FULL, autoescape=True)
    )
    rows, since = connection.execute(query).one()
    return int(rows or 0), since


def instant_of(content: Mapping[str, Any]) -> datetime | None:
    """The instant of a row's content, which is UTC if it has no offset; None if it says no valid one."""
    at = content.get("timestamp")
    try:
        at = datetime.fromisoformat(at) if isinstance(at, str) else at
        if not isinstance(at, datetime):
            return None
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (OverflowError, ValueError):
        return None
    return at if EARLIEST <= at < LATEST else None


def counted_at(content: Mapping[str, Any], set_aside_at: datetime) -> datetime:
    """The time whose hour counts a row that was set aside: its own, or when it was set aside if it was ahead."""
    at = instant_of(content)
    return set_aside_at if at is None or at > set_aside_at else at


def is_error(content: Mapping[str, Any]) -> int:
    """1 if a row's content says that the call failed, else 0."""
    return int(read_failure(content.get("error"))[0] is True)


def stored_id(request_id: Any) -> str | None:
    """A request id as the quarantine has it: in the form that the selection table has it in."""
    return None if request_id is None else read_identifier(str(request_id))[0]


def plain(value: Any) -> Any:
    """A value as JSON has it: instants as ISO 8601, and what JSON does not know as text."""
    if value is None or isinstance(value, bool | str):
        return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
    if isinstance(value, int):
        return value if abs(value) < 1 << 53 else str(value)
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


# ----------------------------------------------------------------------------------------------------------------------


def _entry(content: Mapping[str, Any], reason: str, entrance: str, now: datetime) -> dict[str, Any]:
    request_id = content.get("request_id")
    return {
        "request_id": stored_id(request_id),
        "set_aside_at": now,
        "entrance": entrance[:TEXT_LENGTH],
        "reason": reason[:TEXT_LENGTH],
        "due_at": instant_of(content) if reason == AHEAD_OF_CLOCK else None,
        "content": {name: _storable(plain(value)) for name, value in content.items() if value is not None},
    }


def _storable(value: Any) -> Any:
    """PostgreSQL's text has no NUL; longer text than a name is evidence enough when it is cut."""
    return value.replace("\0", "�")[: 2 * TEXT_LENGTH] if isinstance(value, str) else value


def _parts(rows: Sequence[dict[str, Any]]) -> Iterable[Sequence[dict[str, Any]]]:
    return (rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE))


def _dropped(reason: str) -> str:
    return f"{reason[: TEXT_LENGTH - len(FULL)]}{FULL}"


def _drop_beyond(connection: Connection, most_rows: int, now: datetime) -> None:
    """Drop the rows that were set aside first, and count them by their entrance."""
    excess = cast("int", connection.scalar(select(func.count()).select_from(QUARANTINE))) - most_rows
    if excess <= 0:
        return
    oldest = select(QUARANTINE.c.id).order_by(QUARANTINE.c.id).limit(excess)
    dropped = delete(QUARANTINE).where(QUARANTINE.c.id.in_(oldest))
    counts: dict[str, IntakeCounts] = {}
    for entrance, reason, content in connection.execute(
        dropped.returning(QUARANTINE.c.entrance, QUARANTINE.c.reason, QUARANTINE.c.content)
    ):
        counting = counts.setdefault(entrance, IntakeCounts(entrance))
        counting.add(IntakeOutcome.DROPPED, _dropped(reason), now, errors=is_error(content))
    for counting in counts.values():
        counting.write(connection)
