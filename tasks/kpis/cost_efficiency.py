"""Compute cost efficiency and savings: spend compared with the cheapest adequate model of each complexity class.

A model is adequate in a class when the lower bound of its accuracy there is not below target and its p95 is within
warning. Its baseline cost is its own average per uncached selection; cache hits count at their own cost.

A saving covers the selections that other models served. Its interval includes two errors: that of the model's average,
known from the selections that it served, and the scatter of the others around that average. docs/savings.md has the
derivation and the measured coverage of the intervals.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from models.documents import CONFIDENCE, Coverage, Interval, OptimizationSavings, Savings, SavingsByClass
from models.kpis import KpiName
from models.schema import COLLECTIVE, OTHER_COMPLEXITIES, UNKNOWN
from models.settings import Optimizer, PerformanceMetrics
from tasks.rollups.totals import Totals, percentiles_by, totals_by
from tasks.statistics.intervals import added, around, less, share_interval, shifted, standard_deviation, z
from tasks.statistics.randomization import OBSERVATIONAL, Split

EFFICIENCY_MINIMUM_SAMPLE = 30
"""Minimum known accuracies and uncached costs to assess a model: the common floor of a normal interval."""

NO_ADEQUATE_MODEL = "no model's accuracy is known well enough to call it adequate"


@dataclass(frozen=True)
class Candidate:
    """An adequate model of a class, at its average cost per uncached selection, known from `cost_sample` of them.

    `cost_deviation_usd` is the standard deviation of single costs; `sample` is the number of known accuracies.
    """

    model_id: str
    cost_usd: float
    cost_deviation_usd: float
    cost_sample: int
    accuracy: Interval
    sample: int

    def cost_of(self, selections: int, level: float = CONFIDENCE) -> Interval:
        """The cost of so many other selections of the class with this model."""
        scatter = math.sqrt(selections + selections**2 / self.cost_sample)
        return around(selections * self.cost_usd, z(level) * self.cost_deviation_usd * scatter)

    def accuracy_of(self, selections: int, level: float = CONFIDENCE) -> Interval:
        """The model's accuracy on so many other selections of the class.

        Wilson's interval at the size of sample that has the variance of the difference of the two means.
        """
        size = 1 / (1 / self.sample + 1 / selections)
        return share_interval(self.accuracy.estimate * size, size, level)


@dataclass(frozen=True)
class Efficiency:
    """Cost efficiency over the covered spend (0..1), also per model, with the underlying savings."""

    value: float | None
    coverage: Coverage
    by_model: dict[str, float]
    savings: Savings
    cheapest: Mapping[str, Candidate]


@dataclass(frozen=True)
class Measured:
    """A KPI's value and the number of selections behind it; `reason` says why there is no value."""

    value: float | None
    coverage: Coverage
    reason: str | None


def measured_efficiency(totals: Totals, efficiency: Efficiency, missing: str) -> Measured:
    """Cost efficiency as a KPI; `missing` is the reason if there are no selections."""
    return Measured(efficiency.value, efficiency.coverage, efficiency.savings.reason if totals.count else missing)


def measure_efficiency(
    rollups: pl.DataFrame,
    limits: PerformanceMetrics,
    split: Split = OBSERVATIONAL,
    *,
    cheapest: Mapping[str, Candidate] | None = None,
    level: float = CONFIDENCE,
) -> Efficiency:
    """Cost efficiency of all selections with a known cost, with the savings' intervals at `level`.

    `cheapest` is by complexity class; by default from these very rollups.
    """
    cells = {(key[0], key[1]): totals for key, totals in totals_by(rollups, "complexity", "model_id").items()}
    cheapest = cheapest_adequate(rollups, limits) if cheapest is None else cheapest
    classes = [_class_savings(name, _of_class(cells, name), cheapest.get(name), level) for name, _ in _classes(cells)]
    known = sum(totals.known("cost_count") for (name, _), totals in cells.items() if name in cheapest)
    count = sum(totals.count for totals in cells.values())
    savings = _sum_up(classes, split, cheapest)
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
        if model_id in COLLECTIVE or complexity == OTHER_COMPLEXITIES:
            continue
        candidate = _candidate(model_id, totals, quantiles[complexity, model_id]["p95"], limits)
        if candidate and (complexity not in found or candidate.cost_usd < found[complexity].cost_usd):
            found[complexity] = candidate
    return found


