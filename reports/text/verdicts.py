"""What came of the changes of the router's config, in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from models.documents import (
    AppliedOptimization,
    Document,
    Interval,
    MetricChange,
    OptimizationReport,
    TrialMethod,
    TrialPoint,
    TrialStepTaken,
    TrialSummary,
    Verdict,
)
from models.kpis import LOWER_IS_BETTER
from reports.text.findings import between, config_change_text, negated, shown_interval
from reports.text.formatting import Formats
from reports.text.labels import bounds_text, metric_change, metric_label, metric_value
from routewatch.rollout import ROLLOUT_PREFIX

CHANGES_CHART = "changes"
"""The chart of what came of the changes, which only the report about optimizations has."""

TRIALS_CHART = "trials"
"""The chart of how changes were tried, over time."""

MOST_POINTS = 400
"""Of a metric in that chart: a picture shows no more."""

STATE_LABELS = {
    "applied": "applied",
    "observing": "being observed",
    "kept": "kept",
    "reverted": "taken back",
    "expired": "not proven",
}

METHOD_LABELS = {
    "split": "rollout to a random share of the requests",
    "switchback": "switchback, old and new in turns",
    "beforeAfter": "before and after",
}

STEP_LABELS = {
    "start": "start",
    "step": "step",
    "hold": "held",
    "resume": "resumed",
    "jump": "jump",
    "promote": "promoted",
    "rollBack": "rolled back",
    "abort": "aborted",
    "invalidate": "invalid",
    "end": "end",
}

CONCLUSION_LABELS = {
    "better": "better",
    "noWorse": "no worse",
    "worse": "worse",
    "unproven": "unproven",
    "cannotBeTold": "cannot be told",
    "invalid": "invalid: the requests were not split as asked",
}

STATE_TONES = {"kept": "good", "reverted": "warning", "expired": "unknown"}

_RISING_IS_WORSE = LOWER_IS_BETTER | {"averageCost", "slowShare"}


@dataclass(frozen=True)
class Trial:
    """One optimization that was applied, with all that it changed; taking it back is one of its changes."""

    changes: tuple[AppliedOptimization, ...]

    @property
    def number(self) -> str:
        return number_of(self.changes[0].optimization_id)

    @property
    def applied_at(self) -> datetime | None:
        """When it was applied; None if only its revert is known."""
        return min((change.applied_at for change in self.changes if not change.is_revert), default=None)

    @property
    def state(self) -> str:
        return self.changes[0].state

    @property
    def reason(self) -> str:
        """Why it was made; of a switchback not why its first block was flipped to."""
        steps = self.verdict.trial.steps if self.verdict and self.verdict.trial else ()
        return steps[0].reason if steps else self.changes[0].reason

    @property
    def verdict(self) -> Verdict | None:
        return self.changes[0].verdict

    @property
    def primary_metric(self) -> MetricChange | None:
        return self.verdict.goal if self.verdict else None

    @property
    def guardrails(self) -> tuple[MetricChange, ...]:
        return self.verdict.guards if self.verdict else ()

    @property
    def estimated(self) -> Interval | None:
        """Without bounds if it is observational: chance is all that they hold."""
        estimate = self.changes[0].estimated_savings_usd
        return estimate and shown_interval(estimate, observational=self.observational)

    @property
    def observational(self) -> bool:
        """Whether the estimate rests on requests that nobody handed out at random; so it does if that is not stored."""
        return self.changes[0].estimate_evidence not in ("split checked", "trial")

    def settings(self, show: Formats) -> tuple[str, ...]:
        """Return each key with the value before and after; omits reverts.

        A rollout that is over has changed the class's model, or nothing: its shares are the steps of its verdict.
        """
        firsts = {change.key: change for change in reversed(self.changes)}
        models = {key: change for key, change in firsts.items() if not key.startswith(ROLLOUT_PREFIX)}
        firsts = models or firsts
        return tuple(config_change_text(change, show) for change in reversed(firsts.values()))


def trials_of(applied: Iterable[AppliedOptimization]) -> tuple[Trial, ...]:
    """The changes by optimization, in their order; one whose optimization is not known stands alone."""
    together: dict[object, list[AppliedOptimization]] = {}
    for index, change in enumerate(applied):
        own = ("alone", index) if change.optimization_id is None else change.optimization_id
        together.setdefault(own, []).append(change)
    return tuple(Trial(tuple(changes)) for changes in together.values())


def drawable(document: OptimizationReport) -> tuple[Trial, ...]:
    """Return the optimizations whose change can be plotted; none without charts or selections.

    A summary draws no guards.
    """
    if not document.charts.shown or document.summary.total_selections == 0:
        return ()
    trials = trials_of(document.applied_optimizations)
    if document.depth == "summary":
        return tuple(trial for trial in trials if is_drawable(trial.primary_metric))
    return tuple(trial for trial in trials if any(map(is_drawable, (trial.primary_metric, *trial.guardrails))))


def drawable_trials(document: Document) -> tuple[Trial, ...]:
    """The changes that were tried by a split or a switchback of which effects over time are known."""
    if not document.charts.shown or document.selection_count == 0:
        return ()
    return tuple(
        trial
        for trial in trials_of(document.config_changes)
        if trial.verdict is not None
        and trial.verdict.trial is not None
        and any(
            len(series_of(trial.verdict.trial, change)) > 1
            for change in (trial.primary_metric, *trial.guardrails)
            if change is not None
        )
    )


def series_of(summary: TrialSummary, change: MetricChange) -> list[TrialPoint]:
    """The points of one metric, by time; of many, evenly some of them with the last."""
    points = sorted((point for point in summary.series if point.metric == change.metric), key=lambda point: point.at)
    step = -(-len(points) // MOST_POINTS)
    return points if step <= 1 else [*points[:-1:step], points[-1]]


def is_drawable(change: MetricChange | None) -> bool:
    """Whether a change is known, and as a share of what was before."""
    return change is not None and change.change is not None and bool(change.before)


def number_of(optimization_id: int | None) -> str:
    """An optimization's number as everybody writes it: "#12"."""
    return "" if optimization_id is None else f"#{optimization_id}"


