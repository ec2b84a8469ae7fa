"""Find the main driver of a change in spend.

The change is decomposed exactly. The cost of a class of requests is their number × the share that each model gets × the
average cost of a model's request, which is a mean over cache hits and requests that the model answers itself. Each
factor's change is taken at the mean of both periods for the others (Bennet 1920), so that the parts sum to the change.
The error of a part is estimated by leaving out time blocks, the same ones of both periods (the jackknife; Efron and
Stein 1981): requests close in time resemble each other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from models.documents import CONFIDENCE, Direction, SpendCause, Trend
from models.schema import OTHER_TEAMS, UNKNOWN
from tasks.kpis.measures import group_name
from tasks.rollups.query import RollupSlice
from tasks.rollups.totals import total
from tasks.statistics.intervals import around, student

Numbers = npt.NDArray[np.float64]

COSTING = ("cost_count", "cost_sum_usd", "cache_hit_cost_count", "cache_hit_cost_sum_usd")
"""The columns of rollups that are used here."""

CARRIES = 0.5
"""Minimum share of a change for its main driver."""

OWN_SHARE = 0.75
"""Minimum share of a driver's effect for naming a single class or model."""

LARGEST_COVERAGE_CHANGE = 0.02
"""Maximum growth of the share of selections with a known cost: beyond it, spend grew only in the records."""

BLOCKS, LEAST_BLOCKS = 12, 6
DAILY_FROM = timedelta(days=6)
"""From this length on a jackknife block is a day, else a twelfth of the period."""

Kind = Literal["volume", "routing", "cache", "price"]


@dataclass(frozen=True)
class Side:
    """A period: its rollup slice, and its hours (minutes in short periods) by model and complexity, with COSTING."""

    rollup_slice: RollupSlice
    rows: pl.DataFrame


@dataclass(frozen=True)
class Spending:
    """A period, and the earlier ones that its spend may be compared with, by their names in trends."""

    now: Side
    earlier: Mapping[str, Side]

    def cause(self, trend: Trend) -> SpendCause | None:
        """The main driver of a change in spend; None also if the compared period is not available."""
        before = self.earlier.get(trend.compared_with)
        return None if before is None else spend_cause(self.now, before, trend)


def spend_cause(now: Side, before: Side, trend: Trend) -> SpendCause | None:
    """The main driver of a significant change in spend; None if no driver is significant."""
    # For a period that is not over, the trend covers a part.
    is_significant = trend.direction in (Direction.MORE, Direction.LESS) and trend.upto is None
    if not is_significant or trend.compared_with == "sameWeekdaysBefore" or _is_better_known(now, before):
        return None
    cells = _cells(now, before)
    decomposition = decompose_change(cells.overall)
    effects = _effects(decomposition, cells)
    part = _largest(effects, decomposition.change)
    spread = None if part is None else _spread(part, cells)
    if part is None or spread is None or abs(effects[part]) <= spread:
        return None
    return SpendCause(
        kind=part.kind,
        compared_with=trend.compared_with,
        change_usd=around(effects[part], spread),
        share=effects[part] / decomposition.change,
        complexity=_class_name(part, cells),
        **_names(part, decomposition, cells, (now.rollup_slice.parts, before.rollup_slice.parts)),
    )


# --- cells ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cells:
    """Sums of COSTING: `sums` by side (now, before), time block, column, class and model."""

    classes: tuple[str, ...]
    models: tuple[str, ...]
    sums: Numbers

    @property
    def overall(self) -> Numbers:
        return np.asarray(self.sums.sum(axis=1))

    def without(self, block: int) -> Numbers:
        """The total, estimated from all blocks but one."""
        blocks = self.sums.shape[1]
        return np.asarray((self.overall - self.sums[:, block]) * blocks / (blocks - 1))


