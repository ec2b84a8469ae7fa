"""Parts of the sample report about usage: growth that one team causes, a model that is new, one that is gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from models.documents import (
    Coverage,
    Direction,
    GroupUsage,
    HourOfWeek,
    Interval,
    Mover,
    NewModel,
    PeakHour,
    PeriodPart,
    Trend,
    UsageSummary,
    VanishedModel,
    VolumeChange,
    VolumePoint,
)
from models.period import Period

TOTAL, BEFORE = 50_268, 44_120


def period_part(period: Period) -> PeriodPart:
    """Return a period as a document has it, with nothing rounded."""
    start, end = period.start, period.end
    return PeriodPart(start=start, end=end, zone=period.zone, requested_start=start, requested_end=end)


def summary(period: PeriodPart) -> UsageSummary:
    return UsageSummary(
        period=period, total_selections=TOTAL, selections_per_day=TOTAL / 14, total_cost=1_183.42, models=4, teams=5,
        prompt_tokens=40_817_616, completion_tokens=15_052_247, tokens_per_selection=1_116.0, user_satisfaction=0.87,
        peak_hour=PeakHour(start=datetime(2026, 10, 7, 12, tzinfo=UTC), count=612),
    )  # fmt: skip


def groups(*rows: tuple[str, int, int, float, bool]) -> tuple[GroupUsage, ...]:
    """Return groups from name, count, count before, the half width of the interval, and whether users rated them."""
    return tuple(_group(*row) for row in rows)


def models() -> tuple[GroupUsage, ...]:
    return groups(
        ("swift-mini", 31_840, 27_410, 2_950, True),
        ("atlas-large-2026-05", 11_206, 10_980, 1_620, True),
        ("atlas-medium", 6_018, 3_892, 700, True),
        ("swift-nano", 1_204, 0, 160, False),
    )


def complexities() -> tuple[GroupUsage, ...]:
    return groups(
        ("simple", 26_116, 25_904, 2_240, True),
        ("moderate", 14_340, 12_098, 1_450, True),
        ("complex", 9_812, 6_118, 820, True),
    )


def teams() -> tuple[GroupUsage, ...]:
    return groups(
        ("search", 22_310, 17_204, 1_900, True),
        ("support", 15_008, 14_811, 1_730, True),
        ("billing", 8_726, 8_901, 1_020, True),
        ("research", 3_120, 2_118, 1_180, True),
        ("intern-tools", 1_104, 1_086, 240, False),
    )


def movers() -> tuple[Mover, ...]:
    """Return the groups that changed significantly, and the model that is gone."""
    found = [("model", it) for it in (*models(), _group("atlas-xs", 0, 1_838, 210, rated=False))]
    found += [("complexity", it) for it in complexities()] + [("team", it) for it in teams()]
    reported = [(dimension, it) for dimension, it in found if it.direction in (Direction.MORE, Direction.LESS)]
    reported.sort(key=lambda pair: -abs(pair[1].count - pair[1].before))
    fields = VolumeChange.model_fields
    return tuple(
        Mover.model_validate({"dimension": dimension, **{name: getattr(it, name) for name in fields}})
        for dimension, it in reported
    )


def new_models() -> tuple[NewModel, ...]:
    return (
        NewModel(model_id="swift-nano", count=1_204, share=1_204 / TOTAL, since=datetime(2026, 10, 6, 22, tzinfo=UTC)),
    )


def vanished_models() -> tuple[VanishedModel, ...]:
    last = datetime(2026, 9, 26, 22, tzinfo=UTC)
    return (VanishedModel(model_id="atlas-xs", before=1_838, share_before=1_838 / BEFORE, last=last),)


def trends() -> tuple[Trend, ...]:
    return (
        _trend("totalSelections", TOTAL, BEFORE, 2_400, Direction.MORE),
        _trend("promptTokensPerSelection", 812.0, 760.0, 31.0, Direction.MORE),
        _trend("completionTokensPerSelection", 304.0, 301.0, 12.0, Direction.SAME),
        _trend("userSatisfaction", 0.87, 0.874, 0.009, Direction.SAME),
    )


def volume(period: PeriodPart) -> tuple[VolumePoint, ...]:
    """Return fourteen days, of which one had far more requests than its baseline."""
    zone = ZoneInfo(period.zone)
    first = period.start.astimezone(zone)
    points = []
    for day in range(14):
        start = (first.replace(tzinfo=None) + timedelta(days=day)).replace(tzinfo=zone)
        usual = 1_400.0 if start.weekday() > 4 else 3_700.0
        count = 5_940 if day == 9 else round(usual * (1.04 + 0.03 * ((day * 7) % 5 - 2)))
        expected = Interval(estimate=usual, low=usual * 0.84, high=usual * 1.18)
        points.append(VolumePoint(start=start.astimezone(UTC), count=count, usual=expected))
    return tuple(points)


def hours_of_week() -> tuple[HourOfWeek, ...]:
    return tuple(
        HourOfWeek(
            weekday=day, hour=hour, selections=round((1 if day < 5 else 0.4) * max(4, 300 - 3 * (hour - 14) ** 2))
        )
        for day in range(7)
        for hour in range(24)
    )


# ----------------------------------------------------------------------------------------------------------------------


def _group(name: str, count: int, before: int, spread: float, rated: bool) -> GroupUsage:
    change = Interval(estimate=count - before, low=count - before - spread, high=count - before + spread)
    is_same = abs(count - before) <= spread
    known: dict[str, Any] = {"known": int(count * 0.12), "share": 0.12} if rated else {"known": 0, "share": 0.0}
    return GroupUsage(
        name=name,
        count=count,
        share=count / TOTAL,
        before=before,
        share_before=before / BEFORE,
        change=change,
        change_share=(count - before) / before if before else None,
        direction=Direction.SAME if is_same else Direction.MORE if count > before else Direction.LESS,
        prompt_tokens=count * 812,
        completion_tokens=count * 304,
        tokens_per_selection=1_116.0,
        user_satisfaction=0.87 if rated else None,
        satisfaction_coverage=Coverage(of=count, **known),
        error_rate=0.0152,
    )


def _trend(metric: str, current: float, before: float, spread: float, direction: Direction) -> Trend:
    change = current - before
    return Trend(
        metric=metric,
        compared_with="sameWeekdaysBefore",
        current=current,
        before=before,
        change=Interval(estimate=change, low=change - spread, high=change + spread),
        change_share=change / before,
        direction=direction,
    )
