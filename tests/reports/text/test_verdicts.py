"""Results of changes are described in plain words, and unknown results as unknown."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import pytest

from models.documents import AppliedOptimization, Interval, OptimizationReport, Recommendation, Verdict
from reports.charts.change_markers import marks_of
from reports.renderers.markdown import render_markdown
from reports.renderers.pdf import render_pdf
from reports.report_templates.drawing import draw
from reports.report_templates.optimization.sections import routing_text
from reports.report_templates.view import headline, view_of
from reports.text.decisions import score_text
from reports.text.formatting import Formats
from reports.text.verdicts import drawable, improvement, trials_of, verdict_text
from tests.support import documents, optimizations

MORE, LESS = Interval(estimate=0.011, low=0.005, high=0.017), Interval(estimate=-0.011, low=-0.017, high=-0.005)
SAME = Interval(estimate=0.001, low=-0.005, high=0.007)
SHOW = Formats("en_US", documents.ZONE)


def with_summary(**counts: int) -> OptimizationReport:
    full = documents.optimization("summary")
    return full.model_copy(update={"summary": full.summary.model_copy(update=counts)})


def with_verdict(verdict: Verdict | None, state: str = "observing") -> OptimizationReport:
    change = optimizations.applied()[-1].model_copy(update={"verdict": verdict, "state": state})
    return documents.optimization().model_copy(update={"applied_optimizations": (change,)})


# --- the headline -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "reported"),
    [
        ({"kept": 2, "reverted": 1, "observing": 0, "waiting": 0}, "Two changes were kept and one was taken back; "),
        ({"kept": 0, "reverted": 1, "observing": 0, "waiting": 0}, "One change was taken back; "),
        ({"kept": 0, "reverted": 0, "observing": 13, "waiting": 0}, "13 changes are still being observed; "),
        ({"waiting": 1}, "; one fix waits for a decision, worth about $465 a month by an observational estimate."),
        (
            {"waiting": 3},
            "; three fixes wait for a decision, one of them worth about $465 a month by an observational estimate.",
        ),
    ],
)
def test_the_headline_counts_in_words(counts: dict[str, int], reported: str) -> None:
    assert reported in headline(with_summary(**counts))


def test_the_headline_counts_changes_and_neither_keys_nor_reverts() -> None:
    """Three optimizations changed four keys in the period, and one of them was taken back: three changes, not five."""
    full = documents.performance()
    revert = optimizations.applied()[3].model_copy(update={"is_revert": True})
    changes = tuple(revert if item.applied_at == revert.applied_at else item for item in optimizations.applied())
    document = full.model_copy(update={"applied_optimizations": changes, "recommendations": ()})
    assert "four changes were applied" in headline(document)
    only_back = full.model_copy(update={"applied_optimizations": (revert,), "recommendations": ()})
    assert "applied" not in headline(only_back)
    early = changes[0].model_copy(update={"applied_at": full.period.start - timedelta(days=1)})
    back = early.model_copy(update={"is_revert": True, "applied_at": full.period.start + timedelta(days=1)})
    before = full.model_copy(update={"applied_optimizations": (early, back), "recommendations": ()})
    assert "applied" not in headline(before)


def test_a_change_that_this_report_applied_counts_once_with_those_before_it() -> None:
    """It is among the recommendations only; one that is among both is one."""
    full = documents.performance()
    done = [item for item in full.recommendations if item.status == "applied"]
    for number, counted in ((99, "five changes were applied"), (9, "four changes were applied")):
        items = (done[0].model_copy(update={"optimization_id": number}),)
        update = {"applied_optimizations": optimizations.applied(), "recommendations": items}
        assert counted in headline(full.model_copy(update=update))


def test_the_config_history_counts_changes_and_names_keys_as_keys() -> None:
    entries = optimizations.history()
    own = {
        "cache.max_entries": 9,
        "cache.ttl_seconds": 9,
        "routing.simple": 8,
        "routing.moderate": 10,
        "cache.key_strategy": 11,
    }
    numbered = tuple(
        entry.model_copy(
            update={
                "optimization_id": own.get(entry.key),
                "is_revert": entry.key == "routing.moderate" and not entry.reverted,
            }
        )
        for entry in entries
    )
    document = documents.optimization("summary").model_copy(update={"config_history": numbered})
    text = render_markdown(document)
    assert "5 changes of 6 keys of the router's config" in text
    assert "; 1 taken back since" in text


def test_what_is_worth_nothing_known_is_told_without_a_sum() -> None:
    full = documents.cost()
    waiting = [item for item in full.recommendations if item.status == "waiting" and item.savings_usd]
    reason = "too little of the period is after the last change of the same requests, 2026-10-09 06:15"
    items = tuple(item.model_copy(update={"run_rate_reason": reason}) for item in waiting)
    document = full.model_copy(update={"recommendations": items})
    assert "one fix waits for a decision, of unknown worth: the same requests were changed since" in headline(document)
    assert "a month" not in headline(document)
    assert f"What it would save from now on is not known: {reason}." in render_markdown(document)


def test_a_loss_is_stated_as_a_loss() -> None:
    full = documents.optimization()
    lost = full.savings.model_copy(update={"measured_usd": Interval(estimate=-3.18)})
    document = full.model_copy(update={"savings": lost})
    assert "what was judged lost $3.18, as measured" in headline(document)
    tile = next(tile for tile in view_of(document).tiles() if tile.label == "Saved, as measured")
    assert (tile.value, tile.state, tile.tone) == ("−$3.18", "a loss", "warning")


def test_without_changes_the_headline_summarizes_the_current_state() -> None:
    full = with_summary(kept=0, reverted=0, observing=0, waiting=0)
    document = full.model_copy(update={"savings": full.savings.model_copy(update={"measured_usd": None})})
    reported = headline(document)
    assert reported.startswith(
        "Nothing was changed and nothing waits for a decision; cost efficiency is at warning level"
    )


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_the_changes_of_one_optimization_are_assessed_together_and_its_revert_is_reported_once() -> None:
    trials = trials_of(optimizations.applied())
    assert [trial.number for trial in trials] == ["#9", "#8", "#10", "#11"]
    assert trials[0].settings(SHOW) == ("cache.max_entries: 10,000 → 20,000", "cache.ttl_seconds: 3,600 → 7,200")
    assert trials[2].settings(SHOW) == ("routing.moderate: atlas-large-2026-05 → atlas-medium",)


def test_changes_of_unknown_optimizations_stand_alone() -> None:
    changes = [change.model_copy(update={"optimization_id": None}) for change in optimizations.applied()]
    assert [trial.number for trial in trials_of(changes)] == [""] * len(changes)


def test_a_guardrail_loss_is_stated_beside_the_primary_metrics_gain() -> None:
    reported = verdict_text(trials_of(optimizations.applied())[2], SHOW)
    assert reported == (
        "Average cost per request $0.021 → $0.017, −$0.0037 (95% interval −$0.0052 to −$0.0021), better; "
        "worse: selection accuracy; verdict: worse, before and after; on your traffic this method is wrong about "
        "nothing in 4 of 100; saved $12.62 (95% interval $7.20 to $17.70) as observed"
    )


def test_a_rollout_is_told_with_its_shares_and_a_guardrail_that_is_not_known_with_what_it_needs() -> None:
    tried, observed = (trials_of(optimizations.applied())[index] for index in (1, 3))
    assert (
        "better, by a rollout, assigned at random to 32.0% of the requests, as asked (32.1%); saved $41.60"
        in verdict_text(tried, SHOW)
    )
    assert "observed" not in verdict_text(tried, SHOW)
    assert "selection accuracy unknown: 2,400 more values needed" in verdict_text(observed, SHOW)


@pytest.mark.parametrize("depth", ["summary", "detailed"])
def test_the_effects_of_a_trial_are_drawn_in_the_weekly_report_too(depth: Literal["summary", "detailed"]) -> None:
    weekly = documents.performance(depth).model_copy(update={"applied_optimizations": (optimizations.rolled_out(),)})
    (chart,) = (chart for chart in draw(weekly) if chart.name == "trials")
    assert "average cost per request −$0.0028 (−$0.0038 to −$0.0018); steps: 5%, 20%, 50%, promoted" in chart.alt_text
    assert ("Slow responses" in chart.svg) is (depth == "detailed")
    assert view_of(weekly).charts((chart,))


@pytest.mark.parametrize("spans", [0, 1, 12])
def test_a_method_without_enough_unchanged_time_says_so(spans: int) -> None:
    verdict = optimizations.WATCHED.model_copy(update={"placebo_spans": spans, "conclusion": "cannotBeTold"})
    (trial,) = trials_of(with_verdict(verdict).applied_optimizations)
    periods = "period" if spans == 1 else "periods"
    assert f"cannot be told, before and after; only {spans} independent {periods} without" in verdict_text(trial, SHOW)


@pytest.mark.parametrize(("metric", "rose"), [(0, -1), (1, 1)], ids=["errors", "hits"])
def test_better_is_to_the_right_whichever_way_a_metric_goes(metric: int, rose: int) -> None:
    guards = (optimizations.WATCHED.guards[1], optimizations.WATCHED.goal)
    change = guards[metric]
    assert change is not None
    assert change.before is not None
    share = improvement(change, 0.1 * change.before)
    assert share == pytest.approx(0.1 * rose)


def test_a_share_of_nothing_is_not_known() -> None:
    assert improvement(optimizations.TAKEN_BACK.guards[1], 0.0012) is None


NO_GOAL = optimizations.WATCHED.model_copy(update={"goal": None, "savings_usd": None, "matched_by": None})
NO_BOUNDS = optimizations.WATCHED.model_copy(
    update={
        "goal": optimizations.KEPT.guards[2].model_copy(update={"change": Interval(estimate=-0.0024)}),
        "guards": (),
    }
)
NOTHING_KNOWN = NO_GOAL.model_copy(update={"guards": (optimizations.WATCHED.guards[0],)})


@pytest.mark.parametrize(
    ("verdict", "is_drawn"),
    [(NO_GOAL, True), (NO_BOUNDS, True), (NOTHING_KNOWN, False), (None, False)],
    ids=["no goal", "no bounds", "nothing known", "not judged"],
)
def test_known_parts_of_a_verdict_are_drawn_and_the_rest_is_stated_as_unknown(
    verdict: Verdict | None, *, is_drawn: bool
) -> None:
    document = with_verdict(verdict)
    assert bool(drawable(document)) is is_drawn
    assert ("changes" in {chart.name for chart in draw(document)}) is is_drawn
    assert render_pdf(document).startswith(b"%PDF")
    row = view_of(document).table("verdicts")
    assert row is not None
    assert "0.0%" not in {cell.text for cell in row.rows[0]}


def test_no_chart_is_drawn_where_none_is_requested() -> None:
    full = documents.optimization()
    document = full.model_copy(update={"charts": full.charts.model_copy(update={"shown": ()})})
    assert draw(document) == ()
    assert view_of(document).charts(draw(full)) == ()


def test_a_timeline_is_marked_where_the_config_was_changed() -> None:
    assert [text for _, text in marks_of(documents.optimization())] == ["#9", "#8", "#10", "#10 back", "#11"]


def test_a_change_before_the_period_is_no_mark_on_its_timeline() -> None:
    full = documents.optimization()
    early = AppliedOptimization.model_validate(
        {**full.applied_optimizations[0].model_dump(), "applied_at": full.period.start.replace(year=2025)}
    )
    assert marks_of(full.model_copy(update={"applied_optimizations": (early,)})) == []


# --- ranks and baselines ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "reported"),
    [
        (0, "score 0.09: worth 18.1% of the spend, over 99.9% sure as far as chance goes, medium effort"),
        (2, "score 0.063: worth 12.6% of the requests, over 99.9% sure that the limit is missed, medium effort"),
        (3, ""),
    ],
)
def test_a_rank_says_what_it_is_made_of(item: int, reported: str) -> None:
    recommendation: Recommendation = optimizations.recommendations()[item]
    assert score_text(recommendation, SHOW) == reported


@pytest.mark.parametrize(
    ("gained", "observational", "reported", "tone"),
    [
        (MORE, False, "The router beats chance: its accuracy differs by +1.1 pp (95% interval", "plain"),
        (LESS, False, "The router does worse than chance: its accuracy differs by −1.1 pp (95% interval", "warning"),
        (MORE, True, "By what was observed, the router is more accurate than chance: its accuracy differs", "plain"),
        (LESS, True, "By what was observed, the router is less accurate than chance: its accuracy differs", "warning"),
        (SAME, True, "Whether the router beats chance cannot be told", "plain"),
        (
            None,
            True,
            "Whether routing adds anything cannot be told: no mix of the models costs what it did.",
            "unknown",
        ),
    ],
    ids=["better", "worse", "better, observed", "worse, observed", "unclear", "unknown"],
)
def test_whether_routing_adds_anything_is_stated_plainly(
    gained: Interval | None, observational: bool, reported: str, tone: str
) -> None:
    """Of what nobody tried there is no interval: it would hold chance alone."""
    reason = None if gained else "no mix of the models costs what it did"
    update = {"accuracy_gained": gained, "reason": reason, "observational": observational}
    text = routing_text(optimizations.baselines().model_copy(update=update), SHOW)
    assert text.text.startswith(reported)
    assert text.tone == tone
    assert ("95% interval" in text.text) is (gained is not None and not observational)


@pytest.mark.parametrize("observational", [True, False])
@pytest.mark.parametrize("depth", ["summary", "detailed"])
def test_no_interval_of_chance_alone_stands_anywhere(
    depth: Literal["summary", "detailed"], observational: bool
) -> None:
    """Of an observational estimate nothing shows bounds; of a checked split tile, table and sentence do."""
    full = documents.optimization(depth)
    evidence = "observational" if observational else "split checked"
    update = {"observational": observational, "evidence": evidence}
    savings = full.savings.model_copy(update={"estimated": full.savings.estimated.model_copy(update=update)})
    document = full.model_copy(
        update={
            "savings": savings,
            "baselines": full.baselines.model_copy(update=update),
            "recommendations": tuple(item.model_copy(update=update) for item in full.recommendations),
            "applied_optimizations": tuple(
                item.model_copy(update={"estimate_evidence": evidence}) for item in full.applied_optimizations
            ),
        }
    )
    estimates = [
        savings.estimated.savings_usd,
        savings.net_usd,
        *(item.savings_usd for item in savings.estimated.classes if depth == "detailed"),
        *(item.savings_usd for item in document.recommendations),
    ]
    text = render_markdown(document)
    gained = document.baselines.accuracy_gained
    assert gained is not None
    bounds = [f"{abs(estimate.high or 0.0):,.2f}" for estimate in estimates if estimate is not None]
    for bound in (*bounds, f"to +{100 * (gained.high or 0.0):.1f} pp"):
        assert (bound in text) is not observational, bound
