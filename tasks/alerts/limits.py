"""Limits: evaluate a KPI's window against the fixed limits of the settings and the learned ones. Pure.

A limit is crossed if the value is significantly beyond it, given the window's number of selections. A learned
limit comes from the KPI's own history (tasks.alerts.learned_limits); the fixed critical one also applies, so that
no critical level becomes the baseline.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from models.kpis import KPIS, LOWER_IS_BETTER, KpiName, Thresholds
from models.notifications import AlertRule, Severity
from tasks.alerts.learned_limits import CRITICAL_BEYOND, LearnedBaseline
from tasks.alerts.learning import InsufficientHistory
from tasks.alerts.lifecycle import Observation

SURE = 3.0
"""Standard deviations: of windows exactly at the limit, one in 700 counts as beyond."""

SURE_OF_ONE = 1.0
"""Standard errors beyond a learned limit: a window's single outlier is as far as its own standard error."""

RECOVERED_BACK = 0.5
"""Part of the way from a learned limit back to the baseline after which a value is within limits."""

RECOVERED_BELOW = 0.05
"""Distance from a fixed limit, as a part of it, at which a value is within limits."""


@dataclass(frozen=True)
class KpiWindow:
    """One KPI of one subject over one window: its value over `sample` selections, and its error.

    `error` is the standard error of a mean, `relative_error` that of a ratio as a part of it. For a share it follows
    from the limit that it is compared with, and both are None.
    """

    at: datetime
    kpi: KpiName
    subject: str
    value: float
    sample: int
    error: float | None = None
    relative_error: float | None = None

    def surely_beyond(self, limit: float, errors: float = SURE) -> bool:
        """Return whether the value is worse than a limit by more than `times` standard errors."""
        sign = 1 if self.kpi in LOWER_IS_BETTER else -1
        return sign * (self.value - limit) > errors * self._error(limit)

    def _error(self, limit: float) -> float:
        if self.error is not None:
            return self.error
        if self.relative_error is not None:
            return self.relative_error * limit
        # Under the limit as null hypothesis (score test): a share of 0 or 1 has an error too.
        return math.sqrt(max(0.0, limit * (1 - limit)) / self.sample)


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of a rule and subject, with the numbers behind it; None is unknown."""

    rule: AlertRule
    subject: str
    observation: Observation
    value: float | None = None
    threshold: float | None = None
    sample: int | None = None
    learned: bool = False
    detail: str = ""


def unknown(at: datetime, rule: AlertRule, subject: str) -> Evaluation:
    """Return an evaluation without enough data."""
    return Evaluation(rule, subject, Observation(at, None, is_recovered=False, is_known=False))


def evaluate_fixed(window: KpiWindow, limits: Thresholds) -> Evaluation:
    """Evaluate against the settings' limits."""
    breach: Severity | None = None
    if window.surely_beyond(limits.critical):
        breach = "critical"
    elif window.surely_beyond(limits.warning):
        breach = "warning"
    return _evaluation(window, breach, limits.critical if breach == "critical" else limits.warning, _is_back(
        window, limits.warning
    ))  # fmt: skip


def evaluate_learned(
    window: KpiWindow, limits: Thresholds, baseline: LearnedBaseline | InsufficientHistory, times: float, *, both: bool
) -> Evaluation:
    """Evaluate against the baseline (warning at `times` standard deviations) and the fixed critical limit.

    `both`: also evaluate the KPI's better side, where an improvement is suspicious. While the baseline is being
    learned, only the fixed critical limit applies.
    """
    is_critical = window.surely_beyond(limits.critical)
    if isinstance(baseline, InsufficientHistory):
        return _evaluation(
            window, "critical" if is_critical else None, limits.critical, _is_back(window, limits.critical)
        )
    limit = baseline.limit(times, window.sample)
    if is_critical:
        return _evaluation(window, "critical", limits.critical, is_recovered=False)
    # The spread of single selections is learned for a typical window; if a few outliers make it up, it is larger.
    is_sure = (window.error is None and window.relative_error is None) or window.surely_beyond(limit, SURE_OF_ONE)
    if is_sure and _beyond(window.kpi, window.value, limit):
        far = baseline.limit(times + CRITICAL_BEYOND, window.sample)
        worst = _beyond(window.kpi, window.value, far) and window.surely_beyond(limits.warning)
        return _evaluation(window, "critical" if worst else "warning", limit, is_recovered=False, learned=True)
    other = baseline.limit(times, window.sample, worse=False)
    doubt = KPIS[window.kpi].doubt_when_better if both else ""
    if doubt and _beyond(window.kpi, other, window.value):
        return _evaluation(window, "warning", other, is_recovered=False, learned=True, detail=doubt)
    middle = baseline.value + RECOVERED_BACK * (limit - baseline.value)
    top = baseline.value + RECOVERED_BACK * (other - baseline.value)
    is_recovered = not _beyond(window.kpi, window.value, middle) and _is_back(window, limits.critical)
    is_recovered &= not (doubt and _beyond(window.kpi, top, window.value))
    return _evaluation(window, None, limit, is_recovered=is_recovered, learned=True)


# ----------------------------------------------------------------------------------------------------------------------


def _evaluation(
    window: KpiWindow,
    breach: Severity | None,
    threshold: float,
    is_recovered: bool,
    *,
    learned: bool = False,
    detail: str = "",
) -> Evaluation:
    observation = Observation(window.at, breach, is_recovered and breach is None)
    rule = AlertRule(window.kpi.value)
    return Evaluation(rule, window.subject, observation, window.value, threshold, window.sample, learned, detail)


def _beyond(kpi: KpiName, value: float, limit: float) -> bool:
    return value > limit if kpi in LOWER_IS_BETTER else value < limit


def _is_back(window: KpiWindow, limit: float) -> bool:
    inner = limit * (1 - RECOVERED_BELOW if window.kpi in LOWER_IS_BETTER else 1 + RECOVERED_BELOW)
    return not _beyond(window.kpi, window.value, min(inner, 1.0) if window.kpi not in LOWER_IS_BETTER else inner)
