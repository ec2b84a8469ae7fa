"""Recommended and applied changes of the config, and their assessment."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import computed_field

from models.base import DEPRECATED, ApiModel, RenamedFields
from models.documents.common import Evidence, Interval
from models.kpis import KpiName


class ConfigChangeProposal(ApiModel):
    """One bounded change of one key of the router's config, from the value and version that were read."""

    key: str
    from_value: Any
    to_value: Any
    version: int


class Recommendation(RenamedFields):
    """A recommended action against a bottleneck.

    `auto_apply` is whether Routewatch may apply it automatically; `status` and `note` give its outcome: waiting means
    that it awaits a person's decision, deferred that it needs more evidence or time.
    `confidence` is the probability that the expected gain is above 0 if chance alone could mislead: it knows neither
    whether the models' requests were alike nor whether a cache change helps. What the estimate rests on is `evidence`.
    The fields from `complexity` on are those of model_selection. The bounds of `savings_usd` and `accuracy_after` hold
    chance alone too: while `observational` is true, reports do not show them.
    `run_rate_usd_per_day` is what it would save a day at the rate since `run_rate_since`, when the same requests were
    last changed in the period (null: not in the period), or `run_rate_reason` says why that cannot be told.
    """

    FORMER_NAMES: ClassVar = {"worth": "expectedGain"}

    type: Literal["cache_optimization", "cache_strategy", "model_selection"]
    bottleneck: str
    description: str
    impact: Literal["high", "medium", "low"]
    effort: Literal["high", "medium", "low"]
    auto_apply: bool
    moves: tuple[ConfigChangeProposal, ...] = ()
    status: Literal["proposed", "applied", "waiting", "deferred", "impossible"] = "proposed"
    note: str | None = None
    optimization_id: int | None = None
    decide_url: str | None = None
    expected_gain: float | None = None
    confidence: float | None = None
    score: float | None = None
    complexity: str | None = None
    from_model: str | None = None
    to_model: str | None = None
    savings_usd: Interval | None = None
    accuracy_after: Interval | None = None
    sample: int | None = None
    observational: bool = False
    evidence: Evidence | None = None
    run_rate_usd_per_day: float | None = None
    run_rate_since: datetime | None = None
    run_rate_reason: str | None = None

    @computed_field(alias="worth", json_schema_extra=DEPRECATED)  # type: ignore[prop-decorator]
    @property
    def former_expected_gain(self) -> float | None:
        """The former name of `expectedGain`, written until the next release."""
        return self.expected_gain


class MetricChange(ApiModel):
    """One KPI over matched hours before and after a config change. `change` is after - before, in its unit.

    It is assessed as worse if the whole interval is on the worse side and the change is beyond `margin`, and as better
    or same if even the interval's worse end is within the margin.
    """

    metric: KpiName | Literal["averageCost", "slowShare"]
    before: float | None
    after: float | None
    change: Interval | None
    margin: float
    sample_before: int
    sample_after: int
    judgement: Literal["better", "same", "worse", "unclear", "unknown"]
    reason: str | None = None


class Verdict(ApiModel):
    """The assessment of a config change, comparing the hours after it with matched hours before.

    `goal` is the primary metric that the change was to improve, `guards` are the guardrail metrics. `hours` is the
    number of matched hours, and `incident_hours` the hours of both sides excluded because a passing incident caused
    most of their errors.
    `savings_usd` is measured: what the observed selections cost less than before; a loss is negative.
    """

    state: Literal["observing", "kept", "reverted", "expired"]
    reason: str
    judged_at: datetime
    observed_from: datetime
    observed_to: datetime
    matched_by: Literal["hour of the week", "hour of the day"] | None
    hours: int
    incident_hours: int = 0
    goal: MetricChange | None
    guards: tuple[MetricChange, ...] = ()
    savings_usd: Interval | None = None


class AppliedOptimization(ApiModel):
    """The change of one key of the router's config by an optimization, or its revert.

    Optimizations are what is counted as changes: one may change several keys. `state` is that of the optimization, of
    which `verdict` is the newest. `estimated_savings_usd` is from its recommendation, over the period that it was made
    from, and rests on `estimate_evidence`; the verdict has the measured savings. `is_revert` is whether the key got its
    former value back.
    """

    type: str
    key: str
    from_value: Any
    to_value: Any
    applied_at: datetime
    reason: str
    state: str
    optimization_id: int | None = None
    by: str = "routewatch"
    verdict: Verdict | None = None
    estimated_savings_usd: Interval | None = None
    estimate_evidence: Evidence | None = None
    is_revert: bool = False


class ConfigHistoryEntry(ApiModel):
    """The change of one key of the router's config, from any origin.

    Keys that one optimization changed together have its `optimization_id`: they are one change. `is_revert` is whether
    the key got its former value back, and `reverted` whether it did later.
    """

    key: str
    from_value: Any
    to_value: Any
    changed_at: datetime
    changed_by: str
    reason: str
    reverted: bool = False
    optimization_id: int | None = None
    is_revert: bool = False
