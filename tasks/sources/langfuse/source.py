"""Langfuse: generations and scores from its public API, or from the files that it exports to blob storage."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from models.settings import SourceKind, SourceSettings
from tasks.ingestion.source import Batch, bounded_position
from tasks.sources.export_files import Exports, ParsedRow
from tasks.sources.langfuse.api import FIRST, Api
from tasks.sources.record_parser import (
    FileSource,
    Scale,
    Sorted,
    at,
    elapsed_ms,
    error_type,
    first,
    flag,
    instant,
    known,
    nested,
    number,
    paid,
    scales_of,
    text_of,
)  # fmt: skip

SELECTED = "GENERATION"
"""Observation types that are selections; spans or agents around them only repeat their sums."""

FILES_ASIDE = ("traces", "manifests")
"""Folders of an export whose files hold neither observations nor scores."""

ORIGINS = {
    "timestamp": "startTime",
    "request_id": "id of the observation",
    "model_id": "providedModelName, the model as the application named it",
    "response_time_ms": "endTime - startTime; unknown of a failed or unfinished one",
    "complexity": "the metadata that complexityKey names",
    "cost_usd": "totalCost, else costDetails.total; 0 for an answer with tokens is unknown",
    "accuracy": "the score that accuracyScore names",
    "user_satisfaction": "the score that satisfactionScore names",
    "error": "level is ERROR",
    "error_type": "the HTTP status or the exception that statusMessage names",
    "prompt_tokens": "usageDetails: all kinds of input",
    "completion_tokens": "usageDetails: all kinds of output",
    "team": "the metadata or the field that teamKey names, such as userId or environment",
}


class Langfuse(FileSource):
    """Generations with their scores, which often arrive later."""

    kind = SourceKind.LANGFUSE.value
    origins = ORIGINS

    def __init__(self, location: str, settings: SourceSettings) -> None:
        """Read from `https://PUBLIC_KEY:SECRET_KEY@HOST`, or files. Raises InvalidMapping, SettingsError."""
        super().__init__(Exports(location, keep=_READ_FIELDS, aside=FILES_ASIDE))
        self._api = Api(location) if location.startswith(("https://", "http://")) else None
        self._overlap = timedelta(minutes=settings.overlap_minutes)
        self._reader = _TraceReader(settings)

    def size(self, cursor: str | None, since: datetime | None) -> int:
        """Seconds of the API's time still to read, or bytes of files."""
        if self._api is None:
            return super().size(cursor, since)
        return int((datetime.now(UTC) - self._begin(_cursor(cursor), since)).total_seconds())

    def batches(self, cursor: str | None, since: datetime | None) -> Iterator[Batch]:
        """Observations by ascending time, then the scores of that time; see tasks.ingestion.source.Source."""
        self._reader.forget()
        if self._api is None:
            yield from super().batches(cursor, since)
            return
        with self._api.opened() as api:
            yield from self._from_api(api, _cursor(cursor), since)

    def _from_api(self, api: Api, state: dict[str, Any], since: datetime | None) -> Iterator[Batch]:
        now = datetime.now(UTC)
        begin = self._begin(state, since)
        follows = _follows(state, "observations", begin)
        for window in api.observations(begin, now, with_metadata=self._reader.needs_metadata):
            rows = Sorted(since)
            for found in window.rows:
                self._reader.take(found, rows)
            state = state | ({"observations": window.end.isoformat()} if follows else {})
            yield rows.batch(json.dumps(state), int((window.end - begin).total_seconds()))
        names = self._reader.score_names
        if names:
            # All scores of a newly configured name are still to read.
            yield from self._scores(api, state if state.get("names") == names else state | {"scores": None}, since, now)

    def _scores(self, api: Api, state: dict[str, Any], since: datetime | None, now: datetime) -> Iterator[Batch]:
        names, begin = self._reader.score_names, self._begin(state, since, "scores")
        follows = _follows(state, "scores", begin)
        for window in api.scores(begin, now, names):
            rows = Sorted()
            for score in sorted(window.rows, key=lambda score: str(score.get("timestamp"))):
                self._reader.score(score, rows, api.generations_of)
            state = state | ({"scores": window.end.isoformat(), "names": names} if follows else {})
            yield rows.batch(json.dumps(state))

    def _begin(self, state: Mapping[str, Any], since: datetime | None, what: str = "observations") -> datetime:
        reached = state.get(what)
        return since or (datetime.fromisoformat(reached) - self._overlap if reached else FIRST)

    def _sort(self, row: ParsedRow, rows: Sorted) -> None:
        found = row.value
        if first(found, "data_type", "dataType") is not None and first(found, "start_time", "startTime") is None:
            self._reader.score(found, rows, None)
        elif first(found, "type") is not None:
            self._reader.take(found, rows)
        else:
            rows.skipped["is neither an observation nor a score"] += 1


