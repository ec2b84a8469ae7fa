"""Recommend: derive actions from bottlenecks, as bounded changes of the router's config where possible.

The product document defines each bottleneck's recommendation, its impact, effort and autoApply.

They are ranked by score = expected gain × confidence ÷ effort. The expected gain is a share: of model_selection
the saving's share of the spend, of cache_optimization the share of selections that are slow beyond the limit, of
cache_strategy the share of selections by which the hit rate falls short of target. Confidence is the probability that
the expected gain is above 0 if chance alone could mislead, by the normal approximation; evidence says what else could.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import polars as pl

from models.documents import (
    CONFIDENCE,
    Bottleneck,
    ConfigChangeProposal,
    HighCost,
    Interval,
    LowCacheHitRate,
    Recommendation,
    SlowResponse,
)
from models.schema import OTHER_MODELS
from models.settings import ChoiceKnob, NumericKnob, Optimizer
from routewatch.rollout import ROUTING_PREFIX
from tasks.bottlenecks.detect import SLOW_SHARE
from tasks.kpis.cost_efficiency import Candidate, shown_class, uncached
from tasks.optimizer.router_values import ConfigContent, Setting, UnreadableSetting, shown
from tasks.rollups.totals import Totals, total, totals_by
from tasks.statistics.intervals import less, z
from tasks.statistics.randomization import Split, split_of

EFFORT_WEIGHTS = {"low": 1, "medium": 2, "high": 3}


@dataclass(frozen=True)
class _SelectionCosts:
    """Inputs of model recommendations; intervals are at `level`."""

    rollups: pl.DataFrame
    cheapest: Mapping[str, Candidate]
    split: Split
    level: float


def recommend(
    bottlenecks: Sequence[Bottleneck],
    rollups: pl.DataFrame,
    cheapest: Mapping[str, Candidate],
    config: Mapping[str, ConfigContent],
    optimizer: Optimizer,
    *,
    split: Split | None = None,
    level: float = CONFIDENCE,
) -> tuple[Recommendation, ...]:
    """Return one recommendation per bottleneck with a remedy, by score, best first and impossible ones last.

    model_selection comes once per complexity class. `split` is computed from the rollups if not given.
    """
    basis = _SelectionCosts(rollups, cheapest, split_of(rollups, optimizer) if split is None else split, level)
    found: list[Recommendation] = []
    for bottleneck in bottlenecks:
        if isinstance(bottleneck, SlowResponse):
            found.append(_cache_optimization(bottleneck, config, optimizer))
        elif isinstance(bottleneck, LowCacheHitRate):
            found.append(_cache_strategy(bottleneck, config, optimizer))
        elif isinstance(bottleneck, HighCost):
            found += _model_selection(bottleneck, basis, config)
    return tuple(sorted(map(_scored, found), key=lambda item: (item.status == "impossible", -(item.score or 0.0))))


# ----------------------------------------------------------------------------------------------------------------------


def _scored(item: Recommendation) -> Recommendation:
    """Return the recommendation with its score; an impossible one has none."""
    if item.expected_gain is None or item.confidence is None or item.status == "impossible":
        return item
    score = item.expected_gain * item.confidence / EFFORT_WEIGHTS[item.effort]
    return item.model_copy(update={"score": score})


def _confidence(excess: float, error: float) -> float:
    """Return the probability that the true excess is above 0, from its estimate and standard error."""
    return NormalDist().cdf(excess / error) if error else float(excess > 0)


def _limit_error(limit: float, sample: int) -> float:
    """Return the standard error of a share at its limit; unlike that at the share itself, it is never 0."""
    return math.sqrt(limit * (1 - limit) / sample)


def _cache_optimization(
    bottleneck: SlowResponse, config: Mapping[str, ConfigContent], optimizer: Optimizer
) -> Recommendation:
    moves, notes = _config_changes(
        {
            "cache.max_entries": optimizer.cache_max_entries,
            "cache.ttl_seconds": optimizer.cache_ttl_seconds,
        },
        config,
    )
    clear = (bottleneck.percentage_interval.low or 0.0) > 100 * SLOW_SHARE
    excess = bottleneck.percentage / 100 - SLOW_SHARE
    return _of_cache(
        Recommendation(
            type="cache_optimization",
            bottleneck=bottleneck.type,
            description="Increase cache size and TTL for frequently used selections",
            impact="high",
            effort="low",
            auto_apply=True,
            moves=moves,
            expected_gain=excess,
            confidence=_confidence(excess, _limit_error(SLOW_SHARE, bottleneck.sample)),
            evidence="observational",
            sample=bottleneck.sample,
        ),
        notes,
        optimizer,
        clear=clear,
    )


def _cache_strategy(
    bottleneck: LowCacheHitRate, config: Mapping[str, ConfigContent], optimizer: Optimizer
) -> Recommendation:
    moves, notes = _config_changes(
        {
            "cache.key_strategy": optimizer.cache_key_strategy,
            "cache.eviction_policy": optimizer.cache_eviction_policy,
        },
        config,
    )
    clear = (bottleneck.rate_interval.high or 1.0) < bottleneck.target_rate
    gap = bottleneck.target_rate - bottleneck.current_rate
    return _of_cache(
        Recommendation(
            type="cache_strategy",
            bottleneck=bottleneck.type,
            description="Optimize cache key generation and eviction policy",
            impact="medium",
            effort="medium",
            auto_apply=True,
            moves=moves,
            expected_gain=gap,
            confidence=_confidence(gap, _limit_error(bottleneck.target_rate, bottleneck.sample)),
            evidence="observational",
            sample=bottleneck.sample,
        ),
        notes,
        optimizer,
        clear=clear,
    )


def _of_cache(recommendation: Recommendation, notes: list[str], optimizer: Optimizer, *, clear: bool) -> Recommendation:
    """Return the recommendation with its status: impossible without config changes, waiting without evidence."""
    sample = recommendation.sample or 0
    if not recommendation.moves:
        return recommendation.model_copy(update={"status": "impossible", "note": "; ".join(notes)})
    if sample < optimizer.minimum_sample:
        note = f"waits for evidence: {sample:,} selections are known, {optimizer.minimum_sample:,} are needed"
        return recommendation.model_copy(update={"status": "deferred", "note": note})
    if not clear:
        note = "waits for evidence: the difference from the limit is within what chance would do"
        return recommendation.model_copy(update={"status": "deferred", "note": note})
    return recommendation.model_copy(update={"note": "; ".join(notes) or None})


def _config_changes(
    knobs: Mapping[str, NumericKnob | ChoiceKnob], config: Mapping[str, ConfigContent]
) -> tuple[tuple[ConfigChangeProposal, ...], list[str]]:
    """Return one config change per changeable key, and why the others cannot change."""
    moves: list[ConfigChangeProposal] = []
    notes: list[str] = []
    for key, knob in knobs.items():
        current = config.get(key)
        if current is None:
            notes.append(f"the router's config has no {key} (`routewatch config set {key} VALUE` names the one in use)")
            continue
        if isinstance(current, UnreadableSetting):
            notes.append(str(current))
            continue
        target = _step(current.value, knob)
        if target is None:
            notes.append(f"{key} stays at {shown(current.value)}, which {_stuck_reason(current.value, knob)}")
        else:
            moves.append(
                ConfigChangeProposal(key=key, from_value=current.value, to_value=target, version=current.version)
            )
    return tuple(moves), notes


def _step(value: Any, knob: NumericKnob | ChoiceKnob) -> Any:
    """Return the next value within the bounds; None if there is none.

    A value outside the bounds has none: to many routers -1 or 0 means for ever, without a limit, or off.
    """
    if isinstance(knob, ChoiceKnob):
        position = knob.choices.index(value) if value in knob.choices else len(knob.choices)
        return knob.choices[position + 1] if position + 1 < len(knob.choices) else None
    if not _is_number(value) or not knob.minimum <= value <= knob.maximum:
        return None
    raised = min(value * knob.factor, knob.maximum)
    stepped = int(raised) if isinstance(value, int) else raised
    return stepped if stepped > value else None


def _stuck_reason(value: Any, knob: NumericKnob | ChoiceKnob) -> str:
    if isinstance(knob, ChoiceKnob):
        known = ", ".join(knob.choices)
        return "is the strongest of the known choices" if value == knob.choices[-1] else f"is none of {known}"
    if not _is_number(value):
        return "is no number"
    if value < knob.minimum or value > knob.maximum:
        side = "below the lower" if value < knob.minimum else "above the upper"
        bound = knob.minimum if value < knob.minimum else knob.maximum
        return f"is {side} bound {bound:,g} and is left alone: it may be a setting of its own, such as off or for ever"
    if value * knob.factor < knob.maximum:
        return f"the factor {knob.factor:g} raises by less than a whole number"
    return f"is at the upper bound {knob.maximum:,g}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _model_selection(
    bottleneck: HighCost, basis: _SelectionCosts, config: Mapping[str, ConfigContent]
) -> list[Recommendation]:
    cells = {(key[0], key[1]): totals for key, totals in totals_by(basis.rollups, "complexity", "model_id").items()}
    spent = total(basis.rollups).sums["cost_sum_usd"]
    found = [
        recommendation.model_copy(update={"expected_gain": recommendation.savings_usd.estimate / spent})
        for complexity in sorted(basis.cheapest)
        if (recommendation := _cheaper_model(complexity, basis, cells, config)) and recommendation.savings_usd
    ]
    return found or [
        _of_models(bottleneck.sample).model_copy(
            update={
                "status": "impossible",
                "note": "in no complexity class is a cheaper model known to be adequate that is not in use already: "
                "accuracy or cost is known for too few selections, or every cheaper model falls short",
            }
        )
    ]


def _cheaper_model(
    complexity: str,
    basis: _SelectionCosts,
    cells: Mapping[tuple[str, str], Totals],
    config: Mapping[str, ConfigContent],
) -> Recommendation | None:
    """Replace the class's configured model by the candidate, else its costliest other one; None unless that saves.

    Also None if the config already names the candidate: other models that serve the class do not come from the config.

    """
    candidate = basis.cheapest[complexity]
    savings = {
        model_id: _saving(totals, candidate, basis.level)
        for (name, model_id), totals in cells.items()
        if name == complexity and model_id not in (candidate.model_id, OTHER_MODELS)
    }
    sure = {model_id: interval for model_id, interval in savings.items() if (interval.low or 0.0) > 0}
    if not sure:
        return None
    key = ROUTING_PREFIX + complexity
    setting = config.get(key)
    configured = setting.value if isinstance(setting, Setting) and isinstance(setting.value, str) else ""
    if configured == candidate.model_id:
        return None
    from_model, saving = max(sure.items(), key=lambda item: (item[0] == configured, item[1].estimate, item[0]))
    move: tuple[ConfigChangeProposal, ...] = ()
    if isinstance(setting, Setting) and configured == from_model:
        move = (
            ConfigChangeProposal(key=key, from_value=from_model, to_value=candidate.model_id, version=setting.version),
        )
    notes = ("waits for a person to decide", _unusable(key, setting), basis.split.why([complexity]))
    return _of_models(candidate.sample).model_copy(
        update={
            "complexity": shown_class(complexity),
            "from_model": from_model,
            "to_model": candidate.model_id,
            "savings_usd": saving,
            "accuracy_after": candidate.accuracy_of(uncached(cells[complexity, from_model])[0], basis.level),
            "confidence": _confidence(saving.estimate, (saving.estimate - (saving.low or 0.0)) / z(basis.level)),
            "moves": move,
            "status": "waiting",
            "note": "; ".join(note for note in notes if note),
            "observational": basis.split.is_observational([complexity]),
            "evidence": basis.split.evidence([complexity]),
        }
    )


def _unusable(key: str, setting: ConfigContent | None) -> str | None:
    """Return why a class's key in the config names no model; None if it names one or is not there."""
    if isinstance(setting, UnreadableSetting):
        return str(setting)
    if setting is None or isinstance(setting.value, str):
        return None
    return f"{key} is {shown(setting.value)}, which names no model (`routewatch config set {key} MODEL`)"


def _saving(totals: Totals, candidate: Candidate, level: float) -> Interval:
    """Return what the cell's uncached selections would have saved with the candidate."""
    count, cost, _ = uncached(totals)
    return less(cost, candidate.cost_of(count, level))


def _of_models(sample: int) -> Recommendation:
    return Recommendation(
        type="model_selection",
        bottleneck="high_cost",
        description="Adjust selection criteria to favor cost-effective models",
        impact="high",
        effort="low",
        auto_apply=False,
        sample=sample,
        observational=True,
        evidence="observational",
    )
