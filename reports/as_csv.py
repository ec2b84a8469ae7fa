"""The report's tables for a spreadsheet: one tidy table a section, safe to open."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

from models.document import CostReport, Document, OptimizationReport, UsageReport

_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_ABOUT_ESTIMATE = ("baseline", "spentUsd", "coveredShare", "observational", "reason")
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip can hold: a fixed time keeps the bytes the same."""

Row = Mapping[str, Any]


def render_csv(document: Document) -> tuple[bytes, str]:
    """The content and its suffix: "csv" where one section has rows, else "zip" with a file for each that has.

    Unknown is an empty cell; times are ISO 8601 with their offset; nested values are flattened with dots.
    """
    tables = {name: rows for name, rows in _tables(document).items() if rows}
    files = {f"{name}.csv": _csv(rows) for name, rows in tables.items()}
    if len(files) == 1:
        return next(iter(files.values())), "csv"
    return _zip(files), "zip"


def safe_text(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_STARTS_A_FORMULA) else text


def _tables(document: Document) -> dict[str, list[Row]]:
    """Sections with their rows, in the order of the report."""
    data = document.model_dump(mode="json", by_alias=True)
    shared = {"kpis": data["kpis"], "timeline": data["charts"]["timeline"],
              "distribution": data["charts"]["distribution"], "heatmap": data["charts"]["heatmap"]}  # fmt: skip
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
        shared = {"volume": data["volume"], "hoursOfWeek": data["hoursOfWeek"]}
    elif isinstance(document, OptimizationReport):
        names = ("bottlenecks", "recommendations")
        summary, trends, savings = data["summary"], {}, _of_optimizations(data)
    else:
        names = ("modelBreakdown", "performanceTrends", "recommendations", "appliedOptimizations", "alerts")
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


def _of_optimizations(data: dict[str, Any]) -> dict[str, list[Row]]:
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


def _csv(rows: Iterable[Row]) -> bytes:
    flat = [dict(_flat(row)) for row in rows]
    columns = _columns(flat)
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", extrasaction="ignore", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue().encode()


def _columns(flat: list[dict[str, object]]) -> list[str]:
    """Every column in order; not one that is unknown wherever it is not parted into others."""
    names = dict.fromkeys(name for row in flat for name in row)
    parted = {name[:at] for name in names for at, letter in enumerate(name) if letter == "."}
    known = {name for row in flat for name, value in row.items() if value is not None}
    return [name for name in names if name in known or name not in parted]


def _flat(row: Row, prefix: str = "") -> Iterable[tuple[str, object]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{prefix}{name}", safe_text(json.dumps(value, ensure_ascii=False)) if value else ""
        else:
            yield f"{prefix}{name}", safe_text(value) if isinstance(value, str) else value


def _zip(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _ZIP_TIME)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return out.getvalue()
