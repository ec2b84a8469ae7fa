"""Values of the router's config as its table holds them: whoever writes there may write anything.

A value is readable if every reader of JSON takes it: text that is JSON, finite numbers of 64 bits, strings that have a
UTF-8 form. Any other is told as unreadable, with what was found, and touches no other key.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LARGEST_VERSION = 1_000_000_000
_LARGEST_INTEGER = 2**63 - 1
_DEEPEST = 32
"""Most lists and objects within one another: far below where readers of JSON give up."""

LONGEST_SHOWN = 80


class Unreadable(ValueError):
    """Why a value cannot be read, as the rest of a sentence about it."""


@dataclass(frozen=True)
class Setting:
    """One key of the router's config, as read."""

    value: Any
    version: int


@dataclass(frozen=True)
class UnreadableSetting:
    """A key of the router's config that cannot be read. `found` is safe to show; `reason` ends a sentence about it."""

    key: str
    found: str
    reason: str

    def __str__(self) -> str:
        return f"{shown(self.key)} is unreadable: {self.found} {self.reason} ({self.remedy})"

    @property
    def remedy(self) -> str:
        """What to do."""
        if self.key.isprintable():
            return f"`routewatch config set {self.key} VALUE` replaces it"
        return "delete the row in the table config, and set the key anew"


ConfigContent = Setting | UnreadableSetting


def decode(raw: Any) -> Any:
    """Return the value that a row holds, from what the database returns for it without any conversion.

    `raw` is text, bytes or a number. Raises Unreadable.
    """
    if raw is None:
        raise Unreadable("is NULL, not a value")
    if isinstance(raw, bytes | str):
        raw = _parsed(raw)
    check_value(raw)
    return raw


def check_value(value: Any) -> None:
    """Raise Unreadable for a value that not every reader of JSON takes."""
    for part, depth in _parts(value):
        if depth > _DEEPEST:
            raise Unreadable(f"has more than {_DEEPEST} lists and objects within one another")
        if isinstance(part, float) and not math.isfinite(part):
            raise Unreadable("is no finite number")
        if isinstance(part, int) and abs(part) > _LARGEST_INTEGER:
            raise Unreadable("is a number of more than 64 bits")
        if isinstance(part, str) and not is_storable(part):
            raise Unreadable("has a character that no UTF-8 text can hold")


def decode_version(raw: Any) -> int:
    """Return a row's version. Raises Unreadable."""
    if isinstance(raw, bool) or not isinstance(raw, int) or not 0 <= raw <= LARGEST_VERSION:
        raise Unreadable(f"has the version {shown(raw)}, which is no whole number from 0 to {LARGEST_VERSION:,}")
    return raw


def decode_text(raw: Any) -> tuple[str, bool]:
    """Return a text in a form that can be shown, and whether that is the text itself."""
    if isinstance(raw, bytes):
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return repr(raw), False
    else:
        text = str(raw)
    return (text, True) if is_storable(text) else (repr(text), False)


def is_storable(text: str) -> bool:
    """Return whether both databases can hold a text: no NUL, no half of a character."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def shown(value: Any) -> str:
    """Return a value as it can stand in a sentence, cut where it is long."""
    if isinstance(value, bytes):
        value = value[: 4 * LONGEST_SHOWN].decode(errors="replace")
    text = value if isinstance(value, str) else _text_of(value)
    plain = "".join(character if character.isprintable() else "�" for character in text[: LONGEST_SHOWN + 1])
    return plain if len(text) <= LONGEST_SHOWN else f"{plain[: LONGEST_SHOWN - 1]}…"


# ----------------------------------------------------------------------------------------------------------------------


def _parsed(raw: bytes | str) -> Any:
    try:
        return json.loads(raw.decode() if isinstance(raw, bytes) else raw)
    except UnicodeDecodeError:
        raise Unreadable("is not UTF-8") from None
    except RecursionError:
        raise Unreadable(f"has more than {_DEEPEST} lists and objects within one another") from None
    except json.JSONDecodeError:
        raise Unreadable('is not JSON, in which a text stands in quotes ("lru")') from None
    except ValueError:
        raise Unreadable("is a number of more than 64 bits") from None


def _parts(value: Any) -> Iterator[tuple[Any, int]]:
    """Return a value and all that it is made of, each with its depth; without recursion, which has a limit."""
    waiting = [(value, 0)]
    while waiting:
        part, depth = waiting.pop()
        yield part, depth
        if isinstance(part, dict):
            waiting += ((inner, depth + 1) for item in part.items() for inner in item)
        elif isinstance(part, list | tuple):
            waiting += ((inner, depth + 1) for inner in part)


def _text_of(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, TypeError, RecursionError):
        return type(value).__name__
