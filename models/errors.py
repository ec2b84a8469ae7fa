"""Errors of Routewatch: each carries its data and states what was found, what was expected and what to do."""

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
    "MailTooLarge",
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

    Revisions are numbered: a newer Routewatch made a higher one than this program's.
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
    """A rebuild of all rollups failed, because selections were changed during each attempt."""

    def __init__(self, tries: int) -> None:
        self.tries = tries
        super().__init__(
            f"the rollups could not be rebuilt: selections were changed during each of {tries} tries. "
            "The rollups are unchanged; try again when less is being changed"
        )


class UnreadableInput(RoutewatchError):
    """A file that cannot be read in its format; nothing of it was stored."""

    def __init__(self, path: str, found: str, expected: str) -> None:
        self.path = path
        self.found = found
        self.expected = expected
        super().__init__(f"{path}: {found}; expected {expected}. Nothing was stored")


class UnreadableArchive(RoutewatchError):
    """An unreadable archive file; the rollups of its days stay unchanged."""

    def __init__(self, path: str, cause: str) -> None:
        self.path = path
        self.cause = cause
        super().__init__(
            f"the archive's file {path} cannot be read: {cause}. Replace it with a copy, or move it out of the "
            "archive: the rollups of days that then lack rows stay unchanged"
        )


class InvalidMapping(UsageError):
    """A mapping file with faults, all of them at once."""

    def __init__(self, source: str, faults: Sequence[Fault]) -> None:
        self.source = source
        self.faults = tuple(faults)
        super().__init__(f"{source}: " + "; ".join(map(str, faults)))


class InvalidPeriod(UsageError):
    """An invalid time or period."""


class ConfigConflict(RoutewatchError):
    """Another writer changed a config key between reading and writing; nothing was written."""

    def __init__(
        self, key: str, expected_version: int, found_version: int | None, found_value: str | None = None
    ) -> None:
        self.key = key
        self.expected_version = expected_version
        self.found_version = found_version
        found = found_value or ("gone" if found_version is None else f"at version {found_version}")
        super().__init__(f"config key {key} is {found}, version {expected_version} was expected: nothing was changed")


class DeliveryFailed(RoutewatchError):
    """A send that was not accepted. `permanent` means that trying again cannot help.

    `retry_after_s` is the wait in seconds that the receiver asked for, if any.
    """

    def __init__(self, recipient: str, answer: str, *, permanent: bool, retry_after_s: float | None = None) -> None:
        self.recipient = recipient
        self.answer = answer
        self.permanent = permanent
        self.retry_after_s = retry_after_s
        kind = "refused" if permanent else "not accepted for now"
        super().__init__(f"{recipient}: {kind}: {answer}")


class MailTooLarge(DeliveryFailed):
    """A mail that is larger than the server takes; a smaller one may be accepted."""

    def __init__(self, recipient: str, answer: str) -> None:
        super().__init__(recipient, answer, permanent=True)


class DeliveryUncertain(RoutewatchError):
    """A send whose response was lost after all of it was transmitted: it may have arrived."""

    def __init__(self, recipient: str, answer: str) -> None:
        self.recipient = recipient
        self.answer = answer
        super().__init__(f"{recipient}: may have arrived, the answer was lost: {answer}")


class UnknownDelivery(UsageError):
    """A delivery that does not exist, or whose state does not allow a retry."""

    def __init__(self, delivery_id: int, found: str) -> None:
        self.delivery_id = delivery_id
        self.found = found
        super().__init__(f"delivery {delivery_id} {found}; `routewatch deliveries list` shows them all")


class UnknownSilence(UsageError):
    """A silence of alerts that does not exist or has ended."""

    def __init__(self, silence_id: int, found: str) -> None:
        self.silence_id = silence_id
        self.found = found
        super().__init__(f"silence {silence_id} {found}; `routewatch alerts silences` shows them all")


class UnknownOptimization(UsageError):
    """An optimization that does not exist, or whose state does not allow the request."""

    def __init__(self, optimization_id: int, found: str) -> None:
        self.optimization_id = optimization_id
        self.found = found
        super().__init__(f"optimization {optimization_id} {found}; `routewatch optimizations list` shows them all")


class OptimizerStopped(UsageError):
    """A config change was requested while the optimizer is stopped or off."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"nothing was changed: {why}")


class TokensNeeded(UsageError):
    """The HTTP interface would listen on a public address without access tokens."""

    def __init__(self, host: str) -> None:
        self.host = host
        super().__init__(
            f"the page would be open to everybody who reaches {host}: without tokens it listens on 127.0.0.1 alone. "
            "Set ROUTEWATCH_TOKENS (docs/api.md) or leave the address as it is"
        )


class SourceUnavailable(RoutewatchError):
    """A source could not be reached or gave an invalid response. Its address is shown without secrets."""

    def __init__(self, source: str, cause: str, advice: str) -> None:
        self.source = source
        self.cause = cause
        super().__init__(f"cannot pull from {source}: {cause}. {advice}")


class PasswordNeeded(UsageError):
    """The Prefect server would listen on a public address without a password."""

    def __init__(self, host: str) -> None:
        self.host = host
        super().__init__(
            f"the Prefect UI would be open to everybody who reaches {host}: without a password it listens on 127.0.0.1 "
            "alone. Set PREFECT_SERVER_API_AUTH_STRING=user:password (docs/operations.md) or leave the address as it is"
        )
