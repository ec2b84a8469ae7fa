"""Read model calls from single OpenTelemetry spans, in any supported convention."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Any

from models.settings import SourceSettings
from routewatch.gate import TEXT_LENGTH, TRUE, read_failure
from tasks.sources.otel import conventions as names
from tasks.sources.otel.conventions import Role
from tasks.sources.otel.otlp import Group
from tasks.sources.record_parser import Scale, scales_of

Value = str | bool | int | float
Attributes = Mapping[str, Value]
Key = tuple[str, str]
"""A span's trace and its own id, in hex."""

UNIDENTIFIED = "its trace id or span id is empty"


@dataclass(frozen=True, slots=True)
class Score:
    """An evaluation of an answer: of the span `of`, or of the span whose answer has the response id.

    `at` orders several of the same column: the newest takes precedence. `value` is between 0 and 1, or NaN if invalid.
    """

    column: str
    value: float
    at: int
    of: Key | None = None
    response_id: str | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """One span with the data that is used. `row` has the columns of a selection and of its price, for valid calls only.

    `skipped` is the reason why it is not a selection, `fault` why it should be one but is invalid. `said` holds what it
    sets for all spans below it (complexity, team, internal, its arm), `origin` the same from its resource.
    """

    trace: str
    id: str
    parent: str | None
    role: Role
    row: Mapping[str, Any] | None = None
    skipped: str | None = None
    fault: str | None = None
    is_failed_call: bool = False
    """Of a span with a fault: whether it is a model call that failed."""
    response_id: str | None = None
    said: Mapping[str, str] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)
    scores: tuple[Score, ...] = ()

    @property
    def key(self) -> Key:
        return self.trace, self.id

    @property
    def is_identified(self) -> bool:
        return self.fault != UNIDENTIFIED


def request_id_of(trace: str, span: str) -> str:
    """The selection's id, made of trace and span id, which together are unique to every span.

    The response id does not serve: failed calls lack it, two instrumentations of a call share it, and so does an answer
    that a cache returns again.
    """
    return f"otel:{trace}:{span}"


class SpanReader:
    """Read spans, and evaluations beside them, according to a source's settings."""

    def __init__(self, settings: SourceSettings) -> None:
        """Raises InvalidMapping if the settings name an invalid mapping file."""
        self._said_by = {
            "complexity": _either(settings.complexity_key, names.COMPLEXITY),
            "team": _either(settings.team_key, names.TEAM),
            "internal": (names.INTERNAL,),
            "experiment": (names.EXPERIMENT,),
            "arm": (names.ARM,),
            "unit_bucket": (names.UNIT_BUCKET,),
        }
        self._scales = scales_of(settings)
        self._zero_is_free = settings.zero_is_free
        self._wanted = names.ATTRIBUTES.union(*self._said_by.values())

    def wants(self, attribute: str) -> bool:
        """Whether an attribute of this name is read: prompts and answers are neither read nor copied."""
        return attribute in self._wanted or attribute.startswith(names.JUDGED)

    def spans(self, groups: Iterable[Group]) -> Iterator[Span]:
        """The spans of a request that was read by tasks.sources.otel.otlp."""
        for resource, spans in groups:
            origin = self._said(self._attributes(resource.attributes))
            for span in spans:
                yield self._span(span, origin)

    def scores(self, groups: Iterable[Group]) -> Iterator[Score]:
        """The evaluations among the log records of such a request."""
        for _resource, records in groups:
            for record in records:
                of = (record.trace_id.hex(), record.span_id.hex()) if record.trace_id and record.span_id else None
                at = record.time_unix_nano or record.observed_time_unix_nano
                yield from self._score(self._attributes(record.attributes), at, of)

    # ------------------------------------------------------------------------------------------------------------------

    def _span(self, span: Any, origin: Mapping[str, str]) -> Span:
        trace, own, parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        attributes = self._attributes(span.attributes)
        role, skipped = _role(attributes)
        if not _is_id(span.trace_id, _TRACE_BYTES) or not _is_id(span.span_id, _SPAN_BYTES):
            failed = _has_failed(span, attributes) and role.is_call
            return Span(trace, own, None, Role.PLAIN, fault=UNIDENTIFIED, is_failed_call=failed)
        fault = _fault(span) if role.is_call else None
        return Span(
            trace,
            own,
            parent or None,
            # An invalid call must not keep the call around it from being counted.
            role=Role.PLAIN if fault else role,
            row=_row(span, attributes, self._zero_is_free) if role.is_call and not fault else None,
            skipped=skipped,
            fault=fault,
            is_failed_call=fault is not None and _has_failed(span, attributes),
            response_id=_text(attributes, names.RESPONSE_ID) if role.is_call else None,
            said=self._said(attributes),
            origin=origin,
            scores=tuple(self._scores(span, attributes, role)) if self._scales else (),
        )

    def _attributes(self, pairs: Iterable[Any]) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for pair in pairs:
            key = pair.key
            if self.wants(key):
                kind = pair.value.WhichOneof("value")
                if kind in _SCALARS:
                    found[key] = getattr(pair.value, kind)
        return found

    def _said(self, attributes: Attributes) -> dict[str, str]:
        said = ((column, _text(attributes, keys)) for column, keys in self._said_by.items())
        return {column: text for column, text in said if text is not None}

    def _scores(self, span: Any, attributes: Attributes, role: Role) -> Iterator[Score]:
        """The evaluations in the span: the span itself, its events, and OpenInference's lists."""
        at, own = span.end_time_unix_nano, (span.trace_id.hex(), span.span_id.hex())
        if names.EVALUATION_NAME in attributes and not role.is_call:
            judged = [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]
            around = (own[0], span.parent_span_id.hex())
            for of in judged or [around]:
                yield from self._score(attributes, at, of)
        for event in span.events:
            yield from self._score(self._attributes(event.attributes), event.time_unix_nano or at, own)
        for listed in _listed(attributes):
            yield from self._score(listed, at, own)

    def _score(self, attributes: Attributes, at: int, of: Key | None) -> Iterator[Score]:
        name, response_id = attributes.get(names.EVALUATION_NAME), _text(attributes, names.RESPONSE_ID)
        for column, scale in self._scales.items():
            if scale.name == name and (value := _share(attributes, scale)) is not None:
                yield Score(column, value, at, of, response_id)


