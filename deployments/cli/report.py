"""Reports and rollups on demand from the command line, without a Prefect run."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from deployments.console import complain, note, progress, say
from models.context import AppContext
from models.documents import Document
from models.errors import DatabaseUnavailable, UsageError
from models.file_format import FileFormat
from models.period import EARLIEST, LATEST, Level, Period, PeriodName, floor_to, named_period, parse_instant, parse_span
from models.schema import DeliveryState
from reports.renderers.report_file import ReportFile, as_file
from tasks.atomic_files import write_in_pieces
from tasks.reporting.collect import document_of
from tasks.reporting.request import Request, default_formats
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.update import update_rollups

DEFAULT_SPAN = "7d"


def period_of(start: str | None, end: str | None, last: str | PeriodName | None, zone: str, now: datetime) -> Period:
    """Return the period of --from and --to, --last or --period. Raises InvalidPeriod or UsageError."""
    if last is not None and (start or end):
        raise UsageError("--last and --period cannot be combined with --from and --to")
    if isinstance(last, PeriodName):
        return named_period(last, now, zone)
    if start is not None:
        until = parse_instant(end, zone) if end else floor_to(Level.MINUTE, now, zone)
        return Period(parse_instant(start, zone), until, zone)
    if end is not None:
        raise UsageError("--to needs --from")
    until = floor_to(Level.HOUR, now, zone)
    return Period(until - parse_span(last or DEFAULT_SPAN), until, zone)


def formats_of(ctx: AppContext, output: Path | None, *, sent: bool) -> tuple[FileFormat, ...]:
    """Return the format of a report without --format. Raises UsageError if the file's suffix is not a format."""
    if sent or (output is not None and output.is_dir()):
        return default_formats(ctx.settings)
    if output is None:
        return (FileFormat.HTML,)
    suffix = output.suffix.lower().lstrip(".")
    if suffix not in tuple(FileFormat):
        raise UsageError(f"{output} ends in none of {', '.join(f'.{form}' for form in FileFormat)}: use --format")
    return (FileFormat(suffix),)


def write_report(ctx: AppContext, request: Request, output: Path | None, now: datetime) -> None:
    """Build a report and write it in its formats: to one file each, or a single format to stdout."""
    _write_files(_composed(ctx, request, now), request, output)


def send_report(
    ctx: AppContext, request: Request, recipients: tuple[str, ...], output: Path | None, now: datetime
) -> int:
    """Store a report and send all due deliveries; return the exit status, 1 if a delivery is dead-lettered."""
    from tasks.delivery.recipients import recipients_for
    from tasks.delivery.worker import deliver_due
    from tasks.reporting.publish import find_report, store_report, write_files

    _, without = recipients_for(recipients, ctx.settings)
    if without:
        raise UsageError(f"no address is set for {', '.join(without)} (delivery.recipients in the settings)")
    found = find_report(ctx.engine, request, ctx.settings)
    document = found.document if found else _composed(ctx, request, now)
    stored = store_report(ctx, request, document, recipients, now, queued_at=now)
    for path in write_files(stored, ctx.environment.reports_folder).values():
        say(str(path))
    if output is not None:
        _write_files(stored.document, request, output)
    receipts = deliver_due(ctx, now=datetime.now(UTC))
    for receipt in receipts:
        say(f"{receipt.channel} to {receipt.recipient}: {receipt.state} ({receipt.answer})")
    return int(any(receipt.state == DeliveryState.DEAD.value for receipt in receipts))


def rebuild_rollups(ctx: AppContext, start: str | None, end: str | None, now: datetime) -> None:
    """Rebuild the rollups, all or those of a period; use the archive for raw rows that are only there."""
    from tasks.retention.archive import rebuild_from_archive
    from tasks.rollups.update import rebuild

    zone = ctx.settings.timezone
    first = parse_instant(start, zone) if start else EARLIEST
    until = parse_instant(end, zone) if end else LATEST
    period = Period(first, until, zone) if start or end else None
    with progress("rebuilding rollups") as bar:
        result = rebuild(
            ctx.engine,
            rollup_settings(ctx.settings),
            period=period,
            now=now,
            ingestion=ctx.settings.ingestion,
            progress=bar,
        )
    say(
        f"rollups rebuilt from {result.rows:,} selections"
        if period is None
        else f"{result.rebuilt_hours:,} hours rebuilt"
    )
    if result.held_by:
        complain(f"selections wait to be rolled up for the open transactions of {', '.join(map(str, result.held_by))}")
    archive = ctx.environment.archive_folder
    if archive.is_dir():
        archived = rebuild_from_archive(ctx.engine, archive, period)
        say(f"{archived.days:,} days rebuilt from {archived.rows:,} selections in the archive {archive}")
        if archived.left_days:
            say(f"{archived.left_days:,} days unchanged: the archive has fewer rows than their rollups")


# ----------------------------------------------------------------------------------------------------------------------


def _composed(ctx: AppContext, request: Request, now: datetime) -> Document:
    try:
        with progress("rolling up new selections") as bar:
            update_rollups(
                ctx.engine, rollup_settings(ctx.settings), now=now, ingestion=ctx.settings.ingestion, progress=bar
            )
    except DatabaseUnavailable as error:
        if not error.is_forbidden:
            raise
        # Whoever may only read gets what others have rolled up.
        complain(f"selections that are not rolled up yet are not in this report: {error.cause}")
    return document_of(ctx.engine, request, ctx.settings, now)


def _write_files(document: Document, request: Request, output: Path | None) -> None:
    files = [(form, as_file(document, form)) for form in request.formats]
    if output is None and len(files) == 1 and files[0][0] in (FileFormat.HTML, FileFormat.JSON):
        files[0][1].write(sys.stdout.buffer)
        return
    for form, file in files:
        path = _path(request, output, form, file.suffix, alone=len(files) == 1)
        _write(path, file)
        say(str(path))


def _path(request: Request, output: Path | None, form: FileFormat, suffix: str, *, alone: bool) -> Path:
    """Return the path of -o; with several formats, each gets its own suffix."""
    start = request.period.local(request.period.start)
    name = f"routewatch-{request.template}-{start:%Y-%m-%d}.{suffix}"
    if output is None or output.is_dir():
        return (output or Path()) / name
    if not alone:
        stem = output.stem if output.suffix.lower().lstrip(".") in tuple(FileFormat) else output.name
        return output.with_name(f"{stem}.{suffix}")
    if form is FileFormat.CSV and output.suffix != f".{suffix}":
        return output.with_name(f"{output.name}.{suffix}")
    return output


def _write(path: Path, file: ReportFile) -> None:
    try:
        write_in_pieces(path, file.write)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    note(f"{path.stat().st_size:,} bytes")
