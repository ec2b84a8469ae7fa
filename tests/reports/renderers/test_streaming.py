"""A long period is written to a file in pieces: memory does not grow with the length."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import BinaryIO

import pytest

from models.documents import CostReport, Document
from reports.renderers.csv_tables import csv_suffix, render_csv, write_csv
from reports.renderers.json_document import render_json, write_json
from tests.support import documents

FEW, MANY = 1_000, 6_000
MOST_GROWTH = 0.2
"""By how much more may be in memory at once, as a share of how much more is written; holding it all would be 1."""

Write = Callable[[Document, BinaryIO], None]


@cache
def long_report(hours: int) -> CostReport:
    """Return a cost report with a timeline of so many hours."""
    full = documents.cost()
    first = full.charts.timeline[0]
    points = tuple(
        first.model_copy(update={"start": first.start + timedelta(hours=hour), "cost_usd": hour / 7})
        for hour in range(hours)
    )
    return full.model_copy(update={"charts": full.charts.model_copy(update={"timeline": points})})


def peak_of(write: Write, hours: int, path: Path) -> int:
    """Return the most bytes held at once while writing."""
    document = long_report(hours)
    with path.open("wb") as file:
        tracemalloc.start()
        write(document, file)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak


def length_of(path: Path) -> int:
    """Return the bytes of a file, or of all its entries uncompressed."""
    if not zipfile.is_zipfile(path):
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())


@pytest.mark.parametrize("write", [write_json, write_csv])
def test_a_long_period_takes_no_more_memory_than_a_short_one(write: Write, tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    peak_of(write, FEW, few)  # What is loaded at the first use does not belong to the rows.
    taken = peak_of(write, MANY, many) - peak_of(write, FEW, few)
    written = length_of(many) - length_of(few)
    assert written > (MANY - FEW) * 50
    assert taken / written < MOST_GROWTH


@pytest.mark.parametrize("document", [long_report(FEW), documents.performance(), documents.empty()])
def test_what_is_written_in_pieces_is_what_is_rendered_whole(document: Document) -> None:
    reported, tables = io.BytesIO(), io.BytesIO()
    write_json(document, reported)
    write_csv(document, tables)
    assert reported.getvalue() == render_json(document)
    assert (tables.getvalue(), csv_suffix(document)) == render_csv(document)
    whole = document.model_dump(mode="json", by_alias=True)
    assert reported.getvalue().decode() == json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
