"""The gate: the one definition of a valid selection, for every entrance and for what the tables accept.

Three things can become of a row. It is rejected if it says no instant within the accepted years. It is set aside if its
instant is ahead of the clock. Otherwise it is accepted: a field that is broken becomes unknown, with the reason, and
never takes the row with it. Only the standard library is used, because a router imports this.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from http import HTTPStatus
from typing import Any

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
"""Valid instants are from the first to before the second."""

CLOCK_SKEW = timedelta(minutes=60)
"""How far ahead of the clock an instant may be unless the settings say otherwise."""

LARGEST_AMOUNT = 1e12
"""Above every plausible duration in ms or cost in USD."""
UNIT_BUCKETS = 64
"""Buckets into which the units of a split, such as users, are hashed: they are counted from 0."""

LARGEST_COUNT = 1_000_000_000
"""Above every plausible number of tokens of a call; nine billion such calls add up within 64 bits."""

TEXT_LENGTH = 200
"""Longest name or request id; a longer one is a payload in the wrong column."""

UNKNOWN_MODEL = "unknown"
"""The model of a selection whose model is not said, or not readable."""


class Kind(Enum):
    """How a field's value is read."""

    INSTANT = "instant"
    IDENTIFIER = "identifier"
    NAME = "name"
    AMOUNT = "amount"
    SHARE = "share"
    COUNT = "count"
    BUCKET = "bucket"
    FLAG = "flag"
    FAILURE = "failure"


FIELDS: dict[str, Kind] = {
    "request_id": Kind.IDENTIFIER,
    "timestamp": Kind.INSTANT,
    "model_id": Kind.NAME,
    "response_time_ms": Kind.AMOUNT,
    "complexity": Kind.NAME,
    "cost_usd": Kind.AMOUNT,
    "cache_hit": Kind.FLAG,
    "accuracy": Kind.SHARE,
    "user_satisfaction": Kind.SHARE,
    "error": Kind.FAILURE,
    "error_type": Kind.NAME,
    "prompt_tokens": Kind.COUNT,
    "completion_tokens": Kind.COUNT,
    "team": Kind.NAME,
    "experiment": Kind.NAME,
    "arm": Kind.NAME,
    "unit_bucket": Kind.BUCKET,
}
"""The fields of a selection that a router or a source says. Only `timestamp` is required."""

BOUNDS: dict[Kind, tuple[float, float]] = {
    Kind.AMOUNT: (0, LARGEST_AMOUNT),
    Kind.SHARE: (0, 1),
    Kind.COUNT: (0, LARGEST_COUNT),
    Kind.BUCKET: (0, UNIT_BUCKETS - 1),
}
"""The smallest and the largest valid number of a kind."""

WHOLE = (Kind.COUNT, Kind.BUCKET)
"""The kinds whose numbers are whole."""

NOT_A_NUMBER = "is not a number"
NOT_FINITE = "is not finite"
NEGATIVE = "is negative"
NOT_A_SHARE = "is outside 0 to 1"
NOT_WHOLE = "is not a whole number"
NOT_A_FLAG = "is neither true nor false"
NOT_A_FAILURE = "says neither that the call failed nor that it did not"
NOT_TEXT = "is not text"
TOO_LONG = f"is longer than {TEXT_LENGTH} characters"
CONTROL_CHARACTERS = "contains control characters"
WORD_FOR_NOTHING = "is a word for nothing, such as NULL"
GIVEN_TWICE = "is given twice, with different values"
MISSING = "is missing"
NOT_AN_INSTANT = "is not an instant with an offset"
OUTSIDE_YEARS = f"lies outside the years {EARLIEST.year} to {LATEST.year - 1}"
AHEAD = "is ahead of the clock"
"""Reasons, each after the name of its field. They are few and fixed, so that counts by reason stay small."""

NOTHING = frozenset(
    ("null", "none", "nan", "nat", "n/a", "#n/a", "<na>", "nil", "undefined", r"\n", "(null)", "-nan", "1.#qnan")
)
"""Words, in lower case, that programs write where there is no value."""


