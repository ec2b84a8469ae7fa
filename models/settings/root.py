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
from models.report_template import Template

Milliseconds = Annotated[int, Field(gt=0)]


class _Block(BaseModel):
    """What stands below a key is its meaning: docs/configuration.md is made of it."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class PerformanceMetrics(_Block):
    """Limits of the five KPIs; the defaults are the product document's."""

    response_time: MillisecondThresholds = MillisecondThresholds(target=2000, warning=3000, critical=5000)
    """From the pick to the answer, on average over the selections of which it is known."""
    selection_accuracy: FallingRatioThresholds = FallingRatioThresholds(target=0.95, warning=0.90, critical=0.85)
    """How often the model was the right one for its request, on average."""
    cache_hit_rate: FallingRatioThresholds = FallingRatioThresholds(target=0.90, warning=0.80, critical=0.70)
    """The share of requests that the router's own cache answered."""
    cost_efficiency: FallingRatioThresholds = FallingRatioThresholds(target=0.80, warning=0.70, critical=0.60)
    """What the cheapest adequate model would have cost, divided by what was spent."""
    error_rate: RisingRatioThresholds = RisingRatioThresholds(target=0.02, warning=0.05, critical=0.10)
    """The share of selections that failed."""

    def of(self, name: KpiName) -> Thresholds:
        """The limits of one KPI."""
        limits: Thresholds = getattr(self, name.name.lower())
        return limits


class Alerting(_Block):
    """When somebody is told that a KPI went wrong, and how often.

    The product document gives the first three; the others are as on-call people set such rules elsewhere.
    """

    enabled: bool = True
    """Tell somebody. Without it alerts are judged and on record, and nobody is told."""
    channels: tuple[Literal["console", "webhook", "dashboard", "email"], ...] = ("console", "webhook", "dashboard")
    """Who is told: names of `delivery.recipients`, and `console` and `dashboard`, which are built in."""
    thresholds: Literal["auto", "fixed"] = "auto"
    """`auto` learns what is usual from the four weeks before; `fixed` takes those of `performanceMetrics`."""
    window_minutes: Annotated[int, Field(ge=1, le=120)] = 15
    """How many minutes are judged together, each minute anew."""
    minimum_sample: Annotated[int, Field(ge=1)] = 30
    """With fewer selections a window says nothing."""
    hold_minutes: Annotated[int, Field(ge=0)] = 5
    """A breach lasts this long before the alert fires."""
    resolve_minutes: Annotated[int, Field(ge=0)] = 10
    """It is well for this long before the alert is over."""
    cool_down_minutes: Annotated[int, Field(ge=0)] = 30
    """For this long after an alert is over only what is critical fires again."""
    remind_hours: Annotated[float, Field(gt=0)] | None = 24.0
    """An alert that goes on is told again after this long; `null`: never."""
    group_wait_minutes: Annotated[int, Field(ge=0)] = 2
    """News wait this long for others, to be told in one message."""
    group_interval_minutes: Annotated[int, Field(ge=0)] = 10
    """Messages are at least this far apart."""
    no_data_minutes: Annotated[int, Field(ge=1)] = 60
    """Silence alerts after this long, while it is not yet known how long is usual."""
    single_selections: bool = True
    """Alert on single selections that hang (the rule `slowSelections`)."""


class ChartName(StrEnum):
    TIMELINE = "timeline"
    DISTRIBUTION = "distribution"
    HEATMAP = "heatmap"
    COMPARISON = "comparison"


class DashboardSettings(_Block):
    enabled: bool = True
    """Serve the live page with `routewatch serve`."""
    refresh_rate: Milliseconds = 10_000
    """How often the live page and the dashboard's file are renewed, in milliseconds."""
    charts: tuple[ChartName, ...] = tuple(ChartName)
    """Which charts reports, the dashboard and the live page show."""


