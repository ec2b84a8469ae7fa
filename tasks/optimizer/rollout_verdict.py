"""The verdict on a rollout: what its arms show, for reports, the page and the record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import polars as pl
from sqlalchemy import Row

from models.documents import (
    Conclusion,
    TrialPoint,
    TrialSummary,
    Verdict,
)
from tasks.optimizer.split import SplitReading
from tasks.optimizer.verdict_rows import VerdictState, booked_saving, steps_taken

LONGEST_SERIES = 100
"""Points of each metric that a verdict keeps of its series: what a picture can show."""


def rollout_verdict(
    reading: SplitReading,
    trial: Row[Any],
    steps: Sequence[Row[Any]],
    *,
    state: VerdictState,
    conclusion: Conclusion | None,
    reason: str,
    arms_by: Literal["assignment", "model"],
    observed_to: datetime,
    judged_at: datetime,
    is_last: bool = False,
) -> Verdict:
    """Return the verdict on a rollout at one look; `is_last` is that at the deadline, whose bounds are narrower."""
    saved = booked_saving(conclusion, reading.saved_usd())
    ratio = reading.sample_ratio
    return Verdict(
        state=state,
        reason=reason,
        judged_at=judged_at,
        observed_from=trial.started_at,
        observed_to=max(observed_to, trial.started_at),
        matched_by=None,
        hours=reading.hours,
        goal=reading.goal.as_change(is_last=is_last),
        guards=tuple(it.as_change(is_last=is_last) for it in reading.guards),
        savings_usd=saved,
        method="split",
        conclusion=conclusion,
        savings_basis=None if saved is None else "measured",
        trial=TrialSummary(
            started_at=trial.started_at,
            deadline=trial.deadline,
            steps=steps_taken(steps),
            series=_points(reading.series),
            arms_by=arms_by,
            asked_percent=None if ratio.asked is None else 100 * ratio.asked,
            found_percent=None if ratio.observed is None else 100 * ratio.observed,
        ),
    )


# ----------------------------------------------------------------------------------------------------------------------


def _points(series: pl.DataFrame) -> tuple[TrialPoint, ...]:
    """Return the newest point of each metric and evenly spread ones before it."""
    points: list[TrialPoint] = []
    for (metric,), part in series.sort("bucket").group_by("metric", maintain_order=True):
        every = -(-part.height // LONGEST_SERIES)
        kept = part.filter((pl.int_range(pl.len()) - (part.height - 1)) % every == 0)
        points += (
            TrialPoint(metric=metric, at=row["bucket"], estimate=row["estimate"], low=row["low"], high=row["high"])
            for row in kept.iter_rows(named=True)
        )
    return tuple(points)
