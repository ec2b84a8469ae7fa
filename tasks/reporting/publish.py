"""Publish: store a report once and queue its deliveries, write its files, and create its Prefect artifact."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Engine, Text, cast, select, update

from models.clock import true_now
from models.context import AppContext
from models.database import insert_into, reading, writing
from models.documents import Document, ReportDocument
from models.schema import REPORT
from models.settings import Settings
from reports.file_names import file_stem
from reports.renderers.markdown import render_markdown
from reports.renderers.report_file import as_file
from reports.report_templates.view import headline
from reports.text.decisions import link_to
from tasks.atomic_files import write_in_pieces
from tasks.delivery.queue import enqueue
from tasks.delivery.recipients import recipients_for
from tasks.reporting.request import Request

_LABELS = {"zip": "CSV, zipped"}
"""Labels of formats other than their suffix."""

_DOCUMENT: TypeAdapter[Document] = TypeAdapter(ReportDocument)


@dataclass(frozen=True)
class StoredReport:
    """A stored report. `without_address` are its schedule's recipient names without an address."""

    id: int
    document: Document
    without_address: tuple[str, ...] = ()


@dataclass(frozen=True)
class Artifact:
    """A report's artifact in the Prefect UI. Reports with the same key are versions of one artifact."""

    key: str
    markdown: str
    description: str


def find_report(engine: Engine, request: Request, settings: Settings) -> StoredReport | None:
    """Return the stored report of the same kind, period and parameters; None if there is none.

    A schedule's report that was made before its period was over, by a clock or an `--as-of` ahead, is none once it is.
    """
    same = (REPORT.c[name] == value for name, value in _identity(request, settings).items())
    with reading(engine) as connection:
        stored = select(REPORT.c.id, REPORT.c.document).where(*same, ~_is_premature(true_now()))
        row = connection.execute(stored).one_or_none()
    return None if row is None else StoredReport(row.id, _DOCUMENT.validate_python(row.document))


def store_report(
    ctx: AppContext,
    request: Request,
    document: Document,
    recipients: tuple[str, ...],
    now: datetime,
    *,
    queued_at: datetime,
) -> StoredReport:
    """Store a report and queue its deliveries, in one transaction.

    `now` is the time that the run acts as, `queued_at` the clock's: recipients are reached when they are reached.

    A report of the same kind, period and parameters that is there already stays as it is, and is what comes back; one
    that was made before its period was over makes room for it, and stays on record.
    """
    addresses, without = recipients_for(recipients, ctx.settings)
    identity = _identity(request, ctx.settings)
    row = identity | {
        "template": document.template,
        "parameters": request.parameters(ctx.settings),
        "document": document.model_dump(mode="json", by_alias=True),
        "created_at": now,
    }
    with writing(ctx.engine) as connection:
        same = [REPORT.c[name] == value for name, value in identity.items()]
        aside = REPORT.c.parameters_hash + "@" + cast(REPORT.c.id, Text)
        connection.execute(update(REPORT).where(*same, _is_premature(true_now())).values(parameters_hash=aside))
        connection.execute(insert_into(connection, REPORT).values(row).on_conflict_do_nothing())
        stored = connection.execute(select(REPORT.c.id, REPORT.c.document).where(*same)).one()
        enqueue(connection, stored.id, addresses, queued_at)
    return StoredReport(stored.id, _DOCUMENT.validate_python(stored.document), tuple(without))


def write_files(report: StoredReport, folder: Path) -> dict[str, Path]:
    """Write the report in its formats to `folder`, named by kind and period; return paths by suffix."""
    document = report.document
    stem = file_stem(document, report.id)
    paths = {}
    for file in (as_file(document, form) for form in document.formats):
        paths[file.suffix] = folder / document.kind / f"{stem}.{file.suffix}"
        write_in_pieces(paths[file.suffix], file.write)
    return paths


def artifact_of(ctx: AppContext, report: StoredReport, files: dict[str, Path]) -> Artifact:
    """Create the report's artifact with its files (paths by suffix)."""
    document = report.document
    where = "\n".join(
        f"- {_LABELS.get(suffix, suffix.upper())}: {_link(ctx, document, path)}" for suffix, path in files.items()
    )
    return Artifact(
        key=f"{document.kind}-{document.template}-report",
        markdown=render_markdown(document, where),
        description=headline(document),
    )


# ----------------------------------------------------------------------------------------------------------------------


def _is_premature(now: datetime) -> ColumnElement[bool]:
    """Whether a schedule's report of a period that is over was made before that."""
    is_over = REPORT.c.period_end <= now
    return (REPORT.c.kind != "custom") & is_over & (REPORT.c.created_at < REPORT.c.period_end)


def _link(ctx: AppContext, document: Document, path: Path) -> str:
    """Return a link to a file if available, and its path: browsers open no local file from a web page."""
    address = ctx.environment.address_of_report(document.kind, path.name)
    return f"[{path.name}](<{link_to(address)}>)" if link_to(address) else f"`{path.absolute()}`"


def _identity(request: Request, settings: Settings) -> dict[str, Any]:
    parameters = json.dumps(request.parameters(settings), sort_keys=True).encode()
    return {
        "kind": request.kind,
        "period_start": request.period.start,
        "period_end": request.period.end,
        "parameters_hash": hashlib.sha256(parameters).hexdigest(),
    }
