"""Check that variables and settings are valid, reports have recipients, and tokens have not expired."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from functools import partial
from importlib.metadata import version

from models.access_token import parse_tokens
from models.environment import OTHERS, PREFIX, Environment
from models.errors import SettingsError
from tasks.delivery.recipients import recipients_for
from tasks.health.check import Check, CheckResult, CheckSkipped, failed, ok, warning
from tasks.health.context import CheckContext

SOON = timedelta(days=14)


def checks(context: CheckContext) -> list[Check]:
    """Return the checks of the environment and the settings."""
    return [
        Check("program", _program),
        Check("environment", partial(_environment, context, os.environ)),
        Check("settings", partial(_settings, context)),
        Check("recipients", partial(_recipients, context)),
        Check("page tokens", partial(_tokens, context)),
    ]


# ----------------------------------------------------------------------------------------------------------------------


def _program() -> CheckResult:
    return ok(f"Routewatch {version('routewatch')}, Python {platform.python_version()}, {platform.platform()}")


def _environment(context: CheckContext, variables: Mapping[str, str]) -> CheckResult:
    if isinstance(context.read_environment, SettingsError):
        return failed(str(context.read_environment), "correct the variables that are named (docs/configuration.md)")
    known = {*Environment.model_fields, *(name.removeprefix(PREFIX).lower() for name in OTHERS)}
    secret_names = () if context.read_settings is None else _secret_names(context)
    given = [name for name in variables if name.startswith(PREFIX) and name not in secret_names]
    unknown = sorted(name for name in given if name.removeprefix(PREFIX).lower() not in known)
    if unknown:
        return warning(f"{', '.join(map(_with_guess, unknown))}: no such variable is read", "correct or remove it")
    home = context.environment.home.absolute()
    return ok(f"ROUTEWATCH_HOME is {home}; {len(given)} variables are set")


def _secret_names(context: CheckContext) -> tuple[str, ...]:
    try:
        return tuple(it.secret_name for it in context.recipients())
    except CheckSkipped:
        return ()


def _with_guess(name: str) -> str:
    known = [f"{PREFIX}{field.upper()}" for field in Environment.model_fields]
    close = get_close_matches(name, known, n=1)
    return f"{name} (perhaps {close[0]})" if close else name


def _settings(context: CheckContext) -> CheckResult:
    path = context.environment.settings
    if isinstance(context.read_settings, SettingsError):
        return failed(str(context.read_settings), "correct the keys that are named (docs/configuration.md)")
    if path is None:
        return ok("ROUTEWATCH_SETTINGS names no file: the defaults hold")
    return ok(f"{path} is valid")


def _recipients(context: CheckContext) -> CheckResult:
    settings = context.settings
    schedules = settings.reporting.schedules
    named: dict[str, list[str]] = {}
    for kind in ("hourly", "daily", "weekly"):
        schedule = getattr(schedules, kind)
        for name in schedule.recipients if schedule.enabled else ():
            named.setdefault(name, []).append(f"{kind} reports")
    alerting = settings.monitoring.alerting
    for name in alerting.channels if alerting.enabled else ():
        named.setdefault(name, []).append("alerts")
    _, without = recipients_for(named, settings)
    if without:
        lost = "; ".join(f"{name} ({', '.join(named[name])})" for name in without)
        keys = ", ".join(f"delivery.recipients.{name}" for name in without)
        return warning(
            f"no address is set for {lost}", f"set {keys} in the settings, or take the name out where it stands"
        )
    if settings.delivery.mode == "files":
        return ok(f"delivery.mode is files: all is written to {context.environment.outbox_folder}, and nothing is sent")
    return ok(f"everybody that is named has an address: {', '.join(named) or 'nobody is named'}")


def _tokens(context: CheckContext) -> CheckResult:
    given = context.environment.tokens
    if given is None:
        return ok("none: the page and its HTTP interface are for this machine alone")
    tokens, now = parse_tokens(given.get_secret_value()), context.clock()
    over = [it.name for it in tokens if it.is_over(now)]
    ending = [it.name for it in tokens if it.name not in over and it.is_over(now + SOON)]
    remedy = "put one with another secret and a later day into ROUTEWATCH_TOKENS"
    if over:
        return warning(f"over: {', '.join(over)}" + (f"; soon over: {', '.join(ending)}" if ending else ""), remedy)
    if ending:
        return warning(f"over within {SOON.days} days: {', '.join(ending)}", remedy)
    return ok(", ".join(f"{it.name} ({'+'.join(sorted(it.scopes))})" for it in tokens))
