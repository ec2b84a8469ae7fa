"""Commands for selections that were set aside instead of being counted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from deployments.console import say, table
from models.ids import LARGEST_ID

quarantine = typer.Typer(help="Selections that were set aside instead of being counted.", no_args_is_help=True)

RowId = Annotated[int | None, typer.Argument(metavar="ID", min=1, max=LARGEST_ID, show_default=False)]
All = Annotated[bool, typer.Option("--all", help="All rows of the quarantine, instead of one.")]


@quarantine.command("list")
def quarantine_list() -> None:
    """Show the selections that were set aside last (the newest 200), with the reason."""
    from models.context import load_context
    from models.database import reading
    from routewatch.quarantine import QUARANTINE_IS_FULL, count_dropped
    from tasks.ingestion.quarantine import count_quarantined, list_quarantined

    engine = load_context().engine
    rows = [
        (str(row.id), f"{row.set_aside_at:%Y-%m-%d %H:%M}Z", row.entrance, row.reason, row.request_id or "",
         _shown(row.content.get("timestamp")), _shown(row.content.get("model_id")))
        for row in list_quarantined(engine)
    ]  # fmt: skip
    table(("id", "set aside", "entrance", "reason", "request id", "its time", "model"), rows, "nothing is set aside")
    with reading(engine) as connection:
        counts = count_quarantined(connection)
        dropped, since = count_dropped(connection)
    for reason, count in counts.items():
        say(f"  {count:,} × {reason}")
    if since is not None:
        say(f"{dropped:,} more since {since:%Y-%m-%d %H:00}Z were dropped: {QUARANTINE_IS_FULL}")


@quarantine.command("retry")
def quarantine_retry(row_id: RowId = None, *, everything: All = False) -> None:
    """Check a selection again, and count it if it is valid now: for example once its time has come."""
    from models.context import load_context
    from tasks.ingestion.quarantine import retry_quarantined

    _one_or_all(row_id, everything=everything)
    ctx = load_context()
    result = retry_quarantined(ctx.engine, row_id, datetime.now(UTC), ctx.settings.ingestion)
    say(
        f"{result.restored:,} to be counted by the next run, {result.already_there:,} already there, "
        f"{result.remaining:,} still set aside"
    )


@quarantine.command("drop")
def quarantine_drop(row_id: RowId = None, *, everything: All = False) -> None:
    """Delete a selection that was set aside. It is counted as dropped."""
    from models.context import load_context
    from tasks.ingestion.quarantine import drop_quarantined

    _one_or_all(row_id, everything=everything)
    say(f"{drop_quarantined(load_context().engine, row_id, datetime.now(UTC)):,} dropped")


# ----------------------------------------------------------------------------------------------------------------------


def _one_or_all(row_id: int | None, *, everything: bool) -> None:
    from models.errors import UsageError

    if (row_id is None) is not everything:
        raise UsageError("give the id of one row, or --all for all of them")


def _shown(value: Any) -> str:
    """A value from outside, in one line without characters that a terminal would obey."""
    text = "" if value is None else str(value)
    return "".join(character if character.isprintable() else "�" for character in text)[:40]
