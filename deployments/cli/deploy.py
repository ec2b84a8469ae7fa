"""`routewatch deploy`: the timetable on a Prefect server, for the workers of a pool."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from deployments.cli.worker import check_server_is_named
from deployments.console import say, table
from deployments.embedded_prefect import use_embedded_prefect
from models.context import AppContext
from models.errors import RoutewatchError, UsageError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.deployments.runner import RunnerDeployment

IN_IMAGES = ("docker", "kubernetes")


def deploy_schedules(ctx: AppContext, pool: str, kind: str | None, image: str | None) -> None:
    """Create or update every deployment, and the pool where there is none.

    A second time changes nothing: deployments are known by their names, schedules by their slugs, so that what was
    paused in the UI stays so. Raises UsageError where no server is named or the pool is of another kind than asked for.
    """
    check_server_is_named("`routewatch serve` needs no deploy")
    use_embedded_prefect(ctx.environment.home)
    import httpx
    from prefect.client.orchestration import get_client

    from deployments.service.deployments import scheduled_deployments
    from tasks.optimizer.queries import pending

    deployments = scheduled_deployments(ctx.settings, pending(ctx.engine))
    try:
        with get_client(sync_client=True) as client:
            found = _pool_kind(client, pool) or _create_pool(client, pool, kind or "process")
    except httpx.HTTPError as error:
        raise RoutewatchError(
            f"the Prefect server at {os.environ['PREFECT_API_URL']} does not answer: {error}"
        ) from error
    if kind not in (None, found):
        raise UsageError(f"the work pool {pool!r} is of type {found}, not {kind}: choose another with --pool")
    variables = _job_variables(found, image)
    for deployment in deployments:
        deployment.work_pool_name, deployment.job_variables = pool, variables
        deployment.apply()
    table(("deployment", "runs at", "time zone"), [_row(deployment) for deployment in deployments], "nothing to deploy")
    say(f"start a worker with `routewatch worker --pool {pool}` (type {found}), where ROUTEWATCH_* are set")


# ----------------------------------------------------------------------------------------------------------------------


def _pool_kind(client: SyncPrefectClient, pool: str) -> str | None:
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_work_pool(pool).type
    except ObjectNotFound:
        return None


def _create_pool(client: SyncPrefectClient, pool: str, kind: str) -> str:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.utilities.asyncutils import run_coro_as_sync
    from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type

    template = run_coro_as_sync(get_default_base_job_template_for_infrastructure_type(kind))
    if not template:
        raise RoutewatchError(f"the Prefect server knows no work pools of type {kind}: create {pool!r} in its UI")
    client.create_work_pool(WorkPoolCreate(name=pool, type=kind, base_job_template=template))
    return kind


def _job_variables(kind: str, image: str | None) -> dict[str, Any]:
    if kind not in IN_IMAGES:
        if image is not None:
            raise UsageError(f"--image is for pools of type {' and '.join(IN_IMAGES)}, and this one is of type {kind}")
        return {}
    if image is None:
        raise UsageError(f"a pool of type {kind} needs --image, the image that was built from the Dockerfile")
    return {"image": image, "image_pull_policy": "IfNotPresent"}


def _row(deployment: RunnerDeployment) -> tuple[str, str, str]:
    if not deployment.schedules:
        return deployment.full_name, "on demand", ""
    schedule: Any = deployment.schedules[0].schedule
    return deployment.full_name, schedule.cron, schedule.timezone
