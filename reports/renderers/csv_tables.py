"""The report's tables for a spreadsheet: one tidy table a section, safe to open."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, cast

from pydantic import BaseModel

from models.documents import CostReport, Document, OptimizationReport, UsageReport

_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_ABOUT_ESTIMATE = ("baseline", "spentUsd", "coveredShare", "observational", "reason")
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip can hold: a fixed time keeps the bytes the same."""

Row = Mapping[str, Any]


class Rows(Protocol):
    """Rows that can be gone through more than once."""

    def __iter__(self) -> Iterator[Row]: ...

    def __len__(self) -> int: ...


def render_csv(document: Document) -> tuple[bytes, str]:
    """The content and its suffix: "csv" where one section has rows, else "zip" with a file for each that has.

    Unknown is an empty cell; times are ISO 8601 with their offset; nested values are flattened with dots.
    """
    out = io.BytesIO()
    write_csv(document, out)
    return out.getvalue(), csv_suffix(document)


def csv_suffix(document: Document) -> str:
    """How a file with the document's tables is called."""
    return "csv" if len(_with_rows(document)) == 1 else "zip"


def write_csv(document: Document, out: BinaryIO) -> None:
    """The same into a file, row by row: a long period's rows are never all there at once."""
    tables = _with_rows(document)
    if len(tables) == 1:
        _write(next(iter(tables.values())), out)
        return
    with zipfile.ZipFile(out, "w") as archive:
        for name, rows in tables.items():
            entry = zipfile.ZipInfo(f"{name}.csv", _ZIP_TIME)
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            with archive.open(entry, "w") as file:
                _write(rows, cast(BinaryIO, file))


def safe_text(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_STARTS_A_FORMULA) else text


def _with_rows(document: Document) -> dict[str, Rows]:
    return {name: rows for name, rows in _tables(document).items() if rows}


@dataclass(frozen=True)
class _Parts:
    """A list of the document as rows, of which there is one at a time."""

    parts: tuple[BaseModel, ...]

    def __iter__(self) -> Iterator[Row]:
        return (part.model_dump(mode="json", by_alias=True) for part in self.parts)

    def __len__(self) -> int:
        return len(self.parts)


def _tables(document: Document) -> dict[str, Rows]:
    """Sections with their rows, in the order of the report."""
    data = document.model_dump(mode="json", by_alias=True, exclude={"charts", "volume"})
    charts = document.charts
    shared: dict[str, Rows] = {
        "kpis": data["kpis"], "timeline": _Parts(charts.timeline), "distribution": _Parts(charts.distribution),
        "heatmap": _Parts(charts.heatmap),
    }  # fmt: skip
    notes = {"notes": [{"note": note} for note in data["notes"]]}
    names: tuple[str, ...]
    if isinstance(document, CostReport):
        names = ("modelCostBreakdown", "complexityCostBreakdown", "teamCostBreakdown", "recommendations")
        summary = data["costSummary"]
        trends = {"costTrend": summary.pop("costTrend")}
        savings = {"savings": data["costOptimizationSavings"]["classes"], "budget": [data["budgetProjection"]]}
    elif isinstance(document, UsageReport):
        names = ("modelUsage", "complexityUsage", "teamUsage", "topMovers", "newModels", "vanishedModels", "usageTrend")
        compared = {key: data[key] for key in ("comparedFrom", "comparedTo", "leastSelections", "daysBefore")}
        summary, trends, savings = data["usageSummary"] | compared, {}, {}
        shared = {"volume": _Parts(document.volume), "hoursOfWeek": data["hoursOfWeek"]}
    elif isinstance(document, OptimizationReport):
        names = ("bottlenecks", "recommendations")
        summary, trends, savings = data["summary"], {}, _of_optimizations(data)
    else:
        names = (
            "modelBreakdown",
            "performanceTrends",
            "recommendations",
            "appliedOptimizations",
            "alerts",
            "firedAlerts",
        )
        summary, trends = data["summary"], {"optimizationOpportunities": data["optimizationOpportunities"]}
        savings = {
            "savings": (data["savings"] or {}).get("classes", []),
            "budget": [data["budget"]] * bool(data["budget"]),
        }
    cause = {"cause": [data["cause"]]} if data.get("cause") else {}
    return {
        "summary": [summary],
        **cause,
        **{name: data[name] for name in names},
        **trends,
        **savings,
        **shared,
        **notes,
    }


def _of_optimizations(data: dict[str, Any]) -> dict[str, Rows]:
    """What only the report about optimizations has; guards are columns by their metric."""
    for applied in data["appliedOptimizations"]:
        if applied["verdict"]:
            applied["verdict"]["guards"] = {guard.pop("metric"): guard for guard in applied["verdict"]["guards"]}
    savings, baselines = data["savings"], data["baselines"]
    estimated = savings["estimated"]
    amounts = [
        {"kind": "estimated", "usd": estimated["savingsUsd"]} | {key: estimated[key] for key in _ABOUT_ESTIMATE},
        {"kind": "routerCost", "usd": {"estimate": savings["routerCostUsd"]}},
        {"kind": "net", "usd": savings["netUsd"]},
        {"kind": "measured", "usd": savings["measuredUsd"], "judgedCount": savings["measuredCount"]},
    ]
    return {
        "appliedOptimizations": data["appliedOptimizations"],
        "savings": amounts,
        "savingsByClass": estimated["classes"],
        "baselines": [
            baselines["router"] | {"accuracyGained": baselines["accuracyGained"]},
            baselines["allCheapest"],
            baselines["shuffled"],
        ],
        "configHistory": data["configHistory"],
    }


def _write(rows: Rows, out: BinaryIO) -> None:
    """Goes through the rows twice, for the columns and for what is in them."""
    columns = _columns(dict(_flat(row)) for row in rows)
    text = io.TextIOWrapper(out, encoding="utf-8", newline="")
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(dict(_flat(row)) for row in rows)
    text.flush()
    text.detach()


def _columns(flat: Iterable[Mapping[str, object]]) -> list[str]:
    """Every column in order; not one that is unknown wherever it is not parted into others."""
    names: dict[str, bool] = {}
    for row in flat:
        for name, value in row.items():
            names[name] = names.get(name, False) or value is not None
    parted = {name[:at] for name in names for at, letter in enumerate(name) if letter == "."}
    return [name for name, is_known in names.items() if is_known or name not in parted]


def _flat(row: Row, prefix: str = "") -> Iterable[tuple[str, object]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{prefix}{name}", safe_text(json.dumps(value, ensure_ascii=False)) if value else ""
        else:
            yield f"{prefix}{name}", safe_text(value) if isinstance(value, str) else value
