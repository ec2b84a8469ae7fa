"""Random report documents of every template, with what is known to break layouts: built from the models' own types.

A template or field that is added to the document is included automatically.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from models.documents import (
    Charts,
    Coverage,
    DistributionBin,
    Document,
    HeatmapCell,
    HourOfWeek,
    Interval,
    Kpi,
    MetricChange,
    ModelStats,
    Mover,
    PeriodPart,
    TimelinePoint,
    Trend,
    VolumePoint,
)
from models.kpis import KpiName, KpiState
from models.settings import PerformanceMetrics

TEMPLATES: tuple[type[Any], ...] = get_args(Document)

WORDS = ("swift", "atlas", "mini", "large", "2026-05", "preview", "search", "billing")
ENDLESS = ("an-80-letter-name-", "W" * 80, "under_scores_everywhere_", "path/like/", "x")
RIGHT_TO_LEFT = ("نموذج-سريع", "מודל מהיר 2", "فريق (البحث)", "۱۲۳-خلاصه", "atlas עברית 7")
PICTURES = ("🚀 rocket", "👩‍🚀👩🏽‍💻", "🇩🇪", "模型-快速", "نموذج 🔥 é́́", "ไทย नमस्ते", "\u202egnp.exe")
MARKUP = ("</td><script>alert(1)</script>", "&amp;'\"<b>", "=HYPERLINK(1)", "a|b`c*_[d](e)", "tab\tand\nline")

_METRICS = ("totalSelections", "averageResponseTime", "cacheHitRate", "totalCost", "errorRate", "userSatisfaction")
_METRICS_OF_CHANGES = (*KpiName, "averageCost", "slowShare")
_RULES = tuple(KpiName)
_STATES = ("applied", "observing", "kept", "reverted", "expired")
_SMALL = {"weekday": 7, "hour": 24, "optimization_id": 900, "version": 99, "hours": 168, "incident_hours": 9,
          "basis_days": 29, "days_before": 29}  # fmt: skip
_SHARES = ("rate", "share", "accuracy", "efficiency", "satisfaction", "used", "confidence", "worth")


@dataclass(frozen=True)
class Dice:
    """How a document is drawn. `rows` bounds every list, `most` those that have a row a model or a team.

    `unknown` is the share of optional values that are unknown; numbers lie between the `powers` of ten.
    """

    seed: int = 1
    rows: tuple[int, int] = (0, 4)
    most: tuple[int, int] = (1, 6)
    unknown: float = 0.2
    powers: tuple[float, float] = (0, 4)
    names: tuple[str, ...] = WORDS
    hours: int = 30
    depth: Literal["summary", "detailed"] = "detailed"
    locale: str = "en_US"
    zone: str = "Europe/Berlin"


CASES = {
    "no rows": Dice(rows=(0, 0), most=(0, 0), unknown=1.0, depth="summary"),
    "one row, with markup": Dice(rows=(1, 1), most=(1, 1), hours=1, names=MARKUP, locale="de_DE", depth="summary"),
    "60 models, tiny and huge numbers": Dice(
        rows=(1, 2), most=(60, 60), names=ENDLESS, powers=(-12, 15), hours=60, locale="fr_FR", depth="summary"
    ),
    "80-letter names, huge numbers": Dice(rows=(1, 2), names=ENDLESS, powers=(11, 15), unknown=0.05, locale="de_CH"),
    "right to left": Dice(rows=(1, 2), names=RIGHT_TO_LEFT, locale="ar_EG", zone="Asia/Kathmandu", depth="summary"),
    "pictures, tiny numbers": Dice(
        rows=(2, 3),
        names=PICTURES,
        powers=(-12, -6),
        unknown=0.05,
        locale="zh_CN",
        zone="Asia/Shanghai",
        depth="summary",
    ),
    "all unknown": Dice(rows=(1, 3), unknown=1.0, depth="summary", zone="America/St_Johns"),
}
"""One of each combination that is known to break something: rendering them all takes time.

