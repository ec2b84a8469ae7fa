"""Recommended and applied changes of the config, and their assessment."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import computed_field

from models.base import DEPRECATED, ApiModel, RenamedFields
from models.documents.common import Evidence, Interval
from models.kpis import KpiName

TrialMethod = Literal["split", "switchback", "beforeAfter"]
"""How a change is tried, from the strongest to the weakest."""

Conclusion = Literal["better", "noWorse", "worse", "unproven", "cannotBeTold", "invalid"]


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
    or same if even the interval's worse end is within the margin. `missing_sample` is about how many more known values
    the candidate needs for that.
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
    missing_sample: int | None = None


class TrialStepTaken(ApiModel):
    """One step of a trial; `percent` is the candidate's share of the requests from then on, where it has one."""

    at: datetime
    action: Literal["start", "step", "hold", "resume", "jump", "promote", "rollBack", "abort", "invalidate", "end"]
    percent: float | None = None
    by: str
    reason: str


class TrialPoint(ApiModel):
    """The effect of the candidate on one metric as it was known at one time: candidate - baseline, in its unit.

    The bounds are of a confidence sequence: they hold at all times at once.
    """

    metric: KpiName | Literal["averageCost", "slowShare"]
    at: datetime
    estimate: float
    low: float | None
    high: float | None


class TrialSummary(ApiModel):
    """How a change was tried, for a picture: its steps, and the effects over time.

    `asked_percent` and `found_percent` are the candidate's share of the requests as asked and as found, over the whole
    trial. `pairs` are the pairs of a switchback's blocks that count, of `planned_pairs`.
    """

    started_at: datetime
    deadline: datetime
    steps: tuple[TrialStepTaken, ...] = ()
    series: tuple[TrialPoint, ...] = ()
    arms_by: Literal["assignment", "model"] | None = None
    asked_percent: float | None = None
    found_percent: float | None = None
    pairs: int | None = None
    planned_pairs: int | None = None
    missed_pairs: int = 0
    wash_out_minutes: float | None = None


class Verdict(ApiModel):
    """The assessment of a config change by its `method`.

    - split: a random share of the requests at the same time; `before` is the baseline's arm, `after` the candidate's.
    - switchback: blocks of time in random order, under the old value and the new one.
    - beforeAfter: the hours after the change against matched hours before, with the spread of pretended changes.

    `conclusion` is None while the change is observed: noWorse is surely within every margin, unproven says that a
    guardrail was not known, cannotBeTold that the intervals do not decide, invalid that the arms cannot be compared.
    `goal` is the primary metric that the change was to improve, `guards` are the guardrail metrics. `hours` is the
    number of matched hours, and `incident_hours` the hours of both sides excluded because a passing incident caused
    most of their errors.
    `savings_usd` is what the observed selections cost less; a loss is negative. It is measured by a split or a
    switchback, and otherwise observed, with the spread of pretended changes as its interval.
    `placebo_spans` is the number of independent pretended changes, and of 100 of them this method would have given
    `false_verdicts_of_100` a firm verdict.
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
    method: TrialMethod = "beforeAfter"
    conclusion: Conclusion | None = None
    savings_basis: Literal["measured", "observed"] | None = None
    placebo_spans: int | None = None
    false_verdicts_of_100: float | None = None
    trial: TrialSummary | None = None


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
