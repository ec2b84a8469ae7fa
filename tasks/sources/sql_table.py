"""Read any SQL table, or files of any shape, by a mapping file in which the user names the columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import polars as pl

from models.errors import Fault, InvalidMapping, UnreadableInput
from models.settings import SourceKind, SourceSettings
from routewatch.gate import LATEST
from tasks.ingestion.column_mapping import REQUIRED, SELECTION_COLUMNS, ColumnSource, TableFormat, load_mapping
from tasks.ingestion.column_mapping import Mapping as MappingFile
from tasks.ingestion.file_reader import frame_of
from tasks.ingestion.source import Batch, UnknownField
from tasks.ingestion.validation import DEFAULT_UNIT, check
from tasks.sources.export_files import Exports
from tasks.sources.record_parser import BEFORE
from tasks.sources.sql_reader import SqlRows, is_address

NEEDED = (*REQUIRED, "request_id")
"""Required columns: without an id a row would become a new selection at each pull."""

SHOWN_COLUMNS = 20


class SqlTable:
    """A table, a query or files. Its batches are already converted and validated, as the mapping says.

    Times without an offset are in the mapping's zone, by default UTC.
    """

    kind = SourceKind.TABLE.value

    def __init__(self, location: str, settings: SourceSettings) -> None:
        """Read a database's address, or files. Raises InvalidMapping, and SourceUnavailable for an invalid address."""
        self._location = location
        self._mapping = load_mapping(settings.mapping) if settings.mapping else MappingFile()
        self.origins: Mapping[str, str] = _origins(self._mapping)
        self._table: SqlRows | None = None
        if is_address(location):
            self._table = self._opened(location, settings)
        else:
            self._files = Exports(location, delimiter=self._mapping.csv.delimiter)

    def size(self, cursor: str | None, since: datetime | None) -> int:
        """Rows or bytes still to read."""
        return self._table.size(cursor, since) if self._table else self._files.size(None if since else cursor)

    def batches(self, cursor: str | None, since: datetime | None) -> Iterator[Batch]:
        """Rows by the cursor column, or of new files; see tasks.ingestion.source.Source."""
        begins = cursor is None or since is not None
        if self._table is not None:
            for page in self._table.pages(cursor, since):
                raw, begins = self._frame(page.rows, begins=begins), False
                yield self._batch(raw, Counter(page.rejected), page.cursor, page.done, since)
            return
        for chunk in self._files.chunks(None if since else cursor):
            rows = [row.value for row in chunk.rows]
            raw, begins = self._frame(rows, begins=begins and bool(rows)), begins and not rows
            yield self._batch(raw, Counter(chunk.rejected), chunk.cursor, chunk.done, since)

    def _opened(self, location: str, settings: SourceSettings) -> SqlRows:
        named = str(settings.mapping or "the settings")
        if self._mapping.source is None:
            raise InvalidMapping(named, [Fault("source", "says no table or query, and no cursor column, to read")])
        block, times = self._mapping.source, self._mapping.columns.get("timestamp")
        is_time = times is not None and times.column == block.cursor
        return SqlRows(
            location, table=block.table, query=block.query, cursor=block.cursor, key=_key(self._mapping, block, named),
            unit=(times.unit or DEFAULT_UNIT) if is_time and times else None, zone=self._mapping.input.zone or "UTC",
            overlap_minutes=settings.overlap_minutes,
        )  # fmt: skip

    def _frame(self, rows: list[dict[str, Any]], *, begins: bool) -> pl.DataFrame:
        """Add missing columns to the rows. Raises UnreadableInput if a chunk that `begins` lacks required ones."""
        raw = frame_of(rows)
        sources = self._sources(raw)
        missing = [name for name in NEEDED if name not in sources]
        if begins:
            self._refuse(raw, sources, missing)
        read = {name for source in sources.values() for name in source.columns} | set(missing)
        return raw.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in read - set(raw.columns))

    def _batch(
        self, raw: pl.DataFrame, rejected: Counter[str], cursor: str, done: int, since: datetime | None
    ) -> Batch:
        if raw.is_empty():
            return Batch(selections=pl.DataFrame(), cursor=cursor, rejected=rejected, done=done)
        sources = self._sources(raw)
        # Whether a row is ahead of the clock is asked when the batch is prepared.
        checked = check(raw, list(range(raw.height)), sources, self._mapping.input.zone or "UTC", LATEST)
        errors = Counter[str]()
        for reason, column, is_error in checked.bad.select("reason", "column", "is_error").iter_rows():
            rejected[f"{column} {reason}"] += 1
            errors[f"{column} {reason}"] += int(is_error)
        unknown = [UnknownField(*row) for row in checked.unknown.select(UnknownField._fields).iter_rows()]
        selections = checked.good.select(name for name in SELECTION_COLUMNS if name in sources or name == "error")
        if since is None:
            return Batch(selections, cursor, rejected=rejected, done=done, unknown=unknown, rejected_errors=errors)
        recent = selections.filter(pl.col("timestamp") >= since)
        skipped = {BEFORE: selections.height - recent.height} if recent.height < selections.height else {}
        unknown = [it for it in unknown if it.at >= since]
        return Batch(
            recent, cursor, skipped=skipped, rejected=rejected, done=done, unknown=unknown, rejected_errors=errors
        )

    def _refuse(self, raw: pl.DataFrame, sources: Mapping[str, ColumnSource], missing: list[str]) -> None:
        shown = ", ".join(sorted(raw.columns)[:SHOWN_COLUMNS])
        mapped = {name for source in self._mapping.columns.values() for name in source.columns}
        # A line of JSON may omit keys; a table has all of its columns.
        absent = sorted(mapped - set(raw.columns)) if self._table is not None else []
        ctx = _without_password(self._location)
        if absent:
            found = f"it lacks the column {', '.join(absent)} (its columns: {shown})"
            raise UnreadableInput(ctx, found, "the columns that the mapping names")
        if missing:
            found = f"no column is mapped to {' and '.join(missing)} (its columns: {shown})"
            raise UnreadableInput(ctx, found, "these names, or a mapping file (mapping) that gives them")

    def _sources(self, raw: pl.DataFrame) -> dict[str, ColumnSource]:
        sources = self._mapping.sources(set(raw.columns))
        if "request_id" not in sources and self._mapping.source is not None and self._mapping.source.id:
            sources["request_id"] = ColumnSource(column=self._mapping.source.id)
        return sources


# ----------------------------------------------------------------------------------------------------------------------


def _key(mapping: MappingFile, block: TableFormat, named: str) -> str:
    mapped = mapping.columns.get("request_id")
    key = block.id or (mapped.column if mapped else None)
    if key is None:
        raise InvalidMapping(named, [Fault("source.id", "names no column that identifies rows")])
    return key


def _origins(mapping: MappingFile) -> dict[str, str]:
    origins = {name: _origin(source) for name, source in mapping.columns.items()}
    if mapping.source is not None and mapping.source.id:
        origins.setdefault("request_id", mapping.source.id)
    return {name: origins.get(name, "the column of that name") for name in SELECTION_COLUMNS}


def _origin(source: ColumnSource) -> str:
    if source.column is None:
        return f"always {source.value}"
    return source.column if source.minus is None else f"{source.column} - {source.minus}"


def _without_password(location: str) -> str:
    if not is_address(location):
        return location
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - for an error message only

    from models.database import shown  # noqa: PLC0415

    return shown(make_url(location))
