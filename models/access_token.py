"""Access tokens of the HTTP interface with scopes and expiry. A token's secret is in no repr and no error."""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum

SHORTEST_SECRET = 16
"""Characters; so many random ones cannot be guessed."""

EXAMPLE = "name:read+write:secret or name:admin:secret:2027-12-31"


class Scope(StrEnum):
    """What a token permits: writing selections, reading, or deciding. `admin` includes the other two."""

    WRITE = "write"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True)
class Token:
    """One token. `last_day` is its last valid day in UTC; None: no expiry."""

    name: str
    scopes: frozenset[Scope]
    secret: str = field(repr=False)
    last_day: date | None = None

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def is_over(self, now: datetime) -> bool:
        return self.last_day is not None and now.astimezone(UTC).date() > self.last_day


def parse_tokens(text: str) -> tuple[Token, ...]:
    """Parse space-separated tokens, each as EXAMPLE shows. Raises ValueError without any secret."""
    tokens = tuple(_token(number, entry) for number, entry in enumerate(text.split(), start=1))
    for what, values in (("name", [it.name for it in tokens]), ("secret", [it.secret for it in tokens])):
        if len(set(values)) < len(values):
            raise ValueError(f"two tokens have the same {what}: each needs one of its own")
    return tokens


def token_of(tokens: Collection[Token], secret: str) -> Token | None:
    """Find the token with a secret, in constant time."""
    given = secret.encode()
    matching = [token for token in tokens if hmac.compare_digest(token.secret.encode(), given)]
    return matching[0] if matching else None


# ----------------------------------------------------------------------------------------------------------------------


def _token(number: int, entry: str) -> Token:
    written = re.fullmatch(r"([\w.@-]{1,100}):([^:]*):([^:]*)(?::([^:]*))?", entry)
    if written is None:
        raise ValueError(f"token {number} is not written as {EXAMPLE}")
    name, scopes, secret, last_day = written.groups()
    if not set(scopes.split("+")) <= set(Scope):
        raise ValueError(f"token {number} ({name}) has no scopes such as {'+'.join(Scope)}")
    if len(secret) < SHORTEST_SECRET or not secret.isascii():
        raise ValueError(
            f"token {number} ({name}) has a secret of {len(secret)} characters; it needs {SHORTEST_SECRET} or more, "
            "all of them ASCII: `openssl rand -hex 24` makes one"
        )
    return Token(name, frozenset(map(Scope, scopes.split("+"))), secret, _last_day(number, name, last_day))


def _last_day(number: int, name: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"token {number} ({name}) is good until no date such as 2027-12-31") from None
