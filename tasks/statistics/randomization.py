"""Check whether a split that is declared random looks random.

If a router assigns models at random within a complexity class, the teams, days, hours and prompt lengths of a model's
requests differ from those of the class's other models only by chance. Bonferroni's correction covers all comparisons:
the more are made, the larger each difference must be.

Prompt lengths are compared by their ranks within the hour (van Elteren 1960), from single prompts: no length is too
long for a rank, and hours with longer prompts or more requests change nothing. Rollups hold only the sums of lengths,
and means of unequally many skewed values cannot be ranked; they are compared where no single prompts are left.
A class is checked only if a split that depends on the length would have shown: `BIAS` says how large a one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import cast

import numpy as np
import polars as pl

from models.documents import Evidence
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

BIAS = 0.8
"""A class counts as checked if this would be found: the longer half of the prompts goes to one model in so many cases,
the shorter half in one less this."""

SURE_TO_FIND = 2.0
"""Standard errors beyond the critical value at which that bias is expected: it is found in 97 of 100 cases."""

PROMPT_COLUMNS = ("hour", "model_id", "complexity", "prompt_tokens")
"""Columns of single prompts. `hour` is text whose first ten characters are the day."""

NEGLIGIBLE = 0.01
"""Share of a class's selections that other models than its main one may have before there is something to check."""

MINIMUM_EXPECTED = 5.0
"""Expected count below which categories are merged: the common floor of chi-square (Cochran 1954)."""


@dataclass(frozen=True)
class Split:
    """Whether models are assigned at random within each complexity class, as declared and as observed.

    `uneven` lists, per class, the contradictions to the declaration, and `unchecked` why a class without one could have
    it all the same.
    """

    declared: bool = False
    uneven: Mapping[str, str] = field(default_factory=dict)
    unchecked: Mapping[str, str] = field(default_factory=dict)

    def evidence(self, classes: Collection[str]) -> Evidence:
        """What an estimate over these classes rests on; the weakest of them decides."""
        if not self.declared or not classes or any(name in self.uneven for name in classes):
            return "observational"
        if any(name in self.unchecked for name in classes):
            return "declared split, not checkable"
        return "split checked"

    def is_observational(self, classes: Collection[str]) -> bool:
        """Whether an estimate over these classes rests on traffic that is not known to be split at random."""
        return self.evidence(classes) != "split checked"

    def why(self, classes: Collection[str]) -> str | None:
        """The contradiction to the declared split in these classes, or why it cannot be checked; None without either.

        None too if no split is declared.
        """
        for found, start in (
            (self.uneven, "the declared random split does not show in the data"),
            (self.unchecked, "the random split is declared, not checkable"),
        ):
            reasons = [found[name] for name in classes if name in found]
            if reasons:
                more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
                return f"{start}: {reasons[0]}{more}"
        return None


OBSERVATIONAL = Split()


def split_of(rollups: pl.DataFrame, optimizer: Optimizer, prompts: pl.DataFrame | None = None) -> Split:
    """Compare the declared split with rollups and with single prompts (PROMPT_COLUMNS), as far as there are any.

    Hours of the day need hourly rollups.
    """
    if not optimizer.random_split:
        return OBSERVATIONAL
    singles = pl.DataFrame(schema=dict.fromkeys(PROMPT_COLUMNS, pl.String)) if prompts is None else prompts
    compared: list[_Compared] = []
    missing: dict[str, str] = {}
    for name in sorted(rollups["complexity"].unique()):
        found = list(_compared(name, rollups, singles.filter(pl.col("complexity") == name)))
        compared += [item for item in found if isinstance(item, _Compared)]
        for item in found:
            if isinstance(item, str):
                missing.setdefault(name, item)
    level = FALSE_ALARM / max(1, len(compared))
    uneven: dict[str, str] = {}
    for item in sorted(compared, key=lambda item: item.chance):
        if item.chance < level:
            uneven.setdefault(item.complexity, item.as_text)
    needed = NormalDist().inv_cdf(1 - level / 2) + SURE_TO_FIND
    for item in compared:
        if item.expected_of_bias < needed:
            missing.setdefault(item.complexity, _too_few(item.complexity, item.model_id))
    return Split(declared=True, uneven=uneven, unchecked=missing)


def chi_square_chance(statistic: float, freedom: int) -> float:
    """Probability of a larger chi-square, by Wilson and Hilferty's cube root (1931): slightly too large in the tail."""
    scale = 2 / (9 * freedom)
    return NormalDist().cdf(-((statistic / freedom) ** (1 / 3) - (1 - scale)) / math.sqrt(scale))