def _cells(now: Side, before: Side) -> _Cells:
    rows = pl.concat([_with_period(side, index) for index, side in enumerate((now, before))])
    classes, models = (tuple(sorted(set(rows[name]))) for name in ("complexity", "model_id"))
    period = now.rollup_slice.period
    blocks = round(period.length / timedelta(days=1)) if period.length >= DAILY_FROM else BLOCKS
    sums = np.zeros((2, blocks, len(COSTING), len(classes), len(models)))
    class_at, model_at = ({name: index for index, name in enumerate(names)} for names in (classes, models))
    for side, part, complexity, model_id, *numbers in rows.iter_rows():
        block = min(blocks - 1, int(part * blocks))
        sums[side, block, :, class_at[complexity], model_at[model_id]] += numbers
    return _Cells(classes, models, sums)


def _with_period(side: Side, index: int) -> pl.DataFrame:
    """Rows with the index of their side and the elapsed part of the period at their start."""
    period = side.rollup_slice.period
    over = (pl.col("bucket") - period.start).dt.total_seconds() / period.length.total_seconds()
    keys = (pl.lit(index).alias("side"), over.clip(0.0, 1.0).alias("over"), "complexity", "model_id")
    return side.rows.select(*keys, *(pl.col(name).cast(pl.Float64) for name in COSTING))


def _is_better_known(now: Side, before: Side) -> bool:
    """Whether the share of selections with a known cost clearly differs from before."""
    shares = [total(side.rollup_slice.parts).coverage_of("cost_count").share for side in (now, before)]
    return abs(shares[0] - shares[1]) > LARGEST_COVERAGE_CHANGE


# --- the parts of a change --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decomposition:
    """A change's parts by class and model, volume by class only; all sum to `change`.

    `unit_costs` is the cost of a class's request, `moved` how many more than before a model got at equal volume.
    """

    change: float
    volume: Numbers
    routing: Numbers
    cache: Numbers
    price: Numbers
    unit_costs: Numbers
    moved: Numbers


class _ChangePart(NamedTuple):
    kind: Kind
    complexity: str | None = None
    model_id: str | None = None


def decompose_change(sums: Numbers) -> Decomposition:
    """From sums by side, column, class and model."""
    known, usd, hits, hit_usd = (sums[:, column] for column in range(len(COSTING)))
    size = known.sum(axis=2)
    shares = _known_means(known, np.broadcast_to(size[:, :, None], known.shape))
    cached, hit = _known_means(hits, known), _known_means(hit_usd, hits)
    own = _known_means(usd - hit_usd, known - hits)
    each = cached * hit + (1 - cached) * own
    served = size.mean(axis=0)[:, None] * shares.mean(axis=0)
    unit_costs = (shares * each).sum(axis=2).mean(axis=0)
    moved = size.mean(axis=0)[:, None] * _change(shares)
    kept = cached.mean(axis=0)
    return Decomposition(
        change=float(_change(usd).sum()),
        volume=_change(size) * unit_costs,
        routing=moved * each.mean(axis=0),
        cache=served * _change(cached) * (hit.mean(axis=0) - own.mean(axis=0)),
        price=served * (kept * _change(hit) + (1 - kept) * _change(own)),
        unit_costs=unit_costs,
        moved=moved,
    )


def _known_means(above: Numbers, below: Numbers) -> Numbers:
    """The ratio by side; a side without data takes the other's, so that nothing changes there."""
    means = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return np.asarray(np.where(below > 0, means, means[::-1]))


def _change(sides: Numbers) -> Numbers:
    return np.asarray(sides[0] - sides[1])


def _effects(decomposition: Decomposition, cells: _Cells) -> dict[_ChangePart, float]:
    """Each kind's part in the change, in total and by the names that it can have."""
    by_class: dict[Kind, Numbers] = {
        "volume": decomposition.volume,
        "routing": decomposition.routing.sum(axis=1),
        "cache": decomposition.cache.sum(axis=1),
        "price": decomposition.price.sum(axis=1),
    }
    effects = {_ChangePart(kind): float(found.sum()) for kind, found in by_class.items()}
    for kind, found in by_class.items():
        effects |= {_ChangePart(kind, name): float(usd) for name, usd in zip(cells.classes, found, strict=True)}
    for column, model_id in enumerate(cells.models):
        effects[_ChangePart("price", None, model_id)] = float(decomposition.price[:, column].sum())
        for row, name in enumerate(cells.classes):
            effects[_ChangePart("price", name, model_id)] = float(decomposition.price[row, column])
    return effects