def above(kind: Kind) -> str:
    """The reason for a number above the kind's bound."""
    return f"is above {BOUNDS[kind][1]:g}"


@dataclass(frozen=True)
class AcceptedSelection:
    """A row as the table accepts it, with every field of FIELDS.

    `unknown` has the fields that were given but are not readable, with the reason of each. `set_aside` is the reason
    why the row must not be counted now, or None.
    """

    row: dict[str, Any]
    unknown: dict[str, str] = field(default_factory=dict)
    set_aside: str | None = None

    @property
    def reasons(self) -> list[str]:
        """The unreadable fields, each with its reason, in one text each."""
        return [f"{name} {reason}" for name, reason in self.unknown.items()]


class RejectedSelection(ValueError):
    """A row without which there is nothing to count: it says no valid instant. `is_error` is whether it failed."""

    def __init__(self, field_name: str, reason: str, *, is_error: bool = False) -> None:
        super().__init__(f"{field_name} {reason}")
        self.field, self.reason, self.is_error = field_name, reason, is_error


def latest_instant(now: datetime, skew: timedelta = CLOCK_SKEW) -> datetime:
    """The latest instant that is not ahead of the clock."""
    return min(now + skew, LATEST - timedelta(microseconds=1))


def accept(given: Mapping[str, Any], latest: datetime) -> AcceptedSelection:
    """Accept a row, or set it aside if it is later than `latest`. Missing fields are unknown, and so is None.

    Raises RejectedSelection. Nothing that a value may be raises anything else.
    """
    row: dict[str, Any] = {}
    unknown: dict[str, str] = {}
    for name, kind in FIELDS.items():
        row[name], reason = read_field(kind, given.get(name))
        if reason is not None:
            unknown[name] = reason
    if row["error"] is None:
        row["error"] = row["error_type"] is not None or unknown.get("error_type", NOT_TEXT) not in _SAYS_NOTHING
    if row["model_id"] is None:
        row["model_id"] = UNKNOWN_MODEL
    if row["timestamp"] is None:
        raise RejectedSelection("timestamp", unknown.get("timestamp", MISSING), is_error=row["error"])
    return AcceptedSelection(row, unknown, f"timestamp {AHEAD}" if row["timestamp"] > latest else None)


def read_field(kind: Kind, value: Any) -> tuple[Any, str | None]:
    """The value as it is stored, None if it is unknown; and the reason if it was given but is not readable."""
    if value is None:
        return None, None
    try:
        return _READERS[kind](_plain(value))
    except Exception:  # noqa: BLE001 - a value may be any object, and one that cannot be read costs no more than itself
        return None, _UNLIKE[kind]


def read_name(text: str) -> tuple[str | None, str | None]:
    """A name in its one form: composed (NFC), without invisible characters and surrounding white space.

    The name and None, or None and the reason why it is not one; two times None for text that is empty.
    """
    if len(text) > _LONGEST_READ:
        return None, TOO_LONG
    cleaned = text if text.isascii() else unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    return _read_text(cleaned.strip(_SPACES))


def read_identifier(text: str) -> tuple[str | None, str | None]:
    """An id without surrounding white space; one that cannot be stored as it is becomes its hash, so that it still
    identifies.
    """
    stripped = text.strip(_SPACES)
    found, reason = _read_text(stripped)
    if reason in (TOO_LONG, CONTROL_CHARACTERS):
        return f"sha256:{hashlib.sha256(stripped.encode('utf-8', 'surrogatepass')).hexdigest()}", reason
    return found, reason


def read_failure(value: Any) -> tuple[bool | None, str | None]:
    """Whether the call failed, as a router says it: a flag, an HTTP status, an exception, or words for either.

    None and the reason for what says neither, or both. Unreadable words are no good news, and no bad news either.
    """
    if isinstance(value, bool):
        return value, None
    if isinstance(value, BaseException):
        return True, None
    if value != value:  # noqa: PLR0124 - as the missing value of numpy
        return None, WORD_FOR_NOTHING
    failed: bool | None = None
    if isinstance(value, int | float | Decimal):
        failed = _failure_by_number(value)
    elif isinstance(value, str):
        said = " ".join(_INVISIBLE.sub("", value[:_LONGEST_READ]).lower().split()).strip(" .!\"'")
        if not said or said in NOTHING:
            return None, WORD_FOR_NOTHING if said else None
        failed = _failure_by_words(said)
    return failed, NOT_A_FAILURE if failed is None else None


