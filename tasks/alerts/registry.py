"""Alert registry: each alert's recorded state, updated by evaluations. Pure except for reading and writing rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update

from models.kpis import KPIS
from models.notifications import AlertEvent, AlertNotification, AlertRule
from models.schema import ALERT
from models.settings import Alerting
from tasks.alerts.grouping import GroupingPolicy, Silence, is_silenced, is_time, unnotified
from tasks.alerts.lifecycle import AlertLifecycle, AlertState, Observation, Policy, step
from tasks.alerts.limits import Evaluation, unknown

AT_ONCE = frozenset({AlertRule.SLOW_SELECTIONS, AlertRule.NO_DATA, AlertRule.BUDGET_USED, AlertRule.BUDGET_PROJECTED,
                     AlertRule.FAILED_FLOW, AlertRule.COUNTING_STALLED, AlertRule.ROWS_NOT_COUNTED})  # fmt: skip
"""Rules that a single evaluation decides: they measure durations themselves."""

RARELY = frozenset({AlertRule.BUDGET_USED, AlertRule.BUDGET_PROJECTED, AlertRule.ROWS_NOT_COUNTED})
"""Rules whose notification is not repeated: the first says everything."""

NOT_BY_WINDOW = frozenset({AlertRule.FAILED_FLOW, AlertRule.BUDGET_USED, AlertRule.BUDGET_PROJECTED,
                           AlertRule.COUNTING_STALLED, AlertRule.ROWS_NOT_COUNTED})  # fmt: skip
"""Rules that are not evaluated per window: a missing evaluation means nothing."""

Key = tuple[AlertRule, str]


@dataclass(frozen=True)
class TrackedAlert:
    """One lifecycle of an alert with its latest evaluation; `id` is None until it is stored."""

    id: int | None
    lifecycle: AlertLifecycle
    evaluation: Evaluation

    @property
    def key(self) -> Key:
        return self.evaluation.rule, self.evaluation.subject


@dataclass
class AlertRegistry:
    """The latest lifecycle of each alert, and those that ended since the registry was read."""

    tracked_alerts: dict[Key, TrackedAlert] = field(default_factory=dict)
    ended: list[TrackedAlert] = field(default_factory=list)
    forgotten: list[int] = field(default_factory=list)
    """Ids of pending alerts that were dropped."""
    stored: dict[int, TrackedAlert] = field(default_factory=dict)
    """Stored rows by id: only differences are written."""

    def update(
        self, at: datetime, evaluations: Iterable[Evaluation], alerting: Alerting, *, at_all: bool = True
    ) -> None:
        """Update alerts by evaluations. If `at_all`, all rules were evaluated: an alert without one has no data."""
        found = {(evaluation.rule, evaluation.subject): evaluation for evaluation in evaluations}
        missing = [
            unknown(at, *key)
            for key, tracked in self.tracked_alerts.items()
            if at_all and key not in found and key[0] not in NOT_BY_WINDOW and not tracked.lifecycle.is_over
        ]
        for evaluation in (*found.values(), *missing):
            self._move(evaluation, policy_of(evaluation.rule, alerting))

    def pending(self) -> list[TrackedAlert]:
        """Return the alerts with pending notifications: critical first, then by firing time."""
        new = [
            tracked
            for tracked in (*self.ended, *self.tracked_alerts.values())
            if tracked.lifecycle.pending_event is not None
        ]
        return sorted(
            new, key=lambda tracked: (tracked.lifecycle.severity != "critical", tracked.lifecycle.fired_at, tracked.key)
        )

    def take_due(
        self, at: datetime, notified_at: datetime | None, silences: list[Silence], grouping: GroupingPolicy
    ) -> list[TrackedAlert]:
        """Return the alerts whose notifications are due and mark them notified; empty if not due yet."""
        self._each(
            lambda tracked: replace(
                tracked, lifecycle=unnotified(tracked.lifecycle, silenced=is_silenced(silences, *tracked.key, at))
            )
        )
        pending = self.pending()
        if not is_time((tracked.lifecycle for tracked in pending), notified_at, at, grouping):
            return []
        self._each(
            lambda tracked: (
                replace(tracked, lifecycle=tracked.lifecycle.notified(at))
                if tracked.lifecycle.pending_event
                else tracked
            )
        )
        return pending

    def firing(self) -> list[TrackedAlert]:
        """Return the alerts that are firing, or were when last evaluated."""
        firing = (AlertState.FIRING, AlertState.NO_DATA)
        return [tracked for tracked in self.tracked_alerts.values() if tracked.lifecycle.state in firing]

    def _move(self, evaluation: Evaluation, policy: Policy) -> None:
        key = evaluation.rule, evaluation.subject
        before = self.tracked_alerts.get(key)
        lifecycle = step(before.lifecycle if before else None, evaluation.observation, policy)
        if lifecycle is None:
            if before is not None:
                del self.tracked_alerts[key]
                self.forgotten += [before.id] if before.id is not None else []
            return
        if before is None or (before.lifecycle.is_over and not lifecycle.is_over):
            if before is not None:
                self.ended.append(before)
            self.tracked_alerts[key] = TrackedAlert(None, lifecycle, evaluation)
        elif not before.lifecycle.is_over:
            self.tracked_alerts[key] = TrackedAlert(
                before.id, lifecycle, _numbers(before.evaluation, evaluation, lifecycle)
            )

    def _each(self, change: Callable[[TrackedAlert], TrackedAlert]) -> None:
        self.ended = [change(tracked) for tracked in self.ended]
        self.tracked_alerts = {key: change(tracked) for key, tracked in self.tracked_alerts.items()}


def policy_of(rule: AlertRule, alerting: Alerting) -> Policy:
    """Return the lifecycle policy of a rule from the settings."""
    repeat_after = None if alerting.remind_hours is None or rule in RARELY else timedelta(hours=alerting.remind_hours)
    return Policy(
        hold=timedelta() if rule in AT_ONCE else timedelta(minutes=alerting.hold_minutes),
        resolve=timedelta() if rule in AT_ONCE - {AlertRule.SLOW_SELECTIONS} else timedelta(
            minutes=alerting.resolve_minutes
        ),
        cool_down=timedelta(minutes=alerting.cool_down_minutes),
        repeat_after=repeat_after,
    )  # fmt: skip


def grouping_policy_of(alerting: Alerting) -> GroupingPolicy:
    """Return the grouping policy from the settings."""
    return GroupingPolicy(
        timedelta(minutes=alerting.group_wait_minutes), timedelta(minutes=alerting.group_interval_minutes)
    )


def notification_of(tracked: TrackedAlert, window_minutes: int) -> AlertNotification:
    """Return the notification of an alert that is stored, has fired and has a pending event."""
    lifecycle, evaluation = tracked.lifecycle, tracked.evaluation
    assert tracked.id is not None  # noqa: S101 - stored before, in the same transaction
    assert lifecycle.fired_at is not None and lifecycle.pending_event is not None  # noqa: S101, PT018 - pending alerts have no event
    kpi = next((kpi for name, kpi in KPIS.items() if name.value == evaluation.rule.value), None)
    windows = kpi.alert_windows if kpi else 1
    return AlertNotification(
        alert_id=tracked.id,
        event=lifecycle.pending_event,
        rule=evaluation.rule,
        subject=evaluation.subject,
        severity=lifecycle.severity,
        value=evaluation.value,
        threshold=evaluation.threshold,
        sample=evaluation.sample,
        learned=evaluation.learned,
        started_at=lifecycle.started_at,
        fired_at=lifecycle.fired_at,
        resolved_at=lifecycle.resolved_at,
        detail=evaluation.detail,
        window_minutes=window_minutes * windows if windows > 1 else None,
    )


def record_event(
    connection: Connection,
    rule: AlertRule,
    subject: str,
    detail: str,
    *,
    sample: int | None,
    started_at: datetime,
    at: datetime,
) -> None:
    """Record an alert that resolves as soon as it fires, in the caller's transaction; the next message notifies it."""
    connection.execute(
        insert(ALERT).values(
            rule=rule.value,
            subject=subject,
            severity="warning",
            state=AlertState.RESOLVED.value,
            detail=detail,
            pending_event=AlertEvent.FIRED.value,
            pending_since=at,
            sample=sample,
            started_at=started_at,
            fired_at=at,
            resolved_at=at,
        )
    )


