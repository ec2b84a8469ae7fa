"""Reports and rollups on demand from the command line, without Prefect's record of a run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from deployments.tell import complain, note, progress, say
from models.document import Document
from models.errors import UsageError
from models.period import EARLIEST, LATEST, Level, Period, PeriodName, floor_to, named_period, parse_instant, parse_span
from models.workplace import Workplace
from tasks.archive import rebuild_from_archive
from tasks.compose import compose
from tasks.files import write_in_pieces
from tasks.fold import fold, rebuild
from tasks.progress import basis_of
from tasks.request import Request
from tasks.survey import survey

DEFAULT_SPAN = "7d"


def period_of(start: str | None, end: str | None, last: str | PeriodName | None, zone: str, now: datetime) -> Period:
    """The period that --from and --to mean together, or --last or --period. Raises InvalidPeriod or UsageError."""
    if last is not None and (start or end):
        raise UsageError("--last and --period go without --from and --to")
    if isinstance(last, PeriodName):
        return named_period(last, now, zone)
    if start is not None:
        upto = parse_instant(end, zone) if end else floor_to(Level.MINUTE, now, zone)
        return Period(parse_instant(start, zone), upto, zone)
    if end is not None:
        raise UsageError("--to needs --from")
    upto = floor_to(Level.HOUR, now, zone)
    return Period(upto - parse_span(last or DEFAULT_SPAN), upto, zone)


def write_report(place: Workplace, request: Request, form: str | None, output: Path | None, now: datetime) -> None:
    """Compose a report and write it in one format, to a file or to stdout."""
    form = form or _form_of(output)
    with progress("counting new selections") as bar:
        fold(place.engine, basis_of(place.settings), now=now, progress=bar)
    document = compose(request, survey(place.engine, request, place.settings, now), place.settings, now)
    write, suffix = _writer(document, form)
    if output is None and suffix in ("html", "json"):
        write(sys.stdout.buffer)
        return
    start = request.period.local(request.period.start)
    path = output or Path(f"routewatch-{request.template}-{start:%Y-%m-%d}.{suffix}")
    if form == "csv" and path.suffix != f".{suffix}":
        path = path.with_name(f"{path.name}.{suffix}")
    _write(path, write)
    say(str(path))


def rebuild_rollups(place: Workplace, start: str | None, end: str | None, now: datetime) -> None:
    """Make the rollups anew, all of them or those of a period; from the archive where raw rows are only there."""
    zone = place.settings.timezone
    first = parse_instant(start, zone) if start else EARLIEST
    upto = parse_instant(end, zone) if end else LATEST
    period = Period(first, upto, zone) if start or end else None
    with progress("rebuilding rollups") as bar:
        result = rebuild(place.engine, basis_of(place.settings), period=period, now=now, progress=bar)
    say(f"rollups rebuilt from {result.rows:,} selections" if period is None else f"{result.mended:,} hours rebuilt")
    if result.held_by:
        complain(f"selections wait to be counted for the open transactions of {', '.join(map(str, result.held_by))}")
    archive = place.environment.archive_folder
    if archive.is_dir():
        archived = rebuild_from_archive(place.engine, archive, period)
        say(f"{archived.days:,} days rebuilt from {archived.rows:,} selections of the archive {archive}")
        if archived.left_days:
            say(f"{archived.left_days:,} days left as they were: the archive has fewer rows than they count")


# ----------------------------------------------------------------------------------------------------------------------


def _form_of(output: Path | None) -> str:
    if output is None:
        return "html"
    suffix = output.suffix.lower().lstrip(".")
    if suffix not in ("html", "pdf", "csv", "json"):
        raise UsageError(f"{output} ends in none of .html, .pdf, .csv, .json: say --format")
    return suffix


def _writer(document: Document, form: str) -> tuple[Callable[[BinaryIO], object], str]:
    """What writes the document in a format, and the suffix of its file."""
    if form == "pdf":
        from reports.as_pdf import render_pdf

        return lambda file: file.write(render_pdf(document)), "pdf"
    if form == "csv":
        from reports.as_csv import csv_suffix, write_csv

        return lambda file: write_csv(document, file), csv_suffix(document)
    if form == "json":
        from reports.as_json import write_json

        return lambda file: write_json(document, file), "json"
    from reports.as_html import render_html

    return lambda file: file.write(render_html(document).encode()), "html"


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    try:
        write_in_pieces(path, write)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    note(f"{path.stat().st_size:,} bytes")