def state_label(state: str) -> str:
    """An optimization's state for people."""
    return STATE_LABELS.get(state, state)


def state_tone(state: str) -> str:
    """The tone of a state: taking back is a warning, for something had got worse."""
    return STATE_TONES.get(state, "plain")


# --- one metric -------------------------------------------------------------------------------------------------------


def before_after(change: MetricChange, show: Formats) -> str:
    """ "24.1% → 18.4%"."""
    return " → ".join(metric_value(change.metric, value, show) for value in (change.before, change.after))


def primary_metric_text(primary: MetricChange, show: Formats, *, with_bounds: bool = True) -> str:
    """What the change was to better: "Slow responses 24.1% → 18.4%, −5.7 pp (95% interval …), better"."""
    label = metric_label(primary.metric)
    if primary.change is None:
        return f"{label} unknown: {primary.reason or 'not known'}"
    size = metric_change(primary.metric, primary.change.estimate, show)
    bounds = bounds_text(primary.metric, primary.change, show)
    interval = f" (95% interval {bounds})" if bounds and with_bounds else ""
    return f"{label} {before_after(primary, show)}, {size}{interval}, {primary.judgement}"


def margin_text(change: MetricChange, show: Formats) -> str:
    """By how much a metric may get worse, without a sign."""
    return metric_change(change.metric, change.margin, show).lstrip("+−±")


def improvement(change: MetricChange, difference_in_unit: float) -> float | None:
    """A difference as a share of the value before, positive where it is for the better; None of nothing."""
    if not change.before:
        return None
    return (-1 if change.metric in _RISING_IS_WORSE else 1) * difference_in_unit / abs(change.before)


def method_label(method: TrialMethod) -> str:
    """How a change was tried, for people."""
    return METHOD_LABELS[method]


def step_text(step: TrialStepTaken, show: Formats) -> str:
    """ "20 %", or what ended the trial."""
    if step.percent is not None and step.action in ("start", "step", "jump", "resume"):
        return show.round_percent(step.percent / 100)
    return STEP_LABELS[step.action]


def method_text(verdict: Verdict, show: Formats, *, in_full: bool = True) -> str:
    """How the verdict was reached, and how often the method is wrong where that is known."""
    trial = verdict.trial
    if verdict.method == "split":
        by = "the model counts as the arm" if trial and trial.arms_by == "model" else "assigned at random"
        return f"by a rollout, {by}{_shares_text(trial, show)}"
    if verdict.method == "switchback":
        return "by a switchback" + (f" of {show.count(trial.pairs)} pairs of blocks" if trial and trial.pairs else "")
    wrong = _wrong_text(verdict, in_full=in_full)
    return f"before and after; {wrong}" if wrong else "before and after"