def epoch_fault(number: float, per_second: int) -> str:
    """Why a number is not a valid instant, with the unit that it would be one in, if there is such a unit."""
    units = [
        f"{name} it would be {instant:%Y-%m-%d}"
        for name, each in _UNITS.items()
        if each != per_second and (instant := _since_1970(number / each)) is not None
    ]
    return OUTSIDE_YEARS + (f"; in {units[0]}, but ms are expected" if units else "")


# ----------------------------------------------------------------------------------------------------------------------

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"seconds": 1, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}

_LONGEST_READ = 10_000
"""Characters up to which a text is cleaned before it is measured."""

_SPACES = "".join(chr(code) for code in (*range(0x09, 0x0E), *range(0x1C, 0x21), 0x85, 0xA0, 0x1680,
                                         *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000))  # fmt: skip

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
"""What Unicode lets programs ignore: zero-width characters, byte order marks, bidirectional controls, and the like."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_SAYS_NOTHING = (WORD_FOR_NOTHING, NOT_TEXT)


TRUE, FALSE = ("true", "t", "1", "yes", "y", "on"), ("false", "f", "0", "no", "n", "off")
"""Words for a flag, in lower case."""

_SUCCESSES = frozenset(
    (*FALSE, "ok", "okay", "success", "successful", "succeeded", "passed", "completed", "stop", "not failed",
     "no failure", "no error", "no errors", "no_error", "noerror", "error-free")
)  # fmt: skip
_FAILED = (
    r"(?:fail(?!over|[ -]?safe)|error|exception|traceback|unsuccessful|time[ds]?[ _-]?out|cancell?ed|abort|refused"
    r"|rejected|denied|forbidden|unauthori[sz]ed|unavailable|unreachable|overload|rate[ _-]?limit|quota|exceeded|crash"
    r"|panic|fatal|disconnect|reset by peer|hung up|too many requests|bad (?:request|gateway)|out of memory|oom|killed"
    r"|not (?:found|available|authori[sz]ed|allowed|implemented|responding|reachable|ok|successful)"
    r"|no (?:response|answer|capacity|connection)|unable to|cannot|can't|could not|couldn't)"
)
_NAMES_FAILURE = re.compile(_FAILED)
_NAMES_SUCCESS = re.compile(r"(?<!not )\b(?:ok|okay|success|successful|succeeded|recovered|resolved)\b")
_DENIES_FAILURE = re.compile(
    rf"\b(?:no|not|non|never|without|zero|0)[ _-]+(?:[a-z]+[ _-]+){{0,2}}{_FAILED}|{_FAILED}[ -]?free"
    # As in "error: none", or in a counter.
    rf"|{_FAILED}\w*[\"']?(?: (?:count|code|type|message))? *[:=]"
    r" *[\"']?(?:[0-9.]+|false|no|none|null|nil|nan|ok|$)(?!\w)"
)
_STATUS = re.compile(
    r"(?:https?(?:/[0-9](?:\.[0-9])?)?|status|status[ _-]?code|code)?[ :=_-]*([1-5][0-9][0-9])(?![0-9.])[ :,-]*(.*)"
)
_NUMBER = re.compile(r"[0-9]{1,3}(?:\.0*)?")
_FIRST_FAILED_STATUS = 400
_PHRASES = {it.value: it.phrase.lower() for it in HTTPStatus}


def _failure_by_number(number: Any) -> bool | None:
    """By a flag of 0 or 1, or an HTTP status."""
    if number in (0, 1):
        return bool(number)
    is_status = number >= min(_PHRASES) and number < 600 and number == int(number)  # noqa: PLR2004 - beyond the last status
    return number >= _FIRST_FAILED_STATUS if is_status else None


def _failure_by_words(said: str) -> bool | None:
    """As `read_failure`, of words in lower case with single spaces."""
    if said in TRUE:
        return True
    if said in _SUCCESSES:
        return False
    if _NUMBER.fullmatch(said):
        return _failure_by_number(float(said))
    names_failure = _NAMES_FAILURE.search(said) is not None
    if status := _STATUS.fullmatch(said):
        number, phrase = int(status[1]), status[2]
        is_failure = number >= _FIRST_FAILED_STATUS
        is_plain = not phrase or phrase == _PHRASES.get(number) or (names_failure and is_failure)
        return is_failure if is_plain else None
    if not names_failure or _DENIES_FAILURE.search(said) or _NAMES_SUCCESS.search(said):
        return None
    return True


def _since_1970(seconds: float) -> datetime | None:
    try:
        instant = EPOCH + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        return None
    return instant if EARLIEST <= instant < LATEST else None


def _plain(value: Any) -> Any:
    """A scalar of numpy, or of a library that builds on it, as Python's own."""
    return value.item() if type(value).__module__.partition(".")[0] == "numpy" else value


