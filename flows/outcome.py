"""What a flow leaves behind, for whoever started it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.deliver import Receipt

from tasks.publish import StoredReport


@dataclass(frozen=True)
class Outcome:
    """The report that was told, its files by format, and what became of its deliveries in this run."""

    report: StoredReport
    files: dict[str, Path]
    receipts: tuple[Receipt, ...]
