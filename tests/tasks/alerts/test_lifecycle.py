"""An alert fires once the breach holds, resolves once it is over, and reports each transition once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from models.notifications import AlertEvent as Event
from tasks.alerts.lifecycle import ENDS_WITHOUT_DATA, AlertLifecycle, AlertState, Observation, Policy, step
from tests.support.factories import MONDAY

MINUTE = timedelta(minutes=1)
POLICY = Policy()
LOOKS = st.lists(st.sampled_from(["critical", "warning", "between", "well", "unknown"]), max_size=400)


def run(looks: list[str], policy: Policy = POLICY) -> list[tuple[int, Event]]:
    """Run one evaluation a minute; return the events by minute, notified at once."""
    lifecycle: AlertLifecycle | None = None
    events = []
    for minute, found in enumerate(looks):
        breach: Any = found if found in ("critical", "warning") else None
        at = MONDAY + minute * MINUTE
        lifecycle = step(lifecycle, Observation(at, breach, found == "well", found != "unknown"), policy)
        if lifecycle is not None and lifecycle.pending_event is not None:
            events.append((minute, lifecycle.pending_event))
            lifecycle = lifecycle.notified(at)
    return events


def test_a_breach_must_hold_before_it_fires() -> None:
    """Four minutes are not enough; at five it fires, once."""
    assert run(["warning"] * 5 + ["well"] * 20) == []
    assert run(["warning"] * 9) == [(5, Event.FIRED)]


def test_it_resolves_after_enough_time_within_limits() -> None:
    """Ten minutes without a break; a return into the band between restarts the wait."""
    assert run(["warning"] * 6 + ["well"] * 11) == [(5, Event.FIRED), (16, Event.RESOLVED)]
    assert run(["warning"] * 6 + ["well"] * 9 + ["between"] + ["well"] * 10) == [(5, Event.FIRED)]


def test_a_flapping_value_is_notified_once() -> None:
    """Above and within limits by turns for three hours: one message, and no resolution until it is over."""
    assert run(["warning"] * 6 + ["well", "warning"] * 90) == [(5, Event.FIRED)]


def test_an_escalation_is_notified_again_and_an_improvement_is_not() -> None:
    assert run(["warning"] * 6 + ["critical"] * 3 + ["warning"] * 9) == [(5, Event.FIRED), (6, Event.ESCALATED)]


def test_it_rests_after_it_has_resolved_but_not_from_what_is_critical() -> None:
    """A warning waits for the cool-down to end, a critical one does not."""
    over = ["warning"] * 6 + ["well"] * 11
    assert run(over + ["warning"] * 20) == [(5, Event.FIRED), (16, Event.RESOLVED)]
    assert run(over + ["warning"] * 40)[2:] == [(51, Event.FIRED)]
    assert run(over + ["critical"] * 6)[2:] == [(22, Event.FIRED)]


def test_a_long_one_is_brought_to_mind() -> None:
    """Every four hours where that is set, and never where it is switched off."""
    each = Policy(repeat_after=timedelta(hours=4))
    assert run(["critical"] * 500, each) == [(5, Event.FIRED), (245, Event.REMINDED), (485, Event.REMINDED)]
    assert run(["critical"] * 500, Policy(repeat_after=None)) == [(5, Event.FIRED)]


@given(LOOKS)
def test_events_form_a_history(looks: list[str]) -> None:
    """Fired and resolved alternate, and events between them belong to a firing alert."""
    firing = False
    for _, event in run(looks):
        assert firing is (event is not Event.FIRED)
        firing = event is not Event.RESOLVED


@given(LOOKS)
def test_nothing_fires_without_a_breach_that_held(looks: list[str]) -> None:
    for minute, event in run(looks):
        if event is Event.FIRED:
            assert looks[minute] in ("critical", "warning")
            assert "well" not in looks[minute - 5 : minute]


def test_with_insufficient_data_the_state_stays_unchanged() -> None:
    """Neither in breach nor within limits: a firing alert continues, a pending one waits."""
    pending = AlertLifecycle(AlertState.PENDING, "warning", MONDAY)
    assert step(pending, Observation(MONDAY + 9 * MINUTE, None, is_recovered=False), POLICY) == pending


def test_an_alert_without_data_waits_and_continues_when_data_return() -> None:
    """Without data the alert changes nothing: it is notified once, and resolves when it is within limits again."""
    assert run(["warning"] * 6 + ["unknown"] * 60 + ["well"] * 11) == [(5, Event.FIRED), (76, Event.RESOLVED)]
    assert run(["warning"] * 4 + ["unknown"] + ["warning"] * 5) == []


def test_an_alert_without_data_for_hours_resolves() -> None:
    """A model that serves no more cannot recover."""
    minutes = int(ENDS_WITHOUT_DATA / MINUTE)
    assert run(["critical"] * 6 + ["unknown"] * (minutes + 5)) == [(5, Event.FIRED), (6 + minutes, Event.RESOLVED)]
