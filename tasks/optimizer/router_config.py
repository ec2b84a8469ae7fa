"""Router config: the table that the router reads, and its audit trail.

Every change is compare-and-set on the version and is written with its audit row in one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, insert, select, update

from models.database import insert_into, reading, writing
from models.errors import ConfigConflict
from models.schema import CONFIG, CONFIG_CHANGE

if TYPE_CHECKING:
    from models.documents import ConfigHistoryEntry


@dataclass(frozen=True)
class Setting:
    """One key of the router's config, as read."""

    value: Any
    version: int


@dataclass(frozen=True)
class ChangeOrigin:
    """Author, reason and time of a change, and on whose behalf it is made."""

    by: str
    reason: str
    at: datetime
    optimization_id: int | None = None


def read_config(engine: Engine) -> dict[str, Setting]:
    """Return every key of the router's config."""
    with reading(engine) as connection:
        rows = connection.execute(select(CONFIG.c.key, CONFIG.c.value, CONFIG.c.version).order_by(CONFIG.c.key))
        return {row.key: Setting(row.value, row.version) for row in rows}


def set_value(connection: Connection, key: str, value: Any, expected_version: int | None, change: ChangeOrigin) -> int:
    """Set a key in the caller's transaction and return the new version.

    `expected_version` is None for a new key. Raises ConfigConflict if the key is at another version.
    """
    before = connection.execute(select(CONFIG.c.value, CONFIG.c.version).where(CONFIG.c.key == key)).one_or_none()
    version = (expected_version or 0) + 1
    written = {"value": value, "version": version, "updated_at": change.at, "updated_by": change.by}
    if expected_version is None:
        made = insert_into(connection, CONFIG).values(key=key, **written).on_conflict_do_nothing()
        done = connection.execute(made.returning(CONFIG.c.key)).one_or_none()
    else:
        at_version = (CONFIG.c.key == key, CONFIG.c.version == expected_version)
        changed = update(CONFIG).where(*at_version).values(written)
        done = connection.execute(changed.returning(CONFIG.c.key)).one_or_none()
    if done is None:
        raise ConfigConflict(key, expected_version or 0, before.version if before else None)
    connection.execute(
        insert(CONFIG_CHANGE).values(
            key=key,
            version=version,
            from_value=before.value if before else None,
            to_value=value,
            changed_at=change.at,
            changed_by=change.by,
            reason=change.reason,
            optimization_id=change.optimization_id,
        )
    )
    return version


def set_by_hand(engine: Engine, key: str, value: Any, *, by: str, reason: str, now: datetime) -> int:
    """Set a key by hand, whatever its value was, and return the new version."""
    with writing(engine) as connection:
        # Locked, so that a concurrent change waits instead of interleaving.
        version = connection.scalar(select(CONFIG.c.version).where(CONFIG.c.key == key).with_for_update())
        return set_value(connection, key, value, version, ChangeOrigin(by, reason, now))


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
            from_value=row.from_value,
            to_value=row.to_value,
            changed_at=row.changed_at,
            changed_by=row.changed_by,
            reason=row.reason,
            reverted=row.reverted_by is not None and row.reverted_by != row.id,
        )
        for row in rows
    ]
