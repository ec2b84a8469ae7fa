"""The settings file: the product document's blocks as they stand, and Routewatch's own beside them."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from babel import Locale, UnknownLocaleError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.alias_generators import to_camel

from models.errors import Fault, SettingsError
from models.kpi import FallingRatioThresholds, KpiName, MillisecondThresholds, RisingRatioThresholds, Thresholds
from models.recipient import BUILT_IN, Recipient, is_in_the_clear, is_literally_public, parse_recipient

Milliseconds = Annotated[int, Field(gt=0)]


class _Block(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, allow_inf_nan=False
    )


class PerformanceMetrics(_Block):
    """Limits of the five KPIs; the defaults are the product document's."""

    response_time: MillisecondThresholds = MillisecondThresholds(target=2000, warning=3000, critical=5000)
    selection_accuracy: FallingRatioThresholds = FallingRatioThresholds(target=0.95, warning=0.90, critical=0.85)
    cache_hit_rate: FallingRatioThresholds = FallingRatioThresholds(target=0.90, warning=0.80, critical=0.70)
    cost_efficiency: FallingRatioThresholds = FallingRatioThresholds(target=0.80, warning=0.70, critical=0.60)
    error_rate: RisingRatioThresholds = RisingRatioThresholds(target=0.02, warning=0.05, critical=0.10)

    def of(self, name: KpiName) -> Thresholds:
        """The limits of one KPI."""
        limits: Thresholds = getattr(self, _FIELD_OF_KPI[name])
        return limits


_FIELD_OF_KPI = {
    KpiName.RESPONSE_TIME: "response_time",
    KpiName.SELECTION_ACCURACY: "selection_accuracy",
    KpiName.CACHE_HIT_RATE: "cache_hit_rate",
    KpiName.COST_EFFICIENCY: "cost_efficiency",
    KpiName.ERROR_RATE: "error_rate",
}


class Alerting(_Block):
    """When somebody is told that a KPI went wrong, and how often.

    The product document gives the first three; the others are as on-call people set such rules elsewhere. A window of
    `window_minutes` is judged each minute; where it has fewer than `minimum_sample` selections it says nothing.
    """

    enabled: bool = True
    channels: tuple[Literal["console", "webhook", "dashboard", "email"], ...] = ("console", "webhook", "dashboard")
    thresholds: Literal["auto", "fixed"] = "auto"
    window_minutes: Annotated[int, Field(ge=1, le=120)] = 15
    minimum_sample: Annotated[int, Field(ge=1)] = 30
    hold_minutes: Annotated[int, Field(ge=0)] = 5
    resolve_minutes: Annotated[int, Field(ge=0)] = 10
    cool_down_minutes: Annotated[int, Field(ge=0)] = 30
    remind_hours: Annotated[float, Field(gt=0)] | None = 24.0
    group_wait_minutes: Annotated[int, Field(ge=0)] = 2
    group_interval_minutes: Annotated[int, Field(ge=0)] = 10
    no_data_minutes: Annotated[int, Field(ge=1)] = 60
    single_selections: bool = True


class ChartName(StrEnum):
    TIMELINE = "timeline"
    DISTRIBUTION = "distribution"
    HEATMAP = "heatmap"
    COMPARISON = "comparison"


class DashboardSettings(_Block):
    enabled: bool = True
    refresh_rate: Milliseconds = 10_000
    charts: tuple[ChartName, ...] = tuple(ChartName)


class Monitoring(_Block):
    enabled: bool = True
    update_interval: Milliseconds = 5_000
    retention_period: Milliseconds = 2_592_000_000
    archive: bool = False
    aggregation_levels: tuple[Literal["minute", "hour", "day", "week"], ...] = ("minute", "hour", "day", "week")
    alerting: Alerting = Alerting()
    dashboard: DashboardSettings = DashboardSettings()

    @field_validator("aggregation_levels")
    @classmethod
    def _all_levels(cls, levels: tuple[str, ...]) -> tuple[str, ...]:
        if set(levels) != {"minute", "hour", "day", "week"}:
            raise ValueError("expected all of minute, hour, day, week: reports are computed from every level")
        return levels


class Schedule(_Block):
    enabled: bool = True
    recipients: tuple[str, ...] = ()
    metrics: tuple[Literal["all", "responseTime", "selectionAccuracy", "cacheHitRate", "costEfficiency",
                           "errorRate", "cost", "trends", "optimization"], ...] = ("all",)  # fmt: skip
    format: Literal["summary", "detailed"] = "summary"


class Schedules(_Block):
    hourly: Schedule = Schedule(recipients=("dashboard",), metrics=("responseTime", "errorRate", "cost"))
    daily: Schedule = Schedule(recipients=("email", "webhook"))
    weekly: Schedule = Schedule(recipients=("management",), metrics=("trends", "optimization"), format="detailed")


