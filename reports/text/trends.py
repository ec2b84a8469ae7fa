"""A trend as a sentence."""

from __future__ import annotations

from models.documents import Direction, Trend
from reports.text.formatting import Formats
from reports.text.labels import COMPARED, bounds_text, metric_change, metric_label, metric_value


def trend_sentence(trend: Trend, show: Formats) -> str:
    """From what to what a number rose or fell, and how sure that is; or that it did not, or why that is not known."""
    label, against = metric_label(trend.metric), COMPARED[trend.compared_with]
    if trend.upto is not None:
        label = f"Up to {show.instant(trend.upto)}, {label[0].lower()}{label[1:]}"
    if trend.direction is Direction.UNKNOWN or trend.change is None:
        return f"{label} cannot be judged against {against}: {trend.reason or 'too little is known'}."
    now, then = (metric_value(trend.metric, number, show) for number in (trend.current, trend.before))
    if trend.direction is Direction.SAME:
        return f"{label} did not clearly change against {against}: {then} then, {now} now."
    bounds = bounds_text(trend.metric, trend.change, show)
    sure = f", 95% interval {bounds}" if bounds else ""
    change = metric_change(trend.metric, trend.change.estimate, show)
    verb = "rose" if trend.change.estimate > 0 else "fell"
    return f"{label} {verb} from {then} to {now} against {against} ({change}{sure})."


def is_noteworthy(trend: Trend) -> bool:
    """Return whether the trend is statistically significant."""
    return trend.direction not in (Direction.SAME, Direction.UNKNOWN)
