"""The tables as SQLModel classes: a row as an object, for code that uses sessions.

models.schema has the tables themselves and describes their rows; statements over many rows need only that.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import MetaData, Table
from sqlmodel import Field, SQLModel

from models import schema
from routewatch import quarantine
from routewatch.selection import METADATA, SELECTION


class _StoredModel(SQLModel):
    metadata: ClassVar[MetaData] = METADATA


def table_of(model: type[SQLModel]) -> Table:
    """The SQLAlchemy table of a model, for statements over many rows at once."""
    table: Table = model.__table__  # type: ignore[attr-defined]
    return table


class Selection(_StoredModel, table=True):
    __table__: ClassVar[Table] = SELECTION

    id: int | None = Field(default=None, sa_column=SELECTION.c.id)
    request_id: str | None = Field(default=None, sa_column=SELECTION.c.request_id)
    timestamp: datetime = Field(sa_column=SELECTION.c.timestamp)
    model_id: str = Field(sa_column=SELECTION.c.model_id)
    response_time_ms: float | None = Field(default=None, sa_column=SELECTION.c.response_time_ms)
    complexity: str | None = Field(default=None, sa_column=SELECTION.c.complexity)
    cost_usd: float | None = Field(default=None, sa_column=SELECTION.c.cost_usd)
    cache_hit: bool | None = Field(default=None, sa_column=SELECTION.c.cache_hit)
    accuracy: float | None = Field(default=None, sa_column=SELECTION.c.accuracy)
    user_satisfaction: float | None = Field(default=None, sa_column=SELECTION.c.user_satisfaction)
    error: bool = Field(default=False, sa_column=SELECTION.c.error)
    error_type: str | None = Field(default=None, sa_column=SELECTION.c.error_type)
    prompt_tokens: int | None = Field(default=None, sa_column=SELECTION.c.prompt_tokens)
    completion_tokens: int | None = Field(default=None, sa_column=SELECTION.c.completion_tokens)
    team: str | None = Field(default=None, sa_column=SELECTION.c.team)
    cost_priced_on: date | None = Field(default=None, sa_column=SELECTION.c.cost_priced_on)
    complexity_derived: bool | None = Field(default=None, sa_column=SELECTION.c.complexity_derived)
    experiment: str | None = Field(default=None, sa_column=SELECTION.c.experiment)
    arm: str | None = Field(default=None, sa_column=SELECTION.c.arm)
    unit_bucket: int | None = Field(default=None, sa_column=SELECTION.c.unit_bucket)


class Quarantine(_StoredModel, table=True):
    __table__: ClassVar[Table] = quarantine.QUARANTINE

    id: int | None = Field(default=None, sa_column=quarantine.QUARANTINE.c.id)
    request_id: str | None = Field(default=None, sa_column=quarantine.QUARANTINE.c.request_id)
    set_aside_at: datetime = Field(sa_column=quarantine.QUARANTINE.c.set_aside_at)
    entrance: str = Field(sa_column=quarantine.QUARANTINE.c.entrance)
    reason: str = Field(sa_column=quarantine.QUARANTINE.c.reason)
    content: Any = Field(sa_column=quarantine.QUARANTINE.c.content)
    due_at: datetime | None = Field(default=None, sa_column=quarantine.QUARANTINE.c.due_at)


class IntakeCount(_StoredModel, table=True):
    __table__: ClassVar[Table] = quarantine.INTAKE_COUNT

    hour: datetime = Field(sa_column=quarantine.INTAKE_COUNT.c.hour)
    entrance: str = Field(sa_column=quarantine.INTAKE_COUNT.c.entrance)
    outcome: str = Field(sa_column=quarantine.INTAKE_COUNT.c.outcome)
    reason: str = Field(sa_column=quarantine.INTAKE_COUNT.c.reason)
    rows: int = Field(sa_column=quarantine.INTAKE_COUNT.c.rows)
    errors: int = Field(sa_column=quarantine.INTAKE_COUNT.c.errors)


class Overhead(_StoredModel, table=True):
    __table__: ClassVar[Table] = schema.OVERHEAD

    request_id: str = Field(sa_column=schema.OVERHEAD.c.request_id)
    timestamp: datetime = Field(sa_column=schema.OVERHEAD.c.timestamp)
    source: str = Field(sa_column=schema.OVERHEAD.c.source)
    kind: str = Field(sa_column=schema.OVERHEAD.c.kind)
    model_id: str | None = Field(default=None, sa_column=schema.OVERHEAD.c.model_id)
    cost_usd: float | None = Field(default=None, sa_column=schema.OVERHEAD.c.cost_usd)
    cost_priced_on: date | None = Field(default=None, sa_column=schema.OVERHEAD.c.cost_priced_on)


class PullState(_StoredModel, table=True):
    __table__: ClassVar[Table] = schema.PULL_STATE

    source: str = Field(sa_column=schema.PULL_STATE.c.source)
    kind: str = Field(sa_column=schema.PULL_STATE.c.kind)
    cursor: str | None = Field(default=None, sa_column=schema.PULL_STATE.c.cursor)
    pulled_at: datetime | None = Field(default=None, sa_column=schema.PULL_STATE.c.pulled_at)
    last: Any = Field(default=None, sa_column=schema.PULL_STATE.c.last)


class Rollup(_StoredModel, table=True):
    __table__: ClassVar[Table] = schema.ROLLUP

    level: str = Field(sa_column=schema.ROLLUP.c.level)
    bucket: datetime = Field(sa_column=schema.ROLLUP.c.bucket)
    model_id: str = Field(sa_column=schema.ROLLUP.c.model_id)
    complexity: str = Field(sa_column=schema.ROLLUP.c.complexity)
    team: str = Field(sa_column=schema.ROLLUP.c.team)
    count: int = Field(sa_column=schema.ROLLUP.c["count"])
    error_count: int = Field(sa_column=schema.ROLLUP.c.error_count)
    response_time_count: int = Field(sa_column=schema.ROLLUP.c.response_time_count)
    response_time_sum_ms: float = Field(sa_column=schema.ROLLUP.c.response_time_sum_ms)
    response_time_sum_sq: float = Field(sa_column=schema.ROLLUP.c.response_time_sum_sq)
    over_target_count: int = Field(sa_column=schema.ROLLUP.c.over_target_count)
    cost_count: int = Field(sa_column=schema.ROLLUP.c.cost_count)
    cost_sum_usd: float = Field(sa_column=schema.ROLLUP.c.cost_sum_usd)
    cost_sum_sq: float = Field(sa_column=schema.ROLLUP.c.cost_sum_sq)
    cache_count: int = Field(sa_column=schema.ROLLUP.c.cache_count)
    cache_hit_count: int = Field(sa_column=schema.ROLLUP.c.cache_hit_count)
    cache_hit_cost_count: int = Field(sa_column=schema.ROLLUP.c.cache_hit_cost_count)
    cache_hit_cost_sum_usd: float = Field(sa_column=schema.ROLLUP.c.cache_hit_cost_sum_usd)
    cache_hit_cost_sum_sq: float = Field(sa_column=schema.ROLLUP.c.cache_hit_cost_sum_sq)
    accuracy_count: int = Field(sa_column=schema.ROLLUP.c.accuracy_count)
    accuracy_sum: float = Field(sa_column=schema.ROLLUP.c.accuracy_sum)
    accuracy_sum_sq: float = Field(sa_column=schema.ROLLUP.c.accuracy_sum_sq)
    satisfaction_count: int = Field(sa_column=schema.ROLLUP.c.satisfaction_count)
    satisfaction_sum: float = Field(sa_column=schema.ROLLUP.c.satisfaction_sum)
    prompt_token_count: int = Field(sa_column=schema.ROLLUP.c.prompt_token_count)
    prompt_token_sum: int = Field(sa_column=schema.ROLLUP.c.prompt_token_sum)
    completion_token_count: int = Field(sa_column=schema.ROLLUP.c.completion_token_count)
    completion_token_sum: int = Field(sa_column=schema.ROLLUP.c.completion_token_sum)
    latency_histogram: bytes = Field(sa_column=schema.ROLLUP.c.latency_histogram)


class ArmRollup(_StoredModel, table=True):
    __table__: ClassVar[Table] = schema.ARM_ROLLUP

    bucket: datetime = Field(sa_column=schema.ARM_ROLLUP.c.bucket)
    experiment: str = Field(sa_column=schema.ARM_ROLLUP.c.experiment)
    arm: str = Field(sa_column=schema.ARM_ROLLUP.c.arm)
    complexity: str = Field(sa_column=schema.ARM_ROLLUP.c.complexity)
    unit_bucket: int = Field(sa_column=schema.ARM_ROLLUP.c.unit_bucket)
    count: int = Field(sa_column=schema.ARM_ROLLUP.c["count"])
    error_count: int = Field(sa_column=schema.ARM_ROLLUP.c.error_count)
    response_time_count: int = Field(sa_column=schema.ARM_ROLLUP.c.response_time_count)
    response_time_sum_ms: float = Field(sa_column=schema.ARM_ROLLUP.c.response_time_sum_ms)
    response_time_sum_sq: float = Field(sa_column=schema.ARM_ROLLUP.c.response_time_sum_sq)
    over_target_count: int = Field(sa_column=schema.ARM_ROLLUP.c.over_target_count)
    cost_count: int = Field(sa_column=schema.ARM_ROLLUP.c.cost_count)
    cost_sum_usd: float = Field(sa_column=schema.ARM_ROLLUP.c.cost_sum_usd)
    cost_sum_sq: float = Field(sa_column=schema.ARM_ROLLUP.c.cost_sum_sq)
    cache_count: int = Field(sa_column=schema.ARM_ROLLUP.c.cache_count)
    cache_hit_count: int = Field(sa_column=schema.ARM_ROLLUP.c.cache_hit_count)
    accuracy_count: int = Field(sa_column=schema.ARM_ROLLUP.c.accuracy_count)
    accuracy_sum: float = Field(sa_column=schema.ARM_ROLLUP.c.accuracy_sum)
    accuracy_sum_sq: float = Field(sa_column=schema.ARM_ROLLUP.c.accuracy_sum_sq)
    prompt_token_count: int = Field(sa_column=schema.ARM_ROLLUP.c.prompt_token_count)
    prompt_token_sum: int = Field(sa_column=schema.ARM_ROLLUP.c.prompt_token_sum)
    prompt_token_sum_sq: float = Field(sa_column=schema.ARM_ROLLUP.c.prompt_token_sum_sq)
    response_time_prompt_count: int = Field(sa_column=schema.ARM_ROLLUP.c.response_time_prompt_count)
    response_time_prompt_sum_tokens: float = Field(sa_column=schema.ARM_ROLLUP.c.response_time_prompt_sum_tokens)
    response_time_prompt_sum_sq: float = Field(sa_column=schema.ARM_ROLLUP.c.response_time_prompt_sum_sq)
    response_time_prompt_product: float = Field(sa_column=schema.ARM_ROLLUP.c.response_time_prompt_product)
    cost_prompt_count: int = Field(sa_column=schema.ARM_ROLLUP.c.cost_prompt_count)
    cost_prompt_sum_tokens: float = Field(sa_column=schema.ARM_ROLLUP.c.cost_prompt_sum_tokens)
    cost_prompt_sum_sq: float = Field(sa_column=schema.ARM_ROLLUP.c.cost_prompt_sum_sq)
    cost_prompt_product: float = Field(sa_column=schema.ARM_ROLLUP.c.cost_prompt_product)


class SelectionChange(_StoredModel, table=True):
    __table__: ClassVar[Table] = schema.SELECTION_CHANGE

    id: int | None = Field(default=None, sa_column=schema.SELECTION_CHANGE.c.id)
    at: datetime = Field(sa_column=schema.SELECTION_CHANGE.c.at)


class RollupCheckpoint(_StoredModel, table=True):
    __table__: ClassVar[Table] = schema.ROLLUP_CHECKPOINT

    id: int = Field(default=1, sa_column=schema.ROLLUP_CHECKPOINT.c.id)
    last_id: int = Field(sa_column=schema.ROLLUP_CHECKPOINT.c.last_id)
    zone: str = Field(sa_column=schema.ROLLUP_CHECKPOINT.c.zone)
    target_ms: float = Field(sa_column=schema.ROLLUP_CHECKPOINT.c.target_ms)
    last_selection_at: datetime | None = Field(default=None, sa_column=schema.ROLLUP_CHECKPOINT.c.last_selection_at)
    rollups_updated_at: datetime | None = Field(default=None, sa_column=schema.ROLLUP_CHECKPOINT.c.rollups_updated_at)
    minutes_from: datetime | None = Field(default=None, sa_column=schema.ROLLUP_CHECKPOINT.c.minutes_from)
    raw_from: datetime | None = Field(default=None, sa_column=schema.ROLLUP_CHECKPOINT.c.raw_from)
    change_batches_processed: int = Field(default=0, sa_column=schema.ROLLUP_CHECKPOINT.c.change_batches_processed)
    progressed_at: datetime | None = Field(default=None, sa_column=schema.ROLLUP_CHECKPOINT.c.progressed_at)
    counted_id: int | None = Field(default=None, sa_column=schema.ROLLUP_CHECKPOINT.c.counted_id)


class Config(_StoredModel, table=True):
    __table__: ClassVar[Table] = schema.CONFIG

    key: str = Field(sa_column=schema.CONFIG.c["key"])
    value: Any = Field(sa_column=schema.CONFIG.c.value)
    version: int = Field(sa_column=schema.CONFIG.c.version)
    updated_at: datetime = Field(sa_column=schema.CONFIG.c.updated_at)
    updated_by: str = Field(sa_column=schema.CONFIG.c.updated_by)


class ConfigChange(_StoredModel, table=True):
    __table__: ClassVar[Table] = schema.CONFIG_CHANGE

    id: int | None = Field(default=None, sa_column=schema.CONFIG_CHANGE.c.id)
    key: str = Field(sa_column=schema.CONFIG_CHANGE.c["key"])
    version: int = Field(sa_column=schema.CONFIG_CHANGE.c.version)
    from_value: Any = Field(default=None, sa_column=schema.CONFIG_CHANGE.c.from_value)
    to_value: Any = Field(sa_column=schema.CONFIG_CHANGE.c.to_value)
    changed_at: datetime = Field(sa_column=schema.CONFIG_CHANGE.c.changed_at)
    changed_by: str = Field(sa_column=schema.CONFIG_CHANGE.c.changed_by)
    reason: str = Field(sa_column=schema.CONFIG_CHANGE.c.reason)
    optimization_id: int | None = Field(default=None, sa_column=schema.CONFIG_CHANGE.c.optimization_id)
    reverted_by: int | None = Field(default=None, sa_column=schema.CONFIG_CHANGE.c.reverted_by)


class Optimization(_StoredModel, table=True):
    __table__: ClassVar[Table] = schema.OPTIMIZATION

    id: int | None = Field(default=None, sa_column=schema.OPTIMIZATION.c.id)
    type: str = Field(sa_column=schema.OPTIMIZATION.c.type)
    subject: str = Field(sa_column=schema.OPTIMIZATION.c.subject)
    state: str = Field(sa_column=schema.OPTIMIZATION.c.state)
    recommendation: Any = Field(sa_column=schema.OPTIMIZATION.c.recommendation)
    period_start: datetime = Field(sa_column=schema.OPTIMIZATION.c.period_start)
    period_end: datetime = Field(sa_column=schema.OPTIMIZATION.c.period_end)
    created_at: datetime = Field(sa_column=schema.OPTIMIZATION.c.created_at)
    updated_at: datetime = Field(sa_column=schema.OPTIMIZATION.c.updated_at)
    applied_at: datetime | None = Field(default=None, sa_column=schema.OPTIMIZATION.c.applied_at)
    verdict: Any = Field(default=None, sa_column=schema.OPTIMIZATION.c.verdict)


class OptimizationTransition(_StoredModel, table=True):
    __table__: ClassVar[Table] = schema.OPTIMIZATION_TRANSITION

    id: int | None = Field(default=None, sa_column=schema.OPTIMIZATION_TRANSITION.c.id)
    optimization_id: int = Field(sa_column=schema.OPTIMIZATION_TRANSITION.c.optimization_id)
    at: datetime = Field(sa_column=schema.OPTIMIZATION_TRANSITION.c.at)
    from_state: str | None = Field(default=None, sa_column=schema.OPTIMIZATION_TRANSITION.c.from_state)
    to_state: str = Field(sa_column=schema.OPTIMIZATION_TRANSITION.c.to_state)
    by: str = Field(sa_column=schema.OPTIMIZATION_TRANSITION.c.by)
    reason: str = Field(sa_column=schema.OPTIMIZATION_TRANSITION.c.reason)
    evidence: Any = Field(default=None, sa_column=schema.OPTIMIZATION_TRANSITION.c.evidence)


class OptimizationTrial(_StoredModel, table=True):
    __table__: ClassVar[Table] = schema.TRIAL

    id: int | None = Field(default=None, sa_column=schema.TRIAL.c.id)
    optimization_id: int = Field(sa_column=schema.TRIAL.c.optimization_id)
    method: str = Field(sa_column=schema.TRIAL.c.method)
    state: str = Field(sa_column=schema.TRIAL.c.state)
    plan: Any = Field(sa_column=schema.TRIAL.c.plan)
    step: int = Field(sa_column=schema.TRIAL.c.step)
    step_at: datetime = Field(sa_column=schema.TRIAL.c.step_at)
    started_at: datetime = Field(sa_column=schema.TRIAL.c.started_at)
    deadline: datetime = Field(sa_column=schema.TRIAL.c.deadline)
    ended_at: datetime | None = Field(default=None, sa_column=schema.TRIAL.c.ended_at)


class TrialStep(_StoredModel, table=True):
    __table__: ClassVar[Table] = schema.TRIAL_STEP

    id: int | None = Field(default=None, sa_column=schema.TRIAL_STEP.c.id)
    trial_id: int = Field(sa_column=schema.TRIAL_STEP.c.trial_id)
    at: datetime = Field(sa_column=schema.TRIAL_STEP.c.at)
    action: str = Field(sa_column=schema.TRIAL_STEP.c.action)
    percent: float | None = Field(default=None, sa_column=schema.TRIAL_STEP.c.percent)
    by: str = Field(sa_column=schema.TRIAL_STEP.c.by)
    reason: str = Field(sa_column=schema.TRIAL_STEP.c.reason)
    evidence: Any = Field(default=None, sa_column=schema.TRIAL_STEP.c.evidence)


class TrialBlock(_StoredModel, table=True):
    __table__: ClassVar[Table] = schema.TRIAL_BLOCK

    trial_id: int = Field(sa_column=schema.TRIAL_BLOCK.c.trial_id)
    number: int = Field(sa_column=schema.TRIAL_BLOCK.c.number)
    is_candidate: bool = Field(sa_column=schema.TRIAL_BLOCK.c.is_candidate)
    starts_at: datetime = Field(sa_column=schema.TRIAL_BLOCK.c.starts_at)
    ends_at: datetime = Field(sa_column=schema.TRIAL_BLOCK.c.ends_at)
    state: str = Field(sa_column=schema.TRIAL_BLOCK.c.state)
    started_at: datetime | None = Field(default=None, sa_column=schema.TRIAL_BLOCK.c.started_at)
    ended_at: datetime | None = Field(default=None, sa_column=schema.TRIAL_BLOCK.c.ended_at)
    sums: Any = Field(default=None, sa_column=schema.TRIAL_BLOCK.c.sums)
    note: str | None = Field(default=None, sa_column=schema.TRIAL_BLOCK.c.note)


class Alert(_StoredModel, table=True):
    __table__: ClassVar[Table] = schema.ALERT

    id: int | None = Field(default=None, sa_column=schema.ALERT.c.id)
    rule: str = Field(sa_column=schema.ALERT.c.rule)
    subject: str = Field(sa_column=schema.ALERT.c.subject)
    severity: str = Field(sa_column=schema.ALERT.c.severity)
    state: str = Field(sa_column=schema.ALERT.c.state)
    value: float | None = Field(default=None, sa_column=schema.ALERT.c.value)
    threshold: float | None = Field(default=None, sa_column=schema.ALERT.c.threshold)
    sample: int | None = Field(default=None, sa_column=schema.ALERT.c.sample)
    learned: bool = Field(default=False, sa_column=schema.ALERT.c.learned)
    detail: str = Field(default="", sa_column=schema.ALERT.c.detail)
    started_at: datetime = Field(sa_column=schema.ALERT.c.started_at)
    fired_at: datetime | None = Field(default=None, sa_column=schema.ALERT.c.fired_at)
    recovering_since: datetime | None = Field(default=None, sa_column=schema.ALERT.c.recovering_since)
    no_data_since: datetime | None = Field(default=None, sa_column=schema.ALERT.c.no_data_since)
    resolved_at: datetime | None = Field(default=None, sa_column=schema.ALERT.c.resolved_at)
    pending_event: str | None = Field(default=None, sa_column=schema.ALERT.c.pending_event)
    pending_since: datetime | None = Field(default=None, sa_column=schema.ALERT.c.pending_since)
    notified_at: datetime | None = Field(default=None, sa_column=schema.ALERT.c.notified_at)


class AlertCheckpoint(_StoredModel, table=True):
    __table__: ClassVar[Table] = schema.ALERT_CHECKPOINT

    id: int = Field(default=1, sa_column=schema.ALERT_CHECKPOINT.c.id)
    evaluated_until: datetime | None = Field(default=None, sa_column=schema.ALERT_CHECKPOINT.c.evaluated_until)
    notified_at: datetime | None = Field(default=None, sa_column=schema.ALERT_CHECKPOINT.c.notified_at)


class AlertSilence(_StoredModel, table=True):
    __table__: ClassVar[Table] = schema.ALERT_SILENCE

    id: int | None = Field(default=None, sa_column=schema.ALERT_SILENCE.c.id)
    rule: str | None = Field(default=None, sa_column=schema.ALERT_SILENCE.c.rule)
    subject: str | None = Field(default=None, sa_column=schema.ALERT_SILENCE.c.subject)
    starts_at: datetime = Field(sa_column=schema.ALERT_SILENCE.c.starts_at)
    ends_at: datetime = Field(sa_column=schema.ALERT_SILENCE.c.ends_at)
    by: str = Field(sa_column=schema.ALERT_SILENCE.c.by)
    reason: str = Field(sa_column=schema.ALERT_SILENCE.c.reason)


class StoredMessage(_StoredModel, table=True):
    __table__: ClassVar[Table] = schema.MESSAGE

    id: int | None = Field(default=None, sa_column=schema.MESSAGE.c.id)
    key: str = Field(sa_column=schema.MESSAGE.c["key"])
    content: Any = Field(sa_column=schema.MESSAGE.c.content)
    created_at: datetime = Field(sa_column=schema.MESSAGE.c.created_at)


class Report(_StoredModel, table=True):
    __table__: ClassVar[Table] = schema.REPORT

    id: int | None = Field(default=None, sa_column=schema.REPORT.c.id)
    kind: str = Field(sa_column=schema.REPORT.c.kind)
    template: str = Field(sa_column=schema.REPORT.c.template)
    period_start: datetime = Field(sa_column=schema.REPORT.c.period_start)
    period_end: datetime = Field(sa_column=schema.REPORT.c.period_end)
    parameters_hash: str = Field(sa_column=schema.REPORT.c.parameters_hash)
    parameters: Any = Field(sa_column=schema.REPORT.c.parameters)
    document: Any = Field(sa_column=schema.REPORT.c.document)
    created_at: datetime = Field(sa_column=schema.REPORT.c.created_at)


class Delivery(_StoredModel, table=True):
    __table__: ClassVar[Table] = schema.DELIVERY

    id: int | None = Field(default=None, sa_column=schema.DELIVERY.c.id)
    report_id: int | None = Field(default=None, sa_column=schema.DELIVERY.c.report_id)
    message_id: int | None = Field(default=None, sa_column=schema.DELIVERY.c.message_id)
    channel: str = Field(sa_column=schema.DELIVERY.c.channel)
    recipient: str = Field(sa_column=schema.DELIVERY.c.recipient)
    state: str = Field(default=schema.DeliveryState.QUEUED.value, sa_column=schema.DELIVERY.c.state)
    attempts: int = Field(default=0, sa_column=schema.DELIVERY.c.attempts)
    queued_at: datetime = Field(sa_column=schema.DELIVERY.c.queued_at)
    next_attempt_at: datetime = Field(sa_column=schema.DELIVERY.c.next_attempt_at)
    lease_until: datetime | None = Field(default=None, sa_column=schema.DELIVERY.c.lease_until)
    sent_at: datetime | None = Field(default=None, sa_column=schema.DELIVERY.c.sent_at)
    dead_letter_notified: bool = Field(default=False, sa_column=schema.DELIVERY.c.dead_letter_notified)


class DeliveryAttempt(_StoredModel, table=True):
    __table__: ClassVar[Table] = schema.DELIVERY_ATTEMPT

    id: int | None = Field(default=None, sa_column=schema.DELIVERY_ATTEMPT.c.id)
    delivery_id: int = Field(sa_column=schema.DELIVERY_ATTEMPT.c.delivery_id)
    at: datetime = Field(sa_column=schema.DELIVERY_ATTEMPT.c.at)
    outcome: str = Field(sa_column=schema.DELIVERY_ATTEMPT.c.outcome)
    answer: str = Field(sa_column=schema.DELIVERY_ATTEMPT.c.answer)