Sixty models are more than a table has rows.
"""

BIG_CASES = {
    "300 models, tiny and huge numbers": replace(CASES["60 models, tiny and huge numbers"], most=(300, 300)),
}
"""The slowest to render."""


def thrown(template: type[Any], dice: Dice) -> Any:
    """Return a document of a template: the same for the same dice."""
    return _Thrower(dice).document(template)


def random_dice(seed: int) -> Dice:
    """Return randomly drawn dice."""
    chance = random.Random(seed)  # noqa: S311 - chance must repeat, not surprise
    case = replace(chance.choice(list(CASES.values())), seed=seed)
    return replace(
        case,
        unknown=chance.choice((0.0, 0.3, 0.8)),
        names=chance.choice((WORDS, ENDLESS, RIGHT_TO_LEFT, PICTURES, MARKUP)),
        most=(0, chance.choice((1, 5, 40))),
        depth=chance.choice(("summary", "detailed")),
    )


class _Thrower:
    def __init__(self, dice: Dice) -> None:
        self.dice = dice
        self.chance = random.Random(dice.seed)  # noqa: S311 - chance must repeat
        end = datetime(2026, 10, 12, 6, tzinfo=UTC)
        start = end - timedelta(hours=dice.hours)
        self.period = PeriodPart(start=start, end=end, zone=dice.zone, requested_start=start, requested_end=end)
        self.made: dict[type, Callable[[], object]] = {
            PeriodPart: lambda: self.period,
            Charts: self.charts,
            Coverage: self.coverage,
            Interval: self.interval,
            MetricChange: lambda: self.measured(MetricChange, str(self.chance.choice(_METRICS_OF_CHANGES))),
            Trend: lambda: self.measured(Trend, self.chance.choice(_METRICS)),
            ModelStats: lambda: self.in_order(ModelStats),
        }
        self.listed: dict[type, Callable[[], tuple[object, ...]]] = {
            HourOfWeek: self.week,
            Kpi: lambda: tuple(map(self.kpi, KpiName)),
            VolumePoint: self.volume,
        }

    def document(self, template: type[Any]) -> Any:
        """Draws everything as its type allows, of a period that all its parts are about."""
        return self.part(template, kind="custom", metrics=("all",), depth=self.dice.depth, locale=self.dice.locale)

    def part(self, model: type[Any], **known: object) -> Any:
        """Draw one object of a model, field by field; a field fixed by a default of one value stays."""
        if not known and model in self.made:
            return self.made[model]()
        values = self.fields_of(model, known)
        if model is Mover and values["count"] == values["before"]:
            values["count"] += 1
        if {"count", "before"} <= values.keys() and values["change"] is not None:
            change = values["count"] - values["before"]
            # A mover has a statistically significant change: its interval excludes 0.
            values["change"] = self.interval(change, most=0.9 * abs(change) if model is Mover else math.inf)
        return model(**values)

    def field(self, name: str, field: FieldInfo) -> object:
        if name in ("template", "type", "schema_version", "paper"):
            return field.get_default() if not field.is_required() else self.value(field.annotation, name)
        return self.value(field.annotation, name)

    def value(self, kind: Any, name: str) -> Any:
        origin, args = get_origin(kind), get_args(kind)
        if origin in (Annotated, Union, UnionType):
            return self.one_of(args[:1] if origin is Annotated else args, name)
        if origin is Literal:
            return self.chance.choice(args)
        if origin is tuple:
            made = self.listed.get(args[0])
            return self.list_of(args[0], name) if made is None else made()
        return self.chance.choice((None, True, 3_600, 0.25, self.name())) if kind is Any else self.plain(kind, name)

    def list_of(self, kind: Any, name: str) -> tuple[Any, ...]:
        return tuple(self.value(kind, name) for _ in range(self.count(kind)))

    def one_of(self, kinds: tuple[Any, ...], name: str) -> Any:
        if NoneType in kinds and self.chance.random() < self.dice.unknown:
            return None
        return self.value(self.chance.choice([kind for kind in kinds if kind is not NoneType]), name)

    def plain(self, kind: Any, name: str) -> Any:
        if issubclass(kind, BaseModel):
            return self.part(kind)
        if issubclass(kind, StrEnum):
            return self.chance.choice(list(kind))
        if kind is datetime:
            length = self.period.end - self.period.start
            at = {"compared_from": -1.0, "compared_to": 0.0}.get(name, self.chance.random())
            return self.period.start + length * at
        if kind is bool:
            return self.chance.random() < 0.5
        return self.text(name) if kind is str else self.number(kind, name)

    # --- texts and numbers --------------------------------------------------------------------------------------------

    def count(self, kind: Any) -> int:
        """Draw how many of them: as many as there are models where each is of one model, team or class."""
        fields = getattr(kind, "model_fields", {}).keys()
        per_group = "model_id" in fields or ("complexity" in fields and "moves" not in fields)
        per_group = per_group or ("name" in fields and "dimension" not in fields)
        return self.chance.randint(*(self.dice.most if per_group else self.dice.rows))

    def text(self, name: str) -> str:
        known: dict[str, tuple[str, ...]] = {
            "zone": (self.dice.zone,), "month": ("2026-10",), "unit": ("ms",), "key": ("cache.ttl_seconds",),
            "metric": _METRICS, "rule": _RULES, "state": _STATES,
        }  # fmt: skip
        if name in known:
            return str(self.chance.choice(known[name]))
        before = {"reason": "because of ", "note": "see ", "decide_url": "https://router.example.org/decide/"}
        return before.get(name, "") + self.name()

    def name(self) -> str:
        """Draw one of the names; repeat a short one up to the 80 characters of an endless one, or use it alone."""
        word = self.chance.choice(self.dice.names)
        if self.dice.names is ENDLESS:
            return (word * 80)[:76] + f"{self.chance.randint(0, 9999):04d}"
        return f"{word}-{self.chance.randint(0, 999)}" if self.dice.names is WORDS else word

    def number(self, kind: type, name: str) -> float:
        if kind is int and self.dice.most == (0, 0):
            return 0
        if kind is int and name in _SMALL:
            return self.chance.randrange(_SMALL[name])
        if name == "percentage":
            return 100 * self.chance.random()
        if any(part in name for part in _SHARES):
            return self.chance.choice((0.0, 1.0, self.chance.random(), self.chance.random() ** 9))
        size = 10 ** self.chance.uniform(*self.dice.powers)
        return max(1, round(size)) if kind is int else size

    def measured(self, model: type[Any], metric: str) -> Any:
        """Draw numbers of one metric, of which a share is one from 0 to 1."""
        shares = any(part in metric.lower() for part in _SHARES)
        thrower = _Thrower(
            replace(self.dice, seed=self.chance.randrange(2**31), powers=(-3, 0) if shares else self.dice.powers)
        )
        return model(**thrower.fields_of(model, {"metric": metric}))

    def kpi(self, name: KpiName) -> Kpi:
        """Draw one with the product's limits; of the response time the value may be anything."""
        limits = PerformanceMetrics().of(name)
        value = (
            None
            if self.chance.random() < self.dice.unknown
            else self.number(float, "" if name is KpiName.RESPONSE_TIME else "rate")
        )
        known = {limit: getattr(limits, limit) for limit in ("unit", "target", "warning", "critical")}
        return Kpi(
            name=name,
            value=value,
            state=self.chance.choice(list(KpiState)) if value else KpiState.NO_DATA,
            coverage=self.coverage(),
            **known,
        )

    def coverage(self) -> Coverage:
        of = int(self.number(int, "of")) if self.dice.most != (0, 0) else 0
        known = int(of * self.chance.random()) if self.dice.unknown < 1 else 0
        return Coverage(known=known, of=of, share=known / of if of else 0.0)

    def interval(self, middle: float | None = None, most: float = math.inf) -> Interval:
        """Draw one around a number, or around any; its bounds no further from it than `most`."""
        middle = self.number(float, "") * self.chance.choice((1, 1, -1)) if middle is None else middle
        half = min(most, self.number(float, ""))
        if self.chance.random() < self.dice.unknown:
            return Interval(estimate=middle)
        return Interval(estimate=middle, low=middle - half, high=middle + half)

    def in_order(self, model: type[Any], **known: object) -> Any:
        """Draw rising percentiles."""
        made = _Thrower(replace(self.dice, seed=self.chance.randrange(2**31))).fields_of(model, known)
        names = [name for name in ("p50_response_time", "p95_response_time", "p99_response_time") if name in made]
        times = sorted(made[name] for name in names if made[name] is not None)
        times = times if len(times) == len(names) else [None] * len(names)
        return model(**made | dict(zip(names, times, strict=True)))

    def fields_of(self, model: type[Any], known: dict[str, object]) -> dict[str, Any]:
        unknown = {name: field for name, field in model.model_fields.items() if name not in known}
        return {name: self.field(name, field) for name, field in unknown.items()} | known

    # --- charts -------------------------------------------------------------------------------------------------------

    def charts(self) -> Charts:
        """Draw a timeline of every hour, each with its selections or none; adjacent bins; the full week."""
        if self.dice.most == (0, 0):
            return Charts(
                bucket="hour", timeline=tuple(map(self.nothing, range(self.dice.hours))), distribution=(), heatmap=()
            )
        low = self.number(float, "")
        bins = [
            DistributionBin(from_ms=low * 1.3**at, to_ms=low * 1.3 ** (at + 1), count=self.chance.randint(0, 999))
            for at in range(self.chance.randint(1, 25))
        ]
        cells = [self.part(HeatmapCell, weekday=day, hour=hour) for day in range(7) for hour in range(24)]
        shown = [cell for cell in cells if self.chance.random() < 0.9][: self.dice.hours]
        return Charts(
            bucket="hour",
            timeline=tuple(map(self.point, range(self.dice.hours))),
            distribution=tuple(bins),
            heatmap=tuple(shown),
        )

    def point(self, hour: int) -> TimelinePoint:
        if self.chance.random() < 0.1:
            return self.nothing(hour)
        point: TimelinePoint = self.in_order(TimelinePoint, start=self.period.start + timedelta(hours=hour))
        return point

    def volume(self) -> tuple[VolumePoint, ...]:
        return tuple(
            self.part(VolumePoint, start=self.period.start + timedelta(hours=hour)) for hour in range(self.dice.hours)
        )

    def week(self) -> tuple[HourOfWeek, ...]:
        hours = ((day, hour) for day in range(7) for hour in range(24))
        return tuple(self.part(HourOfWeek, weekday=day, hour=hour) for day, hour in list(hours)[: self.dice.hours])

    def nothing(self, hour: int) -> TimelinePoint:
        fields = dict.fromkeys(TimelinePoint.model_fields)
        return TimelinePoint.model_validate(fields | {"start": self.period.start + timedelta(hours=hour), "count": 0})
