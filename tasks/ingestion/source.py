"""Define a source: an adapter that returns what changed since a cursor, as raw selections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

import polars as pl

from models.clock import is_ahead, true_now
from tasks.run_logger import logger

PRICING = ("provider", "cache_read_tokens", "cache_write_tokens")
"""Optional columns beside those of a selection, for computing a missing cost."""

OVERHEAD = ("request_id", "timestamp", "kind", "model_id", "cost_usd", "prompt_tokens", "completion_tokens")
"""Columns of a call that the router made for itself. `kind` is its purpose: classifier, tool, batch."""

AMENDMENTS = ("request_id", "accuracy", "user_satisfaction")
"""Columns of later values for a selection that may be stored already. NULL keeps the stored value."""


class UnknownField(NamedTuple):
    """A field that the adapter could not read, of a selection at `at`: its value is NULL there."""

    column: str
    reason: str
    at: datetime
    is_error: bool


@dataclass(frozen=True)
class Batch:
    """One batch of a source: rows read = selections + overhead + skipped + rejected.

    `selections` has columns of a selection (tasks.ingestion.column_mapping.SELECTION_COLUMNS) by our names and in our
    units, as far as the source has them, and PRICING; values are not validated yet. `overhead` has OVERHEAD,
    `amendments` has AMENDMENTS. `skipped` counts rows that are not selections by reason, `rejected` unreadable rows.
    `unknown` are fields of the selections that the adapter could not read, and `rejected_errors` counts by reason the
    rejected rows that are failed calls, as far as that is known.
    `retracted` are ids of earlier selections and overhead that turned out not to be such. `cursor` is where to continue
    once all this is stored; `done` is how much of the source's `size` has been read.
    """

    selections: pl.DataFrame
    cursor: str
    overhead: pl.DataFrame = field(default_factory=pl.DataFrame)
    amendments: pl.DataFrame = field(default_factory=pl.DataFrame)
    skipped: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    unknown: Sequence[UnknownField] = ()
    rejected_errors: Mapping[str, int] = field(default_factory=dict)
    retracted: Sequence[str] = ()
    done: int = 0


READ_AGAIN = timedelta(hours=48)
"""How far back a source is read again whose position lay ahead of the clock."""


def bounded_position(reached: datetime) -> datetime:
    """Return how far a source was read: never ahead of the clock, as a clock that ran ahead may have stored it.

    Where reading really was is lost then: the last two days are read again, and rows that are stored already are not
    counted again.
    """
    now = true_now()
    if not is_ahead(reached, now):
        return reached
    text = "the position of a pull, %s, is ahead of the clock: reading the last %.0f hours again; `--since` reads more"
    logger().warning(text, reached.isoformat(), READ_AGAIN.total_seconds() / 3_600)
    return now - READ_AGAIN


class Source(Protocol):
    """One kind of system that selections are read from; each has a module in tasks.sources."""

    @property
    def kind(self) -> str:
        """One of models.settings.SourceKind."""
        ...

    @property
    def origins(self) -> Mapping[str, str]:
        """The origin of each selection column that the source can fill, as a dry run shows it."""
        ...

    def size(self, cursor: str | None, since: datetime | None) -> int:
        """Estimated rows, bytes or files still to read, for a progress bar; 0 if unknown."""
        ...

    def batches(self, cursor: str | None, since: datetime | None) -> Iterator[Batch]:
        """Read what changed since the cursor (None: everything), oldest first, with an overlap for late rows.

        With `since`, read everything from that instant on instead. Raises SourceUnavailable or UnreadableInput.
        """
        ...
