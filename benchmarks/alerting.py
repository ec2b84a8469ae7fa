"""Compare Routewatch with common first approaches to alerting over sixty days with twelve incidents.

`python -m benchmarks.alerting` prints the table of docs/alerts.md. Every minute is evaluated as in production.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import Any, NamedTuple

import polars as pl
import typer

from benchmarks.alert_incidents import DAYS, INCIDENTS, START, settings_of, traffic
from models.kpis import KPIS, LOWER_IS_BETTER, KpiName
from models.notifications import AlertEvent
from models.period import Level
from models.settings import Settings
from tasks.alerts.history import History, slowest_by_model
from tasks.alerts.learning import LENGTH
from tasks.alerts.registry import AlertRegistry, grouping_policy_of
from tasks.alerts.rules import WindowInputs, evaluate_minutes
from tasks.alerts.windows import COST_WINDOWS, MINUTE, Cheapest, by_subject, rolling
from tasks.kpis.cost_efficiency import cheapest_adequate
from tasks.rollups.aggregate import merge, roll_up

LATE = timedelta(minutes=30)
"""How long after an incident's end a message may still be attributed to it."""

LimitOf = Callable[[KpiName, str, datetime], float | None]

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Notified:
    """One message: its time, and since when its alert has been firing; None if it only reports a resolution."""

    at: datetime
    fired_at: datetime | None


@dataclass
class Rollups:
    """All selections rolled up by minute, hour and day; minutes grouped by hour. `subjects` are hours by subject."""

    minutes: dict[datetime, pl.DataFrame] = field(default_factory=dict)
    hours: pl.DataFrame = field(default_factory=pl.DataFrame)
    days: pl.DataFrame = field(default_factory=pl.DataFrame)
    subjects: pl.DataFrame = field(default_factory=pl.DataFrame)
    histories: list[tuple[datetime, History]] = field(default_factory=list)

    def of_minutes(self, start: datetime, end: datetime) -> pl.DataFrame:
        hour = start.replace(minute=0)
        parts = []
        while hour < end:
            parts.append(self.minutes.get(hour))
            hour += HOUR
        near = pl.concat([part for part in parts if part is not None])
        return near.filter(pl.col("bucket").is_between(start, end, closed="left"))


def rollups_of(rows: pl.DataFrame) -> Rollups:
    """Return the rollups, updated day by day."""
    found, hours, days = Rollups(), [], []
    for _, part in rows.group_by(pl.col("timestamp").dt.date(), maintain_order=True):
        levels = roll_up(part, "UTC", 2000.0)
        hours.append(levels[Level.HOUR])
        days.append(levels[Level.DAY])
        for key, minutes in levels[Level.MINUTE].group_by(pl.col("bucket").dt.truncate("1h")):
            hour: Any = key[0]
            found.minutes[hour] = minutes
    found.hours, found.days = merge(pl.concat(hours)), merge(pl.concat(days))
    return found


def histories(rollups: Rollups, settings: Settings) -> Iterator[tuple[datetime, History]]:
    """Yield what is known at each hour, as tasks.alerts.history reads it."""
    for number in range(int((rollups.days["bucket"].n_unique()) * 24)):
        hour = START + number * HOUR
        days = rollups.days.filter(pl.col("bucket") >= hour - LENGTH, pl.col("bucket") + DAY <= hour)
        cheapest: Cheapest = cheapest_adequate(days, settings.performance_metrics) if days.height else {}
        before = rollups.hours.filter(pl.col("bucket") >= hour - LENGTH, pl.col("bucket") < hour)
        yield hour, History(hour, "UTC", by_subject(before, cheapest), cheapest, slowest_by_model(days))


def watch(rollups: Rollups, settings: Settings) -> list[Notified]:
    """Return the messages that Routewatch would have sent."""
    alerting, registry, notified = settings.monitoring.alerting, AlertRegistry(), []
    grouping, notified_at = grouping_policy_of(alerting), None
    length, last_before = timedelta(minutes=alerting.window_minutes), None
    for hour, history in rollups.histories:
        minutes = rollups.of_minutes(hour - COST_WINDOWS * length, hour + HOUR)
        for at, evaluations in evaluate_minutes(
            WindowInputs(minutes, last_before, {hour: history}), hour, hour + 59 * MINUTE, settings
        ):
            registry.update(at, evaluations, alerting)
            due = registry.take_due(at, notified_at, [], grouping)
            if due:
                notified_at = at
                fired = [
                    tracked.lifecycle.fired_at
                    for tracked in due
                    if tracked.lifecycle.pending_event is not AlertEvent.RESOLVED
                ]
                notified.append(Notified(at, min(filter(None, fired), default=None)))
            registry.ended.clear()
        if minutes.height:
            newest: Any = minutes["bucket"].max()
            last_before = newest + MINUTE
    return notified


# --- what people often begin with -------------------------------------------------------------------------------------


def static(rollups: Rollups, settings: Settings, *, careful: bool) -> list[Notified]:
    """Send a message whenever a window exceeds its fixed warning limit, and none until it was within limits again.

    `careful`: require as many selections and as many minutes beyond the limit as Routewatch does.
    """

    def limit(kpi: KpiName, _subject: str, _at: datetime) -> float:
        return settings.performance_metrics.of(kpi).warning

    return _crossings(rollups, settings, limit, careful=careful)


