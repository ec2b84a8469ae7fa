"""What the doctor's checks examine, for the tests of each of them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from models.context import AppContext
from models.environment import Environment
from models.settings import parse_settings
from tasks.health.check import CheckResult
from tasks.health.context import CheckContext
from tasks.health.runner import checks_of, run_checks
from tests.support.contexts import NOW

TIMEOUT_S = 120.0
"""More than any check takes, on a busy machine too."""


def check_context_of(ctx: AppContext, now: datetime = NOW) -> CheckContext:
    return CheckContext(ctx.environment, ctx.settings, clock=lambda: now)


def changed(ctx: AppContext, **environment: Any) -> AppContext:
    return AppContext(ctx.environment.model_copy(update=environment), ctx.settings)


def found(name: str, check_context: CheckContext) -> CheckResult:
    """Return the result of the check of that name."""
    (completed,) = run_checks([it for it in checks_of(check_context) if it.name == name], timeout_s=TIMEOUT_S)
    return completed.result


def of(home: Path, settings: dict[str, Any] | None = None, **environment: Any) -> CheckContext:
    """Return a context without a database."""
    return CheckContext(
        Environment(home=home, **environment), parse_settings(settings or {}, "test"), clock=lambda: NOW
    )