def student_chance(statistic: float, freedom: int) -> float:
    """Probability of a Student t further from 0, by Wallace's approximation (1959)."""
    normal = (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(freedom * math.log1p(statistic**2 / freedom))
    return 2 * NormalDist().cdf(-normal)


def rank_statistics(prompts: pl.DataFrame) -> dict[str, tuple[float, float]]:
    """Per model: the sum of its prompts' rank scores, 0 on average of a random split, and the variance of the sum.

    Ranks are among all prompts of the hour; where hours have too few prompts to compare, of the day, else of all.
    """
    known = prompts.filter(pl.col("prompt_tokens").is_not_null())
    within_all = _scores(known, pl.lit(""))
    for stratum in (pl.col("hour"), pl.col("hour").str.head(10)):
        found = _scores(known, stratum)
        if all(
            found.get(model_id, NOTHING)[1] >= MOST_LOST * variance for model_id, (_, variance) in within_all.items()
        ):
            return found
    return within_all


# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Compared:
    """One model of a class against the class's others in one respect, and the probability of such a difference.

    `expected_of_bias` is how many standard errors BIAS would come to; of lengths only.
    """

    complexity: str
    model_id: str
    respect: str
    chance: float
    expected_of_bias: float = math.inf

    @property
    def as_text(self) -> str:
        return f"{_within(self.complexity)}, {self.model_id} got other {self.respect} than the other models"


def _within(complexity: str) -> str:
    return "among unclassified selections" if complexity == UNKNOWN else f"in the class {complexity}"


def _too_few(complexity: str, model_id: str) -> str:
    return f"{_within(complexity)}, too few prompt lengths of {model_id} are known to see whether they decide"


def _compared(complexity: str, rollups: pl.DataFrame, prompts: pl.DataFrame) -> Iterator[_Compared | str]:
    """Yield each comparison within a class, and in a sentence why a model's prompt lengths cannot be compared."""
    own = rollups.filter(pl.col("complexity") == complexity).with_columns(
        day=pl.col("bucket").dt.date(), hour=pl.col("bucket").dt.hour()
    )
    counts = own.group_by("model_id").agg(pl.col("count").sum()).filter(pl.col("count") >= SPLIT_MINIMUM_SAMPLE)
    models = sorted(set(counts["model_id"]) - {OTHER_MODELS})
    if len(models) < 2:  # noqa: PLR2004 - nothing to compare with
        by_model = own.group_by("model_id").agg(pl.col("count").sum())["count"]
        size, largest = float(by_model.sum()), float(cast("int", by_model.max() or 0))
        if size - largest > NEGLIGIBLE * size:
            yield f"{_within(complexity)}, fewer than two models have {SPLIT_MINIMUM_SAMPLE} selections"
        return
    known = own.filter(pl.col("model_id").is_in(models))
    ranks = rank_statistics(prompts.filter(pl.col("model_id").is_in(models)))
    for model_id in models:
        for respect, column in (("teams", "team"), ("days", "day"), ("hours of the day", "hour")):
            chance = _mix_chance(_pairs(known, model_id, "count", [column]))
            if chance is not None:
                yield _Compared(complexity, model_id, respect, chance)
        yield _lengths(complexity, model_id, known, ranks)


def _lengths(
    complexity: str, model_id: str, known: pl.DataFrame, ranks: Mapping[str, tuple[float, float]]
) -> _Compared | str:
    """Compare a model's prompt lengths by ranks, or where those would not find BIAS, by the means of rollups."""
    total, variance = ranks.get(model_id, NOTHING)
    by_rank = None
    if variance:
        error = math.sqrt(variance)
        chance = 2 * NormalDist().cdf(-abs(total) / error)
        # Of large hours the bias shifts the sum of scores by 12 (BIAS - 1/2) times its variance.
        by_rank = _Compared(complexity, model_id, "prompt lengths", chance, 12 * (BIAS - 0.5) * error)
        if by_rank.expected_of_bias >= SURE_TO_FIND + NormalDist().inv_cdf(1 - FALSE_ALARM / 2):
            return by_rank
    mean_chance = _length_chance(known, model_id)
    if mean_chance is not None:
        return _Compared(complexity, model_id, "prompt lengths", mean_chance)
    return by_rank or _too_few(complexity, model_id)


NOTHING = 0.0, 0.0
"""The statistic of a model whose prompts are compared with none."""

MOST_LOST = 0.5
"""Variance of the score within hours, as a share of that over all prompts, below which hours are too small to rank in:
a prompt that is alone in its hour is compared with nothing."""


def _scores(known: pl.DataFrame, stratum: pl.Expr) -> dict[str, tuple[float, float]]:
    """Van Elteren's statistic of each model against all others, with ties; what is alone in a stratum adds nothing."""
    size = pl.len().over("stratum")
    rank = pl.col("prompt_tokens").cast(pl.Float64, strict=False).rank("average").over("stratum")
    scored = known.with_columns(stratum=stratum).with_columns(score=(rank - (size + 1) / 2) / (size + 1))
    strata = scored.group_by("stratum").agg(size=pl.len().cast(pl.Float64), square=(pl.col("score") ** 2).sum())
    own = scored.group_by("stratum", "model_id").agg(own=pl.len().cast(pl.Float64), score=pl.col("score").sum())
    variance = pl.col("own") * (pl.col("size") - pl.col("own")) * pl.col("square")
    sums = (
        own.join(strata.filter(pl.col("size") > 1), on="stratum")
        .with_columns(variance=variance / (pl.col("size") * (pl.col("size") - 1)))
        .group_by("model_id")
        .agg(pl.col("score", "variance").sum())
    )
    return {model_id: (score, found) for model_id, score, found in sums.iter_rows()}


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
