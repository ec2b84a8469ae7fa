"""LiteLLM: the proxy's table of spend in its PostgreSQL, one row per call.

A row's time is when its call began. The proxy writes it in a batch after the call has ended, so rows arrive late. Old
versions lack columns; the values of a missing column are unknown.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy.engine import URL, make_url

from models.database import NO_URL, first_line, libpq_address, shown
from models.errors import SourceUnavailable, UsageError
from models.settings import SourceKind, SourceSettings
from routewatch.gate import UNIT_BUCKETS
from tasks.ingestion.source import Batch, bounded_position

TABLE = '"LiteLLM_SpendLogs"'
BATCH_ROWS = 50_000

NOT_SELECTIONS = r"batch|file|mcp|vector_store|fine_tuning|assistant|thread|container|health"
"""Call types that manage objects kept by the proxy, without an answer by a selected model."""

CACHE_OFF = "Cache OFF"
"""Cache key that the proxy writes if it has no cache: its misses do not count."""

TIERS = {"medium": "moderate"}
"""The auto-router's complexity names mapped to those of the product document."""

_CHECK = "Check the address, that the proxy writes its spend there, and that the role may read the table"

ORIGINS = {
    "timestamp": "startTime, which is UTC",
    "request_id": "request_id",
    "model_id": "model, the one that served",
    "response_time_ms": "request_duration_ms, else endTime - startTime; unknown of a failed call",
    "complexity": "metadata.routing_decision.tier, where the auto-router ran",
    "cost_usd": "spend; 0 for an answer with tokens is unknown",
    "cache_hit": "cache_hit, the proxy's own cache; unknown where it was off",
    "error": "status is failure",
    "error_type": "metadata.error_information.error_class, else its error_code",
    "prompt_tokens": "prompt_tokens; 0 of a failed call is unknown",
    "completion_tokens": "completion_tokens; 0 of a failed call is unknown",
    "team": "metadata.user_api_key_team_alias, else team_id",
    "experiment": "metadata.spend_logs_metadata.experiment, online_model_experiment_id, or the tag experiment:NAME",
    "arm": "metadata.spend_logs_metadata.arm, online_model_experiment_variant, or the tag arm:NAME",
    "unit_bucket": "metadata.spend_logs_metadata.unit_bucket, or of online_model_experiment_assignment_key",
}


class LiteLLM:
    """The spend of a LiteLLM proxy, read with SELECT only."""

    kind = SourceKind.LITELLM.value
    origins = ORIGINS

    def __init__(self, location: str, settings: SourceSettings) -> None:
        """Read the proxy's PostgreSQL at the address. Raises UsageError if it is not a PostgreSQL address."""
        self._url = _checked(location)
        self.settings = settings
        self._overlap = timedelta(minutes=settings.overlap_minutes)

    def size(self, cursor: str | None, since: datetime | None) -> int:
        """Rows ahead."""
        with self.connected() as connection, closing(connection.cursor()) as found:
            after = _floor(cursor, since, self._overlap)
            found.execute(f"SELECT count(*) FROM {TABLE} WHERE {_from(after)}")  # noqa: S608 - a time literal from this module
            return int(found.fetchone()[0])

    def batches(self, cursor: str | None, since: datetime | None) -> Iterator[Batch]:
        """The rows by ascending startTime, in batches of BATCH_ROWS; see tasks.ingestion.source.Source."""
        where = _from(_floor(cursor, since, self._overlap))
        newest, done = _newest(cursor), 0
        with self.connected() as connection:
            query = query_of(connection, self.settings)
            while True:
                rows = _read(connection, f"{query} WHERE {where} {_ORDER} LIMIT {BATCH_ROWS}")
                if rows.is_empty():
                    return
                done += rows.height
                last_at, last_id = rows["started_at"][-1], rows["request_id"][-1]
                # A clock that runs ahead must not move the cursor past rows that arrive later.
                newest = max(newest, min(last_at, datetime.now(UTC))) if newest else min(last_at, datetime.now(UTC))
                yield self._batch(rows, json.dumps({"startTime": newest.isoformat()}), done)
                if rows.height < BATCH_ROWS:
                    return
                where = f'("startTime", request_id) > ({_literal(last_at)}, {_quoted(last_id)})'

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """Open a connection; its errors become SourceUnavailable."""
        from adbc_driver_manager import Error  # noqa: PLC0415 - heavy, and only needed here
        from adbc_driver_postgresql.dbapi import connect  # noqa: PLC0415

        try:
            with closing(connect(libpq_address(self._url))) as connection:
                yield connection
        except Error as error:
            raise SourceUnavailable(shown(self._url), first_line(str(error), self._url), _CHECK) from None

    def _batch(self, rows: pl.DataFrame, cursor: str, done: int) -> Batch:
        rows = rows.with_columns(_kind=_kind())
        selections = rows.filter(pl.col("_kind").is_null())
        paid = pl.col("internal").is_not_null() | (pl.col("spend") != 0)
        others = rows.filter(pl.col("_kind").is_not_null())
        skipped = Counter(f"{reason}, without cost" for reason in others.filter(~paid)["_kind"])
        overhead = others.filter(paid).select(_OVERHEAD)
        return Batch(selections.select(_selections(self.settings)), cursor, overhead, skipped=skipped, done=done)


