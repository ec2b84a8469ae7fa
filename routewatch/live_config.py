"""Read what the config table says of routing, in the background: no request waits for the database beyond a bound."""

from __future__ import annotations

import json
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from routewatch.rollout import ROLLOUT_PREFIX, ROUTING_PREFIX

CONFIG_KEPT_S = 5.0
"""How long values are used before they are read again."""

FIRST_WAIT_S = 0.25
"""How long a request waits at most, where nothing has been read yet."""

LAST_KNOWN_FOR_S = 60.0
"""How long values hold that cannot be read again; after it a rollout that was ended might still go on here."""

LARGEST_VALUE = 10_000
MOST_KEYS = 2_000
"""Characters of a value, and keys, that are read at most."""


class UnreadableValue(ValueError):
    """A value that is no JSON."""


class LiveConfig:
    """The keys `rollout.…` and `routing.…`, at most CONFIG_KEPT_S old while the database is there.

    One request in CONFIG_KEPT_S starts a thread that reads them, and goes on with the values of before. A value is an
    UnreadableValue where it is no JSON.
    """

    def __init__(self, address: str, failed: Callable[[Exception], None]) -> None:
        self._address, self._failed = address, failed
        self.start_empty()
        _configs.add(self)

    def start_empty(self) -> None:
        self._changed = threading.Condition()
        self._values: Mapping[str, Any] | None = None
        self._read_at_s = self._tried_at_s = -float("inf")
        self._is_reading = False

    def values(self) -> Mapping[str, Any] | None:
        """What was read last; None if nothing was, or too long ago."""
        now_s = time.monotonic()
        with self._changed:
            if not self._is_reading and now_s - max(self._read_at_s, self._tried_at_s) >= CONFIG_KEPT_S:
                self._is_reading, self._tried_at_s = True, now_s
                thread = threading.Thread(target=self._read, name="routewatch-config", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    self._is_reading = False  # No threads left for now: a later request tries again.
            if self._values is None and self._is_reading:
                # Only the first requests wait, and no longer than until then, whatever becomes of the thread.
                left_s = self._tried_at_s + FIRST_WAIT_S - now_s
                if left_s > 0:
                    self._changed.wait_for(lambda: not self._is_reading, left_s)
            is_known = time.monotonic() - self._read_at_s < LAST_KNOWN_FOR_S
            return self._values if is_known else None

    # --- in the reading thread ----------------------------------------------------------------------------------------

    def _read(self) -> None:
        began_s = time.monotonic()
        values: Mapping[str, Any] | None = None
        try:
            values = read_values(self._address)
        except Exception as error:  # noqa: BLE001 - whatever it is, the router goes on
            self._failed(error)
        with self._changed:
            if values is not None:
                self._values, self._read_at_s = values, began_s
            self._is_reading = False
            self._changed.notify_all()


# ----------------------------------------------------------------------------------------------------------------------


def read_values(address: str) -> dict[str, Any]:
    """Read the keys of routing and rollouts, each as its JSON or an UnreadableValue."""
    from routewatch.database import connect, reaching

    # An engine of its own: it waits for none of the log's connections, and leaves none open.
    engine = connect(address)

    kind = "BLOB" if engine.dialect.name == "sqlite" else "TEXT"
    # A driver of PostgreSQL reads two percent signs as one; to LIKE two are the same as one.
    query = (
        f"SELECT CAST(key AS {kind}), CAST(value AS {kind}) FROM config"  # noqa: S608 - words from this module
        f" WHERE (key LIKE '{ROLLOUT_PREFIX}%%' OR key LIKE '{ROUTING_PREFIX}%%')"
        f" AND length(CAST(value AS TEXT)) <= {LARGEST_VALUE} LIMIT {MOST_KEYS}"
    )
    try:
        with reaching(engine.url), engine.connect() as connection:
            rows = connection.exec_driver_sql(query).fetchall()
    finally:
        engine.dispose()
    return {_text(key): _decoded(_text(value)) for key, value in rows}


def _text(stored: bytes | str) -> str:
    return stored.decode("utf-8", "replace") if isinstance(stored, bytes) else str(stored)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return UnreadableValue("it is not JSON")


_configs: weakref.WeakSet[LiveConfig] = weakref.WeakSet()


def start_all_empty() -> None:
    """In a forked process: the threads, and who held a lock, stayed with the parent."""
    for config in list(_configs):
        config.start_empty()
