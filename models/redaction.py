"""Redact the environment's secrets from a text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote, urlsplit

REDACTED = "…"

SHORTEST = 4
"""Shortest redacted secret in characters: a shorter one would match in every text."""

_WHOLE = ("ROUTEWATCH_SMTP_PASSWORD", "PREFECT_API_KEY")
_SIGNING = "whsec_"


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Every secret in the variables, valid or not, the longest first: one may contain another."""
    found = {word for word in _secrets(environment) if len(word) >= SHORTEST}
    return tuple(sorted(found, key=lambda word: (-len(word), word)))


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with an ellipsis in place of each of the secrets."""
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    return text


# ----------------------------------------------------------------------------------------------------------------------


def _secrets(environment: Mapping[str, str]) -> Iterator[str]:
    for name in _WHOLE:
        yield environment.get(name, "").strip()
    for secret in environment.get("ROUTEWATCH_WEBHOOK_SECRET", "").split():
        yield secret
        yield secret.removeprefix(_SIGNING)
    for entry in environment.get("ROUTEWATCH_TOKENS", "").split():
        # name:scopes:secret, also if it is malformed.
        yield from entry.split(":")[2:3] or [entry]
    for name in ("PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING"):
        yield environment.get(name, "").partition(":")[2]
    for name in ("ROUTEWATCH_DATABASE_URL", "PREFECT_API_DATABASE_CONNECTION_URL"):
        yield from _password_of(environment.get(name, ""))


def _password_of(url: str) -> Iterator[str]:
    try:
        password = urlsplit(url).password or ""
    except ValueError:
        return
    yield password
    yield unquote(password)
