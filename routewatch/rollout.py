"""Assign requests to the arms of a rollout by a keyed hash, so that no router has to remember who got what.

The value of the config key `rollout.CLASS` says all that the hash needs:
{"candidate": model, "percent": 5, "salt": text, "by": "request" or "user", "experiment": name}. With
digest = HMAC-SHA256(key = salt, message = unit), both in UTF-8, where the unit is the id of the request or the user:

- n is the number of the digest's first four bytes, the first the highest. The unit is a candidate if and only if
  n * 100 < percent * 2**32. A greater percentage adds candidates and never takes one back.
- The unit bucket is the fifth byte modulo 64. It is recorded where users are split, and says nothing of the arm.

Only the standard library is used, because a router imports this.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from routewatch.gate import TEXT_LENGTH, UNIT_BUCKETS, read_name

ROLLOUT_PREFIX, ROUTING_PREFIX = "rollout.", "routing."
"""Prefixes of the config keys that name a complexity class's rollout and its model."""

BASELINE, CANDIDATE = "baseline", "candidate"
ALL_PERCENT = 100

_HALVES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Assignment:
    """To what a request was assigned. `model` is None where the router's own default holds.

    Without an `experiment` the request is in no arm: there is no rollout of its class, or it cannot be read.
    """

    model: str | None = None
    experiment: str | None = None
    arm: str | None = None
    unit_bucket: int | None = None


@dataclass(frozen=True)
class RequestSplit:
    """A readable value of `rollout.CLASS`."""

    candidate: str
    percent: float
    salt: str
    by: Literal["request", "user"]
    experiment: str

    def assign(self, unit: str, baseline: str | None = None) -> Assignment:
        """The arm of a unit: a request, or a user with all requests. `baseline` is the model of the other arm."""
        digest = hmac.digest(self.salt.encode(), utf_8(unit), sha256)
        is_candidate = int.from_bytes(digest[:4], "big") * ALL_PERCENT < self.percent * 2**32
        return Assignment(
            self.candidate if is_candidate else baseline,
            self.experiment,
            CANDIDATE if is_candidate else BASELINE,
            digest[4] % UNIT_BUCKETS if self.by == "user" else None,
        )


def read_rollout(value: Any) -> RequestSplit | None:
    """A value of `rollout.CLASS`; None if it is null, which ends a rollout. Raises ValueError saying what is wrong."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        found = type(value).__name__
        raise ValueError(f"it is {found}, not an object with candidate, percent, salt, by and experiment")  # noqa: TRY004
    percent, by = value.get("percent"), value.get("by")
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= ALL_PERCENT:
        raise ValueError("its percent is not a number from 0 to 100")
    if by not in ("request", "user"):
        raise ValueError('its by is neither "request" nor "user"')
    names = {}
    for name in ("candidate", "experiment"):
        text = value.get(name)
        names[name] = read_name(text)[0] if isinstance(text, str) else None
    salt = value.get("salt")
    unread = [name for name, text in names.items() if text is None]
    if not isinstance(salt, str) or not salt or len(salt) > TEXT_LENGTH or _HALVES.search(salt):
        unread.append("salt")
    if unread:
        raise ValueError(f"its {' and '.join(unread)} cannot be read: expected text of 1 to {TEXT_LENGTH} characters")
    return RequestSplit(str(names["candidate"]), float(percent), str(salt), by, str(names["experiment"]))


def utf_8(text: str) -> bytes:
    """The bytes of a text, with the replacement character for half of one, as in other languages."""
    return _HALVES.sub("\ufffd", text).encode()


# ----------------------------------------------------------------------------------------------------------------------

HASH_IN_WORDS = (
    "digest = HMAC-SHA256(key: salt, message: unit), both as UTF-8. The unit is the request's id where `by` is request,"
    " and the user's id where it is user. n is the number of the digest's first 4 bytes, big-endian. The unit is a"
    " candidate if n * 100 < percent * 4294967296, else it is of the baseline. Record `experiment`, and `arm` as"
    " candidate or baseline, whatever serves the request in the end. Where `by` is user, record `unit_bucket` as the"
    " digest's 5th byte modulo 64."
)

EXAMPLE_SALT = "0123456789abcdef"
EXAMPLE_UNITS = ("", "user-1", "user-2", "user-3", "caf\u00e9", "req-0001")
"""Of what hash_examples are made."""


@dataclass(frozen=True)
class HashExample:
    """What the hash gives for a salt and a unit. The unit is a candidate from `candidate_above` percent on."""

    salt: str
    unit: str
    digest: str
    n: int
    candidate_above: float
    unit_bucket: int


def hash_examples() -> tuple[HashExample, ...]:
    """Values by which a router in any language checks its own hash."""
    examples = []
    for unit in EXAMPLE_UNITS:
        digest = hmac.digest(EXAMPLE_SALT.encode(), utf_8(unit), sha256)
        n = int.from_bytes(digest[:4], "big")
        examples.append(
            HashExample(EXAMPLE_SALT, unit, digest.hex(), n, n * ALL_PERCENT / 2**32, digest[4] % UNIT_BUCKETS)
        )
    return tuple(examples)
