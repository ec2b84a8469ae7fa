"""Check that the Prefect server responds, is compatible, and has the deployments with a worker that runs them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx

from tasks.health.check import Check, CheckResult, CheckSkipped, failed, ok, warning
from tasks.health.context import CheckContext
from tasks.run_logger import PREFECT_IMPORTS

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

TIMEOUT_S = 5.0

USUAL_PORT = "4200"

TIMED = ("hourly", "daily", "weekly")
"""Flows that run on a schedule, if the settings enable them."""

_AUTHENTICATE = "set PREFECT_API_AUTH_STRING to the user:password that the server was started with"


def checks(context: CheckContext) -> list[Check]:
    """Return the checks of the server and the deployments on it."""
    return [Check("Prefect API", _api), Check("timetable", partial(_schedules, context))]


# ----------------------------------------------------------------------------------------------------------------------


class _AccessRefused(Exception):
    """The server requires authentication."""


def _api() -> CheckResult:
    from packaging.version import parse  # noqa: PLC0415 - comes with Prefect

    try:
        with _client() as client:
            there, here, address = client.api_version(), client.client_version(), str(client.api_url)
        is_older, is_other = parse(there) < parse(here), parse(there).major != parse(here).major
    except _AccessRefused:
        return failed("the server refused the request", _AUTHENTICATE)
    except httpx.HTTPError as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        return failed(f"{_shown_address()} does not answer: {cause}", "start the server, or correct PREFECT_API_URL")
    except (ValueError, TypeError):
        return failed(f"the server at {_shown_address()} is not a Prefect server", "correct PREFECT_API_URL")
    found = f"Prefect {there} at {address.rstrip('/')}"
    if is_other:
        return failed(f"{found}, and Routewatch runs with {here}", f"use Prefect {here} for the server too")
    if is_older:
        return warning(f"{found}, older than Routewatch's {here}", f"upgrade the server to {here}")
    return ok(found)


def _schedules(context: CheckContext) -> CheckResult:
    schedules = context.settings.reporting.schedules
    required = [name for name in TIMED if getattr(schedules, name).enabled]
    if not required:
        raise CheckSkipped("the settings enable no schedule")
    try:
        with _client() as client:
            deployed = _deployed(client)
    except (_AccessRefused, httpx.HTTPError):
        raise CheckSkipped("Prefect's server cannot be asked") from None
    missing = [name for name in required if name not in deployed]
    if missing:
        return failed(f"not deployed: {', '.join(missing)}", "`routewatch serve` deploys and runs the timetable")
    paused = [name for name in required if deployed[name].paused or not _has_schedule(deployed[name])]
    if paused:
        return warning(f"paused: {', '.join(paused)}", "resume the schedule in Prefect's UI, under Deployments")
    idle = [name for name in required if _status(deployed[name]) == "NOT_READY"]
    if idle:
        return warning(
            f"deployed, but nobody takes the runs of {', '.join(idle)}", "start `routewatch serve` or a worker"
        )
    return ok(f"deployed and taken care of: {', '.join(required)}")


def _deployed(client: SyncPrefectClient) -> dict[str, Any]:
    """Return the deployment of each flow; of several one that is ready."""
    with PREFECT_IMPORTS:
        from prefect.client.schemas.filters import FlowFilter  # noqa: PLC0415

    named = FlowFilter.model_validate({"name": {"any_": list(TIMED)}})
    names = {flow.id: flow.name for flow in client.read_flows(flow_filter=named)}
    found = sorted(client.read_deployments(flow_filter=named), key=lambda it: _status(it) == "READY")
    return {names[it.flow_id]: it for it in found if it.flow_id in names}


def _status(deployment: Any) -> str:
    return str(getattr(deployment.status, "value", deployment.status))


def _has_schedule(deployment: Any) -> bool:
    return any(it.active for it in deployment.schedules)


@contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    """Return a client of the configured server, else of the one that `routewatch serve` starts here.

    Raises CheckSkipped if there is neither, _Refused, or httpx.HTTPError.
    """
    with PREFECT_IMPORTS:
        from prefect.client.orchestration import get_client  # noqa: PLC0415 - importing Prefect takes a second and more
        from prefect.exceptions import PrefectHTTPStatusError  # noqa: PLC0415
        from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings  # noqa: PLC0415

    address = PREFECT_API_URL.value() or _local()
    try:
        with (
            temporary_settings({PREFECT_API_URL: address, PREFECT_CLIENT_MAX_RETRIES: 0}),
            get_client(sync_client=True, httpx_settings={"timeout": TIMEOUT_S}) as client,
        ):
            yield client
    except PrefectHTTPStatusError as error:
        if error.response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise _AccessRefused from None
        raise


def _local() -> str:
    address = f"http://127.0.0.1:{os.environ.get('PREFECT_SERVER_API_PORT', USUAL_PORT)}/api"
    try:
        httpx.get(f"{address}/health", timeout=TIMEOUT_S, trust_env=False)
    except httpx.HTTPError:
        raise CheckSkipped(
            f"PREFECT_API_URL names no server, and none runs at {address}: `routewatch serve` starts one"
        ) from None
    return address


def _shown_address() -> str:
    with PREFECT_IMPORTS:
        from prefect.settings import PREFECT_API_URL  # noqa: PLC0415

    address = PREFECT_API_URL.value()
    return str(httpx.URL(address).copy_with(userinfo=b"")) if address else "the server here"
