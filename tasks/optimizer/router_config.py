"""Router config: the table that the router reads, and its audit trail.

Every change is compare-and-set on the version and is written with its audit row in one transaction.

The router writes the table too, and may write anything (tasks.optimizer.router_values): rows are read without the
conversions of their columns' types, as one failed conversion would fail the whole query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, Row, Select, func, insert, literal_column, select, update

from models.database import insert_into, reading, writing
from models.errors import ConfigConflict, UsageError
from models.schema import CONFIG, CONFIG_CHANGE
from tasks.optimizer.router_values import (
    LARGEST_VERSION,
    ConfigContent,
    Setting,
    Unreadable,
    UnreadableSetting,
    check_value,
    decode,
    decode_text,
    decode_version,
    is_storable,
    shown,
)

if TYPE_CHECKING:
    from models.documents import ConfigHistoryEntry

LONGEST_CONFIG_KEY = 250
"""Characters of a key, which is part of two indexes."""

_NEEDS = {"config": "SELECT, INSERT, UPDATE", "config_change": "SELECT, INSERT"}
"""Rights to set a key."""

ANY_VALUE = object()
"""For a change that does not depend on the value before."""


@dataclass(frozen=True)
class ChangeOrigin:
    """Author, reason and time of a change, and on whose behalf it is made."""

    by: str
    reason: str
    at: datetime
    optimization_id: int | None = None


@dataclass(frozen=True)
class ConfigRow:
    """One key as the table holds it, readable or not, and who wrote it."""

    content: ConfigContent
    updated_by: str


def read_config(engine: Engine) -> dict[str, Setting]:
    """Return every readable key of the router's config."""
    return {key: it for key, it in read_whole_config(engine).items() if isinstance(it, Setting)}


def read_whole_config(engine: Engine) -> dict[str, ConfigContent]:
    """Return every key of the router's config, by name, also those that cannot be read."""
    with reading(engine) as connection:
        found = (_row_of(row) for row in connection.execute(_raw_rows(connection)))
        return dict(sorted((key, row.content) for key, row in found))


def read_key(connection: Connection, key: str, *, lock: bool = False) -> ConfigRow | None:
    """Return one key of the router's config; None if there is none."""
    query = _raw_rows(connection).where(CONFIG.c.key == key)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else _row_of(row)[1]


def conflict(content: ConfigContent | None, key: str, version: int | None, value: Any) -> ConfigConflict | None:
    """Return how a key differs from the version and value that are expected of it; None if it does not.

    A router may change a value without raising the version. A new key has neither: its expected version is None.
    """
    if isinstance(content, UnreadableSetting):
        return ConfigConflict(key, version or 0, None, f"unreadable: {content.found} {content.reason}")
    if (content.version if content else None) != version:
        return ConfigConflict(key, version or 0, content.version if content else None)
    if content is not None and value is not ANY_VALUE and not _is_same(content.value, value):
        return ConfigConflict(key, version or 0, content.version, f"now {shown(content.value)}")
    return None


def set_value(
    connection: Connection,
    key: str,
    value: Any,
    expected_version: int | None,
    change: ChangeOrigin,
    *,
    expected_value: Any = ANY_VALUE,
) -> int:
    """Set a key in the caller's transaction and return the new version.

    `expected_version` is None for a new key. Raises ConfigConflict if the key is at another version, cannot be read, or
    has another value than expected.
    """
    before = read_key(connection, key, lock=True)
    content = before.content if before else None
    if found := conflict(content, key, expected_version, expected_value):
        raise found
    return _write(connection, key, value, content, change)


def set_by_hand(engine: Engine, key: str, value: Any, *, by: str, reason: str, now: datetime) -> int:
    """Set a key by hand, whatever it was, readable or not, and return the new version.

    Raises UsageError for a key or a value that cannot be stored.
    """
    if not 1 <= len(key) <= LONGEST_CONFIG_KEY or not is_storable(key):
        expected = f"expected 1 to {LONGEST_CONFIG_KEY} characters of UTF-8"
        raise UsageError(f"the key {shown(key)} has {len(key):,} characters; {expected}")
    try:
        check_value(value)
    except Unreadable as error:
        raise UsageError(f"the value {shown(value)} {error}; nothing was changed") from None
    with writing(engine, needs=_NEEDS) as connection:
        # Locked, so that a concurrent change waits instead of interleaving.
        before = read_key(connection, key, lock=True)
        return _write(connection, key, value, before.content if before else None, ChangeOrigin(by, reason, now))


def history(engine: Engine, key: str | None = None) -> Sequence[Any]:
    """Return the audit trail, newest change first: rows of ConfigChange."""
    query = select(CONFIG_CHANGE).order_by(CONFIG_CHANGE.c.changed_at.desc(), CONFIG_CHANGE.c.id.desc())
    with reading(engine) as connection:
        return connection.execute(query if key is None else query.where(CONFIG_CHANGE.c.key == key)).fetchall()


