"""Pull what changed in a source since the last pull, storing each batch together with its cursor."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import polars as pl
from sqlalchemy import Connection, Engine, Row, select

from models.clock import is_ahead, not_ahead, true_now
from models.database import insert_into, reading, writing
from models.schema import PULL_STATE
from models.settings import DEFAULT_INGESTION, Ingestion, SourceSettings
from tasks.ingestion.pull_stats import PullStats
from tasks.ingestion.source import Batch, Source
from tasks.ingestion.store_batch import Prepared, prepare, store

READ_AHEAD = 2
"""Batches read and prepared while the previous one is written."""

SHOWN_ROWS = 5

logger = logging.getLogger("routewatch")


@dataclass(frozen=True)
class Preview:
    """A dry run of a pull: some rows, and the counts of the batches that were read."""

    rows: pl.DataFrame
    stats: PullStats


def pull(
    engine: Engine,
    name: str,
    source: Source,
    settings: SourceSettings,
    now: datetime,
    *,
    since: datetime | None = None,
    ingestion: Ingestion = DEFAULT_INGESTION,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> PullStats:
    """Store what changed since the source's cursor, or everything from `since` on (an instant of the source's time).

    Each batch is one transaction with its cursor: an interrupted pull continues from there the next time, and a row
    that is read again is not counted again. Raises SourceUnavailable and UnreadableInput; stored batches stay stored.
    """
    state = _state(engine, name)
    cursor = None if state is None else state.cursor
    newest = _newest(state)
    total, of = PullStats(newest=newest), source.size(cursor, since)
    for prepared, batch_cursor, done in _ahead(source, name, settings, cursor, since, ingestion=ingestion):
        with writing(engine) as connection:
            _lock(connection, name, source.kind)
            total.add(store(connection, prepared, newest, ingestion=ingestion, kept_before=total.set_aside))
            _save(connection, name, batch_cursor, now, total)
        progress(done, of)
    with writing(engine) as connection:
        _lock(connection, name, source.kind)
        _save(connection, name, None, now, total)
    if total.late and total.latest_by.total_seconds() > settings.overlap_minutes * 60 * _CLOSE:
        text = "%s: a row came %.0f minutes late, and %.0f are read again: raise overlapMinutes before one is missed"
        logger.warning(text, name, total.latest_by.total_seconds() / 60, settings.overlap_minutes)
    return total


def preview(
    name: str, source: Source, settings: SourceSettings, *, cursor: str | None = None, since: datetime | None = None
) -> Preview:
    """Preview the first batch that a pull would store. Raises SourceUnavailable and UnreadableInput."""
    with closing(cast("Generator[Batch]", source.batches(cursor, since))) as batches:
        for batch in batches:
            prepared = prepare(batch, name, settings.complexity_rule)
            if prepared.stats.read:
                return Preview(prepared.selections.head(SHOWN_ROWS), prepared.stats)
    return Preview(pl.DataFrame(), PullStats())


def cursor_of(engine: Engine, name: str) -> str | None:
    """The cursor of a source; None if it was never pulled."""
    state = _state(engine, name)
    return None if state is None else state.cursor


def states(engine: Engine) -> Sequence[Row[Any]]:
    """The pull state of every pulled source by name: the rows of models.schema.PULL_STATE."""
    with reading(engine) as connection:
        return connection.execute(select(PULL_STATE).order_by(PULL_STATE.c.source)).all()


# ----------------------------------------------------------------------------------------------------------------------

_CLOSE = 0.8
"""Share of the overlap beyond which late rows are logged, before any are missed."""


def _state(engine: Engine, name: str) -> Any:
    with reading(engine) as connection:
        return connection.execute(select(PULL_STATE).where(PULL_STATE.c.source == name)).one_or_none()


def _newest(state: Any) -> datetime | None:
    text = None if state is None or state.last is None else state.last.get("newest")
    newest = None if text is None else datetime.fromisoformat(text).astimezone(UTC)
    # Ahead of the clock, it would make every row a late one.
    return None if is_ahead(newest, true_now()) else newest


def _ahead(
    source: Source,
    name: str,
    settings: SourceSettings,
    cursor: str | None,
    since: datetime | None,
    *,
    ingestion: Ingestion,
) -> Iterator[tuple[Prepared, str, int]]:
    """Prepared batches, each read while the previous one is being stored."""
    batches = source.batches(cursor, since)

    def following() -> tuple[Prepared, str, int] | None:
        batch = next(batches, None)
        if batch is None:
            return None
        return prepare(batch, name, settings.complexity_rule, ingestion=ingestion), batch.cursor, batch.done

    # Close after the reader has ended: the reader's thread runs it.
    with closing(cast("Generator[Batch]", batches)), ThreadPoolExecutor(max_workers=1) as reader:
        coming = deque(reader.submit(following) for _ in range(READ_AHEAD))
        try:
            while (ready := coming.popleft().result()) is not None:
                coming.append(reader.submit(following))
                yield ready
        finally:
            for waiting in coming:
                waiting.cancel()


def _lock(connection: Connection, name: str, kind: str) -> None:
    """Lock the source's row: a second pull of the source waits, so that two never write the same rows."""
    insertion = insert_into(connection, PULL_STATE).on_conflict_do_nothing(index_elements=["source"])
    connection.execute(insertion, {"source": name, "kind": kind})
    connection.execute(select(PULL_STATE.c.source).where(PULL_STATE.c.source == name).with_for_update())


def _save(connection: Connection, name: str, cursor: str | None, now: datetime, stats: PullStats) -> None:
    """None keeps the cursor."""
    values: dict[str, Any] = {"pulled_at": not_ahead(now), "last": stats.as_json()}
    if cursor is not None:
        values["cursor"] = cursor
    connection.execute(PULL_STATE.update().where(PULL_STATE.c.source == name).values(values))
