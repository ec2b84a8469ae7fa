"""`routewatch deploy`: create the deployments on a Prefect server, for the workers of a pool."""

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
    """Create or update every deployment, and create the pool if it does not exist.

    Idempotent: deployments are identified by name and schedules by slug, so that schedules which were
    paused in the UI stay paused. Raises UsageError if no server is configured or the pool is of another type.
    """
    check_server_is_named("`routewatch serve` works without deploying")
    use_embedded_prefect(ctx.environment.home)
    import httpx
    from prefect.client.orchestration import get_client

    from deployments.service.deployments import scheduled_deployments
    from tasks.optimizer.queries import decidable

    deployments = scheduled_deployments(ctx.settings, decidable(ctx.engine))
    try:
        with get_client(sync_client=True) as client:
            found = _pool_kind(client, pool) or _create_pool(client, pool, kind or "process")
    except httpx.HTTPError as error:
        raise RoutewatchError(
            f"the Prefect server at {os.environ['PREFECT_API_URL']} does not respond: {error}"
        ) from error
    if kind not in (None, found):
        raise UsageError(f"the work pool {pool!r} is of type {found}, not {kind}: choose another with --pool")
    variables = _job_variables(found, image)
    for deployment in deployments:
        deployment.work_pool_name, deployment.job_variables = pool, variables
        deployment.apply()
    table(("deployment", "runs at", "time zone"), [_row(deployment) for deployment in deployments], "nothing to deploy")
    say(f"start a worker with `routewatch worker --pool {pool}` (type {found}), with ROUTEWATCH_* set")


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
        raise RoutewatchError(f"the Prefect server does not know the pool type {kind}: create {pool!r} in its UI")
    client.create_work_pool(WorkPoolCreate(name=pool, type=kind, base_job_template=template))
    return kind


def _job_variables(kind: str, image: str | None) -> dict[str, Any]:
    if kind not in IN_IMAGES:
        if image is not None:
            raise UsageError(f"--image is only for pools of type {' and '.join(IN_IMAGES)}; this one is of type {kind}")
        return {}
    if image is None:
        raise UsageError(f"a pool of type {kind} needs --image: the image built from the Dockerfile")
    return {"image": image, "image_pull_policy": "IfNotPresent"}


def _row(deployment: RunnerDeployment) -> tuple[str, str, str]:
    if not deployment.schedules:
        return deployment.full_name, "on demand", ""
    schedule: Any = deployment.schedules[0].schedule
    return deployment.full_name, schedule.cron, schedule.timezone