# --- rows -------------------------------------------------------------------------------------------------------------


def read_registry(connection: Connection, since: datetime) -> AlertRegistry:
    """Return every open alert, the newest of those resolved after `since`, and those with pending notifications."""
    required_rows = or_(ALERT.c.resolved_at.is_(None), ALERT.c.resolved_at >= since, ALERT.c.pending_event.is_not(None))
    registry = AlertRegistry()
    for row in connection.execute(select(ALERT).where(required_rows).order_by(ALERT.c.id)):
        tracked = registry.stored[row.id] = _tracked_alert(dict(row._mapping))
        before = registry.tracked_alerts.get(tracked.key)
        if before is not None:
            registry.ended.append(before)
        registry.tracked_alerts[tracked.key] = tracked
    return registry


def write_registry(connection: Connection, registry: AlertRegistry) -> None:
    """Store what changed since the registry was read or written; all its alerts have ids then."""
    if registry.forgotten:
        connection.execute(
            delete(ALERT).where(ALERT.c.id == bindparam("of")), [{"of": it} for it in registry.forgotten]
        )
        registry.forgotten.clear()
    written = _written(connection, [*registry.ended, *registry.tracked_alerts.values()], registry.stored)
    registry.ended = written[: len(registry.ended)]
    registry.tracked_alerts = {tracked.key: tracked for tracked in written[len(registry.ended) :]}
    registry.stored = {
        tracked.id: tracked
        for tracked in (*registry.ended, *registry.tracked_alerts.values())
        if tracked.id is not None
    }


