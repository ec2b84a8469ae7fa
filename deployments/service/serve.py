"""`routewatch serve`: the Prefect server, the scheduler and the live page in one supervised command."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from deployments.console import complain, say
from deployments.embedded_prefect import use_embedded_prefect
from deployments.log_config import use_logs
from deployments.service.banner import Greeting, greet
from deployments.service.ports import LOOPBACK, PAGE_PORT, UI_PORT, as_url, is_free, reached_at
from deployments.service.processes import command_of
from deployments.service.supervisor import Part, supervise
from models.context import AppContext
from models.errors import Fault, PasswordNeeded, RoutewatchError, SettingsError, TokensNeeded

AUTH = "PREFECT_SERVER_API_AUTH_STRING"
START_TIMEOUT_S = 180.0


@dataclass(frozen=True)
class Where:
    """Where to serve. `is_proxied`: a proxy on this machine admits others, so that the loopback protects nothing."""

    host: str = LOOPBACK
    ui_port: int = UI_PORT
    page_port: int = PAGE_PORT
    is_proxied: bool = False


def serve_all(ctx: AppContext, where: Where) -> int:
    """Serve until stopped; return the exit status: 0 after a requested stop, 1 if a part kept dying.

    Starts no Prefect server if PREFECT_API_URL names one, and no page if the settings do not enable it. Raises
    RoutewatchError if a port is in use, PasswordNeeded or TokensNeeded if others could get in.
    """
    ctx.engine.dispose()
    has_server = "PREFECT_API_URL" not in os.environ
    has_page = ctx.settings.monitoring.dashboard.enabled
    _check(ctx, where, has_server=has_server, has_page=has_page)
    environment = _environment(ctx, where, has_server=has_server)
    parts = [Part("the scheduler", command_of("timetable"), environment)]
    if has_server:
        server = command_of("server", where.host, str(where.ui_port))
        parts.insert(0, Part("the Prefect server", server, environment, is_quiet=True))
    if has_page:
        reach = "proxied" if where.is_proxied else "direct"
        parts.append(Part("the live page", command_of("page", where.host, str(where.page_port), reach), environment))
    page_url = as_url(where.host, where.page_port) if has_page else None
    ui_url = _ui_url(environment, where) if has_server else environment["PREFECT_API_URL"].removesuffix("/api")
    return supervise(parts, _greeting(ctx, Greeting(environment, ui_url, page_url, has_server=has_server)), complain)


# ----------------------------------------------------------------------------------------------------------------------


def _check(ctx: AppContext, where: Where, *, has_server: bool, has_page: bool) -> None:
    from dashboard.authentication import is_loopback

    is_public = where.is_proxied or not is_loopback(where.host)
    shown = f"the proxy before {where.host}" if where.is_proxied else where.host
    if has_server:
        password = os.environ.get(AUTH, "")
        if is_public and not password:
            raise PasswordNeeded(shown)
        if password and not all(password.partition(":")):
            raise SettingsError("the environment", [Fault(AUTH, "is not a user and password: expected user:password")])
        if not is_free(where.host, where.ui_port):
            api = f"{as_url(reached_at(where.host), where.ui_port)}/api"
            how = f"to use the Prefect server there, set PREFECT_API_URL={api}"
            raise RoutewatchError(f"port {where.ui_port} is in use; choose another with --ui-port, or {how}")
    if has_page:
        if is_public and ctx.environment.tokens is None:
            raise TokensNeeded(shown)
        if not is_free(where.host, where.page_port):
            raise RoutewatchError(f"port {where.page_port} is in use; choose another with --page-port")


def _environment(ctx: AppContext, where: Where, *, has_server: bool) -> dict[str, str]:
    """Return the parts' environment; the user's own settings take precedence."""
    use_logs("INFO")
    use_embedded_prefect(ctx.environment.home)
    environment = dict(os.environ)
    # The parts work in the folder where this command was started.
    environment["ROUTEWATCH_HOME"] = str(ctx.environment.home.absolute())
    # The console set-up does not apply to the processes that Prefect starts.
    environment.setdefault("PYTHONUNBUFFERED", "1")
    if not has_server:
        return environment
    path = environment.get("PREFECT_SERVER_API_BASE_PATH", "/api")
    own = as_url(reached_at(where.host), where.ui_port)
    defaults = {
        "PREFECT_UI_API_URL": path,
        # Pages of other sites in the user's browser may not send requests.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": environment.get("PREFECT_UI_URL", own),
        # In memory, a run that died with the server would hold its slot forever.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }
    environment = defaults | environment | {"PREFECT_API_URL": f"{own}{path}"}
    if environment.get(AUTH):
        environment.setdefault("PREFECT_API_AUTH_STRING", environment[AUTH])
    return environment


def _ui_url(environment: dict[str, str], where: Where) -> str:
    base = environment.get("PREFECT_UI_SERVE_BASE", "/").rstrip("/")
    return environment.get("PREFECT_UI_URL") or as_url(where.host, where.ui_port) + base


def _greeting(ctx: AppContext, greeting: Greeting) -> Callable[[], Awaitable[None]]:
    async def greet_when_started() -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                lines = await greet(ctx, greeting)
        except TimeoutError:
            complain(f"not everything was up after {START_TIMEOUT_S:g} s: see the lines above; still trying")
            return
        for line in lines:
            say(line)

    return greet_when_started
