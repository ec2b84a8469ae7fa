"""Import files from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deployments.console import complain, progress, say
from models.context import AppContext
from models.errors import RoutewatchError
from routewatch.quarantine import QUARANTINE_IS_FULL
from tasks.ingestion.column_mapping import Mapping, load_mapping
from tasks.ingestion.file_import import ImportResult, import_file

SHOWN_REASONS = 5


def import_files(ctx: AppContext, files: Sequence[Path], mapping_file: Path | None) -> int:
    """Import each file and print its row counts; return the exit status, 1 if a file could not be read.

    An unreadable file does not stop the import of the others.
    """
    mapping = load_mapping(mapping_file) if mapping_file else Mapping()
    engine, status = ctx.engine, 0
    for path in files:
        try:
            with progress(f"importing {path.name}") as bar:
                result = import_file(
                    engine,
                    path,
                    mapping=mapping,
                    zone=ctx.settings.timezone,
                    rejects_folder=ctx.environment.home / "rejects",
                    ingestion=ctx.settings.ingestion,
                    progress=bar,
                )
        except RoutewatchError as error:
            complain(str(error))
            status = error.exit_status
        else:
            _print_result(result)
    return status


def _print_result(result: ImportResult) -> None:
    say(
        f"{result.path}: {result.read:,} rows read, {result.added:,} added, "
        f"{result.already_there:,} already there, {result.rejected:,} rejected"
        + (f", {result.set_aside:,} set aside (`routewatch quarantine list`)" if result.set_aside else "")
        + (f", {result.dropped:,} dropped: {QUARANTINE_IS_FULL}" if result.dropped else "")
    )
    for reason, count in result.reasons[:SHOWN_REASONS]:
        say(f"  {count:,} × {reason}")
    for reason, count in result.unknown_fields[:SHOWN_REASONS]:
        say(f"  {count:,} × unknown field: {reason}")
    if result.rejects_file is not None:
        say(f"  rejected rows and unknown fields are listed in {result.rejects_file}")
