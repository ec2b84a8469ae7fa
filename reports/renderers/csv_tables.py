"""The report's tables for a spreadsheet: one tidy table a section, safe to open."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from typing import BinaryIO, cast

from models.documents import Document
from models.text_direction import without_controls
from reports.report_templates.registry import template_of
from reports.report_templates.rows import Row, Rows

_STARTS_A_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")
"""Full-width signs too: spreadsheets with East Asian settings take them for the others."""
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip can hold: a fixed time keeps the bytes the same."""


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
    """A text that no spreadsheet takes for a formula, and that turns none of its row around."""
    text = without_controls(text)
    # Some programs take spaces and invisible characters away before they look for a formula.
    is_formula = text.startswith(_STARTS_A_FORMULA) or _INVISIBLE.sub("", text, count=1).startswith(_STARTS_A_FORMULA)
    return f"'{text}" if is_formula else text


_INVISIBLE = re.compile(r"^[\s\u200b-\u200f\u2060\ufeff\x00-\x1f\x7f]+")
"""What stands invisibly before the first character that shows."""


def _with_rows(document: Document) -> dict[str, Rows]:
    return {name: rows for name, rows in template_of(document).csv_tables(document).items() if rows}


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
    parted = {name[:at] for name in names for at, character in enumerate(name) if character == "."}
    return [name for name, is_known in names.items() if is_known or name not in parted]


def _flat(row: Row, prefix: str = "") -> Iterable[tuple[str, object]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{prefix}{name}", safe_text(json.dumps(value, ensure_ascii=False)) if value else ""
        else:
            yield f"{prefix}{name}", safe_text(value) if isinstance(value, str) else value