def _written(
    connection: Connection, alerts: Sequence[TrackedAlert], stored: Mapping[int, TrackedAlert]
) -> list[TrackedAlert]:
    """Write what differs from the stored rows, and return all alerts with their ids, in order.

    Rows that are there already come first: a new lifecycle begins only where the one before it has ended. Each kind is
    one statement for all, since a storm has thousands.
    """
    changed = [tracked for tracked in alerts if tracked.id is not None and stored.get(tracked.id) != tracked]
    if changed:
        change = update(ALERT).where(ALERT.c.id == bindparam("of"))
        connection.execute(change, [{"of": tracked.id} | _row(tracked) for tracked in changed])
    new = [_row(tracked) for tracked in alerts if tracked.id is None]
    insertion = insert(ALERT).returning(ALERT.c.id, sort_by_parameter_order=True)
    ids = iter(connection.execute(insertion, new).scalars().all() if new else ())
    return [replace(tracked, id=next(ids)) if tracked.id is None else tracked for tracked in alerts]


def _row(tracked: TrackedAlert) -> dict[str, Any]:
    lifecycle, evaluation = tracked.lifecycle, tracked.evaluation
    return {
        "rule": evaluation.rule.value,
        "subject": evaluation.subject,
        "value": evaluation.value,
        "threshold": evaluation.threshold,
        "sample": evaluation.sample,
        "learned": evaluation.learned,
        "detail": evaluation.detail,
    } | {item.name: _plain(getattr(lifecycle, item.name)) for item in fields(lifecycle)}


def _tracked_alert(row: Mapping[str, Any]) -> TrackedAlert:
    lifecycle = {item.name: row[item.name] for item in fields(AlertLifecycle)}
    lifecycle |= {
        "state": AlertState(row["state"]),
        "pending_event": AlertEvent(row["pending_event"]) if row["pending_event"] else None,
    }
    observation = Observation(row["started_at"], None, is_recovered=False)
    evaluation = Evaluation(
        AlertRule(row["rule"]),
        row["subject"],
        observation,
        row["value"],
        row["threshold"],
        row["sample"],
        row["learned"],
        row["detail"],
    )
    return TrackedAlert(row["id"], AlertLifecycle(**lifecycle), evaluation)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, StrEnum) else value


def _numbers(before: Evaluation, new: Evaluation, lifecycle: AlertLifecycle) -> Evaluation:
    """Return the numbers to show. Firing: of the newest evaluation as severe as the alert. Resolved: the current value
    with the limit that it had crossed; None if unknown.
    """
    if new.observation.breach == lifecycle.severity:
        return new
    if not lifecycle.is_over:
        return before
    if lifecycle.no_data_since is not None:
        return replace(before, value=None, sample=None, detail="too few selections have come for hours to tell")
    return replace(before, value=new.value, sample=new.sample, detail=new.detail)
