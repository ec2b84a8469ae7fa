"""Parts of the sample report about optimizations: one kept, one reverted, one under observation, one pending."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from models.documents import (
    AppliedOptimization,
    Baseline,
    Baselines,
    Bottleneck,
    ConfigChangeProposal,
    ConfigHistoryEntry,
    Hotspot,
    Interval,
    MetricChange,
    ModelRegression,
    OptimizationSavings,
    Recommendation,
    Savings,
    SlowResponse,
    SpendSpike,
    TrialPoint,
    TrialStepTaken,
    TrialSummary,
    Verdict,
)
from models.kpis import KpiName

DECIDE_URL = (
    "http://127.0.0.1:4200/deployments/deployment/0d5c4f0e-3c43-4c62-9a55-5d6a1c1f7b21/run"
    "?parameters=%7B%22optimization%22%3A%22%2312%20routing.moderate%22%7D"
)


def _at(day: int, hour: int, month: int = 10) -> datetime:
    return datetime(2026, month, day, hour, 6, tzinfo=UTC)


def _range(estimate: float, low: float, high: float) -> Interval:
    return Interval(estimate=estimate, low=low, high=high)


# --- verdicts ---------------------------------------------------------------------------------------------------------


KEPT = Verdict(
    state="kept",
    reason="better: slowShare 24.10% → 18.40%",
    judged_at=_at(6, 5),
    observed_from=_at(29, 5, 9),
    observed_to=_at(6, 5),
    matched_by=None,
    hours=48,
    method="switchback",
    conclusion="better",
    savings_basis="measured",
    trial=TrialSummary(
        started_at=_at(29, 5, 9), deadline=_at(6, 5), pairs=24, planned_pairs=42, missed_pairs=1, wash_out_minutes=15,
        steps=(TrialStepTaken(at=_at(29, 5, 9), action="start", by="routewatch", reason="the cache is small"),),
    ),
    goal=MetricChange(
        metric="slowShare", before=0.241, after=0.184, change=_range(-0.057, -0.064, -0.049), margin=0.002,
        sample_before=98_112, sample_after=24_870, judgement="better",
    ),
    guards=(
        MetricChange(
            metric=KpiName.SELECTION_ACCURACY, before=0.951, after=0.953, change=_range(0.002, -0.006, 0.010),
            margin=0.01, sample_before=38_096, sample_after=9_931, judgement="same",
        ),
        MetricChange(
            metric=KpiName.ERROR_RATE, before=0.0148, after=0.0152, change=_range(0.0004, -0.0011, 0.0019),
            margin=0.005, sample_before=99_204, sample_after=25_110, judgement="same",
        ),
        MetricChange(
            metric="averageCost", before=0.0262, after=0.0238, change=_range(-0.0024, -0.0031, -0.0016),
            margin=0.00131, sample_before=92_260, sample_after=23_352, judgement="better",
        ),
    ),
    savings_usd=_range(56.04, 37.4, 72.4),
)  # fmt: skip

TAKEN_BACK = Verdict(
    state="reverted",
    reason="clearly worse: selectionAccuracy 95.70% → 92.80%",
    judged_at=_at(8, 15),
    observed_from=_at(7, 10),
    observed_to=_at(8, 15),
    matched_by="hour of the day",
    hours=29,
    conclusion="worse",
    savings_basis="observed",
    placebo_spans=23,
    false_verdicts_of_100=4.0,
    goal=MetricChange(
        metric="averageCost", before=0.0211, after=0.0174, change=_range(-0.0037, -0.0052, -0.0021), margin=0.000211,
        sample_before=28_440, sample_after=3_412, judgement="better",
    ),
    guards=(
        MetricChange(
            metric=KpiName.SELECTION_ACCURACY, before=0.957, after=0.928, change=_range(-0.029, -0.044, -0.014),
            margin=0.01, sample_before=11_660, sample_after=1_398, judgement="worse",
        ),
        MetricChange(
            metric=KpiName.ERROR_RATE, before=0.0, after=0.0012, change=_range(0.0012, 0.0, 0.0031), margin=0.005,
            sample_before=28_440, sample_after=3_412, judgement="same",
        ),
        MetricChange(
            metric=KpiName.RESPONSE_TIME, before=1_812.0, after=1_264.0, change=_range(-548.0, -702.0, -391.0),
            margin=181.2, sample_before=28_101, sample_after=3_377, judgement="better",
        ),
    ),
    savings_usd=_range(12.62, 7.2, 17.7),
)  # fmt: skip

WATCHED = Verdict(
    state="observing",
    reason="not clear yet: cacheHitRate 77.10% → 78.40%",
    judged_at=_at(12, 4),
    observed_from=_at(11, 5),
    observed_to=_at(12, 4),
    matched_by="hour of the day",
    hours=23,
    goal=MetricChange(
        metric=KpiName.CACHE_HIT_RATE, before=0.771, after=0.784, change=_range(0.013, -0.006, 0.031), margin=0.002,
        sample_before=99_204, sample_after=3_604, judgement="unclear",
    ),
    guards=(
        MetricChange(
            metric=KpiName.SELECTION_ACCURACY, before=None, after=None, change=None, margin=0.01, sample_before=96,
            sample_after=31, judgement="unknown", missing_sample=2_400,
            reason="known in 3 matched hours, 12 are needed",
        ),
        MetricChange(
            metric=KpiName.ERROR_RATE, before=0.0152, after=0.0149, change=_range(-0.0003, -0.0212, 0.0221),
            margin=0.005, sample_before=99_204, sample_after=3_604, judgement="unclear",
        ),
        MetricChange(
            metric=KpiName.RESPONSE_TIME, before=1_236.0, after=1_241.0, change=_range(5.0, -61.0, 72.0), margin=123.6,
            sample_before=97_715, sample_after=3_550, judgement="same",
        ),
    ),
)  # fmt: skip


def _effects() -> Iterator[TrialPoint]:
    """Effects that settle over seven days, each with bounds that narrow."""
    of_metrics = (
        ("averageCost", -0.0031, 0.009), (KpiName.SELECTION_ACCURACY, 0.002, 0.12), (KpiName.ERROR_RATE, 0.0004, 0.05),
        ("slowShare", -0.018, 0.15),
    )  # fmt: skip
    for index, hour in enumerate(range(2, 168, 2)):
        for metric, effect, spread in of_metrics:
            half = spread / math.sqrt(index + 1)
            estimate = effect + half * 0.3 * math.sin(index * 1.7)
            at = _at(2, 6) + timedelta(hours=hour)
            yield TrialPoint(metric=metric, at=at, estimate=estimate, low=estimate - half, high=estimate + half)


ROLLED_OUT = Verdict(
    state="kept",
    reason="better: average cost per request $0.0211 → $0.0180",
    judged_at=_at(9, 6),
    observed_from=_at(2, 6),
    observed_to=_at(9, 6),
    matched_by=None,
    hours=168,
    method="split",
    conclusion="better",
    goal=MetricChange(
        metric="averageCost", before=0.0211, after=0.018, change=_range(-0.0031, -0.0041, -0.0021), margin=0.000211,
        sample_before=28_440, sample_after=13_412, judgement="better",
    ),
    guards=(
        MetricChange(
            metric=KpiName.SELECTION_ACCURACY, before=0.957, after=0.959, change=_range(0.002, -0.008, 0.012),
            margin=0.01, sample_before=11_660, sample_after=5_398, judgement="same",
        ),
        MetricChange(
            metric=KpiName.ERROR_RATE, before=0.0008, after=0.0012, change=_range(0.0004, -0.0028, 0.0038),
            margin=0.005, sample_before=28_440, sample_after=13_412, judgement="same",
        ),
        MetricChange(
            metric="slowShare", before=0.241, after=0.223, change=_range(-0.018, -0.031, -0.005), margin=0.02,
            sample_before=28_101, sample_after=13_377, judgement="better",
        ),
    ),
    savings_usd=_range(41.6, 28.1, 55.0),
    savings_basis="measured",
    trial=TrialSummary(
        started_at=_at(2, 6),
        deadline=_at(16, 6),
        steps=(
            TrialStepTaken(at=_at(2, 6), action="start", percent=5, by="Dana Cole", reason="approved"),
            TrialStepTaken(at=_at(3, 7), action="step", percent=20, by="routewatch", reason="no harm"),
            TrialStepTaken(at=_at(5, 4), action="step", percent=50, by="routewatch", reason="no harm"),
            TrialStepTaken(at=_at(9, 6), action="promote", percent=100, by="routewatch", reason="better"),
        ),
        series=tuple(_effects()),
        arms_by="assignment",
        asked_percent=32.1,
        found_percent=32.0,
    ),
)  # fmt: skip


def rolled_out() -> AppliedOptimization:
    """Return a change that a rollout tried in four steps."""
    return AppliedOptimization(
        type="model_selection", key="routing.simple", from_value="atlas-large-2026-05", to_value="atlas-medium",
        applied_at=_at(2, 6), optimization_id=8, state="kept", verdict=ROLLED_OUT, by="Dana Cole",
        reason="atlas-medium is as good for simple requests", estimated_savings_usd=_range(46.0, 31.5, 58.0),
    )  # fmt: skip


def applied() -> tuple[AppliedOptimization, ...]:
    """Return three optimizations, by time: one of two keys kept, one reverted, which is on record, one observed."""
    cache = {
        "type": "cache_optimization", "applied_at": _at(29, 4, 9), "optimization_id": 9, "state": "kept",
        "reason": "24.1 % of the selections were slower than 2 s", "verdict": KEPT,
    }  # fmt: skip
    routing = {"type": "model_selection", "key": "routing.moderate", "optimization_id": 10, "state": "reverted",
               "verdict": TAKEN_BACK, "estimated_savings_usd": _range(96.0, 71.5, 118.0)}  # fmt: skip
    return (
        AppliedOptimization(**cache, key="cache.max_entries", from_value=10_000, to_value=20_000),
        AppliedOptimization(**cache, key="cache.ttl_seconds", from_value=3_600, to_value=7_200),
        rolled_out(),
        AppliedOptimization(
            **routing, from_value="atlas-large-2026-05", to_value="atlas-medium", applied_at=_at(7, 9), by="Dana Cole",
            reason="the benchmark of August says that it is as good",
        ),
        AppliedOptimization(
            **routing, from_value="atlas-medium", to_value="atlas-large-2026-05", applied_at=_at(8, 15),
            reason="clearly worse: selectionAccuracy 95.70% → 92.80%",
        ),
        AppliedOptimization(
            type="cache_strategy", key="cache.key_strategy", from_value="exact", to_value="normalized",
            applied_at=_at(11, 4), optimization_id=11, state="observing", verdict=WATCHED,
            reason="the cache answered 77.1 % of the selections",
        ),
    )  # fmt: skip


def history() -> tuple[ConfigHistoryEntry, ...]:
    """Return what `applied` wrote, and what a person did beside it."""
    by_us = tuple(
        ConfigHistoryEntry(
            key=change.key, from_value=change.from_value, to_value=change.to_value, changed_at=change.applied_at,
            changed_by=change.by, reason=change.reason, reverted=change.state == "reverted" and change.by == "Dana Cole",
        )
        for change in applied()
    )  # fmt: skip
    by_hand = ConfigHistoryEntry(
        key="routing.timeout_ms", from_value=None, to_value=8_000, changed_at=_at(2, 12), changed_by="Dana Cole",
        reason="the provider asked for it",
    )  # fmt: skip
    return tuple(sorted((*by_us, by_hand), key=lambda entry: entry.changed_at))


# --- what was found and is recommended --------------------------------------------------------------------------------


def bottlenecks() -> tuple[Bottleneck, ...]:
    return (
        SlowResponse(
            severity="high",
            sample=49_514,
            affected=9_110,
            percentage=18.4,
            percentage_interval=_range(18.4, 18.1, 18.7),
            where=(
                Hotspot(
                    dimension="model",
                    value="atlas-large-2026-05",
                    rate=0.52,
                    affected=5_810,
                    share=0.638,
                    rate_without=0.086,
                ),
                Hotspot(
                    dimension="hour", value="13:00–17:00", rate=0.31, affected=980, share=0.108, rate_without=0.175
                ),
            ),
        ),
        ModelRegression(
            severity="medium",
            sample=6_018,
            model_id="atlas-medium",
            metric=KpiName.RESPONSE_TIME,
            before=912.0,
            after=1_240.0,
            change=_range(328.0, 271.0, 390.0),
        ),
        SpendSpike(
            severity="medium",
            sample=1_804,
            affected=1_804,
            start=datetime(2026, 10, 9, 12, tzinfo=UTC),
            end=datetime(2026, 10, 9, 16, tzinfo=UTC),
            cost_usd=96.4,
            usual_cost_usd=22.1,
            where=(
                Hotspot(dimension="team", value="search", rate=87.15, affected=990, share=0.904, rate_without=9.25),
            ),
        ),
    )


def recommendations() -> tuple[Recommendation, ...]:
    """Return by score: one pending approval by a click, one pending without a link, one deferred."""
    return (
        Recommendation(
            type="model_selection",
            bottleneck="high_cost",
            description="Use atlas-medium for moderate requests",
            impact="high",
            effort="medium",
            auto_apply=False,
            status="waiting",
            optimization_id=12,
            decide_url=DECIDE_URL,
            expected_gain=0.181,
            confidence=0.9993,
            score=0.0904,
            complexity="moderate",
            from_model="atlas-large-2026-05",
            to_model="atlas-medium",
            savings_usd=_range(214.0, 160.5, 262.0),
            accuracy_after=_range(0.957, 0.951, 0.962),
            sample=2_140,
            observational=True,
            moves=(
                ConfigChangeProposal(
                    key="routing.moderate", from_value="atlas-large-2026-05", to_value="atlas-medium", version=7
                ),
            ),
        ),
        Recommendation(
            type="cache_optimization",
            bottleneck="slow_response",
            description="Increase cache size and TTL",
            impact="high",
            effort="low",
            auto_apply=True,
            status="deferred",
            expected_gain=0.084,
            confidence=1.0,
            score=0.084,
            sample=49_514,
            note="waits until #11 (cache.key_strategy) is judged: two changes at once prove nothing of either",
            moves=(ConfigChangeProposal(key="cache.ttl_seconds", from_value=7_200, to_value=14_400, version=5),),
        ),
        Recommendation(
            type="cache_strategy",
            bottleneck="low_cache_hit_rate",
            description="Keep what is asked for often",
            impact="medium",
            effort="medium",
            auto_apply=False,
            status="waiting",
            optimization_id=13,
            expected_gain=0.126,
            confidence=1.0,
            score=0.063,
            sample=50_268,
            moves=(ConfigChangeProposal(key="cache.eviction_policy", from_value="lru", to_value="lfu", version=2),),
        ),
        Recommendation(
            type="model_selection",
            bottleneck="high_cost",
            description="Use a cheaper model for complex requests",
            impact="high",
            effort="medium",
            auto_apply=False,
            status="impossible",
            note="no cheaper model is known to be adequate: accuracy is known for too few selections",
        ),
    )


# --- money ------------------------------------------------------------------------------------------------------------


def savings(estimated: Savings) -> OptimizationSavings:
    """Return the savings less what was lost while one change was observed."""
    return OptimizationSavings(
        estimated=estimated,
        measured_usd=_range(97.64, 74.8, 120.5),
        measured_count=2,
        observed_usd=_range(12.62, 7.2, 17.7),
        observed_count=1,
        router_cost_usd=5.03,
        net_usd=_range(418.63, 366.2, 475.1),
    )


def baselines() -> Baselines:
    return Baselines(
        router=Baseline(name="router", cost_usd=_range(1_183.42, 1_183.42, 1_183.42),
                        accuracy=_range(0.962, 0.959, 0.965), covered_share=1.0),
        all_cheapest=Baseline(name="allCheapest", model="swift-mini", cost_usd=_range(131.8, 127.2, 136.4),
                              accuracy=None, covered_share=0.82,
                              reason="accuracy is not known well enough in every class"),
        shuffled=Baseline(name="shuffled", cost_usd=_range(1_183.42, 1_151.0, 1_216.1),
                          accuracy=_range(0.951, 0.946, 0.956), covered_share=0.82),
        accuracy_gained=_range(0.011, 0.005, 0.017),
    )  # fmt: skip


def no_baselines() -> Baselines:
    """Return the optimizations of a period without data."""
    reason = "no cost is known"
    unknown = {
        name: Baseline(name=name, cost_usd=None, accuracy=None, covered_share=0.0, reason=reason)
        for name in ("router", "allCheapest", "shuffled")
    }
    return Baselines(
        router=unknown["router"], all_cheapest=unknown["allCheapest"], shuffled=unknown["shuffled"],
        accuracy_gained=None, reason=reason,
    )  # fmt: skip
