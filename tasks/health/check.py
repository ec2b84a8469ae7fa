"""A check and its result: the interface of all checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class CheckState(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """Works, but needs attention."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """Not checked; `found` says why."""


@dataclass(frozen=True)
class CheckResult:
    """Result as a sentence without a full stop; `remedy` is what to do, empty if nothing."""

    state: CheckState
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """One check. `name` is stable, for programs that read it.

    `run` may raise CheckSkipped if it cannot be done; any other exception is a failure.
    """

    name: str
    run: Callable[[], CheckResult]


@dataclass(frozen=True)
class CompletedCheck:
    """A completed check."""

    name: str
    result: CheckResult


class CheckSkipped(Exception):
    """Raised by a check that does not apply: it is skipped, with this as the reason."""


def ok(found: str) -> CheckResult:
    """Return a passed result."""
    return CheckResult(CheckState.OK, found)


def warning(found: str, remedy: str) -> CheckResult:
    """Return a result that needs attention."""
    return CheckResult(CheckState.WARNING, found, remedy)


def failed(found: str, remedy: str) -> CheckResult:
    """Return a failed result."""
    return CheckResult(CheckState.FAILED, found, remedy)


def skipped(reason: str) -> CheckResult:
    """Return a skipped result with its reason."""
    return CheckResult(CheckState.SKIPPED, reason)


def amount(count: float) -> str:
    """Format bytes for people."""
    for unit in ("B", "kB", "MB"):
        if count < 1_000:  # noqa: PLR2004 - to the next unit
            return f"{count:.0f} {unit}"
        count /= 1_000
    return f"{count:,.1f} GB"
