"""Report pipeline of every flow: roll up, alert, verify, collect, apply, build, store, show, deliver."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from models.context import AppContext
from tasks.alerts.prefect_tasks import bound_times, evaluate_alerts_once
from tasks.delivery.prefect_tasks import deliver_reports
from tasks.delivery.worker import Receipt
from tasks.optimizer.prefect_tasks import update_decision_form, verify_optimizations
from tasks.reporting.optimize import with_links
from tasks.reporting.prefect_tasks import (
    apply_optimizations,
    collect_report_material,
    compose_report,
    find_reported,
    show_report,
    store,
    write_report,
)
from tasks.reporting.publish import StoredReport
from tasks.reporting.request import Request
from tasks.rollups.prefect_tasks import roll_up_selections


@dataclass(frozen=True)
class Outcome:
    """The report, its files by suffix, and the receipts of deliveries that were due in this run."""

    report: StoredReport
    files: dict[str, Path]
    receipts: tuple[Receipt, ...]


def run_pipeline(
    ctx: AppContext,
    request: Request,
    recipients: tuple[str, ...],
    now: datetime,
    *,
    watch: bool = False,
    optimize: bool = False,
) -> Outcome:
    """Create a report once: a run that finds it stored already only sends due deliveries, including alerts."""
    bound_times(ctx)
    roll_up_selections(ctx, now)
    if watch:
        evaluate_alerts_once(ctx, now)
    report = find_reported(ctx, request)
    if report is None:
        if optimize:
            verify_optimizations(ctx, now)
        material = collect_report_material(ctx, request, now)
        if optimize:
            material = with_links(apply_optimizations(ctx, material, now), update_decision_form(ctx))
        document = compose_report(ctx, request, material, now)
        report = store(ctx, request, document, recipients, now)
    elif request.kind == "custom":
        # Requested again: send it to recipients that have not received it.
        report = store(ctx, request, report.document, recipients, now)
    files = write_report(ctx, report)
    show_report(ctx, report, files)
    return Outcome(report, files, deliver_reports(ctx))