def query_of(connection: Any, settings: SourceSettings) -> str:
    """The query's select clause, with NULL for columns that this version's table does not have.

    Raises SourceUnavailable if required columns are missing.
    """
    return _query(_columns(connection), settings)


# ----------------------------------------------------------------------------------------------------------------------

_ORDER = 'ORDER BY "startTime", request_id'

_NEEDED = ("request_id", "startTime", "endTime", "model", "spend", "prompt_tokens", "completion_tokens", "call_type")
_OPTIONAL = {
    "cache_hit": "text", "cache_key": "text", "custom_llm_provider": "text", "team_id": "text", "status": "text",
    "request_duration_ms": "integer",
}  # fmt: skip

_FROM_METADATA = {
    "tier": "metadata #>> '{routing_decision,tier}'",
    "internal": "metadata ->> 'internal_call_origin'",
    "error_class": "metadata #>> '{error_information,error_class}'",
    "error_code": "metadata #>> '{error_information,error_code}'",
    "metadata_status": "metadata ->> 'status'",
    "team_alias": "metadata ->> 'user_api_key_team_alias'",
    "cache_read_tokens": "metadata #>> '{usage_object,prompt_tokens_details,cached_tokens}'",
    "cache_write_tokens": "metadata #>> '{usage_object,prompt_tokens_details,cache_creation_tokens}'",
    "said_experiment": "metadata #>> '{spend_logs_metadata,experiment}'",
    "said_arm": "metadata #>> '{spend_logs_metadata,arm}'",
    "said_unit_bucket": "metadata #>> '{spend_logs_metadata,unit_bucket}'",
    **{
        f"own_{name}": f"COALESCE(metadata ->> '{key}', metadata #>> '{{spend_logs_metadata,{key}}}')"
        for name, key in (
            ("experiment", "online_model_experiment_id"),
            ("arm", "online_model_experiment_variant"),
            ("unit", "online_model_experiment_assignment_key"),
        )
    },
}

_TAGS = "CASE WHEN jsonb_typeof(request_tags) = 'array' THEN request_tags ELSE '[]' END"
_FROM_TAGS = {
    f"tagged_{name}": (
        f"(SELECT substr(tag, {len(name) + 2}) FROM jsonb_array_elements_text({_TAGS}) AS tag"  # noqa: S608
        f" WHERE starts_with(tag, '{name}:') LIMIT 1)"
    )
    for name in ("experiment", "arm")
}


