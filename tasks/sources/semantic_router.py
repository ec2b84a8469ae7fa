"""vLLM semantic-router: its replay records, exported as JSON, or in its PostgreSQL, one row per routed request."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from models.settings import SourceKind, SourceSettings
from routewatch.gate import TEXT_LENGTH
from tasks.ingestion.source import Batch
from tasks.sources.export_files import Exports, ParsedRow
from tasks.sources.record_parser import (
    FileSource,
    Sorted,
    at,
    duration,
    error_type,
    first,
    flag,
    known,
    nested,
    number,
    paid,
    text_of,
)
from tasks.sources.sql_reader import SqlRows, is_address, with_table

TABLE = "router_replay_records"
"""The router's name for its table, if its config gives no other."""

DIFFICULTIES = {"easy": "simple", "medium": "moderate", "hard": "complex"}
"""Complexity signal levels (after the rule's name) mapped to those of the product document; easiest first."""

FITS = {"good_fit": 1.0, "overprovisioned": 1.0, "underpowered": 0.0}
"""Verdicts on a model as accuracy. A model that was stronger than needed answered well; its excess cost shows in the
cost. A failed call says nothing about the choice."""

PLEASES = FITS | {"failed": 0.0}

ABOUT_THE_CHOICE = ("model", "route")
USER = "user"
"""The source of outcomes given by people."""

RANDOM = "random"
"""The selection method that chooses every model of a decision as often, whatever is asked."""

ORIGINS = {
    "timestamp": "timestamp, UTC where it names no zone",
    "request_id": "id",
    "model_id": "selected_model, else original_model",
    "response_time_ms": "duration_ms; unknown of one that failed, was aborted or is under way",
    "complexity": "signals.complexity, or what complexityKey names, such as decision or category",
    "cost_usd": "actual_cost, in USD alone; 0 for an answer with tokens is unknown",
    "cache_hit": "from_cache",
    "accuracy": "the last outcome about the model or the route, of the source that accuracyScore names, else of any",
    "user_satisfaction": "the last outcome of the source that satisfactionScore names, else user",
    "error": "lifecycle_state failed or aborted, or response_status from 400 on",
    "error_type": "response_status as http 502, else the kind that terminal_reason names, else lifecycle_state",
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "team": "what teamKey names, such as recipe",
    "experiment": "random: and the decision, where selection_method is random",
    "arm": "selected_model, where selection_method is random",
}


class SemanticRouter(FileSource):
    """Replay records in files, or in the router's own table."""

    kind = SourceKind.SEMANTIC_ROUTER.value
    origins = ORIGINS

    def __init__(self, location: str, settings: SourceSettings) -> None:
        """Read files, or a database's address, with `?table=` if the table has another name."""
        super().__init__(Exports(location, keep=None if is_address(location) else _READ_KEYS))
        self._settings = settings
        self._table = _table(location, settings) if is_address(location) else None

    def size(self, cursor: str | None, since: datetime | None) -> int:
        """Rows or bytes still to read."""
        return self._table.size(cursor, since) if self._table else super().size(cursor, since)

    def batches(self, cursor: str | None, since: datetime | None) -> Iterator[Batch]:
        """Records by ascending time, or of new files; see tasks.ingestion.source.Source."""
        if self._table is None:
            yield from super().batches(cursor, since)
            return
        for page in self._table.pages(cursor, since):
            rows = Sorted(since, rejected=Counter(page.rejected))
            for record in page.rows:
                self._take(record, rows)
            yield rows.batch(page.cursor, page.done)

    def _sort(self, row: ParsedRow, rows: Sorted) -> None:
        listed = next((row.value[name] for name in _LISTS if isinstance(row.value.get(name), list)), None)
        for record in listed if listed is not None and "id" not in row.value else [row.value]:
            if isinstance(record, Mapping):
                self._take(record, rows)
            else:
                rows.reject("is not a record")

    def _take(self, record: Mapping[str, Any], rows: Sorted) -> None:
        currency = known(record.get("currency"))
        cost = record.get("actual_cost")
        is_other = currency is not None and str(currency).strip().upper() != "USD" and number(cost) is not None
        failure = _failure(record)
        tokens = number(record.get("completion_tokens"))
        hit = bool(flag(record.get("from_cache")))
        free = hit or failure is not None or self._settings.zero_is_free
        taken = rows.selection(
            record.get("timestamp"),
            request_id=text_of(record.get("id")),
            model_id=text_of(first(record, "selected_model", "original_model")),
            response_time_ms=None if failure else _took(record),
            complexity=text_of(at(record, self._settings.complexity_key)) or _difficulty(record),
            cost_usd=None if is_other else paid(cost, tokens=tokens, free=free),
            cache_hit=hit,
            accuracy=_accuracy(record, self._settings),
            user_satisfaction=_satisfaction(record, self._settings),
            error=failure is not None,
            error_type=failure,
            prompt_tokens=number(record.get("prompt_tokens")),
            completion_tokens=tokens,
            team=text_of(at(record, self._settings.team_key)),
            **_assignment(record),
            cache_read_tokens=number(record.get("cached_prompt_tokens")),
            cache_write_tokens=number(record.get("cache_write_tokens")),
        )
        if taken and is_other:
            rows.unreadable("cost_usd", "is in another currency than USD")
        helper = nested(record.get("route_diagnostics"))
        if taken and known(helper.get("prompt_helper_model")) is not None:
            rows.own_call(
                record.get("timestamp"),
                request_id=f"{record.get('id')}:prompt-helper",
                kind="prompt-helper",
                model_id=text_of(helper["prompt_helper_model"]),
                prompt_tokens=number(helper.get("prompt_helper_prompt_tokens")),
                completion_tokens=number(helper.get("prompt_helper_completion_tokens")),
            )