# ----------------------------------------------------------------------------------------------------------------------

_READ_FIELDS = frozenset({
    "id", "trace_id", "traceId", "type", "start_time", "startTime", "end_time", "endTime", "metadata", "level",
    "status_message", "statusMessage", "provided_model_name", "providedModelName", "model", "usage_details",
    "usageDetails", "usage", "cost_details", "costDetails", "total_cost", "totalCost", "calculatedTotalCost",
    "is_deleted", "user_id", "userId", "session_id", "sessionId", "environment", "name", "version", "release",
    "trace_name", "traceName", "observation_id", "observationId", "data_type", "dataType", "value", "timestamp",
    "subject",
})  # fmt: skip
"""All keys but prompts and answers."""


_LookUp = Callable[[str], list[str]]
"""Returns the generations of a trace."""


class _TraceReader:
    """Parse observations and scores, whose keys have one naming style in the API and another in files."""

    def __init__(self, settings: SourceSettings) -> None:
        self._settings = settings
        self._scales = scales_of(settings)
        self._generations: dict[str, list[str]] = {}
        self._looked_up: set[str] = set()

    @property
    def needs_metadata(self) -> bool:
        return bool(self._settings.complexity_key or self._settings.team_key)

    @property
    def score_names(self) -> list[str]:
        return sorted({scale.name for scale in self._scales.values()})

    def forget(self) -> None:
        """Begin a pull: the generations of a trace are known only if they are read in it."""
        self._generations, self._looked_up = {}, set()

    def take(self, found: Mapping[str, Any], rows: Sorted) -> None:
        kind = str(first(found, "type")).upper()
        if kind != SELECTED:
            rows.skipped[f"is a {kind}, no generation"] += 1
            return
        if flag(found.get("is_deleted")):
            rows.skipped["was deleted"] += 1
            return
        usage = _Usage(found)
        failed = str(found.get("level")).upper() == "ERROR"
        start, end = first(found, "start_time", "startTime"), first(found, "end_time", "endTime")
        metadata = nested(found.get("metadata"))
        taken = rows.selection(
            start,
            request_id=text_of(found.get("id")),
            model_id=text_of(first(found, "provided_model_name", "providedModelName", "model")),
            response_time_ms=None if failed else elapsed_ms(start, end),
            complexity=text_of(at(metadata, self._settings.complexity_key)),
            cost_usd=_cost(found, tokens=usage.completion, free=failed or self._settings.zero_is_free),
            error=failed,
            error_type=error_type(first(found, "status_message", "statusMessage")) if failed else None,
            prompt_tokens=usage.prompt,
            completion_tokens=usage.completion,
            team=text_of(at({**found, **metadata}, self._settings.team_key)),
            cache_read_tokens=usage.cache_read,
            cache_write_tokens=usage.cache_write,
        )
        trace = first(found, "trace_id", "traceId")
        if taken and trace is not None and self._scales:
            known_ones = self._generations.setdefault(str(trace), [])
            if found.get("id") not in known_ones:
                known_ones.append(str(found.get("id")))

    def score(self, found: Mapping[str, Any], rows: Sorted, look_up: _LookUp | None) -> None:
        """Add a score of a configured name; a score of a trace goes to its generation if it has exactly one."""
        columns = [column for column, scale in self._scales.items() if scale.name == found.get("name")]
        if not columns:
            rows.skipped["is a score that is not asked for"] += 1
            return
        subject = self._subject(found, look_up)
        if isinstance(subject, Counter):
            rows.skipped += subject
            return
        for column in columns:
            scale = self._scales[column]
            share = _share(found, scale)
            if share is None:
                rows.rejected[scale.fault] += 1
            else:
                rows.amend(subject, column, share)

    def _subject(self, found: Mapping[str, Any], look_up: _LookUp | None) -> Any:
        """The generation of a score, or the counted reason why there is none."""
        subject = nested(found.get("subject"))
        observation = first(found, "observation_id", "observationId")
        trace = first(found, "trace_id", "traceId")
        if subject.get("kind") == "observation":
            observation = subject.get("id")
        elif subject.get("kind") == "trace":
            trace = subject.get("id")
        if observation is not None:
            return str(observation)
        if trace is None:
            return Counter({"is a score of a session or an experiment": 1})
        ids = self._generations.get(str(trace))
        if look_up is not None and trace not in self._looked_up:
            # The trace may have begun before the span of this pull.
            ids = self._generations[str(trace)] = look_up(str(trace))
            self._looked_up.add(trace)
        if not ids:
            return Counter({"is a score of a trace without a generation that was read": 1})
        return ids[0] if len(ids) == 1 else Counter({"is a score of a trace with several generations": 1})