def _checked(location: str) -> URL:
    try:
        url = make_url(location)
    except NO_URL:
        # Not shown: it may hold a password.
        raise UsageError(
            "the location of LiteLLM is not an address such as postgresql://reader:…@host/litellm"
        ) from None
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise UsageError(f"LiteLLM keeps its spend in PostgreSQL, and this is an address of {url.get_backend_name()}")
    options = (
        f"{url.query.get('options', '')} -c default_transaction_read_only=on -c standard_conforming_strings=on".strip()
    )
    return url.set(drivername="postgresql").update_query_dict({"options": options})


def _read(connection: Any, query: str) -> pl.DataFrame:
    with closing(connection.cursor()) as cursor:
        cursor.execute(query)
        rows = pl.DataFrame(pl.from_arrow(cursor.fetch_arrow_table()))
    # A transaction left open would keep the proxy's table from being vacuumed.
    connection.rollback()
    return rows.with_columns(
        started_at=pl.col("startTime").dt.cast_time_unit("us").dt.replace_time_zone("UTC"),
        ended_at=pl.col("endTime").dt.cast_time_unit("us").dt.replace_time_zone("UTC"),
    )


def _columns(connection: Any) -> set[str]:
    """The table's columns. Raises SourceUnavailable if a required one is missing."""
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"SELECT * FROM {TABLE} LIMIT 0")  # noqa: S608 - a name from this module
        found = {column[0] for column in cursor.description}
    connection.rollback()
    return found


def _query(found: set[str], settings: SourceSettings) -> str:
    absent = [name for name in _NEEDED if name not in found]
    if absent:
        raise SourceUnavailable(TABLE, f"the table lacks the column {', '.join(absent)}", _CHECK)
    metadata = dict(_FROM_METADATA)
    if settings.complexity_key:
        metadata["tier"] = f"COALESCE(metadata ->> {_quoted(settings.complexity_key)}, {metadata['tier']})"
    if settings.team_key:
        key = settings.team_key
        metadata["team_alias"] = _name(key) if key in found else f"metadata ->> {_quoted(key)}"
    selected = [_name(name) for name in _NEEDED]
    selected += [_name(name) if name in found else f"NULL::{kind} AS {name}" for name, kind in _OPTIONAL.items()]
    selected += [
        f"{term if 'metadata' in found or 'metadata' not in term else 'NULL::text'} AS {name}"
        for name, term in metadata.items()
    ]
    selected += [f"{term if 'request_tags' in found else 'NULL::text'} AS {name}" for name, term in _FROM_TAGS.items()]
    # The proxy's own bucket decides of the variant, so it is not used: this one has nothing to do with it.
    own = metadata["own_unit"] if "metadata" in found else "NULL::text"
    selected.append(f"(('x' || substr(md5({own}), 1, 8))::bit(32)::int & {UNIT_BUCKETS - 1})::text AS own_unit_bucket")
    return f"SELECT {', '.join(selected)} FROM {TABLE}"  # noqa: S608 - names from this module, and quoted ones


def _floor(cursor: str | None, since: datetime | None, overlap: timedelta) -> datetime | None:
    if since is not None:
        return since
    newest = _newest(cursor)
    return None if newest is None else newest - overlap


def _newest(cursor: str | None) -> datetime | None:
    return None if cursor is None else bounded_position(datetime.fromisoformat(json.loads(cursor)["startTime"]))


def _from(after: datetime | None) -> str:
    return "true" if after is None else f'"startTime" >= {_literal(after)}'


def _literal(instant: datetime) -> str:
    return f"'{instant.astimezone(UTC).replace(tzinfo=None).isoformat(sep=' ', timespec='microseconds')}'"