# ----------------------------------------------------------------------------------------------------------------------

_TRACE_BYTES, _SPAN_BYTES = 16, 8
_SUCCEEDED, _FAILED = 1, 2
"""STATUS_CODE_ERROR"""
_NS_PER_MS, _NS_PER_US = 1_000_000, 1_000
_SCALARS = ("string_value", "bool_value", "int_value", "double_value")

_LISTED = re.compile(r"(annotations|evaluations)\.(\d{1,4})\.(?:annotation|evaluation)\.(name|score|label)")
_STANDARD = {"name": names.EVALUATION_NAME, "score": names.SCORE_VALUE, "label": names.SCORE_LABEL}

_LABELS = {"pass": 1.0, "passed": 1.0, "correct": 1.0, "fail": 0.0, "failed": 0.0, "incorrect": 0.0}
"""Scores of evaluations with a label instead of a score; the meaning of other labels is unknown."""


def _either(own: str | None, ours: str) -> tuple[str, ...]:
    return (ours,) if own is None else (own, ours)


def _is_id(given: bytes, length: int) -> bool:
    return len(given) == length and any(given)


def _role(attributes: Attributes) -> tuple[Role, str | None]:
    for name, meanings in names.ROLES.items():
        meaning = meanings.get(str(attributes.get(name)).lower())
        if isinstance(meaning, Role):
            return meaning, None
        if meaning is not None:
            return Role.STEP, meaning
    if names.EVALUATION_NAME in attributes:
        return Role.STEP, "an evaluation"
    if names.OPERATION in attributes:
        return Role.STEP, "another operation"
    if _text(attributes, names.MODEL) is not None and _text(attributes, names.PROVIDER) is not None:
        # Some instrumentations do not name an operation.
        return (Role.EMBEDDING if "embedding.model_name" in attributes else Role.GENERATION), None
    return Role.PLAIN, "not a model call"


def _fault(span: Any) -> str | None:
    return None if span.start_time_unix_nano else "it has no start"


def _has_failed(span: Any, attributes: Attributes) -> bool:
    return read_failure(_failure(span, attributes))[0] is True


def _failure(span: Any, attributes: Attributes) -> bool | str | None:
    """What the span says of having failed. One without any word of it did not, by OpenTelemetry's convention."""
    if span.status.code == _FAILED or _text(attributes, names.ERROR_TYPE) is not None:
        return True
    said = None if span.status.code == _SUCCEEDED else _text(attributes, names.FAILURE)
    return False if said is None else said


