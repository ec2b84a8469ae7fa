"""What a source is: something that says what changed since a cursor, as raw selections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import polars as pl

PRICING = ("provider", "cache_read_tokens", "cache_write_tokens")
"""What a source may say of a pick beside the columns of a selection, so that a missing cost can be worked out."""

OVERHEAD = ("request_id", "timestamp", "kind", "model_id", "cost_usd", "prompt_tokens", "completion_tokens")
"""Of a call that the router made for itself. `kind` is what for, in a word: classifier, tool, batch."""

AMENDMENTS = ("request_id", "accuracy", "user_satisfaction")
"""Of a pick that may be stored already: what became known of it later. NULL leaves what is there."""


@dataclass(frozen=True)
class Batch:
    """What a source gives at one go: rows read = picks + overhead + left out + unreadable.

    `selections` has columns of a selection (tasks.ingestion.column_mapping.SELECTION_COLUMNS) by our names and in our
    units, as far as the source has them, and PRICING; values are not checked yet. `overhead` has OVERHEAD, `amendments`
    has AMENDMENTS. `skipped` counts rows that are no selections by reason, `rejected` those that could not be read.
    `retracted` are ids of picks and overhead that were given before, and are not what they seemed. `cursor` is where to
    go on once all this is stored; `done` is how much of the source's `size` has been read.
    """

    selections: pl.DataFrame
    cursor: str
    overhead: pl.DataFrame = field(default_factory=pl.DataFrame)
    amendments: pl.DataFrame = field(default_factory=pl.DataFrame)
    skipped: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    retracted: Sequence[str] = ()
    done: int = 0


class Source(Protocol):
    """One kind of place that picks are read from; a module of this package each."""

    @property
    def kind(self) -> str:
        """One of models.settings.SourceKind."""
        ...

    @property
    def origins(self) -> Mapping[str, str]:
        """Of each column of a selection that the source can fill where its values come from: what a dry run shows."""
        ...

    def size(self, cursor: str | None, since: datetime | None) -> int:
        """About how many rows, bytes or files are ahead, for a progress bar; 0 where that cannot be known."""
        ...

    def batches(self, cursor: str | None, since: datetime | None) -> Iterator[Batch]:
        """What changed since the cursor (None: from the beginning), oldest first, with an overlap for late rows.

        `since` asks for everything from that instant on instead. Raises SourceUnavailable or UnreadableInput.
        """
        ...