def _quoted(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def _name(column: str) -> str:
    escaped = column.replace('"', '""')
    return f'"{escaped}"'


def _known(name: str) -> pl.Expr:
    """A text, NULL if it is empty."""
    text = pl.col(name)
    return pl.when(text.str.len_bytes() > 0).then(text)


def _kind() -> pl.Expr:
    """The kind of a row that is not a selection; NULL for a selection."""
    return (
        pl.when(pl.col("internal").is_not_null())
        .then(pl.col("internal"))
        .when(pl.col("call_type").str.contains(NOT_SELECTIONS))
        .then(pl.col("call_type"))
        .when(_known("model").is_null())
        .then(pl.lit("no model was called"))
    )


def _counted(name: str, failed: pl.Expr) -> pl.Expr:
    """Tokens; 0 in a failed call means unknown."""
    return pl.when(~(failed & (pl.col(name) == 0))).then(pl.col(name)).alias(name)


_FAILED = pl.coalesce(_known("status"), _known("metadata_status")).str.to_lowercase() == "failure"

_OVERHEAD = (
    pl.col("request_id"),
    pl.col("started_at").alias("timestamp"),
    pl.col("_kind").alias("kind"),
    _known("model").alias("model_id"),
    pl.col("spend").alias("cost_usd"),
    pl.col("prompt_tokens"),
    pl.col("completion_tokens"),
)


def _assignment() -> list[pl.Expr]:
    """The experiment and the arm, both from the first place that says both, and the unit bucket if it does."""
    ways = [
        (pl.all_horizontal(_known(f"{way}_{name}").is_not_null() for name in ("experiment", "arm")), way)
        for way in ("said", "own", "tagged")
    ]
    nothing = pl.lit(None, dtype=pl.String)
    return [
        pl.coalesce(
            pl.when(is_said).then(_known(f"{way}_{name}")) if (way, name) != ("tagged", "unit_bucket") else nothing
            for is_said, way in _apart(ways)
        ).alias(name)
        for name in ("experiment", "arm", "unit_bucket")
    ]


def _apart(ways: list[tuple[pl.Expr, str]]) -> list[tuple[pl.Expr, str]]:
    """The same conditions, each without those before it."""
    return [(pl.all_horizontal(it, *(~before for before, _ in ways[:n])), way) for n, (it, way) in enumerate(ways)]


def _selections(settings: SourceSettings) -> list[pl.Expr]:
    failed = _FAILED.fill_null(False)
    hit = pl.col("cache_hit").str.to_lowercase()
    off = pl.col("cache_key") == CACHE_OFF
    is_hit = pl.when(hit == "true").then(True).when((hit == "false") & ~off.fill_null(False)).then(False)
    elapsed = (pl.col("ended_at") - pl.col("started_at")).dt.total_microseconds() / 1_000
    took = pl.coalesce(pl.col("request_duration_ms").cast(pl.Float64), elapsed)
    answered = ~failed & ~(hit == "true").fill_null(False) & (pl.col("completion_tokens") > 0)
    unpriced = (pl.col("spend") == 0) & answered & pl.lit(not settings.zero_is_free)
    tier = pl.col("tier").str.to_lowercase()
    return [
        pl.col("started_at").alias("timestamp"),
        pl.col("request_id"),
        pl.col("model").alias("model_id"),
        pl.when(~failed & (took >= 0)).then(took).alias("response_time_ms"),
        tier.replace(TIERS).alias("complexity"),
        pl.when(~unpriced).then(pl.col("spend")).alias("cost_usd"),
        is_hit.alias("cache_hit"),
        failed.alias("error"),
        pl.when(failed).then(pl.coalesce(_known("error_class"), _known("error_code"))).alias("error_type"),
        _counted("prompt_tokens", failed),
        _counted("completion_tokens", failed),
        pl.coalesce(_known("team_alias"), _known("team_id")).alias("team"),
        *_assignment(),
        _known("custom_llm_provider").alias("provider"),
        pl.col("cache_read_tokens").cast(pl.Int64, strict=False),
        pl.col("cache_write_tokens").cast(pl.Int64, strict=False),
    ]