def _row(span: Any, attributes: Attributes, zero_is_free: bool) -> dict[str, Any]:
    """As texts, so that the validation of all selections finds and reports any value that is not a number."""
    named_error = _text(attributes, names.ERROR_TYPE)
    failed = _has_failed(span, attributes)
    ended = span.end_time_unix_nano
    # One that ends before it starts is found where all values are checked.
    elapsed_ms = str((ended - span.start_time_unix_nano) / _NS_PER_MS) if ended else None
    read = _count(_text(attributes, names.CACHE_READ_TOKENS))
    written = _count(_text(attributes, names.CACHE_WRITE_TOKENS))
    completion, hit = _text(attributes, names.COMPLETION_TOKENS), _text(attributes, (names.CACHE_HIT,))
    free = zero_is_free or failed or (hit or "").lower() in TRUE
    error_type = named_error or (_exception_type(span) if failed else None)
    return {
        "request_id": request_id_of(span.trace_id.hex(), span.span_id.hex()),
        "timestamp": span.start_time_unix_nano // _NS_PER_US,
        "model_id": _text(attributes, names.MODEL),
        "response_time_ms": None if failed else elapsed_ms,
        "cost_usd": _cost_usd(attributes, free=free),
        "cache_hit": hit,
        "accuracy": _text(attributes, (names.ACCURACY,)),
        "user_satisfaction": _text(attributes, (names.SATISFACTION,)),
        "error": str(_failure(span, attributes)),
        "error_type": None if error_type is None else error_type[:TEXT_LENGTH],
        "prompt_tokens": _with_cached(_text(attributes, names.PROMPT_TOKENS), (read or 0) + (written or 0)),
        "completion_tokens": completion,
        "provider": _text(attributes, names.PROVIDER),
        "cache_read_tokens": read,
        "cache_write_tokens": written,
    }


def _with_cached(prompt: str | None, cached: int) -> str | None:
    """The prompt's tokens with those of the provider's cache, which some instrumentations count separately."""
    count = _count(prompt)
    return str(count + cached) if count is not None and count < cached else prompt


def _cost_usd(attributes: Attributes, *, free: bool) -> str | None:
    """The cost; 0 is unknown, since instrumentations without a price for a model report 0."""
    cost = _said_cost_usd(attributes)
    has_tokens = any(_count(_text(attributes, keys)) for keys in (names.PROMPT_TOKENS, names.COMPLETION_TOKENS))
    return None if cost is not None and has_tokens and not free and _is_zero(cost) else cost


def _said_cost_usd(attributes: Attributes) -> str | None:
    amount = _text(attributes, (names.COST_AMOUNT,))
    if amount is not None and str(attributes.get(names.COST_CURRENCY, "USD")).upper() == "USD":
        return amount
    total = _text(attributes, names.COST_USD)
    if total is not None:
        return total
    parts = [attributes.get(name) for name in names.COST_PARTS]
    numbers = [part for part in parts if isinstance(part, int | float)]
    return str(sum(numbers)) if len(numbers) == len(parts) else None


def _is_zero(text: str) -> bool:
    try:
        return float(text) == 0
    except ValueError:
        return False


def _exception_type(span: Any) -> str | None:
    thrown = (pair for event in span.events for pair in event.attributes if pair.key == names.EXCEPTION_TYPE)
    return next((pair.value.string_value for pair in thrown if pair.value.string_value), None)


def _listed(attributes: Attributes) -> list[dict[str, Value]]:
    """OpenInference's annotations and evaluations, converted to the standard's names."""
    found: dict[tuple[str, str], dict[str, Value]] = {}
    for key, value in attributes.items():
        if key.startswith(names.JUDGED) and (match := _LISTED.fullmatch(key)):
            found.setdefault((match[1], match[2]), {})[_STANDARD[match[3]]] = value
    return list(found.values())


def _share(attributes: Attributes, scale: Scale) -> float | None:
    """A score between 0 and 1, NaN if it is invalid; None if there is neither a score nor a known label."""
    if (value := attributes.get(names.SCORE_VALUE)) is None:
        return _LABELS.get(str(attributes.get(names.SCORE_LABEL)).lower())
    share = scale.share(value)
    return nan if share is None else share


def _text(attributes: Attributes, keys: Iterable[str]) -> str | None:
    """The first attribute with a value."""
    for name in keys:
        value = attributes.get(name)
        if value is not None and (text := str(value).strip()):
            return text
    return None


def _count(text: str | None) -> int | None:
    try:
        count = None if text is None else int(float(text))
    except (ValueError, OverflowError):
        return None
    return count if count is not None and 0 <= count <= _MOST_TOKENS else None


_MOST_TOKENS = 10**12