class CustomReports(_Block):
    enabled: bool = True
    templates: tuple[Literal["performance", "cost", "usage", "optimization"], ...] = (
        "performance", "cost", "usage", "optimization",
    )  # fmt: skip
    export_formats: tuple[Literal["json", "csv", "pdf"], ...] = ("json", "csv", "pdf")


class Reporting(_Block):
    schedules: Schedules = Schedules()
    custom_reports: CustomReports = CustomReports()
    locale: str = "en_US"
    paper: Literal["A4", "Letter"] = "A4"

    @field_validator("locale")
    @classmethod
    def _known_locale(cls, name: str) -> str:
        try:
            Locale.parse(name.replace("-", "_"))
        except (UnknownLocaleError, ValueError):
            raise ValueError(f"{name!r} is no locale such as en_US or de_DE") from None
        return name.replace("-", "_")


class Budget(_Block):
    monthly_usd: Annotated[float, Field(gt=0)] | None = None


class NumericKnob(_Block):
    """Bounds of a number that Routewatch may move; one change multiplies it by at most `factor`."""

    minimum: Annotated[float, Field(gt=0)]
    maximum: Annotated[float, Field(gt=0)]
    factor: Annotated[float, Field(gt=1)] = 2.0

    @model_validator(mode="after")
    def _ordered(self) -> NumericKnob:
        if self.minimum > self.maximum:
            raise ValueError("expected minimum <= maximum")
        return self


class ChoiceKnob(_Block):
    """The values that a setting may take, from the weakest to the strongest; one change moves one place."""

    choices: Annotated[tuple[str, ...], Field(min_length=2)]


class Optimizer(_Block):
    """What the loop may do by itself.

    Numbers without a source in the product document are chosen to be careful: a change needs a full day's evidence,
    and a key is left alone for a day after it was changed, twice as long after each time that it was taken back.
    A change is observed for at least `observe_hours` and at most `observe_max_hours`; a proposal that nobody decides on
    and no run finds again expires after `proposal_days`.
    """

    mode: Literal["off", "propose", "auto"] = "auto"
    minimum_sample: Annotated[int, Field(ge=1)] = 100
    cool_down_hours: Annotated[float, Field(gt=0)] = 24.0
    observe_hours: Annotated[float, Field(gt=0)] = 24.0
    observe_max_hours: Annotated[float, Field(gt=0)] = 168.0
    proposal_days: Annotated[float, Field(gt=0)] = 7.0
    random_split: bool = False
    router_usd_per_request: Annotated[float, Field(ge=0)] | None = None
    cache_max_entries: NumericKnob = NumericKnob(minimum=100, maximum=1_000_000)
    cache_ttl_seconds: NumericKnob = NumericKnob(minimum=60, maximum=604_800)
    cache_key_strategy: ChoiceKnob = ChoiceKnob(choices=("exact", "normalized", "semantic"))
    cache_eviction_policy: ChoiceKnob = ChoiceKnob(choices=("fifo", "lru", "lfu"))

    @model_validator(mode="after")
    def _observes(self) -> Optimizer:
        if self.observe_hours > self.observe_max_hours:
            raise ValueError("expected observeHours <= observeMaxHours")
        return self


class Delivery(_Block):
    """Where reports and messages go, and how.

    `concurrency` is how many receivers are served at the same time; each of them gets one delivery after the other.
    """

    mode: Literal["send", "files"] = "send"
    allow_private_addresses: bool = False
    recipients: Annotated[dict[str, tuple[str, ...]], Field(repr=False)] = {}
    maximum_attempts: Annotated[int, Field(ge=1, le=100)] = 10
    concurrency: Annotated[int, Field(ge=1, le=32)] = 4

    @field_validator("recipients")
    @classmethod
    def _known_addresses(
        cls, recipients: dict[str, tuple[str, ...]], info: ValidationInfo
    ) -> dict[str, tuple[str, ...]]:
        private = bool(info.data.get("allow_private_addresses"))
        entries = ((name, number, url) for name, urls in recipients.items() for number, url in enumerate(urls))
        faults = [f"{name}.{number}: {fault}" for name, number, url in entries if (fault := _fault_of(url, private))]
        faults += [f"{name}: is built in and takes no address" for name in BUILT_IN if name in recipients]
        if faults:
            raise ValueError("; ".join(faults))
        return recipients

    def recipients_of(self, name: str) -> tuple[Recipient, ...]:
        """Those behind a name; a channel that is built in stands for itself."""
        if name in BUILT_IN:
            return (Recipient(name, name),)
        return tuple(map(parse_recipient, self.recipients.get(name, ())))

    def recipient(self, channel: str, reference: str) -> Recipient | None:
        """The one that a stored delivery names; None where the settings no longer have it."""
        every = (it for name in (*BUILT_IN, *self.recipients) for it in self.recipients_of(name))
        return next((it for it in every if (it.channel, it.reference) == (channel, reference)), None)


class SourceKind(StrEnum):
    LITELLM = "litellm"
    LANGFUSE = "langfuse"
    HELICONE = "helicone"
    OTEL = "otel"
    SEMANTIC_ROUTER = "semantic-router"
    OPENROUTER = "openrouter"
    TABLE = "table"