class _Usage:
    """Tokens by kind; Langfuse keeps kinds separate, so that those of input add up to the prompt."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        details = nested(first(found, "usage_details", "usageDetails")) or nested(found.get("usage"))
        counts = {str(name).lower(): number(count) for name, count in details.items()}
        self._counts = {name: count for name, count in counts.items() if isinstance(count, float)}
        self.prompt = self._sum(lambda name: "input" in name and "cost" not in name)
        self.completion = self._sum(lambda name: "output" in name and "cost" not in name)
        self.cache_write = self._sum(lambda name: "cach" in name and ("creat" in name or "writ" in name))
        self.cache_read = self._sum(lambda name: "cach" in name and "creat" not in name and "writ" not in name)

    def _sum(self, is_of_kind: Any) -> float | None:
        counts = [count for name, count in self._counts.items() if is_of_kind(name)]
        return sum(counts) if counts else None


def _cost(found: Mapping[str, Any], *, tokens: object, free: bool) -> Any:
    total = first(found, "total_cost", "totalCost", "calculatedTotalCost")
    if total is None:
        total = nested(first(found, "cost_details", "costDetails")).get("total")
    return paid(total, tokens=tokens, free=free)


def _share(found: Mapping[str, Any], scale: Scale) -> float | None:
    """A numeric or boolean score between 0 and 1; a category's number is only its index in a list."""
    kind = str(first(found, "data_type", "dataType")).upper()
    value = known(found.get("value"))
    if kind == "BOOLEAN":
        truth = flag(value)
        return None if truth is None else float(truth)
    return scale.share(value) if kind == "NUMERIC" else None


def _follows(state: Mapping[str, Any], what: str, begin: datetime) -> bool:
    """Whether reading from `begin` leaves no gap after the position reached before."""
    reached = state.get(what)
    return not reached or begin <= datetime.fromisoformat(reached)


def _cursor(cursor: str | None) -> dict[str, Any]:
    try:
        state = json.loads(cursor or "{}")
    except ValueError:
        return {}
    times = [state.get(name) for name in ("observations", "scores")] if isinstance(state, dict) else [""]
    if not all(time is None or instant(time) is not None for time in times):
        return {}
    names = [name for name in ("observations", "scores") if state.get(name) is not None]
    return {**state} | {name: bounded_position(datetime.fromisoformat(state[name])).isoformat() for name in names}
