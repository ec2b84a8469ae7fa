"""Decision form: pending optimizations as options of a form in the Prefect UI, and links to it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx

from tasks.run_logger import logger

DECISION_DEPLOYMENT = "decide/routewatch"
NOTHING_PENDING = "nothing is waiting"


def decision_options(waiting: tuple[tuple[int, str], ...]) -> list[str]:
    """Decisions that the form offers."""
    return [label for _, label in waiting] or [NOTHING_PENDING]


def with_options(schema: dict[str, Any], waiting: tuple[tuple[int, str], ...]) -> dict[str, Any]:
    """Return the form's schema with the pending optimizations as the values of `optimization`."""
    names = decision_options(waiting)
    field = {**schema["properties"]["optimization"], "enum": names, "default": names[0]}
    return {**schema, "properties": {**schema["properties"], "optimization": field}}


def link_to(ui_url: str, deployment_id: str, label: str) -> str:
    """Return the form's URL with one optimization selected."""
    chosen = quote(json.dumps({"optimization": label}, ensure_ascii=False, separators=(",", ":")))
    return f"{ui_url.rstrip('/')}/deployments/deployment/{deployment_id}/run?parameters={chosen}"


def update_form(waiting: tuple[tuple[int, str], ...]) -> dict[int, str]:
    """Update the form's options; return the links to it by optimization.

    Without a configured Prefect server that has the form there are no links: decisions are made on the
    command line.
    """
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - only where a server may be
    from prefect.client.schemas.actions import DeploymentUpdate  # noqa: PLC0415
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError  # noqa: PLC0415
    from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL  # noqa: PLC0415

    if not PREFECT_API_URL.value():
        return {}
    ui_url = str(PREFECT_UI_URL.value() or PREFECT_API_URL.value().removesuffix("/api"))
    try:
        with get_client(sync_client=True) as client:
            form = client.read_deployment_by_name(DECISION_DEPLOYMENT)
            schema = with_options(dict(form.parameter_openapi_schema or {}), waiting)
            client.update_deployment(form.id, DeploymentUpdate(parameter_openapi_schema=schema))
    except ObjectNotFound:
        return {}
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        logger().warning("could not update the decision form: %s", error)
        return {}
    return {optimization_id: link_to(ui_url, str(form.id), label) for optimization_id, label in waiting}
