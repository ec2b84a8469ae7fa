"""Helicone: its export of requests as JSONL, JSON or CSV, one row per request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.settings import SourceKind, SourceSettings
from tasks.sources.export_files import Exports, ParsedRow
from tasks.sources.record_parser import (
    FileSource,
    Scale,
    Sorted,
    at,
    duration,
    first,
    flag,
    known,
    nested,
    number,
    paid,
    scales_of,
    text_of,
)

NO_REFERENCE = "00000000-0000-0000-0000-000000000000"
"""The cache reference of a request that the cache did not answer."""

BOOLEAN = "-hcone-bool"
"""Suffix that Helicone appends to the name of a boolean score."""

LARGEST_COST_USD = 1_000.0
"""Largest plausible cost of one request; a number above it is in billionths of a dollar, the database's unit."""

PENDING, CANCELLED = (-2, 0), -3
"""Helicone's own statuses: a request without an answer yet, and one that its caller cancelled."""

NOT_SELECTIONS = ("tool:", "vector:", "vector_db", "data:")
"""Prefixes of the models of logged events that are not model calls."""

OTHER_CALLS = ("/embeddings", "/moderations")
"""Path parts of calls that do not ask a model for an answer."""

ORIGINS = {
    "timestamp": "request_created_at",
    "request_id": "request_id, else response_id",
    "model_id": "model, else response_model, request_model, model_override",
    "response_time_ms": "delay_ms; unknown of a failed call",
    "complexity": "the property that complexityKey names",
    "cost_usd": "costUSD, else cost; 0 for an answer with tokens is unknown",
    "cache_hit": "cached, else cache_reference_id; unknown where the cache was off",
    "accuracy": "the score that accuracyScore names",
    "user_satisfaction": "the score that satisfactionScore names, else feedback_rating",
    "error": "response_status from 400 on, or below 0",
    "error_type": "response_status, as http 429",
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "team": "the property that teamKey names",
}


class Helicone(FileSource):
    """Read Helicone's exports from files."""

    kind = SourceKind.HELICONE.value
    origins = ORIGINS

    def __init__(self, location: str, settings: SourceSettings) -> None:
        """Read a file, a folder or a pattern. Raises InvalidMapping."""
        super().__init__(Exports(location, keep=_READ_COLUMNS))
        self._settings = settings
        self._scales = scales_of(settings)

    def _sort(self, row: ParsedRow, rows: Sorted) -> None:
        found = row.value
        model = first(found, "model", "response_model", "request_model", "model_override")
        kind = _other_kind(found, str(model or ""))
        if kind is not None:
            rows.skipped[f"is {kind}, no answer of a model"] += 1
            return
        properties = {**nested(found.get("request_properties")), **nested(found.get("properties"))}
        status = number(found.get("response_status"))
        failure = _failure(status)
        hit = _hit(found)
        tokens = number(found.get("completion_tokens"))
        taken = rows.selection(
            found.get("request_created_at"),
            request_id=text_of(first(found, "request_id", "response_id")),
            model_id=text_of(model),
            response_time_ms=None if failure or status in PENDING else _took(found),
            complexity=text_of(at(properties, self._settings.complexity_key)),
            cost_usd=_cost(found, tokens=tokens, free=bool(hit) or failure is not None or self._settings.zero_is_free),
            cache_hit=hit,
            error=failure is not None,
            error_type=failure,
            prompt_tokens=number(found.get("prompt_tokens")),
            completion_tokens=tokens,
            team=text_of(at({**found, **properties}, self._settings.team_key)),
            provider=text_of(found.get("provider")),
            cache_read_tokens=number(found.get("prompt_cache_read_tokens")),
            cache_write_tokens=number(found.get("prompt_cache_write_tokens")),
        )
        if taken:
            self._take_judgement(found, rows)

    def _take_judgement(self, found: Mapping[str, Any], rows: Sorted) -> None:
        """Add the scores and the rating to the selection that was just added."""
        selection, scores = rows.selections[-1], nested(found.get("scores"))
        rating = flag(found.get("feedback_rating"))
        if rating is not None:
            selection["user_satisfaction"] = float(rating)
        for column, scale in self._scales.items():
            value, fault = _score(scores, scale)
            if fault:
                rows.unreadable(column, fault)
            elif value is not None:
                selection[column] = value


# ----------------------------------------------------------------------------------------------------------------------

_READ_COLUMNS = frozenset({
    "request_id", "response_id", "request_created_at", "model", "response_model", "request_model", "model_override",
    "request_path", "target_url", "request_properties", "properties", "request_user_id", "helicone_user",
    "response_status", "cached", "cache_enabled", "cache_reference_id", "prompt_tokens", "completion_tokens",
    "prompt_cache_read_tokens", "prompt_cache_write_tokens", "provider", "delay_ms", "latency", "costUSD", "cost",
    "scores", "feedback_rating", "country_code", "prompt_id",
})  # fmt: skip
"""All keys but prompts and answers, which are dropped at once."""


def _other_kind(found: Mapping[str, Any], model: str) -> str | None:
    if model.startswith(NOT_SELECTIONS):
        return "a logged event"
    path = f"{found.get('request_path') or ''} {found.get('target_url') or ''}"
    return next((f"a call of {call}" for call in OTHER_CALLS if call in path), None)


def _failure(status: Any) -> str | None:
    """The error type of a status: HTTP's from 400 on, and Helicone's below 0 except for requests under way."""
    if status == CANCELLED:
        return "cancelled"
    if not isinstance(status, float) or status in PENDING:
        return None
    if status >= 400:  # noqa: PLR2004 - HTTP's own
        return f"http {status:.0f}"
    return f"status {status:.0f}" if status < 0 else None


def _hit(found: Mapping[str, Any]) -> bool | None:
    reference = known(found.get("cache_reference_id"))
    said = flag(found.get("cached"))
    if said or reference not in (None, NO_REFERENCE):
        return True
    return False if said is False or flag(found.get("cache_enabled")) else None


def _took(found: Mapping[str, Any]) -> Any:
    return duration(first(found, "delay_ms", "latency"))


def _cost(found: Mapping[str, Any], *, tokens: object, free: bool) -> Any:
    cost = paid(first(found, "costUSD", "cost"), tokens=tokens, free=free)
    return None if isinstance(cost, float) and cost > LARGEST_COST_USD else cost


def _score(scores: Mapping[str, Any], scale: Scale) -> tuple[float | None, str | None]:
    """A score between 0 and 1, or its fault. Numbers have a scale of their own, which must be configured."""
    if (truth := flag(_plain(scores.get(scale.name + BOOLEAN)))) is not None:
        return float(truth), None
    value = scores.get(scale.name)
    if _plain(value) is None:
        return None, None
    if isinstance(_plain(value), bool) or (isinstance(value, Mapping) and value.get("valueType") == "boolean"):
        return float(bool(_plain(value))), None
    if not scale.is_given:
        return None, f"score {scale.name} has no scale: name it in a mapping file"
    share = scale.share(_plain(value))
    return share, None if share is not None else scale.fault


def _plain(value: Any) -> Any:
    return known(value.get("value") if isinstance(value, Mapping) else value)
