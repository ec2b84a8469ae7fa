"""Cost efficiency and savings: spend against the cheapest adequate model of each complexity class.

A model is adequate in a class when the lower bound of its accuracy there is not below target and its p95 is within
warning. What it would have cost is its own average per uncached selection; cache hits count at their own cost.
The traffic was not split at random, so every saving here is observational.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl

from models.document import Coverage, Interval, Savings, SavingsByClass
from models.settings import PerformanceMetrics
from models.tables import UNKNOWN
from tasks.interval import Z_95, share_interval, standard_error
from tasks.totals import Totals, percentiles_by, totals_by

MINIMUM_SAMPLE = 30
"""Known accuracies and uncached costs below which nothing is said of a model: the usual floor of a normal interval."""

NO_ADEQUATE_MODEL = "no model's accuracy is known well enough to call it adequate"


@dataclass(frozen=True)
class Candidate:
    """An adequate model of a class, at its average cost per uncached selection."""

    model_id: str
    cost_usd: float
    cost_error_usd: float
    accuracy: Interval
    sample: int


@dataclass(frozen=True)
class Efficiency:
    """Cost efficiency over the covered spend (0..1), per model too, with the savings it comes from."""

    value: float | None
    coverage: Coverage
    by_model: dict[str, float]
    savings: Savings
    cheapest: dict[str, Candidate]


def measure_efficiency(rollups: pl.DataFrame, limits: PerformanceMetrics) -> Efficiency:
    """Cost efficiency of all selections with a known cost. `cheapest` is by complexity class."""
    cells = {(key[0], key[1]): totals for key, totals in totals_by(rollups, "complexity", "model_id").items()}
    cheapest = cheapest_adequate(rollups, limits)
    classes = [_class_savings(name, _of_class(cells, name), cheapest.get(name)) for name, _ in _classes(cells)]
    known = sum(totals.known("cost_count") for (name, _), totals in cells.items() if name in cheapest)
    count = sum(totals.count for totals in cells.values())
    savings = _sum_up(classes)
    return Efficiency(
        value=_efficiency(savings, classes),
        coverage=Coverage(known=known, of=count, share=known / count if count else 0.0),
        by_model=_by_model(cells, cheapest),
        savings=savings,
        cheapest=cheapest,
    )


def cheapest_adequate(rollups: pl.DataFrame, limits: PerformanceMetrics) -> dict[str, Candidate]:
    """The adequate model with the lowest average uncached cost, per complexity class that has one."""
    quantiles = percentiles_by(rollups, "complexity", "model_id")
    found: dict[str, Candidate] = {}
    for (complexity, model_id), totals in totals_by(rollups, "complexity", "model_id").items():
        candidate = _candidate(model_id, totals, quantiles[complexity, model_id]["p95"], limits)
        if candidate and (complexity not in found or candidate.cost_usd < found[complexity].cost_usd):
            found[complexity] = candidate
    return found


def uncached(totals: Totals) -> tuple[int, float, float]:
    """Count, sum and sum of squares of the known costs of selections that were no cache hit."""
    return (
        totals.known("cost_count") - totals.known("cache_hit_cost_count"),
        totals.sums["cost_sum_usd"] - totals.sums["cache_hit_cost_sum_usd"],
        totals.sums["cost_sum_sq"] - totals.sums["cache_hit_cost_sum_sq"],
    )


def shown_class(complexity: str) -> str:
    """A complexity class as reports name it."""
    return "unclassified" if complexity == UNKNOWN else complexity


# ----------------------------------------------------------------------------------------------------------------------


def _candidate(model_id: str, totals: Totals, p95_ms: float | None, limits: PerformanceMetrics) -> Candidate | None:
    sample, (count, cost, cost_sq) = totals.known("accuracy_count"), uncached(totals)
    if min(sample, count) < MINIMUM_SAMPLE or p95_ms is None or p95_ms > limits.response_time.warning:
        return None
    accuracy = share_interval(totals.sums["accuracy_sum"], sample)
    if accuracy.low is None or accuracy.low < limits.selection_accuracy.target:
        return None
    error = standard_error(count, cost, cost_sq) or 0.0
    return Candidate(model_id, cost / count, error, accuracy, sample)


def _classes(cells: dict[tuple[str, str], Totals]) -> list[tuple[str, float]]:
    spent: dict[str, float] = {}
    for (complexity, _), totals in cells.items():
        spent[complexity] = spent.get(complexity, 0.0) + totals.sums["cost_sum_usd"]
    return sorted(spent.items(), key=lambda item: (-item[1], item[0]))


def _of_class(cells: dict[tuple[str, str], Totals], complexity: str) -> dict[str, Totals]:
    return {model_id: totals for (name, model_id), totals in cells.items() if name == complexity}


def _class_savings(complexity: str, models: dict[str, Totals], candidate: Candidate | None) -> SavingsByClass:
    selections = sum(totals.known("cost_count") for totals in models.values())
    spent = sum(totals.sums["cost_sum_usd"] for totals in models.values())
    if candidate is None:
        return SavingsByClass(
            complexity=shown_class(complexity), selections=selections, spent_usd=spent, baseline_model=None,
            baseline_usd=None, savings_usd=None, reason=NO_ADEQUATE_MODEL,
        )  # fmt: skip
    moved = sum(uncached(totals)[0] for model_id, totals in models.items() if model_id != candidate.model_id)
    stays = sum(totals.sums["cache_hit_cost_sum_usd"] for totals in models.values())
    own = uncached(models[candidate.model_id])[1]
    baseline = stays + own + moved * candidate.cost_usd
    spread = Z_95 * moved * candidate.cost_error_usd
    return SavingsByClass(
        complexity=shown_class(complexity), selections=selections, spent_usd=spent,
        baseline_model=candidate.model_id, baseline_usd=_around(baseline, spread),
        savings_usd=_around(spent - baseline, spread),
    )  # fmt: skip


def _sum_up(classes: list[SavingsByClass]) -> Savings:
    known = sum(item.selections for item in classes)
    spent = sum(item.spent_usd for item in classes) if known else None
    covered = [item for item in classes if item.savings_usd is not None]
    covered_usd = sum(item.spent_usd for item in covered)
    savings = [item.savings_usd for item in covered if item.savings_usd is not None]
    spread = math.hypot(*(interval.estimate - (interval.low or 0.0) for interval in savings))
    estimate = sum(interval.estimate for interval in savings)
    return Savings(
        spent_usd=spent,
        savings_usd=_around(estimate, spread) if covered else None,
        covered_share=covered_usd / spent if spent else 0.0,
        classes=tuple(classes),
        reason=None if covered else "no cost is known" if not known else NO_ADEQUATE_MODEL,
    )


def _efficiency(savings: Savings, classes: list[SavingsByClass]) -> float | None:
    covered_usd = sum(item.spent_usd for item in classes if item.savings_usd is not None)
    if savings.savings_usd is None or not covered_usd:
        return None
    return _within_0_1(1 - savings.savings_usd.estimate / covered_usd)


def _by_model(cells: dict[tuple[str, str], Totals], cheapest: dict[str, Candidate]) -> dict[str, float]:
    spent: dict[str, float] = {}
    needed: dict[str, float] = {}
    for (complexity, model_id), totals in cells.items():
        if complexity in cheapest:
            baseline = totals.sums["cache_hit_cost_sum_usd"] + uncached(totals)[0] * cheapest[complexity].cost_usd
            spent[model_id] = spent.get(model_id, 0.0) + totals.sums["cost_sum_usd"]
            needed[model_id] = needed.get(model_id, 0.0) + baseline
    return {model_id: _within_0_1(needed[model_id] / usd) for model_id, usd in spent.items() if usd}


def _around(estimate: float, spread: float) -> Interval:
    return Interval(estimate=estimate, low=estimate - spread, high=estimate + spread)


def _within_0_1(value: float) -> float:
    return min(1.0, max(0.0, value))
