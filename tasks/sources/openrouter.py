"""OpenRouter: its export of generations (CSV), or responses of its generation endpoint (JSONL), one row per request.

Its activity reports hold sums over requests; these are rejected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.errors import UnreadableInput
from models.settings import SourceKind, SourceSettings
from tasks.sources.export_files import Exports, ParsedRow
from tasks.sources.record_parser import (
    FileSource,
    Sorted,
    at,
    duration,
    first,
    flag,
    known,
    label,
    nested,
    number,
    text_of,
)

ORIGINS = {
    "timestamp": "created_at, which is UTC",
    "request_id": "generation_id",
    "model_id": "model_permaslug, and the variant where it is not the standard one",
    "response_time_ms": "generation_time_ms; unknown of a failed or cancelled one",
    "complexity": "the column that complexityKey names",
    "cost_usd": "cost_total and byok_usage_inference",
    "error": "finish_reason_normalized is error, or cancelled",
    "error_type": "finish_reason_raw, or cancelled",
    "prompt_tokens": "tokens_prompt",
    "completion_tokens": "tokens_completion, with those of reasoning",
    "team": "the column that teamKey names, such as api_key_name",
}


class OpenRouter(FileSource):
    """Generations of OpenRouter in files. Raises UnreadableInput for a report with sums over requests."""

    kind = SourceKind.OPENROUTER.value
    origins = ORIGINS

    def __init__(self, location: str, settings: SourceSettings) -> None:
        """Read a file, a folder or a pattern."""
        super().__init__(Exports(location))
        self._settings = settings

    def _sort(self, row: ParsedRow, rows: Sorted) -> None:
        found = nested(row.value.get("data")) or row.value
        failure = _failure(found)
        if first(found, *_IDS) is None:
            if not any(name in found for name in _IDS):
                raise _no_generations(row.file, found)
            rows.reject("generation_id is missing", is_error=failure is not None)
            return
        rows.selection(
            found.get("created_at"),
            request_id=str(first(found, *_IDS)),
            model_id=_model(found),
            response_time_ms=None if failure else _took(found),
            complexity=text_of(at(found, self._settings.complexity_key)),
            cost_usd=_cost(found),
            error=failure is not None,
            error_type=failure,
            prompt_tokens=number(first(found, "tokens_prompt")),
            completion_tokens=number(first(found, "tokens_completion")),
            team=text_of(at(found, self._settings.team_key)),
            provider=text_of(found.get("provider_name")),
            cache_read_tokens=number(first(found, "tokens_cached", "native_tokens_cached")),
        )


# ----------------------------------------------------------------------------------------------------------------------

_IDS = ("generation_id", "id")
_SHOWN_COLUMNS = 12


def _no_generations(file: str, found: Mapping[str, Any]) -> UnreadableInput:
    shown = ", ".join(list(found)[:_SHOWN_COLUMNS])
    return UnreadableInput(
        file, f"its rows add requests up, or are no generations (its columns: {shown})",
        "the export of single generations, with a column generation_id: docs/sources/openrouter.md says where it is",
    )  # fmt: skip


def _model(found: Mapping[str, Any]) -> str | None:
    model, variant = first(found, "model_permaslug", "model"), known(found.get("variant"))
    if model is None or variant in (None, "standard") or str(model).endswith(f":{variant}"):
        return text_of(model)
    return f"{model}:{variant}"


def _took(found: Mapping[str, Any]) -> Any:
    return duration(first(found, "generation_time_ms", "generation_time"))


def _cost(found: Mapping[str, Any]) -> Any:
    """OpenRouter's charge, and its estimate of what the provider charged to the user's own key."""
    charged = number(first(found, "cost_total", "total_cost"))
    theirs = first(found, "byok_usage_inference")
    if flag(found.get("is_byok")):
        theirs = first(found, "upstream_inference_cost")
    by_provider = number(theirs)
    if isinstance(charged, float) and isinstance(by_provider, float):
        return charged + by_provider
    return charged


def _failure(found: Mapping[str, Any]) -> str | None:
    if flag(found.get("cancelled")):
        return "cancelled"
    if first(found, "finish_reason_normalized", "finish_reason") == "error":
        return label(first(found, "finish_reason_raw", "native_finish_reason")) or "error"
    return None
