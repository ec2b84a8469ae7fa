"""Draw one incident for docs/alerts.md: `python -m benchmarks.alert_picture docs/alerts.png`."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl
import vl_convert

from benchmarks.alert_incidents import INCIDENTS, settings_of, traffic
from benchmarks.alerting import HOUR, Rollups, histories, rollups_of
from models.kpis import KpiName
from models.notifications import AlertEvent, AlertRule
from tasks.alerts.registry import AlertRegistry, grouping_policy_of
from tasks.alerts.rules import WindowInputs, evaluate_minutes
from tasks.alerts.windows import COST_WINDOWS, MINUTE

INCIDENT = INCIDENTS[0]
WATCHED = (AlertRule(KpiName.ERROR_RATE), "atlas-medium")
AROUND = timedelta(hours=1)


def result(rollups: Rollups) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """Value and limit by minute, and the times of the notifications."""
    settings, points, notified = settings_of("auto"), [], []
    alerting, registry, notified_at = settings.monitoring.alerting, AlertRegistry(), None
    length = timedelta(minutes=alerting.window_minutes)
    for hour, history in histories(rollups, settings):
        if not INCIDENT.start - 2 * AROUND <= hour < INCIDENT.end + 2 * AROUND:
            continue
        minutes = rollups.of_minutes(hour - COST_WINDOWS * length, hour + HOUR)
        for at, evaluations in evaluate_minutes(
            WindowInputs(minutes, None, {hour: history}), hour, hour + 59 * MINUTE, settings
        ):
            registry.update(at, evaluations, alerting)
            for tracked in registry.take_due(at, notified_at, [], grouping_policy_of(alerting)):
                notified_at = at
                if tracked.key == WATCHED and tracked.lifecycle.pending_event is not None:
                    word = {AlertEvent.FIRED: "notified: firing", AlertEvent.RESOLVED: "notified: resolved"}
                    notified.append(
                        {
                            "at": at,
                            "what": word.get(tracked.lifecycle.pending_event, tracked.lifecycle.pending_event.value),
                        }
                    )
            points += [
                {"at": at, "value": found.value, "limit": found.threshold}
                for found in evaluations
                if (found.rule, found.subject) == WATCHED
            ]
    span = pl.col("at").is_between(INCIDENT.start - AROUND, INCIDENT.end + AROUND)
    return pl.DataFrame(points).filter(span), notified


def drawn(points: pl.DataFrame, notified: list[dict[str, Any]]) -> bytes:
    """Return the picture as PNG."""
    ink, red, grey = "#1f2933", "#b42318", "#667085"
    axis = alt.X("at:T", title=None, axis=alt.Axis(format="%H:%M", grid=False))
    share = alt.Y(
        "value:Q",
        title="error rate of atlas-medium, over 15 minutes",
        scale=alt.Scale(domain=[0, 0.3]),
        axis=alt.Axis(format="%", gridColor="#eaecf0"),
    )
    local = points.with_columns(pl.col("at").dt.replace_time_zone(None)).to_dicts()
    marks = [{**it, "at": it["at"].replace(tzinfo=None)} for it in notified]
    span = [{"from": INCIDENT.start.replace(tzinfo=None), "to": INCIDENT.end.replace(tzinfo=None)}]
    shade = alt.Chart(_data(span)).mark_rect(color="#fef0c7").encode(x="from:T", x2="to:T")
    label = shade.mark_text(align="right", baseline="bottom", dx=-8, dy=-4, color=grey, fontSize=12).encode(
        x="to:T", y=alt.value("height"), text=alt.value("planted incident")
    )
    line = alt.Chart(_data(local)).mark_line(color=ink, strokeWidth=2).encode(axis, share)
    limit = (
        alt.Chart(_data(local))
        .mark_line(color=red, strokeDash=[5, 4], interpolate="step-after")
        .encode(axis, alt.Y("limit:Q"))
    )
    of_limit = alt.Chart(_data(local[:1])).mark_text(
        align="left", dx=4, dy=-40, color=red, fontSize=12, text="the learned limit"
    ).encode(x="at:T", y="limit:Q")  # fmt: skip
    rules = alt.Chart(_data(marks)).mark_rule(color=red).encode(x="at:T")
    words = rules.mark_text(align="left", dx=4, dy=-150, color=red, fontSize=12).encode(x="at:T", text="what:N")
    chart = alt.layer(shade, line, limit, rules, label, of_limit, words).properties(width=760, height=320)
    return bytes(vl_convert.vegalite_to_png(chart.configure_view(stroke=None).to_json(), scale=2))


def _data(rows: list[dict[str, Any]]) -> Any:
    plain = [{name: it.isoformat() if hasattr(it, "isoformat") else it for name, it in row.items()} for row in rows]
    return alt.Data(values=plain)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(drawn(*result(rollups_of(traffic(22)))))
