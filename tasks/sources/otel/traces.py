"""Find the selections among the spans of a trace, in any arrival order and with duplicates."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from routewatch.gate import FALSE, TRUE
from tasks.ingestion.source import AMENDMENTS, OVERHEAD, PRICING, Batch
from tasks.sources.otel.conventions import Role
from tasks.sources.otel.spans import Key, Score, Span, request_id_of

MOST_SPANS = 100_000
MOST_SPANS_OF_TRACE = 5_000
MOST_SCORES_OF_CALL = 32
"""Number of remembered spans: a call that arrives after more others counts as a selection of its own."""
MOST_ANCESTORS = 128
"""Number of spans above one that are looked at: in a chain of thousands each would cost thousands of steps."""

DEFAULT_OVERHEAD = "classifier"
"""Default purpose of a call that a router only marks as internal."""

WRAPS = "a call that wraps another one"
AGAIN = "the same span again"

FOR_ALL_BELOW = ("complexity", "team", "experiment", "arm", "unit_bucket")
"""Columns that a span says for all spans below it."""

OF_THE_CALL = ("cache_hit", "accuracy", "user_satisfaction")
"""Columns that a wrapping call passes on to the wrapped one; those for all spans below are in Span.said."""


@dataclass(frozen=True)
class FinishedTraces:
    """The outcome of spans. `batch` also has selections of earlier spans to which these add something.

    Pass `stored` to `Traces.confirm` once the batch is stored.
    """

    batch: Batch
    stored: Mapping[Key, Mapping[str, Any] | None]


class Traces:
    """Remember recent spans, so that a call recorded by two instrumentations counts once.

    Of nested calls the innermost count: they are the paid ones. The result depends on the spans alone, as long as the
    whole trace is remembered. Not thread-safe.
    """

    def __init__(self, most_spans: int = MOST_SPANS, most_of_trace: int = MOST_SPANS_OF_TRACE) -> None:
        self._most_spans, self._most_of_trace = most_spans, most_of_trace
        self.open_traces: OrderedDict[str, _Trace] = OrderedDict()
        self._count = 0
        self._trace_of_answer: OrderedDict[str, str] = OrderedDict()
        self._scores: OrderedDict[Key, dict[tuple[str, str | None], Score]] = OrderedDict()

    @property
    def span_count(self) -> int:
        """Number of remembered spans."""
        return sum(len(trace.spans) for trace in self.open_traces.values())

    @property
    def most_scores(self) -> int:
        """Largest number of remembered evaluations of one call."""
        return max(map(len, self._scores.values()), default=0)

    def add(
        self, spans: Iterable[Span], scores: Iterable[Score] = (), *, rejected: Mapping[str, int] | None = None
    ) -> FinishedTraces:
        """Add spans and evaluations, and return their outcome, including the counts in `rejected`."""
        stats = _BatchBuilder(rejected=Counter(rejected or {}))
        fresh: dict[Key, Span] = {}
        judged: list[Score] = list(scores)
        for span in spans:
            if span.fault is not None:
                stats.rejected[span.fault] += 1
                stats.rejected_errors[span.fault] += int(span.is_failed_call)
            elif span.key in fresh:
                stats.skipped[AGAIN] += 1
            if span.is_identified:
                fresh[span.key] = span
            judged += span.scores
        for span in fresh.values():
            self._remember(span)
        touched = dict.fromkeys([*(trace for trace, _ in fresh), *(it for score in judged for it in self._note(score))])
        for trace in touched:
            if trace in self.open_traces:
                self._finish(self.open_traces[trace], fresh, stats)
        stats.amendments += self._of_earlier(judged)
        self._forget()
        return FinishedTraces(stats.batch(), stats.stored)

    def confirm(self, finished: FinishedTraces) -> None:
        """Mark the batch as stored: its rows are returned again only if something new is added to them."""
        for (trace, span), row in finished.stored.items():
            if self._knows(trace, span):
                self.open_traces[trace].stored[span] = row

    # ------------------------------------------------------------------------------------------------------------------

    def _remember(self, span: Span) -> None:
        trace = self.open_traces.setdefault(span.trace, _Trace())
        self.open_traces.move_to_end(span.trace)
        self._count += span.id not in trace.spans
        trace.spans[span.id] = span
        if len(trace.spans) > self._most_of_trace:
            oldest = next(iter(trace.spans))
            del trace.spans[oldest]
            trace.stored.pop(oldest, None)
            self._count -= 1
        if span.response_id is not None and span.role.is_call:
            self._trace_of_answer[span.response_id] = span.trace

    def _note(self, score: Score) -> Iterator[str]:
        """Remember an evaluation; return its traces, as far as they are known."""
        targets = [] if score.of is None else [score.of]
        if score.of is not None and score.of[0] in self.open_traces:
            yield score.of[0]
        if score.response_id is not None:
            targets.append(_answer(score.response_id))
            if (trace := self._trace_of_answer.get(score.response_id)) is not None:
                yield trace
        for target in targets:
            known = self._scores.setdefault(target, {})
            self._scores.move_to_end(target)
            key = (score.column, score.response_id)
            known[key] = max(known.get(key, score), score, key=_newest)
            if len(known) > MOST_SCORES_OF_CALL:
                del known[min(known, key=lambda key: _newest(known[key]))]

    def _finish(self, trace: _Trace, fresh: Collection[Key], stats: _BatchBuilder) -> None:
        calls = [span for span in trace.spans.values() if span.role.is_call]
        around = {span.id: trace.call_around(span) for span in calls}
        wrapping = {outer.id for outer in around.values() if outer is not None}
        for span in trace.spans.values():
            if not span.role.is_call:
                if span.key in fresh and span.skipped is not None:
                    stats.skipped[span.skipped] += 1
            elif span.id in wrapping:
                stats.skipped[WRAPS] += span.key in fresh
                if trace.stored.get(span.id) is not None:
                    stats.retract(span)
            else:
                outer = list(_outward(span, around))
                row = _merged(span, outer, list(trace.above(span)))
                kept = trace.stored.get(span.id)
                if span.key in fresh or row != kept:
                    if kept is not None and ("kind" in kept) != ("kind" in row):
                        stats.retract(span)
                    stats.give(span, row)
                stats.amend(row["request_id"], self._scores_of([span, *outer]))

    def _scores_of(self, calls: list[Span]) -> dict[str, float]:
        """By column, the newest evaluation of the innermost evaluated call."""
        found: dict[str, float] = {}
        for span in calls:
            targets = [span.key] if span.response_id is None else [span.key, _answer(span.response_id)]
            fitting = [
                score
                for target in targets
                for score in self._scores.get(target, {}).values()
                if score.response_id is None or span.response_id in (None, score.response_id)
            ]
            found = {score.column: score.value for score in sorted(fitting, key=_newest)} | found
        return found

    def _of_earlier(self, judged: Iterable[Score]) -> list[dict[str, Any]]:
        """Amendments of calls that are no longer remembered but may be stored."""
        return [
            {"request_id": request_id_of(*score.of), score.column: score.value}
            for score in sorted(judged, key=_newest)
            if score.of is not None and not self._knows(*score.of)
        ]

    def _knows(self, trace: str, span: str) -> bool:
        return trace in self.open_traces and span in self.open_traces[trace].spans

    def _forget(self) -> None:
        while self._count > self._most_spans:
            self._count -= len(self.open_traces.popitem(last=False)[1].spans)
        for index in (self._trace_of_answer, self._scores):
            while len(index) > self._most_spans:
                index.popitem(last=False)


# ----------------------------------------------------------------------------------------------------------------------

_TEXTS = (*FOR_ALL_BELOW, "request_id", "model_id", "response_time_ms", "cost_usd", "cache_hit", "accuracy",
          "user_satisfaction", "error_type", "prompt_tokens", "completion_tokens", "provider")  # fmt: skip
_SELECTION_SCHEMA: dict[str, Any] = {
    "timestamp": pl.Int64, **dict.fromkeys((*_TEXTS, "error"), pl.String),
    "cache_read_tokens": pl.Int64, "cache_write_tokens": pl.Int64,
}  # fmt: skip
_AMENDMENT_SCHEMA = {name: pl.String if name == "request_id" else pl.Float64 for name in AMENDMENTS}
_OVERHEAD_SCHEMA: dict[str, Any] = {
    name: _SELECTION_SCHEMA.get(name, pl.String) for name in (*OVERHEAD, *PRICING, "cache_hit")
}


@dataclass
class _Trace:
    """The spans of one trace by their ids, and their stored rows."""

    spans: dict[str, Span] = field(default_factory=dict)
    stored: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)

    def above(self, span: Span) -> Iterator[Span]:
        """The nearest known ancestors of a span, innermost first."""
        seen = {span.id}
        while (
            len(seen) <= MOST_ANCESTORS
            and span.parent is not None
            and span.parent not in seen
            and span.parent in self.spans
        ):
            span = self.spans[span.parent]
            seen.add(span.id)
            yield span

    def call_around(self, call: Span) -> Span | None:
        """The same call in another instrumentation's span: same role, no agent or tool in between."""
        nearest = next((span for span in self.above(call) if span.role is not Role.PLAIN), None)
        return nearest if nearest is not None and nearest.role is call.role else None