def config_history(engine: Engine, start: datetime, end: datetime) -> list[ConfigHistoryEntry]:
    """Return all changes in [start, end], oldest first; those reverted later are marked."""
    from models.documents import ConfigHistoryEntry  # noqa: PLC0415 - reading the config needs none of a report's classes

    query = (
        select(CONFIG_CHANGE)
        .where(CONFIG_CHANGE.c.changed_at.between(start, end))
        .order_by(CONFIG_CHANGE.c.changed_at, CONFIG_CHANGE.c.id)
    )
    with reading(engine) as connection:
        rows = connection.execute(query).fetchall()
    return [
        ConfigHistoryEntry(
            key=row.key,
            from_value=_finite(row.from_value),
            to_value=_finite(row.to_value),
            changed_at=row.changed_at,
            changed_by=row.changed_by,
            reason=row.reason,
            reverted=row.reverted_by is not None and row.reverted_by != row.id,
            optimization_id=row.optimization_id,
            is_revert=row.reverted_by == row.id,
        )
        for row in rows
    ]


# ----------------------------------------------------------------------------------------------------------------------


def _raw_rows(connection: Connection) -> Select[Any]:
    """Select every key with its value and version as they are: SQLite holds a value of any type in any column."""
    if connection.dialect.name == "sqlite":
        value = "CASE WHEN typeof(value) IN ('text', 'blob') THEN CAST(value AS BLOB) ELSE value END"
        version = "CASE WHEN typeof(version) IN ('text', 'blob') THEN CAST(version AS BLOB) ELSE version END"
        names = "CAST(key AS BLOB)", "CAST(updated_by AS BLOB)", "typeof(key)"
    else:
        value, version, names = "value::text", "version", ("key", "updated_by", "'text'")
    key, author, kind = names
    columns = {"raw_key": key, "kind": kind, "raw_value": value, "raw_version": version, "raw_author": author}
    selected: list[Any] = [literal_column(sql).label(name) for name, sql in columns.items()]
    return select(*selected).select_from(CONFIG)


def _row_of(row: Row[Any]) -> tuple[str, ConfigRow]:
    key, is_text = decode_text(row.raw_key)
    found = shown(row.raw_value)
    content: ConfigContent
    author, _ = decode_text(row.raw_author)
    if not is_text or row.kind != "text":
        key = repr(row.raw_key)
        return key, ConfigRow(UnreadableSetting(key, found, "has a key that is no text"), author)
    try:
        content = Setting(decode(row.raw_value), decode_version(row.raw_version))
    except Unreadable as error:
        content = UnreadableSetting(key, found, str(error))
    return key, ConfigRow(content, author)


def _write(connection: Connection, key: str, value: Any, before: ConfigContent | None, change: ChangeOrigin) -> int:
    """Write a key's value, whose row is locked, and its audit row; return the new version.

    The version rises even where the router has lowered it, or deleted the key: each occurs once in the audit trail.
    """
    newest = connection.scalar(select(func.max(CONFIG_CHANGE.c.version)).where(CONFIG_CHANGE.c.key == key)) or 0
    known = before.version if isinstance(before, Setting) else 0
    highest = max(newest, known)
    version = (highest if highest < LARGEST_VERSION else min(newest, known)) + 1
    written = {"value": value, "version": version, "updated_at": change.at, "updated_by": change.by}
    if before is None:
        made = insert_into(connection, CONFIG).values(key=key, **written).on_conflict_do_nothing()
        if connection.execute(made.returning(CONFIG.c.key)).one_or_none() is None:
            # Another process made it since it was looked for.
            raise ConfigConflict(key, 0, version)
    else:
        connection.execute(update(CONFIG).where(CONFIG.c.key == key).values(written))
    earlier: Any = {"unreadable": before.found} if isinstance(before, UnreadableSetting) else None
    connection.execute(
        insert(CONFIG_CHANGE).values(
            key=key,
            version=version,
            from_value=before.value if isinstance(before, Setting) else earlier,
            to_value=value,
            changed_at=change.at,
            changed_by=change.by,
            reason=change.reason,
            optimization_id=change.optimization_id,
        )
    )
    return version


def _is_same(value: Any, other: Any) -> bool:
    """Return whether two values are the same JSON: in Python, true equals 1."""
    return value == other and isinstance(value, bool) is isinstance(other, bool)


def _finite(value: Any) -> Any:
    """Return a value of the audit trail, or a text in the place of one that a report cannot hold."""
    try:
        check_value(value)
    except Unreadable:
        return shown(value)
    return value
