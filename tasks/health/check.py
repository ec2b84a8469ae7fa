"""A check and what it finds: the one interface of everything that is looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class CheckState(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """It works, but not as somebody would want it, or not for long."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """It was not looked at; what was found says why."""


@dataclass(frozen=True)
class CheckResult:
    """What was found, in a sentence without a full stop; `remedy` is what to do, empty where there is nothing."""

    state: CheckState
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """One thing that is looked at. `name` stays the same, for programs that read it.

    `run` may raise: NotLooked where it cannot be done, anything else where it failed.
    """

    name: str
    run: Callable[[], CheckResult]


@dataclass(frozen=True)
class CompletedCheck:
    """A check that was done."""

    name: str
    result: CheckResult


class CheckSkipped(Exception):
    """Raised by a check that is not for here: it is skipped, with this as the reason."""


def ok(found: str) -> CheckResult:
    """It is as it should be."""
    return CheckResult(CheckState.OK, found)


def warning(found: str, remedy: str) -> CheckResult:
    """It works, but something should be done."""
    return CheckResult(CheckState.WARNING, found, remedy)


def failed(found: str, remedy: str) -> CheckResult:
    """It does not work."""
    return CheckResult(CheckState.FAILED, found, remedy)


def skipped(reason: str) -> CheckResult:
    """It was not looked at, for a reason."""
    return CheckResult(CheckState.SKIPPED, reason)


def amount(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB"):
        if count < 1_000:  # noqa: PLR2004 - to the next unit
            return f"{count:.0f} {unit}"
        count /= 1_000
    return f"{count:,.1f} GB"