def _read_text(text: str) -> tuple[str | None, str | None]:
    if not text:
        return None, None
    if len(text) > TEXT_LENGTH:
        return None, TOO_LONG
    if _CONTROL.search(text):
        return None, CONTROL_CHARACTERS
    return (None, WORD_FOR_NOTHING) if text.lower() in NOTHING else (text, None)


def _reader_of_texts(read: Callable[[str], tuple[str | None, str | None]]) -> Callable[[Any], tuple[Any, str | None]]:
    def read_value(value: Any) -> tuple[Any, str | None]:
        if isinstance(value, str):
            return read(str(value))
        # A team or an id may be a number.
        return read(str(value)) if isinstance(value, int) and not isinstance(value, bool) else (None, NOT_TEXT)

    return read_value


def _read_flag(value: Any) -> tuple[Any, str | None]:
    return (value, None) if isinstance(value, bool) else (None, NOT_A_FLAG)


def _read_instant(value: Any) -> tuple[Any, str | None]:
    # The missing instant of pandas is a datetime, and does not equal itself.
    if not isinstance(value, datetime) or value != value or value.utcoffset() is None:  # noqa: PLR0124
        return None, NOT_AN_INSTANT
    try:
        instant = datetime.fromisoformat(value.isoformat()).astimezone(UTC)
    except (OverflowError, ValueError):
        return None, OUTSIDE_YEARS
    return (instant, None) if EARLIEST <= instant < LATEST else (None, OUTSIDE_YEARS)


def _reader_of_numbers(kind: Kind) -> Callable[[Any], tuple[Any, str | None]]:
    low, high = BOUNDS[kind]

    def read(value: Any) -> tuple[Any, str | None]:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            return None, NOT_A_NUMBER
        if not isinstance(value, int) and not math.isfinite(value):
            return None, NOT_A_NUMBER if math.isnan(value) else NOT_FINITE
        if value < low or value > high:
            outside = NEGATIVE if value < low else above(kind)
            return None, NOT_A_SHARE if kind is Kind.SHARE else outside
        if kind not in WHOLE:
            return float(value), None
        return (int(value), None) if value == int(value) else (None, NOT_WHOLE)

    return read


_READERS: dict[Kind, Callable[[Any], tuple[Any, str | None]]] = {
    Kind.INSTANT: _read_instant,
    Kind.IDENTIFIER: _reader_of_texts(read_identifier),
    Kind.NAME: _reader_of_texts(read_name),
    Kind.FLAG: _read_flag,
    Kind.FAILURE: read_failure,
    **{kind: _reader_of_numbers(kind) for kind in BOUNDS},
}

_UNLIKE = {
    Kind.INSTANT: NOT_AN_INSTANT,
    Kind.IDENTIFIER: NOT_TEXT,
    Kind.NAME: NOT_TEXT,
    Kind.FLAG: NOT_A_FLAG,
    Kind.FAILURE: NOT_A_FAILURE,
    **dict.fromkeys(BOUNDS, NOT_A_NUMBER),
}
