"""The live page shows the counted selections, computed once for all viewers."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from dashboard import live_views as live
from dashboard.live_views import LiveViews, collect_view
from dashboard.render import SECTIONS, hashes, live_style, render_page, render_sections
from dashboard.summary_api import summarize
from dashboard.view_filter import Chosen
from models.attribution import Attribution
from models.context import AppContext
from models.database import writing
from models.environment import Environment
from models.errors import UsageError
from models.settings import parse_settings
from routewatch.quarantine import AHEAD_OF_CLOCK, set_aside
from tasks.optimizer.rollout_decisions import abort, hold
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.update import update_rollups
from tests.support.factories import insert_selections, selections
from tests.support.rollouts import CHEAP, STARTED_AT, let_pass, looked_at, set_up_router, started
from tests.support.waiting import until

NOW = datetime(2026, 9, 9, 12, 30, 15, tzinfo=UTC)
NAME = "</td><script>alert(1)</script>"


@pytest.fixture
def ctx(engine: Engine, tmp_path: Path) -> AppContext:
    address: Any = engine.url.render_as_string(hide_password=False)
    made = AppContext(Environment(home=tmp_path, database_url=address), parse_settings({}, "test"))
    rows = (
        {"timestamp": NOW - timedelta(minutes=number), "model_id": NAME if number % 4 == 0 else "swift",
         "response_time_ms": 400.0, "cost_usd": 0.01, "team": "search"}
        for number in range(200)
    )  # fmt: skip
    insert_selections(engine, selections(*rows))
    update_rollups(engine, rollup_settings(made.settings), now=NOW)
    return made


@pytest.mark.parametrize(("range", "count"), [("15m", 15), ("1h", 60), ("6h", 200), ("30d", 200)])
def test_a_range_reaches_back_from_the_running_minute(ctx: AppContext, range: str, count: int) -> None:  # noqa: A002
    """Fifteen minutes are the running one and fourteen before it, to the minute where minutes are kept."""
    assert collect_view(ctx, Chosen(range), NOW).document.summary.total_selections == count


def test_a_model_and_a_team_can_be_chosen(ctx: AppContext) -> None:
    assert collect_view(ctx, Chosen("6h", models=("swift",)), NOW).document.summary.total_selections == 150
    assert collect_view(ctx, Chosen("6h", teams=("nobody",)), NOW).document.summary.total_selections == 0
    assert collect_view(ctx, Chosen("6h"), NOW).known_models == (NAME, "swift")


def test_an_invalid_range_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown range '2h'; expected one of 15m, 1h"):
        Chosen("2h")


def test_every_section_is_rendered_and_no_name_becomes_markup(ctx: AppContext) -> None:
    """Neither does text that comes from data; without selections a message is shown."""
    for chosen in (Chosen("6h"), Chosen("6h", models=("nobody",))):
        shown = collect_view(ctx, chosen, NOW)
        sections = render_sections(shown)
        assert tuple(sections) == SECTIONS
        page = render_page(shown, sections)
        assert "<script>alert" not in page
        assert page.count("<script") == 1
        assert all(f'id="{name}"' in page for name in SECTIONS)
    assert "No model served a request" in sections["models"]


def test_a_rollout_is_shown_with_its_steps_effects_and_what_a_person_can_decide(ctx: AppContext) -> None:
    """Names from data become no markup; once it is over, it is in the list of optimizations alone."""
    set_up_router(ctx.engine)
    number = started(ctx.engine)
    hold(ctx.engine, number, Attribution(NAME, "", STARTED_AT))
    looked_at(ctx.engine, let_pass(ctx.engine, STARTED_AT, 6, CHEAP))
    section = render_sections(collect_view(ctx, Chosen("6h"), NOW))["rollouts"]
    assert "<script>alert" not in section
    assert "held by" in section
    for words in ('aria-current="step">20 %', "Average cost per request (goal)", "$0.030", "better", "Deadline: Oct 5"):
        assert words in section
    assert re.findall(r'data-action="([a-z-]+)"', section) == ["resume", "jump", "abort"]
    abort(ctx.engine, number, Attribution("anna", "", STARTED_AT))
    shown = render_sections(collect_view(ctx, Chosen("6h"), NOW))
    assert "No rollout is under way." in shown["rollouts"]
    assert "aborted by anna" in shown["decisions"]


def test_what_is_set_aside_is_shown_by_reason_with_the_newest_and_what_to_do(ctx: AppContext) -> None:
    rows: list[tuple[dict[str, Any], str]] = [({"model_id": "m"}, f"reason {number} {NAME}") for number in range(6)]
    rows += [({"model_id": NAME, "timestamp": NOW + timedelta(days=2)}, AHEAD_OF_CLOCK)] * 7
    assert "Nothing is set aside." in render_sections(collect_view(ctx, Chosen("6h"), NOW))["quarantine"]
    with writing(ctx.engine) as connection:
        set_aside(connection, rows, "http", NOW)
    view = collect_view(ctx, Chosen("6h"), NOW)
    section = render_sections(view)["quarantine"]
    assert "13 selections are set aside and in no number" in section
    assert "7 × timestamp is ahead of the clock" in section
    assert "and 2 other reasons" in section
    assert section.count("<tr>") == 1 + live.MOST_QUARANTINED
    assert "<script>alert" not in section
    assert "routewatch quarantine list" in section
    assert summarize(ctx, Chosen("6h"), NOW).quarantined_selections == 13
    intake = summarize(ctx, Chosen("6h"), NOW).intake
    assert intake is not None
    assert intake.set_aside == 13


def test_equal_views_are_equal_bytes(ctx: AppContext) -> None:
    """The page replaces only what has changed."""
    first, second = (hashes(render_sections(collect_view(ctx, Chosen("6h"), NOW))) for _ in range(2))
    assert first == second


def test_many_viewers_at_once_cost_one_query(ctx: AppContext, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Chosen] = []

    def counting(at: AppContext, chosen: Chosen, now: datetime, **more: Any) -> Any:
        looks.append(chosen)
        return collect_view(at, chosen, now, **more)

    monkeypatch.setattr(live, "collect_view", counting)
    views = LiveViews(ctx)
    crowd = [threading.Thread(target=views.shown, args=(Chosen("6h"),)) for _ in range(12)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    assert looks == [Chosen("6h")]
    views.shown(Chosen("1h"))
    views.shown(Chosen("6h"), anew=True)
    assert looks == [Chosen("6h"), Chosen("1h"), Chosen("6h")]


def test_no_viewer_waits_for_a_view_that_is_refreshed_for_another(
    ctx: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    views, making, may_go_on = LiveViews(ctx), threading.Event(), threading.Event()
    before = views.shown(Chosen("6h"))

    def held(at: AppContext, chosen: Chosen, now: datetime, **more: Any) -> Any:
        making.set()
        until(may_go_on.is_set)
        return collect_view(at, chosen, now, **more)

    monkeypatch.setattr(live, "collect_view", held)
    other = threading.Thread(target=views.shown, args=(Chosen("6h"),), kwargs={"anew": True})
    other.start()
    until(making.is_set)
    assert views.shown(Chosen("6h")) is before
    may_go_on.set()
    other.join()
    assert views.shown(Chosen("6h")) is not before


def test_the_style_sheet_brings_its_fonts_and_loads_nothing() -> None:
    css = live_style()
    assert "@font-face" in css
    assert "http" not in css.replace("http://www.w3.org", "")
    assert "@import" not in css