class Monitoring(_Block):
    enabled: bool = True
    """Count, judge and deliver all the time while the page is served. The timetable does so without it."""
    update_interval: Milliseconds = 5_000
    """How often the monitor looks, in milliseconds."""
    retention_period: Milliseconds = 2_592_000_000
    """How long raw selections are kept, in milliseconds; the default is 30 days."""
    archive: bool = False
    """Write raw selections to `archive/` in `ROUTEWATCH_HOME` before they are removed."""
    aggregation_levels: tuple[Literal["minute", "hour", "day", "week"], ...] = ("minute", "hour", "day", "week")
    """The levels of the rollups. Reports need all four, so nothing else is accepted."""
    alerting: Alerting = Alerting()
    """When somebody is told that a KPI went wrong, and how often."""
    dashboard: DashboardSettings = DashboardSettings()
    """The live page and the dashboard's file."""

    @field_validator("aggregation_levels")
    @classmethod
    def _all_levels(cls, levels: tuple[str, ...]) -> tuple[str, ...]:
        if set(levels) != {"minute", "hour", "day", "week"}:
            raise ValueError("expected all of minute, hour, day, week: reports are computed from every level")
        return levels


class Schedule(_Block):
    enabled: bool = True
    """Run it by the timetable."""
    recipients: tuple[str, ...] = ()
    """Who gets it: names of `delivery.recipients`, and `console` and `dashboard`, which are built in."""
    metrics: tuple[Literal["all", "responseTime", "selectionAccuracy", "cacheHitRate", "costEfficiency",
                           "errorRate", "cost", "trends", "optimization"], ...] = ("all",)  # fmt: skip
    """What the report shows."""
    format: Literal["summary", "detailed"] = "summary"
    """A page or two, or everything."""


class Schedules(_Block):
    hourly: Schedule = Schedule(recipients=("dashboard",), metrics=("responseTime", "errorRate", "cost"))
    """The last whole hour, five minutes after it."""
    daily: Schedule = Schedule(recipients=("email", "webhook"))
    """The last whole day, at 06:15 in the `timezone`."""
    weekly: Schedule = Schedule(recipients=("management",), metrics=("trends", "optimization"), format="detailed")
    """The last whole week, on Mondays at 06:30 in the `timezone`."""


class CustomReports(_Block):
    enabled: bool = True
    """Offer the form in Prefect's UI."""
    templates: tuple[Template, ...] = tuple(Template)
    """Which reports the form offers."""
    export_formats: tuple[Literal["json", "csv", "pdf"], ...] = ("json", "csv", "pdf")
    """Which files are made, beside the page, where whoever asks does not choose."""


class Reporting(_Block):
    schedules: Schedules = Schedules()
    """The reports of the timetable."""
    custom_reports: CustomReports = CustomReports()
    """Reports about any period, when somebody asks."""
    locale: str = "en_US"
    """How numbers and dates are written, such as `en_US` or `de_DE`. The words are English."""
    paper: Literal["A4", "Letter"] = "A4"
    """The size of a PDF's pages."""

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
    """What a calendar month may cost, in USD. Without it there is no budget, and no alert on one."""


class NumericKnob(_Block):
    """Bounds of a number that Routewatch may move."""

    minimum: Annotated[float, Field(gt=0)]
    """It is never set lower."""
    maximum: Annotated[float, Field(gt=0)]
    """It is never set higher."""
    factor: Annotated[float, Field(gt=1)] = 2.0
    """One change multiplies it by at most this."""

    @model_validator(mode="after")
    def _ordered(self) -> NumericKnob:
        if self.minimum > self.maximum:
            raise ValueError("expected minimum <= maximum")
        return self


class ChoiceKnob(_Block):
    """The values that a setting may take."""

    choices: Annotated[tuple[str, ...], Field(min_length=2)]
    """The values, from the weakest to the strongest; one change moves one place."""


class Optimizer(_Block):
    """What the loop may do by itself.

    Numbers without a source in the product document are chosen to be careful: a change needs a full day's evidence,
    and a key is left alone for a day after it was changed.
    """

    mode: Literal["off", "propose", "auto"] = "auto"
    """`off` changes nothing, `propose` leaves every decision to a person, `auto` applies by itself what is safe."""
    minimum_sample: Annotated[int, Field(ge=1)] = 100
    """A change needs at least so many selections as evidence, and as many to be judged by."""
    cool_down_hours: Annotated[float, Field(gt=0)] = 24.0
    """A key rests this long after a change, twice as long after each time that it was taken back."""
    observe_hours: Annotated[float, Field(gt=0)] = 24.0
    """A change is observed for at least this long before it is kept."""
    observe_max_hours: Annotated[float, Field(gt=0)] = 168.0
    """A change is observed for at most this long."""
    proposal_days: Annotated[float, Field(gt=0)] = 7.0
    """A proposal expires this long after a run last found it, if nobody has decided."""
    random_split: bool = False
    """The router hands out models at random within a complexity class: then savings are not observational."""
    router_usd_per_request: Annotated[float, Field(ge=0)] | None = None
    """What the router itself costs a request, in USD. It is taken off the savings."""
    cache_max_entries: NumericKnob = NumericKnob(minimum=100, maximum=1_000_000)
    """The bounds of `cache.max_entries`."""
    cache_ttl_seconds: NumericKnob = NumericKnob(minimum=60, maximum=604_800)
    """The bounds of `cache.ttl_seconds`."""
    cache_key_strategy: ChoiceKnob = ChoiceKnob(choices=("exact", "normalized", "semantic"))
    """The bounds of `cache.key_strategy`."""
    cache_eviction_policy: ChoiceKnob = ChoiceKnob(choices=("fifo", "lru", "lfu"))
    """The bounds of `cache.eviction_policy`."""

    @model_validator(mode="after")
    def _observes(self) -> Optimizer:
        if self.observe_hours > self.observe_max_hours:
            raise ValueError("expected observeHours <= observeMaxHours")
        return self


