"""Compute routing baselines: the value of routing, compared with two ways of routing that ignore the request.

Everything is based on cells, complexity class × model, each with its average cost per uncached selection and its
average accuracy. A selection without an estimate stays as the router routed it, in every baseline: cache hits, and
classes in which a required cell is unknown. Costs cover the selections of the period, accuracies the same mix of
classes. Both are computed as differences from the router's measured values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from models.documents import CONFIDENCE, Baseline, Baselines, Interval
from models.schema import OTHER_COMPLEXITIES, OTHER_MODELS
from tasks.kpis.cost_efficiency import EFFICIENCY_MINIMUM_SAMPLE, uncached
from tasks.rollups.totals import Totals, total, totals_by
from tasks.statistics.intervals import around, share_interval, standard_deviation, z
from tasks.statistics.randomization import OBSERVATIONAL, Split

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

LEAST_SHARE = 0.01
"""Minimum share of routed selections for a model to be assigned: a trial of a few calls is not a route."""

LEAST_MODELS = 2
LEAST_CLASSES = 2
"""Within a single class the router's own shares are the shuffle: nothing could be gained or lost by it."""

ROUNDING = 1e-9

NO_COST = "no cost is known"
NO_ACCURACY = "no accuracy is known"
TOO_FEW = "no model served enough selections with a known cost"
UNRATED = "accuracy is not known well enough in every class"
ONE_MODEL = "fewer than two models served enough selections with a known cost"
UNCOMPARED = "in fewer than two complexity classes are cost and accuracy known well enough for every model"
UNMATCHED = "no mix of the models costs what the router did"


def baselines(rollups: pl.DataFrame, split: Split = OBSERVATIONAL, *, level: float = CONFIDENCE) -> Baselines:
    """The router, everything sent to the cheapest model, and models shuffled at the router's cost."""
    totals = total(rollups)
    cells = {(key[0], key[1]): cell for key, cell in totals_by(rollups, "complexity", "model_id").items()}
    # Selections of models or classes that are counted together cannot be given to another model.
    single = {key: cell for key, cell in cells.items() if key[0] != OTHER_COMPLEXITIES and key[1] != OTHER_MODELS}
    grid, router = _grid(single, totals.count), _router(totals, level)
    shuffled, gained = _shuffled(grid, router, level)
    classes = {name for (name, _), cell in cells.items() if uncached(cell)[0]}
    return Baselines(
        router=router,
        all_cheapest=_all_cheapest(grid, router, level),
        shuffled=shuffled,
        accuracy_gained=gained,
        observational=split.is_observational(classes),
        evidence=split.evidence(classes),
        reason=shuffled.reason or split.why(sorted(classes)),
    )


# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _CostGrid:
    """Cells as arrays, one row per class and one column per model. Unknown averages and deviations are 0.

    `routed` counts the uncached selections with a known cost, `billed` all with a known cost, `rated` those with a
    known accuracy, and `count` all selections of the period. Deviations are of single selections.
    """

    classes: tuple[str, ...]
    models: tuple[str, ...]
    count: int
    routed: Numbers
    billed: Numbers
    rated: Numbers
    cost: Numbers
    cost_deviation: Numbers
    accuracy: Numbers
    accuracy_deviation: Numbers

    @property
    def priced(self) -> Flags:
        return np.asarray(self.routed >= EFFICIENCY_MINIMUM_SAMPLE)

    @property
    def known(self) -> Flags:
        return np.asarray(self.priced & (self.rated >= EFFICIENCY_MINIMUM_SAMPLE))

    @property
    def pool(self) -> Flags:
        """The models that are assigned."""
        served = self.routed.sum(axis=0)
        return np.asarray((served >= EFFICIENCY_MINIMUM_SAMPLE) & (served >= LEAST_SHARE * served.sum()))

    def covered(self, cells: Flags) -> float:
        return float(self.billed[cells].sum()) / self.count


def _grid(cells: Mapping[tuple[str, str], Totals], count: int) -> _CostGrid:
    classes, models = (tuple(sorted({key[position] for key in cells})) for position in (0, 1))
    measured = [[_measured(cells.get((name, model_id))) for model_id in models] for name in classes]
    return _CostGrid(
        classes, models, count, *np.moveaxis(np.array(measured).reshape(len(classes), len(models), 7), 2, 0)
    )


