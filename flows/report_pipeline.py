"""The process that every flow goes through: count, watch, verify, survey, act, compose, store, show, deliver."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from models.context import Workplace
from tasks.alerts.prefect_tasks import watch_alerts
from tasks.delivery.prefect_tasks import deliver_reports
from tasks.delivery.worker import Receipt
from tasks.optimizer.prefect_tasks import offer_decisions, verify_optimizations
from tasks.reporting.optimize import with_links
from tasks.reporting.prefect_tasks import (
    apply_optimizations,
    compose_report,
    find_told,
    show_report,
    store,
    survey_period,
    write_report,
)
from tasks.reporting.publish import StoredReport
from tasks.reporting.request import Request
from tasks.rollups.prefect_tasks import fold_selections


@dataclass(frozen=True)
class Outcome:
    """The report that was told, its files by suffix, and what became of the deliveries that were due in this run."""

    report: StoredReport
    files: dict[str, Path]
    receipts: tuple[Receipt, ...]


def tell(
    place: Workplace,
    request: Request,
    recipients: tuple[str, ...],
    now: datetime,
    *,
    watch: bool = False,
    optimize: bool = False,
) -> Outcome:
    """Tell a report once: a run that finds it told already only sends what is still due, alerts among it."""
    fold_selections(place, now)
    if watch:
        watch_alerts(place, now)
    report = find_told(place, request)
    if report is None:
        if optimize:
            verify_optimizations(place, now)
        material = survey_period(place, request, now)
        if optimize:
            material = with_links(apply_optimizations(place, material, now), offer_decisions(place))
        document = compose_report(place, request, material, now)
        report = store(place, request, document, recipients, now)
    elif request.kind == "custom":
        # Somebody asks for it again: it goes to whom it has not gone to.
        report = store(place, request, report.document, recipients, now)
    files = write_report(place, report)
    show_report(place, report, files)
    return Outcome(report, files, deliver_reports(place))
