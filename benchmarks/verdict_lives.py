"""What the benchmarks of verdicts share: processes to live in, the metrics of a change, and how a share is told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Literal

from models.documents import Recommendation
from models.settings import PerformanceMetrics
from tasks.optimizer.change_metrics import metrics_of
from tasks.optimizer.judged_metric import JudgedMetric
from tasks.statistics.intervals import share_interval

PROCESSES = 2

Kind = Literal["cache_optimization", "cache_strategy", "model_selection"]


@contextmanager
def processes(count: int = PROCESSES) -> Iterator[ProcessPoolExecutor]:
    """Give a pool of new processes with one polars thread each: a fork amid polars' threads may wait for ever."""
    before = os.environ.get("POLARS_MAX_THREADS")
    os.environ["POLARS_MAX_THREADS"] = "1"
    try:
        with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
            yield pool
    finally:
        if before is None:
            del os.environ["POLARS_MAX_THREADS"]
        else:
            os.environ["POLARS_MAX_THREADS"] = before


def judged_metrics(kind: Kind) -> tuple[JudgedMetric, ...]:
    """Return the goal and the guards of a type of change."""
    item = Recommendation(type=kind, bottleneck="", description="", impact="high", effort="low", auto_apply=True)
    goal, guards = metrics_of(item, PerformanceMetrics())
    return goal, *guards


def of_100(part: int, of: int) -> str:
    """Return a share as how many of 100, with its 95 % binomial interval (Wilson)."""
    interval = share_interval(part, of)
    return f"{100 * part / of:.1f} ({100 * (interval.low or 0):.1f}–{100 * (interval.high or 0):.1f})"
