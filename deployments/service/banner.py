"""Startup summary of `routewatch serve`: addresses and next runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy.engine import make_url

from models.access_token import parse_tokens
from models.context import AppContext
from models.database import shown
from tasks.orchestration.schedules import SCHEDULES, Kind

if TYPE_CHECKING:
    import httpx

POLL_S = 0.5


@dataclass(frozen=True)
class Greeting:
    """What the summary waits for and shows; `page_url` is None if no page is served."""

    environment: Mapping[str, str]
    ui_url: str
    page_url: str | None
    has_server: bool


async def greet(ctx: AppContext, greeting: Greeting) -> list[str]:
    """Return the summary's lines once the server and the page respond and every schedule has its next run."""
    import httpx

    began = datetime.now(UTC)
    async with httpx.AsyncClient(timeout=10.0, auth=_auth(greeting.environment)) as client:
        api = greeting.environment["PREFECT_API_URL"]
        await _answers(client, f"{api}/ready")
        if greeting.page_url is not None:
            await _answers(client, f"{_reached(greeting.page_url)}/healthz")
        await _is_kept(client, api, began)
        zone = ZoneInfo(ctx.settings.timezone)
        runs = {kind: await _next_run(client, api, kind, zone) for kind in SCHEDULES if _is_enabled(ctx, kind)}
    return _summary(ctx, greeting, runs)


# ----------------------------------------------------------------------------------------------------------------------


def _summary(ctx: AppContext, greeting: Greeting, runs: Mapping[Kind, str]) -> list[str]:
    rows = [("Prefect UI", greeting.ui_url, _who_may_use_ui(greeting))]
    if greeting.page_url is not None:
        rows.append(("live page", greeting.page_url, _who_may_use_page(ctx)))
    rows += [
        ("database", shown(make_url(ctx.environment.database_address)), ""),
        ("home", str(ctx.environment.home.absolute()), ""),
        ("time zone", ctx.settings.timezone, ""),
        *((kind, runs.get(kind, "not enabled"), "") for kind in SCHEDULES),
    ]
    width = max(len(value) for _, value, aside in rows if aside)
    lines = [f"  {name:<11} {value:<{width}}  {aside}".rstrip() for name, value, aside in rows]
    return ["Routewatch is running; press Ctrl-C to stop", *lines]


def _who_may_use_ui(greeting: Greeting) -> str:
    if not greeting.has_server:
        return "the server at PREFECT_API_URL"
    user = greeting.environment.get("PREFECT_SERVER_API_AUTH_STRING", "").partition(":")[0]
    return f"password of {user} required" if user else "no password: this machine only"


def _who_may_use_page(ctx: AppContext) -> str:
    tokens = ctx.environment.tokens
    if tokens is None:
        return "no token: this machine only"
    return "token required: " + ", ".join(token.name for token in parse_tokens(tokens.get_secret_value()))


def _is_enabled(ctx: AppContext, kind: str) -> bool:
    return bool(getattr(ctx.settings.reporting.schedules, kind).enabled)


def _auth(environment: Mapping[str, str]) -> tuple[str, str] | None:
    user, _, password = environment.get("PREFECT_API_AUTH_STRING", "").partition(":")
    return (user, password) if user else None


def _reached(url: str) -> str:
    return url.replace("://0.0.0.0", "://127.0.0.1").replace("://[::]", "://127.0.0.1")


async def _answers(client: httpx.AsyncClient, url: str) -> None:
    import httpx

    while True:
        try:
            if (await client.get(url)).is_success:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(POLL_S)


async def _is_kept(client: httpx.AsyncClient, api: str, began: datetime) -> None:
    """Wait until the scheduler's process has asked for runs."""
    while True:
        answer = await client.get(f"{api}/deployments/name/{SCHEDULES[0]}/routewatch")
        last_polled = answer.json()["last_polled"] if answer.is_success else None
        if last_polled is not None and datetime.fromisoformat(last_polled) >= began:
            return
        await asyncio.sleep(POLL_S)


async def _next_run(client: httpx.AsyncClient, api: str, kind: str, zone: ZoneInfo) -> str:
    """Return when a schedule runs next according to Prefect; wait until Prefect knows."""
    query: dict[str, Any] = {
        "flows": {"name": {"any_": [kind]}},
        "deployments": {"name": {"any_": ["routewatch"]}},
        "flow_runs": {
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "expected_start_time": {"after_": datetime.now(UTC).isoformat()},
        },
        "sort": "EXPECTED_START_TIME_ASC",
        "limit": 1,
    }
    while True:
        answer = await client.get(f"{api}/deployments/name/{kind}/routewatch")
        if answer.is_success and _is_paused(answer.json()):
            return "is paused in the UI"
        runs = (await client.post(f"{api}/flow_runs/filter", json=query)).raise_for_status().json()
        if runs:
            at = datetime.fromisoformat(runs[0]["expected_start_time"]).astimezone(zone)
            return f"next at {at:%Y-%m-%d %H:%M %Z}"
        await asyncio.sleep(POLL_S)


def _is_paused(deployment: dict[str, Any]) -> bool:
    schedules = deployment["schedules"]
    return bool(deployment["paused"] or (schedules and not any(schedule["active"] for schedule in schedules)))