def optimization_savings(
    estimated: Savings,
    measured: Sequence[Interval],
    selections: int,
    optimizer: Optimizer,
    observed: Sequence[Interval] = (),
) -> OptimizationSavings:
    """The estimate beside the measured and the observed savings of verdicts, net of the router's own cost if known.

    Verdicts cover different changes or hours, so their errors add in quadrature; a verdict without bounds leaves the
    sum without bounds.
    """
    each = optimizer.router_usd_per_request
    router_usd = None if each is None else each * selections
    saved = estimated.savings_usd
    return OptimizationSavings(
        estimated=estimated,
        measured_usd=added(measured) if measured else None,
        measured_count=len(measured),
        observed_usd=added(observed) if observed else None,
        observed_count=len(observed),
        router_cost_usd=router_usd,
        net_usd=shifted(saved, -router_usd) if saved is not None and router_usd is not None else None,
    )


def uncached(totals: Totals) -> tuple[int, float, float]:
    """Count, sum and sum of squares of the known costs of selections that were not cache hits."""
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
    if (
        min(sample, count) < EFFICIENCY_MINIMUM_SAMPLE
        or p95_ms is None
        or p95_ms > limits.of(KpiName.RESPONSE_TIME).warning
    ):
        return None
    accuracy = share_interval(totals.sums["accuracy_sum"], sample)
    if accuracy.low is None or accuracy.low < limits.of(KpiName.SELECTION_ACCURACY).target:
        return None
    deviation = standard_deviation(count, cost, cost_sq) or 0.0
    return Candidate(model_id, cost / count, deviation, count, accuracy, sample)


def _classes(cells: dict[tuple[str, str], Totals]) -> list[tuple[str, float]]:
    spent: dict[str, float] = {}
    for (complexity, _), totals in cells.items():
        spent[complexity] = spent.get(complexity, 0.0) + totals.sums["cost_sum_usd"]
    return sorted(spent.items(), key=lambda item: (-item[1], item[0]))


def _of_class(cells: dict[tuple[str, str], Totals], complexity: str) -> dict[str, Totals]:
    return {model_id: totals for (name, model_id), totals in cells.items() if name == complexity}


def _class_savings(
    complexity: str, models: dict[str, Totals], candidate: Candidate | None, level: float
) -> SavingsByClass:
    selections = sum(totals.known("cost_count") for totals in models.values())
    spent = sum(totals.sums["cost_sum_usd"] for totals in models.values())
    if candidate is None:
        return SavingsByClass(
            complexity=shown_class(complexity), selections=selections, spent_usd=spent, baseline_model=None,
            baseline_usd=None, savings_usd=None, reason=NO_ADEQUATE_MODEL,
        )  # fmt: skip
    moved = [uncached(totals) for model_id, totals in models.items() if model_id != candidate.model_id]
    instead = candidate.cost_of(sum(count for count, _, _ in moved), level)
    stays = spent - sum(cost for _, cost, _ in moved)
    return SavingsByClass(
        complexity=shown_class(complexity), selections=selections, spent_usd=spent,
        baseline_model=candidate.model_id, baseline_usd=shifted(instead, stays),
        savings_usd=less(spent - stays, instead),
    )  # fmt: skip


def _sum_up(classes: list[SavingsByClass], split: Split, covered_classes: Collection[str]) -> Savings:
    known = sum(item.selections for item in classes)
    spent = sum(item.spent_usd for item in classes) if known else None
    covered = [item for item in classes if item.savings_usd is not None]
    covered_usd = sum(item.spent_usd for item in covered)
    savings = [item.savings_usd for item in covered if item.savings_usd is not None]
    why_unknown = None if covered else "no cost is known" if not known else NO_ADEQUATE_MODEL
    return Savings(
        spent_usd=spent,
        savings_usd=added(savings) if covered else None,
        covered_share=covered_usd / spent if spent else 0.0,
        observational=split.is_observational(covered_classes),
        evidence=split.evidence(covered_classes),
        classes=tuple(classes),
        reason=why_unknown or split.why(covered_classes),
    )


def _efficiency(savings: Savings, classes: list[SavingsByClass]) -> float | None:
    covered_usd = sum(item.spent_usd for item in classes if item.savings_usd is not None)
    if savings.savings_usd is None or not covered_usd:
        return None
    return _within_0_1(1 - savings.savings_usd.estimate / covered_usd)


def _by_model(cells: dict[tuple[str, str], Totals], cheapest: Mapping[str, Candidate]) -> dict[str, float]:
    spent: dict[str, float] = {}
    needed: dict[str, float] = {}
    for (complexity, model_id), totals in cells.items():
        if complexity in cheapest:
            baseline = totals.sums["cache_hit_cost_sum_usd"] + uncached(totals)[0] * cheapest[complexity].cost_usd
            spent[model_id] = spent.get(model_id, 0.0) + totals.sums["cost_sum_usd"]
            needed[model_id] = needed.get(model_id, 0.0) + baseline
    return {model_id: _within_0_1(needed[model_id] / usd) for model_id, usd in spent.items() if usd}


def _within_0_1(value: float) -> float:
    return min(1.0, max(0.0, value))