def _measured(cell: Totals | None) -> tuple[float, ...]:
    """The numbers of one cell, in the order of _Grid."""
    if cell is None:
        return (0.0,) * 7
    routed, cost, cost_sq = uncached(cell)
    rated, right = cell.known("accuracy_count"), cell.sums["accuracy_sum"]
    # Two more of each outcome (Agresti and Coull 1998), or a cell without a miss would be known for certain.
    share = (right + 2) / (rated + 4)
    return (
        routed,
        cell.known("cost_count"),
        rated,
        cost / routed if routed else 0.0,
        standard_deviation(routed, cost, cost_sq) or 0.0,
        right / rated if rated else 0.0,
        math.sqrt(share * (1 - share)),
    )


def _router(totals: Totals, level: float) -> Baseline:
    """The router's measured values: its cost is known, not estimated."""
    cost, rated = totals.cost_usd, totals.known("accuracy_count")
    shares = [totals.known(name) / totals.count for name in ("cost_count", "accuracy_count") if totals.known(name)]
    return Baseline(
        name="router",
        cost_usd=None if cost is None else around(cost, 0.0),
        accuracy=share_interval(totals.sums["accuracy_sum"], rated, level) if rated else None,
        covered_share=min(shares, default=0.0),
        reason=NO_COST if cost is None else None if rated else NO_ACCURACY,
    )


def _all_cheapest(grid: _CostGrid, router: Baseline, level: float) -> Baseline:
    """Every uncached selection with the cheapest model, in the classes where its cost is known."""
    cheapest = _cheapest(grid)
    if router.cost_usd is None or cheapest is None:
        return _unknown_baseline("allCheapest", NO_COST if router.cost_usd is None else TOO_FEW)
    covered = grid.priced[:, cheapest]
    shift = np.where(covered[:, None], -grid.routed, 0.0)
    shift[:, cheapest] = 0.0
    moved = -shift.sum(axis=1)
    scatter = moved + moved**2 / np.maximum(1, grid.routed[:, cheapest])
    error = math.sqrt(float((grid.cost_deviation[:, cheapest] ** 2 * scatter).sum()))
    shift[:, cheapest] = moved
    cost = router.cost_usd.estimate + float((shift * grid.cost).sum())
    is_rated = router.accuracy is not None and _is_rated(grid, shift)
    return Baseline(
        name="allCheapest",
        model=grid.models[cheapest],
        cost_usd=around(cost, z(level) * error),
        accuracy=_accuracy(grid, shift, _cell_variance(grid, _weights(grid, shift)), level) if is_rated else None,
        covered_share=grid.covered(np.broadcast_to(covered[:, None], grid.billed.shape)),
        reason=None if is_rated else NO_ACCURACY if router.accuracy is None else UNRATED,
    )


def _is_rated(grid: _CostGrid, shift: Numbers) -> bool:
    """Whether the accuracy is known on both sides of a shift; a cell with few selections must know that of each."""
    left, entered = shift < 0, shift > 0
    return bool(
        (grid.rated[left] >= np.minimum(EFFICIENCY_MINIMUM_SAMPLE, grid.routed[left])).all()
        and grid.known[entered].all()
    )


def _cheapest(grid: _CostGrid) -> int | None:
    """The index of the model with the lowest average cost, over the classes in which all costs are known.

    Without such a class, over all classes that each served.
    """
    if not grid.pool.any():
        return None
    shared = grid.priced[:, grid.pool].all(axis=1)
    if shared.any():
        averages = grid.routed[shared].sum(axis=1) @ grid.cost[shared]
    else:
        averages = (grid.routed * grid.cost).sum(axis=0) / np.maximum(1, grid.routed.sum(axis=0))
    return int(np.argmin(np.where(grid.pool, averages, np.inf)))


def _shuffled(grid: _CostGrid, router: Baseline, level: float) -> tuple[Baseline, Interval | None]:
    """Random models at the router's cost, in the classes in which all are known; and the router's gain."""
    classes: Flags = np.asarray(grid.known[:, grid.pool].all(axis=1))
    within = classes[:, None] & grid.pool
    mix = _mix(grid, within) if classes.sum() >= LEAST_CLASSES and grid.pool.sum() >= LEAST_MODELS else None
    if router.cost_usd is None or router.accuracy is None or mix is None:
        return _unknown_baseline("shuffled", _missing_reason(grid, router, int(classes.sum()))), None
    shift = mix.routed - np.outer(mix.routed.sum(axis=1), mix.shares)
    gained = float((shift * grid.accuracy).sum()) / grid.count
    gain_of = np.where(within, grid.accuracy / grid.count - mix.slope * grid.cost - mix.own_shares_gain, 0.0)
    by_cost = mix.slope * shift
    gain_variance = _cell_variance(grid, shift / grid.count, by_cost) + _shuffle_variance(mix.routed, gain_of)
    # A selection's weight for the router is its accuracy; the remaining weight of the gain is the shuffle's.
    shuffled_gain = np.where(within, grid.accuracy / grid.count, 0.0) - gain_of
    variance = _cell_variance(grid, _weights(grid, -shift), by_cost) + _shuffle_variance(mix.routed, shuffled_gain)
    accuracy = _accuracy(grid, -shift, variance, level)
    shuffled = Baseline(
        name="shuffled", cost_usd=router.cost_usd, accuracy=accuracy, covered_share=grid.covered(within)
    )
    return shuffled, around(gained, z(level) * math.sqrt(gain_variance))


