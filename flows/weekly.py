"""Every week: tell what the week was like, and carry out what may safely be done about it."""

from __future__ import annotations

from datetime import datetime

from prefect import flow
from tasks.deliver import deliver_reports

from flows.clock import time_of_run
from flows.outcome import Outcome
from models.workplace import load_workplace
from tasks.apply import apply_optimizations
from tasks.compose import compose_report, scheduled
from tasks.fold import fold_selections
from tasks.publish import find_told, show_report, store, write_report
from tasks.survey import survey_period


@flow(name="weekly", flow_run_name="weekly")
def weekly(as_of: datetime | None = None) -> Outcome:
    """Measure the last whole week, apply the safe optimizations, and deliver the report.

    Args:
        as_of: Act as though it were this time. Empty: when the run was due.
    """
    place, now = load_workplace(), time_of_run(as_of)
    request, recipients = scheduled("weekly", place.settings, now)
    fold_selections(place, now)
    report = find_told(place, request)
    if report is None:
        material = survey_period(place, request, now)
        material = apply_optimizations(place, material, now)
        document = compose_report(place, request, material, now)
        report = store(place, request, document, recipients, now)
    files = write_report(place, report)
    show_report(report)
    return Outcome(report, files, deliver_reports(place))