def three_sigma(rollups: Rollups, settings: Settings, *, careful: bool) -> list[Notified]:
    """Do the same with the mean plus three standard deviations of the previous week's hours, day by day."""
    limits: dict[tuple[KpiName, str, datetime], float | None] = {}

    def limit(kpi: KpiName, subject: str, at: datetime) -> float | None:
        day = at.replace(hour=0, minute=0)
        if (kpi, subject, day) not in limits:
            limits[kpi, subject, day] = _mean_and_three_sd(rollups, kpi, subject, day)
        return limits[kpi, subject, day]

    return _crossings(rollups, settings, limit, careful=careful)


def _mean_and_three_sd(rollups: Rollups, kpi: KpiName, subject: str, day: datetime) -> float | None:
    above, below = KPIS[kpi].parts.numerator, KPIS[kpi].parts.denominator
    week = rollups.subjects.filter(pl.col("bucket").is_between(day - 7 * DAY, day, closed="left"))
    values = (
        week.filter(pl.col("subject") == subject, pl.col(below) > 0).select(pl.col(above) / pl.col(below)).to_series()
    )
    mean, deviation = values.mean(), values.std()
    if not isinstance(mean, float) or not isinstance(deviation, float):
        return None
    return mean + 3 * deviation if kpi in LOWER_IS_BETTER else mean - 3 * deviation


def _crossings(rollups: Rollups, settings: Settings, limit_of: LimitOf, *, careful: bool) -> list[Notified]:
    """Return one message for each minute in which a value crosses its limit."""
    alerting = settings.monitoring.alerting
    length, notified = timedelta(minutes=alerting.window_minutes), []
    sample, hold = (alerting.minimum_sample, alerting.hold_minutes) if careful else (1, 0)
    since: dict[tuple[KpiName, str], int] = {}
    for hour, history in rollups.histories:
        minutes = rollups.of_minutes(hour - COST_WINDOWS * length, hour + HOUR)
        windows = rolling(by_subject(minutes, history.cheapest), hour, hour + 59 * MINUTE, length)
        for key, group in windows.sort("at").group_by("at", maintain_order=True):
            at: Any = key[0]
            beyond = {}
            for row in group.iter_rows(named=True):
                for kpi, parts in ((name, it.parts) for name, it in KPIS.items()):
                    limit = (
                        limit_of(kpi, row["subject"], at)
                        if row[parts.denominator] and row[parts.sample] >= sample
                        else None
                    )
                    if limit is not None and _is_beyond(kpi, row[parts.numerator] / row[parts.denominator], limit):
                        beyond[kpi, row["subject"]] = since.get((kpi, row["subject"]), -1) + 1
            if hold in beyond.values():
                notified.append(Notified(at, at))
            since = beyond
    return notified


def _is_beyond(kpi: KpiName, value: float, limit: float) -> bool:
    return value > limit if kpi in LOWER_IS_BETTER else value < limit


# --- the table --------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """The result of one way of alerting: minutes to the first message of each incident, None where there was none."""

    name: str
    minutes: list[float | None]
    messages: int
    false: int

    def line(self) -> str:
        found = [it for it in self.minutes if it is not None]
        each = self.messages / len(found) if found else 0.0
        late = f"{median(found):.0f} ({max(found):.0f})" if found else "–"
        cells = (f"{len(found)} of {len(self.minutes)}", late, f"{self.false / (DAYS / 7):.1f}", f"{each:.1f}")
        return f"| {self.name} | {' | '.join(cells)} |"


def judged(name: str, notified: Sequence[Notified]) -> Row:
    """Match messages with incidents. A message that only reports a resolution belongs to the message before it."""
    minutes: list[float | None] = []
    owned: set[datetime] = set()
    for incident in INCIDENTS:
        during = [it for it in notified if incident.start <= it.at < incident.end + LATE]
        first = next((it.at for it in during if it.fired_at is not None and it.fired_at >= incident.start), None)
        minutes.append(None if first is None else (first - incident.start) / MINUTE)
        owned |= {it.at for it in during}
    false = sum(it.fired_at is not None and it.at not in owned for it in notified)
    return Row(name, minutes, len(owned), false)


def main() -> None:
    """Print the tables."""
    rollups = rollups_of(traffic())
    auto, fixed = settings_of("auto"), settings_of("fixed")
    rollups.histories = list(histories(rollups, auto))
    cheapest = rollups.histories[-1][1].cheapest
    rollups.subjects = by_subject(rollups.hours, cheapest)
    rows = [
        judged("learned limits (`auto`)", watch(rollups, auto)),
        judged("fixed limits (`fixed`)", watch(rollups, fixed)),
        judged("mean ± 3σ of the week before", three_sigma(rollups, auto, careful=False)),
        judged("the same, over 30 selections, for 5 min", three_sigma(rollups, auto, careful=True)),
        judged("static threshold", static(rollups, fixed, careful=False)),
        judged("the same, over 30 selections, for 5 min", static(rollups, fixed, careful=True)),
    ]
    typer.echo(
        "| | incidents found | minutes to the message, median (most) | false alerts a week | messages an incident |"
    )
    typer.echo("|---|--:|--:|--:|--:|")
    for row in rows:
        typer.echo(row.line())
    typer.echo("\n| incident | " + " | ".join(row.name for row in rows) + " |\n|---" + "|--:" * len(rows) + "|")
    for number, incident in enumerate(INCIDENTS):
        cells = ["–" if row.minutes[number] is None else f"{row.minutes[number]:.0f} min" for row in rows]
        typer.echo(f"| {incident.name}, for {incident.minutes} min | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