# ----------------------------------------------------------------------------------------------------------------------

_LISTS = ("data", "records", "items")

_RECORD_COLUMNS = (
    "id", "timestamp", "request_id", "session_id", "recipe", "decision", "decision_tier", "category", "original_model",
    "selected_model", "reasoning_mode", "signals", "outcomes", "response_status", "lifecycle_state", "duration_ms",
    "terminal_reason", "route_diagnostics", "from_cache", "prompt_tokens", "cached_prompt_tokens", "cache_write_tokens",
    "completion_tokens", "actual_cost", "currency", "selection_method",
)  # fmt: skip
"""All keys but prompts and answers."""

_READ_KEYS = frozenset({*_RECORD_COLUMNS, *_LISTS, "conversation_id"})


def _table(location: str, settings: SourceSettings) -> SqlRows:
    address, named = with_table(location)
    return SqlRows(
        address, table=named or TABLE, cursor="timestamp", key="id", columns=_RECORD_COLUMNS,
        overlap_minutes=settings.overlap_minutes,
    )  # fmt: skip


def _failure(record: Mapping[str, Any]) -> str | None:
    status, state = number(record.get("response_status")), record.get("lifecycle_state")
    if isinstance(status, float) and status >= 400:  # noqa: PLR2004 - HTTP's own
        return f"http {status:.0f}"
    if state in ("failed", "aborted"):
        return error_type(record.get("terminal_reason")) or str(state)
    return None


def _took(record: Mapping[str, Any]) -> Any:
    """The duration; the router writes 0 if nothing was measured, as while the request is under way."""
    if record.get("lifecycle_state") == "in_progress" or number(record.get("duration_ms")) == 0:
        return None
    return duration(record.get("duration_ms"))


def _assignment(record: Mapping[str, Any]) -> dict[str, str]:
    """The model as the arm, where the router chose it at random among those of the decision."""
    how = first(record, "selection_method") or nested(record.get("route_diagnostics")).get("selection_method")
    decision, model = text_of(record.get("decision")), text_of(record.get("selected_model"))
    if how != RANDOM or decision is None or model is None:
        return {}
    return {"experiment": f"{RANDOM}:{decision}"[:TEXT_LENGTH], "arm": model}


def _difficulty(record: Mapping[str, Any]) -> str | None:
    """The hardest level of the signals, such as `code:hard`; a custom level stays unchanged."""
    signals = nested(record.get("signals")).get("complexity")
    if isinstance(signals, str):
        signals = [signals]
    words = [str(signal).rpartition(":")[2] for signal in signals or [] if known(signal) is not None]
    ranked = [difficulty for difficulty in DIFFICULTIES if difficulty in words]
    return DIFFICULTIES[ranked[-1]] if ranked else next(iter(words), None)


def _outcomes(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = record.get("outcomes")
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except ValueError:
            return []
    return [outcome for outcome in found or [] if isinstance(outcome, Mapping)] if isinstance(found, list) else []


def _accuracy(record: Mapping[str, Any], settings: SourceSettings) -> float | None:
    by, people = settings.accuracy_score, settings.satisfaction_score or USER
    shares = [
        FITS[outcome["verdict"]]
        for outcome in _outcomes(record)
        if outcome.get("verdict") in FITS
        and outcome.get("target") in ABOUT_THE_CHOICE
        and (outcome.get("source") == by if by else outcome.get("source") != people)
    ]
    return shares[-1] if shares else None


def _satisfaction(record: Mapping[str, Any], settings: SourceSettings) -> float | None:
    people = settings.satisfaction_score or USER
    of_people = [outcome for outcome in _outcomes(record) if outcome.get("source") == people]
    shares = [share for outcome in of_people if (share := _pleased(outcome)) is not None]
    return shares[-1] if shares else None


def _pleased(outcome: Mapping[str, Any]) -> float | None:
    score = number(outcome.get("score"))
    if isinstance(score, float) and 0 < score <= 1:
        return score
    # The router omits a score of 0, so a missing score adds nothing to its verdict.
    return PLEASES.get(str(outcome.get("verdict")))
