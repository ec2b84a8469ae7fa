"""Count the outcome of a source's rows over the batches of a pull."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any


@dataclass
class PullStats:
    """Rows read = added + changed + unchanged + overhead + skipped + rejected + set_aside + dropped.

    `changed` are stored selections that had other values, `unchanged` those with the same values; repeated rows of an
    id in one batch are unchanged too. `rejected` counts rows by fault, `skipped` rows that are not selections by
    reason. `coverage` counts by column the selections that have a value, before anything is derived; `priced` are costs
    computed from list prices, `unknown_models` rows that could not be priced, by model. `late` rows are new, but older
    than the position reached by the last pull. `set_aside` rows are ahead of the clock, and so are `dropped` ones, for
    which the quarantine had no room. `unknown` counts by reason the
    fields, not rows, that could not be read.
    """

    read: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    amended: int = 0
    overhead: int = 0
    set_aside: int = 0
    dropped: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    coverage: Counter[str] = field(default_factory=Counter)
    priced: int = 0
    complexity_derived: int = 0
    unknown_models: Counter[str] = field(default_factory=Counter)
    late: int = 0
    latest_by: timedelta = timedelta(0)
    newest: datetime | None = None

    def add(self, other: PullStats) -> None:
        """Add the counts of another one."""
        for name in ("read", "added", "changed", "unchanged", "amended", "overhead", "priced", "complexity_derived",
                     "late", "set_aside", "dropped"):  # fmt: skip
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("rejected", "unknown", "skipped", "coverage", "unknown_models"):
            getattr(self, name).update(getattr(other, name))
        self.latest_by = max(self.latest_by, other.latest_by)
        self.newest = max((it for it in (self.newest, other.newest) if it is not None), default=None)

    @property
    def selections(self) -> int:
        """Rows that are selections, new or not."""
        return self.added + self.changed + self.unchanged

    def as_json(self) -> dict[str, Any]:
        """The counts stored in the source's pull state."""
        return {
            "read": self.read, "added": self.added, "changed": self.changed, "unchanged": self.unchanged,
            "amended": self.amended, "overhead": self.overhead, "rejected": dict(self.rejected),
            "setAside": self.set_aside, "dropped": self.dropped, "unknownFields": dict(self.unknown),
            "leftOut": dict(self.skipped), "coverage": dict(self.coverage), "priced": self.priced,
            "complexityDerived": self.complexity_derived, "unknownModels": dict(self.unknown_models), "late": self.late,
            "latestBySeconds": self.latest_by.total_seconds(),
            "newest": None if self.newest is None else self.newest.isoformat(),
        }  # fmt: skip
