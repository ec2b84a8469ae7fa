"""Run monitor: mark runs without heartbeat as crashed, and request missing runs on the Prefect server.

A process that is killed together with its worker reports nothing: its run would stay Running forever.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from models.clock import is_ahead, true_now
from models.context import AppContext
from tasks.alerts.flow_failures import record_failure
from tasks.delivery.worker import deliver_due
from tasks.orchestration.missed_reports import FURTHEST, MissableKind, missed
from tasks.orchestration.schedules import SCHEDULES
from tasks.run_logger import logger

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

DEPLOYMENT = "routewatch"
"""Names of the scheduled deployments."""

BEATS_MISSED = 3
LONGEST_START = timedelta(minutes=30)
"""Maximum time from a worker's submission to a run's first heartbeat: an image may have to be fetched."""

NO_HEARTBEAT = timedelta(hours=6)
"""Time limit of a run if no run has a recorded heartbeat: a proxy may block them."""

PAGE = 200


@dataclass(frozen=True)
class MonitorResult:
    """Result of monitoring: ids of the crashed runs, and the requested reports."""

    crashed: tuple[UUID, ...] = ()
    requested: tuple[tuple[MissableKind, datetime], ...] = ()


def monitor_runs(ctx: AppContext, now: datetime) -> MonitorResult:
    """Mark dead runs as crashed and alert; request runs for missing daily and weekly reports.

    Does nothing if no Prefect server is configured. Requests a missing report at most once a day, by a
    run of its own flow, which checks whether the report exists, so that no run creates it twice.
    """
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - only where a server may be
    from prefect.settings import PREFECT_API_URL  # noqa: PLC0415

    if not PREFECT_API_URL.value():
        return MonitorResult()
    with get_client(sync_client=True) as client:
        # By the true clock: a run that acts as of last week says nothing of those that are under way.
        clock = max(now, true_now())
        crashed = [run for run in _under_way(client) if _is_crashed(client, run, clock)]
        for run in crashed:
            _mark_crashed(client, run)
        failed = {client.read_flow(run.flow_id).name for run in crashed}
        requested = tuple((kind, due) for kind in FURTHEST for due in _ask(client, ctx, kind, now))
    _notify(ctx, failed & {*SCHEDULES}, now)
    return MonitorResult(tuple(run.id for run in crashed), requested)


# ----------------------------------------------------------------------------------------------------------------------


def age(at: datetime, now: datetime) -> timedelta:
    """Return how long ago something was; longer than anything if a clock that ran ahead says that it is still to come.

    Else a dead run would be waited for until then, and no other of its schedule could start.
    """
    return timedelta.max if is_ahead(at, now) else now - at


def _under_way(client: SyncPrefectClient) -> list[FlowRun]:
    from prefect.client.schemas.objects import StateType  # noqa: PLC0415

    return scheduled_runs(client, (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING))


def scheduled_runs(client: SyncPrefectClient, states: Sequence[Any], flow_name: str | None = None) -> list[FlowRun]:
    """Return the runs of the scheduled deployments in any of the states, optionally of one flow."""
    from prefect.client.schemas import filters  # noqa: PLC0415

    of_flow = None if flow_name is None else filters.FlowFilter(name=filters.FlowFilterName(any_=[flow_name]))
    in_state = filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=list(states)))
    return client.read_flow_runs(
        flow_filter=of_flow,
        flow_run_filter=filters.FlowRunFilter(state=in_state),
        deployment_filter=filters.DeploymentFilter(name=filters.DeploymentFilterName(any_=[DEPLOYMENT])),
        limit=PAGE,
    )


def _is_crashed(client: SyncPrefectClient, run: FlowRun, now: datetime) -> bool:
    from prefect.settings import get_current_settings  # noqa: PLC0415

    every_s = get_current_settings().flows.heartbeat_frequency
    if run.state is None or every_s is None:
        return False
    since = _instant(run.state.timestamp)
    if run.state.is_pending():
        return age(since, now) > LONGEST_START
    quiet = BEATS_MISSED * timedelta(seconds=every_s)
    if age(since, now) <= quiet:
        return False
    heard = _last_heartbeat(client, run.id)
    if heard is None and _last_heartbeat(client) is None:
        return age(since, now) > NO_HEARTBEAT
    return heard is None or age(heard, now) > quiet


def _last_heartbeat(client: SyncPrefectClient, run_id: UUID | None = None) -> datetime | None:
    """Return the latest heartbeat of a run, or of any: runs send one at start and, by default, every three minutes."""
    of_run = {} if run_id is None else {"resource": {"id": [f"prefect.flow-run.{run_id}"]}}
    event_filter = {"filter": {"event": {"name": ["prefect.flow-run.heartbeat"]}, "order": "DESC"} | of_run, "limit": 1}
    answer = client.request("POST", "/events/filter", json=event_filter)
    events = answer.raise_for_status().json()["events"]
    return datetime.fromisoformat(events[0]["occurred"]) if events else None


def _mark_crashed(client: SyncPrefectClient, run: FlowRun) -> None:
    from prefect.states import Crashed  # noqa: PLC0415

    client.set_flow_run_state(run.id, Crashed(message="No sign of life: its process was killed or lost."))
    logger().warning("the run %s has no heartbeat and is marked as crashed", run.name)


def _notify(ctx: AppContext, failed: Iterable[str], now: datetime) -> None:
    cause = "its process was killed or lost; what it left out is made by a later run"
    log_args = [record_failure(ctx, name, cause, now) for name in sorted(failed)]
    if any(message is not None for message in log_args):
        deliver_due(ctx, now=datetime.now(UTC))


def _ask(client: SyncPrefectClient, ctx: AppContext, kind: MissableKind, now: datetime) -> list[datetime]:
    from prefect.client.schemas.objects import StateType  # noqa: PLC0415
    from prefect.exceptions import ObjectNotFound  # noqa: PLC0415

    dues = missed(ctx.engine, kind, ctx.settings, now)
    if not dues:
        return []
    try:
        deployment = client.read_deployment_by_name(f"{kind}/{DEPLOYMENT}")
    except ObjectNotFound:
        return []
    states = (StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING)
    coming = {_due_of(run) for run in scheduled_runs(client, states, kind)}
    requested = [due for due in dues if due not in coming]
    for due in requested:
        client.create_flow_run_from_deployment(
            deployment.id,
            parameters={"as_of": due.isoformat()},
            idempotency_key=f"{kind} of {due:%Y-%m-%dT%H:%MZ}, asked {now:%Y-%m-%d}",
            tags=["caught up"],
        )
        logger().info("the %s report due at %s is missing: requested a run", kind, due.isoformat())
    return requested


def _due_of(run: FlowRun) -> datetime | None:
    as_of = run.parameters.get("as_of")
    if as_of is not None:
        return datetime.fromisoformat(str(as_of))
    return None if run.expected_start_time is None else _instant(run.expected_start_time)


def _instant(moment: Any) -> datetime:
    """Convert Prefect's datetime type, which does not compare and calculate like the standard library's."""
    return datetime.fromtimestamp(moment.timestamp(), UTC)
