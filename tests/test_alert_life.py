"""An alert fires once it holds, resolves once it is over, and says each of it once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tasks.alert_life import AlertState, Event, Life, Look, Policy, step
from tests.factories import MONDAY

MINUTE = timedelta(minutes=1)
POLICY = Policy()
LOOKS = st.lists(st.sampled_from(["critical", "warning", "between", "well"]), max_size=400)


def run(looks: list[str], policy: Policy = POLICY) -> list[tuple[int, Event]]:
    """One look a minute; the events by minute."""
    life: Life | None = None
    events = []
    for minute, found in enumerate(looks):
        breach: Any = found if found in ("critical", "warning") else None
        life, event = step(life, Look(MONDAY + minute * MINUTE, breach, found == "well"), policy)
        if event is not None:
            events.append((minute, event))
    return events


def test_a_breach_must_hold_before_it_fires() -> None:
    """Four minutes are nothing; at five it fires, once."""
    assert run(["warning"] * 5 + ["well"] * 20) == []
    assert run(["warning"] * 9) == [(5, Event.FIRED)]


def test_it_resolves_when_it_has_been_well_for_a_while() -> None:
    """Ten minutes without a break; a return into the band between begins the wait anew."""
    assert run(["warning"] * 6 + ["well"] * 11) == [(5, Event.FIRED), (16, Event.RESOLVED)]
    assert run(["warning"] * 6 + ["well"] * 9 + ["between"] + ["well"] * 10) == [(5, Event.FIRED)]


def test_a_flapping_value_is_told_once() -> None:
    """Above and well by turns for three hours: one message, and no end until it is over."""
    assert run(["warning"] * 6 + ["well", "warning"] * 90) == [(5, Event.FIRED)]


def test_what_gets_critical_is_told_again_and_what_gets_better_is_not() -> None:
    assert run(["warning"] * 6 + ["critical"] * 3 + ["warning"] * 9) == [(5, Event.FIRED), (6, Event.ESCALATED)]


def test_it_rests_after_it_has_resolved_but_not_from_what_is_critical() -> None:
    """A warning waits for the cool-down to end, a critical one does not."""
    over = ["warning"] * 6 + ["well"] * 11
    assert run(over + ["warning"] * 20) == [(5, Event.FIRED), (16, Event.RESOLVED)]
    assert run(over + ["warning"] * 40)[2:] == [(51, Event.FIRED)]
    assert run(over + ["critical"] * 6)[2:] == [(22, Event.FIRED)]


def test_a_long_one_is_brought_to_mind() -> None:
    """Every four hours, and never where it is not wanted."""
    assert run(["critical"] * 500) == [(5, Event.FIRED), (245, Event.REMINDED), (485, Event.REMINDED)]
    assert run(["critical"] * 500, Policy(remind=None)) == [(5, Event.FIRED)]


@given(LOOKS)
def test_events_tell_a_story(looks: list[str]) -> None:
    """Fired and resolved alternate, and what comes between belongs to one that is firing."""
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


def test_where_too_little_is_known_it_stays_as_it_is() -> None:
    """No breach and not well: a firing alert goes on, a pending one waits."""
    pending = Life(AlertState.PENDING, "warning", MONDAY)
    assert step(pending, Look(MONDAY + 9 * MINUTE, None, is_well=False), POLICY) == (pending, None)
