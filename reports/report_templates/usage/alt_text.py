"""What the charts about usage show, for whoever cannot see them."""

from __future__ import annotations

from models.documents import UsageReport
from reports.charts.change_markers import marks_of
from reports.charts.heatmap import weekday_name
from reports.report_templates.usage.charts import is_unusual
from reports.report_templates.usage.sentences import signed_count
from reports.text.formatting import Formats


def timeline_text(document: UsageReport, show: Formats) -> str:
    """The busiest bucket, and what lies outside of what is usual."""
    most = max(document.volume, key=lambda point: point.count)
    text = (
        f"Bar chart of requests per {document.volume_bucket}, most at {show.count(most.count)}, {show.day(most.start)}."
    )
    unusual = [point for point in document.volume if is_unusual(point)]
    if unusual:
        found = "; ".join(f"{show.count(point.count)} on {show.instant(point.start)}" for point in unusual[:5])
        text += f" Outside of what is usual: {found}."
    elif any(point.usual for point in document.volume):
        text += " All are within what is usual."
    for at, change in marks_of(document):
        text += f" Marked: change {change}, {show.instant(at)}."
    return text


def groups_text(document: UsageReport, show: Formats) -> str:
    """How much each class and team asked."""
    named = [*document.complexity_usage[:4], *(document.team_usage or document.model_usage)[:6]]
    return "Bars of requests: " + ", ".join(f"{group.name} {show.count(group.count)}" for group in named) + "."


def movers_text(document: UsageReport, show: Formats) -> str:
    """The largest changes."""
    changes = [(mover, mover.count - mover.before) for mover in document.top_movers]
    found = (f"{it.dimension} {it.name} {signed_count(change, show)}" for it, change in changes)
    return f"Bars of the largest changes in requests: {', '.join(found)}."


def week_text(document: UsageReport, show: Formats) -> str:
    """The busiest hour of the week."""
    most = max(document.hours_of_week, key=lambda hour: hour.selections)
    hour = f"{weekday_name(most.weekday, show, 'EEEE')} {most.hour:02d}:00 to {most.hour + 1:02d}:00 in {show.zone}"
    return f"Grid of requests per weekday and hour. Most on average: {show.number(most.selections, 1)}, {hour}."
