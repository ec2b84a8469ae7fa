"""Import selections from CSV, Parquet and JSONL files: list invalid rows, store valid ones."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from sqlalchemy import Connection, Engine, delete, select

from models.database import writing
from models.errors import UnreadableInput
from models.settings import DEFAULT_INGESTION, Ingestion
from routewatch.gate import latest_instant
from routewatch.quarantine import IMPORTED_FILE, INTAKE_COUNT, Entrance, IntakeCounts, IntakeOutcome, set_aside
from tasks.atomic_files import write_atomically
from tasks.ingestion.column_mapping import REQUIRED, Mapping
from tasks.ingestion.file_reader import Chunk, OpenFile, Reject, open_file
from tasks.ingestion.insert import insert_selections
from tasks.ingestion.validation import ValidatedRows, check

SHOWN_CHARACTERS = 200
SHOWN_COLUMNS = 20
MOST_LISTED_FIELDS = 10_000
"""Unreadable fields of a file that are listed; all are counted."""


@dataclass(frozen=True)
class ImportResult:
    """Counts of a file's rows: read = added + already_there + rejected + set_aside + dropped.

    `rejects_file` lists the rejected rows, and the first unreadable fields. `reasons` are those of the rejected rows,
    the most frequent first, and `unknown_fields` those of fields that could not be read, whose rows are added.
    `set_aside` rows are ahead of the clock; `dropped` ones are too, and the quarantine had no room for them.
    `ignored_columns` of the file were not read.
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
    set_aside: int = 0
    dropped: int = 0
    unknown_fields: tuple[tuple[str, int], ...] = ()


