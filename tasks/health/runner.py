"""Check runner: run all checks concurrently and independently, with a time limit."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from threading import Thread

from models.errors import RoutewatchError
from models.redaction import hide
from models.text_direction import without_controls
from tasks.health.check import Check, CheckResult, CheckSkipped, CompletedCheck, failed, skipped
from tasks.health.checks import clock, database, environment, freshness, router_config, webhooks
from tasks.health.checks import delivery_queue as deliveries
from tasks.health.checks import home_directory as home
from tasks.health.checks import prefect_server as orchestration
from tasks.health.checks import rendering as drawing
from tasks.health.checks import smtp as mail
from tasks.health.checks import sources as pulling
from tasks.health.context import CheckContext

SUBJECTS = (
    environment, home, database, clock, pulling, freshness, router_config, deliveries, mail, webhooks, drawing,
    orchestration,
)  # fmt: skip

TIMEOUT_S = 12.0
"""Time limit of all checks together: longer than the database time-out."""


def checks_of(context: CheckContext) -> list[Check]:
    """All checks, in the order of output."""
    return [check for subject in SUBJECTS for check in subject.checks(context)]


def run_checks(checks: Sequence[Check], timeout_s: float = TIMEOUT_S) -> list[CompletedCheck]:
    """Run all checks and return their results in order; one that raises or does not end fails alone."""
    done: SimpleQueue[tuple[int, CheckResult]] = SimpleQueue()
    found: dict[int, CheckResult] = {}
    for number, check in enumerate(checks):
        # Daemon threads, which do not keep the program from ending.
        Thread(target=_run_check, args=(number, check, done), name=check.name, daemon=True).start()
    until_s = time.monotonic() + timeout_s
    while len(found) < len(checks):
        try:
            number, result = done.get(timeout=max(0.0, until_s - time.monotonic()))
        except Empty:
            break
        found[number] = result
    late = failed(f"not done within {timeout_s:g} s", "see whether its target is overloaded or unreachable")
    return [CompletedCheck(check.name, _safe(found.get(number, late))) for number, check in enumerate(checks)]


# ----------------------------------------------------------------------------------------------------------------------


def _run_check(number: int, check: Check, done: SimpleQueue[tuple[int, CheckResult]]) -> None:
    try:
        result = check.run()
    except CheckSkipped as reason:
        result = skipped(str(reason))
    except (RoutewatchError, OSError) as error:
        result = failed(str(error) or type(error).__name__, "")
    except Exception as error:  # noqa: BLE001 - the other checks continue
        # Its text may contain secrets.
        result = failed(f"the check ended with a {type(error).__name__}", "ROUTEWATCH_DEBUG=1 shows where")
        if "ROUTEWATCH_DEBUG" in os.environ:
            result = failed(f"the check ended with {error!r}", "")
    done.put((number, result))


def _safe(result: CheckResult) -> CheckResult:
    """Redact secrets in a result, and make it one line."""
    found, remedy = (" ".join(without_controls(hide(text)).split()) for text in (result.found, result.remedy))
    return CheckResult(result.state, found, remedy)
