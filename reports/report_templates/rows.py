"""The rows that a template's CSV tables are made of, and those that several templates share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel

from models.documents import Document

Row = Mapping[str, Any]


class Rows(Protocol):
    """Rows that can be gone through more than once."""

    def __iter__(self) -> Iterator[Row]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Parts:
    """A list of the document as rows, of which there is one at a time."""

    parts: tuple[BaseModel, ...]

    def __iter__(self) -> Iterator[Row]:
        return (part.model_dump(mode="json", by_alias=True) for part in self.parts)

    def __len__(self) -> int:
        return len(self.parts)


def plain_values(document: Document) -> dict[str, Any]:
    """The document's fields as JSON has them, without those of which there may be too many to hold at once."""
    return document.model_dump(mode="json", by_alias=True, exclude={"charts", "volume"})


def period_tables(document: Document, data: dict[str, Any]) -> dict[str, Rows]:
    """The KPIs and the series of the charts."""
    charts = document.charts
    return {
        "kpis": data["kpis"], "timeline": Parts(charts.timeline), "distribution": Parts(charts.distribution),
        "heatmap": Parts(charts.heatmap),
    }  # fmt: skip


def note_table(data: dict[str, Any]) -> dict[str, Rows]:
    """One row a note."""
    return {"notes": [{"note": note} for note in data["notes"]]}


def cause_table(data: dict[str, Any]) -> dict[str, Rows]:
    """Why spend changed, where that is known."""
    return {"cause": [data["cause"]]} if data["cause"] else {}


def listed(data: dict[str, Any], *names: str) -> dict[str, Rows]:
    """The document's own lists by their names."""
    return {name: data[name] for name in names}
