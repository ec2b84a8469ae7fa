"""What the comparison of models shows, for whoever cannot see it."""

from __future__ import annotations

from models.documents import (
    PerformanceReport,
)
from reports.text.formatting import Formats


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
