"""The steps of a report as Prefect tasks; only flows import this."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from models.clock import not_ahead, true_now
from models.context import AppContext
from models.documents import Document
from tasks.reporting.collect import collect_material
from tasks.reporting.compose import compose
from tasks.reporting.material import ReportMaterial
from tasks.reporting.optimize import apply_recommendations
from tasks.reporting.publish import StoredReport, artifact_of, find_report, store_report, write_files
from tasks.reporting.request import Request


@task(name="survey", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
def collect_report_material(ctx: AppContext, request: Request, now: datetime) -> ReportMaterial:
    """Measure the period, find its bottlenecks and recommendations."""
    return collect_material(ctx.engine, request, ctx.settings, now)


@task(name="apply", cache_policy=NO_CACHE)
def apply_optimizations(ctx: AppContext, material: ReportMaterial, now: datetime) -> ReportMaterial:
    """Apply permitted recommendations; return the material with their statuses and the config changes."""
    return apply_recommendations(ctx, material, not_ahead(now))


@task(name="compose", cache_policy=NO_CACHE)
def compose_report(ctx: AppContext, request: Request, material: ReportMaterial, now: datetime) -> Document:
    """Build the report's document."""
    return compose(request, material, ctx.settings, now)


@task(name="find report", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
def find_reported(ctx: AppContext, request: Request) -> StoredReport | None:
    """Return the report if an earlier run has stored it."""
    return find_report(ctx.engine, request, ctx.settings)


@task(name="store report", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
def store(
    ctx: AppContext, request: Request, document: Document, recipients: tuple[str, ...], now: datetime
) -> StoredReport:
    """Store a report and queue its deliveries."""
    report = store_report(ctx, request, document, recipients, now=not_ahead(now), queued_at=true_now())
    logged = {"report_id": report.id}
    log_args = request.kind, request.template, request.period.start.isoformat()
    get_run_logger().info("stored the %s %s report of %s", *log_args, extra=logged)
    for name in report.without_address:
        warning = "no address is set for %r (delivery.recipients.%s): it gets no report"
        get_run_logger().warning(warning, name, name, extra=logged)
    return report


@task(name="write report files", cache_policy=NO_CACHE)
def write_report(ctx: AppContext, report: StoredReport) -> dict[str, Path]:
    """Write the report in its formats; return paths by suffix."""
    return write_files(report, ctx.environment.reports_folder)


@task(name="show report in Prefect", cache_policy=NO_CACHE)
def show_report(ctx: AppContext, report: StoredReport, files: dict[str, Path]) -> None:
    """Store the report as an artifact for the Prefect UI, with the paths of its files."""
    artifact = artifact_of(ctx, report, files)
    create_markdown_artifact(key=artifact.key, markdown=artifact.markdown, description=artifact.description)