@dataclass
class _BatchBuilder:
    selections: list[dict[str, Any]] = field(default_factory=list)
    overhead: list[dict[str, Any]] = field(default_factory=list)
    amendments: list[dict[str, Any]] = field(default_factory=list)
    retracted: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    rejected_errors: Counter[str] = field(default_factory=Counter)
    stored: dict[Key, Mapping[str, Any] | None] = field(default_factory=dict)

    def give(self, span: Span, row: dict[str, Any]) -> None:
        (self.overhead if "kind" in row else self.selections).append(row)
        self.stored[span.key] = row

    def retract(self, span: Span) -> None:
        self.retracted.append(request_id_of(*span.key))
        self.stored[span.key] = None

    def amend(self, request_id: str, scores: Mapping[str, float]) -> None:
        if scores:
            self.amendments.append({"request_id": request_id, **scores})

    def batch(self) -> Batch:
        return Batch(
            selections=_frame(self.selections, _SELECTION_SCHEMA),
            overhead=_frame(self.overhead, _OVERHEAD_SCHEMA),
            amendments=pl.DataFrame(self.amendments, schema=_AMENDMENT_SCHEMA),
            retracted=self.retracted,
            skipped=+self.skipped,
            rejected=+self.rejected,
            rejected_errors=self.rejected_errors,
            cursor="",
        )