def import_file(
    engine: Engine,
    path: Path,
    *,
    mapping: Mapping,
    zone: str,
    rejects_folder: Path,
    ingestion: Ingestion = DEFAULT_INGESTION,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> ImportResult:
    """Import a file in one transaction: all of its valid rows, or none if anything fails.

    Times without an offset are in the mapping's zone, by default in `zone`. Raises UnreadableInput.
    """
    stats = _ImportStats(path, ingestion, datetime.now(UTC))
    with open_file(path, mapping.csv.delimiter) as file, writing(engine) as connection:
        for chunk in _with_needed_columns(path, file, mapping):
            _import_chunk(connection, chunk, mapping, zone, stats)
            progress(chunk.done, file.total)
        _write_counts(connection, stats)
    rejects_file = _list_rejects(stats.rejects + stats.fields, rejects_folder / f"{path.name}.rejects.csv")
    return ImportResult(
        path=path,
        read=stats.good + len(stats.rejects) + stats.set_aside + stats.dropped,
        added=stats.added,
        already_there=stats.good - stats.added,
        rejected=len(stats.rejects),
        rejects_file=rejects_file,
        reasons=tuple(Counter(_reason(reject) for reject in stats.rejects).most_common()),
        ignored_columns=tuple(sorted(stats.ignored)),
        derived_ids=stats.fingerprint is not None,
        set_aside=stats.set_aside,
        dropped=stats.dropped,
        unknown_fields=tuple(stats.unknown.most_common()),
    )


# ----------------------------------------------------------------------------------------------------------------------


@dataclass
class _ImportStats:
    """Counts of a file so far."""

    path: Path
    ingestion: Ingestion
    now: datetime
    good: int = 0
    set_aside: int = 0
    dropped: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    counts: IntakeCounts = field(default_factory=lambda: IntakeCounts(Entrance.IMPORT))
    added: int = 0
    rejects: list[Reject] = field(default_factory=list)
    fields: list[Reject] = field(default_factory=list)
    ignored: set[str] = field(default_factory=set)
    fingerprint: str | None = None


def _import_chunk(connection: Connection, chunk: Chunk, mapping: Mapping, zone: str, stats: _ImportStats) -> None:
    stats.rejects += [replace(reject, value=reject.value[:SHOWN_CHARACTERS]) for reject in chunk.rejects]
    if chunk.rejects:
        stats.counts.add(IntakeOutcome.REJECTED, _UNREADABLE, stats.now, rows=len(chunk.rejects))
    if chunk.frame.is_empty():
        return
    sources = mapping.sources(set(chunk.frame.columns))
    latest = latest_instant(stats.now, stats.ingestion.clock_skew)
    checked = check(chunk.frame, chunk.lines, sources, mapping.input.zone or zone, latest)
    stats.rejects += [Reject(*row) for row in checked.bad.select("line", "reason", "column", "value").iter_rows()]
    stats.ignored |= set(chunk.frame.columns) - {name for source in sources.values() for name in source.columns}
    _count(checked, stats)
    aside = _identified(checked.aside, stats)
    rows = [(row, row.pop("reason")) for row in aside.drop("line").to_dicts()]
    # What finds no room is counted with the file, so that one that is imported again counts it once.
    done = set_aside(
        connection,
        rows,
        Entrance.IMPORT,
        stats.now,
        most_rows=stats.ingestion.maximum_quarantined_rows,
        kept_before=stats.set_aside,
        dropped=stats.counts,
    )
    stats.set_aside += aside.height - done.dropped
    stats.dropped += done.dropped
    good = _identified(checked.good, stats)
    stats.good += good.height
    stats.added += insert_selections(connection, good)


def _identified(rows: pl.DataFrame, stats: _ImportStats) -> pl.DataFrame:
    """The rows, with ids from the file's content and their line where they have none of their own."""
    if not rows["request_id"].null_count():
        return rows
    stats.fingerprint = stats.fingerprint or _fingerprint(stats.path)
    derived = pl.lit(f"file:{stats.fingerprint}:") + pl.col("line").cast(pl.String)
    return rows.with_columns(request_id=pl.coalesce("request_id", derived))


def _count(checked: ValidatedRows, stats: _ImportStats) -> None:
    for column, reason, is_error, near in checked.bad.select("column", "reason", "is_error", "at").iter_rows():
        at = min(near or stats.now, stats.now)
        stats.counts.add(IntakeOutcome.REJECTED, f"{column} {reason}", at, errors=int(is_error))
    listed = checked.unknown.head(max(0, MOST_LISTED_FIELDS - len(stats.fields)))
    for line, reason, column, value in listed.select("line", "reason", "column", "value").iter_rows():
        stats.fields.append(Reject(line, f"{column} {reason}: unknown, and the row is kept", column, value or ""))
    fields = checked.unknown.group_by("column", "reason", hour=pl.col("at").dt.truncate("1h")).agg(
        pl.len().alias("rows"), pl.col("is_error").sum().alias("errors")
    )
    for column, reason, hour, rows, errors in fields.iter_rows():
        stats.unknown[f"{column} {reason}"] += rows
        stats.counts.add(IntakeOutcome.UNKNOWN_FIELD, f"{column} {reason}", hour, rows=rows, errors=errors)


def _write_counts(connection: Connection, stats: _ImportStats) -> None:
    """Write the counts in the place of those of an earlier import of the same file, as with another mapping."""
    is_file = INTAKE_COUNT.c.entrance.startswith(IMPORTED_FILE, autoescape=True)
    if not stats.counts and connection.execute(select(INTAKE_COUNT.c.hour).where(is_file).limit(1)).first() is None:
        return
    entrance = f"{IMPORTED_FILE}{_fingerprint(stats.path)[:_HASH_CHARACTERS]}"
    connection.execute(delete(INTAKE_COUNT).where(INTAKE_COUNT.c.entrance == entrance))
    stats.counts.write(connection, entrance)


_HASH_CHARACTERS = 20

_UNREADABLE = "the line cannot be read"


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
        expected = "these names, or a mapping file (--map) that gives them"
        if len(found) == 1 and not next(iter(found)).isidentifier():
            expected += ", and under [csv] the delimiter, where that is none of , ; | and tab"
        raise UnreadableInput(
            str(path), f"no column is mapped to {' and '.join(missing)} (its columns: {shown})", expected
        )


def _reason(reject: Reject) -> str:
    has_column = not reject.column or reject.reason.startswith(reject.column)
    return reject.reason if has_column else f"{reject.column} {reject.reason}"


def _fingerprint(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _list_rejects(rejects: list[Reject], path: Path) -> Path | None:
    """Write the rejected rows and unreadable fields as a CSV; delete an old list if there are none."""
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
