"""Each final minute is evaluated once, whichever process runs it and however often, and changes are notified once."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select

from models.attribution import Attribution
from models.database import reading
from models.documents import Filters
from models.errors import UnknownSilence, UsageError
from models.kpis import KpiName
from models.notifications import AlertEvent, AlertMessage, AlertRule
from models.period import Period
from models.settings import Settings, parse_settings
from models.tables import Alert, Delivery, StoredMessage, table_of
from tasks.alerts.evaluate import EvaluationResult, evaluate_alerts
from tasks.alerts.grouping import GroupingPolicy, Silence, is_silenced, is_time, unnotified
from tasks.alerts.lifecycle import AlertLifecycle, AlertState
from tasks.alerts.queries import list_alerts, list_fired
from tasks.alerts.registry import AlertRegistry
from tasks.alerts.silences import LONGEST, SilenceRequest, create_silence, end_silence, list_silences
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.update import update_rollups
from tests.support.factories import MONDAY, insert_selections, selections

ALERT, MESSAGE, DELIVERY = table_of(Alert), table_of(StoredMessage), table_of(Delivery)
NOON = MONDAY + timedelta(hours=12)
MINUTE = timedelta(minutes=1)
ADDRESS = {"webhook": ["https://example.org/hook"]}


def settings(**alerting: Any) -> Settings:
    return parse_settings(
        {"monitoring": {"alerting": {"thresholds": "fixed", **alerting}}, "delivery": {"recipients": ADDRESS}}, "test"
    )


FIXED = settings()


def minutes(start: datetime, count: int, *, failing: float = 0.0, each: int = 20, model: str = "m") -> pl.DataFrame:
    """Return so many minutes of selections, of which a part fails."""
    return selections(
        *(
            {"timestamp": start + MINUTE * number + timedelta(seconds=ctx * 2), "model_id": model,
             "response_time_ms": 500.0, "error": ctx < failing * each}
            for number in range(count)
            for ctx in range(each)
        )
    )  # fmt: skip


def turn(engine: Engine, now: datetime, given: Settings = FIXED, *, flush: bool = False) -> EvaluationResult:
    """Update rollups and evaluate alerts, as a monitor does."""
    update_rollups(engine, rollup_settings(given), now=now)
    return evaluate_alerts(engine, given, now, flush=flush)


def every_minute(engine: Engine, start: datetime, count: int, given: Settings = FIXED) -> list[AlertMessage]:
    """Return the notifications of an evaluator that runs every other minute."""
    reported = [turn(engine, start + MINUTE * number, given).message for number in range(0, count, 2)]
    return [message for message in reported if message is not None]


def events(messages: list[AlertMessage]) -> list[tuple[str, str, str]]:
    return [
        (notification.event.value, notification.rule.value, notification.subject)
        for message in messages
        for notification in message.notifications
    ]


def an_incident(engine: Engine) -> None:
    """Insert twenty calm minutes, thirty in which a third of all calls fail, forty calm ones."""
    for start, count, failing in ((0, 20, 0.0), (20, 30, 0.35), (50, 40, 0.0)):
        insert_selections(engine, minutes(NOON + start * MINUTE, count, failing=failing))


def test_an_incident_is_notified_when_it_fires_and_when_it_resolves(engine: Engine) -> None:
    """One message each, for the model and for all, with the numbers that explain why."""
    an_incident(engine)
    reported = every_minute(engine, NOON + 5 * MINUTE, 84)
    assert events(reported) == [
        (event, "errorRate", subject) for event in ("fired", "resolved") for subject in ("", "m")
    ]
    fired = reported[0].notifications[0]
    assert fired.severity == "critical"
    assert fired.threshold == pytest.approx(0.10)
    assert fired.value is not None
    assert fired.value > 0.10
    assert fired.sample == 300
    assert reported[1].notifications[0].resolved_at is not None


def test_an_hourly_run_notifies_an_incident_between_runs(engine: Engine) -> None:
    """Fired and resolved within the hour: one message, with both."""
    insert_selections(engine, minutes(NOON - 30 * MINUTE, 31))
    turn(engine, NOON)
    an_incident(engine)
    message = turn(engine, NOON + 89 * MINUTE, flush=True).message
    assert message is not None
    assert events([message]) == [("resolved", "errorRate", ""), ("resolved", "errorRate", "m")]
    assert all(
        notification.fired_at < notification.resolved_at
        for notification in message.notifications
        if notification.resolved_at
    )


def test_a_restart_and_a_second_cycle_repeat_no_notification(engine: Engine) -> None:
    """State is in the database: no evaluation and no notification is repeated."""
    an_incident(engine)
    every_minute(engine, NOON + 5 * MINUTE, 40)
    again = turn(engine, NOON + 43 * MINUTE, flush=True)
    assert (again.minutes, again.message, again.firing) == (0, None, 2)


def test_two_concurrent_evaluators_notify_once(engine: Engine) -> None:
    an_incident(engine)
    turn(engine, NOON + 20 * MINUTE)
    update_rollups(engine, rollup_settings(FIXED), now=NOON + 45 * MINUTE)
    reported: list[EvaluationResult] = []
    both = [
        threading.Thread(target=lambda: reported.append(evaluate_alerts(engine, FIXED, NOON + 45 * MINUTE, flush=True)))
        for _ in range(4)
    ]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sum(it.message is not None for it in reported) == 1
    with reading(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(MESSAGE)) == 1
        channels = connection.execute(select(DELIVERY.c.channel).order_by(DELIVERY.c.channel)).scalars().all()
    assert list(channels) == ["console", "dashboard", "webhook"]


def test_a_model_has_its_own_alert(engine: Engine) -> None:
    """One of two models fails; all together do not cross the limit."""
    insert_selections(engine, minutes(NOON, 40, each=20, model="calm"))
    insert_selections(engine, minutes(NOON, 40, each=4, failing=0.25, model="sick"))
    reported = every_minute(engine, NOON + 5 * MINUTE, 34, settings(minimumSample=20))
    assert events(reported) == [("fired", "errorRate", "sick")]


def test_the_numbers_of_an_alert_say_why_it_fires(engine: Engine) -> None:
    """A partly recovered value keeps the numbers of the breach; once resolved, the current ones are shown."""
    for start, count, failing in ((0, 20, 0.0), (20, 20, 0.35), (40, 12, 0.05), (52, 30, 0.0)):
        insert_selections(engine, minutes(NOON + start * MINUTE, count, failing=failing))
    every_minute(engine, NOON + 5 * MINUTE, 48)
    for row in list_alerts(engine):
        assert (row.state, row.severity) == ("firing", "critical")
        assert row.value > row.threshold == pytest.approx(0.10)
    reported = every_minute(engine, NOON + 53 * MINUTE, 28)
    assert {notification.event for notification in reported[-1].notifications} == {AlertEvent.RESOLVED}
    assert all(
        notification.value is not None and notification.value < 0.05 for notification in reported[-1].notifications
    )


def test_an_alert_that_ends_without_data_is_notified_as_unknown(engine: Engine) -> None:
    """A model that is no longer used: its recovery is unknown."""
    insert_selections(engine, minutes(NOON, 30, failing=0.35, model="gone"))
    insert_selections(engine, minutes(NOON + 30 * MINUTE, 400, each=10))
    every_minute(engine, NOON + 5 * MINUTE, 40)
    message = turn(engine, NOON + 429 * MINUTE, flush=True).message
    assert message is not None
    (gone,) = [notification for notification in message.notifications if notification.subject == "gone"]
    assert (gone.event, gone.value) == (AlertEvent.RESOLVED, None)
    assert "too few selections" in gone.detail


def test_silence_in_the_data_is_an_alert_of_its_own(engine: Engine) -> None:
    """It fires after an hour without a selection, and resolves when selections return."""
    insert_selections(engine, minutes(NOON, 20))
    insert_selections(engine, minutes(NOON + 110 * MINUTE, 20))
    assert events(every_minute(engine, NOON + 10 * MINUTE, 115)) == [
        ("fired", "noData", ""),
        ("resolved", "noData", ""),
    ]


def test_minutes_within_the_late_arrival_grace_are_not_evaluated(engine: Engine) -> None:
    """The last minute may still be written, and rows not rolled up are not known."""
    insert_selections(engine, minutes(NOON, 10))
    turn(engine, NOON + 5 * MINUTE)
    assert turn(engine, NOON + 5 * MINUTE + timedelta(seconds=59)).minutes == 0
    assert evaluate_alerts(engine, FIXED, NOON + 9 * MINUTE).minutes == 0
    assert turn(engine, NOON + 9 * MINUTE).minutes == 4


def test_switched_off_it_notifies_nothing(engine: Engine) -> None:
    an_incident(engine)
    assert every_minute(engine, NOON + 5 * MINUTE, 40, settings(enabled=False)) == []


def test_a_report_lists_the_alerts_that_fired_in_its_period(engine: Engine) -> None:
    """By firing time; nothing of models other than those requested, nor alerts that were only pending."""
    an_incident(engine)
    every_minute(engine, NOON + 5 * MINUTE, 84)
    with reading(engine) as connection:
        hour = Period(NOON, NOON + timedelta(hours=1))
        fired = list_fired(connection, hour, Filters())
        assert [(it.rule.value, it.subject) for it in fired] == [("errorRate", ""), ("errorRate", "m")]
        assert all(NOON < it.fired_at < NOON + timedelta(hours=1) for it in fired)
        assert [it.subject for it in list_fired(connection, hour, Filters(models=("m",)))] == ["m"]
        assert list_fired(connection, Period(NOON - timedelta(hours=1), NOON), Filters()) == ()


# --- silences ---------------------------------------------------------------------------------------------------------


def silenced(engine: Engine, at: datetime, length: timedelta, rule: AlertRule | None = None) -> int:
    return create_silence(engine, SilenceRequest(rule, None, length), Attribution("ops", "planned work", at))


def test_a_silence_sends_nothing_and_alerts_still_firing_are_notified_after_it(engine: Engine) -> None:
    an_incident(engine)
    silenced(engine, NOON + 5 * MINUTE, timedelta(minutes=35), AlertRule(KpiName.ERROR_RATE))
    reported = every_minute(engine, NOON + 5 * MINUTE, 45)
    assert events(reported) == [("fired", "errorRate", ""), ("fired", "errorRate", "m")]
    assert reported[0].at >= NOON + 40 * MINUTE


def test_an_alert_that_fires_and_resolves_during_a_silence_is_never_notified(engine: Engine) -> None:
    """It stays on record."""
    an_incident(engine)
    silenced(engine, NOON, timedelta(hours=2))
    assert every_minute(engine, NOON + 5 * MINUTE, 84) == []
    with reading(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(ALERT)) == 2


def test_a_silence_has_a_reason_and_an_end_and_can_be_ended(engine: Engine) -> None:
    with pytest.raises(UsageError, match="needs a reason"):
        create_silence(engine, SilenceRequest(None, None, timedelta(hours=1)), Attribution("ops", " ", NOON))
    with pytest.raises(UsageError, match="lasts up to"):
        create_silence(engine, SilenceRequest(None, None, LONGEST + MINUTE), Attribution("ops", "why", NOON))
    one = silenced(engine, NOON, timedelta(hours=1))
    assert [row.reason for row in list_silences(engine, NOON)] == ["planned work"]
    end_silence(engine, one, NOON + MINUTE)
    assert not list_silences(engine, NOON + MINUTE)
    with pytest.raises(UnknownSilence, match="has already ended"):
        end_silence(engine, one, NOON + 2 * MINUTE)
    with pytest.raises(UnknownSilence, match="does not exist"):
        end_silence(engine, 99, NOON)


@given(st.sampled_from([None, "errorRate", "noData"]), st.sampled_from([None, "", "m"]), st.integers(-5, 5))
def test_a_silence_holds_what_it_names_while_it_lasts(rule: str | None, subject: str | None, minute: int) -> None:
    held = Silence(rule, subject, NOON, NOON + 3 * MINUTE)
    expected = 0 <= minute < 3 and rule in (None, "errorRate") and subject in (None, "m")
    assert is_silenced([held], "errorRate", "m", NOON + minute * MINUTE) is expected


# --- grouping ---------------------------------------------------------------------------------------------------------


def fired(at: datetime) -> AlertLifecycle:
    return AlertLifecycle(
        AlertState.FIRING, "warning", at, fired_at=at, pending_event=AlertEvent.FIRED, pending_since=at
    )


def test_notifications_are_grouped_and_messages_keep_their_interval() -> None:
    grouping = GroupingPolicy(2 * MINUTE, 10 * MINUTE)
    lives = [fired(NOON), fired(NOON + MINUTE)]
    assert not is_time(lives, None, NOON + MINUTE, grouping)
    assert is_time(lives, None, NOON + 2 * MINUTE, grouping)
    assert not is_time(lives, NOON - 5 * MINUTE, NOON + 4 * MINUTE, grouping)
    assert is_time(lives, NOON - 5 * MINUTE, NOON + 5 * MINUTE, grouping)
    assert not is_time([], None, NOON, grouping)


def test_an_unnotified_alert_is_notified_once_no_silence_holds_it() -> None:
    hushed = unnotified(fired(NOON), silenced=True)
    assert hushed.pending_event is None
    assert unnotified(hushed, silenced=False).pending_event is AlertEvent.FIRED
    assert unnotified(fired(NOON).notified(NOON), silenced=False).pending_event is None


def test_an_empty_registry_has_no_notifications() -> None:
    assert AlertRegistry().take_due(NOON, None, [], GroupingPolicy()) == []
