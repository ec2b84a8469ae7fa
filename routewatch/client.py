"""Record a Python router's selections in the selection table without ever blocking the router.

The package stands alone because a router imports it, and the router's own modules may share names with Routewatch's
folders. SQLAlchemy is loaded by a process's first RouterLog; other processes do not load it.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import threading
import time
import uuid
import weakref
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from routewatch.errors import RoutewatchError, UsageError
from routewatch.gate import AcceptedSelection, RejectedSelection, accept, latest_instant

if TYPE_CHECKING:
    from sqlalchemy import Engine

SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
"""Wait between two attempts to reach an unavailable database; it doubles each time, with jitter."""
EXIT_TIMEOUT_S = 5.0
"""How long process exit waits for the selections of a log that was not closed."""

logger = logging.getLogger("routewatch")


@dataclass(frozen=True)
class Counts:
    """Counts of this process's selections: recorded = written + refused + dropped + waiting.

    A row whose request id is already in the table counts as written, and so does one that was set aside because its
    time is ahead of the clock. `unknown` are fields, not rows: values that could not be read, and are unknown.
    """

    recorded: int
    written: int
    refused: int
    dropped: int
    waiting: int
    unknown: int = 0


class RouterLog:
    """Write selections in batches in the background. Safe for threads and forked workers; a context manager.

    At most `capacity` rows wait for the database; beyond it the oldest are dropped, counted and reported in the
    log "routewatch". A forked process starts with an empty log of its own: waiting rows stay with the parent.
    """

    def __init__(
        self,
        database_url: str | None = None,
        *,
        capacity: int = 10_000,
        batch_size: int = 500,
        flush_every_s: float = 1.0,
    ) -> None:
        """Default to the environment's database (ROUTEWATCH_DATABASE_URL); do not connect yet.

        Raises SettingsError, UsageError or DatabaseUnavailable for arguments that can never work.
        """
        if capacity < 1 or batch_size < 1:
            raise UsageError(f"capacity is {capacity} and batch_size {batch_size}; both must be 1 or more")
        from routewatch.database import database_address_of

        address = database_address_of() if database_url is None else database_url
        self._writer = _Writer(address, capacity, batch_size, flush_every_s)
        weakref.finalize(self, self._writer.finish).atexit = False

    def record_selection(
        self,
        *,
        model_id: str,
        response_time_ms: float | None = None,
        cost_usd: float | None = None,
        complexity: str | None = None,
        cache_hit: bool | None = None,
        accuracy: float | None = None,
        user_satisfaction: float | None = None,
        error: bool = False,
        error_type: str | None = None,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
        team: str | None = None,
        timestamp: datetime | None = None,
        request_id: str | None = None,
        experiment: str | None = None,
        arm: str | None = None,
        unit_bucket: int | None = None,
    ) -> str | None:
        """Queue one selection; None means unknown. `timestamp` (with an offset) defaults to now.

        A value that cannot be read, such as NaN, is unknown: it is counted, and logged once for each reason. A row
        whose time is ahead of the clock is set aside in the quarantine.

        Returns the request id, generated if none is given, or None if the row is refused: a `timestamp` that is no
        instant, or a closed log. Never raises for a value and never waits for the database.
        """
        row = {name: value for name, value in locals().items() if name != "self"}
        now = datetime.now(UTC)
        row["timestamp"] = now if timestamp is None else timestamp
        try:
            accepted = accept(row, latest_instant(now))
        except RejectedSelection as fault:
            self._writer.refuse(str(fault), is_error=fault.is_error)
            return None
        if accepted.row["request_id"] is None:
            accepted.row["request_id"] = uuid.uuid4().hex
        return str(accepted.row["request_id"]) if self._writer.add(accepted) else None

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until all selections recorded so far are written; False on timeout or if any was dropped meanwhile.

        Retries an unavailable database at once.
        """
        return self._writer.flush(timeout_s)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Refuse further selections and write the waiting ones within `timeout_s`; False as for `flush`."""
        return self._writer.close(timeout_s)

    @property
    def counts(self) -> Counts:
        return self._writer.counts

    def __enter__(self) -> RouterLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# ----------------------------------------------------------------------------------------------------------------------


class _Writer:
    """The queue and its thread. Separate from RouterLog, so that the thread does not keep an unreferenced log alive."""

    def __init__(self, address: str, capacity: int, batch_size: int, flush_every_s: float) -> None:
        self._address, self._capacity = address, capacity
        self._batch_size, self._flush_every_s = batch_size, flush_every_s
        self._logged: set[str] = set()
        self.start_empty()
        _writers.add(self)

    def start_empty(self) -> None:
        from routewatch.database import connect

        self._engine = connect(self._address)
        self._changed = threading.Condition()
        self._rows: deque[tuple[int, AcceptedSelection]] = deque()
        self._in_flight: list[tuple[int, AcceptedSelection]] = []
        self._uncounted: list[_Noted] = []
        self._thread: threading.Thread | None = None
        self._recorded = self._written = self._refused = self._dropped = self._dropped_before = 0
        self._accepted = self._failures = self._hurry_until = self._unknown = 0
        self._closing = self._stopped = self._away = self._poked = False

    @property
    def counts(self) -> Counts:
        with self._changed:
            waiting = len(self._rows) + len(self._in_flight)
            return Counts(self._recorded, self._written, self._refused, self._dropped, waiting, self._unknown)

    # --- in the router's threads --------------------------------------------------------------------------------------

    def add(self, accepted: AcceptedSelection) -> bool:
        with self._changed:
            closed = self._closing
            if not closed:
                self._recorded += 1
                self._accepted += 1
                self._unknown += len(accepted.unknown)
                for reason in accepted.reasons if accepted.set_aside is None else ():
                    self._note(_Noted("unknownField", reason, accepted.row["timestamp"], accepted.row["error"]))
                self._rows.append((self._accepted, accepted))
                overflows = self._trim()
                self._start_thread()
                if len(self._rows) in (1, self._batch_size):
                    self._changed.notify_all()
        # Logging is done outside of the lock: a slow handler must not block the other threads.
        if closed:
            self.refuse("the log is closed")
        elif overflows:
            logger.warning("more than %d selections wait for the database: dropping the oldest", self._capacity)
        for reason in accepted.reasons:
            self._log_fault(f"a value was not recorded and is unknown: {reason}")
        if accepted.set_aside:
            self._log_fault(f"a selection was set aside and is not counted: {accepted.set_aside}")
        return not closed

    def refuse(self, fault: str, *, is_error: bool = False) -> None:
        with self._changed:
            self._recorded += 1
            self._refused += 1
            if not self._closing and self._note(_Noted("rejected", fault, datetime.now(UTC), is_error)):
                self._start_thread()
                self._changed.notify_all()
        self._log_fault(f"a selection was not recorded: {fault}")

    def _log_fault(self, fault: str) -> None:
        with self._changed:
            new = fault not in self._logged
            self._logged.add(fault)
        if new:
            logger.warning("%s (logged once)", fault)

    def flush(self, timeout_s: float) -> bool:
        with self._changed:
            until, dropped = self._accepted, self._dropped
            self._hurry_until, self._failures, self._poked = until, 0, True
            self._changed.notify_all()
            done = self._changed.wait_for(
                lambda: self._stopped or (self._oldest() > until and not self._uncounted), timeout_s
            )
            return done and self._oldest() > until and self._dropped == dropped

    def finish(self) -> None:
        """Let the thread write the waiting rows and end; do not wait for it."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def close(self, timeout_s: float) -> bool:
        until = time.monotonic() + timeout_s
        self.finish()
        done = self.flush(timeout_s)
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            thread = self._thread
        if thread is None:
            self._engine.dispose()
        elif thread is not threading.current_thread():
            thread.join(max(0.0, until - time.monotonic()))
        return done

    # --- under the lock -----------------------------------------------------------------------------------------------

    def _note(self, noted: _Noted) -> bool:
        """Keep for the database's counts by reason, within the capacity; False beyond it."""
        kept = len(self._uncounted) < self._capacity
        if kept:
            self._uncounted.append(noted)
        return kept

    def _oldest(self) -> float:
        """The number of the oldest waiting row; infinite if there is none."""
        return next((number for rows in (self._in_flight, self._rows) for number, _ in rows), float("inf"))

    def _trim(self) -> bool:
        """Drop the oldest rows beyond the capacity; True if this begins an overflow."""
        first = self._dropped == self._dropped_before
        while len(self._rows) > self._capacity:
            self._rows.popleft()
            self._dropped += 1
        return first and self._dropped > self._dropped_before

    def _lost_in_all(self) -> int:
        """The rows dropped in an overflow, once half the capacity is free again, so that the log does not alternate."""
        if len(self._rows) > self._capacity // 2:
            return 0
        lost, self._dropped_before = self._dropped - self._dropped_before, self._dropped
        return lost

    def _start_thread(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="routewatch-log", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return  # No threads left for now: the next selection tries again.
            self._thread = thread

    # --- in the writing thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            try:
                refused = _write(self._engine, batch)
            except Exception as error:  # noqa: BLE001 - the router continues after any error and the rows are kept
                self._failed(error)
            else:
                self._succeeded(refused)
                self._count()
        self._engine.dispose()

    def _count(self) -> None:
        """Add what was noted to the database's counts. That is no reason to keep rows waiting: it is tried once."""
        with self._changed:
            noted = list(self._uncounted)
        if not noted:
            return
        try:
            _write_counts(self._engine, noted)
        except Exception as error:  # noqa: BLE001 - each reason is in the log already
            self._log_fault(f"refused and unknown values could not be counted in the database: {_cause(error)}")
        with self._changed:
            del self._uncounted[: len(noted)]
            self._changed.notify_all()

    def _next_batch(self) -> list[AcceptedSelection] | None:
        """The next rows, none if there are only counts to write; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._rows or self._uncounted or self._closing)
            self._changed.wait_for(self._due, self._flush_every_s)
            if self._stopped or not (self._rows or self._uncounted):
                return None
            self._in_flight = [self._rows.popleft() for _ in range(min(self._batch_size, len(self._rows)))]
            return [row for _, row in self._in_flight]

    def _due(self) -> bool:
        hurries = self._oldest() <= self._hurry_until or (self._poked and not self._rows)
        return self._closing or len(self._rows) >= self._batch_size or hurries

    def _succeeded(self, refused: list[str]) -> None:
        with self._changed:
            self._written += len(self._in_flight) - len(refused)
            self._refused += len(refused)
            self._in_flight = []
            self._failures, self._away = 0, False
            lost = self._lost_in_all()
            self._changed.notify_all()
        for fault in refused:
            self._log_fault(f"a selection was not recorded: {fault}")
        if lost:
            logger.warning("the database accepts selections again; %d were dropped meanwhile", lost)

    def _failed(self, error: Exception) -> None:
        with self._changed:
            self._rows.extendleft(reversed(self._in_flight))
            self._in_flight = []
            overflows, was_logged = self._trim(), self._away
            self._away, self._poked = True, False
            self._failures += 1
            wait_s = back_off_s(self._failures)
        if not was_logged:
            logger.warning("selections cannot be written and wait: %s", _cause(error))
        if overflows:
            logger.warning("more than %d selections wait for the database: dropping the oldest", self._capacity)
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._poked, wait_s)


def back_off_s(failures: int) -> float:
    """The wait in seconds after so many failures in a row: exponential, with jitter."""
    longest: float = min(LONGEST_WAIT_S, SHORTEST_WAIT_S * 2.0 ** min(failures - 1, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret


def _cause(error: Exception) -> str:
    """The error in one line, without the statement and values that SQLAlchemy would add."""
    from sqlalchemy.exc import DBAPIError

    if isinstance(error, RoutewatchError):
        return str(error)
    shown = error.orig if isinstance(error, DBAPIError) else type(error).__name__
    return f"{str(shown).strip().splitlines()[0]}. Check that `routewatch init` was run on this database"


def _write(engine: Engine, batch: list[AcceptedSelection]) -> list[str]:
    """Write the rows, and set aside those that are ahead of the clock; return the reasons of the refused ones.

    A batch that is written again counts once.
    """
    from sqlalchemy.exc import DataError, IntegrityError

    from routewatch.database import insert_into, writing
    from routewatch.quarantine import Entrance, set_aside
    from routewatch.selection import SELECTION

    counted = [it.row for it in batch if it.set_aside is None]
    aside = [(it.row, it.set_aside) for it in batch if it.set_aside is not None]
    try:
        if batch:
            with writing(engine) as connection:
                if counted:
                    insertion = insert_into(connection, SELECTION).on_conflict_do_nothing(index_elements=["request_id"])
                    connection.execute(insertion, counted)
                set_aside(connection, aside, Entrance.ROUTER_LOG, datetime.now(UTC))
    except (IntegrityError, DataError) as error:
        if len(batch) == 1:
            return [f"the database refused it: {type(error.orig).__name__}"]
        return [fault for accepted in batch for fault in _write(engine, [accepted])]
    return []


@dataclass(frozen=True)
class _Noted:
    """A row that was refused, or a field that became unknown, for the database's counts."""

    outcome: str
    reason: str
    at: datetime
    is_error: bool


def _write_counts(engine: Engine, noted: list[_Noted]) -> None:
    from routewatch.database import writing
    from routewatch.quarantine import Entrance, IntakeCounts, IntakeOutcome

    counts = IntakeCounts(Entrance.ROUTER_LOG)
    for it in noted:
        counts.add(IntakeOutcome(it.outcome), it.reason, it.at, errors=int(it.is_error))
    with writing(engine) as connection:
        counts.write(connection)


_writers: weakref.WeakSet[_Writer] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for writer in list(_writers):
        writer.close(EXIT_TIMEOUT_S)


_inherited: list[Engine] = []
"""A parent's engines, kept forever: closing its connections from a forked process could harm them."""


def _after_fork_in_child() -> None:
    for writer in list(_writers):
        _inherited.append(writer._engine)
        writer.start_empty()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