def _largest(effects: Mapping[_ChangePart, float], change: float) -> _ChangePart | None:
    """The largest part, with the single class and model that contribute most to it."""
    shares = {part: effect / change for part, effect in effects.items()} if change else {}
    carrying = {part: share for part, share in shares.items() if share >= CARRIES}
    if not carrying:
        return None
    most = max(carrying, key=carrying.__getitem__)
    own = [
        part
        for part, share in carrying.items()
        if part.kind == most.kind and share >= max(CARRIES, OWN_SHARE * carrying[most])
    ]
    return max(own, key=lambda part: (sum(name is not None for name in part), carrying[part]))


def _spread(part: _ChangePart, cells: _Cells) -> float | None:
    """Half of the width of a part's interval; None if too few blocks have data."""
    blocks = int((cells.sums[:, :, 0].sum(axis=(2, 3)) > 0).all(axis=0).sum())
    if blocks < LEAST_BLOCKS:
        return None
    count = cells.sums.shape[1]
    effects = np.array([_effects(decompose_change(cells.without(block)), cells)[part] for block in range(count)])
    variance = (count - 1) / count * float(((effects - effects.mean()) ** 2).sum())
    return student(CONFIDENCE, blocks - 1) * math.sqrt(variance)


# --- names ------------------------------------------------------------------------------------------------------------


def _class_name(part: _ChangePart, cells: _Cells) -> str | None:
    """A class's name; None if there is only one."""
    return None if part.complexity is None or len(cells.classes) == 1 else group_name("complexity", part.complexity)


def _names(
    part: _ChangePart, decomposition: Decomposition, cells: _Cells, rollups: tuple[pl.DataFrame, pl.DataFrame]
) -> dict[str, str | None]:
    """The models that took over, those whose requests cost more, or the team that asked more."""
    if part.kind == "routing":
        return _models(part, decomposition, cells)
    if part.kind == "volume":
        return {"team": _team(part, decomposition, cells, rollups)}
    return {"model_id": part.model_id}


def _models(part: _ChangePart, decomposition: Decomposition, cells: _Cells) -> dict[str, str | None]:
    """The model that changed the spend most, among those that got more and among those that got less."""
    rows = [row for row, name in enumerate(cells.classes) if part.complexity in (None, name)]
    sign = math.copysign(1.0, decomposition.change)
    moved = decomposition.moved[rows].sum(axis=0)
    # A takeover's effect is the cost of a model's request beyond the class's average, times its requests.
    beyond = (decomposition.routing[rows] - decomposition.moved[rows] * decomposition.unit_costs[rows][:, None]).sum(
        axis=0
    ) * sign
    found = {}
    for name, which in (("model_id", moved > 0), ("from_model", moved < 0)):
        position = int(np.argmax(np.where(which, beyond, -np.inf)))
        found[name] = cells.models[position] if which.any() else None
    return found


def _team(
    part: _ChangePart, decomposition: Decomposition, cells: _Cells, rollups: tuple[pl.DataFrame, pl.DataFrame]
) -> str | None:
    """The team with at least half of the effect of volume; None if there is only one."""
    if len({team for rows in rollups for team in rows["team"]}) == 1:
        return None
    unit_costs = dict(zip(cells.classes, decomposition.unit_costs, strict=True))
    effects: Counter[str] = Counter()
    for rows, sign in zip(rollups, (1, -1), strict=True):
        counts = rows.group_by("team", "complexity").agg(pl.col("cost_count").sum())
        for team, complexity, count in counts.iter_rows():
            if part.complexity in (None, complexity):
                effects[team] += sign * count * unit_costs[complexity]
    overall = math.fsum(effects.values())
    shares = {team: usd / overall for team, usd in effects.items() if overall and team not in (UNKNOWN, OTHER_TEAMS)}
    team = max(shares, key=shares.__getitem__, default=None)
    return team if team is not None and shares[team] >= CARRIES else None
