"""Metrics: the numbers for Prometheus."""

from __future__ import annotations

import time
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from math import inf
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Column, Connection, Row, func, select
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.health import lag_s
from dashboard.ingest import Intake
from dashboard.middleware import requires
from dashboard.otlp import SpanIntake
from dashboard.problem_details import problems
from dashboard.shared_work import SharedWork
from models.clock import true_now
from models.context import AppContext
from models.database import reading
from models.documents import Filters
from models.notifications import Severity
from models.period import Level, Period, floor_to
from models.schema import (
    ALERT,
    DELIVERY,
    OPTIMIZATION,
    OTHER_MODELS,
    PULL_STATE,
    REPORT,
    ROLLUP,
    DeliveryState,
    OptimizationState,
)
from routewatch.quarantine import IMPORTED_FILE, INTAKE_COUNT, QUARANTINE, Entrance
from tasks.kpis.cost_efficiency import measure_efficiency
from tasks.kpis.measures import kpis
from tasks.rollups.checkpoint import read_known_checkpoint
from tasks.rollups.progress import MOST_COUNTED, read_backlog
from tasks.rollups.query import query_rollups_in
from tasks.rollups.totals import total

WINDOW = timedelta(minutes=15)
"""Length of the latest window that the KPIs cover."""
MOST_MODELS = 200
RESTS_FOR = 4.0
"""Minimum time between two makings, in multiples of how long one takes: at most a fifth of a processor."""
LONGEST_USE_S = 10.0

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Prometheus text format", "content": {"text/plain": {}}}, **problems()},
)
async def metrics(request: Request, _name: Annotated[str, Depends(requires("read"))]) -> Response:
    """Return the metrics for Prometheus. Omits unknown values."""
    scrapes: _Scrapes = request.app.state.metrics
    return Response(await scrapes.content(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def measure(app: FastAPI, ctx: AppContext) -> None:
    """Count the app's requests, and create its own registry for /metrics."""
    registry = CollectorRegistry()
    app.state.metrics = _Scrapes(registry)
    answered = Counter(
        "routewatch_http_requests", "HTTP requests answered", ("method", "route", "status"), registry=registry
    )
    registry.register(_Numbers(ctx, app.state.intake, app.state.span_intake))
    app.add_middleware(_Counting, answered=answered)


# ----------------------------------------------------------------------------------------------------------------------


class _Scrapes:
    """The metrics as text, made once for all who ask meanwhile; the more that took, the longer it is used."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.work = SharedWork("the metrics", threads=1, most_keys=1)
        self._content = b""
        self._used_until_s = -inf

    async def content(self) -> bytes:
        if time.monotonic() < self._used_until_s:
            return self._content
        return await self.work.result("metrics", self._make)

    def _make(self) -> bytes:
        began_s = time.monotonic()
        self._content = generate_latest(self._registry)
        done_s = time.monotonic()
        self._used_until_s = done_s + min(LONGEST_USE_S, RESTS_FOR * (done_s - began_s))
        return self._content


class _Numbers(Collector):
    """Metrics that are read from the database on each scrape."""

    def __init__(self, ctx: AppContext, intake: Intake, spans: SpanIntake) -> None:
        self._ctx = ctx
        self._intake = intake
        self._spans = spans

    def describe(self) -> list[Metric]:
        """Return nothing, so that registering does not query the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families from one snapshot."""
        now = true_now()
        yield _counter("selections_received", "Selections by HTTP since the server started", self._intake.totals)
        yield _counter("spans_received", "OpenTelemetry's spans since the server started", self._spans.totals)
        with reading(self._ctx.engine) as connection:
            yield from self._of_kpis(connection)
            yield _of_models(connection)
            behind_s = lag_s(connection, now)
            if behind_s is not None:
                yield _gauge("fold_lag_seconds", "Since selections were counted last", behind_s)
            yield from _of_backlog(connection, now)
            yield from _of_intake(connection)
            yield from _of_alerts(connection)
            yield _by_state(connection, "deliveries", "Deliveries", DELIVERY.c.state, DeliveryState)
            yield _by_state(connection, "optimizations", "Optimizations", OPTIMIZATION.c.state, OptimizationState)
            yield _since(
                "report_age_seconds", "Since the newest report of a kind was made", "kind", _reports(connection), now
            )
            yield _since("pull_age_seconds", "Since a source was pulled last", "source", _pulls(connection), now)

    def _of_kpis(self, connection: Connection) -> Iterator[Metric]:
        state = read_known_checkpoint(connection)
        if state is None or state.rollups_updated_at is None:
            return
        end, limits = floor_to(Level.MINUTE, state.rollups_updated_at, "UTC"), self._ctx.settings.performance_metrics
        parts = query_rollups_in(connection, Period(end - WINDOW, end, state.zone), Filters()).parts
        measured = total(parts)
        yield _gauge("window_selections", "Selections of the last 15 whole minutes", measured.count)
        value = GaugeMetricFamily("routewatch_kpi", "KPIs of the last 15 whole minutes", labels=("kpi", "unit"))
        share = GaugeMetricFamily("routewatch_kpi_coverage", "The share they are known of", labels=("kpi",))
        for kpi in kpis(measured, measure_efficiency(parts, limits), limits):
            share.add_metric((kpi.name.value,), kpi.coverage.share)
            if kpi.value is not None:
                value.add_metric((kpi.name.value, kpi.unit), kpi.value)
        yield value
        yield share


def _of_backlog(connection: Connection, now: datetime) -> Iterator[Metric]:
    backlog = read_backlog(connection)
    if backlog.rows is not None:
        yield _gauge("selections_waiting", f"Selections that are not counted yet, up to {MOST_COUNTED:,}", backlog.rows)
    stalled_s = backlog.stalled_for(now).total_seconds()
    yield _gauge("counting_stalled_seconds", "Since selections wait and none was counted", stalled_s)


def _of_models(connection: Connection) -> Metric:
    """Return the models with most selections, and all others together: a bounded number of series that add up."""
    counted = func.sum(ROLLUP.c.count)
    by_model = select(ROLLUP.c.model_id, counted).where(ROLLUP.c.level == Level.WEEK.value)
    single = by_model.where(ROLLUP.c.model_id != OTHER_MODELS).group_by(ROLLUP.c.model_id)
    rows = connection.execute(single.order_by(counted.desc(), ROLLUP.c.model_id).limit(MOST_MODELS)).all()
    overall = connection.scalar(select(counted).where(ROLLUP.c.level == Level.WEEK.value)) or 0
    description = "Selections in the rollups, of all time"
    family = GaugeMetricFamily("routewatch_selections_counted", description, labels=("model",))
    for model_id, count in rows:
        family.add_metric((model_id,), count)
    if others := overall - sum(count for _, count in rows):
        family.add_metric((OTHER_MODELS,), others)
    return family


def _of_intake(connection: Connection) -> Iterator[Metric]:
    """What the gate did to rows, by entrance and outcome, and what waits in the quarantine."""
    waiting = connection.scalar(select(func.count()).select_from(QUARANTINE)) or 0
    yield _gauge("quarantined_selections", "Selections that are set aside", waiting)
    family = CounterMetricFamily(
        "routewatch_selections_not_counted", "Rows or fields that were not counted", labels=("entrance", "outcome")
    )
    totals = select(INTAKE_COUNT.c.entrance, INTAKE_COUNT.c.outcome, func.sum(INTAKE_COUNT.c.rows))
    keys = (INTAKE_COUNT.c.entrance, INTAKE_COUNT.c.outcome)
    sums: defaultdict[tuple[str, str], int] = defaultdict(int)
    for entrance, outcome, rows in connection.execute(totals.group_by(*keys)):
        sums[Entrance.IMPORT.value if entrance.startswith(IMPORTED_FILE) else entrance, outcome] += int(rows)
    for labels, total_rows in sorted(sums.items()):
        family.add_metric(labels, total_rows)
    yield family


def _of_alerts(connection: Connection) -> Iterator[Metric]:
    firing = select(ALERT.c.severity, func.count()).where(ALERT.c.fired_at.is_not(None), ALERT.c.resolved_at.is_(None))
    counts = Counts({row[0]: row[1] for row in connection.execute(firing.group_by(ALERT.c.severity))})
    family = GaugeMetricFamily("routewatch_alerts_firing", "Alerts that fire", labels=("severity",))
    for severity in get_args(Severity):
        family.add_metric((severity,), counts[severity])
    yield family


def _by_state(connection: Connection, name: str, description: str, state: Column[Any], states: type[StrEnum]) -> Metric:
    """Return the number of rows per state, including empty states."""
    rows = connection.execute(select(state, func.count()).group_by(state))
    counts = Counts({row[0]: row[1] for row in rows})
    family = GaugeMetricFamily(f"routewatch_{name}", description, labels=("state",))
    for one in states:
        family.add_metric((one.value,), counts[one.value])
    return family


def _reports(connection: Connection) -> Sequence[Row[Any, Any]]:
    newest = select(REPORT.c.kind, func.max(REPORT.c.created_at)).group_by(REPORT.c.kind)
    return connection.execute(newest.order_by(REPORT.c.kind)).all()


def _pulls(connection: Connection) -> Sequence[Row[Any, Any]]:
    pulled = select(PULL_STATE.c.source, PULL_STATE.c.pulled_at).where(PULL_STATE.c.pulled_at.is_not(None))
    return connection.execute(pulled.order_by(PULL_STATE.c.source)).all()


def _since(name: str, description: str, label: str, rows: Sequence[Row[Any, Any]], now: datetime) -> Metric:
    family = GaugeMetricFamily(f"routewatch_{name}", description, labels=(label,))
    for what, at in rows:
        family.add_metric((what,), max(0.0, (now - at).total_seconds()))
    return family


def _gauge(name: str, description: str, value: float) -> Metric:
    return GaugeMetricFamily(f"routewatch_{name}", description, value=value)


def _counter(name: str, description: str, by_status: dict[str, int]) -> Metric:
    family = CounterMetricFamily(f"routewatch_{name}", description, labels=("status",))
    for status, count in by_status.items():
        family.add_metric((status,), count)
    return family


class _Counting:
    """Middleware that counts responses by declared route path, so that names create no new series."""

    def __init__(self, app: ASGIApp, answered: Counter) -> None:
        self._app = app
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def send_and_see(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_see)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._answered.labels(method, _route_of(scope), str(status)).inc()


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _route_of(scope: Any) -> str:
    return str(getattr(scope.get("route"), "path", "")) or "none"