def _frame(rows: list[dict[str, Any]], schema: Mapping[str, Any]) -> pl.DataFrame:
    instant = pl.col("timestamp").cast(pl.Datetime("us", "UTC"))
    return (
        pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)
        .with_columns(instant)
        .sort("timestamp", maintain_order=True)
    )


def _outward(call: Span, around: Mapping[str, Span | None]) -> Iterator[Span]:
    """The calls that wrap a call, innermost first."""
    outer, seen = around[call.id], {call.id}
    while outer is not None and outer.id not in seen and len(seen) <= MOST_ANCESTORS:
        seen.add(outer.id)
        yield outer
        outer = around[outer.id]


def _merged(call: Span, outer: list[Span], above: list[Span]) -> dict[str, Any]:
    """A row: the call's own values, and missing ones from the spans around it, closest first."""
    row = dict(call.row or {})
    for name in OF_THE_CALL:
        row[name] = next((it.row[name] for it in (call, *outer) if it.row and it.row[name] is not None), None)
    for name in FOR_ALL_BELOW:
        row[name] = _said(name, call, above)
    internal = (_said("internal", call, above) or "false").lower()
    if internal not in FALSE:
        row["kind"] = DEFAULT_OVERHEAD if internal in TRUE else _printable(internal)
        row["model_id"] = _printable(row["model_id"] or "") or None
    return row


def _said(name: str, call: Span, above: list[Span]) -> str | None:
    return next((span.said[name] for span in (call, *above) if name in span.said), call.origin.get(name))


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())


def _answer(response_id: str) -> Key:
    return "answer", response_id


def _newest(score: Score) -> tuple[int, float]:
    return score.at, score.value