def _wrong_text(verdict: Verdict, *, in_full: bool) -> str:
    """How often before and after finds something on this router's traffic where nothing was changed."""
    if verdict.method != "beforeAfter" or verdict.placebo_spans is None:
        return ""
    if verdict.false_verdicts_of_100 is None:
        spans = "period" if verdict.placebo_spans == 1 else "periods"
        return f"only {verdict.placebo_spans} independent {spans} without a change to judge the method by"
    who = "on your traffic this method is" if in_full else ""
    return f"{who} wrong about nothing in {verdict.false_verdicts_of_100:.0f} of 100".lstrip()


def _shares_text(trial: TrialSummary | None, show: Formats) -> str:
    if trial is None or trial.asked_percent is None or trial.found_percent is None:
        return ""
    asked, found = (show.percent(percent / 100) for percent in (trial.asked_percent, trial.found_percent))
    return f" to {found} of the requests, as asked ({asked})"


# --- one optimization -------------------------------------------------------------------------------------------------


def verdict_text(trial: Trial, show: Formats, *, with_bounds: bool = True) -> str:
    """What came of it, in a sentence without its number and settings; with bounds where they stand nowhere beside."""
    if trial.verdict is None:
        return "not judged yet" if trial.state in ("applied", "observing") else ""
    goal = trial.primary_metric
    parts = [primary_metric_text(goal, show, with_bounds=with_bounds)] if goal else [trial.verdict.reason]
    harmed = [
        metric_label(guardrail.metric).lower() for guardrail in trial.guardrails if guardrail.judgement == "worse"
    ]
    if harmed:
        parts.append(f"worse: {', '.join(harmed)}")
    unknown = [
        f"{metric_label(guardrail.metric).lower()} unknown{_missing(guardrail, show)}"
        for guardrail in trial.guardrails
        if guardrail.judgement == "unknown"
    ]
    if unknown and trial.verdict.conclusion in (None, "unproven"):
        parts.append(", ".join(unknown))
    if trial.verdict.conclusion is not None:
        how = method_text(trial.verdict, show, in_full=with_bounds)
        if goal and goal.judgement == trial.verdict.conclusion and len(parts) == 1:
            parts[0] += f", {how}"
        else:
            parts.append(f"verdict: {CONCLUSION_LABELS[trial.verdict.conclusion]}, {how}")
    if trial.verdict.savings_usd is not None:
        saved = trial.verdict.savings_usd
        shown = saved if with_bounds else Interval(estimate=saved.estimate)
        parts.append(savings_text(trial.verdict, shown, show))
    passed = [metric_label(it.metric).lower() for it in trial.guardrails if it.judgement in ("same", "better")]
    if with_bounds and trial.verdict.conclusion in ("better", "noWorse") and passed:
        parts.append(f"within their margins: {', '.join(passed)}")
    return "; ".join(parts)


def savings_text(verdict: Verdict, savings: Interval, show: Formats) -> str:
    """A saving with its sign spelled out, and whether it is measured or only observed."""
    text = measured_text(savings, show)
    if verdict.savings_basis == "observed":
        return f"{text} as observed"
    return text


def _missing(change: MetricChange, show: Formats) -> str:
    return f": {show.count(change.missing_sample)} more values needed" if change.missing_sample else ""


def measured_text(savings: Interval, show: Formats) -> str:
    """A measured saving with its sign spelled out: a negative one is a loss."""
    if savings.estimate < 0:
        loss = negated(savings)
        return f"cost {show.money(loss.estimate)} more{between(loss, 'money', show)}"
    return f"saved {show.money(savings.estimate)}{between(savings, 'money', show)}"


def trial_text(trial: Trial, show: Formats) -> str:
    """All of it in one sentence, for a text without columns."""
    clauses = verdict_text(trial, show)
    start = f"{trial.number} {'; '.join(trial.settings(show))} [{state_label(trial.state)}]".strip()
    return f"{start}: {clauses}" if clauses else start