class Delivery(_Block):
    """Where reports and messages go, and how."""

    mode: Literal["send", "files"] = "send"
    """`files` writes what would be sent to `outbox/` in `ROUTEWATCH_HOME` instead."""
    allow_private_addresses: bool = False
    """Allow webhooks within one's own network, also by http."""
    recipients: Annotated[dict[str, tuple[str, ...]], Field(repr=False)] = {}
    """Names, each with its addresses: `mailto:`, `https:`, a chat's or `secret:NAME`."""
    maximum_attempts: Annotated[int, Field(ge=1, le=100)] = 10
    """After so many failed attempts a delivery is given up."""
    concurrency: Annotated[int, Field(ge=1, le=32)] = 4
    """How many receivers are served at the same time, each one delivery after the other."""

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
    """From so many prompt tokens on a request is moderate, below it simple."""
    complex_from_tokens: Annotated[int, Field(gt=0)] = 4_000
    """From so many prompt tokens on it is complex."""

    @model_validator(mode="after")
    def _ordered(self) -> ComplexityRule:
        if self.moderate_from_tokens >= self.complex_from_tokens:
            raise ValueError("expected moderateFromTokens < complexFromTokens")
        return self


class SourceSettings(_Block):
    """Where picks are pulled from, and what is meant by names that are the user's own."""

    kind: SourceKind | None = None
    """Which source it is, where its name does not say."""
    location: Annotated[str, Field(min_length=1, repr=False)]
    """A database's or an API's address, or files: a path, a folder, a pattern. `$NAME` stands for a variable."""
    enabled: bool = True
    """Pull it by the timetable."""
    overlap_minutes: Annotated[float, Field(ge=0)] = 60.0
    """Rows up to this long before the newest are read again each time, for those that arrive late."""
    complexity_key: str | None = None
    """The metadata, property or attribute that holds the complexity."""
    team_key: str | None = None
    """The metadata, property or attribute that holds the team."""
    zero_is_free: bool = False
    """A recorded cost of 0 for an answer with tokens is a cost, for models that one hosts. Else unknown."""
    accuracy_score: str | None = None
    """The evaluation that holds the accuracy."""
    satisfaction_score: str | None = None
    """The evaluation that holds the user's satisfaction."""
    mapping: Path | None = None
    """A mapping file."""
    complexity_rule: ComplexityRule | None = ComplexityRule()
    """How complexity is told from a prompt's tokens where nobody says it; `null`: it stays unknown."""


class Settings(_Block):
    """Everything a settings file may hold; each key optional."""

    timezone: str = "UTC"
    """The zone of days, weeks and the timetable, an IANA name such as `Europe/Berlin`."""
    performance_metrics: PerformanceMetrics = PerformanceMetrics()
    """The limits of the KPIs. A value exactly at a limit has not crossed it."""
    monitoring: Monitoring = Monitoring()
    """What is watched and kept."""
    reporting: Reporting = Reporting()
    """Which reports there are, for whom, and how they look."""
    budget: Budget = Budget()
    """What the models may cost."""
    optimizer: Optimizer = Optimizer()
    """What the loop may do by itself."""
    delivery: Delivery = Delivery()
    """Where reports and messages go, and how."""
    sources: dict[str, SourceSettings] = {}
    """Where picks are pulled from, by name; a name that is a kind needs no `kind`."""

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
