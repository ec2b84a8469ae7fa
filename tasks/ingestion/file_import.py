"""Import selections from CSV, Parquet and JSONL files: list invalid rows, store valid ones."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl
from sqlalchemy import Connection, Engine

from models.database import writing
from models.errors import UnreadableInput
from tasks.atomic_files import write_atomically
from tasks.ingestion.column_mapping import REQUIRED, Mapping
from tasks.ingestion.file_reader import Chunk, OpenFile, Reject, open_file
from tasks.ingestion.insert import insert_selections
from tasks.ingestion.validation import check

SHOWN_CHARACTERS = 200
SHOWN_COLUMNS = 20


@dataclass(frozen=True)
class ImportResult:
    """Counts of a file's rows: read = added + already_there + rejected.

    `reasons` are those of the rejected rows, the most frequent first. `ignored_columns` of the file were not read.
    `derived_ids`: the rows have no request id, so their ids were derived from the file's content.
    """

    path: Path
    read: int
    added: int
    already_there: int
    rejected: int
    rejects_file: Path | None
    reasons: tuple[tuple[str, int], ...]
    ignored_columns: tuple[str, ...]
    derived_ids: bool


def import_file(
    engine: Engine,
    path: Path,
    *,
    mapping: Mapping,
    zone: str,
    rejects_folder: Path,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> ImportResult:
    """Import a file in one transaction: all of its valid rows, or none if anything fails.

    Times without an offset are in the mapping's zone, by default in `zone`. Raises UnreadableInput.
    """
    stats = _ImportStats(path)
    with open_file(path, mapping.csv.delimiter) as file, writing(engine) as connection:
        for chunk in _with_needed_columns(path, file, mapping):
            _import_chunk(connection, chunk, mapping, zone, stats)
            progress(chunk.done, file.total)
    rejects_file = _list_rejects(stats.rejects, rejects_folder / f"{path.name}.rejects.csv")
    return ImportResult(
        path=path,
        read=stats.good + len(stats.rejects),
        added=stats.added,
        already_there=stats.good - stats.added,
        rejected=len(stats.rejects),
        rejects_file=rejects_file,
        reasons=tuple(Counter(_reason(reject) for reject in stats.rejects).most_common()),
        ignored_columns=tuple(sorted(stats.ignored)),
        derived_ids=stats.fingerprint is not None,
    )


# ----------------------------------------------------------------------------------------------------------------------


@dataclass
class _ImportStats:
    """Counts of a file so far."""

    path: Path
    good: int = 0
    added: int = 0
    rejects: list[Reject] = field(default_factory=list)
    ignored: set[str] = field(default_factory=set)
    fingerprint: str | None = None


def _import_chunk(connection: Connection, chunk: Chunk, mapping: Mapping, zone: str, stats: _ImportStats) -> None:
    stats.rejects += [replace(reject, value=reject.value[:SHOWN_CHARACTERS]) for reject in chunk.rejects]
    if chunk.frame.is_empty():
        return
    sources = mapping.sources(set(chunk.frame.columns))
    checked = check(chunk.frame, chunk.lines, sources, mapping.input.zone or zone)
    stats.rejects += [Reject(*row) for row in checked.bad.select("line", "reason", "column", "value").iter_rows()]
    stats.ignored |= set(chunk.frame.columns) - {name for source in sources.values() for name in source.columns}
    good = checked.good
    if good["request_id"].null_count():
        stats.fingerprint = stats.fingerprint or _fingerprint(stats.path)
        derived = pl.lit(f"file:{stats.fingerprint}:") + pl.col("line").cast(pl.String)
        good = good.with_columns(request_id=pl.coalesce("request_id", derived))
    stats.good += good.height
    stats.added += insert_selections(connection, good)


def _with_needed_columns(path: Path, file: OpenFile, mapping: Mapping) -> Iterator[Chunk]:
    """The file's chunks, after checking that they have the required columns of a selection."""
    checked = file.columns is not None
    if file.columns is not None:
        _refuse_without_needed(path, set(file.columns), mapping)
    for chunk in file.chunks:
        if not checked and chunk.frame.width:
            checked = True
            _refuse_without_needed(path, set(chunk.frame.columns), mapping)
        yield chunk
    if not checked:
        _refuse_without_needed(path, set(), mapping)


def _refuse_without_needed(path: Path, found: set[str], mapping: Mapping) -> None:
    sources = mapping.sources(found)
    absent = sorted({name for source in mapping.columns.values() for name in source.columns} - found)
    if absent:
        raise UnreadableInput(
            str(path), f"it lacks the column {', '.join(absent)}", "the columns that the mapping names"
        )
    missing = [name for name in REQUIRED if name not in sources]
    if missing:
        shown = ", ".join(sorted(found)[:SHOWN_COLUMNS]) or "none"
        raise UnreadableInput(
            str(path), f"no column is mapped to {' and '.join(missing)} (its columns: {shown})",
            "these names, or a mapping file (--map) that gives them",
        )  # fmt: skip


def _reason(reject: Reject) -> str:
    return f"{reject.column} {reject.reason}" if reject.column and reject.column not in reject.reason else reject.reason


def _fingerprint(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _list_rejects(rejects: list[Reject], path: Path) -> Path | None:
    """Write the rejected rows as a CSV; delete an old list if there are none."""
    if not rejects:
        path.unlink(missing_ok=True)
        return None
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("line", "reason", "column", "value"))
    for reject in sorted(rejects, key=lambda reject: reject.line):
        value = (reject.value or "").strip("\r\n")
        writer.writerow((reject.line, _reason(reject), reject.column, _harmless(value)))
    write_atomically(path, text.getvalue().encode())
    return path


def _harmless(value: str) -> str:
    """Escape a value, so that a spreadsheet does not treat it as a formula."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t")) else value
