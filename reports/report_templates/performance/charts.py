"""The comparison of models: median to p95 response time of each."""

from __future__ import annotations

from typing import Any

import altair as alt

from models.documents import Kpi, ModelStats, PerformanceReport
from models.kpis import KpiName
from reports.charts.distributions import MOST_MODELS
from reports.charts.spec import ChartSpec
from reports.charts.style import (
    AMBER,
    BLUE,
    INK,
    NARROW,
    ORANGE,
    SKY,
    Layer,
    at_x,
    layer,
    layered,
    room_beside,
    words,
)
from reports.text.formatting import Formats

_ROW = 36


def comparison(document: PerformanceReport, show: Formats, width: int = NARROW) -> Layer:
    """Per model the span from median to p95 against the target, with cost and errors in words."""
    models = sorted(document.model_breakdown, key=lambda model: -model.count)[:MOST_MODELS]
    kpi = next((kpi for kpi in document.kpis if kpi.name is KpiName.RESPONSE_TIME), None)
    height = len(models) * _ROW + 14
    longest = max([model.p95_response_time or 0 for model in models] + [kpi.target if kpi else 0]) or 1.0
    x = alt.X("ms:Q", scale=alt.Scale(domain=[0, longest], range=[46, width - 66], nice=False), axis=None)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, height], range=[0, height], nice=False), axis=None)
    rows = [(model, index * _ROW + 20) for index, model in enumerate(models)]
    layers = [*_target_mark(kpi, height, x, y, show), *_names(rows, y, width, show), *_spans(rows, x, y, show)]
    return layered(*layers, width=width - 8, height=height)


def _target_mark(kpi: Kpi | None, height: int, x: Any, y: Any, show: Formats) -> list[Layer]:
    if kpi is None:
        return []
    row = {"ms": kpi.target, "y": 8, "to": height, "text": f"target {show.short_duration(kpi.target)}"}
    rule = layer([row]).mark_rule(color=ORANGE, strokeDash=[4, 3], strokeWidth=1.2).encode(x=x, y=y, y2=alt.Y2("to:Q"))
    return [rule, words([row], x, y, dx=4, dy=-2, fontSize=10, color=AMBER)]


def _names(rows: list[tuple[ModelStats, int]], y: Any, width: int, show: Formats) -> list[Layer]:
    names = [{"text": model.model_id, "y": at} for model, at in rows]
    facts: list[dict[str, Any]] = [
        {"text": f"{show.money(model.avg_cost)} each · {show.percent(model.error_rate)} errors", "y": at}
        for model, at in rows
    ]
    for fact, (model, _) in zip(facts, rows, strict=True):
        if model.avg_cost is None:
            fact["text"] = f"cost unknown · {show.percent(model.error_rate)} errors"
    left, right = at_x(0), at_x(width - 8)
    room = room_beside((fact["text"] for fact in facts), width - 8, 10.5)
    named = words(names, left, y, color=INK, fontWeight=600, limit=room)
    return [named, words(facts, right, y, align="right", fontSize=10.5)]


def _spans(rows: list[tuple[ModelStats, int]], x: Any, y: Any, show: Formats) -> list[Layer]:
    timed = [_span(model, at, show) for model, at in rows if _is_timed(model)]
    untimed = [{"text": "response time unknown", "y": at + 16} for model, at in rows if not _is_timed(model)]
    if timed:
        timed[0]["high"] = f"p95 {timed[0]['high']}"
    end = alt.X("to:Q", axis=None)
    line = layer(timed).mark_rule(color=SKY, strokeWidth=3).encode(x=x, x2=alt.X2("to:Q"), y=y)
    median = layer(timed).mark_point(filled=True, size=55, color="#ffffff", stroke=BLUE, strokeWidth=1.6, opacity=1)
    p95 = layer(timed).mark_point(filled=True, size=55, color=BLUE, opacity=1)
    low = words([{**row, "text": row["low"]} for row in timed], x, y, dx=-8, align="right", fontSize=10.5, color=INK)
    high = words([{**row, "text": row["high"]} for row in timed], end, y, dx=8, fontSize=10.5, color=INK)
    layers = [line, median.encode(x=x, y=y), p95.encode(x=end, y=y), low, high]
    return [*layers, words(untimed, at_x(0), y, fontSize=10.5)] if untimed else layers


def _is_timed(model: ModelStats) -> bool:
    return model.p50_response_time is not None and model.p95_response_time is not None


def _span(model: ModelStats, at: int, show: Formats) -> dict[str, Any]:
    low, high = show.milliseconds(model.p50_response_time), show.milliseconds(model.p95_response_time)
    return {"ms": model.p50_response_time, "to": model.p95_response_time, "y": at + 16, "low": low, "high": high}


def comparison_text(document: PerformanceReport, show: Formats) -> str:
    """The fastest and the slowest model."""
    timed = [model for model in document.model_breakdown if model.p95_response_time is not None]
    text = f"Median to p95 response time of {len(document.model_breakdown)} models."
    if not timed:
        return f"{text} No response time is known."
    fast = min(timed, key=lambda model: model.p95_response_time or 0)
    slow = max(timed, key=lambda model: model.p95_response_time or 0)
    return (
        f"{text} Lowest p95: {fast.model_id}, {show.milliseconds(fast.p95_response_time)}. "
        f"Highest: {slow.model_id}, {show.milliseconds(slow.p95_response_time)}."
    )


def _has_models(document: PerformanceReport) -> bool:
    return any(model.p95_response_time is not None for model in document.model_breakdown)


COMPARISON = ChartSpec("Models: median to p95 response time", comparison, comparison_text, _has_models)
