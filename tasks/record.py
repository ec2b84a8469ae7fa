"""Record: a Python router's picks into the selection table, without ever holding the router up.

Light on purpose: a router imports this, so neither Prefect nor polars comes with it.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import random
import threading
import uuid
import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, IntegrityError

from models.database import connect, insert_into, writing
from models.environment import load_environment
from models.tables import LARGEST_AMOUNT, MODEL_ID_LENGTH, TEXT_LENGTH, Selection, table_of

SELECTION = table_of(Selection)
SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
"""Between two attempts to reach a database that is away; the wait doubles, with jitter."""

logger = logging.getLogger("routewatch")

Row = dict[str, Any]


@dataclass(frozen=True)
class Counts:
    """What became of the picks: recorded = written + refused + dropped + waiting.

    A row whose request id is there already counts as written.
    """

    recorded: int
    written: int
    refused: int
    dropped: int
    waiting: int


class RouterLog:
    """Writes picks in the background, in batches; usable from many threads, and as a context manager.

    At most `capacity` rows wait in memory; beyond it the oldest are dropped, counted and told in the log "routewatch".
    """

    def __init__(
        self,
        database_url: str | None = None,
        *,
        capacity: int = 10_000,
        batch_size: int = 500,
        flush_every_s: float = 1.0,
    ) -> None:
        """Takes the database of the environment (ROUTEWATCH_DATABASE_URL) where none is given; does not reach it yet.

        Raises SettingsError or DatabaseUnavailable for an address that can never work.
        """
        self._engine = connect(database_url or load_environment().database_address)
        self._capacity, self._batch_size, self._flush_every_s = capacity, batch_size, flush_every_s
        self._told_faults: set[str] = set()
        self._start_empty()
        _logs.add(self)

    def record_selection(self, *, model_id: str, **known: Any) -> str | None:
        """Queue one pick; the columns are those of the selection table, what is not known is left out.

        `timestamp` is now where it is not given, `request_id` a new one. Gives the request id; None where the row
        cannot be stored or the log is closed. Never raises and never waits for the database.
        """
        row = {"timestamp": datetime.now(UTC), "request_id": uuid.uuid4().hex} | {
            name: value for name, value in known.items() if value is not None
        }
        row["model_id"] = model_id
        fault = fault_of(row)
        with self._changed:
            self._recorded += 1
            if fault is not None or self._closed:
                self._refuse(fault or "the log is closed", 1)
                return None
            self._enqueue(_COLUMNS | row)
        return str(row["request_id"])

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until everything recorded before is written or refused; False where `timeout_s` was too short."""
        with self._changed:
            upto = self._recorded
            self._hurry = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._settled >= upto, timeout_s)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Take no more picks, write what waits for at most `timeout_s`; whether all of it was written."""
        with self._changed:
            self._closed = True
        done = self.flush(timeout_s)
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)
        self._engine.dispose()
        return done

    @property
    def counts(self) -> Counts:
        with self._changed:
            waiting = self._recorded - self._settled
            return Counts(self._recorded, self._written, self._refused, self._dropped, waiting)

    def __enter__(self) -> RouterLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- under the lock -----------------------------------------------------------------------------------------------

    def _start_empty(self) -> None:
        self._changed = threading.Condition()
        self._rows: deque[Row] = deque()
        self._thread: threading.Thread | None = None
        self._recorded = self._written = self._refused = self._dropped = 0
        self._closed = self._stopped = self._hurry = self._overflowing = False

    @property
    def _settled(self) -> int:
        return self._written + self._refused + self._dropped

    def _enqueue(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) > self._capacity:
            self._rows.popleft()
            self._dropped += 1
            if not self._overflowing:
                logger.warning("more than %d picks wait for the database: the oldest are dropped", self._capacity)
            self._overflowing = True
        if self._thread is None:
            self._thread = threading.Thread(target=_work, args=(weakref.ref(self),), name="routewatch-log", daemon=True)
            self._thread.start()
        if len(self._rows) >= self._batch_size:
            self._changed.notify_all()

    def _refuse(self, fault: str, count: int) -> None:
        self._refused += count
        if fault not in self._told_faults:
            self._told_faults.add(fault)
            logger.warning("a pick was not recorded: %s (told once)", fault)

    # --- in the thread ------------------------------------------------------------------------------------------------

    def _next_batch(self) -> list[Row] | None:
        """The next rows, left in the queue until they are written; none yet: empty; the end: None."""
        with self._changed:
            full = self._batch_size
            self._changed.wait_for(
                lambda: self._stopped or (self._rows and (self._hurry or len(self._rows) >= full)), self._flush_every_s
            )
            if self._stopped:
                return None
            taken = [self._rows.popleft() for _ in range(min(full, len(self._rows)))]
            self._hurry = self._hurry and bool(self._rows)
            return taken

    def _put_back(self, batch: list[Row]) -> None:
        with self._changed:
            self._rows.extendleft(reversed(batch))
            while len(self._rows) > self._capacity:
                self._rows.popleft()
                self._dropped += 1

    def _wait(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, seconds)

    def _count(self, written: int, refused: list[str]) -> None:
        with self._changed:
            self._written += written
            for fault in refused:
                self._refuse(fault, 1)
            if self._overflowing:
                logger.warning("the database is back; %d picks were dropped in all", self._dropped)
            self._overflowing = False
            self._changed.notify_all()


def fault_of(row: Mapping[str, Any]) -> str | None:
    """Why the table would not take a row; None where it would."""
    for name, value in row.items():
        if name not in _COLUMNS:
            return f"{name} is no column of a selection"
        fault = _CHECKS[name](value)
        if fault is not None:
            return f"{name} {fault}"
    return None


# ----------------------------------------------------------------------------------------------------------------------


def _text(longest: int, shortest: int = 0) -> Any:
    def check(value: Any) -> str | None:
        if not isinstance(value, str):
            return "is no text"
        if not shortest <= len(value) <= longest:
            return f"is not {shortest} to {longest} characters long"
        return "contains a NUL character" if "\0" in value else None

    return check


def _number(upto: float, *, whole: bool = False) -> Any:
    def check(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            return "is no whole number" if whole else "is no number"
        return None if math.isfinite(value) and 0 <= value <= upto else f"is outside 0 to {upto:g}"

    return check


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "is neither True nor False"


def _instant(value: Any) -> str | None:
    return None if isinstance(value, datetime) and value.tzinfo is not None else "is no datetime with a zone"


_CHECKS: dict[str, Any] = {
    "timestamp": _instant,
    "request_id": _text(TEXT_LENGTH, 1),
    "model_id": _text(MODEL_ID_LENGTH, 1),
    "complexity": _text(TEXT_LENGTH),
    "error_type": _text(TEXT_LENGTH),
    "team": _text(TEXT_LENGTH),
    "response_time_ms": _number(LARGEST_AMOUNT),
    "cost_usd": _number(LARGEST_AMOUNT),
    "accuracy": _number(1),
    "user_satisfaction": _number(1),
    "prompt_tokens": _number(LARGEST_AMOUNT, whole=True),
    "completion_tokens": _number(LARGEST_AMOUNT, whole=True),
    "cache_hit": _flag,
    "error": _flag,
}
_COLUMNS: Row = dict.fromkeys(_CHECKS) | {"error": False}


def _work(reference: weakref.ref[RouterLog]) -> None:
    """The writing thread: it holds the log only while it works, so that a forgotten one can be collected."""
    failures = 0
    while (log := reference()) is not None:
        batch = log._next_batch()
        if batch is None:
            return
        if not batch:
            del log
            continue
        try:
            log._count(*_write(log._engine, batch))
            failures = 0
        except Exception as error:  # noqa: BLE001 - whatever it is, the router must go on and the rows be kept
            log._put_back(batch)
            if failures == 0:
                logger.warning("picks wait, the database cannot be written: %s", error)
            failures += 1
            log._wait(_back_off_s(failures))
        del log


def _back_off_s(failures: int) -> float:
    longest: float = min(LONGEST_WAIT_S, SHORTEST_WAIT_S * 2.0 ** min(failures - 1, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def _write(engine: Engine, batch: list[Row]) -> tuple[int, list[str]]:
    """How many rows were written, and why each of the others was refused. A batch written again counts once."""
    try:
        with writing(engine) as connection:
            connection.execute(insert_into(connection, SELECTION).on_conflict_do_nothing(), batch)
    except (IntegrityError, DataError) as error:
        if len(batch) == 1:
            return 0, [f"the database refused it: {type(error.orig).__name__}"]
        parts = [_write(engine, [row]) for row in batch]
        return sum(written for written, _ in parts), [fault for _, faults in parts for fault in faults]
    return len(batch), []


_logs: weakref.WeakSet[RouterLog] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for log in list(_logs):
        log.close()


def _after_fork_in_child() -> None:
    # What was queued stays with the parent; locks and connections of its threads are of no use here.
    for log in list(_logs):
        log._engine.dispose(close=False)
        log._start_empty()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
