"""Check whether a split that is declared random looks random.

If a router assigns models at random within a complexity class, the teams, days, hours and prompt lengths of a model's
requests differ from those of the class's other models only by chance. Bonferroni's correction covers all comparisons:
the more are made, the larger each difference must be.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
import polars as pl

from models.schema import OTHER_MODELS, UNKNOWN
from models.settings import Optimizer

SPLIT_KEYS = ("model_id", "complexity", "team")
SPLIT_COLUMNS = ("count", "prompt_token_count", "prompt_token_sum")
"""The compared columns of rollups, by bucket and KEYS."""

FALSE_ALARM = 0.001
"""Probability that a random split is called uneven."""

SPLIT_MINIMUM_SAMPLE = 30
"""Selections of a model in a class, and rollup rows to compare prompt lengths over, required for a comparison."""

MINIMUM_PROMPTS = 1_000
"""Prompts below which their mean length is not compared: lengths are so skewed that the mean of fewer is not normal."""

MINIMUM_EXPECTED = 5.0
"""Expected count below which categories are merged: the common floor of chi-square (Cochran 1954)."""


@dataclass(frozen=True)
class Split:
    """Whether models are assigned at random within each complexity class, as declared and as observed.

    `uneven` lists, per class, the contradictions to the declaration.
    """

    declared: bool = False
    uneven: Mapping[str, str] = field(default_factory=dict)

    def is_observational(self, classes: Collection[str]) -> bool:
        """Whether an estimate over these classes rests on traffic that was not split at random."""
        return not self.declared or not classes or any(name in self.uneven for name in classes)

    def why(self, classes: Collection[str]) -> str | None:
        """The contradiction to the declared split in these classes; None if there is none, or no split is declared."""
        found = [self.uneven[name] for name in classes if name in self.uneven]
        if not found:
            return None
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        return f"the declared random split does not show in the data: {found[0]}{more}"


OBSERVATIONAL = Split()


def split_of(rollups: pl.DataFrame, optimizer: Optimizer) -> Split:
    """Compare the declared split with rollups. Hours of the day need hourly rollups."""
    if not optimizer.random_split:
        return OBSERVATIONAL
    compared = [item for name in sorted(rollups["complexity"].unique()) for item in _compared(name, rollups)]
    level = FALSE_ALARM / max(1, len(compared))
    uneven: dict[str, str] = {}
    for item in sorted(compared, key=lambda item: item.chance):
        if item.chance < level:
            uneven.setdefault(item.complexity, item.as_text)
    return Split(declared=True, uneven=uneven)


def chi_square_chance(statistic: float, freedom: int) -> float:
    """Probability of a larger chi-square, by Wilson and Hilferty's cube root (1931): slightly too large in the tail."""
    scale = 2 / (9 * freedom)
    return NormalDist().cdf(-((statistic / freedom) ** (1 / 3) - (1 - scale)) / math.sqrt(scale))


def student_chance(statistic: float, freedom: int) -> float:
    """Probability of a Student t further from 0, by Wallace's approximation (1959)."""
    normal = (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(freedom * math.log1p(statistic**2 / freedom))
    return 2 * NormalDist().cdf(-normal)


# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Compared:
    """One model of a class against the class's others in one respect, and the probability of such a difference."""

    complexity: str
    model_id: str
    respect: str
    chance: float

    @property
    def as_text(self) -> str:
        subject = "among unclassified selections" if self.complexity == UNKNOWN else f"in the class {self.complexity}"
        return f"{subject}, {self.model_id} got other {self.respect} than the other models"


def _compared(complexity: str, rollups: pl.DataFrame) -> Iterator[_Compared]:
    own = rollups.filter(pl.col("complexity") == complexity).with_columns(
        day=pl.col("bucket").dt.date(), hour=pl.col("bucket").dt.hour()
    )
    counts = own.group_by("model_id").agg(pl.col("count").sum()).filter(pl.col("count") >= SPLIT_MINIMUM_SAMPLE)
    models = sorted(set(counts["model_id"]) - {OTHER_MODELS})
    if len(models) < 2:  # noqa: PLR2004 - nothing to compare with
        return
    known = own.filter(pl.col("model_id").is_in(models))
    for model_id in models:
        for respect, column in (("teams", "team"), ("days", "day"), ("hours of the day", "hour")):
            chance = _mix_chance(_pairs(known, model_id, "count", [column]))
            if chance is not None:
                yield _Compared(complexity, model_id, respect, chance)
        chance = _length_chance(known, model_id)
        if chance is not None:
            yield _Compared(complexity, model_id, "prompt lengths", chance)


def _pairs(known: pl.DataFrame, model_id: str, column: str, keys: list[str]) -> pl.DataFrame:
    """Per combination of the keys: the column's sum for the model (`own`) and for all others (`rest`)."""
    is_own = pl.col("model_id") == model_id
    value = pl.col(column).cast(pl.Float64)
    return known.group_by(keys).agg(own=value.filter(is_own).sum(), rest=value.filter(~is_own).sum()).sort(keys)


def _mix_chance(pairs: pl.DataFrame) -> float | None:
    """Probability of the model's counts over categories by chi-square; None with a single category."""
    own, size = pairs["own"].to_numpy(), (pairs["own"] + pairs["rest"]).to_numpy()
    share = own.sum() / size.sum()
    large = size * min(share, 1 - share) >= MINIMUM_EXPECTED
    own = np.append(own[large], own[~large].sum())
    size = np.append(size[large], size[~large].sum())
    # Categories that are too small even merged are skipped, and the share is that of the others.
    kept = size * min(share, 1 - share) >= MINIMUM_EXPECTED
    own, size = own[kept], size[kept]
    share = own.sum() / size.sum() if size.size else 0.0
    if size.size < 2 or not 0 < share < 1:  # noqa: PLR2004
        return None
    statistic = float(((own - size * share) ** 2 / (size * share * (1 - share))).sum())
    return chi_square_chance(statistic, size.size - 1)


def _length_chance(known: pl.DataFrame, model_id: str) -> float | None:
    """Probability of the difference of mean prompt lengths, from the scatter over rollup rows (Cochran 1977, ch. 6)."""
    keys = ["bucket", "team"]
    own, rest = _pairs(known, model_id, "prompt_token_sum", keys).select("own", "rest").to_numpy().T
    own_count, rest_count = _pairs(known, model_id, "prompt_token_count", keys).select("own", "rest").to_numpy().T
    rows = int(min(np.count_nonzero(own_count), np.count_nonzero(rest_count)))
    if rows < SPLIT_MINIMUM_SAMPLE or min(own_count.sum(), rest_count.sum()) < MINIMUM_PROMPTS:
        return None
    mean, other = own.sum() / own_count.sum(), rest.sum() / rest_count.sum()
    residual = (own - mean * own_count) / own_count.sum() - (rest - other * rest_count) / rest_count.sum()
    error = math.sqrt(float((residual**2).sum()) * rows / (rows - 1))
    return student_chance(float(mean - other) / error, rows - 1) if error else None