@dataclass(frozen=True)
class _Mix:
    """Model shares with the same cost as the router, and the inputs for the errors.

    They are the router's own shares, moved by `towards` (0..1) to all of one model. `slope` is the accuracy gained per
    USD on that path; `own_shares_worth` the effect of one more selection of a model on the router's own shares.
    """

    routed: Numbers
    shares: Numbers
    slope: float
    own_shares_gain: Numbers


def _mix(grid: _CostGrid, within: Flags) -> _Mix | None:
    """The mix over the cells `within`; None if no mix has the router's cost."""
    routed = np.where(within, grid.routed, 0.0)
    sizes, own = routed.sum(axis=1), routed.sum(axis=0) / routed.sum()
    cost, accuracy = sizes @ np.where(within, grid.cost, 0.0), sizes @ np.where(within, grid.accuracy, 0.0) / grid.count
    spent, shuffled = float((routed * grid.cost).sum()), float(own @ cost)
    pool = np.flatnonzero(grid.pool)
    end = pool[np.argmax(cost[pool])] if spent > shuffled else pool[np.argmin(cost[pool])]
    gap, lacking = float(cost[end]) - shuffled, spent - shuffled
    if abs(lacking) > abs(gap) + ROUNDING * spent:
        return None
    is_way = abs(gap) > ROUNDING * spent
    towards = min(1.0, lacking / gap) if is_way else 0.0
    slope = float(accuracy[end] - own @ accuracy) / gap if is_way else 0.0
    shares = (1 - towards) * own
    shares[end] += towards
    return _Mix(routed, shares, slope, (1 - towards) * (accuracy - slope * cost) / routed.sum())


def _weights(grid: _CostGrid, shift: Numbers) -> Numbers:
    """Each cell's weight in the accuracy over all selections, after so many were moved into it."""
    return np.asarray(grid.rated / grid.rated.sum() + shift / grid.count)


def _accuracy(grid: _CostGrid, shift: Numbers, variance: float, level: float) -> Interval:
    estimate = float((_weights(grid, shift) * grid.accuracy).sum())
    spread = z(level) * math.sqrt(variance)
    # Rounding may put an estimate slightly past 0 or 1.
    low, high = min(estimate, max(0.0, estimate - spread)), max(estimate, min(1.0, estimate + spread))
    return Interval(estimate=estimate, low=low, high=high)


def _cell_variance(grid: _CostGrid, by_accuracy: Numbers, by_cost: Numbers | float = 0.0) -> float:
    """The variance of Σ by_accuracy × accuracy + Σ by_cost × cost over cells.

    Rollups do not hold the correlation of accuracy and cost within a cell, so their errors are assumed to add up, the
    worst case.
    """
    accuracy_error = np.abs(by_accuracy) * grid.accuracy_deviation / np.sqrt(np.maximum(1, grid.rated))
    cost_error = np.abs(by_cost) * grid.cost_deviation / np.sqrt(np.maximum(1, grid.routed))
    return float(((accuracy_error + cost_error) ** 2).sum())


def _shuffle_variance(shuffled_counts: Numbers, gain_of: Numbers) -> float:
    """The variance of the selections' total weight, with those of a class sampled from their observed shares."""
    total_gain, size = (shuffled_counts * gain_of).sum(axis=1), np.maximum(1, shuffled_counts.sum(axis=1))
    return max(0.0, float((shuffled_counts * gain_of**2).sum() - (total_gain**2 / size).sum()))


def _missing_reason(grid: _CostGrid, router: Baseline, classes: int) -> str:
    if router.cost_usd is None or router.accuracy is None:
        return NO_COST if router.cost_usd is None else NO_ACCURACY
    if grid.pool.sum() < LEAST_MODELS:
        return ONE_MODEL
    return UNCOMPARED if classes < LEAST_CLASSES else UNMATCHED


def _unknown_baseline(name: Literal["allCheapest", "shuffled"], reason: str) -> Baseline:
    return Baseline(name=name, cost_usd=None, accuracy=None, covered_share=0.0, reason=reason)
