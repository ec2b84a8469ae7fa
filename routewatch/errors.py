"""The errors that the router's client raises, and the bases of the others (models.errors)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class RoutewatchError(Exception):
    """Base of all errors that Routewatch raises on purpose; `exit_status` is the command line's exit status."""

    exit_status = 1


class UsageError(RoutewatchError):
    """The call itself was wrong (an argument, a settings file): exit status 2."""

    exit_status = 2


@dataclass(frozen=True)
class Fault:
    """One fault at one path of an input."""

    path: str
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


class SettingsError(UsageError):
    """Every fault of the settings, each with its path, in the order of the file."""

    def __init__(self, source: str, faults: Sequence[Fault]) -> None:
        self.source = source
        self.faults = tuple(faults)
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__(f"{source} has {count}: " + "; ".join(map(str, faults)))


class DatabaseUnavailable(RoutewatchError):
    """The database could not be reached or used. The address is shown without its password.

    `advice` is what to do about this cause, a sentence without its full stop. `is_forbidden`: the database can be used,
    but not for this, as a right is missing or it is read-only.
    """

    def __init__(
        self, address: str, cause: str, advice: str = "Check ROUTEWATCH_DATABASE_URL", *, is_forbidden: bool = False
    ) -> None:
        self.address = address
        self.cause = cause
        self.advice = advice
        self.is_forbidden = is_forbidden
        super().__init__(f"cannot use the database {address}: {cause}. {advice}")
