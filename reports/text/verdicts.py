"""What came of the changes of the router's config, in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from models.documents import AppliedOptimization, Interval, MetricChange, OptimizationReport, Verdict
from models.kpis import LOWER_IS_BETTER
from reports.text.findings import between, config_change_text, negated, shown_interval
from reports.text.formatting import Formats
from reports.text.labels import bounds_text, metric_change, metric_label, metric_value

CHANGES_CHART = "changes"
"""The chart of what came of the changes, which only the report about optimizations has."""

STATE_LABELS = {
    "applied": "applied",
    "observing": "being observed",
    "kept": "kept",
    "reverted": "taken back",
    "expired": "not proven",
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
        """Return each key with the value before and after; omits reverts."""
        firsts = {change.key: change for change in reversed(self.changes)}
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


def primary_metric_text(primary: MetricChange, show: Formats) -> str:
    """What the change was to better: "Slow responses 24.1% → 18.4%, −5.7 pp (95% interval …), better"."""
    label = metric_label(primary.metric)
    if primary.change is None:
        return f"{label} unknown: {primary.reason or 'not known'}"
    size = metric_change(primary.metric, primary.change.estimate, show)
    bounds = bounds_text(primary.metric, primary.change, show)
    interval = f" (95% interval {bounds})" if bounds else ""
    return f"{label} {before_after(primary, show)}, {size}{interval}, {primary.judgement}"


def margin_text(change: MetricChange, show: Formats) -> str:
    """By how much a metric may get worse, without a sign."""
    return metric_change(change.metric, change.margin, show).lstrip("+−±")


def improvement(change: MetricChange, difference_in_unit: float) -> float | None:
    """A difference as a share of the value before, positive where it is for the better; None of nothing."""
    if not change.before:
        return None
    return (-1 if change.metric in _RISING_IS_WORSE else 1) * difference_in_unit / abs(change.before)


# --- one optimization -------------------------------------------------------------------------------------------------


def verdict_text(trial: Trial, show: Formats) -> str:
    """What came of it, in a sentence without its number and settings."""
    if trial.verdict is None:
        return "not judged yet" if trial.state in ("applied", "observing") else ""
    parts = [primary_metric_text(trial.primary_metric, show)] if trial.primary_metric else [trial.verdict.reason]
    harmed = [
        metric_label(guardrail.metric).lower() for guardrail in trial.guardrails if guardrail.judgement == "worse"
    ]
    if harmed:
        parts.append(f"worse: {', '.join(harmed)}")
    if trial.verdict.savings_usd is not None:
        parts.append(measured_text(trial.verdict.savings_usd, show))
    return "; ".join(parts)


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
