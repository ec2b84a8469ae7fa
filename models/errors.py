"""One family of errors: each carries its data and says what was found, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from routewatch.errors import DatabaseUnavailable, Fault, RoutewatchError, SettingsError, UsageError

__all__ = [
    "ConfigConflict",
    "DatabaseUnavailable",
    "DeliveryFailed",
    "DeliveryUncertain",
    "Fault",
    "InvalidMapping",
    "InvalidPeriod",
    "OptimizerStopped",
    "PasswordNeeded",
    "RollupsBusy",
    "RoutewatchError",
    "SchemaOutdated",
    "SettingsError",
    "SourceUnavailable",
    "TokensNeeded",
    "UnknownDelivery",
    "UnknownOptimization",
    "UnknownSilence",
    "UnreadableArchive",
    "UnreadableInput",
    "UsageError",
]


class SchemaOutdated(RoutewatchError):
    """The database lacks Routewatch's tables, or has them at another revision than this program's.

    Revisions are numbered: a higher one than this program's was made by a newer Routewatch.
    """

    def __init__(self, address: str, found: str | None, expected: str) -> None:
        self.found = found
        self.expected = expected
        self.is_newer = found is not None and found > expected
        self.remedy = (
            "upgrade Routewatch, as a newer one made these tables" if self.is_newer else "run `routewatch init`"
        )
        state = "has no Routewatch tables" if found is None else f"is at revision {found}"
        super().__init__(f"the database {address} {state}, revision {expected} is needed: {self.remedy}")


class RollupsBusy(RoutewatchError):
    """All rollups were to be made anew, but each time what they are made of was changed meanwhile."""

    def __init__(self, tries: int) -> None:
        self.tries = tries
        super().__init__(
            f"the rollups could not be made anew: selections were changed during each of {tries} tries. "
            "They are as they were; try again when less is being changed"
        )


class UnreadableInput(RoutewatchError):
    """A file that as a whole cannot be read as what it claims to be; nothing of it was stored."""

    def __init__(self, path: str, found: str, expected: str) -> None:
        self.path = path
        self.found = found
        self.expected = expected
        super().__init__(f"{path}: {found}; expected {expected}. Nothing was stored")


class UnreadableArchive(RoutewatchError):
    """A file of the archive that cannot be read; the rollups of its days were left as they are."""

    def __init__(self, path: str, cause: str) -> None:
        self.path = path
        self.cause = cause
        super().__init__(
            f"the archive's file {path} cannot be read: {cause}. Put a copy of it in its place, or move it out of the "
            "archive: days that then lack rows are left as they are"
        )


class InvalidMapping(UsageError):
    """A mapping file with faults, all of them at once."""

    def __init__(self, source: str, faults: Sequence[Fault]) -> None:
        self.source = source
        self.faults = tuple(faults)
        super().__init__(f"{source}: " + "; ".join(map(str, faults)))


class InvalidPeriod(UsageError):
    """A time or period that cannot be meant."""


class ConfigConflict(RoutewatchError):
    """A config key changed hands between reading and writing: the other writer wins."""

    def __init__(self, key: str, expected_version: int, found_version: int | None) -> None:
        self.key = key
        self.expected_version = expected_version
        self.found_version = found_version
        found = "gone" if found_version is None else f"at version {found_version}"
        super().__init__(f"config key {key} is {found}, version {expected_version} was expected: nothing was changed")


class DeliveryFailed(RoutewatchError):
    """A send that was not accepted. `permanent` tells whether trying again can help.

    `retry_after_s` is what the other side asked for, in seconds, where it did.
    """

    def __init__(self, recipient: str, answer: str, *, permanent: bool, retry_after_s: float | None = None) -> None:
        self.recipient = recipient
        self.answer = answer
        self.permanent = permanent
        self.retry_after_s = retry_after_s
        kind = "refused" if permanent else "not accepted for now"
        super().__init__(f"{recipient}: {kind}: {answer}")


class DeliveryUncertain(RoutewatchError):
    """A send whose answer was lost after all of it was handed over: it may have arrived."""

    def __init__(self, recipient: str, answer: str) -> None:
        self.recipient = recipient
        self.answer = answer
        super().__init__(f"{recipient}: may have arrived, the answer was lost: {answer}")


class UnknownDelivery(UsageError):
    """A delivery that is not there, or is in no state to be sent again."""

    def __init__(self, delivery_id: int, found: str) -> None:
        self.delivery_id = delivery_id
        self.found = found
        super().__init__(f"delivery {delivery_id} {found}; `routewatch deliveries list` shows them all")


class UnknownSilence(UsageError):
    """A silence of alerts that is not there, or is over."""

    def __init__(self, silence_id: int, found: str) -> None:
        self.silence_id = silence_id
        self.found = found
        super().__init__(f"silence {silence_id} {found}; `routewatch alerts silences` shows them all")


class UnknownOptimization(UsageError):
    """An optimization that is not there, or is in no state for what was asked."""

    def __init__(self, optimization_id: int, found: str) -> None:
        self.optimization_id = optimization_id
        self.found = found
        super().__init__(f"optimization {optimization_id} {found}; `routewatch optimizations list` shows them all")


class OptimizerStopped(UsageError):
    """The config was to be changed while the optimizer is stopped or off."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"nothing was changed: {why}")


class TokensNeeded(UsageError):
    """The HTTP interface was to listen where others can reach it, with nothing to tell who may use it."""

    def __init__(self, host: str) -> None:
        self.host = host
        super().__init__(
            f"the page would be open to everybody who reaches {host}: without tokens it listens on 127.0.0.1 alone. "
            "Set ROUTEWATCH_TOKENS (docs/api.md) or leave the address as it is"
        )


class SourceUnavailable(RoutewatchError):
    """A source could not be reached or does not answer as it should. Its address is shown without secrets."""

    def __init__(self, source: str, cause: str, advice: str) -> None:
        self.source = source
        self.cause = cause
        super().__init__(f"cannot pull from {source}: {cause}. {advice}")


class PasswordNeeded(UsageError):
    """The Prefect server was to listen where others can reach it, without a password."""

    def __init__(self, host: str) -> None:
        self.host = host
        super().__init__(
            f"the Prefect UI would be open to everybody who reaches {host}: without a password it listens on 127.0.0.1 "
            "alone. Set PREFECT_SERVER_API_AUTH_STRING=user:password (docs/operations.md) or leave the address as it is"
        )
