"""Tally: what became of the rows of a source, counted up over the batches of a pull."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any


@dataclass
class PullStats:
    """Rows read = added + changed + unchanged + overhead + left out + rejected.

    `changed` are selections that were there and had other values, `unchanged` those that had the same; `repeated` rows
    of the same id in one batch are unchanged too. `rejected` counts rows by what is wrong with them, `skipped` those
    that are no selections by why not. `coverage` counts by column the selections that have a value, before anything is
    derived; `priced` are costs worked out from list prices, `unknown_models` rows that could not be, by model.
    `late` rows are new, but from before what had been read by the last pull.
    """

    read: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    amended: int = 0
    overhead: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    coverage: Counter[str] = field(default_factory=Counter)
    priced: int = 0
    complexity_derived: int = 0
    unknown_models: Counter[str] = field(default_factory=Counter)
    late: int = 0
    latest_by: timedelta = timedelta(0)
    newest: datetime | None = None

    def add(self, other: PullStats) -> None:
        """Count another one in."""
        for name in ("read", "added", "changed", "unchanged", "amended", "overhead", "priced", "complexity_derived",
                     "late"):  # fmt: skip
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("rejected", "skipped", "coverage", "unknown_models"):
            getattr(self, name).update(getattr(other, name))
        self.latest_by = max(self.latest_by, other.latest_by)
        self.newest = max((it for it in (self.newest, other.newest) if it is not None), default=None)

    @property
    def selections(self) -> int:
        """Rows that are selections, new or not."""
        return self.added + self.changed + self.unchanged

    def as_json(self) -> dict[str, Any]:
        """For the record of the source's last pull."""
        return {
            "read": self.read, "added": self.added, "changed": self.changed, "unchanged": self.unchanged,
            "amended": self.amended, "overhead": self.overhead, "rejected": dict(self.rejected),
            "leftOut": dict(self.skipped), "coverage": dict(self.coverage), "priced": self.priced,
            "complexityDerived": self.complexity_derived, "unknownModels": dict(self.unknown_models), "late": self.late,
            "latestBySeconds": self.latest_by.total_seconds(),
            "newest": None if self.newest is None else self.newest.isoformat(),
        }  # fmt: skip