class ComplexityRule(_Block):
    """How complexity is told from the tokens of a prompt where a source does not say it.

    The limits have no source in the product document: half of the prompts of everyday chats are shorter than a few
    hundred tokens, and a few thousand are a long document.
    """

    moderate_from_tokens: Annotated[int, Field(gt=0)] = 500
    complex_from_tokens: Annotated[int, Field(gt=0)] = 4_000

    @model_validator(mode="after")
    def _ordered(self) -> ComplexityRule:
        if self.moderate_from_tokens >= self.complex_from_tokens:
            raise ValueError("expected moderateFromTokens < complexFromTokens")
        return self


class SourceSettings(_Block):
    """Where picks are pulled from, and what is meant by names that are the user's own.

    `location` is a database's address, an address of an API, or files (a path, a folder, a pattern); `$NAME` stands for
    an environment variable that holds it. `kind` is the source's name where it is not given. Rows up to
    `overlap_minutes` before the newest are read again each time, for those that arrive late. The keys and scores name
    the metadata, property or attribute, and the evaluation, that hold a column; `mapping` is a mapping file. A recorded
    cost of 0 for an answer with tokens is unknown, as proxies write it for models without a price, unless
    `zero_is_free`: for models that one hosts oneself.
    """

    kind: SourceKind | None = None
    location: Annotated[str, Field(min_length=1, repr=False)]
    enabled: bool = True
    overlap_minutes: Annotated[float, Field(ge=0)] = 60.0
    complexity_key: str | None = None
    team_key: str | None = None
    zero_is_free: bool = False
    accuracy_score: str | None = None
    satisfaction_score: str | None = None
    mapping: Path | None = None
    complexity_rule: ComplexityRule | None = ComplexityRule()


class Settings(_Block):
    """Everything a settings file may hold; each key optional."""

    timezone: str = "UTC"
    performance_metrics: PerformanceMetrics = PerformanceMetrics()
    monitoring: Monitoring = Monitoring()
    reporting: Reporting = Reporting()
    budget: Budget = Budget()
    optimizer: Optimizer = Optimizer()
    delivery: Delivery = Delivery()
    sources: dict[str, SourceSettings] = {}

    @field_validator("sources")
    @classmethod
    def _known_kinds(cls, sources: dict[str, SourceSettings]) -> dict[str, SourceSettings]:
        kinds = [kind.value for kind in SourceKind]
        faults = [f"{name}: says no kind, and is none of {', '.join(kinds)} itself"
                  for name, source in sources.items() if source.kind is None and name not in kinds]  # fmt: skip
        if faults:
            raise ValueError("; ".join(faults))
        return sources

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError(f"{name!r} is no IANA time zone such as Europe/Berlin")
        ZoneInfo(name)
        return name


def load_settings(path: Path | None) -> Settings:
    """The settings of a JSON file, or the defaults where `path` is None.

    Raises SettingsError with every fault at once.
    """
    if path is None:
        return Settings()
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_refuse_duplicates)
    except OSError as error:
        raise SettingsError(str(path), [Fault("file", error.strerror or str(error))]) from error
    except ValueError as error:
        raise SettingsError(str(path), [Fault("file", f"is no valid JSON: {error}")]) from error
    return parse_settings(data, str(path))


def parse_settings(data: object, source: str) -> Settings:
    """Settings from parsed JSON. Raises SettingsError with every fault at once, named after `source`."""
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise SettingsError(source, faults_of(error)) from error


def faults_of(error: ValidationError) -> list[Fault]:
    """A pydantic error as faults, one per place, in the words of this product."""
    return [_fault(dict(item)) for item in error.errors(include_url=False)]


_MAY_BE_SECRET = ("delivery.recipients", "sources", "smtp_password", "webhook_secret", "database_url", "tokens")
"""Of these a fault does not show what was found."""


def _fault(item: dict[str, Any]) -> Fault:
    path = ".".join(map(str, item["loc"])) or "file"
    if item["type"] == "extra_forbidden":
        return Fault(path, "is no known setting")
    problem = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "value_error" or isinstance(item["input"], dict) or path.startswith(_MAY_BE_SECRET):
        return Fault(path, problem)
    return Fault(path, f"{problem} (found {item['input']!r:.80})")


def _fault_of(entry: str, private: bool) -> str | None:
    """What is wrong with a recipient, without what may be secret in it; None where nothing is."""
    try:
        recipient = parse_recipient(entry)
    except ValueError as error:
        return str(error)
    if not is_in_the_clear(recipient):
        return None
    if not private:
        return f"{recipient.reference} is not encrypted: use https:, or allowPrivateAddresses for one's own network"
    return f"{recipient.reference} is not encrypted, but public: use https:" if is_literally_public(recipient) else None


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"the key {twice[0]!r} stands twice in one block")
    return dict(pairs)
