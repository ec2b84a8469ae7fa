"""Pull from sources on the command line."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from deployments.console import complain, note, progress, say, table
from models.context import AppContext
from models.errors import RoutewatchError, UsageError
from tasks.ingestion.column_mapping import ASSIGNMENT, SELECTION_COLUMNS
from tasks.ingestion.pull_stats import PullStats

SHOWN_REASONS = 5
LONGEST_EXAMPLE = 40


def pull_one(ctx: AppContext, name: str, location: str | None, since: datetime | None, now: datetime) -> None:
    """Pull a source and print its row counts."""
    from tasks.ingestion.pull import pull
    from tasks.sources.registry import open_source, settings_of

    settings = settings_of(ctx.settings, name, location)
    source = open_source(name, settings)
    with progress(f"pulling {name}") as bar:
        stats = pull(
            ctx.engine, name, source, settings, now, since=since, ingestion=ctx.settings.ingestion, progress=bar
        )
    _print_result(name, stats)


def pull_all(ctx: AppContext, since: datetime | None, now: datetime) -> int:
    """Pull every source that the settings enable; return the exit status, 1 if a source failed.

    Raises UsageError if they name none.
    """
    names = [name for name, source in ctx.settings.sources.items() if source.enabled]
    if not names:
        raise UsageError("the settings name no sources; give one, for example `routewatch pull litellm --from ADDRESS`")
    status = 0
    for name in names:
        try:
            pull_one(ctx, name, None, since, now)
        except RoutewatchError as error:
            complain(f"{name}: {error}")
            status = error.exit_status
    return status


def preview_one(ctx: AppContext, name: str, location: str | None, since: datetime | None) -> None:
    """Show how a pull would convert the source's first rows; write nothing."""
    from tasks.ingestion.pull import cursor_of, preview
    from tasks.sources.registry import open_source, settings_of

    settings = settings_of(ctx.settings, name, location)
    source = open_source(name, settings)
    seen = preview(name, source, settings, cursor=cursor_of(ctx.engine, name), since=since)
    stats, rows = seen.stats, seen.rows
    count = stats.coverage["timestamp"]
    lines = [
        (column, source.origins.get(column, "-"), _share(stats.coverage[column], count), _example(rows, column))
        for column in SELECTION_COLUMNS
    ]
    table(("column", "comes from", "filled", "example"), lines, "")
    say("")
    if rows.is_empty():
        say("no selections to pull")
    for number, row in enumerate(rows.iter_rows(named=True), 1):
        say(f"{number}: " + ", ".join(f"{key} {_shown(value)}" for key, value in row.items() if value is not None))
    say(f"of the first {stats.read:,} rows {count:,} are selections and {stats.overhead:,} router overhead")
    _print_details(stats)
    needed = [column for column in SELECTION_COLUMNS if column not in ASSIGNMENT]
    missing = [column for column in needed if count and not stats.coverage[column]]
    if missing:
        say(f"no values for {', '.join(missing)}: metrics computed from them will have no data")
    note("nothing was written; omit --dry-run to pull")


def list_sources(ctx: AppContext) -> None:
    """Show the progress of each source."""
    from tasks.ingestion.pull import states

    rows = [
        (
            state.source, state.kind, _stamp(state.pulled_at), _stamp(_newest(state.last)),
            f"{(state.last or {}).get('read', 0):,}", f"{(state.last or {}).get('added', 0):,}",
        )
        for state in states(ctx.engine)
    ]  # fmt: skip
    table(("source", "kind", "pulled", "newest row", "read", "added"), rows, "no pulls yet")


# ----------------------------------------------------------------------------------------------------------------------


def _print_result(name: str, stats: PullStats) -> None:
    from routewatch.quarantine import QUARANTINE_IS_FULL

    say(
        f"{name}: {stats.read:,} rows read, {stats.added:,} added, {stats.changed:,} changed, "
        f"{stats.unchanged:,} unchanged, {stats.overhead:,} router overhead, "
        f"{stats.skipped.total():,} skipped, {stats.rejected.total():,} rejected"
        + (f", {stats.set_aside:,} set aside" if stats.set_aside else "")
        + (f", {stats.dropped:,} dropped: {QUARANTINE_IS_FULL}" if stats.dropped else "")
    )
    _print_details(stats)


def _print_details(stats: PullStats) -> None:
    for what, reasons in _reasons(stats):
        for reason, count in reasons.most_common(SHOWN_REASONS):
            say(f"  {count:,} × {what}: {reason}")
    if stats.amended:
        say(f"  {stats.amended:,} selections received a score")
    if stats.priced:
        say(f"  {stats.priced:,} costs were computed from list prices")
    if stats.unknown_models:
        named = ", ".join(f"{model} ({count:,})" for model, count in stats.unknown_models.most_common(SHOWN_REASONS))
        say(f"  {stats.unknown_models.total():,} costs remain unknown: no list price for {named}")
    if stats.complexity_derived:
        say(f"  {stats.complexity_derived:,} complexities were derived from tokens")
    if stats.late:
        say(f"  {stats.late:,} rows arrived late, by up to {stats.latest_by.total_seconds() / 60:.0f} minutes")


def _reasons(stats: PullStats) -> tuple[tuple[str, Counter[str]], ...]:
    return ("skipped", stats.skipped), ("rejected", stats.rejected), ("unknown field", stats.unknown)


def _share(count: int, of: int) -> str:
    return f"{count / of:.0%}" if of else "-"


def _example(rows: Any, column: str) -> str:
    values = [] if rows.is_empty() else rows[column].drop_nulls().to_list()
    return _shown(values[0]) if values else "-"


def _shown(value: Any) -> str:
    text = value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else str(value)
    return text if len(text) <= LONGEST_EXAMPLE else text[: LONGEST_EXAMPLE - 1] + "…"


def _newest(last: Any) -> datetime | None:
    text = None if last is None else last.get("newest")
    return None if text is None else datetime.fromisoformat(text)


def _stamp(instant: datetime | None) -> str:
    return "-" if instant is None else f"{instant:%Y-%m-%d %H:%M:%S}"
